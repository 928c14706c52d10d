//! The whole product while its FoundationDB cluster loses one process after the other, without warning, under load.
//!
//! `TIDEMARK_FDB_SERVER` names the program `fdbserver`, beside which `fdbcli` lies; the test starts a cluster of its own.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use tidemark_tests::{Client, Ledger, Node, Stopping, wait_for};

use crate::{
    cluster::{Cluster, say_skipped, variable, wait_for_queued_writes},
    fdb_processes::{FdbProcesses, PROCESSES},
};

/// Writers at one time, each with a series of its own; every other one waits for the store.
const WRITERS: u32 = 4;
/// Points of a batch.
const BATCH: i64 = 100;
/// Points that must be acknowledged before the next blow.
const STEP: usize = 20_000;

/// What is asked, and in which time it must be answered: as it was meant, or that it may be sent again.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// A batch that waits in Redis, which loses nobody here.
    Queued,
    /// A batch whose client waits for the store; a worker tries again when the cluster is back.
    Stored,
    /// What waits for FoundationDB gives up after five seconds; what was read before and after that comes on top.
    Query,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Queued, Self::Stored, Self::Query];

    fn path(self) -> &'static str {
        match self {
            Self::Queued => "/api/put",
            Self::Stored => "/api/put?sync",
            Self::Query => "/api/query",
        }
    }

    fn answer_max(self) -> Duration {
        Duration::from_secs(match self {
            Self::Queued => 5,
            Self::Stored => 31,
            Self::Query => 10,
        })
    }
}

/// What the clients saw.
#[derive(Default)]
struct Seen {
    ledger: Ledger,
    /// By kind.
    done: [Answers; 3],
    to_be_sent_again: [Answers; 3],
}

/// Answers of one kind.
#[derive(Clone, Copy, Default)]
struct Answers {
    count: usize,
    slowest: Duration,
}

impl Answers {
    fn add(&mut self, took: Duration) {
        self.count += 1;
        self.slowest = self.slowest.max(took);
    }
}

struct Load {
    stop: AtomicBool,
    seen: Mutex<Seen>,
}

impl Load {
    /// Sends a request; whether it was answered, or else may be sent again.
    #[expect(clippy::disallowed_methods, reason = "an end-to-end test runs in real time")]
    fn send(&self, kind: Kind, client: &Client, body: &serde_json::Value) -> bool {
        let began = Instant::now();
        let answer = client.post(kind.path(), body);
        let took = began.elapsed();
        let mut seen = self.seen.lock().unwrap();
        match answer.status {
            200 | 204 => seen.done[kind as usize].add(took),
            503 => {
                assert!(answer.header("retry-after").is_some(), "{kind:?}: {:?} {}", answer.headers, answer.text());
                seen.to_be_sent_again[kind as usize].add(took);
            }
            status => panic!("{kind:?}: {status} {}", answer.text()),
        }
        answer.status < 300
    }

    /// Batch after batch, each until it is acknowledged.
    fn write(&self, series: u32, nodes: &[&Node]) {
        let kind = if series.is_multiple_of(2) { Kind::Stored } else { Kind::Queued };
        for step in (0..).step_by(BATCH as usize) {
            let body = Ledger::body(series, step, BATCH);
            for node in nodes.iter().cycle().skip(series as usize) {
                if self.stop.load(Ordering::SeqCst) {
                    return;
                }
                if self.send(kind, &node.client(), &body) {
                    self.seen.lock().unwrap().ledger.acknowledge(series, step, BATCH);
                    break;
                }
                // It may be there or not, as long as it is not written again.
                self.seen.lock().unwrap().ledger.lose_track(series, step, BATCH);
            }
        }
    }

    fn read(&self, node: &Node) {
        let query = json!({"start": Ledger::START_S, "end": Ledger::START_S + 100_000_000,
            "queries": [{"aggregator": "sum", "metric": Ledger::METRIC, "downsample": "1h-sum"}]});
        while !self.stop.load(Ordering::SeqCst) {
            self.send(Kind::Query, &node.client(), &query);
        }
    }

    fn progress(&self) {
        let reached = || {
            let seen = self.seen.lock().unwrap();
            (seen.ledger.len(), seen.done.map(|answers| answers.count))
        };
        let (points, counts) = reached();
        wait_for("points are acknowledged and queries answered", Duration::from_secs(120), || {
            let (points_now, counts_now) = reached();
            let get_on = Kind::ALL.iter().all(|&kind| counts_now[kind as usize] >= counts[kind as usize] + 10);
            (points_now >= points + STEP && get_on).then_some(())
        });
    }
}

#[test]
fn nothing_is_lost_or_doubled_and_everybody_is_answered_while_foundationdb_loses_processes() {
    let (Some(server), Some(binary)) = (variable("TIDEMARK_FDB_SERVER"), variable("TEST_BINARY_FDB")) else {
        say_skipped("outage", "it needs TIDEMARK_FDB_SERVER, the program `fdbserver`, and `cargo xtask test`");
        return;
    };
    let mut servers = FdbProcesses::start(server.into());
    let cluster = Cluster::on(&servers.cluster_file(), binary.into(), "outage");
    let (left, right) = (cluster.start("api"), cluster.start("api"));
    let others = ["worker", "worker", "scheduler"].map(|role| cluster.start(role));
    let load = Load { stop: AtomicBool::new(false), seen: Mutex::default() };
    // The metric is there before the first query.
    assert!(load.send(Kind::Stored, &left.client(), &Ledger::body(0, 0, BATCH)));
    thread::scope(|scope| {
        let _stopping = Stopping(&load.stop);
        let nodes = [&left, &right];
        let load = &load;
        for series in 0..WRITERS {
            scope.spawn(move || load.write(series, &nodes));
        }
        for node in nodes {
            scope.spawn(move || load.read(node));
        }
        for number in 0..PROCESSES {
            load.progress();
            servers.kill(number);
            load.progress();
            servers.start_again(number);
        }
        load.progress();
    });
    wait_for_queued_writes(&left);
    let seen = load.seen.into_inner().unwrap();
    for node in [&left, &right] {
        seen.ledger.check(&node.client());
    }
    eprintln!("{} points acknowledged", seen.ledger.len());
    for kind in Kind::ALL {
        let (done, again) = (seen.done[kind as usize], seen.to_be_sent_again[kind as usize]);
        eprintln!(
            "{kind:?}: {} done, the slowest after {:?}; {} to be sent again, the slowest after {:?}",
            done.count, done.slowest, again.count, again.slowest
        );
        assert!(done.slowest.max(again.slowest) <= kind.answer_max(), "answered too late");
    }
    drop((left, right, others));
    let doctor = cluster.command().args(["doctor", "--store", cluster.store()]).output().unwrap();
    assert!(doctor.status.success(), "{doctor:?}");
}
