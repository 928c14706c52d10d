//! What the index keeps in bounds and tells about itself.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics is a test that fails")]

mod support;

use std::{sync::Arc, time::Duration};

use support::{START, Tags, batch, open_with, read_metric, write};
use tidemark_kv::MemoryKv;
use tidemark_model::{
    Annotation, AnnotationChange, AnnotationStore, AnnotationWrite, AnnotationsOf, DescribedMetric, DocumentError,
    ManualClock, MetadataCatalog, MetadataStore, MetricMetadata, PointSink, RateKind, RefusalReason, SeriesCatalog,
    TagMetadata, TimeRange, Tsuid, Value, WriteOutcome,
};
use tidemark_tsdb::{Store, StoreOptions};

const WEB1: Tags<'_> = &[("host", "web1")];
const WEB2: Tags<'_> = &[("host", "web2")];

#[tokio::test]
async fn new_series_wait_for_their_minute_and_old_ones_do_not() {
    let clock = Arc::new(ManualClock::new(START));
    let options = StoreOptions { new_series_per_minute_max: 2, ..StoreOptions::default() };
    let store = Store::open(Arc::new(MemoryKv::new()), Arc::clone(&clock) as _, options).await.unwrap();
    let web3: Tags<'_> = &[("host", "web3")];
    let points = [("cpu", WEB1, START), ("cpu", WEB2, START), ("mem", WEB1, START), ("cpu", web3, START)];
    let points = points.map(|(metric, tags, at)| (metric, tags, at, Value::Int(1)));
    let WriteOutcome::Done(receipt) = store.write(batch(&points)).await else { panic!("refused whole") };
    assert_eq!((receipt.stored, receipt.refused.len()), (2, 2));
    let message = &receipt.refused[0].1.message;
    let expect = "metric `mem`: limit of new series a minute reached (2); tag key `host` of metric `cpu` grows fastest, \
                  by 3 new values in 10 minutes; see `limits.new_series_per_minute`";
    assert_eq!(message, expect);
    clock.advance(Duration::from_secs(29));
    let WriteOutcome::Done(receipt) = store.write(batch(&points)).await else { panic!("refused whole") };
    assert_eq!((receipt.stored, receipt.refused.len()), (2, 2));
    clock.advance(Duration::from_secs(1));
    let WriteOutcome::Done(receipt) = store.write(batch(&points)).await else { panic!("refused whole") };
    assert_eq!((receipt.stored, receipt.refused.len()), (3, 1));
    clock.advance(Duration::from_secs(60));
    write(&store, &points).await;
    store.close().await;
}

