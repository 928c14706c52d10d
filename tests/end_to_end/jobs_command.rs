//! `tidemark jobs`, `queues`, `workers`, `schedules` against a real server.

use std::time::Duration;

use serde_json::Value;
use tidemark_tests::{Node, NodeOptions, wait_for};

#[test]
fn a_job_is_run_shown_called_off_and_retried() {
    let node = Node::start(&NodeOptions::without_agent());
    let done = node.ok(&["jobs", "run", "rollup", "seal", "--wait", "20s"]);
    assert!(done.contains(" completed: ") && done.contains("sealed"), "{done}");
    let id = done.split(' ').next().unwrap().to_owned();
    let shown = node.ok(&["jobs", "show", &id]);
    assert!(shown.contains("completed") && shown.contains("ATTEMPT") && shown.contains("SAID"), "{shown}");
    let shown: Value = serde_json::from_str(&node.ok(&["jobs", "show", &id, "-o", "json"])).unwrap();
    assert_eq!(shown["id"], id);

    let later =
        ["jobs", "run", "rollup", "compact", "--not-before", "+1h", "--idempotency-key", "k", "--priority", "low"];
    let queued = node.ok(&later);
    assert_eq!(node.ok(&later), queued);
    let id = queued.split(' ').next().unwrap().to_owned();
    let listed = node.ok(&["jobs", "ls", "--state", "scheduled", "kind:rollup"]);
    assert!(listed.starts_with("ID ") && listed.contains(&id), "{listed}");
    assert_eq!(node.ok(&["jobs", "cancel", &id]), format!("{id} cancelled\n"));
    let (code, _, error) = node.run(&["jobs", "cancel", &id, "nonsense"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("has ended already") && error.contains("nonsense"), "{error}");
    assert_eq!(node.ok(&["jobs", "retry", &id]), format!("{id} available\n"));
    let pending = node.run(&["jobs", "run", "rollup", "seal", "--not-before", "+1h", "--wait", "100ms"]);
    assert_eq!(pending.0, Some(1), "{pending:?}");
}

#[test]
fn queues_workers_and_schedules_are_listed_and_steered() {
    let node = Node::start(&NodeOptions::without_agent());
    node.ok(&["jobs", "run", "rollup", "seal", "--wait", "20s"]);
    assert_eq!(node.ok(&["queues", "pause", "rollup"]), "rollup paused\n");
    let queues = node.ok(&["queues", "ls"]);
    assert!(queues.lines().any(|line| line.starts_with("rollup") && line.contains("paused")), "{queues}");
    node.ok(&["queues", "drain", "rollup"]);
    let (code, _, error) = node.run(&["jobs", "run", "rollup", "seal"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("503") && error.contains("drained"), "{error}");
    assert_eq!(node.ok(&["queues", "resume", "rollup", "-o", "json"]), "{\"done\":\"resumed\",\"queue\":\"rollup\"}\n");

    let workers: Value = serde_json::from_str(&node.ok(&["workers", "ls", "-o", "json"])).unwrap();
    let worker = workers["workers"][0]["worker"].as_str().unwrap();
    assert!(node.ok(&["workers", "ls"]).contains(worker));
    assert!(node.ok(&["workers", "show", worker]).contains("CONCURRENCY"));

    let limits = node.ok(&["queues", "set", "notify", "--rate", "60/m", "--running-max", "4"]);
    assert!(limits.contains("60/m") && limits.contains("running_max  4"), "{limits}");
    let limits: Value =
        serde_json::from_str(&node.ok(&["queues", "set", "notify", "--rate", "none", "-o", "json"])).unwrap();
    assert_eq!((&limits["rate"], &limits["running_max"]), (&Value::Null, &Value::from(4)));
    assert_eq!(node.run(&["queues", "set", "notify", "--rate", "fast"]).0, Some(1));
    assert_eq!(node.run(&["queues", "set", "notify", "--jobs-max", "many"]).0, Some(2));

    let set =
        ["schedules", "set", "by hand", "--cron", "30 2 * * *", "--time-zone", "Europe/Amsterdam", "rollup", "compact"];
    assert!(node.ok(&set).contains("30 2 * * * (Europe/Amsterdam)"));
    let (code, _, error) = node.run(&[&set[..], &["--new"]].concat());
    assert_eq!(code, Some(1));
    assert!(error.contains("there is a schedule `by hand` already"), "{error}");
    assert!(node.ok(&["schedules", "pause", "by hand"]).contains("paused"));
    let listed = node.ok(&["schedules", "ls"]);
    assert!(listed.lines().any(|line| line.starts_with("by hand") && line.contains("paused")), "{listed}");
    assert!(node.ok(&["schedules", "resume", "by hand"]).contains("next"));
    assert!(node.ok(&["schedules", "run", "by hand"]).contains(" queued"));
    node.ok(&["schedules", "set", "soon", "--once", "+1h", "--catch-up", "one", "--splay", "5s", "rollup", "seal"]);
    assert_eq!(node.ok(&["schedules", "rm", "by hand"]), "by hand removed\n");
    let (code, _, error) = node.run(&["schedules", "show", "by hand"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("404") && error.contains("by hand"), "{error}");
}

#[test]
fn dead_letters_are_retried_and_purged() {
    let node = Node::start(&NodeOptions::without_agent());
    let expired = ["jobs", "run", "rollup", "seal", "--not-before", "+1s", "--expires", "+2s"];
    node.ok(&["queues", "pause", "rollup"]);
    let ids: Vec<String> = (0..3).map(|_| node.ok(&expired).split(' ').next().unwrap().to_owned()).collect();
    for id in &ids {
        let shown = node.ok(&["jobs", "show", id, "--wait", "20s"]);
        assert!(shown.contains("discarded"), "{shown}");
    }
    assert_eq!(node.ok(&["jobs", "discard", &ids[0]]), format!("{} forgotten\n", ids[0]));
    assert_eq!(node.run(&["jobs", "discard", &ids[0]]).0, Some(1));
    assert_eq!(node.ok(&["jobs", "retry", "--all", "--kind", "notify"]), "0 jobs\n");
    assert_eq!(node.ok(&["jobs", "retry", "--all", "--kind", "rollup", "--limit", "1"]), "1 jobs\n");
    assert_eq!(node.run(&["jobs", "purge"]).0, Some(2));
    assert_eq!(node.ok(&["jobs", "purge", "--queue", "rollup", "--yes"]), "1 jobs\n");
    let left = node.ok(&["jobs", "ls", "--state", "discarded", "-o", "json"]);
    assert!(left.contains("\"jobs\":[]"), "{left}");
}

#[test]
fn a_worker_is_scaled_and_stopped() {
    let node = Node::start(&NodeOptions::without_agent());
    let worker = || {
        let workers = node.ok(&["workers", "ls", "-o", "json"]);
        serde_json::from_str::<Value>(&workers).unwrap()["workers"][0].clone()
    };
    let name = worker()["worker"].as_str().unwrap().to_owned();
    node.ok(&["workers", "scale", &name, "evaluate", "3"]);
    wait_for("the worker runs three at a time", Duration::from_secs(20), || {
        let queues = worker()["queues"].clone();
        let evaluate = queues.as_array()?.iter().find(|queue| queue["name"] == "evaluate")?.clone();
        (evaluate["concurrency"] == 3).then_some(())
    });
    assert_eq!(node.run(&["workers", "scale", &name, "evaluate", "0"]).0, Some(1));
    assert_eq!(node.run(&["workers", "stop", "nobody"]).0, Some(1));
    assert!(node.ok(&["workers", "stop", &name]).contains("told to stop"));
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
        assert_eq!(node.run(arguments).0, Some(2), "{arguments:?}");
    }
    let failed: [&[&str]; 3] =
        [&["jobs", "ls", "--state", "dead"], &["jobs", "run", "evaluate", "no.such"], &["workers", "show", "nobody"]];
    for arguments in failed {
        assert_eq!(node.run(arguments).0, Some(1), "{arguments:?}");
    }
    let script = node.ok(&["completions", "bash"]);
    assert!(script.contains("idempotency-key"), "{}", script.len());
}
