//! What the store promises, on every engine.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics is a test that fails")]

mod support;

use std::{sync::Arc, time::Duration};

use support::{START, Tags, batch, bits_of, open, open_with, read, read_metric, write};
use tidemark_kv::{Kv, MemoryKv, RedbKv, RedbOptions};
use tidemark_model::{
    DocumentError, DocumentStore, ExpectedVersion, MetadataStore, MetricMetadata, NameKind, Point, PointBatch,
    PointSink, RateKind, ReadError, ReadLimits, ReadRequest, RefusalReason, SeriesCatalog, SeriesReader,
    SeriesSelector, TagMatch, TagPredicate, TimeRange, Value, WriteOutcome,
};
use tidemark_tsdb::{SealReason, StoreError, StoreOptions};

const WEB1: Tags<'_> = &[("host", "web1")];
const WEB2: Tags<'_> = &[("host", "web2")];

/// Runs a test on each engine.
macro_rules! on_every_engine {
    ($($name:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $name() {
                super::$name(std::sync::Arc::new(tidemark_kv::MemoryKv::new())).await;
            })*
        }
        #[cfg(feature = "fdb")]
        mod foundationdb {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::support::foundationdb::with_store(super::$name).await;
            })*
        }
        mod redb {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let folder = tempfile::tempdir().unwrap();
                super::$name(super::redb_in(folder.path())).await;
            })*
        }
    };
}

on_every_engine!(
    points_are_read_back_at_once_after_a_restart_and_after_a_seal,
    late_points_and_overwrites_win_whatever_their_type,
    names_and_series_are_found,
    the_newest_points_are_known_after_a_seal_and_a_restart,
    limits_refuse_new_series_and_never_old_ones,
    reads_stop_at_their_limits,
    documents_have_versions,
    metadata_is_merged,
    several_shards_are_one_store,
    an_idle_store_has_nothing_to_seal,
    figures_follow_what_happens,
    a_batch_larger_than_a_commit_is_stored_whole,
);

fn redb_in(folder: &std::path::Path) -> Arc<dyn Kv> {
    Arc::new(RedbKv::open(&folder.join("store.redb"), RedbOptions::default()).unwrap())
}

async fn points_are_read_back_at_once_after_a_restart_and_after_a_seal(kv: Arc<dyn Kv>) {
    let store = open(Arc::clone(&kv)).await.unwrap();
    for step in 0..1000 {
        let (at, value) = (START + step * 15_000, Value::Int(step));
        if step % 100 == 0 {
            write(&store, &[("cpu", WEB1, at, value), ("cpu", WEB2, at, Value::Float(step as f64 / 10.0))]).await;
        } else {
            write(&store, &[("cpu", WEB1, at, value)]).await;
        }
    }
    let before = read_metric(&store, "cpu", TimeRange::ALL).await;
    assert_eq!(before["cpu{host=web1}"].len(), 1000);
    assert_eq!(before["cpu{host=web2}"][3], (START + 300 * 15_000, 30.0_f64.to_bits(), true));
    store.close().await;
    drop(store);

    let store = open(Arc::clone(&kv)).await.unwrap();
    assert_eq!(read_metric(&store, "cpu", TimeRange::ALL).await, before);
    let report = store.seal(SealReason::Requested).await.unwrap();
    assert_eq!((report.shards, report.points), (1, 1010));
    assert_eq!(read_metric(&store, "cpu", TimeRange::ALL).await, before);
    let range = TimeRange::new(START + 100 * 15_000, START + 102 * 15_000);
    assert_eq!(read_metric(&store, "cpu", range).await["cpu{host=web1}"].len(), 2);
    drop(store);

    let store = open(kv).await.unwrap();
    assert_eq!(store.figures().head_points, 0);
    assert_eq!(read_metric(&store, "cpu", TimeRange::ALL).await, before);
    store.close().await;
}

