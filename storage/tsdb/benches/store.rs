//! What writing, sealing and reading cost, over the engine `memory` and on one thread, so that time is CPU.
//!
//! The load is the standard one: 500 hosts with 20 metrics each, a batch of 1000 points is 50 hosts at one moment.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a benchmark that panics failed")]

use std::sync::Arc;

use divan::{Bencher, counter::ItemsCount};
use tidemark_kv::{Kv, MemoryKv, RedbKv, RedbOptions};
use tidemark_model::{
    ManualClock, PointBatch, PointBatchBuilder, PointColumns, PointSink, ReadLimits, ReadRequest, SeriesReader,
    SeriesSelector, TimeRange, Value, WriteOutcome,
};
use tidemark_tsdb::{SealReason, Store, StoreOptions};
use tokio::runtime::Runtime;

const START: i64 = 1_789_948_800_000;
const HOSTS: usize = 500;
const METRICS: usize = 20;
const HOSTS_PER_BATCH: usize = 50;

fn main() {
    divan::main();
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Values of every series, walking.
struct Load {
    hosts: Vec<String>,
    metrics: Vec<String>,
    values: Vec<i64>,
    random: u64,
    position: usize,
}

impl Load {
    fn new() -> Self {
        Self {
            hosts: (0..HOSTS).map(|host| format!("web{host:04}")).collect(),
            metrics: (0..METRICS).map(|metric| format!("sys.metric.number{metric}")).collect(),
            values: vec![1_000; HOSTS * METRICS],
            random: 7,
            position: 0,
        }
    }

    /// The next 1000 points: 50 hosts of one step.
    fn batch(&mut self) -> PointBatch {
        let mut builder = PointBatchBuilder::default();
        builder.reserve(HOSTS_PER_BATCH * METRICS);
        let step = self.position / HOSTS;
        for host in self.position % HOSTS..self.position % HOSTS + HOSTS_PER_BATCH {
            for metric in 0..METRICS {
                let value = self.value(host, metric);
                let mut tags = [("host", self.hosts[host].as_str()), ("dc", "dc1"), ("role", "web")];
                builder.push(&self.metrics[metric], &mut tags, START + step as i64 * 15_000, value).unwrap();
            }
        }
        self.position += HOSTS_PER_BATCH;
        builder.finish()
    }

    /// Counters, gauges, decimals, and one true double among twenty.
    fn value(&mut self, host: usize, metric: usize) -> Value {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let noise = (self.random >> 40) as i64;
        let value = &mut self.values[host * METRICS + metric];
        match metric % 10 {
            0..=3 => *value += noise & 0xFFFF,
            4 | 5 => *value += noise & 0x3F,
            6 => *value += (noise & 0xFFF) - 0x7FF,
            7 => *value = 7,
            8 => return Value::Float((noise & 0x3FF) as f64 / 10.0),
            _ if metric == 9 => return Value::Float(noise as f64 / 77_777.7),
            _ => return Value::Float((noise & 0x3FF) as f64 / 100.0),
        }
        Value::Int(*value)
    }
}

fn open(runtime: &Runtime, seal_points: u64) -> Store {
    let options = StoreOptions { seal_points, head_points_max: u64::MAX, ..StoreOptions::default() };
    runtime.block_on(Store::open(Arc::new(MemoryKv::new()), Arc::new(ManualClock::new(START)), options)).unwrap()
}

fn write(runtime: &Runtime, store: &Store, batch: PointBatch) {
    let outcome = runtime.block_on(store.write(batch));
    assert!(matches!(outcome, WriteOutcome::Done(_)), "{outcome:?}");
}

fn filled(runtime: &Runtime, load: &mut Load, steps: usize) -> Store {
    let store = open(runtime, u64::MAX);
    for _ in 0..steps * HOSTS / HOSTS_PER_BATCH {
        write(runtime, &store, load.batch());
    }
    store
}

/// Lookup, segment, commit in memory and head: per point of a batch of 1000 known series among 10,000.
#[divan::bench(sample_count = 200, sample_size = 10)]
fn write_batch_of_1000(bencher: Bencher<'_, '_>) {
    let (runtime, mut load) = (runtime(), Load::new());
    let store = filled(&runtime, &mut load, 4);
    bencher
        .counter(ItemsCount::new(HOSTS_PER_BATCH * METRICS))
        .with_inputs(|| load.batch())
        .bench_local_values(|batch| write(&runtime, &store, batch));
    let figures = store.figures();
    eprintln!(
        "head {:.2} B/pt of memory, log {:.2} B/pt",
        figures.head_bytes as f64 / figures.head_points as f64,
        figures.log_bytes as f64 / figures.head_points as f64
    );
}

/// Two hours of 10,000 series from head to blocks.
#[divan::bench(sample_count = 3, sample_size = 1)]
fn seal_two_hours_of_10000_series(bencher: Bencher<'_, '_>) {
    let runtime = runtime();
    bencher
        .counter(ItemsCount::new(480 * HOSTS * METRICS))
        .with_inputs(|| filled(&runtime, &mut Load::new(), 480))
        .bench_local_values(|store| {
            let report = runtime.block_on(store.seal(SealReason::Requested)).unwrap();
            assert_eq!(report.points, 480 * (HOSTS * METRICS) as u64);
            let figures = store.figures();
            eprintln!("blocks {:.3} B/pt", figures.block_bytes as f64 / figures.block_points as f64);
            store
        });
}

/// A day of 10,000 series into the embedded engine with its fsyncs, four batches at a time, sealed as the head fills:
/// what memory and the disk see of it. Then ten minutes of load that a restart has to replay.
#[divan::bench(sample_count = 1, sample_size = 1)]
fn backfill_a_day_of_10000_series_on_redb(bencher: Bencher<'_, '_>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut load = Load::new();
    let clock = || Arc::new(tidemark_model::SystemClock::new());
    bencher.counter(ItemsCount::new(5_760 * HOSTS * METRICS)).bench_local(|| {
        let folder = tempfile::tempdir().unwrap();
        let open = || {
            let kv: Arc<dyn Kv> =
                Arc::new(RedbKv::open(&folder.path().join("store.redb"), RedbOptions::default()).unwrap());
            runtime.block_on(Store::open(kv, clock(), StoreOptions::default())).unwrap()
        };
        let begin = Moment::now();
        let store = open();
        let write = |load: &mut Load, steps: usize| {
            for _ in 0..steps * HOSTS / HOSTS_PER_BATCH / 2 {
                let (first, second) = (store.write(load.batch()), store.write(load.batch()));
                runtime.block_on(async {
                    for outcome in <[_; 2]>::from(tokio::join!(first, second)) {
                        assert!(matches!(outcome, WriteOutcome::Done(_)), "{outcome:?}");
                    }
                });
            }
        };
        write(&mut load, 5_760);
        begin.report("wrote a day");
        let begin = Moment::now();
        runtime.block_on(store.seal(SealReason::Requested)).unwrap();
        begin.report("sealed the rest");
        let points = (5_760 * HOSTS * METRICS) as f64;
        let figures = store.figures();
        let disk = figures.disk_bytes.unwrap_or(0) as f64;
        eprintln!("{:.3} B/pt in groups, {:.3} on disk", figures.block_bytes as f64 / points, disk / points);
        eprintln!("{:?} {:?}", figures.flushes, figures.seals);
        for metric in ["sys.metric.number0", "sys.metric.number8", "sys.metric.number0"] {
            let begin = Moment::now();
            let set = open_set(&runtime, &store, metric);
            begin.report("opened a day of 500 series");
            let mut columns = PointColumns::default();
            let begin = Moment::now();
            (0..set.series().len()).for_each(|index| set.read(index, &mut columns).unwrap());
            begin.report("decoded it");
        }
        write(&mut load, 600);
        runtime.block_on(store.close());
        drop(store);
        let begin = Moment::now();
        let store = open();
        begin.report("opened again with 6 million points in the log");
        assert_eq!(store.figures().head_points, (600 * HOSTS * METRICS) as u64);
        runtime.block_on(store.close());
    });
}

/// Wall time, CPU time of the process and its greatest memory, as Linux counts them.
struct Moment {
    at: std::time::Instant,
    cpu_ms: u64,
}

impl Moment {
    #[expect(clippy::disallowed_methods, reason = "a benchmark measures the machine's time")]
    fn now() -> Self {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok());
        Self { at: std::time::Instant::now(), cpu_ms: ticks.sum::<u64>() * 10 }
    }

    fn report(&self, what: &str) {
        let now = Self::now();
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let memory = |name| status.lines().find(|line| line.starts_with(name)).unwrap_or_default().replace('\t', " ");
        let (wall, cpu) = (now.at - self.at, now.cpu_ms - self.cpu_ms);
        eprintln!("{what}: {wall:?}, {cpu} ms of CPU, {}, {}", memory("VmRSS"), memory("VmHWM"));
    }
}

