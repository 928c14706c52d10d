//! Processes of one role each on a Redis broker and a real FoundationDB cluster. They need `FDB_CLUSTER_FILE`, and a
//! binary with the feature `fdb` that `TEST_BINARY_FDB` names; `cargo xtask test` provides the latter.

use std::{
    io::Write,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use tidemark_tests::{Ledger, Node, NodeOptions, RedisServer, wait_for};

/// A part of a cluster that is the test's own, with the processes on it.
struct Cluster {
    redis: RedisServer,
    store: String,
    binary: PathBuf,
}

impl Cluster {
    /// `None`, told loudly, where there is no FoundationDB.
    #[expect(clippy::disallowed_methods, reason = "who runs the tests names the cluster in the environment")]
    fn new(test: &str) -> Option<Self> {
        let (Ok(file), Ok(binary)) = (std::env::var("FDB_CLUSTER_FILE"), std::env::var("TEST_BINARY_FDB")) else {
            // Not through the macro, whose output the test harness keeps back.
            let told = writeln!(
                std::io::stderr(),
                "SKIPPED {test}: it needs a FoundationDB cluster; set FDB_CLUSTER_FILE and run `cargo xtask test`"
            );
            assert!(told.is_ok());
            return None;
        };
        let library = std::env::var("TIDEMARK_FDB_LIBRARY").map(|path| format!("&library={path}")).unwrap_or_default();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
        let store = format!("fdb:{file}?shards=4&prefix=tidemark-test-{test}-{now}/{library}");
        Some(Self { redis: RedisServer::start(), store, binary: binary.into() })
    }

    fn start(&self, role: &str) -> Node {
        let url = self.redis.url();
        Node::start(&NodeOptions::role(role).binary(&self.binary).arguments(&[
            "--broker",
            &url,
            "--store",
            &self.store,
        ]))
    }
}

#[test]
fn a_point_that_one_node_acknowledged_is_in_the_next_answer_of_the_other() {
    let Some(cluster) = Cluster::new("next-answer") else { return };
    let (left, right) = (cluster.start("api"), cluster.start("api"));
    let (_first, _second, _scheduler) = (cluster.start("worker"), cluster.start("worker"), cluster.start("scheduler"));
    let mut ledger = Ledger::default();
    for step in 0..40 {
        let (writer, reader) = if step % 2 == 0 { (&left, &right) } else { (&right, &left) };
        let answer = writer.client().post("/api/put?sync", &Ledger::body(0, step * 10, 10));
        assert_eq!(answer.status, 204, "{}", answer.text());
        ledger.acknowledge(0, step * 10, 10);
        ledger.check(&reader.client());
    }
}

#[test]
fn nothing_that_was_acknowledged_is_lost_when_processes_are_killed() {
    let Some(cluster) = Cluster::new("killed") else { return };
    let (left, right) = (cluster.start("api"), cluster.start("api"));
    let mut workers = [cluster.start("worker"), cluster.start("worker")];
    let _scheduler = cluster.start("scheduler");
    let mut ledger = Ledger::default();
    for round in 0..6_i64 {
        for batch in 0..10 {
            let step = round * 10_000 + batch * 100;
            let node = if batch % 2 == 0 { &left } else { &right };
            match node.client().post("/api/put", &Ledger::body(0, step, 100)).status {
                204 => ledger.acknowledge(0, step, 100),
                _ => ledger.lose_track(0, step, 100),
            }
        }
        let killed = (round % 2) as usize;
        workers[killed].kill();
        workers[killed] = cluster.start("worker");
    }
    // What a killed worker held comes back when its lease of 30 s runs out.
    wait_for("every queued batch is stored", Duration::from_secs(120), || {
        let queues = left.client().get("/api/tidemark/v1/queues").json();
        let write = queues["queues"].as_array()?.iter().find(|queue| queue["name"] == "write")?.clone();
        ["ready", "running", "retryable", "scheduled"].iter().all(|state| write[state] == 0).then_some(())
    });
    ledger.check(&left.client());
    ledger.check(&right.client());
}
