//! Several stores on one engine, as processes of a cluster are: what was acknowledged through one is in the next read of
//! every other, whoever seals, merges, dies or forgets.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics is a test that fails")]

mod support;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use support::{ProbeKv, Random, START, TestPoint, batch, bits_of, read, read_metric, seeds::seeds, write};
use tidemark_kv::{FaultPlan, Kv, MemoryKv};
use tidemark_model::{
    Clock, DeleteOutcome, DeleteRefusal, DeleteRequest, ManualClock, NameKind, PointDeleter, PointSink, SeriesCatalog,
    SeriesSelector, TimeRange, Value, WriteOutcome,
};
use tidemark_tsdb::{Retention, RetentionRule, SealReason, Sharing, Store, StoreError, StoreOptions};

const WEB: support::Tags<'_> = &[("host", "web")];

type OwnedPoint = (&'static str, [(&'static str, &'static str); 1], i64, Value);

type Model = BTreeMap<String, BTreeMap<i64, (u64, bool)>>;

const DAY_MS: i64 = 86_400_000;

fn options(shards: u16) -> StoreOptions {
    StoreOptions { shards, sharing: Sharing::Shared, ..StoreOptions::default() }
}

/// Points of `cpu` are kept for a day, and all others for ever.
fn retention() -> Retention {
    let keep = Some(Duration::from_millis(DAY_MS as u64));
    let rule = RetentionRule { metric: "cpu".to_owned(), keep, keep_rollups: None };
    Retention { rules: vec![rule], ..Retention::default() }
}

async fn open(kv: Arc<dyn Kv>, clock: &Arc<ManualClock>, shards: u16) -> Store {
    Store::open(kv, Arc::clone(clock) as _, options(shards)).await.unwrap()
}

fn any_series() -> SeriesSelector {
    SeriesSelector::Tags { metric: None, predicates: Vec::new(), exact_keys: false }
}

/// A process: its store and the engine as it sees it.
struct Process {
    store: Store,
    probe: Arc<ProbeKv>,
}

struct History {
    kv: Arc<dyn Kv>,
    /// The engine, when it can be told to fail.
    memory: Option<Arc<MemoryKv>>,
    clock: Arc<ManualClock>,
    shards: u16,
    processes: Vec<Process>,
    model: Model,
    random: Random,
    seed: u64,
    /// Points that retention took.
    expired: u64,
}

impl History {
    async fn new(seed: u64, kv: Arc<dyn Kv>, memory: Option<Arc<MemoryKv>>) -> Self {
        let clock = Arc::new(ManualClock::new(START));
        let shards = 1 + (seed % 3) as u16;
        let mut history = Self {
            kv,
            memory,
            clock,
            shards,
            processes: Vec::new(),
            model: Model::new(),
            random: Random(seed),
            seed,
            expired: 0,
        };
        for _ in 0..3 {
            let process = history.start().await;
            history.processes.push(process);
        }
        history
    }

    async fn start(&self) -> Process {
        let probe = ProbeKv::new(Arc::clone(&self.kv));
        let options = match self.retains() {
            true => StoreOptions { retention: retention(), ..options(self.shards) },
            false => options(self.shards),
        };
        let kv = Arc::clone(&probe) as Arc<dyn Kv>;
        let store = Store::open(kv, Arc::clone(&self.clock) as _, options).await.unwrap();
        Process { store, probe }
    }

    fn retains(&self) -> bool {
        self.seed % 2 == 1
    }

    /// Does all that waits, so that it is known what retention took.
    async fn settle(&mut self) {
        self.set_faults(FaultPlan::default());
        let by = self.any();
        let store = self.processes[by].store.clone();
        // A seal of one that died is taken over when it has not got on for two minutes.
        while store.seal(SealReason::Requested).await.is_err() {
            self.clock.advance(Duration::from_secs(121));
        }
        store.purge().await.unwrap();
        store.expire().await.unwrap();
        let horizon = self.clock.now_ms() - DAY_MS;
        for (_, points) in self.model.iter_mut().filter(|(key, _)| key.starts_with("cpu")) {
            let before = points.len();
            points.retain(|at, _| at - at.rem_euclid(DAY_MS) + DAY_MS > horizon);
            self.expired += (before - points.len()) as u64;
        }
    }

    /// A day passes.
    async fn age(&mut self) {
        if self.retains() && self.random.below(3) == 0 {
            self.settle().await;
            self.clock.advance(Duration::from_millis(DAY_MS as u64));
            self.settle().await;
        }
    }

    fn set_faults(&self, plan: FaultPlan) {
        if let Some(memory) = &self.memory {
            memory.set_faults(plan);
        }
    }

    fn any(&mut self) -> usize {
        self.random.below(self.processes.len() as u64) as usize
    }

    async fn write(&mut self) {
        let by = self.any();
        let hosts = ["a", "b", "c", "d", "e"];
        let metrics = ["cpu", "mem", "disk"];
        // New series come now and then, through any process.
        let known = 1 + self.random.below(hosts.len() as u64);
        let points: Vec<OwnedPoint> = (0..1 + self.random.below(20))
            .map(|_| {
                let at = START + (self.random.below(3) * 7_200_000 + self.random.below(12) * 15_000) as i64 - 30_000;
                let value = match self.random.below(3) {
                    0 => Value::Float(self.random.below(1000) as f64 / 10.0),
                    _ => Value::Int(self.random.below(1000) as i64 - 500),
                };
                let host = hosts[self.random.below(known) as usize];
                (metrics[self.random.below(3) as usize], [("host", host)], at, value)
            })
            .collect();
        let points: Vec<TestPoint<'_>> =
            points.iter().map(|(metric, tags, at, value)| (*metric, tags.as_slice(), *at, *value)).collect();
        for _ in 0..100 {
            if let WriteOutcome::Done(receipt) = self.processes[by].store.write(batch(&points)).await {
                assert_eq!(receipt.stored, points.len(), "seed {}", self.seed);
                for (metric, tags, at, value) in &points {
                    let key = format!("{metric}{{host={}}}", tags[0].1);
                    self.model.entry(key).or_default().insert(*at, bits_of(*value));
                }
                return;
            }
        }
        panic!("seed {}: the batch was never stored", self.seed);
    }

    /// A range of a metric, or all of it.
    async fn delete(&mut self) {
        let by = self.any();
        let metric = ["cpu", "mem", "disk"][self.random.below(3) as usize];
        let start = START + (self.random.below(3) * 7_200_000 + self.random.below(12) * 15_000) as i64 - 30_000;
        let range = match self.random.below(4) {
            0 => TimeRange::ALL,
            1 => TimeRange::new(start, start + 7_200_000),
            _ => TimeRange::new(start, start + 15_000 * self.random.below(8) as i64),
        };
        let request = DeleteRequest { selector: SeriesSelector::metric(metric), range, series_max: 100 };
        for _ in 0..100 {
            match self.processes[by].store.delete(&request).await {
                DeleteOutcome::Done(_) => {
                    let of_metric = self.model.iter_mut().filter(|(key, _)| key.starts_with(metric));
                    of_metric.for_each(|(_, points)| points.retain(|&at, _| !range.contains(at)));
                    return;
                }
                DeleteOutcome::Refused(DeleteRefusal::Selection(_)) => return,
                DeleteOutcome::Refused(DeleteRefusal::Store(_)) | DeleteOutcome::Unknown(_) => {}
            }
        }
        panic!("seed {}: the points were never deleted", self.seed);
    }

    async fn check(&self, by: usize) {
        let store = &self.processes[by].store;
        let found = read(store, any_series(), TimeRange::ALL).await;
        let expect: BTreeMap<_, Vec<_>> = self
            .model
            .iter()
            .map(|(key, points)| (key.clone(), points.iter().map(|(&at, &(bits, float))| (at, bits, float)).collect()))
            .collect();
        assert_eq!(found, expect, "seed {}, process {by}", self.seed);
        let last = store.last(&any_series(), i64::MIN).await.unwrap();
        let last: BTreeMap<_, _> = last
            .into_iter()
            .map(|last| (last.series.key.to_string(), (last.point.timestamp, bits_of(last.point.value))))
            .collect();
        let newest = self.model.iter().filter_map(|(key, points)| {
            let (&at, &value) = points.last_key_value()?;
            Some((key.clone(), (at, value)))
        });
        assert_eq!(last, newest.collect(), "seed {}, process {by}", self.seed);
    }

    async fn seal(&mut self, faults: bool) {
        let by = self.any();
        match self.processes[by].store.seal(SealReason::Requested).await {
            Ok(_) => {}
            Err(StoreError::SealUnderWay { .. }) => self.clock.advance(Duration::from_secs(60)),
            Err(error) => assert!(faults, "seed {}: {error}", self.seed),
        }
    }

    async fn die_in_a_seal(&mut self) {
        let by = self.any();
        let after = self.random.below(4) as i64;
        self.processes[by].probe.die_after(after);
        let _may_fail = self.processes[by].store.seal(SealReason::Requested).await.is_ok();
        self.set_faults(FaultPlan::default());
        let process = self.start().await;
        self.processes[by] = process;
    }
}

/// How many points retention took.
async fn run(seed: u64, faults: bool) -> u64 {
    let memory = Arc::new(MemoryKv::new());
    let history = History::new(seed, Arc::clone(&memory) as Arc<dyn Kv>, Some(memory)).await;
    run_on(history, faults).await
}

async fn run_on(mut history: History, faults: bool) -> u64 {
    let seed = history.seed;
    for step in 0..80 {
        if faults {
            let plan =
                FaultPlan { seed: seed + step, unknown_per_mille: 50, conflict_per_mille: 50, ..FaultPlan::default() };
            history.set_faults(plan);
        }
        let action = history.random.below(15);
        match action {
            14 => history.age().await,
            12 | 13 => history.delete().await,
            0..=5 => history.write().await,
            6 | 7 => history.seal(faults).await,
            8 => history.die_in_a_seal().await,
            _ => {
                let by = history.any();
                history.check(by).await;
            }
        }
        // Seals take away what is too old.
        if history.retains() && matches!(action, 6..=8) {
            history.settle().await;
        }
    }
    history.set_faults(FaultPlan::default());
    // A seal of one that died is taken over when it has not got on for two minutes.
    for _ in 0..3 {
        let _under_way = history.processes[0].store.seal(SealReason::Requested).await.is_ok();
        history.clock.advance(Duration::from_secs(121));
    }
    history.processes[0].store.seal(SealReason::Requested).await.unwrap();
    if history.retains() {
        history.settle().await;
    }
    for by in 0..history.processes.len() {
        history.check(by).await;
        assert_eq!(history.processes[by].store.figures().head_points, 0, "seed {seed}");
    }
    let process = history.start().await;
    history.processes.push(process);
    history.check(3).await;
    for process in &history.processes {
        process.store.close().await;
    }
    history.expired
}

#[tokio::test]
async fn any_history_of_several_processes_reads_as_a_map_does() {
    let seeds = seeds(0, 150);
    let (count, mut expired) = (seeds.len(), 0);
    for seed in seeds {
        expired += run(seed, false).await;
    }
    assert!(count < 100 || expired > 10 * count, "{expired} points expired with {count} seeds");
}

#[tokio::test]
async fn any_history_of_several_processes_survives_an_engine_that_forgets_outcomes() {
    for seed in seeds(1000, 80) {
        run(seed, true).await;
    }
}

/// What a real cluster makes of it: conflicts, outcomes and stamps that nobody made up.
#[cfg(feature = "fdb")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_history_of_several_processes_on_foundationdb_reads_as_a_map_does() {
    for seed in 0..8 {
        support::foundationdb::with_store(move |kv| async move {
            run_on(History::new(seed, kv, None).await, true).await;
        })
        .await;
    }
}

