//! Deletions that blocks do not know of yet.
//!
//! A deletion lies in the log of its epoch, where the order of the entries says what it hides, and the blocks of that
//! epoch are built without what it hid. Its tombstone says the same to the blocks of epochs before: a reader leaves out
//! what it hides, a merge leaves it behind, and when no block has any of it the tombstone goes. A tombstone that is known
//! for too long is harmless: later points are in later epochs. Byte map: `docs/format/deletion.md`.

use std::sync::Arc;

use bytes::Bytes;
use hashbrown::{HashMap, HashSet};
use tidemark_kv::KvSnapshot;
use tidemark_model::{SeriesId, TimeRange, TimestampMs};

use crate::{
    Bucket, Generation, RangeSet, Scan, StoreError,
    codec::{Deletion, LogIdentity, decode_deletion},
    index::{metric_of, number_of},
    keys::TombstoneKey,
    stored_value,
};

/// A deletion and the epoch in whose log it lies.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tombstone {
    pub(crate) epoch: u64,
    pub(crate) identity: LogIdentity,
    pub(crate) deletion: Deletion,
}

/// The tombstones of a shard, by metric.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tombstones {
    by_metric: HashMap<u32, Vec<Arc<Tombstone>>>,
    known: HashSet<LogIdentity>,
}

impl Tombstone {
    /// Whether it may hide points from `min` to `max` of a series in blocks of `epoch`.
    fn may_hide(&self, id: SeriesId, epoch: u64, min: TimestampMs, max: TimestampMs) -> bool {
        let Deletion { series, range, .. } = &self.deletion;
        self.epoch > epoch && range.start <= max && min < range.end && series.contains(number_of(id))
    }

    /// Whether it may hide points in a bucket of its metric, in blocks of a generation.
    pub(crate) fn may_hide_of(&self, bucket: Bucket, generation: Generation) -> bool {
        self.epoch > generation.epoch() && self.deletion.range.overlaps(bucket.range())
    }

    /// Whether a row of a series that was made of blocks of `epoch` has perhaps points that are deleted.
    pub(crate) fn hides_row(&self, number: u32, epoch: u64, row: TimeRange) -> bool {
        self.epoch > epoch && self.deletion.range.overlaps(row) && self.deletion.series.contains(number)
    }
}

impl Tombstones {
    /// Reads the tombstones of a shard.
    pub(crate) async fn load(snapshot: &dyn KvSnapshot, shard: u16) -> Result<Self, StoreError> {
        let mut tombstones = Self::default();
        let mut scan = Scan::new(TombstoneKey::range_of_shard(shard));
        while let Some(entries) = scan.next(snapshot).await? {
            for (key, value) in entries {
                tombstones.add(read(&key, &value)?);
            }
        }
        Ok(tombstones)
    }

    /// Adds a tombstone; one that is known already counts once.
    pub(crate) fn add(&mut self, tombstone: Tombstone) {
        if self.known.insert(tombstone.identity) {
            self.by_metric.entry(tombstone.deletion.metric).or_default().push(Arc::new(tombstone));
        }
    }

    /// Forgets tombstones whose points are in no block any more.
    pub(crate) fn remove(&mut self, gone: &[Arc<Tombstone>]) {
        for tombstone in gone {
            self.known.remove(&tombstone.identity);
        }
        self.by_metric.retain(|_, of_metric| {
            of_metric.retain(|tombstone| self.known.contains(&tombstone.identity));
            !of_metric.is_empty()
        });
    }

    /// All of them, in no order that matters.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Tombstone>> {
        self.by_metric.values().flatten()
    }

    pub(crate) fn has(&self, tombstone: &Tombstone) -> bool {
        self.known.contains(&tombstone.identity)
    }

    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// Those of a metric that may hide points in a range of time.
    pub(crate) fn of_metric(&self, metric: u32, range: TimeRange) -> Vec<Arc<Tombstone>> {
        let of_metric = self.by_metric.get(&metric).map(Vec::as_slice).unwrap_or_default();
        of_metric.iter().filter(|tombstone| tombstone.deletion.range.overlaps(range)).cloned().collect()
    }

    /// What is hidden of the points from `min` to `max` of a series in blocks of `epoch`.
    pub(crate) fn hidden(&self, id: SeriesId, epoch: u64, min: TimestampMs, max: TimestampMs) -> RangeSet {
        let of_metric = self.by_metric.get(&metric_of(id)).map(Vec::as_slice).unwrap_or_default();
        hidden(of_metric, id, epoch, min, max)
    }
}

