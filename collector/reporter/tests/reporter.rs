//! An application that reports into a store in memory.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tidemark_collector::{DeliveryOptions, HostTags};
use tidemark_model::{
    BoxFuture, DocumentError, ManualClock, MetadataStore, MetricMetadata, PointBatch, PointSink, RateKind, Value,
    WriteOutcome, WriteReceipt,
};
use tidemark_reporter::{About, RegisterError, Reporter, ReporterHandle, ReporterOptions, Statistic};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

#[derive(Default)]
struct Store {
    points: Mutex<BTreeMap<(String, i64), Value>>,
    metadata: Mutex<BTreeMap<String, MetricMetadata>>,
}

impl PointSink for Store {
    fn write(&self, batch: PointBatch) -> BoxFuture<'_, WriteOutcome> {
        let mut points = self.points.lock();
        for point in batch.points() {
            points.insert((batch.series_key(point.series).to_string(), point.timestamp), point.value);
        }
        let receipt = WriteReceipt { stored: batch.len(), refused: Vec::new() };
        Box::pin(async move { WriteOutcome::Done(receipt) })
    }
}

impl MetadataStore for Store {
    fn put_metadata(&self, entries: Vec<MetricMetadata>) -> BoxFuture<'_, Result<(), DocumentError>> {
        self.metadata.lock().extend(entries.into_iter().map(|entry| (entry.metric.clone(), entry)));
        Box::pin(async { Ok(()) })
    }

    fn metadata<'a>(&'a self, metric: &'a str) -> BoxFuture<'a, Result<Option<MetricMetadata>, DocumentError>> {
        let known = self.metadata.lock().get(metric).cloned();
        Box::pin(async move { Ok(known) })
    }
}

const NOW_MS: i64 = 1_795_343_205_000;

fn reporter(snapshot_every: Duration, series_max: usize) -> (Reporter, ReporterHandle, Arc<Store>) {
    let store = Arc::<Store>::default();
    let options = ReporterOptions {
        snapshot_every,
        series_max,
        delivery: DeliveryOptions { flush_after: Duration::from_millis(1), ..DeliveryOptions::default() },
        ..ReporterOptions::new(HostTags::new("web07", &[]).unwrap())
    };
    let (reporter, handle) =
        Reporter::new(options, Arc::new(ManualClock::new(NOW_MS)), store.clone(), store.clone()).unwrap();
    (reporter, handle, store)
}

fn about() -> About {
    About::new("requests", "Requests served.")
}

/// Runs it until the store has what is wanted.
async fn run_until(reporter: Reporter, wanted: impl Fn() -> bool) {
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    tracker.spawn(reporter.run(stop.clone()));
    tracker.close();
    let waited = tokio::time::timeout(Duration::from_secs(30), async {
        let mut looks = tokio::time::interval(Duration::from_millis(1));
        while !wanted() {
            looks.tick().await;
        }
    });
    assert!(waited.await.is_ok(), "it did not happen");
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(30), tracker.wait()).await.unwrap();
}

#[tokio::test]
async fn every_instrument_is_reported_with_tags_and_meaning() {
    let (reporter, metrics, store) = reporter(Duration::from_millis(2), 100);
    let served = metrics.counter("app.requests", &[("page", "cart")], about()).unwrap();
    served.add(3);
    metrics.counter("app.requests", &[("page", "cart")], about()).unwrap().add(4);
    metrics.gauge("app.depth", &[], About::default()).unwrap().set(2.5);
    metrics.gauge("app.unset", &[], About::default()).unwrap();
    metrics.snapshot_gauge("app.threads", &[], About::default(), || Some(8.0)).unwrap();
    metrics.snapshot_counter("app.skipped", &[], About::default(), || None).unwrap();
    let latency = metrics.aggregate("app.latency", &[], &Statistic::DEFAULT, About::new("seconds", "")).unwrap();
    latency.record(0.5);
    let deploys = metrics.events("app.deploys", &[], About::default()).unwrap();
    deploys.record(1.0);
    deploys.record(2.0);
    let seen = || store.points.lock().len() >= 12 && store.metadata.lock().contains_key("app.requests");
    run_until(reporter, seen).await;

    let points = store.points.lock();
    let at = |series: &str, at: i64| points.get(&(series.to_owned(), at)).copied();
    assert_eq!(at("app.requests{host=web07,page=cart}", NOW_MS), Some(Value::Int(7)));
    assert_eq!(at("app.depth{host=web07}", NOW_MS), Some(Value::Float(2.5)));
    assert_eq!(at("app.threads{host=web07}", NOW_MS), Some(Value::Float(8.0)));
    assert_eq!(at("app.latency_95{host=web07}", NOW_MS), Some(Value::Float(0.5)));
    assert_eq!(at("app.deploys{host=web07}", NOW_MS), Some(Value::Float(1.0)));
    assert_eq!(at("app.deploys{host=web07}", NOW_MS + 1), Some(Value::Float(2.0)));
    assert!(!points.keys().any(|(series, _)| series.contains("unset") || series.contains("skipped")));
    let requests = &store.metadata.lock()["app.requests"];
    assert_eq!((requests.unit.as_str(), requests.rate), ("requests", Some(RateKind::Counter)));
    assert_eq!(metrics.counts().sent, metrics.counts().gathered);
}

#[tokio::test]
async fn a_last_snapshot_is_taken_at_the_end() {
    let (reporter, metrics, store) = reporter(Duration::from_secs(3600), 100);
    metrics.counter("app.requests", &[], about()).unwrap().add(5);
    run_until(reporter, || true).await;
    assert_eq!(store.points.lock()[&("app.requests{host=web07}".to_owned(), NOW_MS)], Value::Int(5));
}

#[test]
fn names_and_numbers_of_instruments_are_checked_when_they_are_registered() {
    let (_reporter, metrics, _) = reporter(Duration::from_secs(30), 3);
    let illegal = metrics.counter("app requests", &[], about()).unwrap_err();
    assert_eq!(illegal.to_string(), "register `app requests`: metric `app requests`: illegal character:  ");
    metrics.counter("app.requests", &[], about()).unwrap();
    assert!(matches!(metrics.gauge("app.requests", &[], about()), Err(RegisterError::OtherKind(_))));
    metrics.snapshot_gauge("app.threads", &[], about(), || None).unwrap();
    let again = metrics.snapshot_gauge("app.threads", &[], about(), || None);
    assert!(matches!(again, Err(RegisterError::Taken(_))));
    let many = metrics.aggregate("app.latency", &[], &Statistic::DEFAULT, about()).unwrap_err();
    assert_eq!(many.to_string(), "register `app.latency{host=web07}`: a reporter has at most 3 series");
    metrics.gauge("app.depth", &[], about()).unwrap();
    assert!(matches!(metrics.gauge("app.width", &[], about()), Err(RegisterError::TooMany { limit: 3, .. })));
    metrics.gauge("app.depth", &[], about()).unwrap();
}
