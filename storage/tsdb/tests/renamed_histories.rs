//! Random histories with names that are changed, of one process and of several, against a map.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics is a test that fails")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use support::{Random, START, batch, bits_of, read_metric, seeds::seeds};
use tidemark_kv::{Commit, CommitOutcome, FaultPlan, KeyRange, Kv, MemoryKv};
use tidemark_model::{
    DeleteOutcome, DeleteRefusal, DeleteRequest, ManualClock, NameIds, NameKind, PointColumns, PointDeleter, PointSink,
    ReadLimits, ReadRequest, RenameRefusal, SeriesCatalog, SeriesReader, SeriesSelector, TimeRange, Value,
    WriteOutcome,
};
use tidemark_tsdb::{
    SealReason, Sharing, Store, StoreError, StoreOptions,
    inspect::{Finding, FindingKind, check_store},
};

const METRICS: [&str; 4] = ["cpu", "mem", "disk", "net"];
const TAG_KEYS: [&str; 4] = ["host", "dc", "rack", "app"];
const TAG_VALUES: [&str; 5] = ["a", "b", "c", "d", "e"];
const KINDS: [NameKind; 3] = [NameKind::Metric, NameKind::TagKey, NameKind::TagValue];
/// How often something is tried on an engine that fails.
const TRIES: usize = 100;

/// Names that are written, and some that things only get. One is before all others, so that tags change places.
fn pool(kind: NameKind) -> Vec<&'static str> {
    let written: &[&str] = match kind {
        NameKind::Metric => &METRICS,
        NameKind::TagKey => &TAG_KEYS,
        NameKind::TagValue => &TAG_VALUES,
    };
    [written, &["a0", "x", "y", "z"]].concat()
}

/// A series as it is called now.
#[derive(Debug)]
struct ModelSeries {
    metric: String,
    tags: BTreeMap<String, String>,
    points: BTreeMap<i64, (u64, bool)>,
    /// Known since it was read first; it never changes.
    tsuid: Option<String>,
}

impl ModelSeries {
    fn text(&self) -> String {
        let tags: Vec<String> = self.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
        format!("{}{{{}}}", self.metric, tags.join(","))
    }
}

#[derive(Default)]
struct Model {
    series: Vec<ModelSeries>,
    known: [BTreeSet<String>; 3],
    renamed: usize,
}

impl Model {
    fn known(&mut self, kind: NameKind) -> &mut BTreeSet<String> {
        &mut self.known[KINDS.iter().position(|of| *of == kind).unwrap()]
    }

    fn write(&mut self, metric: &str, tags: &[(&str, &str)], at: i64, value: Value) {
        let tags: BTreeMap<String, String> =
            tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self.known(NameKind::Metric).insert(metric.to_owned());
        self.known(NameKind::TagKey).extend(tags.keys().cloned());
        self.known(NameKind::TagValue).extend(tags.values().cloned());
        let is_it = |series: &&mut ModelSeries| series.metric == metric && series.tags == tags;
        if self.series.iter_mut().find(is_it).is_none() {
            let metric = metric.to_owned();
            self.series.push(ModelSeries { metric, tags: tags.clone(), points: BTreeMap::new(), tsuid: None });
        }
        let series = self.series.iter_mut().find(|series| series.metric == metric && series.tags == tags);
        series.unwrap().points.insert(at, bits_of(value));
    }

    /// Whether the name can be changed; then it is.
    fn rename(&mut self, kind: NameKind, old: &str, new: &str) -> bool {
        if !self.known(kind).contains(old) || self.known(kind).contains(new) {
            return false;
        }
        self.known(kind).remove(old);
        self.known(kind).insert(new.to_owned());
        let renamed = |name: &str| if name == old { new.to_owned() } else { name.to_owned() };
        for series in &mut self.series {
            match kind {
                NameKind::Metric => series.metric = renamed(&series.metric),
                NameKind::TagKey => {
                    series.tags = series.tags.iter().map(|(key, value)| (renamed(key), value.clone())).collect();
                }
                NameKind::TagValue => series.tags.values_mut().for_each(|value| *value = renamed(value)),
            }
        }
        self.renamed += 1;
        true
    }
}

struct History {
    seed: u64,
    random: Random,
    memory: Arc<MemoryKv>,
    clock: Arc<ManualClock>,
    options: StoreOptions,
    stores: Vec<Store>,
    model: Model,
    faults: FaultPlan,
}

fn any_series() -> SeriesSelector {
    SeriesSelector::Tags { metric: None, predicates: Vec::new(), exact_keys: false }
}

impl History {
    async fn new(seed: u64, processes: usize, faults: FaultPlan) -> Self {
        let sharing = if processes > 1 { Sharing::Shared } else { StoreOptions::default().sharing };
        let mut history = Self {
            seed,
            random: Random(seed),
            memory: Arc::new(MemoryKv::new()),
            clock: Arc::new(ManualClock::new(START)),
            options: StoreOptions { shards: 1 + (seed % 3) as u16, sharing, ..StoreOptions::default() },
            stores: Vec::new(),
            model: Model::default(),
            faults,
        };
        for _ in 0..processes {
            let store = history.open().await;
            history.stores.push(store);
        }
        history
    }

