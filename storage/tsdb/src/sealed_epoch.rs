//! From the head of an epoch to groups of blocks: pure work, done on a blocking thread.
//!
//! The same head always gives the same keys and values, so a seal that crashed is simply done again.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidemark_model::{PointColumns, TimeRange, ValueColumn};

use crate::{
    BlockCatalogue, CodecError, Head, codec, directory,
    directory::GroupInfo,
    group::{Group, GroupBuilder, NewBlock},
    index::{metric_of, number_of},
    keys,
};

/// Points of one block at most; a bucket of one series with more gets several blocks.
const BLOCK_POINTS_MAX: usize = 4_096;

/// Everything that the seal of one epoch writes.
#[derive(Debug)]
pub(crate) struct SealedEpoch {
    /// Keys and values in order of keys within each kind.
    pub(crate) entries: Vec<(Bytes, Bytes)>,
    /// What readers will see.
    pub(crate) catalogue: BlockCatalogue,
}

/// The groups of one bucket, filled in order of series.
#[derive(Default)]
struct BucketGroups {
    metric: u32,
    filling: GroupBuilder,
    done: Vec<(u32, Group)>,
}

/// Points of one series that are cut into blocks.
#[derive(Default)]
struct Scratch {
    columns: PointColumns,
    part: PointColumns,
    block: Vec<u8>,
}

impl SealedEpoch {
    /// Encodes the head of an epoch.
    ///
    /// # Errors
    /// The codec's, which do not happen with the ascending columns that heads give.
    pub(crate) fn build(shard: u16, epoch: u64, head: &Head) -> Result<Self, CodecError> {
        let mut buckets = BTreeMap::<u32, BucketGroups>::new();
        let mut scratch = Scratch::default();
        for (id, stream) in head.by_id() {
            scratch.columns.clear();
            stream.read(TimeRange::ALL, &mut scratch.columns);
            add_series(&mut buckets, metric_of(id), number_of(id), &mut scratch)?;
        }
        let mut sealed = Self { entries: Vec::new(), catalogue: BlockCatalogue::default() };
        for (bucket, mut groups) in buckets {
            groups.close();
            sealed.add_bucket(shard, bucket, epoch, groups.done);
        }
        Ok(sealed)
    }

    fn add_bucket(&mut self, shard: u16, bucket: u32, generation: u64, groups: Vec<(u32, Group)>) {
        let mut by_metric = BTreeMap::<u32, Vec<GroupInfo>>::new();
        for (metric, group) in groups {
            let infos = by_metric.entry(metric).or_default();
            let part = infos.last().filter(|before| before.first == group.first).map_or(0, |before| before.part + 1);
            let bytes = u32::try_from(group.value.len()).unwrap_or(u32::MAX);
            let info = GroupInfo { first: group.first, last: group.last, part, bytes, points: group.points };
            infos.push(info);
            self.entries.push((info.key(shard, bucket, metric, generation).encode(), group.value));
        }
        for (metric, infos) in by_metric {
            self.entries.extend(directory::pages(shard, bucket, metric, generation, &infos));
            self.catalogue.add(metric, bucket, generation, infos);
        }
    }
}

fn add_series(
    buckets: &mut BTreeMap<u32, BucketGroups>,
    metric: u32,
    number: u32,
    scratch: &mut Scratch,
) -> Result<(), CodecError> {
    let mut start = 0;
    let timestamps = &scratch.columns.timestamps;
    while let Some(&first) = timestamps.get(start) {
        let bucket = keys::bucket_of(first);
        let bucket_end = keys::bucket_start(bucket).saturating_add(keys::BUCKET_MS);
        let rest = timestamps.get(start..).unwrap_or_default();
        let points = rest.partition_point(|&timestamp| timestamp < bucket_end).clamp(1, BLOCK_POINTS_MAX);
        let whole = points == scratch.columns.len();
        if !whole {
            copy_part(&scratch.columns, start, points, &mut scratch.part);
        }
        let columns = if whole { &scratch.columns } else { &scratch.part };
        scratch.block.clear();
        codec::encode_block(&columns.timestamps, &columns.values, &mut scratch.block)?;
        if let (Some(first), Some(last)) = (columns.get(0), columns.get(points - 1)) {
            let block = NewBlock {
                number,
                points: u32::try_from(points).unwrap_or(u32::MAX),
                min: first.timestamp,
                max: last.timestamp,
                last: last.value,
                bytes: &scratch.block,
            };
            buckets.entry(bucket).or_default().add(bucket, metric, &block);
        }
        start += points;
    }
    Ok(())
}

