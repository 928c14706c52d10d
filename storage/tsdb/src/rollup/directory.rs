//! Which groups of rollups there are, and which generation of each day their rows were made of. Byte map:
//! `docs/format/rollup.md`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use hashbrown::HashMap;
use roaring::RoaringBitmap;
use tidemark_kv::{KeyRange, KvSnapshot};
use tidemark_model::TimeRange;

use super::RollupInterval;
use crate::{
    Bucket, ByteReader, Generation, Scan, StoreError, Tier,
    keys::{RollupGroupKey, RollupKey},
    put_varint,
    retention::Horizons,
    stored_value,
};

/// Rows of days that have points.
const FORMAT: u8 = 1;
/// Also rows of days whose points are gone.
const FORMAT_WITH_ALONE: u8 = 2;
/// Groups of one span at most, so that a directory stays far below the limit of a value.
pub(super) const GROUPS_MAX: usize = 4_000;

/// What the directory says of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RollupGroupInfo {
    /// First and last series.
    pub(crate) first: u32,
    pub(crate) last: u32,
    pub(crate) bytes: u32,
    pub(crate) rows: u32,
}

/// What the rows of a day were made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DayOrigin {
    /// The only generation that the day had then.
    pub(crate) generation: Generation,
    /// Whether there are rows; a day with few points to a row has none.
    pub(crate) has_rows: bool,
    /// Whether the rows answer alone: the points are gone, or are about to go.
    pub(crate) is_alone: bool,
}

impl DayOrigin {
    /// Of rows that count as long as there is this generation of the day and nothing else.
    pub(crate) fn new(generation: Generation, has_rows: bool) -> Self {
        Self { generation, has_rows, is_alone: false }
    }

    fn byte(self) -> u8 {
        if self.is_alone { 2 } else { u8::from(self.has_rows) }
    }
}

/// The rollups of one metric, interval and span.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SpanRollups {
    /// Part of the groups' keys; another one for each change.
    pub(crate) version: u64,
    /// By the number of the day.
    pub(crate) days: BTreeMap<u32, DayOrigin>,
    /// In order of their keys.
    pub(crate) groups: Vec<RollupGroupInfo>,
}

/// The rollups of a shard.
#[derive(Clone, Debug, Default)]
pub(crate) struct RollupCatalogue {
    by_metric: HashMap<u32, MetricRollups>,
}

/// The rollups of a metric, by interval and span.
pub(crate) type MetricRollups = BTreeMap<(u32, u32), Arc<SpanRollups>>;

impl SpanRollups {
    pub(crate) fn encode(&self) -> Bytes {
        let format = if self.has_alone() { FORMAT_WITH_ALONE } else { FORMAT };
        stored_value::build(format, |out| {
            put_varint(out, self.version);
            put_varint(out, self.days.len() as u64);
            let mut before = 0;
            for (&day, origin) in &self.days {
                put_varint(out, u64::from(day - before));
                out.push(origin.byte());
                put_varint(out, origin.generation.0);
                before = day;
            }
            put_varint(out, self.groups.len() as u64);
            let mut before = 0;
            for group in &self.groups {
                put_varint(out, u64::from(group.first - before));
                put_varint(out, u64::from(group.last - group.first));
                put_varint(out, u64::from(group.bytes));
                put_varint(out, u64::from(group.rows));
                before = group.first;
            }
        })
    }

    pub(crate) fn decode(key: &RollupKey, value: &[u8]) -> Result<Self, StoreError> {
        // The format byte is checked by whoever reads; any other one is refused as that of a newer program.
        let format = if value.first() == Some(&FORMAT_WITH_ALONE) { FORMAT_WITH_ALONE } else { FORMAT };
        stored_value::read(format, &key.encode(), value, |reader| read(reader, format))
    }

    fn has_alone(&self) -> bool {
        self.days.values().any(|origin| origin.is_alone)
    }

    /// What is left when the points of all days that have some are gone, with the same groups; `None` for nothing.
    pub(crate) fn only_alone(mut self) -> Option<Self> {
        self.days.retain(|_, origin| origin.is_alone);
        (!self.days.is_empty()).then_some(self)
    }

    /// The keys of the groups.
    pub(crate) fn group_keys(&self, of: RollupKey) -> impl Iterator<Item = RollupGroupKey> + '_ {
        self.groups.iter().map(move |group| group.key(of, self.version))
    }

    /// Bytes of the groups.
    pub(super) fn bytes(&self) -> u64 {
        self.groups.iter().map(|group| u64::from(group.bytes)).sum()
    }
}

