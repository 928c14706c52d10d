//! What each part of a store makes of a name that is changed.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics is a test that fails")]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use support::{START, Tags, batch, open, open_with, read, read_metric, write};
use tidemark_kv::{Kv, MemoryKv, RedbKv, RedbOptions};
use tidemark_model::{
    AnnotationChange, AnnotationStore, AnnotationWrite, AnnotationsOf, DeleteOutcome, DeleteRequest, ManualClock,
    MetadataCatalog, MetadataStore, MetricMetadata, MetricSpace, NameError, NameIds, NameKind, PointBatchBuilder,
    PointDeleter, PointSink, ReadError, ReadLimits, ReadRequest, RenameRefusal, SeriesCatalog, SeriesReader,
    SeriesSelector, TagMetadata, TimeRange, Value, WriteOutcome, WrittenRollup,
};
use tidemark_tsdb::{Retention, RetentionRule, SealReason, Sharing, Store, StoreOptions, inspect::check_store};
use tokio_util::task::TaskTracker;

const HOST_A: Tags<'_> = &[("host", "a")];
const HOST_B: Tags<'_> = &[("host", "b")];

async fn tsuids(store: &Store, metric: &str) -> Vec<String> {
    let page = store.lookup(&SeriesSelector::metric(metric), 0, 10).await.unwrap();
    page.series.iter().map(|info| format!("{} {}", info.key, info.tsuid)).collect()
}

fn any_series() -> SeriesSelector {
    SeriesSelector::Tags { metric: None, predicates: Vec::new(), exact_keys: false }
}

async fn is_unknown(store: &Store, metric: &str) -> bool {
    let selector = SeriesSelector::metric(metric);
    let request = ReadRequest { selector, range: TimeRange::ALL, limits: ReadLimits::default(), rollup: None };
    match store.open(request).await {
        Ok(_) => false,
        Err(ReadError::UnknownName { kind: NameKind::Metric, name }) => name == metric,
        Err(error) => panic!("{error}"),
    }
}

fn spaces() -> [MetricSpace; 3] {
    let hourly = |aggregator: &str| WrittenRollup { interval: "1h".to_owned(), aggregator: aggregator.to_owned() };
    [MetricSpace::Histogram, MetricSpace::Rollup(hourly("SUM")), MetricSpace::AggregateRollup(hourly("MAX"))]
}

/// Writes a point of a metric and one of each space.
async fn write_spaces(store: &Store, metric: &str, at: i64) {
    write(store, &[(metric, HOST_A, at, Value::Int(at))]).await;
    let mut builder = PointBatchBuilder::default();
    for space in spaces() {
        builder.push_in(&space, metric, &mut HOST_A.to_vec(), at, Value::Int(1)).unwrap();
    }
    assert!(matches!(store.write(builder.finish()).await, WriteOutcome::Done(receipt) if receipt.stored == 3));
}

fn described(metric: &str, unit: &str, description: &str) -> MetricMetadata {
    let (metric, unit, description) = (metric.to_owned(), unit.to_owned(), description.to_owned());
    MetricMetadata { metric, unit, rate: None, description }
}

