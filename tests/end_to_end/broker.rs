//! The Redis broker, when Redis fails.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use tidemark_tests::{Ledger, Node, NodeOptions, RedisServer, tidemark, wait_for};

#[test]
fn what_redis_acknowledged_is_stored_although_redis_was_killed() {
    let mut redis = RedisServer::start();
    let node = Node::start(&NodeOptions::without_agent().arguments(&["--broker", &redis.url()]));
    let client = node.client();
    let mut ledger = Ledger::default();
    for round in 0..3 {
        for batch in 0..20 {
            let step = round * 10_000 + batch * 100;
            match client.post("/api/put", &Ledger::body(0, step, 100)).status {
                204 => ledger.acknowledge(0, step, 100),
                _ => ledger.lose_track(0, step, 100),
            }
        }
        redis.kill();
        let refused = client.post("/api/put", &Ledger::body(0, round * 10_000 + 5_000, 100));
        assert_eq!(refused.status, 503, "{}", refused.text());
        assert!(refused.header("retry-after").is_some());
        ledger.lose_track(0, round * 10_000 + 5_000, 100);
        redis.restart();
        wait_for("writes go on once redis is back", Duration::from_secs(30), || {
            let answer = client.post("/api/put?sync", &Ledger::body(1, round, 1));
            if answer.status == 204 {
                ledger.acknowledge(1, round, 1);
                return Some(());
            }
            ledger.lose_track(1, round, 1);
            None
        });
    }
    // What a killed server's worker held comes back when its lease of 30 s runs out, and may have to be tried again.
    wait_for("every queued batch is stored", Duration::from_secs(90), || {
        let queues = client.get("/api/tidemark/v1/queues").json();
        let write = queues["queues"].as_array()?.iter().find(|queue| queue["name"] == "write")?.clone();
        ["ready", "running", "retryable", "scheduled"].iter().all(|state| write[state] == 0).then_some(())
    });
    ledger.check(&client);
}

#[test]
fn a_redis_that_does_not_answer_holds_no_client_and_doubles_no_job() {
    let redis = RedisServer::start();
    let node = Node::start(&NodeOptions::without_agent().arguments(&["--broker", &redis.url()]));
    let client = node.client();
    let mut ledger = Ledger::default();
    // Stored, since a worker may lose its answer, and then others wait for its lease.
    assert_eq!(client.post("/api/put?sync", &Ledger::body(0, 0, 10)).status, 204);
    ledger.acknowledge(0, 0, 10);
    let later = json!({"kind": "rollup", "step": "seal", "not_before": "+1h"}).to_string();
    let enqueue = || {
        let headers = [("Idempotency-Key", "once"), ("Content-Type", "application/json")];
        client.request("POST", "/api/tidemark/v1/jobs", &headers, later.as_bytes()).unwrap()
    };
    redis.signal(Signal::STOP);
    for step in [1_000, 2_000, 3_000] {
        #[expect(clippy::disallowed_methods, reason = "an end-to-end test runs in real time")]
        let since = Instant::now();
        for answer in [client.post("/api/put", &Ledger::body(0, step, 10)), enqueue()] {
            assert_eq!(answer.status, 503, "{}", answer.text());
            assert!(answer.header("retry-after").is_some(), "{}", answer.text());
        }
        // A second each, and as much for a busy machine; that Redis is gone it would notice after five.
        assert!(since.elapsed() < Duration::from_secs(4), "{:?}", since.elapsed());
        ledger.lose_track(0, step, 10);
    }
    redis.signal(Signal::CONT);
    wait_for("both are taken again", Duration::from_secs(30), || {
        let written = client.post("/api/put?sync", &Ledger::body(1, 0, 1)).status == 204;
        ledger.lose_track(1, 0, 1);
        (written && enqueue().status == 202).then_some(())
    });
    ledger.acknowledge(1, 0, 1);
    let scheduled = client.get("/api/tidemark/v1/jobs?state=scheduled&kind=rollup").json();
    assert_eq!(scheduled["jobs"].as_array().unwrap().len(), 1, "{scheduled}");
    ledger.check(&client);
}

#[test]
fn two_stores_on_one_redis_database_are_refused() {
    let redis = RedisServer::start();
    let folder = tempfile::tempdir().unwrap();
    let on = |url: &str, data: &str| {
        NodeOptions::without_agent().arguments(&["--broker", url]).data(&folder.path().join(data))
    };
    let url = redis.url();
    let mut first = Node::start(&on(&url, "first"));
    let (status, ready, log) = Node::run_to_end(&on(&url, "second"), &folder.path().join("second"));
    assert_eq!((status.code(), ready.as_str()), (Some(1), ""), "{log}");
    assert!(log.contains("`tidemark:store`") && log.contains("redis://HOST:PORT/1"), "{log}");
    // A database of its own is what the sentence asks for, and the first store finds its own again.
    let second = Node::start(&on(&format!("{url}/1"), "second"));
    assert!(first.stop().success());
    let first = Node::start(&on(&url, "first"));
    for (series, node) in [(0, &first), (1, &second)] {
        let mut ledger = Ledger::default();
        assert_eq!(node.client().post("/api/put?sync", &Ledger::body(series, 0, 10)).status, 204);
        ledger.acknowledge(series, 0, 10);
        ledger.check(&node.client());
    }
}