fn read(reader: &mut ByteReader<'_>, format: u8) -> Option<SpanRollups> {
    let mut rollups = SpanRollups { version: reader.varint()?, ..SpanRollups::default() };
    let mut day = 0_u32;
    for _ in 0..reader.varint()? {
        day = day.checked_add(reader.varint_u32()?)?;
        let (has_rows, is_alone) = match reader.byte()? {
            0 => (false, false),
            1 => (true, false),
            2 if format == FORMAT_WITH_ALONE => (true, true),
            _ => return None,
        };
        let origin = DayOrigin { generation: Generation(reader.varint()?), has_rows, is_alone };
        // Each day once.
        if rollups.days.insert(day, origin).is_some() {
            return None;
        }
    }
    let mut before = 0_u32;
    for _ in 0..reader.varint()? {
        let first = before.checked_add(reader.varint_u32()?)?;
        before = first;
        let last = first.checked_add(reader.varint_u32()?)?;
        let (bytes, rows) = (reader.varint_u32()?, reader.varint_u32()?);
        rollups.groups.push(RollupGroupInfo { first, last, bytes, rows });
    }
    Some(rollups)
}

impl RollupGroupInfo {
    /// The key of the group.
    pub(crate) fn key(&self, of: RollupKey, version: u64) -> RollupGroupKey {
        RollupGroupKey { of, first: self.first, version }
    }
}

impl RollupCatalogue {
    /// Reads what a shard has, of intervals that are no longer made as well.
    pub(crate) async fn load(snapshot: &dyn KvSnapshot, shard: u16) -> Result<Self, StoreError> {
        Self::load_range(snapshot, RollupKey::range_of_shard(shard)).await
    }

    /// Reads what a metric has.
    pub(crate) async fn load_metric(
        snapshot: &dyn KvSnapshot,
        shard: u16,
        metric: u32,
    ) -> Result<MetricRollups, StoreError> {
        let mut catalogue = Self::load_range(snapshot, RollupKey::range_of_metric(shard, metric)).await?;
        Ok(catalogue.by_metric.remove(&metric).unwrap_or_default())
    }

    async fn load_range(snapshot: &dyn KvSnapshot, range: KeyRange) -> Result<Self, StoreError> {
        let mut catalogue = Self::default();
        let mut scan = Scan::new(range);
        while let Some(entries) = scan.next(snapshot).await? {
            for (key, value) in entries {
                let of = RollupKey::decode(&key).ok_or_else(|| stored_value::damaged(&key, "it is no key"))?;
                catalogue.set(&of, Arc::new(SpanRollups::decode(&of, &value)?));
            }
        }
        Ok(catalogue)
    }

    /// Sets all rollups of a metric.
    pub(crate) fn set_metric(&mut self, metric: u32, rollups: MetricRollups) {
        if rollups.is_empty() {
            self.by_metric.remove(&metric);
        } else {
            self.by_metric.insert(metric, rollups);
        }
    }

    /// Sets the rollups of a span.
    pub(crate) fn set(&mut self, of: &RollupKey, rollups: Arc<SpanRollups>) {
        self.by_metric.entry(of.metric).or_default().insert((of.interval_ms, of.span), rollups);
    }

    /// What the rows of a day were made of.
    pub(crate) fn origin(&self, interval: RollupInterval, metric: u32, day: u32) -> Option<DayOrigin> {
        self.span(interval, metric, interval.span_of(day))?.days.get(&day).copied()
    }

    /// The rollups of a span.
    pub(crate) fn span(&self, interval: RollupInterval, metric: u32, span: u32) -> Option<&Arc<SpanRollups>> {
        self.by_metric.get(&metric)?.get(&(interval.key(), span))
    }

