//! Rows that answer for days whose points are older than their retention.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics is a test that fails")]

mod support;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use support::{Buckets, ProbeKv, ROLLUP_FUNCTIONS, START, TestPoint, buckets_of, read_buckets, read_metric, write};
use tidemark_kv::{FaultPlan, KeyRange, Kv, MemoryKv, RangeLimit};
use tidemark_model::{
    Clock, DeleteOutcome, DeleteRequest, ManualClock, NameKind, PointDeleter, RollupFunction, SeriesCatalog,
    SeriesSelector, TimeRange, Value,
};
use tidemark_tsdb::{Retention, RollupInterval, SealReason, Sharing, Store, StoreOptions, inspect::check_store};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
const STEP: i64 = 300_000;
const HOSTS: [&str; 3] = ["a", "b", "c"];
/// Three days, long ago: the clock stands at [`START`].
const RANGE: TimeRange = TimeRange { start: START - 12 * DAY, end: START - 9 * DAY };
const DAYS_OF_POINTS: u64 = 5;
const DAYS_OF_ROWS: u64 = 30;

fn options(sharing: Sharing) -> StoreOptions {
    let days = |days: u64| Some(Duration::from_secs(days * 86_400));
    let retention =
        Retention { default: days(DAYS_OF_POINTS), default_rollups: days(DAYS_OF_ROWS), ..Retention::default() };
    StoreOptions { retention, sharing, ..StoreOptions::default() }
}

async fn open(kv: &Arc<dyn Kv>, clock: &Arc<ManualClock>, options: StoreOptions) -> Store {
    Store::open(Arc::clone(kv), Arc::clone(clock) as Arc<dyn Clock>, options).await.unwrap()
}

/// Whole numbers in `cpu`, decimals in `load`, a point an hour in `sparse`.
fn points(metric: &str, host: usize) -> Vec<(i64, Value)> {
    let every = if metric == "sparse" { HOUR } else { STEP };
    let value = |step: i64| match metric {
        "load" => Value::Float((step * 31 % 997) as f64 / 10.0 + host as f64),
        _ => Value::Int(step * 7919 % 1000 - 500 + host as i64),
    };
    (RANGE.start..RANGE.end).step_by(every as usize).map(|at| (at, value((at - RANGE.start) / every))).collect()
}

const METRICS: [&str; 3] = ["cpu", "load", "sparse"];

async fn fill(store: &Store) {
    for metric in METRICS {
        for (host, name) in HOSTS.iter().enumerate() {
            let tags = [("host", *name)];
            let points = points(metric, host);
            let points: Vec<TestPoint<'_>> =
                points.into_iter().map(|(at, value)| (metric, tags.as_slice(), at, value)).collect();
            write(store, &points).await;
        }
    }
}

fn expected(metric: &str, interval_ms: i64, function: RollupFunction) -> BTreeMap<String, Buckets> {
    let of_host = |(host, name): (usize, &&str)| {
        (format!("{metric}{{host={name}}}"), buckets_of(points(metric, host), interval_ms, function))
    };
    HOSTS.iter().enumerate().map(of_host).collect()
}

/// Bit by bit, but for sums of several rows of decimals.
fn assert_same(found: &BTreeMap<String, Buckets>, expect: &BTreeMap<String, Buckets>, is_exact: bool, what: &str) {
    if is_exact {
        assert_eq!(found, expect, "{what}");
        return;
    }
    assert!(found.keys().eq(expect.keys()), "{what}");
    for (found, expect) in found.values().zip(expect.values()) {
        assert!(found.keys().eq(expect.keys()), "{what}");
        for (found, expect) in found.values().zip(expect.values()) {
            let (found, expect) = (f64::from_bits(*found), f64::from_bits(*expect));
            assert!((found - expect).abs() <= 1e-9 * expect.abs(), "{what}: {found} {expect}");
        }
    }
}