async fn late_points_and_overwrites_win_whatever_their_type(kv: Arc<dyn Kv>) {
    let store = open(kv).await.unwrap();
    write(&store, &[("cpu", WEB1, START, Value::Int(1)), ("cpu", WEB1, START + 1, Value::Int(2))]).await;
    store.seal(SealReason::Requested).await.unwrap();
    write(&store, &[("cpu", WEB1, START + 1, Value::Float(2.5)), ("cpu", WEB1, START - 5, Value::Int(0))]).await;
    let expect = |last: Value| {
        [(START - 5, Value::Int(0)), (START, Value::Int(1)), (START + 1, last)].map(|(at, value)| {
            let (bits, float) = bits_of(value);
            (at, bits, float)
        })
    };
    assert_eq!(read_metric(&store, "cpu", TimeRange::ALL).await["cpu{host=web1}"], expect(Value::Float(2.5)));
    store.seal(SealReason::Requested).await.unwrap();
    assert_eq!(read_metric(&store, "cpu", TimeRange::ALL).await["cpu{host=web1}"], expect(Value::Float(2.5)));
    write(&store, &[("cpu", WEB1, START + 1, Value::Int(7)), ("cpu", WEB1, START + 1, Value::Int(8))]).await;
    store.seal(SealReason::Requested).await.unwrap();
    assert_eq!(read_metric(&store, "cpu", TimeRange::ALL).await["cpu{host=web1}"], expect(Value::Int(8)));
    store.close().await;
}

async fn names_and_series_are_found(kv: Arc<dyn Kv>) {
    for restarted in [false, true] {
        let store = open(Arc::clone(&kv)).await.unwrap();
        if !restarted {
            let tags: Tags<'_> = &[("host", "web1"), ("dc", "ams")];
            let at = START;
            write(&store, &[("sys.cpu", tags, at, Value::Int(1)), ("sys.mem", WEB2, at, Value::Int(1))]).await;
        }
        assert_eq!(store.suggest(NameKind::Metric, "sys", 10).await.unwrap(), ["sys.cpu", "sys.mem"]);
        assert_eq!(store.suggest(NameKind::TagKey, "", 1).await.unwrap(), ["dc"]);
        assert_eq!(store.suggest(NameKind::TagValue, "web", 10).await.unwrap(), ["web1", "web2"]);
        let any = SeriesSelector::Tags {
            metric: None,
            predicates: vec![TagPredicate { key: "host".to_owned(), matches: TagMatch::Any }],
            exact_keys: false,
        };
        let page = store.lookup(&any, 1, 5).await.unwrap();
        assert_eq!((page.total, page.series.len()), (2, 1));
        assert_eq!(page.series[0].key.to_string(), "sys.mem{host=web2}");
        let tsuid = page.series[0].tsuid.clone();
        let by_tsuid = read(&store, SeriesSelector::Tsuids(vec![tsuid]), TimeRange::ALL).await;
        assert_eq!(by_tsuid.into_keys().collect::<Vec<_>>(), ["sys.mem{host=web2}"]);
        let unknown = store.lookup(&SeriesSelector::metric("nope"), 0, 1).await.unwrap_err();
        assert_eq!(unknown.to_string(), "no such metric: `nope`");
        store.close().await;
    }
}

async fn the_newest_points_are_known_after_a_seal_and_a_restart(kv: Arc<dyn Kv>) {
    let store = open(Arc::clone(&kv)).await.unwrap();
    let day = 24 * 3600 * 1000;
    write(&store, &[("cpu", WEB1, START, Value::Int(1)), ("cpu", WEB2, START, Value::Int(2))]).await;
    write(&store, &[("cpu", WEB1, START - day, Value::Int(0)), ("cpu", WEB1, START + day, Value::Float(3.5))]).await;
    let newest = |point: (i64, Value)| Point { timestamp: point.0, value: point.1 };
    let expect = [newest((START + day, Value::Float(3.5))), newest((START, Value::Int(2)))];
    let selector = SeriesSelector::metric("cpu");
    let last = async |store: &tidemark_tsdb::Store, not_before| -> Vec<Point> {
        store.last(&selector, not_before).await.unwrap().into_iter().map(|last| last.point).collect()
    };
    assert_eq!(last(&store, 0).await, expect);
    store.seal(SealReason::Requested).await.unwrap();
    assert_eq!(last(&store, 0).await, expect);
    drop(store);
    let store = open(Arc::clone(&kv)).await.unwrap();
    write(&store, &[("cpu", WEB2, START - 1, Value::Int(9))]).await;
    assert_eq!(last(&store, START + 1).await, expect[..1]);
    assert_eq!(last(&store, 0).await, expect);
    write(&store, &[("cpu", WEB2, START, Value::Int(10))]).await;
    store.seal(SealReason::Requested).await.unwrap();
    assert_eq!(last(&store, 0).await[1], newest((START, Value::Int(10))));
    drop(store);
    let store = open(kv).await.unwrap();
    assert_eq!(last(&store, 0).await[1], newest((START, Value::Int(10))));
    store.close().await;
}