    /// Metrics that have rollups.
    pub(crate) fn metrics(&self) -> impl Iterator<Item = u32> + '_ {
        self.by_metric.keys().copied()
    }

    /// The intervals that a metric has rollups of, those that are no longer made as well.
    pub(crate) fn intervals(&self, metric: u32) -> impl Iterator<Item = RollupInterval> + '_ {
        let mut keys: Vec<u32> = self.spans(metric).map(|(&(interval, _), _)| interval).collect();
        keys.dedup();
        keys.into_iter().filter_map(RollupInterval::of_key)
    }

    /// The spans of a metric, by interval and number.
    fn spans(&self, metric: u32) -> impl Iterator<Item = (&(u32, u32), &Arc<SpanRollups>)> {
        self.by_metric.get(&metric).into_iter().flatten()
    }

    /// The keys of the spans of a metric whose rollups are wanted.
    fn keys_where(&self, shard: u16, metric: u32, is_wanted: impl Fn(&SpanRollups) -> bool) -> Vec<RollupKey> {
        let wanted = self.spans(metric).filter(|(_, rollups)| is_wanted(rollups));
        wanted.map(|(&(interval_ms, span), _)| RollupKey { shard, interval_ms, span, metric }).collect()
    }

    /// The spans of a metric of which no day is kept.
    pub(crate) fn expired(&self, shard: u16, metric: u32, horizons: Horizons) -> Vec<RollupKey> {
        self.keys_where(shard, metric, |rollups| {
            rollups.days.iter().all(|(&day, origin)| is_gone(day, *origin, horizons))
        })
    }

    /// The spans of a metric with days whose rows stand alone and are no longer kept.
    pub(crate) fn with_expired_days(&self, shard: u16, metric: u32, horizons: Horizons) -> Vec<RollupKey> {
        self.keys_where(shard, metric, |rollups| {
            rollups.days.iter().any(|(&day, origin)| origin.is_alone && is_gone(day, *origin, horizons))
        })
    }

    /// The days of a metric whose rows of some interval stand alone.
    pub(crate) fn days_alone(&self, metric: u32) -> BTreeSet<u32> {
        let days = self.spans(metric).flat_map(|(_, rollups)| &rollups.days);
        days.filter(|(_, origin)| origin.is_alone).map(|(&day, _)| day).collect()
    }

    /// The days in a range of time whose rows of an interval stand alone, and the generation that they were made of.
    pub(crate) fn alone_between(
        &self,
        interval: RollupInterval,
        metric: u32,
        range: TimeRange,
    ) -> BTreeMap<u32, Generation> {
        let mut alone = BTreeMap::new();
        let Some(days) = Bucket::overlapping(Tier::Day, range) else { return alone };
        let (first, last) = (days.start().number, days.end().number);
        let spans = (interval.key(), interval.span_of(first))..=(interval.key(), interval.span_of(last));
        for (_, rollups) in self.by_metric.get(&metric).into_iter().flat_map(|spans_of| spans_of.range(spans.clone())) {
            let days = rollups.days.range(first..=last).filter(|(_, origin)| origin.is_alone);
            alone.extend(days.map(|(&day, origin)| (day, origin.generation)));
        }
        alone
    }

    /// The spans of a metric that have rows alone of days in a range of time.
    pub(crate) fn spans_alone(&self, shard: u16, metric: u32, range: TimeRange) -> Vec<RollupKey> {
        let overlaps = |(&number, origin): (&u32, &DayOrigin)| origin.is_alone && day(number).range().overlaps(range);
        self.keys_where(shard, metric, |rollups| rollups.days.iter().any(overlaps))
    }

    /// Numbers of the series of a metric that may have rows that stand alone: groups say from which series to which they
    /// reach.
    pub(crate) fn series_alone(&self, metric: u32) -> RoaringBitmap {
        let mut series = RoaringBitmap::new();
        let alone = self.spans(metric).filter(|(_, rollups)| rollups.has_alone());
        for group in alone.flat_map(|(_, rollups)| &rollups.groups) {
            series.insert_range(group.first..=group.last);
        }
        series
    }

    /// Forgets the rollups of a span.
    pub(crate) fn remove(&mut self, of: &RollupKey) {
        if let Some(rollups) = self.by_metric.get_mut(&of.metric) {
            rollups.remove(&(of.interval_ms, of.span));
            if rollups.is_empty() {
                self.by_metric.remove(&of.metric);
            }
        }
    }

    /// Rows and bytes of all groups.
    pub(crate) fn totals(&self) -> (u64, u64) {
        let groups = self.by_metric.values().flat_map(BTreeMap::values).flat_map(|rollups| rollups.groups.iter());
        groups.fold((0, 0), |(rows, bytes), group| (rows + u64::from(group.rows), bytes + u64::from(group.bytes)))
    }
}

fn day(number: u32) -> Bucket {
    Bucket { tier: Tier::Day, number }
}