#[tokio::test]
async fn a_point_that_one_process_acknowledged_is_in_the_next_read_of_another() {
    let (memory, clock) = (Arc::new(MemoryKv::new()), Arc::new(ManualClock::new(START)));
    let left = open(Arc::clone(&memory) as _, &clock, 4).await;
    let right = open(memory, &clock, 4).await;
    for step in 0..50 {
        write(&left, &[("cpu", WEB, START + step, Value::Int(step))]).await;
        assert_eq!(read_metric(&right, "cpu", TimeRange::ALL).await["cpu{host=web}"].len(), step as usize + 1);
        let name = format!("m{step}");
        write(&right, &[(&name, WEB, START, Value::Int(step))]).await;
        assert_eq!(left.suggest(NameKind::Metric, &name, 10).await.unwrap(), [name.as_str()]);
        assert_eq!(read_metric(&left, &name, TimeRange::ALL).await.len(), 1);
    }
}

#[tokio::test]
async fn a_series_without_points_is_listed_again_by_all_when_one_process_wrote_to_it() {
    let (memory, clock) = (Arc::new(MemoryKv::new()), Arc::new(ManualClock::new(START)));
    let left = open(Arc::clone(&memory) as _, &clock, 4).await;
    let right = open(Arc::clone(&memory) as _, &clock, 4).await;
    write(&right, &[("cpu", WEB, START, Value::Int(1))]).await;
    let names = async |store: &Store| store.suggest(NameKind::Metric, "", 10).await.unwrap();
    for is_sealed in [false, true] {
        let request = DeleteRequest { selector: SeriesSelector::metric("cpu"), range: TimeRange::ALL, series_max: 100 };
        assert!(matches!(left.delete(&request).await, DeleteOutcome::Done(_)));
        assert!(names(&left).await.is_empty());
        // It does not know that the series is hidden.
        write(&right, &[("cpu", WEB, START + 1, Value::Int(2))]).await;
        if is_sealed {
            right.seal(SealReason::Requested).await.unwrap();
        }
        assert_eq!(names(&left).await, ["cpu"], "sealed: {is_sealed}");
        assert_eq!(names(&right).await, ["cpu"], "sealed: {is_sealed}");
        let third = open(Arc::clone(&memory) as _, &clock, 4).await;
        assert_eq!(names(&third).await, ["cpu"], "sealed: {is_sealed}");
    }
}