async fn limits_refuse_new_series_and_never_old_ones(kv: Arc<dyn Kv>) {
    let options = StoreOptions { series_per_metric_max: 2, series_max: 3, ..StoreOptions::default() };
    let store = open_with(kv, options).await.unwrap();
    let point = |metric, tags, at| (metric, tags, at, Value::Int(1));
    let web3: Tags<'_> = &[("host", "web3")];
    let points = [point("cpu", WEB1, START), point("cpu", WEB2, START), point("cpu", web3, START)];
    let WriteOutcome::Done(receipt) = store.write(batch(&points)).await else { panic!("refused whole") };
    assert_eq!((receipt.stored, receipt.refused.len()), (2, 1));
    assert_eq!(receipt.refused[0].0, 2);
    assert_eq!(receipt.refused[0].1.reason, RefusalReason::Limit);
    let message = receipt.refused[0].1.message.clone();
    let expect = "series limit of metric `cpu` reached (2); tag key `host` grows fastest, by 3 new values in 10 minutes; \
                  see `limits.series_per_metric`";
    assert_eq!(message, expect);
    let points = [point("mem", WEB1, START), point("mem", WEB2, START), point("cpu", WEB1, START + 1)];
    let WriteOutcome::Done(receipt) = store.write(batch(&points)).await else { panic!("refused whole") };
    assert_eq!((receipt.stored, receipt.refused.len()), (2, 1));
    assert!(receipt.refused[0].1.message.contains("`limits.series`"));
    assert_eq!(read_metric(&store, "cpu", TimeRange::ALL).await["cpu{host=web1}"].len(), 2);
    store.close().await;
}

async fn reads_stop_at_their_limits(kv: Arc<dyn Kv>) {
    let store = open(kv).await.unwrap();
    for sealed in [false, true] {
        write(&store, &[("cpu", WEB1, START, Value::Int(1)), ("cpu", WEB2, START, Value::Int(2))]).await;
        let open = async |limits| {
            let selector = SeriesSelector::metric("cpu");
            let request = ReadRequest { selector, range: TimeRange::ALL, limits, rollup: None };
            store.open(request).await.map(|set| set.statistics())
        };
        let limits = ReadLimits::default();
        let error = open(ReadLimits { series_max: 1, ..limits }).await.unwrap_err();
        assert_eq!(error, ReadError::TooManySeries { found: 2, limit: 1 });
        let error = open(ReadLimits { points_max: 1, ..limits }).await.unwrap_err();
        assert!(matches!(error, ReadError::TooManyPoints { limit: 1, .. }), "{error}");
        let error = open(ReadLimits { bytes_max: 1, ..limits }).await.unwrap_err();
        assert!(matches!(error, ReadError::TooManyBytes { limit: 1, .. }), "{error}");
        assert_eq!(open(limits).await.unwrap().points, if sealed { 4 } else { 2 });
        store.seal(SealReason::Requested).await.unwrap();
    }
    store.close().await;
}

