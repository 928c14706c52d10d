//! Random histories against a map: writes in any order, overwrites, deletions, seals, restarts, deaths in the middle of a seal, and
//! an engine that forgets outcomes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics is a test that fails")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use support::{
    ProbeKv, ROLLUP_FUNCTIONS, Random, START, TestPoint, batch, bits_of, buckets_of, open, open_with, read,
    read_buckets, read_metric, seeds::seeds, write,
};
use tidemark_kv::{FaultPlan, Kv, MemoryKv};
use tidemark_model::{
    Clock, DeleteOutcome, DeleteRefusal, DeleteRequest, ManualClock, PointDeleter, PointSink, ReadError,
    RollupFunction, SeriesCatalog, SeriesSelector, TagMatch, TagPredicate, TimeRange, Value, WriteOutcome,
};
use tidemark_tsdb::{
    Retention, RetentionRule, RollupInterval, SealReason, Store, StoreError, StoreOptions, inspect::FindingKind,
};
use tokio_util::task::TaskTracker;

const METRICS: [&str; 3] = ["cpu", "mem", "disk"];
const HOSTS: [&str; 4] = ["a", "b", "c", "d"];

const DAY_MS: i64 = 86_400_000;

/// What must be there: bits of the value by series and timestamp.
type Model = BTreeMap<String, BTreeMap<i64, (u64, bool)>>;

/// What is left of days whose points are gone, by series and start of the hour: the points that the rows were made of.
type RowModel = BTreeMap<String, BTreeMap<i64, Vec<(i64, Value)>>>;

/// How long points and rollups of `cpu`, and points of `mem`, are kept in some histories: whole days, because then it is
/// known which buckets go. `disk` is kept for ever.
const KEEP_DAYS: u64 = 1;
const KEEP_ROLLUPS_DAYS: u64 = 2;

/// What retention made of a history.
#[derive(Default)]
struct Retained {
    rows: RowModel,
    /// Days of `cpu` whose rows stand alone, by their starts.
    alone: BTreeSet<i64>,
    /// Points and rows that went away.
    points_gone: u64,
    rows_gone: u64,
}

fn retention() -> Retention {
    let days = |days: u64| Some(Duration::from_secs(days * 86_400));
    let rule =
        |metric: &str, keep_rollups| RetentionRule { metric: metric.to_owned(), keep: days(KEEP_DAYS), keep_rollups };
    let rules = vec![rule("cpu", days(KEEP_ROLLUPS_DAYS)), rule("mem", None)];
    Retention { rules, ..Retention::default() }
}

fn day_of(at: i64) -> i64 {
    at - at.rem_euclid(DAY_MS)
}

fn value_of((bits, is_float): (u64, bool)) -> Value {
    if is_float { Value::Float(f64::from_bits(bits)) } else { Value::Int(bits.cast_signed()) }
}

impl Retained {
    /// What an expiry does when all points are in blocks and no deletion waits.
    fn expire(&mut self, model: &mut Model, now: i64) {
        let horizon = now - KEEP_DAYS as i64 * DAY_MS;
        let horizon_of_rows = now - KEEP_ROLLUPS_DAYS as i64 * DAY_MS;
        let is_gone = |at: i64| day_of(at) + DAY_MS <= horizon;
        // A deletion that took all rows of a day was purged before.
        let rows = &self.rows;
        self.alone.retain(|day| rows.values().flat_map(BTreeMap::keys).any(|hour| day_of(*hour) == *day));
        let mut fresh = BTreeSet::new();
        for (key, points) in model.iter_mut().filter(|(key, _)| !key.starts_with("disk")) {
            let gone: Vec<(i64, Value)> =
                points.extract_if(.., |at, _| is_gone(*at)).map(|(at, bits)| (at, value_of(bits))).collect();
            self.points_gone += gone.len() as u64;
            let keeps = |at: i64| {
                key.starts_with("cpu") && !self.alone.contains(&day_of(at)) && day_of(at) + DAY_MS > horizon_of_rows
            };
            for (at, value) in gone.into_iter().filter(|(at, _)| keeps(*at)) {
                fresh.insert(day_of(at));
                let hour = at - at.rem_euclid(3_600_000);
                self.rows.entry(key.clone()).or_default().entry(hour).or_default().push((at, value));
            }
        }
        self.alone.extend(fresh);
        self.alone.retain(|day| day + DAY_MS > horizon_of_rows);
        for rows in self.rows.values_mut() {
            let before = rows.len();
            rows.retain(|hour, _| self.alone.contains(&day_of(*hour)));
            self.rows_gone += (before - rows.len()) as u64;
        }
    }

    /// Whole rows go, and days that have none left are like any other.
    fn delete(&mut self, is_meant: impl Fn(&str) -> bool, range: TimeRange) {
        for (_, rows) in self.rows.iter_mut().filter(|(key, _)| is_meant(key)) {
            rows.retain(|&hour, _| !range.overlaps(TimeRange::new(hour, hour + 3_600_000)));
        }
    }

    /// Whether there are points of days whose rows stand alone: they came too late.
    fn has_late(&self, model: &Model) -> bool {
        let of_cpu = model.iter().filter(|(key, _)| key.starts_with("cpu"));
        of_cpu.flat_map(|(_, points)| points.keys()).any(|at| self.alone.contains(&day_of(*at)))
    }

