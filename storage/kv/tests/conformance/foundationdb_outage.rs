//! A cluster of three processes, each of which is killed and started again in the middle of a load.
//!
//! `TIDEMARK_FDB_SERVER` names the program `fdbserver`; `fdbcli` lies beside it.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tidemark_kv::{Commit, CommitOutcome, FdbOptions, KeyRange, Kv, KvError, RangeLimit};
use tokio::task::JoinSet;

use crate::{
    fdb_processes::{FdbProcesses, PROCESSES},
    fdb_store::{open, say_skipped, variable},
};

const WRITERS: usize = 8;
/// How long a cluster may take for anything that is waited for here.
const PATIENCE: Duration = Duration::from_secs(120);
/// Commits that are waited for before and after each blow.
const STEP: u64 = 300;

/// What the writers have seen, over all of them.
#[derive(Default)]
struct Seen {
    done: AtomicU64,
    unknown: AtomicU64,
    unavailable: AtomicU64,
    stop: AtomicBool,
}

impl Seen {
    async fn progress(&self) {
        let goal = self.done.load(Ordering::SeqCst) + STEP;
        let reached = async {
            while self.done.load(Ordering::SeqCst) < goal {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, reached).await.expect("the writers came to a stop");
    }
}

/// Writes the numbers from 1 on, each into the log and as the writer's last, until it is told to stop; returns the last.
async fn write(store: &dyn Kv, writer: usize, seen: &Seen) -> u64 {
    let last = format!("last/{writer}");
    let mut number = 0;
    while !seen.stop.load(Ordering::SeqCst) {
        number += 1;
        let mut commit = Commit::new();
        commit.expect("fence", Some("0".into())).put(last.clone(), number.to_string());
        commit.put_versionstamped("log/", format!("{writer}-{number}"));
        match store.commit(commit).await {
            CommitOutcome::Done(_) => {
                seen.done.fetch_add(1, Ordering::SeqCst);
            }
            CommitOutcome::Unknown(_) => {
                seen.unknown.fetch_add(1, Ordering::SeqCst);
                // Not in flight any more: what is there now stays so, and can be decided upon.
                if stored(store, &last).await != number.to_string() {
                    number -= 1;
                }
            }
            CommitOutcome::Refused(KvError::Unavailable(_)) => {
                seen.unavailable.fetch_add(1, Ordering::SeqCst);
                number -= 1;
            }
            CommitOutcome::Refused(error) => panic!("nobody else writes the fence: {error}"),
        }
    }
    number
}

/// A value, as soon as the cluster can be read; empty when there is none.
async fn stored(store: &dyn Kv, key: &str) -> String {
    let read = async {
        loop {
            if let Ok(snapshot) = store.snapshot().await
                && let Ok(value) = snapshot.get(key.as_bytes()).await
            {
                return value.map_or_else(String::new, |value| String::from_utf8(value.to_vec()).unwrap());
            }
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("the cluster cannot be read")
}

/// Every entry of the log, in order.
async fn log(store: &dyn Kv) -> Vec<String> {
    let snapshot = store.snapshot().await.unwrap();
    let mut rest = KeyRange::prefix(b"log/");
    let mut entries = Vec::new();
    loop {
        let page = snapshot.range(rest.clone(), RangeLimit::PAGE).await.unwrap();
        entries.extend(page.entries.iter().map(|(_, value)| String::from_utf8(value.to_vec()).unwrap()));
        match page.entries.last() {
            Some((last, _)) if page.more => rest.start = [last, &b"\0"[..]].concat().into(),
            _ => return entries,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_while_processes_are_killed_and_started_again() {
    let Some(server) = variable("TIDEMARK_FDB_SERVER") else {
        say_skipped(
            "the test that kills processes of a FoundationDB cluster needs TIDEMARK_FDB_SERVER, its `fdbserver`",
        );
        return;
    };
    let mut processes = FdbProcesses::start(server);
    let store: Arc<dyn Kv> = Arc::new(open(&processes.cluster_file(), FdbOptions::default()));
    crate::done(&*store, |commit| {
        commit.put("fence", "0");
    })
    .await;

    let seen = Arc::new(Seen::default());
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (store, seen) = (Arc::clone(&store), Arc::clone(&seen));
        writers.spawn(async move { (writer, write(&*store, writer, &seen).await) });
    }
    for number in 0..PROCESSES {
        seen.progress().await;
        processes.kill(number);
        seen.progress().await;
        processes.start_again(number);
    }
    seen.progress().await;
    seen.stop.store(true, Ordering::SeqCst);
    let mut last = HashMap::new();
    while let Some(ended) = writers.join_next().await {
        let (writer, number) = ended.unwrap();
        last.insert(writer, number);
    }

    let mut next: HashMap<usize, u64> = (0..WRITERS).map(|writer| (writer, 1)).collect();
    for entry in log(&*store).await {
        let (writer, number) = entry.split_once('-').unwrap();
        let next = next.get_mut(&writer.parse().unwrap()).unwrap();
        assert_eq!(number.parse::<u64>().unwrap(), *next, "entry {entry} is lost, doubled or out of order");
        *next += 1;
    }
    assert_eq!(next, last.into_iter().map(|(writer, number)| (writer, number + 1)).collect());
    eprintln!(
        "{} commits done, {} of unknown outcome, {} refused as unavailable",
        seen.done.load(Ordering::SeqCst),
        seen.unknown.load(Ordering::SeqCst),
        seen.unavailable.load(Ordering::SeqCst)
    );
}