async fn documents_have_versions(kv: Arc<dyn Kv>) {
    let store = open(kv).await.unwrap();
    let first = store.put("rules", "a", ExpectedVersion::Absent, b"one".to_vec()).await.unwrap();
    let conflict = store.put("rules", "a", ExpectedVersion::Absent, b"two".to_vec()).await.unwrap_err();
    assert!(matches!(conflict, DocumentError::Conflict { .. }));
    let second = store.put("rules", "a", ExpectedVersion::Exactly(first), b"two".to_vec()).await.unwrap();
    assert!(second > first);
    assert!(store.put("rules", "a", ExpectedVersion::Exactly(first), Vec::new()).await.is_err());
    store.put("rules", "b", ExpectedVersion::Any, Vec::new()).await.unwrap();
    store.put("rule", "sz", ExpectedVersion::Any, Vec::new()).await.unwrap();
    let ids = |documents: Vec<tidemark_model::Document>| documents.into_iter().map(|d| d.id).collect::<Vec<_>>();
    assert_eq!(ids(store.list("rules", None, 10).await.unwrap()), ["a", "b"]);
    assert_eq!(ids(store.list("rules", Some("a"), 10).await.unwrap()), ["b"]);
    assert_eq!(ids(store.list("rules", None, 1).await.unwrap()), ["a"]);
    assert_eq!(store.get("rules", "a").await.unwrap().unwrap().bytes, b"two");
    store.delete("rules", "a").await.unwrap();
    store.delete("rules", "a").await.unwrap();
    assert_eq!(store.get("rules", "a").await.unwrap(), None);
    let again = store.put("rules", "a", ExpectedVersion::Absent, Vec::new()).await.unwrap();
    assert!(again >= first);
    let large = store.put("rules", "c", ExpectedVersion::Any, vec![0; 200_000]).await.unwrap_err();
    assert!(matches!(large, DocumentError::TooLarge { bytes: 200_000, .. }));
    store.close().await;
}

async fn metadata_is_merged(kv: Arc<dyn Kv>) {
    let store = open(kv).await.unwrap();
    let entry = |unit: &str, rate, description: &str| MetricMetadata {
        metric: "cpu".to_owned(),
        unit: unit.to_owned(),
        rate,
        description: description.to_owned(),
    };
    assert_eq!(store.metadata("cpu").await.unwrap(), None);
    store.put_metadata(vec![entry("percent", None, ""), entry("", Some(RateKind::Gauge), "")]).await.unwrap();
    store.put_metadata(vec![entry("", None, "how busy")]).await.unwrap();
    assert_eq!(store.metadata("cpu").await.unwrap(), Some(entry("percent", Some(RateKind::Gauge), "how busy")));
    store.close().await;
}

async fn several_shards_are_one_store(kv: Arc<dyn Kv>) {
    let options = StoreOptions { shards: 5, ..StoreOptions::default() };
    let store = open_with(Arc::clone(&kv), options.clone()).await.unwrap();
    let metrics: Vec<String> = (0..40).map(|number| format!("metric{number}")).collect();
    for round in 0..3 {
        let points: Vec<_> =
            metrics.iter().map(|metric| (metric.as_str(), WEB1, START + round, Value::Int(round))).collect();
        write(&store, &points).await;
        store.seal(SealReason::Requested).await.unwrap();
    }
    drop(store);
    let refused = open(Arc::clone(&kv)).await.unwrap_err();
    assert_eq!(refused, StoreError::ShardCount { stored: 5, asked: 1 });
    let store = open_with(kv, options).await.unwrap();
    let any = SeriesSelector::Tags { metric: None, predicates: Vec::new(), exact_keys: false };
    let all = read(&store, any.clone(), TimeRange::ALL).await;
    assert_eq!(all.len(), 40);
    assert!(all.values().all(|points| points.len() == 3));
    assert_eq!(store.last(&any, 0).await.unwrap().len(), 40);
    store.close().await;
}

async fn an_idle_store_has_nothing_to_seal(kv: Arc<dyn Kv>) {
    let store = open(kv).await.unwrap();
    assert_eq!(store.seal(SealReason::Scheduled).await.unwrap().shards, 0);
    write(&store, &[("cpu", WEB1, START, Value::Int(1))]).await;
    assert_eq!(store.seal(SealReason::Scheduled).await.unwrap().shards, 1);
    assert_eq!(store.seal(SealReason::Scheduled).await.unwrap().shards, 0);
    store.close().await;
    assert_eq!(store.seal(SealReason::Scheduled).await.unwrap_err(), StoreError::Closed);
    let outcome = store.write(batch(&[("cpu", WEB1, START, Value::Int(1))])).await;
    assert!(matches!(outcome, WriteOutcome::Refused(refusal) if refusal.reason == RefusalReason::ShuttingDown));
}

