//! Which groups a seal wrote for one metric, bucket and generation. Byte map: `docs/format/directory.md`.
//!
//! With it a reader knows the keys and the bytes of the groups that it needs before it reads any of them. The ranges of
//! series in the groups stand in for a bitmap of the series present.

use std::{collections::BTreeMap, ops::RangeInclusive, sync::Arc};

use bytes::Bytes;
use hashbrown::HashMap;
use tidemark_kv::{KeyRange, KvSnapshot};
use tidemark_model::TimeRange;

use crate::{
    Bucket, ByteReader, DirectoryKey, Fence, Generation, GroupKey, Scan, StoreError, Tier, change_log::DirectoryId,
    put_varint, rollup::RollupCatalogue, stored_value,
};

const FORMAT: u8 = 1;
/// Groups of one page; a page has at most 60 KB.
pub(crate) const PAGE_GROUPS: usize = 2_000;

/// What the directory says of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupInfo {
    /// First and last series.
    pub(crate) first: u32,
    pub(crate) last: u32,
    pub(crate) part: u16,
    pub(crate) bytes: u32,
    pub(crate) points: u32,
}

/// The groups of one metric, bucket and generation, in order of their keys.
#[derive(Clone, Debug)]
pub(crate) struct GenerationGroups {
    pub(crate) generation: Generation,
    pub(crate) groups: Arc<[GroupInfo]>,
}

/// The groups that readers may see, by metric and bucket.
#[derive(Clone, Debug, Default)]
pub(crate) struct BlockCatalogue {
    by_metric: HashMap<u32, BTreeMap<Bucket, Vec<GenerationGroups>>>,
    /// What was made of the blocks.
    pub(crate) rollups: RollupCatalogue,
    pub(crate) groups: u64,
    pub(crate) points: u64,
    pub(crate) bytes: u64,
}

impl BlockCatalogue {
    /// Adds the groups of a generation.
    pub(crate) fn add(&mut self, metric: u32, bucket: Bucket, generation: Generation, groups: Vec<GroupInfo>) {
        let added = GenerationGroups { generation, groups: groups.into() };
        let (groups, points, bytes) = added.totals();
        self.groups += groups;
        self.points += points;
        self.bytes += bytes;
        let generations = self.by_metric.entry(metric).or_default().entry(bucket).or_default();
        generations.push(added);
        generations.sort_by_key(|groups| groups.generation);
    }

    /// Adds all of another catalogue.
    pub(crate) fn extend(&mut self, other: &Self) {
        for (&metric, buckets) in &other.by_metric {
            for (&bucket, generations) in buckets {
                for added in generations {
                    self.add(metric, bucket, added.generation, added.groups.to_vec());
                }
            }
        }
    }

    /// Removes generations of a bucket, which were replaced by another one.
    pub(crate) fn remove(&mut self, metric: u32, bucket: Bucket, replaced: &[GenerationGroups]) {
        let Some(buckets) = self.by_metric.get_mut(&metric) else { return };
        let Some(generations) = buckets.get_mut(&bucket) else { return };
        for gone in
            generations.extract_if(.., |known| replaced.iter().any(|replaced| replaced.generation == known.generation))
        {
            let (groups, points, bytes) = gone.totals();
            self.groups -= groups;
            self.points -= points;
            self.bytes -= bytes;
        }
        if generations.is_empty() {
            buckets.remove(&bucket);
        }
        if buckets.is_empty() {
            self.by_metric.remove(&metric);
        }
    }