    /// Buckets of a series as a query finds them: of rows where they lie in the range as a whole.
    fn buckets(
        &self,
        key: &str,
        points: &BTreeMap<i64, (u64, bool)>,
        range: TimeRange,
        interval_ms: i64,
        function: RollupFunction,
    ) -> support::Buckets {
        let mut all: BTreeMap<i64, Value> =
            points.iter().filter(|(at, _)| range.contains(**at)).map(|(&at, &bits)| (at, value_of(bits))).collect();
        for (at, value) in self.rows.get(key).into_iter().flatten().flat_map(|(_, points)| points) {
            let start = at - at.rem_euclid(interval_ms);
            if range.start <= start && start + interval_ms <= range.end {
                all.insert(*at, *value);
            }
        }
        buckets_of(all, interval_ms, function)
    }
}

type OwnedPoint = (usize, usize, i64, Value);

fn random_points(random: &mut Random) -> Vec<OwnedPoint> {
    (0..1 + random.below(25))
        .map(|_| {
            let (metric, host) = (random.below(3) as usize, random.below(4) as usize);
            // Three buckets of a day or two and few distinct timestamps, so that points are late, repeated and on the
            // borders.
            let day = i64::from(random.below(4) == 0) * DAY_MS;
            let at = START + day + (random.below(3) * 7_200_000 + random.below(12) * 15_000) as i64 - 30_000;
            let value = match random.below(4) {
                0 => Value::Float(random.below(1000) as f64 / 10.0),
                1 => Value::Float(f64::from_bits(random.next() >> 2)),
                _ => Value::Int(random.below(1000) as i64 - 500),
            };
            (metric, host, at, value)
        })
        .collect()
}

async fn write_until_stored(store: &Store, points: &[OwnedPoint], model: &mut Model) {
    let tags: Vec<[(&str, &str); 1]> = points.iter().map(|point| [("host", HOSTS[point.1])]).collect();
    let points: Vec<TestPoint<'_>> = points
        .iter()
        .zip(&tags)
        .map(|((metric, _, at, value), tags)| (METRICS[*metric], tags.as_slice(), *at, *value))
        .collect();
    for _ in 0..100 {
        match store.write(batch(&points)).await {
            WriteOutcome::Done(receipt) => {
                assert_eq!(receipt.stored, points.len());
                for (metric, tags, at, value) in &points {
                    let key = format!("{metric}{{host={}}}", tags[0].1);
                    model.entry(key).or_default().insert(*at, bits_of(*value));
                }
                return;
            }
            // Sending the same again is harmless, whatever became of it.
            WriteOutcome::Refused(_) | WriteOutcome::Unknown(_) => {}
        }
    }
    panic!("the batch was never stored");
}

/// Some hosts of a metric, or all metrics of a host, and a range that may be anything from one point to all.
async fn delete_until_done(store: &Store, random: &mut Random, model: &mut Model, retained: &mut Retained) {
    let metric = (random.below(4) > 0).then(|| METRICS[random.below(3) as usize]);
    let hosts: Vec<String> = (0..1 + random.below(2)).map(|_| HOSTS[random.below(4) as usize].to_owned()).collect();
    let start = START + (random.below(3) * 7_200_000 + random.below(12) * 15_000) as i64 - 30_000;
    let range = match random.below(6) {
        0 => TimeRange::ALL,
        1 => TimeRange::new(start, start + 7_200_000),
        _ => TimeRange::new(start, start + 15_000 * random.below(8) as i64),
    };
    let predicates = vec![TagPredicate { key: "host".to_owned(), matches: TagMatch::OneOf(hosts.clone()) }];
    let selector = SeriesSelector::Tags { metric: metric.map(str::to_owned), predicates, exact_keys: false };
    let request = DeleteRequest { selector, range, series_max: 100 };
    for _ in 0..100 {
        match store.delete(&request).await {
            DeleteOutcome::Done(_) => {
                let is_meant = |key: &str| {
                    metric.is_none_or(|metric| key.starts_with(metric))
                        && hosts.iter().any(|host| key.ends_with(&format!("={host}}}")))
                };
                for (_, points) in model.iter_mut().filter(|(key, _)| is_meant(key)) {
                    points.retain(|&at, _| !range.contains(at));
                }
                retained.delete(is_meant, range);
                return;
            }
            DeleteOutcome::Refused(DeleteRefusal::Selection(_)) => return,
            // Deleting again is harmless, whatever became of it.
            DeleteOutcome::Refused(_) | DeleteOutcome::Unknown(_) => {}
        }
    }
    panic!("the points were never deleted");
}

async fn check(store: &Store, model: &Model, range: TimeRange, seed: u64) {
    let any = SeriesSelector::Tags { metric: None, predicates: Vec::new(), exact_keys: false };
    let found = read(store, any.clone(), range).await;
    for (key, points) in model {
        let inside = |at: &i64| range.contains(*at);
        let expect: Vec<_> =
            points.iter().filter(|(at, _)| inside(at)).map(|(&at, &(bits, float))| (at, bits, float)).collect();
        assert_eq!(found.get(key), Some(&expect), "seed {seed}, series {key}");
    }
    assert_eq!(found.len(), model.len(), "seed {seed}");
    let last: BTreeMap<String, (i64, (u64, bool))> = store
        .last(&any, START)
        .await
        .unwrap()
        .into_iter()
        .map(|last| (last.series.key.to_string(), (last.point.timestamp, bits_of(last.point.value))))
        .collect();
    let newest = model.iter().filter_map(|(key, points)| {
        let (&at, &value) = points.last_key_value()?;
        (at >= START).then(|| (key.clone(), (at, value)))
    });
    assert_eq!(last, newest.collect(), "seed {seed}");
}

