//! What the index keeps in bounds and tells about itself.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics is a test that fails")]

mod support;

use std::{sync::Arc, time::Duration};

use support::{START, Tags, batch, open_with, read_metric, write};
use tidemark_kv::MemoryKv;
use tidemark_model::{ManualClock, PointSink, RefusalReason, TimeRange, Value, WriteOutcome};
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