    /// Metrics that have blocks.
    pub(crate) fn metrics(&self) -> impl Iterator<Item = u32> + '_ {
        self.by_metric.keys().copied()
    }

    /// The buckets of a tier that a metric has, in order.
    pub(crate) fn buckets_of_tier(
        &self,
        metric: u32,
        tier: Tier,
    ) -> impl DoubleEndedIterator<Item = (Bucket, &[GenerationGroups])> {
        self.buckets(metric, Bucket { tier, number: 0 }..=Bucket { tier, number: u32::MAX })
    }

    /// Replaces whatever is known of a directory.
    pub(crate) fn set(&mut self, id: DirectoryId, generations: Vec<GenerationGroups>) {
        let known = self.generations(id.metric, id.bucket).to_vec();
        self.remove(id.metric, id.bucket, &known);
        for GenerationGroups { generation, groups } in generations {
            self.add(id.metric, id.bucket, generation, groups.to_vec());
        }
    }

    /// The directories that have blocks.
    pub(crate) fn ids(&self) -> impl Iterator<Item = DirectoryId> + '_ {
        self.metrics_and_buckets().map(|(metric, bucket)| DirectoryId { metric, bucket })
    }

    /// Metrics and buckets that have blocks.
    pub(crate) fn metrics_and_buckets(&self) -> impl Iterator<Item = (u32, Bucket)> + '_ {
        self.by_metric.iter().flat_map(|(&metric, buckets)| buckets.keys().map(move |&bucket| (metric, bucket)))
    }

    /// The generations of a metric in one bucket.
    pub(crate) fn generations(&self, metric: u32, bucket: Bucket) -> &[GenerationGroups] {
        self.by_metric.get(&metric).and_then(|buckets| buckets.get(&bucket)).map(Vec::as_slice).unwrap_or_default()
    }

    /// The buckets of a metric in order, those of lower tiers first, each with its generations, oldest first.
    pub(crate) fn buckets(
        &self,
        metric: u32,
        buckets: RangeInclusive<Bucket>,
    ) -> impl DoubleEndedIterator<Item = (Bucket, &[GenerationGroups])> {
        let by_bucket = self.by_metric.get(&metric);
        let inside = by_bucket.filter(|_| !buckets.is_empty()).map(|by_bucket| by_bucket.range(buckets));
        inside.into_iter().flatten().map(|(&bucket, generations)| (bucket, generations.as_slice()))
    }

    /// The buckets of all tiers that have timestamps of a range, as [`Self::buckets`].
    pub(crate) fn overlapping(
        &self,
        metric: u32,
        range: TimeRange,
    ) -> impl Iterator<Item = (Bucket, &[GenerationGroups])> {
        let of_tiers = Tier::ALL.into_iter().filter_map(move |tier| Bucket::overlapping(tier, range));
        of_tiers.flat_map(move |buckets| self.buckets(metric, buckets))
    }

    /// Reads what is visible of a shard.
    pub(crate) async fn load(snapshot: &dyn KvSnapshot, shard: u16, fence: &Fence) -> Result<Self, StoreError> {
        let mut catalogue = Self::default();
        for tier in Tier::ALL {
            catalogue.load_range(snapshot, DirectoryKey::range_of_shard(tier, shard), fence).await?;
        }
        catalogue.rollups = RollupCatalogue::load(snapshot, shard).await?;
        Ok(catalogue)
    }

    /// Reads what is visible of one directory.
    pub(crate) async fn load_one(
        snapshot: &dyn KvSnapshot,
        shard: u16,
        fence: &Fence,
        id: DirectoryId,
    ) -> Result<Vec<GenerationGroups>, StoreError> {
        let mut loaded = Self::default();
        loaded.load_range(snapshot, DirectoryKey::range_of_bucket(shard, id.bucket, id.metric), fence).await?;
        Ok(loaded.generations(id.metric, id.bucket).to_vec())
    }

    async fn load_range(
        &mut self,
        snapshot: &dyn KvSnapshot,
        range: KeyRange,
        fence: &Fence,
    ) -> Result<(), StoreError> {
        let mut pages: Option<(DirectoryKey, Vec<GroupInfo>)> = None;
        let mut scan = Scan::new(range);
        while let Some(entries) = scan.next(snapshot).await? {
            for (key, value) in entries {
                let page = DirectoryKey::decode(&key).ok_or_else(|| stored_value::damaged(&key, "it is no key"))?;
                if page.generation.epoch() > fence.sealed {
                    continue;
                }
                let groups = stored_value::read(FORMAT, &key, &value, read_page)?;
                match &mut pages {
                    Some((of, all)) if page == (DirectoryKey { page: of.page + 1, ..*of }) => {
                        all.extend(groups);
                        *of = page;
                    }
                    _ => {
                        self.add_pages(pages.take());
                        pages = Some((page, groups));
                    }
                }
            }
        }
        self.add_pages(pages);
        Ok(())
    }

    fn add_pages(&mut self, pages: Option<(DirectoryKey, Vec<GroupInfo>)>) {
        if let Some((key, groups)) = pages {
            self.add(key.metric, key.bucket, key.generation, groups);
        }
    }
}

impl GenerationGroups {
    /// Groups, points and bytes.
    pub(crate) fn totals(&self) -> (u64, u64, u64) {
        self.groups.iter().fold((0, 0, 0), |(groups, points, bytes), group| {
            (groups + 1, points + u64::from(group.points), bytes + u64::from(group.bytes))
        })
    }
}

