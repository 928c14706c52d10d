//! Days that are over: compacted, answered by rows where the answer is the same, and by points where it is not.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics is a test that fails")]

mod support;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use support::{Buckets, ProbeKv, ROLLUP_FUNCTIONS, START, TestPoint, buckets_of, read_buckets, read_metric, write};
use tidemark_kv::{KeyRange, Kv, MemoryKv, RangeLimit, RedbKv, RedbOptions};
use tidemark_model::{
    Clock, ManualClock, ReadLimits, ReadRequest, RollupBuckets, RollupFunction, RollupRequest, RollupRows,
    SeriesReader, SeriesSelector, TimeRange, Value,
};
use tidemark_tsdb::{RollupInterval, SealReason, Store, StoreError, StoreOptions};
use tokio_util::task::TaskTracker;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
const STEP: i64 = 300_000;
const HOSTS: [&str; 3] = ["a", "b", "c"];
/// Three days.
const RANGE: TimeRange = TimeRange { start: START, end: START + 3 * DAY };

async fn open(kv: &Arc<dyn Kv>, clock: &Arc<ManualClock>) -> Store {
    open_with(kv, clock, vec![RollupInterval::HOUR]).await
}

async fn open_with(kv: &Arc<dyn Kv>, clock: &Arc<ManualClock>, rollup_intervals: Vec<RollupInterval>) -> Store {
    let options = StoreOptions { rollup_intervals, ..StoreOptions::default() };
    Store::open(Arc::clone(kv), Arc::clone(clock) as Arc<dyn Clock>, options).await.unwrap()
}

/// At the end of the three days, some hours later.
fn clock_after() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(RANGE.end + 3 * HOUR))
}

/// Whole numbers in `cpu`, decimals in `load`.
fn value(metric: &str, host: usize, at: i64) -> Value {
    let step = (at - START) / STEP;
    match metric {
        "cpu" => Value::Int(step * 7919 % 1000 - 500 + host as i64),
        _ => Value::Float((step * 31 % 997) as f64 / 10.0 + host as f64),
    }
}

fn points(metric: &str, host: usize) -> impl Iterator<Item = (i64, Value)> + '_ {
    (RANGE.start..RANGE.end).step_by(STEP as usize).map(move |at| (at, value(metric, host, at)))
}

async fn fill(store: &Store) {
    for metric in ["cpu", "load"] {
        for (host, name) in HOSTS.iter().enumerate() {
            let tags = [("host", *name)];
            let points: Vec<TestPoint<'_>> =
                points(metric, host).map(|(at, value)| (metric, tags.as_slice(), at, value)).collect();
            write(store, &points).await;
        }
    }
    store.seal(SealReason::Requested).await.unwrap();
}

fn expected(metric: &str, interval_ms: i64, function: RollupFunction) -> BTreeMap<String, Buckets> {
    let of_host = |(host, name): (usize, &&str)| {
        (format!("{metric}{{host={name}}}"), buckets_of(points(metric, host), interval_ms, function))
    };
    HOSTS.iter().enumerate().map(of_host).collect()
}

async fn check(store: &Store, metric: &str, interval_ms: i64, function: RollupFunction) -> (u64, u64) {
    let (found, statistics) = read_buckets(store, SeriesSelector::metric(metric), RANGE, interval_ms, function).await;
    assert_eq!(found, expected(metric, interval_ms, function), "{function:?} of {metric} by {interval_ms} ms");
    (statistics.points, statistics.rollup_rows)
}

async fn keys_with(kv: &Arc<dyn Kv>, prefix: u8) -> Vec<bytes::Bytes> {
    let limit = RangeLimit::entries(10_000);
    let page = kv.snapshot().await.unwrap().range(KeyRange::prefix(&[prefix]), limit).await.unwrap();
    assert!(!page.more);
    page.entries.into_iter().map(|(key, _)| key).collect()
}

