//! From columns to groups of blocks and their directory: pure work, done on a blocking thread.
//!
//! The same head always gives the same keys and values, so a seal that crashed is simply done again.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidemark_model::{PointColumns, SeriesId, TimeRange, TimestampMs, ValueColumn};

use crate::{
    BlockCatalogue, Bucket, CodecError, Generation, Head, Tier, codec, directory,
    directory::GroupInfo,
    group::{Group, GroupBuilder, NewBlock},
    index::{metric_of, number_of},
};

/// Points of one block at most; a bucket of one series with more gets several blocks. Those of a day are smaller, so that
/// a reader of an hour decodes little else and a group is filled up to its end.
const fn block_points_max(tier: Tier) -> usize {
    match tier {
        Tier::TwoHours => 4_096,
        Tier::Day => 960,
    }
}

/// A block is cut after whole runs of the codec, to fill a group up.
const RUN_POINTS: usize = 64;
/// Fewer points than this are not worth a block of their own.
const SPLIT_POINTS_MIN: usize = 2 * RUN_POINTS;

/// Everything that a seal or a merge writes.
#[derive(Debug)]
pub(crate) struct NewGeneration {
    /// Keys and values of the groups, in order of their keys.
    pub(crate) groups: Vec<(Bytes, Bytes)>,
    /// Keys and values of the directory that makes them findable.
    pub(crate) directory: Vec<(Bytes, Bytes)>,
    /// The same for readers of this process.
    pub(crate) catalogue: BlockCatalogue,
}

/// Turns columns into a [`NewGeneration`].
pub(crate) struct GenerationBuilder {
    shard: u16,
    tier: Tier,
    generation: Generation,
    buckets: BTreeMap<Bucket, BucketGroups>,
    scratch: Scratch,
}

/// The groups of one bucket, filled in order of series.
struct BucketGroups {
    metric: u32,
    filling: GroupBuilder,
    done: Vec<(u32, Group)>,
}

/// Points of one series that are cut into blocks.
#[derive(Default)]
struct Scratch {
    part: PointColumns,
    block: Vec<u8>,
}

impl NewGeneration {
    /// Encodes the head of an epoch.
    ///
    /// # Errors
    /// The codec's, which do not happen with the ascending columns that heads give.
    pub(crate) fn of_head(shard: u16, epoch: u64, head: &Head) -> Result<Self, CodecError> {
        let mut builder = GenerationBuilder::new(shard, Tier::TwoHours, Generation::of_epoch(epoch));
        let mut columns = PointColumns::default();
        for (id, stream) in head.by_id() {
            columns.clear();
            stream.read(TimeRange::ALL, &mut columns);
            builder.add(id, &columns)?;
        }
        Ok(builder.finish())
    }

    fn add_bucket(&mut self, shard: u16, bucket: Bucket, generation: Generation, groups: Vec<(u32, Group)>) {
        let mut by_metric = BTreeMap::<u32, Vec<GroupInfo>>::new();
        for (metric, group) in groups {
            let infos = by_metric.entry(metric).or_default();
            let part = infos.last().filter(|before| before.first == group.first).map_or(0, |before| before.part + 1);
            let bytes = u32::try_from(group.value.len()).unwrap_or(u32::MAX);
            let info = GroupInfo { first: group.first, last: group.last, part, bytes, points: group.points };
            infos.push(info);
            self.groups.push((info.key(shard, bucket, metric, generation).encode(), group.value));
        }
        for (metric, infos) in by_metric {
            self.directory.extend(directory::pages(shard, bucket, metric, generation, &infos));
            self.catalogue.add(metric, bucket, generation, infos);
        }
    }
}

impl GenerationBuilder {
    pub(crate) fn new(shard: u16, tier: Tier, generation: Generation) -> Self {
        Self { shard, tier, generation, buckets: BTreeMap::new(), scratch: Scratch::default() }
    }

    /// Adds the points of a series. Series come in order of their ids.
    ///
    /// # Errors
    /// The codec's, when the columns do not ascend.
    pub(crate) fn add(&mut self, id: SeriesId, columns: &PointColumns) -> Result<(), CodecError> {
        let (metric, number) = (metric_of(id), number_of(id));
        let mut start = 0;
        while let Some(whole) = self.next_part(&columns.timestamps, start) {
            self.scratch.encode(columns, start, whole)?;
            let points = self.fitting(metric, columns, start, whole);
            if points < whole {
                self.scratch.encode(columns, start, points)?;
            }
            self.add_block(metric, number, columns, start, points);
            start += points;
        }
        Ok(())
    }

