//! What the tests of the store share.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "shared by several tests"
)]

pub(crate) mod backups;
#[cfg(feature = "fdb")]
#[path = "../../../kv/tests/support/fdb_store.rs"]
pub mod foundationdb;
pub(crate) mod seeds;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use tidemark_kv::{BoxFuture, Commit, CommitOutcome, KeyRange, Kv, KvError, KvSnapshot, RangeLimit, RangePage};
use tidemark_model::{
    ManualClock, PointBatch, PointBatchBuilder, PointColumns, PointSink, ReadLimits, ReadRequest, ReadStatistics,
    RollupBuckets, RollupFunction, RollupRequest, RollupRows, SeriesReader, SeriesSelector, TimeRange, Value,
    WriteOutcome,
};
use tidemark_tsdb::{Sharing, Store, StoreError, StoreOptions};
use tokio::sync::Notify;

/// A point in time that every test starts from.
pub const START: i64 = 1_789_948_800_000;

pub type Tags<'a> = &'a [(&'a str, &'a str)];

/// One point as tests write it.
pub type TestPoint<'a> = (&'a str, Tags<'a>, i64, Value);

pub fn batch(points: &[TestPoint<'_>]) -> PointBatch {
    let mut builder = PointBatchBuilder::default();
    for (metric, tags, timestamp, value) in points {
        builder.push(metric, &mut tags.to_vec(), *timestamp, *value).expect("a legal point");
    }
    builder.finish()
}

pub async fn open(kv: Arc<dyn Kv>) -> Result<Store, StoreError> {
    open_with(kv, StoreOptions::default()).await
}

pub async fn open_with(kv: Arc<dyn Kv>, mut options: StoreOptions) -> Result<Store, StoreError> {
    if kv.is_shared() {
        options.sharing = Sharing::Shared;
    }
    Store::open(kv, Arc::new(ManualClock::new(START)), options).await
}

/// Every function that rows have.
pub const ROLLUP_FUNCTIONS: [RollupFunction; 7] = [
    RollupFunction::Sum,
    RollupFunction::Average,
    RollupFunction::Smallest,
    RollupFunction::Largest,
    RollupFunction::Count,
    RollupFunction::First,
    RollupFunction::Last,
];

/// The value that a query makes of the points of a bucket.
pub fn value_of_bucket(function: RollupFunction, values: &[Value]) -> f64 {
    let doubles = || values.iter().map(|value| value.as_f64());
    let sum = || doubles().fold(0.0, |sum, value| sum + value);
    match function {
        RollupFunction::Sum => sum(),
        RollupFunction::Average => sum() / values.len() as f64,
        RollupFunction::Smallest => {
            doubles().fold(f64::INFINITY, |least, value| if value < least { value } else { least })
        }
        RollupFunction::Largest => {
            doubles().fold(f64::NEG_INFINITY, |most, value| if value > most { value } else { most })
        }
        RollupFunction::Count => values.len() as f64,
        RollupFunction::First => doubles().next().expect("a point"),
        RollupFunction::Last => doubles().next_back().expect("a point"),
    }
}

/// Bits of the value of each bucket of a series, by the start of the bucket.
pub type Buckets = BTreeMap<i64, u64>;

/// The buckets of points, by definition.
pub fn buckets_of(
    points: impl IntoIterator<Item = (i64, Value)>,
    interval_ms: i64,
    function: RollupFunction,
) -> Buckets {
    let mut values = BTreeMap::<i64, Vec<Value>>::new();
    for (at, value) in points {
        values.entry(at - at.rem_euclid(interval_ms)).or_default().push(value);
    }
    values.into_iter().map(|(start, values)| (start, value_of_bucket(function, &values).to_bits())).collect()
}

/// What a store has of some buckets, from rows where it has them, and what reading it cost.
pub async fn read_buckets(
    store: &Store,
    selector: SeriesSelector,
    range: TimeRange,
    interval_ms: i64,
    function: RollupFunction,
) -> (BTreeMap<String, Buckets>, ReadStatistics) {
    let rollup = Some(RollupRequest { function, buckets: RollupBuckets::Every(interval_ms) });
    let request = ReadRequest { selector, range, limits: ReadLimits::default(), rollup };
    let set = store.open(request).await.expect("read");
    let (mut columns, mut rows) = (PointColumns::default(), RollupRows::default());
    let mut found = BTreeMap::new();
    for (index, series) in set.series().iter().enumerate() {
        set.read(index, &mut columns).expect("decode");
        let points = columns.iter().map(|point| (point.timestamp, point.value));
        let mut buckets = buckets_of(points, interval_ms, function);
        assert_eq!(set.read_rollups(index, &mut rows).expect("decode"), !rows.is_empty());
        let mut folded = BTreeMap::<i64, (Vec<f64>, Vec<f64>)>::new();
        for (row, at) in rows.starts.iter().enumerate() {
            let bucket = folded.entry(at - at.rem_euclid(interval_ms)).or_default();
            bucket.0.push(rows.values[row]);
            bucket.1.extend(rows.counts.get(row));
        }
        for (start, (values, counts)) in folded {
            let as_values: Vec<Value> = values.iter().copied().map(Value::Float).collect();
            let sum = |doubles: &[f64]| doubles.iter().fold(0.0, |sum, double| sum + double);
            let value = match function {
                RollupFunction::Count => sum(&values),
                RollupFunction::Average => sum(&values) / sum(&counts),
                other => value_of_bucket(other, &as_values),
            };
            buckets.insert(start, value.to_bits());
        }
        found.insert(series.key.to_string(), buckets);
    }
    (found, set.statistics())
}

pub async fn write(store: &Store, points: &[TestPoint<'_>]) {
    match store.write(batch(points)).await {
        WriteOutcome::Done(receipt) => assert_eq!((receipt.stored, receipt.refused.len()), (points.len(), 0)),
        other => panic!("not written: {other:?}"),
    }
}

/// Everything that a store has of a metric, by canonical key, with the bits of each value.
pub async fn read_metric(store: &Store, metric: &str, range: TimeRange) -> BTreeMap<String, Vec<(i64, u64, bool)>> {
    read(store, SeriesSelector::metric(metric), range).await
}

pub async fn read(
    store: &Store,
    selector: SeriesSelector,
    range: TimeRange,
) -> BTreeMap<String, Vec<(i64, u64, bool)>> {
    let set =
        store.open(ReadRequest { selector, range, limits: ReadLimits::default(), rollup: None }).await.expect("read");
    let mut columns = PointColumns::default();
    let mut found = BTreeMap::new();
    for (index, series) in set.series().iter().enumerate() {
        set.read(index, &mut columns).expect("decode");
        let points = columns.iter().map(|point| {
            let (bits, float) = bits_of(point.value);
            (point.timestamp, bits, float)
        });
        found.insert(series.key.to_string(), points.collect());
    }
    found
}

pub fn bits_of(value: Value) -> (u64, bool) {
    match value {
        Value::Int(int) => (int.cast_unsigned(), false),
        Value::Float(float) => (float.to_bits(), true),
    }
}

/// An engine around another one that can be told to die or to hold still at a certain commit.
pub struct ProbeKv {
    inner: Arc<dyn Kv>,
    /// Commits until it dies; negative for never.
    until_death: AtomicI64,
    /// Commits until one is refused; negative for never.
    until_refusal: AtomicI64,
    /// Commits until one waits for `release`; negative for never.
    until_hold: AtomicI64,
    /// Milliseconds that each commit takes longer.
    delay_ms: AtomicI64,
    pub held: Notify,
    pub release: Notify,
}

impl ProbeKv {
    pub fn new(inner: Arc<dyn Kv>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            until_death: AtomicI64::new(-1),
            until_refusal: AtomicI64::new(-1),
            until_hold: AtomicI64::new(-1),
            delay_ms: AtomicI64::new(0),
            held: Notify::new(),
            release: Notify::new(),
        })
    }

    /// Lets `commits` more through; all after them are refused.
    pub fn die_after(&self, commits: i64) {
        self.until_death.store(commits, Ordering::SeqCst);
    }

    /// Lets `commits` more through; the one after them is refused, and no other.
    pub fn refuse_after(&self, commits: i64) {
        self.until_refusal.store(commits, Ordering::SeqCst);
    }

    /// Makes every commit slow.
    pub fn delay(&self, millis: i64) {
        self.delay_ms.store(millis, Ordering::SeqCst);
    }

    /// Lets `commits` more through; the one after them waits.
    pub fn hold_after(&self, commits: i64) {
        self.until_hold.store(commits, Ordering::SeqCst);
    }
}