#[tokio::test]
async fn a_day_that_is_over_is_compacted_and_answered_by_rows() {
    let kv: Arc<dyn Kv> = Arc::new(MemoryKv::new());
    let store = open(&kv, &clock_after()).await;
    fill(&store).await;
    let before: Vec<_> = [read_metric(&store, "cpu", RANGE).await, read_metric(&store, "load", RANGE).await].into();
    assert_eq!(store.figures().seals.compactions, 6);
    assert_eq!(check(&store, "cpu", HOUR, RollupFunction::Sum).await, (0, 3 * 72));
    assert_eq!(store.figures().rollup_rows, 2 * 3 * 72);
    for metric in ["cpu", "load"] {
        for function in ROLLUP_FUNCTIONS {
            for interval_ms in [HOUR, 2 * HOUR, 5 * HOUR, DAY, 2 * DAY] {
                let (points, rows) = check(&store, metric, interval_ms, function).await;
                let adds = matches!(function, RollupFunction::Sum | RollupFunction::Average);
                let rounds = metric == "load" && adds && interval_ms > HOUR;
                // Of these, the first bucket begins before the range.
                let is_cut = interval_ms == 5 * HOUR || interval_ms == 2 * DAY;
                assert_eq!(rounds, rows == 0, "{function:?} of {metric} by {interval_ms} ms");
                assert_eq!(rounds || is_cut, points > 0, "{function:?} of {metric} by {interval_ms} ms");
            }
        }
        // No rows fit these.
        assert_eq!(check(&store, metric, HOUR / 2, RollupFunction::Largest).await.1, 0);
    }
    // Two generations in all, each of the day, and the same points as before.
    assert!(keys_with(&kv, b'D').await.iter().all(|key| key[1] == 1), "buckets of two hours are left");
    drop(store);
    let store = open(&kv, &clock_after()).await;
    assert_eq!(check(&store, "load", HOUR, RollupFunction::Average).await, (0, 3 * 72));
    let after: Vec<_> = [read_metric(&store, "cpu", RANGE).await, read_metric(&store, "load", RANGE).await].into();
    assert_eq!(before, after);
    store.close().await;
}

#[tokio::test]
async fn a_day_is_left_alone_until_it_is_over_for_two_hours() {
    let kv: Arc<dyn Kv> = Arc::new(MemoryKv::new());
    let clock = Arc::new(ManualClock::new(START + DAY + 2 * HOUR - 1));
    let store = open(&kv, &clock).await;
    fill(&store).await;
    assert_eq!(store.compact().await.unwrap().days, 0);
    clock.advance(Duration::from_millis(1));
    let report = store.compact().await.unwrap();
    assert_eq!((report.days, report.points), (2, 2 * 3 * 288));
    // Today and tomorrow are read as points.
    assert_eq!(check(&store, "cpu", HOUR, RollupFunction::Count).await.1, 3 * 24);
    assert_eq!(check(&store, "cpu", 2 * DAY, RollupFunction::Count).await.1, 0);
    assert_eq!(store.compact().await.unwrap().days, 0, "nothing is left to do");
    store.close().await;
}

#[tokio::test]
async fn the_days_of_a_range_are_compacted_again_with_the_same_answers() {
    let kv: Arc<dyn Kv> = Arc::new(MemoryKv::new());
    let clock = Arc::new(ManualClock::new(START + DAY + 3 * HOUR));
    let store = open(&kv, &clock).await;
    fill(&store).await;
    let of_cpu = store.days(RANGE, Some("cpu")).await.unwrap();
    assert_eq!(of_cpu.len(), 1, "the other days are not over");
    clock.advance(Duration::from_millis(2 * DAY as u64));
    assert_eq!(store.days(RANGE, None).await.unwrap().len(), 6);
    assert_eq!(store.days(RANGE, Some("nothing")).await.unwrap(), []);
    let second = store.days(TimeRange::new(START + DAY, START + DAY + 1), Some("cpu")).await.unwrap();
    assert_eq!(second.len(), 1);
    for _ in 0..3 {
        let report = store.compact_day(second[0]).await.unwrap();
        assert_eq!((report.days, report.points), (1, 3 * 288));
        // The rows of the first day were made by the seal, those of the third are missing.
        assert_eq!(check(&store, "cpu", HOUR, RollupFunction::Sum).await, (3 * 288, 3 * 48));
    }
    drop(store);
    let store = open(&kv, &clock).await;
    assert_eq!(check(&store, "cpu", HOUR, RollupFunction::Sum).await, (3 * 288, 3 * 48));
    store.close().await;
}

