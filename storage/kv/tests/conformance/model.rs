//! Random commits against a plain ordered map.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use tidemark_kv::{Commit, CommitOutcome, KeyRange, Kv, KvError, Operation, RangeLimit, Versionstamp};

use crate::{memory_store, redb_store};

/// Keys to expect, with whether the expectation holds; then the operations.
type RandomCommit = (Vec<(Bytes, bool)>, Vec<Operation>);

type Model = BTreeMap<Bytes, Bytes>;

fn key() -> impl Strategy<Value = Bytes> {
    let byte = prop_oneof![Just(0_u8), Just(b'a'), Just(0xFF)];
    prop::collection::vec(byte, 0..4).prop_map(Bytes::from)
}

fn small_value() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..3).prop_map(Bytes::from)
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => (key(), small_value()).prop_map(|(key, value)| Operation::Put { key, value }),
        2 => key().prop_map(|key| Operation::Delete { key }),
        1 => (key(), key()).prop_map(|(start, end)| Operation::DeleteRange(KeyRange { start, end })),
        1 => (key(), key(), small_value())
            .prop_map(|(prefix, suffix, value)| Operation::PutVersionstamped { prefix, suffix, value }),
    ]
}

/// A commit whose expectations mostly hold.
fn commit() -> impl Strategy<Value = RandomCommit> {
    let expectations = prop::collection::vec((key(), prop::bool::weighted(0.9)), 0..3);
    (expectations, prop::collection::vec(operation(), 0..6))
}

fn apply(model: &mut Model, operations: &[Operation], stamp: Versionstamp) {
    let mut order = 0_u8;
    for operation in operations {
        match operation.clone() {
            Operation::Put { key, value } => {
                model.insert(key, value);
            }
            Operation::Delete { key } => {
                model.remove(&key);
            }
            Operation::DeleteRange(range) => {
                model.retain(|key, _| *key < range.start || *key >= range.end);
            }
            Operation::PutVersionstamped { prefix, suffix, value } => {
                let mut stamp = stamp.0;
                stamp[11] += order;
                order += 1;
                model.insert([&prefix[..], &stamp, &suffix[..]].concat().into(), value);
            }
        }
    }
}

async fn follow(store: &dyn Kv, commits: Vec<RandomCommit>) {
    let mut model = Model::new();
    let mut snapshots = Vec::new();
    for (expectations, operations) in commits {
        let mut commit = Commit { operations, ..Commit::default() };
        for (key, holds) in expectations {
            let there = model.get(&key).cloned();
            let expected = if holds { there } else { Some(Bytes::from_static(b"never written")) };
            commit.expect(key, expected);
        }
        let fails =
            commit.expectations.iter().any(|expectation| model.get(&expectation.key) != expectation.value.as_ref());
        match store.commit(commit.clone()).await {
            CommitOutcome::Done(stamp) => {
                assert!(!fails);
                apply(&mut model, &commit.operations, stamp);
            }
            CommitOutcome::Refused(KvError::Conflict { .. }) => assert!(fails),
            other => panic!("expected done or conflict, got {other:?}"),
        }
        snapshots.push((store.snapshot().await.unwrap(), model.clone()));
    }
    for (snapshot, model) in snapshots {
        let all = snapshot.range(KeyRange::prefix(b""), RangeLimit::PAGE).await.unwrap();
        assert_eq!(all.entries, model.iter().map(|(key, value)| (key.clone(), value.clone())).collect::<Vec<_>>());
        let part = KeyRange::new("a", "a\u{0}\u{0}");
        let found = snapshot.range(part.clone(), RangeLimit { reverse: true, ..RangeLimit::entries(2) }).await.unwrap();
        let expected = model.range(part.start..part.end).rev().take(2);
        assert_eq!(found.entries, expected.map(|(key, value)| (key.clone(), value.clone())).collect::<Vec<_>>());
        for key in [&b""[..], b"a", b"\xff\xff"] {
            assert_eq!(snapshot.get(key).await.unwrap().as_ref(), model.get(key));
        }
    }
}

fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_memory_engine_does_what_a_map_does(commits in prop::collection::vec(commit(), 0..30)) {
        block_on(follow(&*memory_store(), commits));
    }
}

#[cfg(feature = "fdb")]
proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn the_foundationdb_engine_does_what_a_map_does(commits in prop::collection::vec(commit(), 0..30)) {
        block_on(crate::fdb_store::with_store(|store| async move { follow(&*store, commits).await }));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn the_redb_engine_does_what_a_map_does(commits in prop::collection::vec(commit(), 0..30)) {
        let folder = tempfile::tempdir().unwrap();
        block_on(follow(&*redb_store(folder.path()), commits));
    }
}