fn is_gone(number: u32, origin: DayOrigin, horizons: Horizons) -> bool {
    day(number).end() <= if origin.is_alone { horizons.rollups } else { horizons.points }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: RollupKey = RollupKey { shard: 0, interval_ms: 3_600_000, span: 2_071, metric: 1 };

    fn rollups() -> SpanRollups {
        let origin = |generation, has_rows| DayOrigin::new(Generation(generation), has_rows);
        let group = |first, last| RollupGroupInfo { first, last, bytes: 16_000, rows: 1_200 };
        SpanRollups {
            version: 1 << 40,
            days: BTreeMap::from([(20_710, origin(65_537, true)), (20_717, origin(1 << 30, false))]),
            groups: vec![group(0, 4), group(5, 5), group(6, 9)],
        }
    }

    #[test]
    fn a_directory_survives_its_bytes() {
        let encoded = rollups().encode();
        assert_eq!((SpanRollups::decode(&KEY, &encoded), encoded[0]), (Ok(rollups()), FORMAT));
    }

    #[test]
    fn days_whose_rows_stand_alone_are_told_to_older_programs_by_the_format() {
        let mut alone = rollups();
        alone.days.get_mut(&20_710).unwrap().is_alone = true;
        let encoded = alone.encode();
        assert_eq!((SpanRollups::decode(&KEY, &encoded), encoded[0]), (Ok(alone.clone()), FORMAT_WITH_ALONE));
        let body = stored_value::open(FORMAT_WITH_ALONE, &encoded).unwrap().to_vec();
        let as_older = stored_value::build(FORMAT, |out| out.extend_from_slice(&body));
        assert!(SpanRollups::decode(&KEY, &as_older).is_err());
        let as_newer = stored_value::build(3, |out| out.extend_from_slice(&body));
        let error = SpanRollups::decode(&KEY, &as_newer).unwrap_err().to_string();
        assert!(error.contains("its format is 3"), "{error}");
        let left = alone.only_alone().unwrap();
        assert_eq!((left.days.len(), left.groups.len(), rollups().only_alone()), (1, 3, None));
    }

    #[test]
    fn rows_that_stand_alone_go_later_than_the_others() {
        let mut of_span = rollups();
        of_span.days.get_mut(&20_710).unwrap().is_alone = true;
        let mut catalogue = RollupCatalogue::default();
        catalogue.set(&KEY, Arc::new(of_span));
        let horizons = |points: u32, rollups: u32| Horizons { points: day(points).end(), rollups: day(rollups).end() };
        let gone =
            |horizons| catalogue.expired(0, 1, horizons).len() + 10 * catalogue.with_expired_days(0, 1, horizons).len();
        assert_eq!(gone(horizons(20_717, 20_709)), 0);
        assert_eq!(gone(horizons(20_716, 20_710)), 10);
        assert_eq!(gone(horizons(20_717, 20_710)), 11);
        assert_eq!(catalogue.days_alone(1), BTreeSet::from([20_710]));
        let alone = |range| catalogue.alone_between(RollupInterval::HOUR, 1, range).len();
        assert_eq!((alone(TimeRange::ALL), alone(day(20_710).range()), alone(day(20_711).range())), (1, 1, 0));
        let spans = |range| catalogue.spans_alone(0, 1, range).len();
        assert_eq!((spans(TimeRange::ALL), spans(day(20_710).range()), spans(day(20_717).range())), (1, 1, 0));
        assert_eq!(catalogue.series_alone(1), (0..=9).collect());
    }

    #[test]
    fn a_catalogue_knows_what_a_day_was_made_of() {
        let mut catalogue = RollupCatalogue::default();
        catalogue.set(&KEY, Arc::new(rollups()));
        let origin = |metric, day| catalogue.origin(RollupInterval::HOUR, metric, day);
        assert_eq!(origin(1, 20_710), Some(DayOrigin::new(Generation(65_537), true)));
        assert_eq!((origin(1, 20_711), origin(2, 20_710)), (None, None));
        assert!(catalogue.span(RollupInterval::HOUR, 1, 2_070).is_none());
        assert_eq!(catalogue.totals(), (3_600, 48_000));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_give_a_directory_or_an_error(body in proptest::collection::vec(0_u8.., 0..100)) {
            let value = stored_value::build(FORMAT, |out| out.extend_from_slice(&body));
            let newer = stored_value::build(FORMAT_WITH_ALONE, |out| out.extend_from_slice(&body));
            for value in [value, newer] {
                if let Ok(rollups) = SpanRollups::decode(&KEY, &value) {
                    assert!(rollups.days.len() + rollups.groups.len() <= body.len());
                    assert_eq!(SpanRollups::decode(&KEY, &rollups.encode()), Ok(rollups));
                }
            }
        }
    }
}