impl GroupInfo {
    /// The key of the group.
    pub(crate) fn key(&self, shard: u16, bucket: Bucket, metric: u32, generation: Generation) -> GroupKey {
        GroupKey { shard, bucket, metric, first: self.first, part: self.part, generation }
    }
}

/// The entries of a directory.
pub(crate) fn pages(
    shard: u16,
    bucket: Bucket,
    metric: u32,
    generation: Generation,
    groups: &[GroupInfo],
) -> impl Iterator<Item = (Bytes, Bytes)> + '_ {
    (0..).zip(groups.chunks(PAGE_GROUPS)).map(move |(page, groups)| {
        let key = DirectoryKey { shard, bucket, metric, generation, page };
        (key.encode(), encode_page(groups))
    })
}

fn encode_page(groups: &[GroupInfo]) -> Bytes {
    stored_value::build(FORMAT, |out| {
        put_varint(out, groups.len() as u64);
        let mut before = 0;
        for group in groups {
            put_varint(out, u64::from(group.first - before));
            put_varint(out, u64::from(group.last - group.first));
            put_varint(out, u64::from(group.part));
            put_varint(out, u64::from(group.bytes));
            put_varint(out, u64::from(group.points));
            before = group.first;
        }
    })
}

fn read_page(reader: &mut ByteReader<'_>) -> Option<Vec<GroupInfo>> {
    let count = reader.varint()?;
    let mut before = 0_u32;
    (0..count)
        .map(|_| {
            let first = before.checked_add(reader.varint_u32()?)?;
            before = first;
            let last = first.checked_add(reader.varint_u32()?)?;
            let part = u16::try_from(reader.varint()?).ok()?;
            Some(GroupInfo { first, last, part, bytes: reader.varint_u32()?, points: reader.varint_u32()? })
        })
        .collect()
}

/// The groups that a page names.
pub(crate) fn read_groups(key: &[u8], value: &[u8]) -> Result<Vec<GroupInfo>, StoreError> {
    stored_value::read(FORMAT, key, value, read_page)
}

/// Bytes of the groups that a page names; 0 when it cannot be read.
pub(crate) fn group_bytes(key: &[u8], value: &[u8]) -> u64 {
    read_groups(key, value).map_or(0, |groups| groups.iter().map(|group| u64::from(group.bytes)).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_survives_its_bytes() {
        let groups = vec![
            GroupInfo { first: 3, last: 12, part: 0, bytes: 7_900, points: 4_800 },
            GroupInfo { first: 12, last: 12, part: 1, bytes: 31_000, points: 20_000 },
        ];
        let read = stored_value::read(FORMAT, b"D", &encode_page(&groups), read_page);
        assert_eq!(read, Ok(groups));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_give_a_page_or_an_error(body in proptest::collection::vec(0_u8.., 0..100)) {
            let value = stored_value::build(FORMAT, |out| out.extend_from_slice(&body));
            if let Ok(groups) = stored_value::read(FORMAT, b"D", &value, read_page) {
                assert!(groups.len() <= body.len());
                assert!(groups.iter().all(|group| group.first <= group.last));
            }
        }
    }

    #[test]
    fn buckets_come_in_order_and_generations_oldest_first() {
        let two_hours = |number| Bucket { tier: Tier::TwoHours, number };
        let day = Bucket { tier: Tier::Day, number: 0 };
        let mut catalogue = BlockCatalogue::default();
        let group = GroupInfo { first: 0, last: 0, part: 0, bytes: 10, points: 5 };
        for (bucket, generation) in [(7, 4), (5, 1), (7, 2), (9, 3)] {
            catalogue.add(1, two_hours(bucket), Generation(generation), vec![group]);
        }
        catalogue.add(1, day, Generation(3), vec![group]);
        let range = TimeRange::new(two_hours(5).start(), two_hours(8).end());
        let found: Vec<(Bucket, Vec<u64>)> = catalogue
            .overlapping(1, range)
            .map(|(bucket, generations)| (bucket, generations.iter().map(|g| g.generation.0).collect()))
            .collect();
        assert_eq!(found, [(two_hours(5), vec![1]), (two_hours(7), vec![2, 4]), (day, vec![3])]);
        assert_eq!(catalogue.overlapping(2, TimeRange::ALL).count(), 0);
        assert_eq!(catalogue.overlapping(1, TimeRange::ALL).count(), 4);
        assert_eq!((catalogue.groups, catalogue.points, catalogue.bytes), (5, 25, 50));
    }
}