/// Buckets as queries ask for them, from rows where the store has them, against the points. Says how many rows it had.
async fn check_buckets(store: &Store, model: &Model, retained: &Retained, random: &mut Random, seed: u64) -> u64 {
    let any = SeriesSelector::Tags { metric: None, predicates: Vec::new(), exact_keys: false };
    let mut interval_ms = [3_600_000, 7_200_000, 5 * 3_600_000, DAY_MS, 2 * DAY_MS][random.below(5) as usize];
    if !retained.alone.is_empty() && DAY_MS % interval_ms != 0 {
        // Whether a bucket of several days has rows depends on what was compacted.
        interval_ms = DAY_MS;
    }
    let function = ROLLUP_FUNCTIONS[random.below(7) as usize];
    let range = match random.below(3) {
        0 => TimeRange::ALL,
        1 => TimeRange::new(START - DAY_MS, START + DAY_MS),
        _ => {
            let start = START - DAY_MS + random.below(DAY_MS as u64) as i64;
            TimeRange::new(start, start + random.below(3 * DAY_MS as u64) as i64)
        }
    };
    let (found, statistics) = read_buckets(store, any, range, interval_ms, function).await;
    for (key, points) in model {
        let expect = retained.buckets(key, points, range, interval_ms, function);
        let what = format!("seed {seed}, {function:?} of {interval_ms} ms of {key} in {range:?}");
        let has_sums_of_rows = interval_ms > 3_600_000
            && matches!(function, RollupFunction::Sum | RollupFunction::Average)
            && retained.rows.get(key).is_some_and(|rows| !rows.is_empty());
        if has_sums_of_rows {
            assert_close(&found[key], &expect, &what);
        } else {
            assert_eq!(found.get(key), Some(&expect), "{what}");
        }
    }
    statistics.rollup_rows
}

/// The sums of sums may differ in their last bits.
fn assert_close(found: &support::Buckets, expect: &support::Buckets, what: &str) {
    assert!(found.keys().eq(expect.keys()), "{what}: {found:?} {expect:?}");
    for (found, expect) in found.values().zip(expect.values()) {
        let (found, expect) = (f64::from_bits(*found), f64::from_bits(*expect));
        assert!(found == expect || (found - expect).abs() <= 1e-9 * expect.abs(), "{what}: {found} {expect}");
    }
}

/// Does all that waits, so that it is known what retention took.
async fn settle(
    store: &Store,
    memory: &MemoryKv,
    faults: FaultPlan,
    model: &mut Model,
    retained: &mut Retained,
    now: i64,
) {
    memory.set_faults(FaultPlan::default());
    store.seal(SealReason::Requested).await.unwrap();
    store.purge().await.unwrap();
    store.expire().await.unwrap();
    memory.set_faults(faults);
    retained.expire(model, now);
}

/// Returns how many days were compacted and how many rows were read.
async fn run(seed: u64, faults: bool) -> (u64, u64) {
    let (compacted, rows, _) = run_with(seed, faults, Kind::Plain).await;
    (compacted, rows)
}

/// What is special about a history.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    /// Points and rollups of some metrics are kept for some days.
    Retains,
    /// Most buckets are too large to be merged, compacted or purged as a whole.
    SmallMerges,
}