#[tokio::test]
async fn late_points_are_in_the_answer_at_once_and_in_the_rows_after_the_next_compaction() {
    let kv: Arc<dyn Kv> = Arc::new(MemoryKv::new());
    let store = open(&kv, &clock_after()).await;
    fill(&store).await;
    let late = START + DAY + 90 * 60_000 + 1;
    let expect = |function| {
        let mut with = expected("cpu", HOUR, function);
        let all = points("cpu", 0).chain([(late, Value::Int(9_999))]);
        let mut all: Vec<_> = all.collect();
        all.sort_by_key(|(at, _)| *at);
        with.insert("cpu{host=a}".to_owned(), buckets_of(all, HOUR, function));
        with
    };
    let check = async |store: &Store, rows: u64| {
        for function in ROLLUP_FUNCTIONS {
            let (found, statistics) = read_buckets(store, SeriesSelector::metric("cpu"), RANGE, HOUR, function).await;
            assert_eq!(found, expect(function), "{function:?}");
            assert_eq!(statistics.rollup_rows, rows);
        }
    };
    write(&store, &[("cpu", &[("host", "a")], late, Value::Int(9_999))]).await;
    // The second day has a point in memory, then in a bucket of two hours.
    check(&store, 3 * 72).await;
    let set = async |store: &Store| {
        let rollup = RollupRequest { function: RollupFunction::Sum, buckets: RollupBuckets::Every(HOUR) };
        let selector = SeriesSelector::metric("cpu");
        let limits = ReadLimits::default();
        store.open(ReadRequest { selector, range: RANGE, limits, rollup: Some(rollup) }).await.unwrap()
    };
    let mut rows = RollupRows::default();
    assert!(set(&store).await.read_rollups(0, &mut rows).unwrap());
    assert_eq!(rows.len(), 48, "the rows of the second day do not count");
    store.seal(SealReason::Requested).await.unwrap();
    check(&store, 3 * 72).await;
    assert!(set(&store).await.read_rollups(0, &mut rows).unwrap());
    assert_eq!(rows.len(), 48);
    let compactions = store.figures().seals.compactions;
    // Nothing else comes for the day: it is quiet.
    store.seal(SealReason::Requested).await.unwrap();
    assert_eq!(store.figures().seals.compactions, compactions + 1);
    assert!(set(&store).await.read_rollups(0, &mut rows).unwrap());
    assert_eq!(rows.len(), 72);
    check(&store, 3 * 72).await;
    store.close().await;
}

#[tokio::test]
async fn a_day_that_is_written_to_again_and_again_is_not_compacted_each_time() {
    let kv: Arc<dyn Kv> = Arc::new(MemoryKv::new());
    let store = open(&kv, &clock_after()).await;
    fill(&store).await;
    let compactions = store.figures().seals.compactions;
    for step in 0..20 {
        write(&store, &[("cpu", &[("host", "a")], START + 1 + step, Value::Int(step))]).await;
        store.seal(SealReason::Requested).await.unwrap();
    }
    assert_eq!(store.figures().seals.compactions, compactions);
    store.seal(SealReason::Requested).await.unwrap();
    assert_eq!(store.figures().seals.compactions, compactions + 1);
    store.close().await;
}

#[tokio::test]
async fn days_that_a_series_fills_one_after_the_other_are_written_few_times() {
    let kv: Arc<dyn Kv> = Arc::new(MemoryKv::new());
    let store = open(&kv, &clock_after()).await;
    let names: Vec<String> = (0..64).map(|host| format!("h{host}")).collect();
    for name in &names {
        let tags = [("host", name.as_str())];
        let points: Vec<TestPoint<'_>> =
            points("cpu", 0).take(288).map(|(at, value)| ("cpu", tags.as_slice(), at, value)).collect();
        write(&store, &points).await;
        store.seal(SealReason::Requested).await.unwrap();
    }
    // Whenever the day has doubled.
    assert!(store.figures().seals.compactions <= 8, "{:?}", store.figures().seals);
    store.close().await;
}