    async fn open(&self) -> Store {
        self.memory.set_faults(FaultPlan::default());
        let kv = Arc::clone(&self.memory) as Arc<dyn Kv>;
        let store = Store::open(kv, Arc::clone(&self.clock) as _, self.options.clone()).await.unwrap();
        self.memory.set_faults(self.faults);
        store
    }

    fn one_of<'a>(&mut self, names: &[&'a str]) -> &'a str {
        names[self.random.below(names.len() as u64) as usize]
    }

    fn any_store(&mut self) -> Store {
        let by = self.random.below(self.stores.len() as u64) as usize;
        self.stores[by].clone()
    }

    async fn write(&mut self) {
        // The other processes hear of changed names within a second.
        self.clock.advance(Duration::from_secs(1));
        let store = self.any_store();
        let points: Vec<_> = (0..1 + self.random.below(12))
            .map(|_| {
                let mut tags = BTreeMap::new();
                for _ in 0..1 + self.random.below(3) {
                    tags.insert(self.one_of(&TAG_KEYS), self.one_of(&TAG_VALUES));
                }
                let tags: Vec<(&str, &str)> = tags.into_iter().collect();
                let at = START + (self.random.below(3) * 7_200_000 + self.random.below(8) * 15_000) as i64;
                (self.one_of(&METRICS), tags, at, Value::Int(self.random.below(1_000) as i64))
            })
            .collect();
        let points: Vec<_> =
            points.iter().map(|(metric, tags, at, value)| (*metric, tags.as_slice(), *at, *value)).collect();
        for _ in 0..TRIES {
            if let WriteOutcome::Done(receipt) = store.write(batch(&points)).await {
                assert_eq!(receipt.stored, points.len(), "seed {}", self.seed);
                points.iter().for_each(|(metric, tags, at, value)| self.model.write(metric, tags, *at, *value));
                return;
            }
        }
        panic!("seed {}: the batch was never stored", self.seed);
    }

    async fn rename(&mut self) {
        let store = self.any_store();
        let kind = KINDS[self.random.below(3) as usize];
        let pool = pool(kind);
        let (known, free): (Vec<&str>, Vec<&str>) =
            pool.iter().partition(|name| self.model.known(kind).contains(**name));
        let can = !known.is_empty() && !free.is_empty() && self.random.below(5) > 0;
        let (old, new) = match can {
            true => (self.one_of(&known), self.one_of(&free)),
            false => (self.one_of(&pool), self.one_of(&pool)),
        };
        let expected = self.model.rename(kind, old, new);
        for attempt in 0..TRIES {
            let what = format!("seed {}: {kind} {old} to {new}, attempt {attempt}", self.seed);
            match store.rename(kind, old, new).await {
                Ok(()) => return assert!(expected, "{what}"),
                Err(RenameRefusal::NoSuchName | RenameRefusal::Taken { .. }) if !expected => return,
                // A change of which the outcome was not told was made.
                Err(RenameRefusal::NoSuchName) if attempt > 0 => return,
                Err(RenameRefusal::Store(_) | RenameRefusal::Unknown(_)) => {}
                Err(refusal) => panic!("{what}: {refusal:?}"),
            }
        }
        panic!("seed {}: the name was never changed", self.seed);
    }

    async fn delete(&mut self) {
        let (store, metric) = (self.any_store(), self.one_of(&METRICS));
        let start = START + self.random.below(3) as i64 * 7_200_000;
        let range = if self.random.below(3) == 0 { TimeRange::ALL } else { TimeRange::new(start, start + 60_000) };
        let request = DeleteRequest { selector: SeriesSelector::metric(metric), range, series_max: 10_000 };
        for _ in 0..TRIES {
            match store.delete(&request).await {
                DeleteOutcome::Done(_) => {
                    let of_metric = self.model.series.iter_mut().filter(|series| series.metric == metric);
                    of_metric.for_each(|series| series.points.retain(|&at, _| !range.contains(at)));
                    return;
                }
                DeleteOutcome::Refused(DeleteRefusal::Selection(_)) => {
                    return assert!(!self.model.known(NameKind::Metric).contains(metric), "seed {}", self.seed);
                }
                DeleteOutcome::Refused(_) | DeleteOutcome::Unknown(_) => {}
            }
        }
        panic!("seed {}: the points were never deleted", self.seed);
    }

    async fn reopen(&mut self) {
        let by = self.random.below(self.stores.len() as u64) as usize;
        self.stores.remove(by).close().await;
        let store = self.open().await;
        self.stores.push(store);
    }

    /// Those who are behind have to read all rows.
    async fn lose_index_log(&mut self) {
        let mut commit = Commit::new();
        commit.delete_range(KeyRange::prefix(b"I"));
        self.memory.set_faults(FaultPlan::default());
        assert!(matches!(self.memory.commit(commit).await, CommitOutcome::Done(_)));
        self.memory.set_faults(self.faults);
    }

    async fn check(&mut self) {
        let store = self.any_store();
        let selector = any_series();
        let request = ReadRequest { selector, range: TimeRange::ALL, limits: ReadLimits::default(), rollup: None };
        let set = store.open(request).await.unwrap();
        let keys: Vec<_> = set.series().iter().map(|info| info.key.clone()).collect();
        assert!(keys.is_sorted(), "seed {}: {keys:?}", self.seed);
        let mut columns = PointColumns::default();
        let mut found = BTreeMap::new();
        for (index, info) in set.series().iter().enumerate() {
            set.read(index, &mut columns).unwrap();
            let points: BTreeMap<_, _> = columns.iter().map(|point| (point.timestamp, bits_of(point.value))).collect();
            found.insert(info.key.to_string(), (points, info.tsuid.to_string()));
        }
        assert_eq!(found.len(), self.model.series.len(), "seed {}", self.seed);
        for series in &mut self.model.series {
            let text = series.text();
            let Some((points, tsuid)) = found.get(&text) else { panic!("seed {}: {text} is gone", self.seed) };
            assert_eq!(points, &series.points, "seed {}: {text}", self.seed);
            assert_eq!(series.tsuid.get_or_insert_with(|| tsuid.clone()), tsuid, "seed {}: {text}", self.seed);
        }
        let last: BTreeMap<String, i64> = store
            .last(&any_series(), i64::MIN)
            .await
            .unwrap()
            .into_iter()
            .map(|last| (last.series.key.to_string(), last.point.timestamp))
            .collect();
        let newest = self.model.series.iter().filter_map(|series| Some((series.text(), *series.points.keys().last()?)));
        assert_eq!(last, newest.collect(), "seed {}", self.seed);
        for kind in KINDS {
            for name in pool(kind) {
                let known = store.id(kind, name).await.unwrap().is_some();
                assert_eq!(known, self.model.known(kind).contains(name), "seed {}: {kind} {name}", self.seed);
            }
        }
        let metric = self.one_of(&METRICS);
        if self.model.known(NameKind::Metric).contains(metric) {
            let of_metric = read_metric(&store, metric, TimeRange::ALL).await;
            let expect = self.model.series.iter().filter(|series| series.metric == metric).map(ModelSeries::text);
            assert_eq!(of_metric.keys().cloned().collect::<BTreeSet<_>>(), expect.collect(), "seed {}", self.seed);
        }
    }
}