#[tokio::test]
async fn a_shard_that_somebody_seals_keeps_no_other_from_being_compacted() {
    let (memory, clock) = (Arc::new(MemoryKv::new()), Arc::new(ManualClock::new(START)));
    let probe = ProbeKv::new(Arc::clone(&memory) as Arc<dyn Kv>);
    let dying = open(Arc::clone(&probe) as Arc<dyn Kv>, &clock, 2).await;
    let names: Vec<String> = (0..8).map(|number| format!("m{number}")).collect();
    let points =
        |at| -> Vec<TestPoint<'_>> { names.iter().map(|name| (name.as_str(), WEB, at, Value::Int(1))).collect() };
    write(&dying, &points(START)).await;
    dying.seal(SealReason::Requested).await.unwrap();
    write(&dying, &points(START + 1)).await;
    // The fence of the first shard moves, and the process dies.
    probe.die_after(1);
    assert!(dying.seal(SealReason::Requested).await.is_err());
    clock.advance(Duration::from_secs(2 * 86_400));
    let other = open(memory, &clock, 2).await;
    assert!(matches!(other.seal(SealReason::Requested).await, Err(StoreError::SealUnderWay { .. })));
    assert!(other.figures().seals.compactions > 0, "{:?}", other.figures().seals);
}

#[tokio::test]
async fn reads_at_the_same_time_share_their_rounds_and_see_what_was_written_before_them() {
    let (memory, clock) = (Arc::new(MemoryKv::new()), Arc::new(ManualClock::new(START)));
    let writer = open(Arc::clone(&memory) as _, &clock, 1).await;
    let reader = open(memory, &clock, 1).await;
    write(&writer, &[("cpu", WEB, START, Value::Int(0))]).await;
    for round in 1..20 {
        let reads = (0..20).map(|_| read_metric(&reader, "cpu", TimeRange::ALL));
        let writes = async {
            write(&writer, &[("cpu", WEB, START + round, Value::Int(round))]).await;
            read_metric(&reader, "cpu", TimeRange::ALL).await["cpu{host=web}"].len()
        };
        let (_, after) = tokio::join!(futures_util::future::join_all(reads), writes);
        assert_eq!(after, round as usize + 1);
    }
}