#[tokio::test]
async fn other_intervals_are_made_of_what_is_there_and_none_at_all_are_not_used() {
    let kv: Arc<dyn Kv> = Arc::new(MemoryKv::new());
    let clock = clock_after();
    let store = open_with(&kv, &clock, Vec::new()).await;
    fill(&store).await;
    assert_eq!((store.figures().seals.compactions, store.figures().rollup_rows), (6, 0));
    assert_eq!(check(&store, "cpu", HOUR, RollupFunction::Sum).await.1, 0);
    drop(store);
    let day = RollupInterval::new(Duration::from_secs(86_400)).unwrap();
    let store = open_with(&kv, &clock, vec![RollupInterval::HOUR, day]).await;
    store.seal(SealReason::Requested).await.unwrap();
    assert_eq!(store.figures().rollup_rows, 2 * 3 * (72 + 3));
    assert_eq!(check(&store, "load", DAY, RollupFunction::Sum).await, (0, 3 * 3), "one row for a day is exact");
    assert_eq!(check(&store, "load", HOUR, RollupFunction::Sum).await, (0, 3 * 72));
    drop(store);
    let store = open_with(&kv, &clock, Vec::new()).await;
    assert_eq!(check(&store, "cpu", HOUR, RollupFunction::Sum).await.1, 0);
    store.close().await;
}

#[tokio::test]
async fn a_day_with_few_points_to_an_hour_gets_no_rows() {
    let kv: Arc<dyn Kv> = Arc::new(MemoryKv::new());
    let store = open(&kv, &clock_after()).await;
    let points: Vec<TestPoint<'_>> =
        (0..24).map(|hour| ("cpu", &[("host", "a")][..], START + hour * HOUR, Value::Int(hour))).collect();
    write(&store, &points).await;
    store.seal(SealReason::Requested).await.unwrap();
    assert_eq!((store.figures().seals.compactions, store.figures().rollup_rows), (1, 0));
    store.seal(SealReason::Requested).await.unwrap();
    store.compact().await.unwrap();
    assert_eq!(store.figures().seals.compactions, 1, "that it has none is known");
    store.close().await;
}

#[tokio::test]
async fn values_that_are_no_numbers_are_answered_by_points() {
    let kv: Arc<dyn Kv> = Arc::new(MemoryKv::new());
    let store = open(&kv, &clock_after()).await;
    let points: Vec<TestPoint<'_>> = (0..48)
        .map(|step| {
            let value = if step == 17 { f64::MAX } else { f64::MAX / 2.0 };
            ("cpu", &[("host", "a")][..], START + step * 600_000, Value::Float(value))
        })
        .collect();
    write(&store, &points).await;
    store.seal(SealReason::Requested).await.unwrap();
    assert_eq!(store.figures().rollup_rows, 8);
    let (found, statistics) =
        read_buckets(&store, SeriesSelector::metric("cpu"), RANGE, HOUR, RollupFunction::Sum).await;
    let of_points = buckets_of(points.iter().map(|(_, _, at, value)| (*at, *value)), HOUR, RollupFunction::Sum);
    assert_eq!(found["cpu{host=a}"], of_points);
    assert_eq!((statistics.rollup_rows, statistics.points), (0, 48));
    store.close().await;
}