    /// How many of the points of a block that was encoded go into the group that is being filled, when the rest of a page
    /// would be lost without them: all, if the block fits or little would be gained.
    fn fitting(&self, metric: u32, columns: &PointColumns, start: usize, points: usize) -> usize {
        let first = columns.timestamps.get(start).copied().unwrap_or_default();
        let groups = self.buckets.get(&Bucket::of(self.tier, first)).filter(|groups| groups.metric == metric);
        let (Some(room), bytes) = (groups.and_then(|groups| groups.filling.room()), self.scratch.block.len()) else {
            return points;
        };
        if self.tier != Tier::Day || bytes <= room {
            return points;
        }
        // A shorter block may take more bytes a point.
        let fewer = points * room / bytes * 7 / 8 / RUN_POINTS * RUN_POINTS;
        if fewer >= SPLIT_POINTS_MIN { fewer } else { points }
    }

    /// How many of the points from `start` on make the next block.
    fn next_part(&self, timestamps: &[TimestampMs], start: usize) -> Option<usize> {
        let rest = timestamps.get(start..)?;
        let end = Bucket::of(self.tier, *rest.first()?).end();
        let inside = rest.partition_point(|&timestamp| timestamp < end).max(1);
        // Blocks of one length, rather than full ones and a short one.
        Some(inside.div_ceil(inside.div_ceil(block_points_max(self.tier))))
    }

    fn add_block(&mut self, metric: u32, number: u32, columns: &PointColumns, start: usize, points: usize) {
        if let (Some(first), Some(last)) = (columns.get(start), columns.get(start + points - 1)) {
            let block = NewBlock {
                number,
                points: u32::try_from(points).unwrap_or(u32::MAX),
                min: first.timestamp,
                max: last.timestamp,
                last: last.value,
                bytes: &self.scratch.block,
            };
            let bucket = Bucket::of(self.tier, first.timestamp);
            self.buckets.entry(bucket).or_insert_with(|| BucketGroups::new(bucket)).add(metric, &block);
        }
    }

    /// All groups and their directory.
    pub(crate) fn finish(self) -> NewGeneration {
        let mut new = NewGeneration { groups: Vec::new(), directory: Vec::new(), catalogue: BlockCatalogue::default() };
        for (bucket, mut groups) in self.buckets {
            groups.close();
            new.add_bucket(self.shard, bucket, self.generation, groups.done);
        }
        new
    }
}

impl Scratch {
    /// Encodes `points` points from `start` on as a block.
    fn encode(&mut self, columns: &PointColumns, start: usize, points: usize) -> Result<(), CodecError> {
        let whole = points == columns.len();
        if !whole {
            copy_part(columns, start, points, &mut self.part);
        }
        let part = if whole { columns } else { &self.part };
        self.block.clear();
        codec::encode_block(&part.timestamps, &part.values, &mut self.block)
    }
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
    fn new(bucket: Bucket) -> Self {
        Self { metric: 0, filling: GroupBuilder::new(bucket), done: Vec::new() }
    }

    fn add(&mut self, metric: u32, block: &NewBlock<'_>) {
        if self.metric != metric || self.filling.is_full_for(block) {
            self.close();
        }
        self.metric = metric;
        self.filling.push(block);
    }

    fn close(&mut self) {
        self.done.extend(self.filling.take().map(|group| (self.metric, group)));
    }
}

#[cfg(test)]
mod tests {
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
        let sealed = NewGeneration::of_head(0, 3, &head_of(rows())).unwrap();
        let again = NewGeneration::of_head(0, 3, &head_of(rows())).unwrap();
        assert_eq!((&sealed.groups, &sealed.directory), (&again.groups, &again.directory));
        let groups = &sealed.groups;
        assert!(groups.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert_eq!(sealed.catalogue.points, 40 * 2000);
        assert_eq!(sealed.catalogue.groups, groups.len() as u64);
        assert_eq!(sealed.catalogue.overlapping(1, TimeRange::ALL).count(), 5);
    }

    #[test]
    fn a_dense_series_gets_several_blocks_and_no_two_groups_share_a_key() {
        let rows = (0..200_000).map(|step| (series_id(1, 7), step * 7 % 1_000_003));
        let sealed = NewGeneration::of_head(0, 3, &head_of(rows)).unwrap();
        let mut keys: Vec<_> = sealed.groups.iter().map(|(key, _)| key.clone()).collect();
        keys.dedup();
        assert_eq!(keys.len(), sealed.groups.len());
        assert!(sealed.groups.iter().all(|(key, value)| key.len() == GroupKey::BYTES && value.len() < 60_000));
        assert_eq!(sealed.catalogue.points, 200_000);
    }
}
