//! Which groups of rollups there are, and which generation of each day their rows were made of. Byte map:
//! `docs/format/rollup.md`.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use hashbrown::HashMap;
use tidemark_kv::{KeyRange, KvSnapshot};
use tidemark_model::TimestampMs;

use super::RollupInterval;
use crate::{
    Bucket, ByteReader, Generation, Scan, StoreError, Tier,
    keys::{RollupGroupKey, RollupKey},
    put_varint, stored_value,
};

const FORMAT: u8 = 1;
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
    pub(super) fn encode(&self) -> Bytes {
        stored_value::build(FORMAT, |out| {
            put_varint(out, self.version);
            put_varint(out, self.days.len() as u64);
            let mut before = 0;
            for (&day, origin) in &self.days {
                put_varint(out, u64::from(day - before));
                out.push(u8::from(origin.has_rows));
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
        stored_value::read(FORMAT, &key.encode(), value, read)
    }

    /// The keys of the groups.
    pub(super) fn group_keys(&self, of: RollupKey) -> impl Iterator<Item = RollupGroupKey> + '_ {
        self.groups.iter().map(move |group| group.key(of, self.version))
    }

    /// Bytes of the groups.
    pub(super) fn bytes(&self) -> u64 {
        self.groups.iter().map(|group| u64::from(group.bytes)).sum()
    }
}

fn read(reader: &mut ByteReader<'_>) -> Option<SpanRollups> {
    let mut rollups = SpanRollups { version: reader.varint()?, ..SpanRollups::default() };
    let mut day = 0_u32;
    for _ in 0..reader.varint()? {
        day = day.checked_add(reader.varint_u32()?)?;
        let has_rows = match reader.byte()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let origin = DayOrigin { generation: Generation(reader.varint()?), has_rows };
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

    /// The spans of a metric whose days all end at or before a timestamp.
    pub(crate) fn expired(&self, shard: u16, metric: u32, horizon: TimestampMs) -> Vec<RollupKey> {
        let spans = self.by_metric.get(&metric).into_iter().flat_map(BTreeMap::iter);
        let before = |rollups: &SpanRollups| {
            rollups.days.keys().all(|&number| Bucket { tier: Tier::Day, number }.end() <= horizon)
        };
        let expired = spans.filter(|(_, rollups)| before(rollups));
        expired.map(|(&(interval_ms, span), _)| RollupKey { shard, interval_ms, span, metric }).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: RollupKey = RollupKey { shard: 0, interval_ms: 3_600_000, span: 2_071, metric: 1 };

    fn rollups() -> SpanRollups {
        let origin = |generation, has_rows| DayOrigin { generation: Generation(generation), has_rows };
        let group = |first, last| RollupGroupInfo { first, last, bytes: 16_000, rows: 1_200 };
        SpanRollups {
            version: 1 << 40,
            days: BTreeMap::from([(20_710, origin(65_537, true)), (20_717, origin(1 << 30, false))]),
            groups: vec![group(0, 4), group(5, 5), group(6, 9)],
        }
    }

    #[test]
    fn a_directory_survives_its_bytes() {
        assert_eq!(SpanRollups::decode(&KEY, &rollups().encode()), Ok(rollups()));
    }

    #[test]
    fn a_catalogue_knows_what_a_day_was_made_of() {
        let mut catalogue = RollupCatalogue::default();
        catalogue.set(&KEY, Arc::new(rollups()));
        let origin = |metric, day| catalogue.origin(RollupInterval::HOUR, metric, day);
        assert_eq!(origin(1, 20_710), Some(DayOrigin { generation: Generation(65_537), has_rows: true }));
        assert_eq!((origin(1, 20_711), origin(2, 20_710)), (None, None));
        assert!(catalogue.span(RollupInterval::HOUR, 1, 2_070).is_none());
        assert_eq!(catalogue.totals(), (3_600, 48_000));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_give_a_directory_or_an_error(body in proptest::collection::vec(0_u8.., 0..100)) {
            let value = stored_value::build(FORMAT, |out| out.extend_from_slice(&body));
            if let Ok(rollups) = SpanRollups::decode(&KEY, &value) {
                assert!(rollups.days.len() + rollups.groups.len() <= body.len());
            }
        }
    }
}
