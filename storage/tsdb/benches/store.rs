//! What writing, sealing and reading cost, over the engine `memory` and on one thread, so that time is CPU.
//!
//! The load is the standard one: 500 hosts with 20 metrics each, a batch of 1000 points is 50 hosts at one moment.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a benchmark that panics failed")]

use std::sync::Arc;

use divan::{Bencher, counter::ItemsCount};
use tidemark_kv::MemoryKv;
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
    for metric in ["sys.metric.number0", "sys.metric.number8"] {
        let started = std::time::Instant::elapsed;
        let begin = begin();
        let set = open_set(&runtime, &store, metric);
        eprintln!("{metric}: opened in {:?}, {:?}", started(&begin), set.statistics());
    }
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

#[expect(clippy::disallowed_methods, reason = "a benchmark measures the machine's time")]
fn begin() -> std::time::Instant {
    std::time::Instant::now()
}

fn open_set(runtime: &Runtime, store: &Store, metric: &str) -> Box<dyn tidemark_model::SeriesSet> {
    let selector = SeriesSelector::metric(metric);
    let range = TimeRange::new(START, START + 24 * 3_600_000);
    runtime.block_on(store.open(ReadRequest { selector, range, limits: ReadLimits::default() })).unwrap()
}
