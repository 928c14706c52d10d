//! Writers, readers and a sealer at the same time, on real threads.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics is a test that fails")]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use support::{START, TestPoint, open_with, read_metric, write};
use tidemark_kv::{Kv, MemoryKv, RedbKv, RedbOptions};
use tidemark_model::{SeriesCatalog, SeriesSelector, TimeRange, Value};
use tidemark_tsdb::{SealReason, Store, StoreOptions};
use tokio_util::task::TaskTracker;

const WRITERS: usize = 4;
const BATCHES: i64 = 300;
const POINTS: i64 = 40;

/// Writes batches and notes how many points were acknowledged.
async fn run_writer(store: Store, host: String, acknowledged: Arc<AtomicI64>) {
    for batch in 0..BATCHES {
        let tags = [("host", host.as_str())];
        let points: Vec<TestPoint<'_>> = (batch * POINTS..(batch + 1) * POINTS)
            .map(|step| ("cpu", tags.as_slice(), START + step * 15_000, Value::Int(step)))
            .collect();
        write(&store, &points).await;
        acknowledged.store((batch + 1) * POINTS, Ordering::SeqCst);
    }
}

/// Everything that was acknowledged before a read is in it, once, and nothing is missing in between.
async fn check(store: &Store, acknowledged: &[Arc<AtomicI64>]) {
    let before: Vec<i64> = acknowledged.iter().map(|points| points.load(Ordering::SeqCst)).collect();
    if before.iter().all(|&points| points == 0) {
        return;
    }
    let selector = SeriesSelector::metric("cpu");
    let last = store.last(&selector, 0).await.unwrap();
    let read = read_metric(store, "cpu", TimeRange::ALL).await;
    for (writer, &points) in before.iter().enumerate().filter(|(_, points)| **points > 0) {
        let key = format!("cpu{{host=w{writer}}}");
        let found = &read[&key];
        assert!(found.len() as i64 >= points, "{key}: {} of {points}", found.len());
        for (step, point) in (0..).zip(found) {
            assert_eq!(*point, (START + step * 15_000, u64::try_from(step).unwrap(), false), "{key}");
        }
        let newest = last.iter().find(|last| last.series.key.to_string() == key).unwrap().point;
        assert!(newest.timestamp >= START + (points - 1) * 15_000, "{key}");
    }
}

async fn run(kv: Arc<dyn Kv>, shards: u16) {
    let options = StoreOptions { shards, seal_points: 3_000, ..StoreOptions::default() };
    let store = open_with(Arc::clone(&kv), options.clone()).await.unwrap();
    let tracker = TaskTracker::new();
    let acknowledged: Vec<_> = (0..WRITERS).map(|_| Arc::new(AtomicI64::new(0))).collect();
    let running = Arc::new(AtomicUsize::new(WRITERS));
    for (writer, acknowledged) in acknowledged.iter().enumerate() {
        let (store, acknowledged, running) = (store.clone(), Arc::clone(acknowledged), Arc::clone(&running));
        tracker.spawn(async move {
            run_writer(store, format!("w{writer}"), acknowledged).await;
            running.fetch_sub(1, Ordering::SeqCst);
        });
    }
    let sealing = tracker.spawn({
        let (store, running) = (store.clone(), Arc::clone(&running));
        async move {
            while running.load(Ordering::SeqCst) > 0 {
                store.seal(SealReason::Requested).await.unwrap();
                tokio::task::yield_now().await;
            }
        }
    });
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while running.load(Ordering::SeqCst) > 0 {
        check(&store, &acknowledged).await;
        assert!(tokio::time::Instant::now() < deadline, "the writers did not end in time");
    }
    sealing.await.unwrap();
    tracker.close();
    tracker.wait().await;
    check(&store, &acknowledged).await;
    assert!(store.figures().seals.epochs > 1, "{:?}", store.figures().seals);
    store.close().await;
    drop(store);
    let store = open_with(kv, options).await.unwrap();
    check(&store, &acknowledged).await;
    assert_eq!(read_metric(&store, "cpu", TimeRange::ALL).await["cpu{host=w0}"].len() as i64, BATCHES * POINTS);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_see_what_was_acknowledged_while_the_memory_engine_is_sealed() {
    run(Arc::new(MemoryKv::new()), 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_see_what_was_acknowledged_while_redb_is_sealed() {
    let folder = tempfile::tempdir().unwrap();
    run(Arc::new(RedbKv::open(&folder.path().join("store.redb"), RedbOptions::default()).unwrap()), 1).await;
}