#[tokio::test]
async fn all_that_a_metric_has_is_found_under_its_new_name_and_the_old_one_is_free() {
    for shards in [1, 7] {
        let kv: Arc<dyn Kv> = Arc::new(MemoryKv::new());
        let options = || StoreOptions { shards, ..StoreOptions::default() };
        let store = open_with(Arc::clone(&kv), options()).await.unwrap();
        write_spaces(&store, "cpu", START).await;
        write(&store, &[("cpu", HOST_B, START, Value::Int(1)), ("mem", HOST_A, START, Value::Int(1))]).await;
        store.seal(SealReason::Requested).await.unwrap();
        write_spaces(&store, "cpu", START + 1).await;
        // A series without points stays hidden, and a deletion goes on to hide what it hid.
        let request = DeleteRequest { selector: SeriesSelector::metric("cpu"), range: TimeRange::ALL, series_max: 9 };
        let of_b = SeriesSelector::Tsuids(vec!["000001000001000002".parse().unwrap()]);
        let request = DeleteRequest { selector: of_b, ..request };
        assert!(matches!(store.delete(&request).await, DeleteOutcome::Done(_)));
        let tsuid = "000001000001000001".parse().unwrap();
        let note =
            AnnotationChange { tsuid: Some(tsuid), start_time: START, notes: Some("n".into()), ..Default::default() };
        store.put_annotations(vec![note], AnnotationWrite::Merge).await.unwrap();
        store.put_metadata(vec![described("cpu", "%", "old"), described("processor", "", "new")]).await.unwrap();
        let before = tsuids(&store, "cpu").await;
        assert_eq!(before, ["cpu{host=a} 000001000001000001"]);

        store.rename(NameKind::Metric, "cpu", "processor").await.unwrap();
        let check = async |store: &Store| {
            assert_eq!(tsuids(store, "processor").await, ["processor{host=a} 000001000001000001"]);
            let points = read_metric(store, "processor", TimeRange::ALL).await;
            assert_eq!(points["processor{host=a}"].len(), 2, "{shards} shards");
            assert_eq!(points["processor{host=b}"].len(), 0);
            for space in spaces() {
                let name = space.stored_name("processor");
                assert_eq!(read_metric(store, &name, TimeRange::ALL).await[&format!("{name}{{host=a}}")].len(), 2);
                assert!(is_unknown(store, &space.stored_name("cpu")).await);
            }
            assert_eq!(store.name(NameKind::Metric, 1).await.unwrap().as_deref(), Some("processor"));
            assert_eq!(store.annotations(AnnotationsOf::Metrics(&[1]), TimeRange::ALL, 9).await.unwrap().len(), 1);
            assert_eq!(store.metadata("processor").await, Ok(Some(described("processor", "%", "new"))));
            assert_eq!(store.metadata("cpu").await, Ok(None));
            let last = store.last(&SeriesSelector::metric("processor"), 0).await.unwrap();
            assert_eq!((last.len(), last[0].point.timestamp), (1, START + 1));
        };
        check(&store).await;
        assert!(is_unknown(&store, "cpu").await);
        assert_eq!(store.suggest(NameKind::Metric, "", 9).await.unwrap(), ["mem", "processor"]);
        store.seal(SealReason::Requested).await.unwrap();
        store.purge().await.unwrap();
        check(&store).await;
        store.close().await;

        let store = open_with(Arc::clone(&kv), options()).await.unwrap();
        check(&store).await;
        // What is written under the old name is something new.
        write(&store, &[("cpu", HOST_A, START + 2, Value::Int(3))]).await;
        assert_eq!(tsuids(&store, "cpu").await, ["cpu{host=a} 000006000001000001"]);
        assert_eq!(read_metric(&store, "cpu", TimeRange::ALL).await["cpu{host=a}"].len(), 1);
        check(&store).await;
        assert_eq!(
            store.rename(NameKind::Metric, "processor", "cpu").await,
            Err(RenameRefusal::Taken { id: store.id(NameKind::Metric, "cpu").await.unwrap().unwrap() })
        );
        store.rename(NameKind::Metric, "cpu", "newer").await.unwrap();
        store.rename(NameKind::Metric, "processor", "cpu").await.unwrap();
        assert_eq!(read_metric(&store, "cpu", TimeRange::ALL).await["cpu{host=a}"].len(), 2);
        store.close().await;
        let report = check_store(kv.as_ref(), &mut |_| {}).await.unwrap();
        assert!(report.is_sound(), "{:#?}", report.findings);
    }
}