/// How many names were changed.
async fn run(seed: u64, processes: usize, faults: FaultPlan) -> usize {
    let mut history = History::new(seed, processes, faults).await;
    for _ in 0..80 {
        match history.random.below(16) {
            0..=4 => history.write().await,
            5..=8 => history.rename().await,
            9 => history.delete().await,
            10 => {
                let sealed = history.any_store().seal(SealReason::Requested).await;
                let is_under_way = matches!(sealed, Err(StoreError::SealUnderWay { .. }));
                assert!(sealed.is_ok() || is_under_way || faults != FaultPlan::default(), "seed {seed}: {sealed:?}");
            }
            11 => history.reopen().await,
            12 => history.lose_index_log().await,
            _ => history.check().await,
        }
    }
    history.faults = FaultPlan::default();
    history.memory.set_faults(history.faults);
    for _ in 0..2 * processes {
        history.check().await;
    }
    for store in std::mem::take(&mut history.stores) {
        store.close().await;
    }
    let report = check_store(history.memory.as_ref(), &mut |_| {}).await.unwrap();
    // A merge that was told that it may have failed leaves groups that nobody names.
    let is_due = |finding: &&Finding| faults != FaultPlan::default() && finding.kind == FindingKind::Orphan;
    let findings: Vec<_> = report.findings.iter().filter(|finding| !is_due(finding)).collect();
    assert!(findings.is_empty(), "seed {seed}: {findings:#?}");
    let store = history.open().await;
    history.stores.push(store);
    history.check().await;
    history.stores[0].close().await;
    history.model.renamed
}

async fn run_all(first: u64, count: u64, processes: usize, faults: impl Fn(u64) -> FaultPlan) {
    let seeds = seeds(first, count);
    let (histories, mut renamed) = (seeds.len() as usize, 0);
    for seed in seeds {
        renamed += run(seed, processes, faults(seed)).await;
    }
    assert!(histories < 20 || renamed > 8 * histories, "{renamed} names were changed in {histories} histories");
}

fn failing(seed: u64) -> FaultPlan {
    FaultPlan { seed, unknown_per_mille: 80, conflict_per_mille: 80, ..FaultPlan::default() }
}

#[tokio::test]
async fn any_history_reads_as_a_map_does() {
    run_all(0, 50, 1, |_| FaultPlan::default()).await;
}

#[tokio::test]
async fn any_history_survives_an_engine_that_forgets_outcomes() {
    run_all(1_000, 50, 1, failing).await;
}

#[tokio::test]
async fn any_history_of_several_processes_reads_as_a_map_does() {
    run_all(2_000, 50, 3, |_| FaultPlan::default()).await;
}

#[tokio::test]
async fn any_history_of_several_processes_survives_an_engine_that_forgets_outcomes() {
    run_all(3_000, 50, 3, failing).await;
}
