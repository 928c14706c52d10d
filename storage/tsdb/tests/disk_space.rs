//! Space on the disk comes back: after deletions and expiry the file has free pages, and a compaction gives them back.
#![allow(clippy::unwrap_used, reason = "a test that panics is a test that fails")]

mod support;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use support::{Random, START, TestPoint, write};
use tidemark_kv::{Kv, RedbKv, RedbOptions};
use tidemark_model::{DeleteOutcome, DeleteRequest, ManualClock, PointDeleter, SeriesSelector, TimeRange, Value};
use tidemark_tsdb::{Retention, SealReason, Store, StoreOptions};

const DAY: i64 = 86_400_000;
const STEP: i64 = 60_000;

fn mebibytes(bytes: Option<u64>) -> f64 {
    bytes.unwrap_or(0) as f64 / f64::from(1 << 20)
}

async fn open(kv: &Arc<RedbKv>, keep_days: Option<u64>) -> Store {
    let default = keep_days.map(|days| Duration::from_secs(days * 86_400));
    let options = StoreOptions { retention: Retention { default, ..Retention::default() }, ..StoreOptions::default() };
    let clock = Arc::new(ManualClock::new(START));
    Store::open(Arc::clone(kv) as Arc<dyn Kv>, clock, options).await.unwrap()
}

/// Fills days of two metrics with values that do not compress, deletes one metric, and lets most of the other expire.
#[expect(clippy::disallowed_methods, clippy::print_stdout, reason = "what it takes is printed for people")]
async fn run(hosts: usize, days: i64) {
    let folder = tempfile::tempdir().unwrap();
    let kv = Arc::new(RedbKv::open(&folder.path().join("store.redb"), RedbOptions::default()).unwrap());
    let store = open(&kv, None).await;
    let names: Vec<String> = (0..hosts).map(|number| format!("h{number}")).collect();
    let mut random = Random(5);
    for day in 0..days {
        for hour in 0..24 {
            let mut points: Vec<TestPoint<'_>> = Vec::new();
            let tags: Vec<[(&str, &str); 1]> = names.iter().map(|name| [("host", name.as_str())]).collect();
            for tags in &tags {
                for minute in 0..60 {
                    let at = START - (days - day) * DAY + hour * 3_600_000 + minute * STEP;
                    for metric in ["gone", "kept"] {
                        let value = Value::Float(f64::from_bits(random.next() >> 2));
                        points.push((metric, tags, at, value));
                    }
                }
            }
            write(&store, &points).await;
        }
        store.seal(SealReason::Requested).await.unwrap();
    }
    let full = kv.disk_bytes();
    let request =
        DeleteRequest { selector: SeriesSelector::metric("gone"), range: TimeRange::ALL, series_max: 1 << 20 };
    let began = Instant::now();
    assert!(matches!(store.delete(&request).await, DeleteOutcome::Done(_)));
    let deleted = began.elapsed();
    store.seal(SealReason::Requested).await.unwrap();
    let purged = began.elapsed();
    assert_eq!(store.figures().tombstones, 0);
    store.close().await;
    drop(store);
    let store = open(&kv, Some(2)).await;
    let began = Instant::now();
    let expired = store.expire().await.unwrap();
    let expiry = began.elapsed();
    assert!(expired.points > 0);
    let live = store.figures().block_bytes;
    store.close().await;
    drop(store);
    let before = kv.disk_bytes();
    let began = Instant::now();
    while kv.compact().await.unwrap() {}
    let after = kv.disk_bytes();
    println!(
        "full {:.1} MiB; delete {deleted:?}, with purge {purged:?}; expiry of {} points {expiry:?}; then {:.1} MiB of which \
         {:.1} MiB are blocks; compaction {:?}: {:.1} MiB",
        mebibytes(full),
        expired.points,
        mebibytes(before),
        mebibytes(Some(live)),
        began.elapsed(),
        mebibytes(after)
    );
    // The journal beside the file keeps its length.
    let of_file = |bytes: Option<u64>| bytes.unwrap() - RedbOptions::default().journal_bytes as u64;
    assert!(of_file(after) < of_file(before) / 2, "{before:?} {after:?}");
    let store = open(&kv, Some(2)).await;
    assert_eq!(support::read_metric(&store, "kept", TimeRange::ALL).await.len(), hosts);
    store.close().await;
}

#[tokio::test]
async fn a_compaction_gives_back_what_deletions_and_expiry_made_free() {
    run(20, 6).await;
}

#[tokio::test]
#[ignore = "measures; run by hand with --nocapture"]
async fn how_long_a_compaction_takes() {
    run(400, 12).await;
}
