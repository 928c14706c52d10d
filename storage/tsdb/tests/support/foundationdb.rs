//! Stores of their own in a real FoundationDB cluster, which `FDB_CLUSTER_FILE` names; `TIDEMARK_FDB_LIBRARY` names the
//! client library, if the loader does not find it.

use std::{
    hash::{BuildHasher, RandomState},
    io::Write,
    path::PathBuf,
    sync::{Arc, Once},
};

use tidemark_kv::{Commit, CommitOutcome, FdbKv, FdbNetwork, FdbOptions, KeyPrefix, KeyRange, Kv};

/// Runs a case on an empty store and clears it afterwards, also when the case fails. Without a cluster says so, once.
pub async fn with_store<R>(case: impl FnOnce(Arc<dyn Kv>) -> R)
where
    R: Future<Output = ()> + Send + 'static,
{
    let Some(cluster) = variable("FDB_CLUSTER_FILE") else {
        static SAID: Once = Once::new();
        SAID.call_once(|| {
            let text = "SKIPPED: the tests on FoundationDB need a cluster; set FDB_CLUSTER_FILE to its cluster file\n";
            std::io::stderr().write_all(text.as_bytes()).unwrap();
        });
        return;
    };
    let network = FdbNetwork::start(variable("TIDEMARK_FDB_LIBRARY").as_deref()).unwrap();
    let prefix = format!("tidemark-test-{:016x}/", RandomState::new().hash_one(std::process::id()));
    let options = FdbOptions { key_prefix: KeyPrefix::new(prefix.into_bytes()).unwrap(), ..FdbOptions::default() };
    let store: Arc<dyn Kv> = Arc::new(FdbKv::open(network, &cluster, options).unwrap());
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

#[expect(clippy::disallowed_methods, reason = "tests are told their cluster in the environment")]
fn variable(name: &str) -> Option<PathBuf> {
    std::env::var(name).ok().filter(|value| !value.is_empty()).map(PathBuf::from)
}
