//! Backups of stores in which names are changed, also while the backup is taken.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use support::{START, ShortSnapshots, backups, open_with, read, write};
use tidemark_kv::{Kv, MemoryKv};
use tidemark_model::{
    MetadataStore, MetricMetadata, NameIds, NameKind, SeriesCatalog, SeriesSelector, TimeRange, Value,
};
use tidemark_tsdb::{SealReason, Store, StoreOptions, backup::BackupCursor, inspect::check_store};

const METRICS: usize = 60;
const HOUR: i64 = 3_600_000;

fn memory() -> Arc<dyn Kv> {
    Arc::new(MemoryKv::new())
}

fn options() -> StoreOptions {
    StoreOptions { shards: 5, ..StoreOptions::default() }
}

/// A store with points in blocks and in the log, and something known of each metric.
async fn filled(kv: &Arc<dyn Kv>) -> Store {
    let store = open_with(Arc::clone(kv), options()).await.unwrap();
    for at in [START, START + HOUR] {
        for number in 0..METRICS {
            let name = format!("metric.{number:03}");
            write(&store, &[(&name, &[("host", "a"), ("rack", "b")], at, Value::Int(number as i64))]).await;
        }
        if at == START {
            store.seal(SealReason::Requested).await.unwrap();
        }
    }
    let metrics = (0..METRICS).map(|number| MetricMetadata {
        metric: format!("metric.{number:03}"),
        unit: format!("unit{number}"),
        ..MetricMetadata::default()
    });
    store.put_metadata(metrics.collect()).await.unwrap();
    store
}

/// Gives a metric the first name of all or the last one, so that it goes to where a backup was or has yet to come.
async fn rename(store: &Store, step: usize) {
    let number = step * 7 % METRICS;
    let selector = SeriesSelector::Tags { metric: None, predicates: Vec::new(), exact_keys: false };
    let all = store.lookup(&selector, 0, 1_000).await.unwrap().series;
    let ends = format!("{number:03}");
    let old = all.iter().map(|info| info.key.metric()).find(|metric| metric.ends_with(&ends)).unwrap().to_owned();
    let new = format!("{}{step}.{ends}", if old.starts_with('z') { 'a' } else { 'z' });
    store.rename(NameKind::Metric, &old, &new).await.unwrap();
    let (old, new) = if step.is_multiple_of(2) { ("host", "zone") } else { ("zone", "host") };
    if store.id(NameKind::TagKey, old).await.unwrap().is_some() {
        store.rename(NameKind::TagKey, old, new).await.unwrap();
    }
}

/// Points and unit of each metric.
type ByNumber = BTreeMap<String, (Vec<(i64, u64, bool)>, String)>;

/// The points of each metric, by the number at the end of whatever it is called, and what is known of it.
async fn by_number(store: &Store) -> ByNumber {
    let any = SeriesSelector::Tags { metric: None, predicates: Vec::new(), exact_keys: false };
    let mut found = ByNumber::new();
    for (series, points) in read(store, any, TimeRange::ALL).await {
        let (metric, _) = series.split_once('{').unwrap();
        let unit = store.metadata(metric).await.unwrap().unwrap_or_default().unit;
        let (_, number) = metric.rsplit_once('.').unwrap();
        assert_eq!(found.insert(number.to_owned(), (points, unit)), None, "{series}");
    }
    assert_eq!(found.len(), METRICS);
    found
}

/// Restores and checks that everything is there, under some name.
async fn check(file: &[u8], expected: &ByNumber) {
    let to = memory();
    backups::restore(&to, file, usize::MAX).await.unwrap();
    let restored = open_with(Arc::clone(&to), options()).await.unwrap();
    // The log that was restored becomes blocks in any case; reads would meet the merges.
    restored.seal(SealReason::Requested).await.unwrap();
    assert!(by_number(&restored).await == *expected);
    rename(&restored, 1_000).await;
    restored.close().await;
    let report = check_store(to.as_ref(), &mut |_| {}).await.unwrap();
    assert!(report.is_sound(), "{:#?}", report.findings);
}

#[tokio::test]
async fn a_restored_store_has_the_names_that_the_one_that_was_saved_had() {
    let from = memory();
    let store = filled(&from).await;
    for step in 0..20 {
        rename(&store, step).await;
    }
    let expected = by_number(&store).await;
    let file = backups::file_of(&backups::take(from.as_ref(), BackupCursor::start(), usize::MAX).await);
    let to = memory();
    backups::restore(&to, &file, usize::MAX).await.unwrap();
    let restored = open_with(to, options()).await.unwrap();
    let any = SeriesSelector::Tags { metric: None, predicates: Vec::new(), exact_keys: false };
    let (before, after) = (store.lookup(&any, 0, 1_000).await.unwrap(), restored.lookup(&any, 0, 1_000).await.unwrap());
    assert_eq!(before, after);
    restored.close().await;
    check(&file, &expected).await;
    store.close().await;
}

#[tokio::test]
async fn a_backup_goes_on_behind_any_chunk_after_names_were_changed() {
    let from = memory();
    let store = filled(&from).await;
    let expected = by_number(&store).await;
    let whole = backups::take(from.as_ref(), BackupCursor::start(), usize::MAX).await;
    assert!(whole.len() > 20, "{} chunks", whole.len());
    for length in (1..whole.len()).step_by(3) {
        let mut chunks = backups::take(from.as_ref(), BackupCursor::start(), length).await;
        if chunks.last().unwrap().is_last {
            break;
        }
        let cursor = backups::cursor_behind(&chunks);
        for step in 2 * length..2 * length + 2 {
            rename(&store, step).await;
        }
        chunks.extend(backups::take(from.as_ref(), cursor, usize::MAX).await);
        check(&backups::file_of(&chunks), &expected).await;
    }
    store.close().await;
}

#[tokio::test]
async fn a_backup_of_many_snapshots_has_each_name_once() {
    for reads in [4, 5, 7] {
        let from = memory();
        let store = filled(&from).await;
        let expected = by_number(&store).await;
        let (stop, short) = (AtomicBool::new(false), ShortSnapshots { inner: Arc::clone(&from), reads });
        let renaming = async {
            let mut step = 0;
            while !stop.load(Ordering::SeqCst) && step < 200 {
                rename(&store, step).await;
                step += 1;
            }
            step
        };
        let taking = async {
            let chunks = backups::take(&short, BackupCursor::start(), usize::MAX).await;
            stop.store(true, Ordering::SeqCst);
            chunks
        };
        let (renamed, chunks) = tokio::join!(renaming, taking);
        assert!(renamed > 10, "{renamed} names were changed");
        check(&backups::file_of(&chunks), &expected).await;
        store.close().await;
    }
}