/// Opens and decodes a day of 500 series.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn read_a_day_of_500_series(bencher: Bencher<'_, '_>) {
    let (runtime, mut load) = (runtime(), Load::new());
    let store = open(&runtime, u64::MAX);
    for _ in 0..12 {
        for _ in 0..480 * HOSTS / HOSTS_PER_BATCH {
            write(&runtime, &store, load.batch());
        }
        runtime.block_on(store.seal(SealReason::Requested)).unwrap();
    }
    let set = open_set(&runtime, &store, "sys.metric.number0");
    eprintln!("{:?}", set.statistics());
    bencher.counter(ItemsCount::new(5_760 * HOSTS)).bench_local(|| {
        let set = open_set(&runtime, &store, "sys.metric.number0");
        let mut columns = PointColumns::default();
        let mut points = 0;
        for index in 0..set.series().len() {
            set.read(index, &mut columns).unwrap();
            points += columns.len();
        }
        assert_eq!(points, 5_760 * HOSTS);
    });
}

fn open_set(runtime: &Runtime, store: &Store, metric: &str) -> Box<dyn tidemark_model::SeriesSet> {
    let selector = SeriesSelector::metric(metric);
    let range = TimeRange::new(START, START + 24 * 3_600_000);
    runtime.block_on(store.open(ReadRequest { selector, range, limits: ReadLimits::default(), rollup: None })).unwrap()
}