#[tokio::test]
async fn names_that_cannot_be_changed_stay() {
    let store = open(Arc::new(MemoryKv::new())).await.unwrap();
    write_spaces(&store, "cpu", START).await;
    write(&store, &[("mem", HOST_A, START, Value::Int(1))]).await;
    let mut builder = PointBatchBuilder::default();
    let only_histograms = MetricSpace::Histogram.stored_name("lat");
    builder.push_in(&MetricSpace::Histogram, "lat", &mut HOST_A.to_vec(), START, Value::Int(1)).unwrap();
    store.write(builder.finish()).await;
    let of_lat = store.id(NameKind::Metric, &only_histograms).await.unwrap().unwrap();
    for (kind, old, new, refusal) in [
        (NameKind::Metric, "disk", "x", RenameRefusal::NoSuchName),
        (NameKind::TagKey, "cpu", "x", RenameRefusal::NoSuchName),
        (NameKind::Metric, "\u{1}h/cpu", "x", RenameRefusal::NoSuchName),
        (NameKind::Metric, "mem", "mem", RenameRefusal::Taken { id: 5 }),
        (NameKind::Metric, "mem", "lat", RenameRefusal::Taken { id: of_lat }),
        (NameKind::Metric, "mem", "a\tb", RenameRefusal::Illegal(NameError::IllegalCharacter('\t'))),
        (NameKind::Metric, "mem", "\u{1}h/disk", RenameRefusal::Illegal(NameError::IllegalCharacter('\u{1}'))),
        (NameKind::TagValue, "a", "", RenameRefusal::Illegal(NameError::Empty)),
    ] {
        assert_eq!(store.rename(kind, old, new).await, Err(refusal), "{kind} {old} {new}");
    }
    // Too long for one of its spaces, and then for none of the other metric's.
    let long = "x".repeat(1_020);
    let refused = store.rename(NameKind::Metric, "cpu", &long).await;
    assert!(matches!(refused, Err(RenameRefusal::Illegal(NameError::TooLong { .. }))), "{refused:?}");
    assert_eq!(read_metric(&store, "cpu", TimeRange::ALL).await.len(), 1);
    store.rename(NameKind::Metric, "mem", &long).await.unwrap();
    // A metric that has no points of its own goes as well.
    store.rename(NameKind::Metric, "lat", "latency").await.unwrap();
    let name = MetricSpace::Histogram.stored_name("latency");
    assert_eq!(store.id(NameKind::Metric, &name).await.unwrap(), Some(of_lat));
    store.close().await;
}

#[tokio::test]
async fn what_is_known_of_tags_goes_with_their_names() {
    let kv = Arc::new(MemoryKv::new());
    let store = open(Arc::clone(&kv) as _).await.unwrap();
    write(&store, &[("cpu", &[("host", "a"), ("iface", "a")], START, Value::Int(1))]).await;
    let entry = |tags: &[(&str, &str)], name: &str, value: &str| TagMetadata {
        tags: tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        name: name.to_owned(),
        value: value.to_owned(),
        touched_ms: START,
    };
    let found = async |key: &str, value: &str| store.tag_metadata(&[(key.to_owned(), value.to_owned())], 9).await;
    let entries = vec![
        entry(&[("host", "a")], "model", "R740"),
        entry(&[("host", "a"), ("iface", "a")], "speed", "10000"),
        entry(&[("host", "ab")], "model", "R650"),
        entry(&[("zone", "z")], "model", "new"),
        entry(&[("host", "z")], "model", "old"),
    ];
    store.put_tag_metadata(entries).await.unwrap();
    store.rename(NameKind::TagValue, "a", "b").await.unwrap();
    let both = entry(&[("host", "b"), ("iface", "b")], "speed", "10000");
    assert_eq!(found("host", "b").await, Ok(vec![entry(&[("host", "b")], "model", "R740"), both.clone()]));
    assert_eq!(found("iface", "b").await, Ok(vec![both]));
    assert_eq!((found("host", "a").await, found("iface", "a").await), (Ok(vec![]), Ok(vec![])));
    // Behind the other key, and beside something that is known under the new name.
    store.rename(NameKind::TagKey, "host", "zone").await.unwrap();
    let turned = entry(&[("iface", "b"), ("zone", "b")], "speed", "10000");
    assert_eq!(found("iface", "b").await, Ok(vec![turned]));
    assert_eq!(found("zone", "z").await, Ok(vec![entry(&[("zone", "z")], "model", "new")]));
    assert_eq!(found("zone", "ab").await, Ok(vec![entry(&[("zone", "ab")], "model", "R650")]));
    for value in ["a", "ab", "b", "z"] {
        assert_eq!(found("host", value).await, Ok(vec![]), "{value}");
    }
    store.close().await;
    let report = check_store(kv.as_ref(), &mut |_| {}).await.unwrap();
    assert!(report.is_sound(), "{:#?}", report.findings);
}