#[tokio::test]
async fn a_seal_of_a_living_process_is_left_alone_and_that_of_a_dead_one_is_taken_over() {
    let (memory, clock) = (Arc::new(MemoryKv::new()), Arc::new(ManualClock::new(START)));
    let probe = ProbeKv::new(Arc::clone(&memory) as Arc<dyn Kv>);
    let first = open(Arc::clone(&probe) as Arc<dyn Kv>, &clock, 1).await;
    let second = open(memory, &clock, 1).await;
    write(&first, &[("cpu", WEB, START, Value::Int(1))]).await;
    // The fence moves, and the process dies.
    probe.die_after(1);
    assert!(first.seal(SealReason::Requested).await.is_err());
    let refused = second.seal(SealReason::Requested).await;
    assert_eq!(refused, Err(StoreError::SealUnderWay { shard: 0, epoch: 1 }));
    write(&second, &[("cpu", WEB, START + 1, Value::Int(2))]).await;
    clock.advance(Duration::from_secs(119));
    assert!(second.seal(SealReason::Requested).await.is_err());
    clock.advance(Duration::from_secs(1));
    assert_eq!(second.seal(SealReason::Requested).await.unwrap().points, 2);
    assert_eq!(read_metric(&second, "cpu", TimeRange::ALL).await["cpu{host=web}"].len(), 2);
}

#[tokio::test]
async fn a_process_that_only_writes_seals_when_it_has_written_enough() {
    let (memory, clock) = (Arc::new(MemoryKv::new()), Arc::new(ManualClock::new(START)));
    let options = StoreOptions { seal_points: 5_000, ..options(1) };
    let store = Store::open(memory, Arc::clone(&clock) as _, options).await.unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    let mut next = 0;
    while store.figures().seals.epochs < 3 {
        let points: Vec<TestPoint<'_>> =
            (next..next + 500).map(|step| ("cpu", WEB, START + step * 1000, Value::Int(step))).collect();
        write(&store, &points).await;
        next += 500;
        assert!(tokio::time::Instant::now() < deadline, "not sealed in time");
    }
    assert_eq!(read_metric(&store, "cpu", TimeRange::ALL).await["cpu{host=web}"].len(), next as usize);
    store.close().await;
}