async fn run_with(seed: u64, faults: bool, kind: Kind) -> (u64, u64, Retained) {
    let retains = kind == Kind::Retains;
    let plan = match faults {
        true => FaultPlan { seed, unknown_per_mille: 100, conflict_per_mille: 100, ..FaultPlan::default() },
        false => FaultPlan::default(),
    };
    let mut retained = Retained::default();
    let (mut compacted, mut rows) = (0, 0);
    let clock = Arc::new(ManualClock::new(START));
    let mut random = Random(seed);
    let mut model = Model::new();
    let memory = Arc::new(MemoryKv::new());
    let kv = || ProbeKv::new(Arc::clone(&memory) as Arc<dyn Kv>);
    let day = RollupInterval::new(Duration::from_secs(86_400)).unwrap();
    let rollup_intervals =
        if seed.is_multiple_of(4) && !retains { vec![day, RollupInterval::HOUR] } else { vec![RollupInterval::HOUR] };
    let retention = if retains { retention() } else { Retention::default() };
    let shards = 1 + (seed % 3) as u16;
    let merge_bytes_max = if kind == Kind::SmallMerges { 120 } else { StoreOptions::default().merge_bytes_max };
    let options = StoreOptions { shards, rollup_intervals, retention, merge_bytes_max, ..StoreOptions::default() };
    let open = async |kv: &Arc<ProbeKv>| {
        let clock = Arc::clone(&clock) as Arc<dyn Clock>;
        Store::open(Arc::clone(kv) as Arc<dyn Kv>, clock, options.clone()).await.unwrap()
    };
    let mut probe = kv();
    let mut store = open(&probe).await;
    memory.set_faults(plan);
    for _ in 0..80 {
        let step = random.below(19);
        match step {
            18 => {
                if random.below(3) == 0 {
                    probe.die_after(random.below(3) as i64);
                    let _may_fail = store.purge().await.is_ok();
                    probe.die_after(0);
                    drop(store);
                    probe = kv();
                    memory.set_faults(FaultPlan::default());
                    store = open(&probe).await;
                } else {
                    let purged = store.purge().await;
                    assert!(faults || purged.is_ok(), "seed {seed}: {purged:?}");
                }
            }
            16 | 17 => delete_until_done(&store, &mut random, &mut model, &mut retained).await,
            0..=6 => write_until_stored(&store, &random_points(&mut random), &mut model).await,
            7 | 8 => {
                let sealed = store.seal(SealReason::Requested).await;
                assert!(faults || sealed.is_ok(), "seed {seed}: {sealed:?}");
            }
            9 => {
                let start = START + random.below(3 * 7_200_000) as i64 - 60_000;
                let range = TimeRange::new(start, start + random.below(7_300_000) as i64);
                check(&store, &model, range, seed).await;
            }
            10 => {
                // Dies after some commits of a seal, or of nothing, and starts again.
                probe.die_after(random.below(6) as i64);
                let _may_fail = match random.below(2) {
                    0 => store.seal(SealReason::Requested).await.is_ok(),
                    _ => store.compact().await.is_ok(),
                };
                compacted += store.figures().seals.compactions;
                // What it had begun in the background ends with it.
                probe.die_after(0);
                drop(store);
                probe = kv();
                memory.set_faults(FaultPlan::default());
                store = open(&probe).await;
            }
            11 => {
                let done = store.compact().await;
                assert!(faults || done.is_ok(), "seed {seed}: {done:?}");
            }
            12 if retains => {
                let days = random.below(2);
                if days > 0 {
                    // What was written until now is in blocks when its time comes.
                    settle(&store, &memory, plan, &mut model, &mut retained, clock.now_ms()).await;
                    clock.advance(Duration::from_secs(days * 86_400));
                }
            }
            12 => clock.advance(Duration::from_secs(random.below(2) * 43_200)),
            13 | 14 => {
                if retained.has_late(&model) {
                    settle(&store, &memory, plan, &mut model, &mut retained, clock.now_ms()).await;
                }
                rows += check_buckets(&store, &model, &retained, &mut random, seed).await;
            }
            _ => check(&store, &model, TimeRange::ALL, seed).await,
        }
        // Seals take away what is too old, and compactions do not.
        if retains && matches!(step, 7 | 8 | 10) {
            settle(&store, &memory, plan, &mut model, &mut retained, clock.now_ms()).await;
        }
    }
    check(&store, &model, TimeRange::ALL, seed).await;
    memory.set_faults(FaultPlan::default());
    store.seal(SealReason::Requested).await.unwrap();
    assert_eq!(store.figures().head_points, 0, "seed {seed}");
    store.purge().await.unwrap();
    assert_eq!(store.figures().tombstones, 0, "seed {seed}");
    if retains {
        settle(&store, &memory, FaultPlan::default(), &mut model, &mut retained, clock.now_ms()).await;
        rows += check_buckets(&store, &model, &retained, &mut random, seed).await;
    }
    clock.advance(Duration::from_secs(4 * 86_400));
    store.compact().await.unwrap();
    if retains {
        settle(&store, &memory, FaultPlan::default(), &mut model, &mut retained, clock.now_ms()).await;
        let left =
            model.iter().filter(|(key, _)| !key.starts_with("disk")).map(|(_, points)| points.len()).sum::<usize>();
        assert!(left == 0 && retained.alone.is_empty(), "seed {seed}");
    }
    check(&store, &model, TimeRange::ALL, seed).await;
    for _ in 0..4 {
        rows += check_buckets(&store, &model, &retained, &mut random, seed).await;
    }
    compacted += store.figures().seals.compactions;
    store.close().await;
    (compacted, rows, retained)
}

#[tokio::test]
async fn any_history_of_buckets_that_are_too_large_to_merge_reads_as_a_map_does() {
    for (first, faults) in [(4_000, false), (5_000, true)] {
        for seed in seeds(first, 40) {
            run_with(seed, faults, Kind::SmallMerges).await;
        }
    }
}

#[tokio::test]
async fn any_history_with_retention_reads_as_a_map_of_what_is_kept() {
    for (first, faults) in [(2_000, false), (3_000, true)] {
        let seeds = seeds(first, 60);
        let (count, mut points, mut rows) = (seeds.len(), 0, 0);
        for seed in seeds {
            let (_, _, retained) = run_with(seed, faults, Kind::Retains).await;
            (points, rows) = (points + retained.points_gone, rows + retained.rows_gone);
        }
        let is_enough = count < 50 || points > 50 * count && rows > 5 * count;
        assert!(is_enough, "{points} points and {rows} rows went away with {count} seeds");
    }
}

#[tokio::test]
async fn any_history_reads_as_a_map_does() {
    let (mut compacted, mut rows) = (0, 0);
    let seeds = seeds(0, 200);
    let count = seeds.len();
    for seed in seeds {
        let found = run(seed, false).await;
        (compacted, rows) = (compacted + found.0, rows + found.1);
    }
    let is_enough = count < 100 || compacted > 10 * count && 2 * rows > 15 * count;
    assert!(is_enough, "{compacted} days were compacted and {rows} rows read with {count} seeds");
}

#[tokio::test]
async fn any_history_survives_an_engine_that_forgets_outcomes() {
    let mut rows = 0;
    let seeds = seeds(1000, 100);
    let count = seeds.len();
    for seed in seeds {
        rows += run(seed, true).await.1;
    }
    assert!(count < 100 || rows > 6 * count, "{rows} rows were read with {count} seeds");
}

const WEB: support::Tags<'_> = &[("host", "web")];