async fn check(store: &Store) {
    for metric in METRICS {
        let points = read_metric(store, metric, TimeRange::ALL).await;
        assert!(points.values().all(Vec::is_empty), "points of {metric} are left");
        for function in ROLLUP_FUNCTIONS {
            for interval_ms in [HOUR, 2 * HOUR, 8 * HOUR, DAY] {
                let selector = SeriesSelector::metric(metric);
                let (found, statistics) = read_buckets(store, selector, RANGE, interval_ms, function).await;
                let what = format!("{function:?} of {metric} by {interval_ms} ms");
                let is_exact = metric != "load" || interval_ms == HOUR;
                assert_same(&found, &expected(metric, interval_ms, function), is_exact, &what);
                assert_eq!(statistics.points, 0);
            }
        }
        // What rows cannot answer has nothing.
        let half = read_buckets(store, SeriesSelector::metric(metric), RANGE, HOUR / 2, RollupFunction::Count).await;
        assert!(half.0.values().all(Buckets::is_empty));
    }
}

async fn entries(kv: &Arc<dyn Kv>, prefix: u8) -> usize {
    let limit = RangeLimit::entries(10_000);
    kv.snapshot().await.unwrap().range(KeyRange::prefix(&[prefix]), limit).await.unwrap().entries.len()
}

#[tokio::test]
async fn rows_answer_for_days_whose_points_are_gone_for_as_long_as_rollups_are_kept() {
    for sharing in [Sharing::Alone, Sharing::Shared] {
        let kv: Arc<dyn Kv> = Arc::new(MemoryKv::new());
        let clock = Arc::new(ManualClock::new(START));
        let store = open(&kv, &clock, options(sharing)).await;
        let mut stores = vec![store];
        if sharing == Sharing::Shared {
            stores.push(open(&kv, &clock, options(sharing)).await);
        }
        fill(&stores[0]).await;
        stores[0].seal(SealReason::Requested).await.unwrap();
        assert_eq!((entries(&kv, b'B').await, entries(&kv, b'D').await), (0, 0));
        for store in &stores {
            check(store).await;
            assert_eq!(store.suggest(NameKind::Metric, "", 10).await.unwrap(), METRICS);
        }
        assert!(check_store(kv.as_ref(), &mut |_| {}).await.unwrap().is_sound());
        // Days of rows are not compacted, and nothing is left to do.
        assert_eq!(stores[0].compact().await.unwrap().days, 0);
        assert_eq!(stores[0].expire().await.unwrap().buckets, 0);
        for store in stores {
            store.close().await;
        }
        let store = open(&kv, &clock, options(sharing)).await;
        check(&store).await;
        // The last of the three days is kept, and only that.
        clock.advance(Duration::from_secs((DAYS_OF_ROWS - 10) * 86_400));
        store.seal(SealReason::Requested).await.unwrap();
        let count = async || {
            let selector = SeriesSelector::metric("cpu");
            read_buckets(&store, selector, RANGE, HOUR, RollupFunction::Count).await.0["cpu{host=a}"].len()
        };
        assert_eq!(count().await, 24);
        clock.advance(Duration::from_secs(86_400));
        store.seal(SealReason::Requested).await.unwrap();
        assert_eq!((count().await, entries(&kv, b'R').await, entries(&kv, b'Y').await), (0, 0, 0));
        assert_eq!(store.suggest(NameKind::Metric, "", 10).await.unwrap(), Vec::<String>::new());
        store.close().await;
    }
}

#[tokio::test]
async fn points_that_come_too_late_are_seen_until_the_next_seal_and_change_no_row() {
    let kv: Arc<dyn Kv> = Arc::new(MemoryKv::new());
    let clock = Arc::new(ManualClock::new(START));
    let store = open(&kv, &clock, options(Sharing::Alone)).await;
    fill(&store).await;
    store.seal(SealReason::Requested).await.unwrap();
    let late = RANGE.start + DAY + 1;
    write(&store, &[("cpu", &[("host", "a")], late, Value::Int(9_999))]).await;
    assert_eq!(read_metric(&store, "cpu", TimeRange::ALL).await["cpu{host=a}"], [(late, 9_999, false)]);
    let (found, _) = read_buckets(&store, SeriesSelector::metric("cpu"), RANGE, HOUR, RollupFunction::Largest).await;
    assert_eq!(found, expected("cpu", HOUR, RollupFunction::Largest));
    store.seal(SealReason::Requested).await.unwrap();
    check(&store).await;
    store.close().await;
}

