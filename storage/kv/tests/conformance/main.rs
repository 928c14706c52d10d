//! What every engine must do, run on each of them through the trait alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "test helpers fail by panicking")]

mod concurrency;
mod contract;
mod durability;
#[cfg(feature = "fdb")]
#[path = "../support/fdb_processes.rs"]
mod fdb_processes;
#[cfg(feature = "fdb")]
#[path = "../support/fdb_store.rs"]
mod fdb_store;
#[cfg(feature = "fdb")]
mod foundationdb;
#[cfg(feature = "fdb")]
mod foundationdb_outage;
mod model;

use std::{path::Path, sync::Arc};

use tidemark_kv::{Commit, CommitOutcome, Kv, KvError, MemoryKv, RedbKv, RedbOptions, Versionstamp};

/// Runs a case on every engine. On FoundationDB only with the feature `fdb`, and when `FDB_CLUSTER_FILE` names a cluster.
macro_rules! on_every_engine {
    ($($case:path as $name:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { $case(crate::memory_store()).await; })*
        }
        mod redb {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let folder = tempfile::tempdir().unwrap();
                $case(crate::redb_store(folder.path())).await;
            })*
        }
        #[cfg(feature = "fdb")]
        mod fdb {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { crate::fdb_store::with_store($case).await; })*
        }
    };
}

on_every_engine! {
    crate::contract::a_snapshot_sees_one_state as a_snapshot_sees_one_state,
    crate::contract::ranges_come_in_byte_order as ranges_come_in_byte_order,
    crate::contract::a_range_stops_at_its_limits as a_range_stops_at_its_limits,
    crate::contract::prefixes_of_0xff_bytes_have_an_end as prefixes_of_0xff_bytes_have_an_end,
    crate::contract::empty_and_inverted_ranges_hold_nothing as empty_and_inverted_ranges_hold_nothing,
    crate::contract::pages_join_without_gap_or_overlap as pages_join_without_gap_or_overlap,
    crate::contract::a_failed_expectation_writes_nothing as a_failed_expectation_writes_nothing,
    crate::contract::expectations_see_the_state_before_the_operations as expectations_see_the_state_before_the_operations,
    crate::contract::operations_apply_in_order as operations_apply_in_order,
    crate::contract::a_deleted_range_is_gone_and_its_neighbours_stay as a_deleted_range_is_gone_and_its_neighbours_stay,
    crate::contract::versionstamps_grow_across_and_inside_commits as versionstamps_grow_across_and_inside_commits,
    crate::contract::the_limits_are_enforced_and_named as the_limits_are_enforced_and_named,
    crate::contract::empty_values_differ_from_missing_keys as empty_values_differ_from_missing_keys,
    crate::concurrency::counters_lose_no_increment as counters_lose_no_increment,
    crate::concurrency::concurrent_commits_get_distinct_stamps_in_key_order as concurrent_commits_get_distinct_stamps_in_key_order,
    crate::concurrency::a_fence_lets_nothing_pass as a_fence_lets_nothing_pass,
}

pub(crate) fn memory_store() -> Arc<dyn Kv> {
    Arc::new(MemoryKv::new())
}

pub(crate) fn redb_store(folder: &Path) -> Arc<dyn Kv> {
    Arc::new(open_redb(folder).unwrap())
}

pub(crate) fn open_redb(folder: &Path) -> Result<RedbKv, KvError> {
    RedbKv::open(&folder.join("store.redb"), RedbOptions::default())
}

/// Commits and insists that it is done.
pub(crate) async fn done(store: &dyn Kv, build: impl FnOnce(&mut Commit)) -> Versionstamp {
    let mut commit = Commit::new();
    build(&mut commit);
    match store.commit(commit).await {
        CommitOutcome::Done(stamp) => stamp,
        other => panic!("expected the commit to be done, got {other:?}"),
    }
}

/// Commits and insists that it is refused.
pub(crate) async fn refused(store: &dyn Kv, build: impl FnOnce(&mut Commit)) -> KvError {
    let mut commit = Commit::new();
    build(&mut commit);
    match store.commit(commit).await {
        CommitOutcome::Refused(error) => error,
        other => panic!("expected the commit to be refused, got {other:?}"),
    }
}

/// The value of a key now, as text.
pub(crate) async fn value(store: &dyn Kv, key: impl AsRef<[u8]>) -> Option<String> {
    let value = store.snapshot().await.unwrap().get(key.as_ref()).await.unwrap();
    value.map(|value| String::from_utf8(value.to_vec()).unwrap())
}
