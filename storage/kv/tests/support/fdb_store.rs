//! Stores of their own in a real FoundationDB cluster, for the tests of this crate and of those above it, which take this
//! file in by its path.
//!
//! `FDB_CLUSTER_FILE` names the cluster file; `TIDEMARK_FDB_LIBRARY` the client library, if the loader does not find it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "test helpers fail by panicking; not all use all")]

use std::{
    hash::{BuildHasher, RandomState},
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, Once},
};

use tidemark_kv::{Commit, CommitOutcome, FdbKv, FdbNetwork, FdbOptions, KeyPrefix, KeyRange, Kv};

/// Runs a case on an empty store and clears it afterwards, also when the case fails. Without a cluster says so, once.
pub async fn with_store<R>(case: impl FnOnce(Arc<dyn Kv>) -> R)
where
    R: Future<Output = ()> + Send + 'static,
{
    let Some(cluster) = cluster_file() else { return };
    let store: Arc<dyn Kv> = Arc::new(open(&cluster, FdbOptions { key_prefix: own_prefix(), ..FdbOptions::default() }));
    let mut running = tokio::task::JoinSet::new();
    running.spawn(case(Arc::clone(&store)));
    let ended = running.join_next().await.unwrap();
    let mut clearing = Commit::new();
    clearing.delete_range(KeyRange::prefix(b""));
    assert!(matches!(store.commit(clearing).await, CommitOutcome::Done(_)));
    if let Err(failed) = ended {
        std::panic::resume_unwind(failed.into_panic());
    }
}

/// The cluster to test on. Without one, says so once.
pub fn cluster_file() -> Option<PathBuf> {
    let file = variable("FDB_CLUSTER_FILE");
    if file.is_none() {
        static SAID: Once = Once::new();
        SAID.call_once(|| {
            say_skipped("the tests on FoundationDB need a cluster; set FDB_CLUSTER_FILE to its cluster file")
        });
    }
    file
}

/// Says what was skipped and why, past the test runner that would keep it to itself.
pub fn say_skipped(reason: &str) {
    std::io::stderr().write_all(format!("SKIPPED: {reason}\n").as_bytes()).unwrap();
}

/// A variable that is set to something.
#[expect(clippy::disallowed_methods, reason = "tests are told their cluster in the environment")]
pub fn variable(name: &str) -> Option<PathBuf> {
    std::env::var(name).ok().filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Connects to a cluster.
pub fn open(cluster: &Path, options: FdbOptions) -> FdbKv {
    let network = FdbNetwork::start(variable("TIDEMARK_FDB_LIBRARY").as_deref()).unwrap();
    FdbKv::open(network, cluster, options).unwrap()
}

/// A prefix that no other store has.
pub fn own_prefix() -> KeyPrefix {
    KeyPrefix::new(format!("tidemark-test/{:016x}/", RandomState::new().hash_one("prefix"))).unwrap()
}