#[tokio::test]
async fn a_compaction_that_dies_at_any_step_is_done_again_and_leaves_nothing_behind() {
    let clean: Arc<dyn Kv> = Arc::new(MemoryKv::new());
    let clock = clock_after();
    let store = open(&clean, &clock).await;
    fill(&store).await;
    store.close().await;
    for commits in 0..16 {
        let kv: Arc<dyn Kv> = Arc::new(MemoryKv::new());
        let early = Arc::new(ManualClock::new(START));
        let store = open(&kv, &early).await;
        fill(&store).await;
        assert_eq!(store.figures().seals.compactions, 0);
        store.close().await;
        let probe = ProbeKv::new(Arc::clone(&kv));
        let store = open(&(Arc::clone(&probe) as Arc<dyn Kv>), &clock).await;
        probe.die_after(commits);
        assert_eq!(store.compact().await.is_ok(), commits >= 12);
        probe.die_after(0);
        drop(store);
        let store = open(&kv, &clock).await;
        for metric in ["cpu", "load"] {
            check(&store, metric, HOUR, RollupFunction::Average).await;
        }
        store.compact().await.unwrap();
        for metric in ["cpu", "load"] {
            let (points, rows) = check(&store, metric, HOUR, RollupFunction::Average).await;
            assert_eq!((points, rows), (0, 3 * 72), "after {commits} commits");
        }
        for prefix in [b'B', b'D', b'R', b'Y', b'Q'] {
            let (found, expect) = (keys_with(&kv, prefix).await.len(), keys_with(&clean, prefix).await.len());
            assert_eq!(found, expect, "keys of {} after {commits} commits", prefix as char);
        }
        store.close().await;
    }
}

#[tokio::test]
async fn of_two_compactions_of_a_day_one_wins_whoever_is_slow() {
    for held_at in 0..2 {
        let kv: Arc<dyn Kv> = Arc::new(MemoryKv::new());
        let early = Arc::new(ManualClock::new(START));
        let store = open(&kv, &early).await;
        fill(&store).await;
        store.close().await;
        let clock = clock_after();
        let probe = ProbeKv::new(Arc::clone(&kv));
        let slow = open(&(Arc::clone(&probe) as Arc<dyn Kv>), &clock).await;
        probe.hold_after(held_at);
        let compacting = TaskTracker::new().spawn({
            let slow = slow.clone();
            async move { slow.compact().await }
        });
        tokio::time::timeout(Duration::from_secs(10), probe.held.notified()).await.unwrap();
        let quick = open(&kv, &clock).await;
        // Other points than the slow one knows of.
        write(&quick, &[("cpu", &[("host", "b")], START + 1, Value::Int(1))]).await;
        quick.seal(SealReason::Requested).await.unwrap();
        quick.compact().await.unwrap();
        let before = read_metric(&quick, "cpu", TimeRange::ALL).await;
        probe.release.notify_one();
        let outcome = compacting.await.unwrap();
        assert!(matches!(outcome, Err(StoreError::Kv(_))), "{outcome:?}");
        assert_eq!(read_metric(&quick, "cpu", TimeRange::ALL).await, before);
        drop((slow, quick));
        let store = open(&kv, &clock).await;
        assert_eq!(read_metric(&store, "cpu", TimeRange::ALL).await, before);
        store.close().await;
    }
}

#[tokio::test]
async fn a_day_that_is_too_large_stays_as_it_is() {
    let kv: Arc<dyn Kv> = Arc::new(MemoryKv::new());
    let options = StoreOptions { merge_bytes_max: 100, ..StoreOptions::default() };
    let store = Store::open(Arc::clone(&kv), clock_after(), options).await.unwrap();
    fill(&store).await;
    assert_eq!(store.compact().await.unwrap().days, 0);
    assert_eq!(check(&store, "cpu", HOUR, RollupFunction::Sum).await.1, 0);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_on_disk_is_compacted_while_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let kv: Arc<dyn Kv> = Arc::new(RedbKv::open(&folder.path().join("store.redb"), RedbOptions::default()).unwrap());
    let clock = Arc::new(ManualClock::new(START));
    let store = open(&kv, &clock).await;
    fill(&store).await;
    clock.advance(Duration::from_secs(4 * 86_400));
    let compacting = TaskTracker::new().spawn({
        let store = store.clone();
        async move { store.compact().await }
    });
    while !compacting.is_finished() {
        check(&store, "cpu", HOUR, RollupFunction::Sum).await;
        check(&store, "load", DAY, RollupFunction::Smallest).await;
    }
    assert_eq!(compacting.await.unwrap().unwrap().days, 6);
    assert_eq!(check(&store, "cpu", HOUR, RollupFunction::Sum).await, (0, 3 * 72));
    store.close().await;
}