#[tokio::test]
async fn points_far_in_the_future_are_refused_one_by_one() {
    let options = StoreOptions { future_max: Duration::from_secs(3_600), ..StoreOptions::default() };
    let store = open_with(Arc::new(MemoryKv::new()), options).await.unwrap();
    let late = START + 3_600_000;
    let web3: Tags<'_> = &[("host", "web3")];
    let points = [("cpu", WEB1, late), ("cpu", web3, late + 1), ("cpu", WEB1, late + 1), ("cpu", WEB2, START)];
    let points = points.map(|(metric, tags, at)| (metric, tags, at, Value::Int(1)));
    let WriteOutcome::Done(receipt) = store.write(batch(&points)).await else { panic!("refused whole") };
    assert_eq!(receipt.refused.iter().map(|(point, _)| *point).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(receipt.refused[0].1.reason, RefusalReason::Limit);
    let found = read_metric(&store, "cpu", TimeRange::ALL).await;
    let expect = [("cpu{host=web1}", late), ("cpu{host=web2}", START)];
    assert_eq!(found.iter().map(|(key, points)| (key.as_str(), points[0].0)).collect::<Vec<_>>(), expect);
    store.close().await;
}

#[tokio::test]
async fn annotations_are_merged_replaced_found_in_windows_and_deleted() {
    let kv = Arc::new(MemoryKv::new());
    let store = open_with(Arc::clone(&kv) as _, StoreOptions::default()).await.unwrap();
    let (web1, web2): (Tsuid, Tsuid) = ("000001000001000001".parse().unwrap(), "000001000001000002".parse().unwrap());
    let change = |tsuid: Option<&Tsuid>, start_time: i64, text: &str| AnnotationChange {
        tsuid: tsuid.cloned(),
        start_time,
        description: Some(text.to_owned()),
        ..AnnotationChange::default()
    };
    // Twice the same moment, once in seconds and once in milliseconds.
    let changes = vec![
        change(Some(&web1), 1_789_948_800, "first"),
        change(Some(&web2), 1_789_948_800, "other"),
        AnnotationChange { notes: Some("notes".to_owned()), ..change(Some(&web1), START, "second") },
        change(None, 1_789_948_801, "everything"),
    ];
    let written = store.put_annotations(changes.clone(), AnnotationWrite::Merge).await.unwrap();
    assert_eq!(
        written.iter().map(|note| note.description.as_str()).collect::<Vec<_>>(),
        ["first", "other", "second", "everything"]
    );
    assert_eq!(store.put_annotations(changes[3..].to_vec(), AnnotationWrite::Merge).await.unwrap(), written[3..]);
    store.close().await;
    drop(store);

    let store = open_with(kv, StoreOptions::default()).await.unwrap();
    let expect = Annotation {
        tsuid: Some(web1.clone()),
        start_time: START,
        description: "second".to_owned(),
        notes: "notes".to_owned(),
        ..Annotation::default()
    };
    assert_eq!(store.annotation(Some(&web1), START).await.unwrap(), Some(expect.clone()));
    assert_eq!(store.annotation(None, START).await.unwrap(), None);
    let found = async |of, start, end, limit| store.annotations(of, TimeRange::new(start, end), limit).await.unwrap();
    assert_eq!(found(AnnotationsOf::Series(std::slice::from_ref(&web1)), START, START + 1, 9).await, [expect]);
    assert_eq!(found(AnnotationsOf::Metrics(&[1]), 0, i64::MAX, 9).await.len(), 2);
    assert_eq!(found(AnnotationsOf::Metrics(&[1]), 0, i64::MAX, 1).await.len(), 1);
    assert_eq!(found(AnnotationsOf::Metrics(&[1]), START + 1, i64::MAX, 9).await, []);
    assert_eq!(found(AnnotationsOf::Everything, i64::MIN, i64::MAX, 9).await, written[3..]);
    assert_eq!(found(AnnotationsOf::Everything, i64::MIN, START + 1000, 9).await, []);

    let bare = vec![AnnotationChange { tsuid: Some(web1.clone()), start_time: START, ..AnnotationChange::default() }];
    let replaced = store.put_annotations(bare, AnnotationWrite::Replace).await.unwrap();
    assert_eq!((replaced[0].description.as_str(), replaced[0].notes.as_str()), ("", ""));
    let huge = vec![change(None, 1, &"x".repeat(50_001))];
    let refused = store.put_annotations(huge, AnnotationWrite::Merge).await;
    assert!(matches!(refused, Err(DocumentError::TooLarge { limit: 50_000, .. })));

    let many = (1..=450).map(|start| change(None, start, &"x".repeat(5_000))).collect();
    assert_eq!(store.put_annotations(many, AnnotationWrite::Merge).await.unwrap().len(), 450);
    assert_eq!(store.delete_annotations(AnnotationsOf::Everything, TimeRange::ALL).await, Ok(451));
    assert_eq!(
        store.delete_annotations(AnnotationsOf::Series(std::slice::from_ref(&web1)), TimeRange::ALL).await,
        Ok(1)
    );
    assert_eq!(found(AnnotationsOf::Metrics(&[0, 1]), 0, i64::MAX, 9).await[0].tsuid, Some(web2));
    store.close().await;
}

#[tokio::test]
async fn what_tags_name_is_found_by_each_of_its_tags() {
    let clock = Arc::new(ManualClock::new(START));
    let kv = Arc::new(MemoryKv::new());
    let store = Store::open(Arc::clone(&kv) as _, Arc::clone(&clock) as _, StoreOptions::default()).await.unwrap();
    let entry = |tags: &[(&str, &str)], name: &str, value: &str| TagMetadata {
        tags: tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        name: name.to_owned(),
        value: value.to_owned(),
        touched_ms: START,
    };
    let model = entry(&[("host", "a")], "model", "R740");
    let speed = entry(&[("host", "a"), ("iface", "eth0")], "speed", "10000");
    let other = entry(&[("host", "ab")], "model", "R650");
    store.put_tag_metadata(vec![model.clone(), speed.clone(), other.clone()]).await.unwrap();
    let found =
        async |key: &str, value: &str| store.tag_metadata(&[(key.to_owned(), value.to_owned())], 10).await.unwrap();
    assert_eq!(found("host", "a").await, [model.clone(), speed.clone()]);
    assert_eq!(found("iface", "eth0").await, std::slice::from_ref(&speed));
    assert_eq!(found("host", "b").await, []);
    let tags = [("host".to_owned(), "a".to_owned()), ("host".to_owned(), "ab".to_owned())];
    assert_eq!(store.tag_metadata(&tags, 10).await.unwrap().len(), 3);
    assert_eq!(store.tag_metadata(&tags, 2).await.unwrap().len(), 2);

    clock.advance(Duration::from_secs(60));
    store.put_tag_metadata(vec![entry(&[("host", "a")], "model", "R750"), speed.clone()]).await.unwrap();
    let newer = TagMetadata { value: "R750".to_owned(), touched_ms: START + 60_000, ..model.clone() };
    assert_eq!(found("host", "a").await, [newer, speed.clone()]);
    clock.advance(Duration::from_secs(3_600));
    store.put_tag_metadata(vec![speed.clone()]).await.unwrap();
    assert_eq!(found("iface", "eth0").await[0].touched_ms, START + 3_660_000);
    store.delete_tag_metadata(vec![model.clone(), model]).await.unwrap();
    store.delete_tag_metadata(vec![speed]).await.unwrap();
    assert_eq!((found("host", "a").await, found("iface", "eth0").await), (vec![], vec![]));
    assert_eq!(found("host", "ab").await, [other]);
    let refused = store.put_tag_metadata(vec![entry(&[("host", "a")], "x", &"x".repeat(10_001))]).await;
    assert!(matches!(refused, Err(DocumentError::TooLarge { limit: 10_000, .. })));
    store.close().await;
}

#[tokio::test]
async fn described_metrics_are_listed_with_their_tag_keys() {
    let store = open_with(Arc::new(MemoryKv::new()), StoreOptions::default()).await.unwrap();
    write(&store, &[("cpu", WEB1, START, Value::Int(1)), ("cpu", &[("dc", "a")], START, Value::Int(1))]).await;
    let metadata = |metric: &str| MetricMetadata {
        metric: metric.to_owned(),
        unit: "percent".to_owned(),
        rate: Some(RateKind::Gauge),
        description: String::new(),
    };
    store.put_metadata(vec![metadata("mem"), metadata("cpu")]).await.unwrap();
    let described = |metric: &str, keys: &[&str]| DescribedMetric {
        metadata: metadata(metric),
        touched_ms: START,
        tag_keys: keys.iter().map(|&key| key.to_owned()).collect(),
    };
    let (cpu, mem) = (described("cpu", &["host", "dc"]), described("mem", &[]));
    assert_eq!(store.described_metrics(None, 10).await, Ok(vec![cpu.clone(), mem.clone()]));
    assert_eq!(store.described_metrics(None, 1).await, Ok(vec![cpu.clone()]));
    assert_eq!(store.described_metrics(Some("cpu"), 10).await, Ok(vec![mem]));
    assert_eq!(store.described_metric("cpu").await, Ok(Some(cpu)));
    assert_eq!(store.described_metric("disk").await, Ok(None));
    let report = store.cardinality(5).await.unwrap();
    assert_eq!((report.series, report.new_series, report.metrics[0].metric.as_str()), (2, 2, "cpu"));
    store.close().await;
}
