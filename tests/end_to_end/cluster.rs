//! Processes of one role each on a Redis broker and a real FoundationDB cluster. They need `FDB_CLUSTER_FILE`, and a
//! binary with the feature `fdb` that `TEST_BINARY_FDB` names; `cargo xtask test` provides the latter.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use tidemark_tests::{Ledger, Node, NodeOptions, RedisServer, tidemark_at, wait_for};

/// A part of a cluster that is the test's own, with the processes on it.
pub(crate) struct Cluster {
    redis: RedisServer,
    /// Cluster file and client library, as the URL of a store has them.
    place: (String, String),
    store: String,
    binary: PathBuf,
}

impl Cluster {
    /// In the cluster of whoever runs the tests; `None`, told loudly, where there is none.
    pub(crate) fn new(test: &str) -> Option<Self> {
        let (Some(file), Some(binary)) = (variable("FDB_CLUSTER_FILE"), variable("TEST_BINARY_FDB")) else {
            say_skipped(test, "it needs a FoundationDB cluster; set FDB_CLUSTER_FILE and run `cargo xtask test`");
            return None;
        };
        Some(Self::on(Path::new(&file), binary.into(), test))
    }

    /// In any cluster.
    #[expect(clippy::disallowed_methods, reason = "a prefix that no run before had")]
    pub(crate) fn on(cluster_file: &Path, binary: PathBuf, test: &str) -> Self {
        let library = variable("TIDEMARK_FDB_LIBRARY").map(|path| format!("&library={path}")).unwrap_or_default();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
        let start = format!("fdb:{}?shards=4&prefix=tidemark-test-{test}-{now}", cluster_file.display());
        let store = format!("{start}/{library}");
        Self { redis: RedisServer::start(), place: (start, library), store, binary }
    }

    /// Another store in the same cluster, with a broker of its own.
    pub(crate) fn beside(&self, name: &str) -> Self {
        let (start, library) = self.place.clone();
        let store = format!("{start}-{name}/{library}");
        Self { redis: RedisServer::start(), place: (start, library), store, binary: self.binary.clone() }
    }

    /// The URL of the store.
    pub(crate) fn store(&self) -> &str {
        &self.store
    }

    pub(crate) fn start(&self, role: &str) -> Node {
        let url = self.redis.url();
        let options = NodeOptions::role(role).binary(&self.binary).variable("TIDEMARK_OPENTSDB__ALLOW_DELETE", "true");
        Node::start(&options.arguments(&["--broker", &url, "--store", &self.store]))
    }

    /// The binary as a command.
    pub(crate) fn command(&self) -> Command {
        tidemark_at(&self.binary)
    }
}

/// A variable that is set to something.
#[expect(clippy::disallowed_methods, reason = "who runs the tests names the cluster in the environment")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Says what was skipped and why; not through the macro, whose output the test harness keeps back.
pub(crate) fn say_skipped(test: &str, reason: &str) {
    let told = writeln!(std::io::stderr(), "SKIPPED {test}: {reason}");
    assert!(told.is_ok());
}

/// Waits until no batch of points waits in the broker any more.
pub(crate) fn wait_for_queued_writes(node: &Node) {
    // What a killed worker held comes back when its lease of 30 s runs out.
    wait_for("every queued batch is stored", Duration::from_secs(120), || {
        let answer = node.client().get("/api/tidemark/v1/queues");
        let queues = (answer.status == 200).then(|| answer.json())?;
        let write = queues["queues"].as_array()?.iter().find(|queue| queue["name"] == "write")?.clone();
        ["ready", "running", "retryable", "scheduled"].iter().all(|state| write[state] == 0).then_some(())
    });
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
    wait_for_queued_writes(&left);
    ledger.check(&left.client());
    ledger.check(&right.client());
}