#[tokio::test]
async fn points_are_kept_as_long_as_the_new_name_says() {
    let rule =
        RetentionRule { metric: "debug.*".to_owned(), keep: Some(Duration::from_secs(86_400)), keep_rollups: None };
    let options =
        StoreOptions { retention: Retention { rules: vec![rule], ..Retention::default() }, ..Default::default() };
    let store = open_with(Arc::new(MemoryKv::new()), options).await.unwrap();
    let old = START - 10 * 86_400_000;
    write(&store, &[("debug.a", HOST_A, old, Value::Int(1)), ("b", HOST_A, old, Value::Int(1))]).await;
    store.rename(NameKind::Metric, "debug.a", "a").await.unwrap();
    store.rename(NameKind::Metric, "b", "debug.b").await.unwrap();
    store.seal(SealReason::Requested).await.unwrap();
    store.expire().await.unwrap();
    assert_eq!(read_metric(&store, "a", TimeRange::ALL).await["a{host=a}"].len(), 1);
    assert_eq!(read_metric(&store, "debug.b", TimeRange::ALL).await["debug.b{host=a}"].len(), 0);
    store.close().await;
}

#[tokio::test]
async fn the_other_processes_hear_of_a_change_before_they_read_and_soon_when_they_write() {
    let (kv, clock) = (Arc::new(MemoryKv::new()), Arc::new(ManualClock::new(START)));
    let options = || StoreOptions { shards: 8, sharing: Sharing::Shared, ..StoreOptions::default() };
    let [left, right] = [0, 1].map(|_| Store::open(Arc::clone(&kv) as _, Arc::clone(&clock) as _, options()));
    let (left, right) = (left.await.unwrap(), right.await.unwrap());
    let names = ["cpu", "mem", "disk", "net", "load"];
    for name in names {
        write(&left, &[(name, HOST_A, START, Value::Int(1))]).await;
        write(&right, &[(name, HOST_A, START + 1, Value::Int(1))]).await;
    }
    for name in names {
        // The metric stays in its shard, and what gets its name then is in another one.
        let (new, other) = (format!("{name}.x"), if name == "load" { "mem" } else { "load" });
        left.rename(NameKind::Metric, name, &new).await.unwrap();
        assert_eq!(read_metric(&right, &new, TimeRange::ALL).await[&format!("{new}{{host=a}}")].len(), 2);
        left.rename(NameKind::Metric, other, name).await.unwrap();
        write(&left, &[(name, HOST_A, START + 2, Value::Int(1))]).await;
        assert_eq!(read_metric(&right, name, TimeRange::ALL).await[&format!("{name}{{host=a}}")].len(), 3, "{name}");
        assert!(is_unknown(&right, other).await);
        left.rename(NameKind::Metric, name, other).await.unwrap();
        left.rename(NameKind::Metric, &new, name).await.unwrap();
        let (selector, range) = (SeriesSelector::metric(other), TimeRange::new(START + 2, START + 3));
        let request = DeleteRequest { selector, range, series_max: 9 };
        assert!(matches!(right.delete(&request).await, DeleteOutcome::Done(_)));
        assert_eq!(read_metric(&left, other, TimeRange::ALL).await[&format!("{other}{{host=a}}")].len(), 2, "{name}");
    }
    // It does not ask before each write, but it does a second later.
    left.rename(NameKind::Metric, "cpu", "processor").await.unwrap();
    clock.advance(Duration::from_secs(1));
    write(&right, &[("cpu", HOST_A, START, Value::Int(7))]).await;
    assert_eq!(read_metric(&left, "cpu", TimeRange::ALL).await["cpu{host=a}"], [(START, 7, false)]);
    write(&right, &[("processor", HOST_A, START + 9, Value::Int(1))]).await;
    left.rename(NameKind::TagValue, "a", "b").await.unwrap();
    clock.advance(Duration::from_secs(1));
    assert_eq!(right.unknown(&[(NameKind::TagValue, "a"), (NameKind::TagValue, "b")]).await, Ok(vec![0]));
    left.rename(NameKind::TagValue, "b", "a").await.unwrap();
    assert_eq!(read_metric(&left, "processor", TimeRange::ALL).await["processor{host=a}"].len(), 3);
    left.close().await;
    right.close().await;
    let report = check_store(kv.as_ref(), &mut |_| {}).await.unwrap();
    assert!(report.is_sound(), "{:#?}", report.findings);
}