#[tokio::test]
async fn a_deletion_takes_the_rows_that_it_touches_at_once_and_from_the_disk() {
    for sharing in [Sharing::Alone, Sharing::Shared] {
        let kv: Arc<dyn Kv> = Arc::new(MemoryKv::new());
        let clock = Arc::new(ManualClock::new(START));
        let store = open(&kv, &clock, options(sharing)).await;
        fill(&store).await;
        store.seal(SealReason::Requested).await.unwrap();
        let rows = store.figures().rollup_rows;
        let selector = SeriesSelector::Tags {
            metric: Some("cpu".to_owned()),
            predicates: vec![tidemark_model::TagPredicate {
                key: "host".to_owned(),
                matches: tidemark_model::TagMatch::OneOf(vec!["a".to_owned()]),
            }],
            exact_keys: false,
        };
        // A part of the second hour of the second day and of the hour after it.
        let from = RANGE.start + DAY + HOUR;
        let range = TimeRange::new(from + 1, from + HOUR + 1);
        let request = DeleteRequest { selector, range, series_max: 10 };
        assert!(matches!(store.delete(&request).await, DeleteOutcome::Done(_)));
        let mut expect = expected("cpu", HOUR, RollupFunction::Sum);
        expect.get_mut("cpu{host=a}").unwrap().retain(|&at, _| !(from..from + 2 * HOUR).contains(&at));
        let found = async |store: &Store| {
            read_buckets(store, SeriesSelector::metric("cpu"), RANGE, HOUR, RollupFunction::Sum).await.0
        };
        assert_eq!(found(&store).await, expect);
        store.seal(SealReason::Requested).await.unwrap();
        assert_eq!(found(&store).await, expect);
        assert_eq!((store.figures().tombstones, store.figures().rollup_rows), (0, rows - 2), "{sharing:?}");
        store.close().await;
        let store = open(&kv, &clock, options(sharing)).await;
        assert_eq!(found(&store).await, expect);
        assert!(check_store(kv.as_ref(), &mut |_| {}).await.unwrap().is_sound());
        store.close().await;
    }
}

#[tokio::test]
async fn points_that_are_written_after_all_rows_of_their_day_were_deleted_get_rows_whatever_fails_in_between() {
    let clock = Arc::new(ManualClock::new(START));
    let late = RANGE.start + DAY + 1;
    let mut purges_failed = 0;
    for commits in 0..16 {
        let kv: Arc<dyn Kv> = Arc::new(MemoryKv::new());
        let probe = ProbeKv::new(Arc::clone(&kv));
        let store = open(&(Arc::clone(&probe) as Arc<dyn Kv>), &clock, options(Sharing::Alone)).await;
        fill(&store).await;
        store.seal(SealReason::Requested).await.unwrap();
        let request = DeleteRequest { selector: SeriesSelector::metric("cpu"), range: TimeRange::ALL, series_max: 10 };
        assert!(matches!(store.delete(&request).await, DeleteOutcome::Done(_)));
        write(&store, &[("cpu", &[("host", "a")], late, Value::Int(7))]).await;
        probe.refuse_after(commits);
        let sealed = store.seal(SealReason::Requested).await;
        probe.refuse_after(-1);
        purges_failed += usize::from(sealed.is_ok() && store.figures().tombstones > 0);
        store.seal(SealReason::Requested).await.unwrap();
        assert_eq!((store.figures().tombstones, store.figures().block_points), (0, 0), "{commits} commits");
        let selector = SeriesSelector::metric("cpu");
        let (found, _) = read_buckets(&store, selector, RANGE, HOUR, RollupFunction::Sum).await;
        let expect = buckets_of([(late, Value::Int(7))], HOUR, RollupFunction::Sum);
        assert_eq!(found["cpu{host=a}"], expect, "{commits} commits");
        store.close().await;
    }
    assert!(purges_failed > 0);
}