/// What these tombstones of its metric hide of the points from `min` to `max` of a series in blocks of `epoch`.
pub(crate) fn hidden(
    tombstones: &[Arc<Tombstone>],
    id: SeriesId,
    epoch: u64,
    min: TimestampMs,
    max: TimestampMs,
) -> RangeSet {
    let hiding = tombstones.iter().filter(|tombstone| tombstone.may_hide(id, epoch, min, max));
    hiding.map(|tombstone| tombstone.deletion.range).collect()
}

/// Checks a tombstone.
pub(crate) fn read(key: &Bytes, value: &[u8]) -> Result<Tombstone, StoreError> {
    let damaged = |reason: &str| stored_value::damaged(key, reason);
    let parsed = TombstoneKey::decode(key).ok_or_else(|| damaged("it is no key"))?;
    let (writer, sequence, deletion) = decode_deletion(value).map_err(|error| damaged(&error.to_string()))?;
    let identity = LogIdentity { writer, sequence };
    if identity != parsed.identity {
        return Err(damaged("it is another deletion than its key says"));
    }
    Ok(Tombstone { epoch: parsed.epoch, identity, deletion })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::series_id;

    fn tombstone(epoch: u64, sequence: u64, series: &[u32], range: (i64, i64)) -> Tombstone {
        let deletion =
            Deletion { metric: 1, series: series.iter().copied().collect(), range: TimeRange::new(range.0, range.1) };
        Tombstone { epoch, identity: LogIdentity { writer: 1, sequence }, deletion }
    }

    #[test]
    fn a_tombstone_hides_points_of_its_series_and_range_in_blocks_of_epochs_before_its_own() {
        let mut tombstones = Tombstones::default();
        tombstones.add(tombstone(3, 1, &[4], (10, 20)));
        tombstones.add(tombstone(5, 2, &[4, 6], (15, 30)));
        tombstones.add(tombstone(5, 2, &[4, 6], (15, 30)));
        assert_eq!(tombstones.len(), 2);
        let hides = |number, epoch, at| tombstones.hidden(series_id(1, number), epoch, at, at).contains(at);
        assert!(hides(4, 2, 10) && hides(4, 2, 29) && !hides(4, 2, 30) && !hides(4, 2, 9));
        assert!(!hides(4, 3, 10) && hides(4, 3, 15) && !hides(4, 5, 15));
        assert!(!hides(6, 2, 10) && hides(6, 4, 20) && !hides(5, 2, 15));
        assert!(tombstones.hidden(series_id(2, 4), 0, 0, 100).is_empty());
        assert_eq!(tombstones.hidden(series_id(1, 4), 1, 0, 100), [TimeRange::new(10, 30)].into_iter().collect());
        let all = tombstones.of_metric(1, TimeRange::ALL);
        assert_eq!((all.len(), tombstones.of_metric(1, TimeRange::new(0, 12)).len()), (2, 1));
        tombstones.remove(&all[..1]);
        tombstones.remove(&all[..1]);
        assert_eq!((tombstones.len(), tombstones.iter().count()), (1, 1));
        tombstones.remove(&all);
        assert_eq!(tombstones.len(), 0);
    }

    #[test]
    fn a_tombstone_under_the_key_of_another_is_refused() {
        let Tombstone { epoch, identity, deletion } = tombstone(3, 1, &[4], (10, 20));
        let mut value = Vec::new();
        crate::codec::encode_deletion(identity.writer, identity.sequence, &deletion, &mut value).unwrap();
        let key = TombstoneKey { shard: 2, epoch, identity };
        assert_eq!(read(&key.encode(), &value), Ok(Tombstone { epoch, identity, deletion }));
        let other = TombstoneKey { identity: LogIdentity { sequence: 2, ..identity }, ..key };
        assert!(matches!(read(&other.encode(), &value), Err(StoreError::Corrupt { .. })));
        assert!(matches!(read(&Bytes::from_static(b"X"), &value), Err(StoreError::Corrupt { .. })));
    }
}