#[tokio::test]
async fn a_merge_holds_up_no_seal_and_goes_on_when_nobody_waits_for_it() {
    const LATER: i64 = START + 4 * 3_600_000;
    let probe = ProbeKv::new(Arc::new(MemoryKv::new()));
    let store = open(Arc::clone(&probe) as Arc<dyn Kv>).await.unwrap();
    write(&store, &[("cpu", WEB, START, Value::Int(1)), ("cpu", WEB, LATER, Value::Int(1))]).await;
    store.seal(SealReason::Requested).await.unwrap();
    write(&store, &[("cpu", WEB, START + 1, Value::Int(2)), ("cpu", WEB, LATER + 1, Value::Int(2))]).await;
    // Begin, blocks, publish and the merged groups; the commit that makes them visible waits.
    probe.hold_after(4);
    tokio::select! {
        () = probe.held.notified() => {}
        sealed = store.seal(SealReason::Requested) => panic!("merged without being held: {sealed:?}"),
        () = tokio::time::sleep(Duration::from_secs(10)) => panic!("not held in time"),
    }
    write(&store, &[("cpu", WEB, LATER + 2, Value::Int(3))]).await;
    let sealing = TaskTracker::new().spawn({
        let store = store.clone();
        async move { store.seal(SealReason::Requested).await }
    });
    let until = async |wanted: fn(&Store) -> bool| {
        let waiting = async {
            while !wanted(&store) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap();
    };
    until(|store| store.figures().seals.epochs == 3).await;
    assert_eq!(store.figures().seals.merges, 0);
    probe.release.notify_one();
    until(|store| store.figures().seals.merges > 0).await;
    sealing.await.unwrap().unwrap();
    let read = read_metric(&store, "cpu", TimeRange::ALL).await;
    let expect = [(START, 1), (START + 1, 2), (LATER, 1), (LATER + 1, 2), (LATER + 2, 3)];
    assert_eq!(read["cpu{host=web}"], expect.map(|(timestamp, value)| (timestamp, value, false)));
    store.close().await;
}

#[tokio::test]
async fn a_zombie_sealer_writes_nothing_and_loses_nothing() {
    for held_at in 0..3 {
        let memory: Arc<dyn Kv> = Arc::new(MemoryKv::new());
        let probe = ProbeKv::new(Arc::clone(&memory));
        let zombie = open(Arc::clone(&probe) as Arc<dyn Kv>).await.unwrap();
        write(&zombie, &[("cpu", WEB, START, Value::Int(1)), ("cpu", WEB, START + 1, Value::Int(2))]).await;
        probe.hold_after(held_at);
        let seal = zombie.seal(SealReason::Requested);
        tokio::pin!(seal);
        tokio::select! {
            () = probe.held.notified() => {}
            sealed = &mut seal => panic!("sealed without being held: {sealed:?}"),
            () = tokio::time::sleep(Duration::from_secs(10)) => panic!("not held in time"),
        }
        let other = open(Arc::clone(&memory)).await.unwrap();
        other.seal(SealReason::Requested).await.unwrap();
        write(&other, &[("cpu", WEB, START + 1, Value::Int(3))]).await;
        other.seal(SealReason::Requested).await.unwrap();
        let before = read_metric(&other, "cpu", TimeRange::ALL).await;
        assert_eq!(before["cpu{host=web}"], [(START, 1, false), (START + 1, 3, false)]);
        probe.release.notify_one();
        match seal.await {
            Ok(report) => assert_eq!((held_at, report.points), (0, 0), "nothing was left to seal"),
            Err(error) => assert!(matches!(error, StoreError::SealTakenOver { .. }), "{error}"),
        }
        assert_eq!(read_metric(&other, "cpu", TimeRange::ALL).await, before);
        let third = open(Arc::clone(&memory)).await.unwrap();
        assert_eq!(read_metric(&third, "cpu", TimeRange::ALL).await, before);
        // The first one goes on after it noticed.
        write(&zombie, &[("cpu", WEB, START + 2, Value::Int(4))]).await;
        assert_eq!(read_metric(&zombie, "cpu", TimeRange::ALL).await["cpu{host=web}"].len(), 3);
        let fourth = open(memory).await.unwrap();
        assert_eq!(read_metric(&fourth, "cpu", TimeRange::ALL).await["cpu{host=web}"].len(), 3);
    }
}

#[tokio::test]
async fn an_old_value_that_is_retried_does_not_overtake_a_newer_one() {
    for seed in seeds(0, 50) {
        let memory = Arc::new(MemoryKv::new());
        let store = open(Arc::clone(&memory) as Arc<dyn Kv>).await.unwrap();
        write(&store, &[("cpu", WEB, START, Value::Int(0))]).await;
        memory.set_faults(FaultPlan { seed, unknown_per_mille: 500, ..FaultPlan::default() });
        let (first, second) = tokio::join!(
            store.write(batch(&[("cpu", WEB, START, Value::Int(1))])),
            store.write(batch(&[("cpu", WEB, START, Value::Int(2))])),
        );
        memory.set_faults(FaultPlan::default());
        assert!(matches!((&first, &second), (WriteOutcome::Done(_), WriteOutcome::Done(_))), "{first:?} {second:?}");
        let now = read_metric(&store, "cpu", TimeRange::ALL).await;
        assert_eq!(now["cpu{host=web}"], [(START, 2, false)], "seed {seed}");
        drop(store);
        let store = open(memory).await.unwrap();
        assert_eq!(read_metric(&store, "cpu", TimeRange::ALL).await, now, "seed {seed}");
    }
}

#[tokio::test]
async fn an_outcome_that_stays_unknown_is_settled_before_anything_else_is_written() {
    let memory = Arc::new(MemoryKv::new());
    let store = open(Arc::clone(&memory) as Arc<dyn Kv>).await.unwrap();
    write(&store, &[("cpu", WEB, START, Value::Int(0))]).await;
    let mut told_unknown = 0;
    for step in 1..200 {
        memory.set_faults(FaultPlan {
            seed: step,
            unknown_per_mille: 1000,
            too_old_per_mille: 1000,
            ..FaultPlan::default()
        });
        let outcome = store.write(batch(&[("cpu", WEB, START + step as i64, Value::Int(1))])).await;
        memory.set_faults(FaultPlan::default());
        told_unknown += usize::from(matches!(outcome, WriteOutcome::Unknown(_)));
        write(&store, &[("cpu", WEB, START, Value::Int(step as i64))]).await;
    }
    assert!(told_unknown > 100, "{told_unknown}");
    let now = read_metric(&store, "cpu", TimeRange::ALL).await;
    drop(store);
    let store = open(memory).await.unwrap();
    assert_eq!(read_metric(&store, "cpu", TimeRange::ALL).await, now);
    let points = now["cpu{host=web}"].len();
    assert!((20..180).contains(&points), "half of the unknown ones were stored, not {points}");
}

#[tokio::test]
async fn writers_that_wait_for_their_answers_share_commits() {
    let probe = ProbeKv::new(Arc::new(MemoryKv::new()));
    let clock = Arc::new(tidemark_model::SystemClock::new());
    let kv = Arc::clone(&probe) as Arc<dyn Kv>;
    let store = Store::open(kv, clock, StoreOptions::default()).await.unwrap();
    write(&store, &[("cpu", WEB, START, Value::Int(0))]).await;
    probe.delay(5);
    let writer = async |offset: i64| {
        // Out of step from the start: the second comes while the first one's commit is on its way.
        tokio::time::sleep(Duration::from_millis(2 * offset.unsigned_abs())).await;
        for step in 0..60 {
            write(&store, &[("cpu", WEB, START + step * 2 + offset, Value::Int(step))]).await;
            // The client's own time between an answer and its next batch.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::join!(writer(0), writer(1));
    let commits = store.figures().flushes.commits;
    assert!(commits < 90, "120 batches of two writers took {commits} commits");
    store.close().await;
}

/// Late points into one bucket, sealed again and again, with a death in the middle now and then.
#[tokio::test]
async fn many_generations_of_a_bucket_become_one_and_stay_the_same_points() {
    for deaths in [false, true] {
        let memory = Arc::new(MemoryKv::new());
        let mut probe = ProbeKv::new(Arc::clone(&memory) as Arc<dyn Kv>);
        let mut store = open(Arc::clone(&probe) as Arc<dyn Kv>).await.unwrap();
        let mut model = Model::new();
        let mut random = Random(5);
        let mut merges = 0;
        for round in 0..60 {
            let points: Vec<OwnedPoint> = (0..30)
                .map(|_| (0, random.below(4) as usize, START + random.below(300) as i64 * 15_000, Value::Int(round)))
                .collect();
            write_until_stored(&store, &points, &mut model).await;
            if deaths && round % 3 == 0 {
                probe.die_after(1 + (round / 3) % 6);
                let _may_fail = store.seal(SealReason::Requested).await.is_ok();
                drop(store);
                probe = ProbeKv::new(Arc::clone(&memory) as Arc<dyn Kv>);
                store = open(Arc::clone(&probe) as Arc<dyn Kv>).await.unwrap();
            } else {
                store.seal(SealReason::Requested).await.unwrap();
            }
            merges += store.figures().seals.merges;
            check(&store, &model, TimeRange::ALL, 0).await;
        }
        assert!(merges > 0);
        let points: u64 = model.values().map(|points| points.len() as u64).sum();
        assert!(store.figures().block_points < points * 9, "generations were not merged");
        drop(store);
        let store = open(memory).await.unwrap();
        check(&store, &model, TimeRange::ALL, 0).await;
        store.close().await;
    }
}

#[tokio::test]
async fn a_full_head_is_sealed_while_writing_goes_on() {
    let options = StoreOptions { seal_points: 5_000, ..StoreOptions::default() };
    let store = open_with(Arc::new(MemoryKv::new()), options).await.unwrap();
    let mut next = 0;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while store.figures().seals.epochs < 4 {
        let points: Vec<TestPoint<'_>> =
            (next..next + 500).map(|step| ("cpu", WEB, START + step * 1000, Value::Int(step))).collect();
        write(&store, &points).await;
        next += 500;
        assert!(tokio::time::Instant::now() < deadline, "not sealed in time");
    }
    let read = read_metric(&store, "cpu", TimeRange::ALL).await;
    let expect: Vec<_> = (0..next).map(|step| (START + step * 1000, step.cast_unsigned(), false)).collect();
    assert_eq!(read["cpu{host=web}"], expect);
    store.close().await;
}

async fn delete(store: &Store, metric: &str, range: TimeRange) {
    let request = DeleteRequest { selector: SeriesSelector::metric(metric), range, series_max: 100 };
    let outcome = store.delete(&request).await;
    assert!(matches!(outcome, DeleteOutcome::Done(receipt) if receipt.series == 1), "{outcome:?}");
}

/// Two processes on one store: what one deletes may not come back through a seal or a merge of the other.
#[tokio::test]
async fn a_process_that_was_away_does_not_bring_deleted_points_back() {
    for seals_between in 0..4 {
        let memory: Arc<dyn Kv> = Arc::new(MemoryKv::new());
        let away = open(Arc::clone(&memory)).await.unwrap();
        write(&away, &[("cpu", WEB, START, Value::Int(1)), ("cpu", WEB, START + 1, Value::Int(2))]).await;
        away.seal(SealReason::Requested).await.unwrap();
        let other = open(Arc::clone(&memory)).await.unwrap();
        for step in 0..3 {
            if seals_between > step {
                write(&other, &[("cpu", WEB, START + 2 + step, Value::Int(3))]).await;
                other.seal(SealReason::Requested).await.unwrap();
            }
        }
        delete(&other, "cpu", TimeRange::new(START + 1, START + 2)).await;
        write(&other, &[("cpu", WEB, START + 10, Value::Int(9)), ("cpu", WEB, START + 10_000_000, Value::Int(9))])
            .await;
        let expect = read_metric(&other, "cpu", TimeRange::ALL).await;
        assert!(expect["cpu{host=web}"].iter().all(|(at, ..)| *at != START + 1));
        write(&away, &[("cpu", WEB, START + 11, Value::Int(9))]).await;
        for _ in 0..2 {
            let _may_fail = away.seal(SealReason::Requested).await.is_ok();
        }
        let mut expect = expect["cpu{host=web}"].clone();
        expect.push((START + 11, 9, false));
        expect.sort_unstable();
        let third = open(Arc::clone(&memory)).await.unwrap();
        assert_eq!(read_metric(&third, "cpu", TimeRange::ALL).await["cpu{host=web}"], expect, "{seals_between} seals");
        assert_eq!(read_metric(&away, "cpu", TimeRange::ALL).await["cpu{host=web}"], expect, "{seals_between} seals");
    }
}

#[tokio::test]
async fn deleted_points_are_gone_from_the_disk_after_a_seal() {
    let memory = Arc::new(MemoryKv::new());
    let store = open(Arc::clone(&memory) as Arc<dyn Kv>).await.unwrap();
    let db: support::Tags<'_> = &[("host", "db")];
    for (tags, bucket) in [(WEB, 0), (db, 0), (WEB, 7_200_000), (db, 14_400_000)] {
        let points: Vec<TestPoint<'_>> =
            (0..10).map(|step| ("cpu", tags, START + bucket + step, Value::Int(step))).collect();
        write(&store, &points).await;
    }
    store.seal(SealReason::Requested).await.unwrap();
    let groups = async || {
        let range = tidemark_kv::KeyRange::prefix(b"B");
        let page = memory.snapshot().await.unwrap().range(range, tidemark_kv::RangeLimit::PAGE).await.unwrap();
        page.entries.len()
    };
    assert_eq!((store.figures().block_points, groups().await), (40, 3));
    let matches = TagMatch::OneOf(vec!["web".to_owned()]);
    let predicates = vec![TagPredicate { key: "host".to_owned(), matches }];
    let selector = SeriesSelector::Tags { metric: Some("cpu".to_owned()), predicates, exact_keys: false };
    let request = DeleteRequest { selector, range: TimeRange::new(START + 5, i64::MAX), series_max: 9 };
    assert!(matches!(store.delete(&request).await, DeleteOutcome::Done(_)));
    assert_eq!((store.figures().block_points, store.figures().tombstones), (40, 1));
    assert_eq!(read_metric(&store, "cpu", TimeRange::ALL).await["cpu{host=web}"].len(), 5);
    assert_eq!(store.purge().await.unwrap(), tidemark_tsdb::PurgeReport::default(), "its epoch is not sealed");
    store.seal(SealReason::Requested).await.unwrap();
    let figures = store.figures();
    assert_eq!((figures.block_points, figures.tombstones, groups().await), (25, 0, 2));
    let read = read_metric(&store, "cpu", TimeRange::ALL).await;
    assert_eq!((read["cpu{host=web}"].len(), read["cpu{host=db}"].len()), (5, 20));
    drop(store);
    let store = open(memory).await.unwrap();
    assert_eq!((store.figures().block_points, store.figures().tombstones), (25, 0));
    assert_eq!(read_metric(&store, "cpu", TimeRange::ALL).await, read);
    store.close().await;
}

fn one_of(hosts: impl Iterator<Item = usize>) -> SeriesSelector {
    let matches = TagMatch::OneOf(hosts.map(|host| format!("h{host:03}")).collect());
    let predicates = vec![TagPredicate { key: "host".to_owned(), matches }];
    SeriesSelector::Tags { metric: Some("cpu".to_owned()), predicates, exact_keys: false }
}

#[tokio::test]
async fn deleted_points_of_a_bucket_that_is_too_large_to_merge_are_gone_from_the_disk_as_well() {
    const SERIES: usize = 200;
    let options = |merge_bytes_max| StoreOptions { merge_bytes_max, ..StoreOptions::default() };
    let mut steps = 0;
    for deaths_after in (0..40).chain([i64::MAX]) {
        let memory: Arc<dyn Kv> = Arc::new(MemoryKv::new());
        let probe = ProbeKv::new(Arc::clone(&memory));
        let store = open_with(Arc::clone(&probe) as Arc<dyn Kv>, options(10_000)).await.unwrap();
        let names: Vec<String> = (0..SERIES).map(|host| format!("h{host:03}")).collect();
        let mut random = Random(5);
        // Two generations of one bucket; of some timestamps both have points.
        for (generation, from) in [(0, 0), (1, 40)] {
            let tags: Vec<[(&str, &str); 1]> = names.iter().map(|name| [("host", name.as_str())]).collect();
            let mut points: Vec<TestPoint<'_>> = Vec::new();
            for tags in tags.iter().skip(generation) {
                let value = |_| Value::Float(f64::from_bits(random.next() >> 2));
                let values: Vec<Value> = (from..from + 60).map(value).collect();
                points
                    .extend((from..).zip(values).map(|(step, value)| ("cpu", &tags[..], START + step * 15_000, value)));
            }
            write(&store, &points).await;
            store.seal(SealReason::Requested).await.unwrap();
        }
        assert_eq!(store.figures().block_points, 60 * (2 * SERIES as u64 - 1));
        // All of some series, and a part of others.
        let part = TimeRange::new(START + 30 * 15_000, START + 50 * 15_000);
        for (selector, range) in
            [(one_of((0..SERIES).step_by(3)), TimeRange::ALL), (one_of((1..SERIES / 2).step_by(5)), part)]
        {
            let request = DeleteRequest { selector, range, series_max: SERIES };
            assert!(matches!(store.delete(&request).await, DeleteOutcome::Done(_)));
        }
        let expect = read_metric(&store, "cpu", TimeRange::ALL).await;
        let before = store.figures().block_points;
        probe.die_after(if deaths_after == i64::MAX { -1 } else { deaths_after });
        let _may_fail = store.seal(SealReason::Requested).await.is_ok();
        probe.die_after(-1);
        steps = steps.max(if store.figures().tombstones > 0 { deaths_after } else { 0 });
        assert_eq!(read_metric(&store, "cpu", TimeRange::ALL).await, expect, "after {deaths_after} commits");
        drop(store);
        let store = open_with(Arc::clone(&memory), options(10_000)).await.unwrap();
        assert_eq!(read_metric(&store, "cpu", TimeRange::ALL).await, expect, "after {deaths_after} commits");
        store.seal(SealReason::Requested).await.unwrap();
        store.purge().await.unwrap();
        let figures = store.figures();
        assert_eq!(figures.tombstones, 0, "after {deaths_after} commits");
        assert!(figures.block_points < before - 40 * SERIES as u64 / 3, "after {deaths_after} commits");
        assert_eq!(read_metric(&store, "cpu", TimeRange::ALL).await, expect, "after {deaths_after} commits");
        drop(store);
        let report = tidemark_tsdb::inspect::check_store(memory.as_ref(), &mut |_| {}).await.unwrap();
        assert!(report.findings.iter().all(|finding| finding.kind == FindingKind::Orphan), "{:#?}", report.findings);
        // With room enough it is merged as ever.
        let clock = Arc::new(ManualClock::new(START + 3 * DAY_MS));
        let store = Store::open(memory, clock, options(64 << 20)).await.unwrap();
        assert_eq!(store.compact().await.unwrap().days, 1);
        assert_eq!(read_metric(&store, "cpu", TimeRange::ALL).await, expect, "after {deaths_after} commits");
        store.close().await;
    }
    assert!(steps > 5, "{steps}");
}

#[tokio::test]
async fn a_deletion_over_the_limit_is_refused_and_named() {
    let options = StoreOptions { tombstones_max: 2, ..StoreOptions::default() };
    let store = open_with(Arc::new(MemoryKv::new()), options).await.unwrap();
    write(&store, &[("cpu", WEB, START, Value::Int(1))]).await;
    delete(&store, "cpu", TimeRange::new(START + 5, START + 6)).await;
    delete(&store, "cpu", TimeRange::new(START + 6, START + 7)).await;
    let request = DeleteRequest { selector: SeriesSelector::metric("cpu"), range: TimeRange::ALL, series_max: 100 };
    match store.delete(&request).await {
        DeleteOutcome::Refused(refusal) => assert!(refusal.to_string().contains("`limits.tombstones`"), "{refusal}"),
        other => panic!("not refused: {other:?}"),
    }
    assert_eq!(read_metric(&store, "cpu", TimeRange::ALL).await["cpu{host=web}"].len(), 1);
    let request = DeleteRequest { series_max: 0, ..request };
    let refused = store.delete(&request).await;
    assert!(matches!(refused, DeleteOutcome::Refused(DeleteRefusal::Selection(ReadError::TooManySeries { .. }))));
    store.close().await;
}

#[tokio::test]
async fn damaged_entries_are_refused_by_name() {
    for prefix in [b'L', b'S', b'U', b'N', b'D', b'X'] {
        let memory = Arc::new(MemoryKv::new());
        let store = open(Arc::clone(&memory) as Arc<dyn Kv>).await.unwrap();
        write(&store, &[("cpu", WEB, START, Value::Int(0))]).await;
        store.seal(SealReason::Requested).await.unwrap();
        write(&store, &[("cpu", WEB, START, Value::Int(1))]).await;
        delete(&store, "cpu", TimeRange::new(START + 5, START + 6)).await;
        drop(store);
        let range = tidemark_kv::KeyRange::prefix(&[prefix]);
        let page = memory.snapshot().await.unwrap().range(range, tidemark_kv::RangeLimit::PAGE).await.unwrap();
        let (key, value) = page.entries[0].clone();
        let mut rotten = value.to_vec();
        let middle = rotten.len() / 2;
        rotten[middle] ^= 0x40;
        let mut commit = tidemark_kv::Commit::new();
        commit.put(key.clone(), rotten);
        assert!(matches!(memory.commit(commit).await, tidemark_kv::CommitOutcome::Done(_)));
        let error = open(memory).await.unwrap_err();
        let named = key.escape_ascii().to_string();
        assert!(matches!(&error, StoreError::Corrupt { key, .. } if *key == named), "{error}");
    }
}