impl Kv for ProbeKv {
    fn snapshot(&self) -> BoxFuture<'_, Result<Arc<dyn KvSnapshot>, KvError>> {
        self.inner.snapshot()
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'_, CommitOutcome> {
        Box::pin(async move {
            let left = self.until_death.load(Ordering::SeqCst);
            if left == 0 {
                return CommitOutcome::Refused(KvError::Unavailable("the process is dead".to_owned()));
            }
            if left > 0 {
                self.until_death.store(left - 1, Ordering::SeqCst);
            }
            if self.until_refusal.fetch_sub(1, Ordering::SeqCst) == 0 {
                return CommitOutcome::Refused(KvError::Unavailable("one commit is refused".to_owned()));
            }
            if self.until_hold.fetch_sub(1, Ordering::SeqCst) == 0 {
                self.held.notify_one();
                self.release.notified().await;
            }
            let delay = self.delay_ms.load(Ordering::SeqCst).unsigned_abs();
            if delay > 0 {
                tokio::time::sleep(Duration::from_millis(delay)).await;
            }
            self.inner.commit(commit).await
        })
    }

    fn is_shared(&self) -> bool {
        self.inner.is_shared()
    }

    fn disk_bytes(&self) -> Option<u64> {
        self.inner.disk_bytes()
    }
}

