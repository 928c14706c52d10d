//! `tidemark jobs`, `queues`, `workers`, `schedules` against a real server.

use std::{process::Output, time::Duration};

use serde_json::Value;
use tidemark_tests::{Node, NodeOptions, tidemark, wait_for};

/// Runs a command against a node; its exit code, and what it said on both ways.
fn run(node: &Node, arguments: &[&str]) -> (Option<i32>, String, String) {
    let url = format!("http://{}", node.address());
    let Output { status, stdout, stderr } = tidemark().args(arguments).env("TIDEMARK_URL", url).output().unwrap();
    (status.code(), String::from_utf8_lossy(&stdout).into_owned(), String::from_utf8_lossy(&stderr).into_owned())
}

fn ok(node: &Node, arguments: &[&str]) -> String {
    let (code, out, error) = run(node, arguments);
    assert_eq!(code, Some(0), "{arguments:?}: {out}{error}");
    out
}

#[test]
fn a_job_is_run_shown_called_off_and_retried() {
    let node = Node::start(&NodeOptions::without_agent());
    let done = ok(&node, &["jobs", "run", "rollup", "seal", "--wait", "20s"]);
    assert!(done.contains(" completed: ") && done.contains("sealed"), "{done}");
    let id = done.split(' ').next().unwrap().to_owned();
    let shown = ok(&node, &["jobs", "show", &id]);
    assert!(shown.contains("completed") && shown.contains("ATTEMPT") && shown.contains("SAID"), "{shown}");
    let shown: Value = serde_json::from_str(&ok(&node, &["jobs", "show", &id, "-o", "json"])).unwrap();
    assert_eq!(shown["id"], id);

    let later =
        ["jobs", "run", "rollup", "compact", "--not-before", "+1h", "--idempotency-key", "k", "--priority", "low"];
    let queued = ok(&node, &later);
    assert_eq!(ok(&node, &later), queued);
    let id = queued.split(' ').next().unwrap().to_owned();
    let listed = ok(&node, &["jobs", "ls", "--state", "scheduled", "kind:rollup"]);
    assert!(listed.starts_with("ID ") && listed.contains(&id), "{listed}");
    assert_eq!(ok(&node, &["jobs", "cancel", &id]), format!("{id} cancelled\n"));
    let (code, _, error) = run(&node, &["jobs", "cancel", &id, "nonsense"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("has ended already") && error.contains("nonsense"), "{error}");
    assert_eq!(ok(&node, &["jobs", "retry", &id]), format!("{id} available\n"));
    let pending = run(&node, &["jobs", "run", "rollup", "seal", "--not-before", "+1h", "--wait", "100ms"]);
    assert_eq!(pending.0, Some(1), "{pending:?}");
}

#[test]
fn queues_workers_and_schedules_are_listed_and_steered() {
    let node = Node::start(&NodeOptions::without_agent());
    ok(&node, &["jobs", "run", "rollup", "seal", "--wait", "20s"]);
    assert_eq!(ok(&node, &["queues", "pause", "rollup"]), "rollup paused\n");
    let queues = ok(&node, &["queues", "ls"]);
    assert!(queues.lines().any(|line| line.starts_with("rollup") && line.contains("paused")), "{queues}");
    ok(&node, &["queues", "drain", "rollup"]);
    let (code, _, error) = run(&node, &["jobs", "run", "rollup", "seal"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("503") && error.contains("drained"), "{error}");
    assert_eq!(
        ok(&node, &["queues", "resume", "rollup", "-o", "json"]),
        "{\"done\":\"resumed\",\"queue\":\"rollup\"}\n"
    );

    let workers: Value = serde_json::from_str(&ok(&node, &["workers", "ls", "-o", "json"])).unwrap();
    let worker = workers["workers"][0]["worker"].as_str().unwrap();
    assert!(ok(&node, &["workers", "ls"]).contains(worker));
    assert!(ok(&node, &["workers", "show", worker]).contains("CONCURRENCY"));

    let limits = ok(&node, &["queues", "set", "notify", "--rate", "60/m", "--running-max", "4"]);
    assert!(limits.contains("60/m") && limits.contains("running_max  4"), "{limits}");
    let limits: Value =
        serde_json::from_str(&ok(&node, &["queues", "set", "notify", "--rate", "none", "-o", "json"])).unwrap();
    assert_eq!((&limits["rate"], &limits["running_max"]), (&Value::Null, &Value::from(4)));
    assert_eq!(run(&node, &["queues", "set", "notify", "--rate", "fast"]).0, Some(1));
    assert_eq!(run(&node, &["queues", "set", "notify", "--jobs-max", "many"]).0, Some(2));

    let set =
        ["schedules", "set", "by hand", "--cron", "30 2 * * *", "--time-zone", "Europe/Amsterdam", "rollup", "compact"];
    assert!(ok(&node, &set).contains("30 2 * * * (Europe/Amsterdam)"));
    let (code, _, error) = run(&node, &[&set[..], &["--new"]].concat());
    assert_eq!(code, Some(1));
    assert!(error.contains("there is a schedule `by hand` already"), "{error}");
    assert!(ok(&node, &["schedules", "pause", "by hand"]).contains("paused"));
    let listed = ok(&node, &["schedules", "ls"]);
    assert!(listed.lines().any(|line| line.starts_with("by hand") && line.contains("paused")), "{listed}");
    assert!(ok(&node, &["schedules", "resume", "by hand"]).contains("next"));
    assert!(ok(&node, &["schedules", "run", "by hand"]).contains(" queued"));
    ok(&node, &["schedules", "set", "soon", "--once", "+1h", "--catch-up", "one", "--splay", "5s", "rollup", "seal"]);
    assert_eq!(ok(&node, &["schedules", "rm", "by hand"]), "by hand removed\n");
    let (code, _, error) = run(&node, &["schedules", "show", "by hand"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("404") && error.contains("by hand"), "{error}");
}

#[test]
fn dead_letters_are_retried_and_purged() {
    let node = Node::start(&NodeOptions::without_agent());
    let expired = ["jobs", "run", "rollup", "seal", "--not-before", "+1s", "--expires", "+2s"];
    ok(&node, &["queues", "pause", "rollup"]);
    let ids: Vec<String> = (0..3).map(|_| ok(&node, &expired).split(' ').next().unwrap().to_owned()).collect();
    for id in &ids {
        let shown = ok(&node, &["jobs", "show", id, "--wait", "20s"]);
        assert!(shown.contains("discarded"), "{shown}");
    }
    assert_eq!(ok(&node, &["jobs", "discard", &ids[0]]), format!("{} forgotten\n", ids[0]));
    assert_eq!(run(&node, &["jobs", "discard", &ids[0]]).0, Some(1));
    assert_eq!(ok(&node, &["jobs", "retry", "--all", "--kind", "notify"]), "0 jobs\n");
    assert_eq!(ok(&node, &["jobs", "retry", "--all", "--kind", "rollup", "--limit", "1"]), "1 jobs\n");
    assert_eq!(run(&node, &["jobs", "purge"]).0, Some(2));
    assert_eq!(ok(&node, &["jobs", "purge", "--queue", "rollup", "--yes"]), "1 jobs\n");
    let left = ok(&node, &["jobs", "ls", "--state", "discarded", "-o", "json"]);
    assert!(left.contains("\"jobs\":[]"), "{left}");
}

#[test]
fn a_worker_is_scaled_and_stopped() {
    let node = Node::start(&NodeOptions::without_agent());
    let worker = || {
        let workers = ok(&node, &["workers", "ls", "-o", "json"]);
        serde_json::from_str::<Value>(&workers).unwrap()["workers"][0].clone()
    };
    let name = worker()["worker"].as_str().unwrap().to_owned();
    ok(&node, &["workers", "scale", &name, "evaluate", "3"]);
    wait_for("the worker runs three at a time", Duration::from_secs(20), || {
        let queues = worker()["queues"].clone();
        let evaluate = queues.as_array()?.iter().find(|queue| queue["name"] == "evaluate")?.clone();
        (evaluate["concurrency"] == 3).then_some(())
    });
    assert_eq!(run(&node, &["workers", "scale", &name, "evaluate", "0"]).0, Some(1));
    assert_eq!(run(&node, &["workers", "stop", "nobody"]).0, Some(1));
    assert!(ok(&node, &["workers", "stop", &name]).contains("told to stop"));
}

#[test]
fn wrong_usage_is_told_from_failure() {
    let node = Node::start(&NodeOptions::without_agent());
    let wrong: [&[&str]; 5] = [
        &["jobs", "run", "relay", "x"],
        &["jobs", "retry"],
        &["schedules", "set", "x", "rollup", "seal"],
        &["schedules", "set", "x", "--every", "5s", "--cron", "* * * * *", "rollup", "seal"],
        &["queues", "pause"],
    ];
    for arguments in wrong {
        assert_eq!(run(&node, arguments).0, Some(2), "{arguments:?}");
    }
    let failed: [&[&str]; 3] =
        [&["jobs", "ls", "--state", "dead"], &["jobs", "run", "evaluate", "no.such"], &["workers", "show", "nobody"]];
    for arguments in failed {
        assert_eq!(run(&node, arguments).0, Some(1), "{arguments:?}");
    }
    let script = ok(&node, &["completions", "bash"]);
    assert!(script.contains("idempotency-key"), "{}", script.len());
}