const WRITERS: usize = 3;
/// Names that are changed while they write.
const CHANGES: usize = 40;

/// Writes points of two metrics until it is told to stop, each acknowledged before the next; how many times.
async fn write_on(store: Store, host: String, stop: Arc<AtomicBool>) -> i64 {
    let tags = [("host", host.as_str())];
    let mut step = 0;
    while !stop.load(Ordering::SeqCst) {
        let points = ["cpu", "mem"].map(|metric| (metric, tags.as_slice(), START + step * 1_000, Value::Int(step)));
        assert!(matches!(store.write(batch(&points)).await, WriteOutcome::Done(receipt) if receipt.stored == 2));
        step += 1;
    }
    step
}

/// Changes the names that are written, over and over.
async fn rename_on(store: &Store) {
    let (mut renamed, mut round) = (0, 0);
    while renamed < CHANGES {
        for (kind, name) in [(NameKind::Metric, "cpu"), (NameKind::TagKey, "host"), (NameKind::Metric, "mem")] {
            let changed = store.rename(kind, name, &format!("{name}.{round}")).await;
            renamed += usize::from(changed.is_ok());
            assert!(matches!(changed, Ok(()) | Err(RenameRefusal::NoSuchName)), "{changed:?}");
        }
        round += 1;
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_point_is_lost_while_names_change_under_those_who_write() {
    let folder = tempfile::tempdir().unwrap();
    let kv: Arc<dyn Kv> = Arc::new(RedbKv::open(&folder.path().join("store.redb"), RedbOptions::default()).unwrap());
    let store = open_with(Arc::clone(&kv), StoreOptions { seal_points: 500, ..StoreOptions::default() }).await.unwrap();
    let (tracker, stop) = (TaskTracker::new(), Arc::new(AtomicBool::new(false)));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| tracker.spawn(write_on(store.clone(), format!("w{writer}"), Arc::clone(&stop))))
        .collect();
    let reading = tracker.spawn({
        let (store, stop) = (store.clone(), Arc::clone(&stop));
        async move {
            while !stop.load(Ordering::SeqCst) {
                // Whatever the series are called at this moment.
                read(&store, any_series(), TimeRange::ALL).await;
            }
        }
    });
    tokio::time::timeout(Duration::from_secs(60), rename_on(&store)).await.unwrap();
    stop.store(true, Ordering::SeqCst);
    reading.await.unwrap();
    let mut expect = Vec::new();
    for (host, writer) in writers.into_iter().enumerate() {
        for step in 0..writer.await.unwrap() {
            let point = |metric: &str| (metric.to_owned(), format!("w{host}"), START + step * 1_000);
            expect.extend(["cpu", "mem"].map(point));
        }
    }
    expect.sort();
    let all = async |store: &Store| {
        let mut points = Vec::new();
        for (series, found) in read(store, any_series(), TimeRange::ALL).await {
            let (metric, host) = (&series[..3], &series[series.len() - 3..series.len() - 1]);
            points.extend(found.into_iter().map(|(at, ..)| (metric.to_owned(), host.to_owned(), at)));
        }
        points.sort();
        points
    };
    let found = all(&store).await;
    assert!(found == expect, "{} points of {}", found.len(), expect.len());
    store.close().await;
    drop(store);
    let store = open(Arc::clone(&kv)).await.unwrap();
    assert!(all(&store).await == expect);
    store.close().await;
    let report = check_store(kv.as_ref(), &mut |_| {}).await.unwrap();
    assert!(report.is_sound(), "{:#?}", report.findings);
}