#[tokio::test]
async fn an_expiry_that_dies_anywhere_loses_no_row() {
    for sharing in [Sharing::Alone, Sharing::Shared] {
        for commits in 0..24 {
            let memory = Arc::new(MemoryKv::new());
            let kv = Arc::clone(&memory) as Arc<dyn Kv>;
            let clock = Arc::new(ManualClock::new(START));
            let keeping = open(&kv, &clock, StoreOptions { sharing, ..StoreOptions::default() }).await;
            fill(&keeping).await;
            keeping.seal(SealReason::Requested).await.unwrap();
            keeping.close().await;
            let probe = ProbeKv::new(Arc::clone(&kv));
            let dying = open(&(Arc::clone(&probe) as Arc<dyn Kv>), &clock, options(sharing)).await;
            memory.set_faults(FaultPlan { seed: 7 + commits, unknown_per_mille: 300, ..FaultPlan::default() });
            probe.die_after(commits as i64);
            let _may_fail = dying.expire().await.is_ok();
            memory.set_faults(FaultPlan::default());
            for store in [&dying, &open(&kv, &clock, options(sharing)).await] {
                for metric in METRICS {
                    let selector = SeriesSelector::metric(metric);
                    let (found, _) = read_buckets(store, selector, RANGE, HOUR, RollupFunction::Average).await;
                    assert_eq!(found, expected(metric, HOUR, RollupFunction::Average), "{commits} commits");
                }
            }
            drop(dying);
            let store = open(&kv, &clock, options(sharing)).await;
            store.expire().await.unwrap();
            check(&store).await;
            store.close().await;
        }
    }
}

#[tokio::test]
async fn days_whose_points_are_gone_are_answered_by_the_intervals_that_were_made_of_them() {
    let clock = Arc::new(ManualClock::new(START));
    let kv: Arc<dyn Kv> = Arc::new(MemoryKv::new());
    let store = open(&kv, &clock, options(Sharing::Alone)).await;
    fill(&store).await;
    store.seal(SealReason::Requested).await.unwrap();
    store.close().await;
    let day = RollupInterval::new(Duration::from_secs(86_400)).unwrap();
    for rollup_intervals in [vec![RollupInterval::HOUR, day], vec![day], Vec::new()] {
        let store = open(&kv, &clock, StoreOptions { rollup_intervals, ..options(Sharing::Alone) }).await;
        store.seal(SealReason::Requested).await.unwrap();
        check(&store).await;
        store.close().await;
    }
}

#[tokio::test]
async fn a_day_that_is_too_large_for_rollups_goes_without_and_other_intervals_are_kept_as_well() {
    let clock = Arc::new(ManualClock::new(START));
    let kv: Arc<dyn Kv> = Arc::new(MemoryKv::new());
    let store = open(&kv, &clock, StoreOptions { merge_bytes_max: 100, ..options(Sharing::Alone) }).await;
    fill(&store).await;
    store.seal(SealReason::Requested).await.unwrap();
    assert_eq!((store.figures().block_points, store.figures().rollup_rows), (0, 0));
    store.close().await;
    let kv: Arc<dyn Kv> = Arc::new(MemoryKv::new());
    let minutes = |minutes: u64| RollupInterval::new(Duration::from_secs(60 * minutes)).unwrap();
    let rollup_intervals = vec![minutes(10), RollupInterval::HOUR];
    let store = open(&kv, &clock, StoreOptions { rollup_intervals, ..options(Sharing::Alone) }).await;
    fill(&store).await;
    store.seal(SealReason::Requested).await.unwrap();
    for interval_ms in [HOUR / 6, HOUR / 3, HOUR, DAY] {
        let selector = SeriesSelector::metric("cpu");
        let (found, _) = read_buckets(&store, selector, RANGE, interval_ms, RollupFunction::Sum).await;
        assert_eq!(found, expected("cpu", interval_ms, RollupFunction::Sum), "{interval_ms}");
    }
    store.close().await;
}