/// Copies `points` points from `start` on; a part of a mixed column may well be of one type.
fn copy_part(columns: &PointColumns, start: usize, points: usize, part: &mut PointColumns) {
    part.clear();
    let inside = start..start + points;
    part.timestamps.extend_from_slice(columns.timestamps.get(inside.clone()).unwrap_or_default());
    part.values = match &columns.values {
        ValueColumn::Int(ints) => ValueColumn::Int(ints.get(inside).unwrap_or_default().to_vec()),
        ValueColumn::Float(floats) => ValueColumn::Float(floats.get(inside).unwrap_or_default().to_vec()),
        ValueColumn::Mixed(values) => {
            let mut column = ValueColumn::default();
            values.get(inside).unwrap_or_default().iter().for_each(|&value| column.push(value));
            column
        }
    };
}

impl BucketGroups {
    fn add(&mut self, bucket: u32, metric: u32, block: &NewBlock<'_>) {
        if self.metric != metric || self.filling.is_full_for(block) {
            self.close();
        }
        self.metric = metric;
        self.filling.push(bucket, block);
    }

    fn close(&mut self) {
        self.done.extend(self.filling.take().map(|group| (self.metric, group)));
    }
}

#[cfg(test)]
mod tests {
    use tidemark_model::SeriesId;

    use super::*;
    use crate::{GroupKey, head::Row, index::series_id};

    fn head_of(rows: impl IntoIterator<Item = (SeriesId, i64)>) -> Head {
        let mut head = Head::default();
        for (id, timestamp) in rows {
            let local = metric_of(id) * 100 + number_of(id);
            head.push(&Row { id, timestamp, bits: timestamp.cast_unsigned(), local, float: false });
        }
        head
    }

    #[test]
    fn the_same_head_gives_the_same_entries_in_order_of_their_keys() {
        let rows = || (0..40).flat_map(|number| (0..2000).map(move |step| (series_id(1, number), step * 15_000)));
        let sealed = SealedEpoch::build(0, 3, &head_of(rows())).unwrap();
        let again = SealedEpoch::build(0, 3, &head_of(rows())).unwrap();
        assert_eq!(sealed.entries, again.entries);
        let groups: Vec<_> = sealed.entries.iter().filter(|(key, _)| key.first() == Some(&b'B')).collect();
        assert!(groups.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert_eq!(sealed.catalogue.points, 40 * 2000);
        assert_eq!(sealed.catalogue.groups, groups.len() as u64);
        assert_eq!(sealed.catalogue.buckets(1, 0..=u32::MAX).count(), 5);
    }

    #[test]
    fn a_dense_series_gets_several_blocks_and_no_two_groups_share_a_key() {
        let rows = (0..200_000).map(|step| (series_id(1, 7), step * 7 % 1_000_003));
        let sealed = SealedEpoch::build(0, 3, &head_of(rows)).unwrap();
        let mut keys: Vec<_> = sealed.entries.iter().map(|(key, _)| key.clone()).collect();
        keys.dedup();
        assert_eq!(keys.len(), sealed.entries.len());
        assert!(sealed.entries.iter().all(|(key, value)| key.len() == GroupKey::BYTES || value.len() < 60_000));
        assert_eq!(sealed.catalogue.points, 200_000);
    }
}
