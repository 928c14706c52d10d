//! What a check of a store finds.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use bytes::Bytes;
use support::{START, ShortSnapshots, all_entries, open, write};
use tidemark_kv::{Commit, CommitOutcome, Kv, MemoryKv};
use tidemark_model::{DocumentStore, ExpectedVersion, MetadataStore, MetricMetadata, Value};
use tidemark_tsdb::{
    SealReason, Store,
    inspect::{CheckReport, EntryKind, FindingKind, check_store, remove_orphans},
};

const HOUR: i64 = 3_600_000;

fn memory() -> Arc<dyn Kv> {
    Arc::new(MemoryKv::new())
}

/// A store with every kind of entry: sealed buckets, some with several generations, and a log.
async fn filled(kv: &Arc<dyn Kv>) -> Store {
    let store = open(Arc::clone(kv)).await.unwrap();
    for epoch in 0..3 {
        for step in 0..20 {
            let at = START + epoch * HOUR + step * 15_000;
            for host in ["a", "b", "c"] {
                let tags = [("host", host)];
                write(&store, &[("os.cpu", &tags, at, Value::Int(step)), ("os.load", &tags, at, Value::Float(0.1))])
                    .await;
            }
        }
        write(&store, &[("os.cpu", &[("host", "a")], START - 1 - epoch, Value::Float(0.5))]).await;
        if epoch < 2 {
            store.seal(SealReason::Requested).await.unwrap();
        }
    }
    let meaning = MetricMetadata { metric: "os.cpu".to_owned(), unit: "%".to_owned(), ..MetricMetadata::default() };
    store.put_metadata(vec![meaning]).await.unwrap();
    store.put("rules", "1", ExpectedVersion::Absent, vec![1]).await.unwrap();
    store
}

async fn check(kv: &Arc<dyn Kv>) -> CheckReport {
    check_store(kv.as_ref(), &mut |_| {}).await.unwrap()
}

async fn put(kv: &Arc<dyn Kv>, key: &[u8], value: Option<Bytes>) {
    let mut commit = Commit::new();
    let key = Bytes::copy_from_slice(key);
    match value {
        Some(value) => commit.put(key, value),
        None => commit.delete(key),
    };
    assert!(matches!(kv.commit(commit).await, CommitOutcome::Done(_)));
}

#[tokio::test]
async fn a_store_in_use_is_sound_and_an_empty_one_too() {
    let kv = memory();
    assert!(check(&kv).await.is_sound());
    let store = filled(&kv).await;
    store.close().await;
    let report = check(&kv).await;
    assert!(report.is_sound(), "{:#?}", report.findings);
    assert_eq!(report.series, 6);
    assert_eq!((report.block_points, report.log_points), (2 * 121, 121));
    assert_eq!(report.totals().entries, all_entries(kv.as_ref()).await.len() as u64);
    // Also in pieces, from many snapshots.
    let short = ShortSnapshots { inner: Arc::clone(&kv), reads: 3 };
    assert_eq!(check_store(&short, &mut |_| {}).await.unwrap(), report);
}

#[tokio::test]
async fn a_flipped_bit_of_any_entry_is_found_and_named() {
    let kv = memory();
    filled(&kv).await.close().await;
    for (key, value) in all_entries(kv.as_ref()).await {
        let mut rotten = value.to_vec();
        let position = rotten.len() / 2;
        rotten[position] ^= 0x20;
        put(&kv, &key, Some(rotten.into())).await;
        let report = check(&kv).await;
        let named = key.escape_ascii().to_string();
        assert!(report.findings.iter().any(|finding| finding.key == named), "{named}: {:#?}", report.findings);
        put(&kv, &key, Some(value)).await;
    }
    assert!(check(&kv).await.is_sound());
}

#[tokio::test]
async fn what_others_need_and_is_gone_is_found() {
    let kv = memory();
    filled(&kv).await.close().await;
    for (key, value) in all_entries(kv.as_ref()).await {
        put(&kv, &key, None).await;
        let report = check(&kv).await;
        match EntryKind::of(&key) {
            // Nothing else tells that there was one.
            EntryKind::Log | EntryKind::Writers | EntryKind::Metadata | EntryKind::Document | EntryKind::IndexLog => {}
            // Its groups are found to be nobody's.
            EntryKind::Directory => assert!(report.count(FindingKind::Orphan) > 0, "{key:?}"),
            kind => assert!(!report.is_sound(), "{kind} {key:?}"),
        }
        put(&kv, &key, Some(value)).await;
    }
}

#[tokio::test]
async fn orphans_are_told_from_damage_and_taken_away() {
    let kv = memory();
    filled(&kv).await.close().await;
    let sound = check(&kv).await;
    let entries = all_entries(kv.as_ref()).await;
    let (group, value) = entries.iter().find(|(key, _)| EntryKind::of(key) == EntryKind::Group).unwrap();
    let (segment, log) = entries.iter().find(|(key, _)| EntryKind::of(key) == EntryKind::Log).unwrap();
    // A group that a merge wrote and did not publish, and a log that a seal published and did not clear.
    let mut orphan = group.to_vec();
    *orphan.last_mut().unwrap() += 1;
    let mut left_over = segment.to_vec();
    left_over[3..11].copy_from_slice(&1_u64.to_be_bytes());
    put(&kv, &orphan, Some(value.clone())).await;
    put(&kv, &left_over, Some(log.clone())).await;
    let report = check(&kv).await;
    assert_eq!((report.findings.len(), report.count(FindingKind::Orphan)), (2, 2), "{:#?}", report.findings);
    assert_eq!(remove_orphans(kv.as_ref(), &report).await, Ok(2));
    assert_eq!(check(&kv).await, sound);
}

#[tokio::test]
async fn a_kind_of_entry_that_nobody_knows_is_a_finding() {
    let kv = memory();
    filled(&kv).await.close().await;
    put(&kv, b"zebra", Some(Bytes::from_static(b"?"))).await;
    let report = check(&kv).await;
    assert_eq!((report.findings.len(), report.findings[0].kind), (1, FindingKind::Unknown));
    assert_eq!(remove_orphans(kv.as_ref(), &report).await, Ok(0));
}

#[tokio::test]
async fn a_seal_that_was_broken_off_is_no_damage() {
    let kv = memory();
    let probe = support::ProbeKv::new(Arc::clone(&kv));
    let store = open(Arc::clone(&probe) as Arc<dyn Kv>).await.unwrap();
    for step in 0..100 {
        write(&store, &[("os.cpu", &[("host", "a")], START + step * HOUR, Value::Int(step))]).await;
    }
    // The fence has moved, the blocks are written, and nothing is published.
    probe.die_after(2);
    assert!(store.seal(SealReason::Requested).await.is_err());
    store.close().await;
    let report = check(&kv).await;
    assert!(report.is_sound(), "{:#?}", report.findings);
    assert_eq!((report.block_points, report.log_points), (0, 100));
}