/// An engine whose snapshots are too old after a few reads.
pub struct ShortSnapshots {
    pub inner: Arc<dyn Kv>,
    /// Reads of a snapshot.
    pub reads: i64,
}

struct ShortSnapshot {
    inner: Arc<dyn KvSnapshot>,
    left: AtomicI64,
}

impl ShortSnapshot {
    fn count(&self) -> Result<(), KvError> {
        if self.left.fetch_sub(1, Ordering::SeqCst) > 0 { Ok(()) } else { Err(KvError::TooOld) }
    }
}

impl KvSnapshot for ShortSnapshot {
    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<bytes::Bytes>, KvError>> {
        Box::pin(async move {
            self.count()?;
            self.inner.get(key).await
        })
    }

    /// Also in small pages, so that there are many.
    fn range(&self, range: KeyRange, limit: RangeLimit) -> BoxFuture<'_, Result<RangePage, KvError>> {
        Box::pin(async move {
            self.count()?;
            self.inner.range(range, RangeLimit { entries: limit.entries.min(7), ..limit }).await
        })
    }
}

impl Kv for ShortSnapshots {
    fn snapshot(&self) -> BoxFuture<'_, Result<Arc<dyn KvSnapshot>, KvError>> {
        Box::pin(async move {
            let inner = self.inner.snapshot().await?;
            Ok(Arc::new(ShortSnapshot { inner, left: AtomicI64::new(self.reads) }) as Arc<dyn KvSnapshot>)
        })
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'_, CommitOutcome> {
        self.inner.commit(commit)
    }

    fn is_shared(&self) -> bool {
        self.inner.is_shared()
    }

    fn disk_bytes(&self) -> Option<u64> {
        self.inner.disk_bytes()
    }
}

/// Every entry of an engine.
pub async fn all_entries(kv: &dyn Kv) -> Vec<(bytes::Bytes, bytes::Bytes)> {
    let limit = RangeLimit { entries: usize::MAX, bytes: usize::MAX, reverse: false };
    kv.snapshot().await.unwrap().range(KeyRange::prefix(&[]), limit).await.unwrap().entries
}

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