async fn figures_follow_what_happens(kv: Arc<dyn Kv>) {
    let store = open(kv).await.unwrap();
    write(&store, &[("cpu", WEB1, START, Value::Int(1)), ("cpu", WEB2, START, Value::Int(1))]).await;
    // Of a shared store a process knows what its last read found out.
    read_metric(&store, "cpu", TimeRange::ALL).await;
    let figures = store.figures();
    assert_eq!((figures.series, figures.head_points, figures.block_points), (2, 2, 0));
    assert!(figures.log_bytes > 0 && figures.head_bytes > 0);
    assert_eq!((figures.flushes.commits, figures.flushes.points), (1, 2));
    assert_eq!(figures.flushes.latencies.iter().sum::<u64>(), 1);
    store.seal(SealReason::Requested).await.unwrap();
    read_metric(&store, "cpu", TimeRange::ALL).await;
    let figures = store.figures();
    assert_eq!((figures.head_points, figures.log_bytes, figures.block_points), (0, 0, 2));
    assert_eq!((figures.seals.epochs, figures.seals.points), (1, 2));
    store.close().await;
}

async fn a_batch_larger_than_a_commit_is_stored_whole(kv: Arc<dyn Kv>) {
    let store = open(kv).await.unwrap();
    let points: Vec<_> = (0..60_000).map(|step| ("cpu", WEB1, START + step, Value::Int(step * step))).collect();
    write(&store, &points).await;
    assert!(store.figures().flushes.commits >= 3);
    store.seal(SealReason::Requested).await.unwrap();
    let read = read_metric(&store, "cpu", TimeRange::ALL).await;
    let expect: Vec<_> = (0..60_000_i64).map(|step| (START + step, (step * step).cast_unsigned(), false)).collect();
    assert_eq!(read["cpu{host=web1}"], expect);
    store.close().await;
}

#[tokio::test]
async fn timestamps_that_have_no_bucket_are_refused() {
    let options = StoreOptions { future_max: Duration::from_secs(10_000_000_000), ..StoreOptions::default() };
    let store = open_with(Arc::new(MemoryKv::new()), options).await.unwrap();
    for timestamp in [i64::MIN, -1, 0, 10_000_000_000_000, i64::MAX] {
        let key = "cpu\0host\0web1".to_owned();
        let ends = vec![u32::try_from(key.len()).unwrap()];
        let batch = PointBatch::from_parts(key, ends, vec![0], vec![timestamp], vec![1], vec![false]);
        let Ok(batch) = batch else { continue };
        let outcome = store.write(batch).await;
        assert!(matches!(&outcome, WriteOutcome::Refused(refusal) if refusal.reason == RefusalReason::Limit));
    }
    assert_eq!(store.figures().series, 0);
    write(&store, &[("cpu", WEB1, 1, Value::Int(1)), ("cpu", WEB1, 9_999_999_999_999, Value::Int(2))]).await;
    store.seal(SealReason::Requested).await.unwrap();
    assert_eq!(read_metric(&store, "cpu", TimeRange::ALL).await["cpu{host=web1}"].len(), 2);
    store.close().await;
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_keeps_serving_reads() {
    let kv = Arc::new(MemoryKv::new());
    let store = open(Arc::clone(&kv) as Arc<dyn Kv>).await.unwrap();
    write(&store, &[("cpu", WEB1, START, Value::Int(1))]).await;
    kv.set_full(true);
    for tags in [WEB1, WEB2] {
        let outcome = store.write(batch(&[("cpu", tags, START + 1, Value::Int(2))])).await;
        assert!(matches!(&outcome, WriteOutcome::Refused(refusal) if refusal.reason == RefusalReason::DiskFull));
    }
    assert_eq!(read_metric(&store, "cpu", TimeRange::ALL).await["cpu{host=web1}"].len(), 1);
    assert!(store.seal(SealReason::Requested).await.is_err());
    kv.set_full(false);
    write(&store, &[("cpu", WEB1, START + 1, Value::Int(2))]).await;
    store.seal(SealReason::Requested).await.unwrap();
    assert_eq!(read_metric(&store, "cpu", TimeRange::ALL).await["cpu{host=web1}"].len(), 2);
    store.close().await;
}