#[test]
fn a_node_waits_for_a_redis_that_comes_up_later() {
    let mut redis = RedisServer::start();
    redis.kill();
    let node = Node::start(&NodeOptions::without_agent().arguments(&["--broker", &redis.url()]));
    let client = node.client();
    assert_eq!(client.get("/-/ready").status, 503);
    assert!(node.log().contains("the schedules are not written yet"), "{}", node.log());
    redis.restart();
    wait_for("the node is ready", Duration::from_secs(30), || (client.get("/-/ready").status == 200).then_some(()));
    wait_for("the schedules are there", Duration::from_secs(30), || {
        let schedules = client.get("/api/tidemark/v1/schedules").json();
        schedules["schedules"].as_array()?.iter().find(|schedule| schedule["name"] == "seal")?;
        Some(())
    });
}

#[test]
fn points_of_queued_writes_that_are_refused_are_told_and_counted() {
    let redis = RedisServer::start();
    let options = NodeOptions::without_agent().arguments(&["--broker", &redis.url()]);
    let node = Node::start(&options.variable("TIDEMARK_LIMITS__SERIES_PER_METRIC", "1"));
    let client = node.client();
    assert_eq!(client.post("/api/put", &Ledger::body(0, 0, 1)).status, 204);
    assert_eq!(client.post("/api/put", &Ledger::body(1, 0, 1)).status, 204);
    wait_for("the refusal is counted", Duration::from_secs(30), || {
        let metrics = client.get("/metrics").text();
        let figure = metrics.lines().find(|line| line.starts_with("tidemark_work_points_refused"))?.to_owned();
        (!figure.ends_with(" 0")).then_some(())
    });
    let log = node.log();
    assert!(log.contains("points of queued writes were refused") && log.contains("limits.series_per_metric"), "{log}");
}

#[test]
fn an_emptied_redis_is_told_by_readiness_within_half_a_minute_and_the_lost_jobs_are_named() {
    let redis = RedisServer::start();
    let node = Node::start(&NodeOptions::without_agent().arguments(&["--broker", &redis.url()]));
    let client = node.client();
    assert_eq!(client.post("/api/put?sync", &Ledger::body(0, 0, 1)).status, 204);
    let troubles = || client.get("/-/ready").text();
    // What it was before must have been seen.
    wait_for("the broker was looked at", Duration::from_secs(30), || redis_beats(&redis).then_some(()));
    assert!(!troubles().contains("emptied"), "{}", troubles());
    let later = json!({"kind": "rollup", "step": "seal", "not_before": "+1h"});
    let lost = client.post("/api/tidemark/v1/jobs", &later).json()["job"].as_str().unwrap().to_owned();
    let beats = "HGET tidemark:{rollup}:g beat";
    let beat = redis.ask(beats);
    wait_for("its queue was looked at", Duration::from_secs(30), || (redis.ask(beats) != beat).then_some(()));
    redis.command("FLUSHALL");
    wait_for("readiness tells of it", Duration::from_secs(30), || {
        troubles().contains("redis was emptied").then_some(())
    });
    assert_eq!(client.get("/-/ready").status, 200);
    let found = wait_for("the lost job is named", Duration::from_secs(30), || {
        let losses = client.get("/api/tidemark/v1/losses").json();
        let of_queue = |loss: &&Value| loss["queue"] == "rollup" && loss["found"].is_object();
        losses["losses"].as_array()?.iter().find(of_queue).map(|loss| loss["found"].clone())
    });
    assert!(found["lost"].as_array().unwrap().iter().any(|job| job == &json!(lost)), "{found}");
    let metrics = client.get("/metrics").text();
    assert!(metrics.contains("tidemark_queue_lost_jobs"), "{metrics}");
    assert!(troubles().contains("jobs are lost and"), "{}", troubles());
    let told = node.log().lines().filter(|line| line.contains("tidemark queues losses")).count();
    assert_eq!(told, 1, "one line for all queues: {}", node.log());
    let server = format!("http://{}", node.address());
    let shown = tidemark().args(["queues", "losses", "--url", &server]).output().unwrap();
    assert!(String::from_utf8_lossy(&shown.stdout).contains(&format!("lost rollup {lost}")), "{shown:?}");
}

/// Whether somebody has looked at the queue of writes.
fn redis_beats(redis: &RedisServer) -> bool {
    redis.ask("HGET tidemark:{write}:g beat").trim_end().parse().is_ok_and(|beat: u64| beat > 0)
}

#[test]
fn the_password_of_redis_comes_from_a_file_and_is_in_no_log() {
    let redis = RedisServer::start_with(&["--requirepass", "hunter2"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "hunter2\n").unwrap();
    let options = NodeOptions::without_agent().arguments(&["--broker", &redis.url()]);
    let file = file.display().to_string();
    let node = Node::start(
        &options
            .variable("TIDEMARK_REDIS__PASSWORD_FILE", &file)
            .variable("TIDEMARK_REDIS__PREFIX", "ams")
            .variable("TIDEMARK_LOG__LEVEL", "debug"),
    );
    let client = node.client();
    assert_eq!(client.post("/api/put?sync", &Ledger::body(0, 0, 1)).status, 204);
    assert_eq!(client.get("/-/ready").status, 200);
    assert!(!client.get("/api/tidemark/v1/queues").text().contains("hunter2"));
    assert!(!node.log().contains("hunter2"), "{}", node.log());
}
