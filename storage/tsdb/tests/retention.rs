//! What is older than its retention goes, and nothing else.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics is a test that fails")]

mod support;

use std::{sync::Arc, time::Duration};

use support::{ProbeKv, START, TestPoint, open_with, read_metric, write};
use tidemark_kv::{FaultPlan, KeyRange, Kv, MemoryKv, RangeLimit};
use tidemark_model::{Clock, ManualClock, NameKind, SeriesCatalog, SeriesSelector, TimeRange, Value};
use tidemark_tsdb::{Retention, RetentionRule, SealReason, Sharing, Store, StoreOptions};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// Debug metrics for a day, audit metrics for ever, the rest for ten days. The clock stands at [`START`].
fn options() -> StoreOptions {
    let rule = |metric: &str, days: Option<u64>| RetentionRule {
        metric: metric.to_owned(),
        keep: days.map(|days| Duration::from_secs(days * 86_400)),
        keep_rollups: None,
    };
    let retention = Retention {
        rules: vec![rule("debug.*", Some(1)), rule("audit.*", None)],
        default: Some(Duration::from_secs(10 * 86_400)),
        default_rollups: None,
    };
    StoreOptions { retention, ..StoreOptions::default() }
}

async fn fill(store: &Store) {
    for metric in ["debug.x", "audit.x", "cpu"] {
        let points: Vec<TestPoint<'_>> = (0..240)
            .map(|step| {
                (metric, &[("host", "a")] as support::Tags<'_>, START - 20 * DAY + step * 2 * HOUR, Value::Int(step))
            })
            .collect();
        write(store, &points).await;
    }
}

async fn first_of(store: &Store, metric: &str) -> i64 {
    read_metric(store, metric, TimeRange::ALL).await[&format!("{metric}{{host=a}}")].first().map_or(0, |point| point.0)
}

async fn check_kept(store: &Store) {
    assert_eq!(first_of(store, "audit.x").await, START - 20 * DAY);
    assert_eq!(first_of(store, "debug.x").await, START - DAY);
    assert_eq!(first_of(store, "cpu").await, START - 10 * DAY);
}

#[tokio::test]
async fn each_metric_is_kept_as_long_as_its_rule_says() {
    let memory = Arc::new(MemoryKv::new());
    let store = open_with(Arc::clone(&memory) as Arc<dyn Kv>, options()).await.unwrap();
    fill(&store).await;
    store.seal(SealReason::Requested).await.unwrap();
    check_kept(&store).await;
    assert_eq!(store.expire().await.unwrap().buckets, 0, "a seal does it");
    let entries = async |prefix: &[u8]| {
        let page = memory.snapshot().await.unwrap().range(KeyRange::prefix(prefix), RangeLimit::PAGE).await.unwrap();
        page.entries.len()
    };
    // Days that are over are one bucket, the last one is twelve for each metric.
    let buckets = 19 + 9 + 3 * 12;
    assert_eq!((entries(b"D").await, entries(b"B").await), (buckets, buckets));
    assert_eq!(store.figures().block_points, 240 + 120 + 12);
    // Spans are ten days: two or three of what is kept for ever, one or two of ten days, none of one day.
    let spans = entries(b"Y").await;
    assert!((3..=5).contains(&spans), "{spans}");
    drop(store);
    let store = open_with(memory, options()).await.unwrap();
    check_kept(&store).await;
    store.close().await;
}

#[tokio::test]
async fn a_clock_that_is_set_ahead_takes_nothing_away_for_a_day() {
    let clock = Arc::new(ManualClock::new(START));
    let memory: Arc<dyn Kv> = Arc::new(MemoryKv::new());
    let store = Store::open(memory, Arc::clone(&clock) as Arc<dyn Clock>, options()).await.unwrap();
    fill(&store).await;
    store.seal(SealReason::Requested).await.unwrap();
    check_kept(&store).await;
    clock.set_now_ms(START + 5 * DAY);
    assert_eq!(store.expire().await.unwrap().buckets, 0);
    check_kept(&store).await;
    // It is right again, and later wrong for good.
    clock.set_now_ms(START);
    assert_eq!(store.expire().await.unwrap().buckets, 0);
    clock.set_now_ms(START + 5 * DAY);
    assert_eq!(store.expire().await.unwrap().buckets, 0);
    clock.advance(Duration::from_secs(86_400));
    assert!(store.expire().await.unwrap().buckets > 0);
    assert_eq!(first_of(&store, "cpu").await, START - 4 * DAY);
    store.close().await;
}

#[tokio::test]
async fn the_newest_point_of_a_series_goes_with_its_bucket() {
    let store = open_with(Arc::new(MemoryKv::new()), options()).await.unwrap();
    write(&store, &[("debug.x", &[("host", "a")], START - 3 * DAY, Value::Int(1))]).await;
    let last = async || store.last(&SeriesSelector::metric("debug.x"), 0).await.unwrap().len();
    assert_eq!(last().await, 1);
    store.seal(SealReason::Requested).await.unwrap();
    assert_eq!(last().await, 0);
    store.close().await;
}

#[tokio::test]
async fn names_of_points_that_are_gone_are_not_listed_any_more_by_any_process() {
    for sharing in [Sharing::Alone, Sharing::Shared] {
        let memory: Arc<dyn Kv> = Arc::new(MemoryKv::new());
        let options = || StoreOptions { sharing, ..options() };
        let store = open_with(Arc::clone(&memory), options()).await.unwrap();
        write(&store, &[("debug.x", &[("host", "old")], START - 3 * DAY, Value::Int(1))]).await;
        write(&store, &[("debug.x", &[("host", "new")], START, Value::Int(1))]).await;
        let mut stores = vec![store];
        if sharing == Sharing::Shared {
            stores.push(open_with(Arc::clone(&memory), options()).await.unwrap());
        }
        let listed = async |store: &Store| {
            let names = store.suggest(NameKind::TagValue, "", 10).await.unwrap();
            let selector = SeriesSelector::metric("debug.x");
            let last = store.last(&selector, 0).await.unwrap().len();
            (names, store.lookup(&selector, 0, 10).await.unwrap().total, last)
        };
        for store in &stores {
            assert_eq!(listed(store).await, (vec!["new".to_owned(), "old".to_owned()], 2, 2), "{sharing:?}");
        }
        stores[0].seal(SealReason::Requested).await.unwrap();
        for store in &stores {
            assert_eq!(listed(store).await, (vec!["new".to_owned()], 1, 1), "{sharing:?}");
        }
        for store in stores {
            store.close().await;
        }
    }
}

#[tokio::test]
async fn an_expiry_that_dies_or_is_not_told_goes_on() {
    for commits in 0..12 {
        let memory = Arc::new(MemoryKv::new());
        let keeping = open_with(Arc::clone(&memory) as Arc<dyn Kv>, StoreOptions::default()).await.unwrap();
        fill(&keeping).await;
        keeping.seal(SealReason::Requested).await.unwrap();
        keeping.close().await;
        let probe = ProbeKv::new(Arc::clone(&memory) as Arc<dyn Kv>);
        let store = open_with(Arc::clone(&probe) as Arc<dyn Kv>, options()).await.unwrap();
        memory.set_faults(FaultPlan { seed: 7 + commits, unknown_per_mille: 300, ..FaultPlan::default() });
        probe.die_after(commits as i64 * 2);
        assert!(store.expire().await.is_err());
        assert_eq!(first_of(&store, "audit.x").await, START - 20 * DAY);
        assert!(store.expire().await.is_err(), "what failed is found again");
        drop(store);
        memory.set_faults(FaultPlan::default());
        let store = open_with(memory, options()).await.unwrap();
        store.expire().await.unwrap();
        check_kept(&store).await;
        store.close().await;
    }
}
