//! From a selector and a range to series with everything that is needed to decode their points.
//!
//! The state of the shards is taken first, under their locks, and the snapshot of the engine after it: groups that the
//! state names are in the snapshot, unless they were merged away in between, and then the read starts again.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, future::try_join_all, stream};
use hashbrown::HashMap;
use tidemark_kv::{KeyRange, KvError, KvSnapshot};
use tidemark_model::{
    BoxFuture, ReadError, ReadLimits, ReadRequest, ReadStatistics, SeriesId, SeriesReader, SeriesSelector, SeriesSet,
    TimeRange,
};

use crate::{
    Bucket, GroupKey, Scan, Shard, Store, StoreError, Target,
    directory::GenerationGroups,
    group,
    index::{metric_of, number_of, shard_of},
    renewing_snapshot::RenewingSnapshot,
    scan::after,
    selection::{OrderedSeries, in_order, select},
    series_set::{Chunk, HeadPoints, Hiding, StoredSeries},
};

/// How often a read starts again because a merge took groups away.
pub(crate) const ATTEMPTS_MAX: usize = 20;
/// A merge tells readers of its commit within microseconds.
pub(crate) const RETRY_AFTER: Duration = Duration::from_millis(2);
/// Single groups that are read at once.
const GETS_IN_FLIGHT: usize = 16;
/// From so many groups of a bucket on, if they are a good part of it, one range is read instead of single groups.
const RANGE_GROUPS_MIN: usize = 4;
const RANGE_SHARE: usize = 4;

impl SeriesReader for Store {
    fn open(&self, request: ReadRequest) -> BoxFuture<'_, Result<Box<dyn SeriesSet>, ReadError>> {
        Box::pin(async move {
            for _ in 0..ATTEMPTS_MAX {
                if let Some(set) = self.try_open(&request).await? {
                    return Ok(Box::new(set) as Box<dyn SeriesSet>);
                }
                tokio::time::sleep(RETRY_AFTER).await;
            }
            Err(ReadError::Unavailable("blocks were merged while they were being read".to_owned()))
        })
    }
}

/// A selected series.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Selected {
    pub(crate) id: SeriesId,
    pub(crate) local: u32,
    pub(crate) shard: u16,
    /// Its position in the set.
    pub(crate) position: u32,
}

impl Selected {
    pub(crate) fn new(target: Target, position: u32) -> Self {
        Self { id: target.id, local: target.local, shard: target.shard, position }
    }
}

/// Groups of one metric and bucket that a read needs.
struct BucketRead {
    wanted: Vec<GroupKey>,
    /// Groups that the metric has in the bucket.
    present: usize,
}

/// Everything that a read needs, before and after it is fetched.
struct Plan<'a> {
    range: TimeRange,
    limits: ReadLimits,
    statistics: ReadStatistics,
    /// By id, hence by shard, metric and number.
    selected: &'a [Selected],
    buckets: Vec<BucketRead>,
    heads: Vec<HeadPoints>,
    hiding: Hiding,
    chunks: Vec<Chunk>,
}

impl Store {
    /// Learns what other processes wrote of the series that a selector means.
    pub(crate) async fn catch_up(&self, selector: &SeriesSelector) -> Result<(), StoreError> {
        let follower = &self.inner.follower;
        if !follower.sharing.is_shared() {
            return Ok(());
        }
        let shards = self.inner.shards.as_ref();
        let of_metric = match selector {
            SeriesSelector::Tags { metric: Some(metric), .. } => {
                let number = shard_of(metric, u16::try_from(shards.len()).unwrap_or(u16::MAX));
                shards.get(usize::from(number)).map(std::slice::from_ref)
            }
            _ => None,
        };
        try_join_all(of_metric.unwrap_or(shards).iter().map(|shard| follower.catch_up(shard))).await?;
        Ok(())
    }

    async fn try_open(&self, request: &ReadRequest) -> Result<Option<StoredSeries>, ReadError> {
        self.catch_up(&request.selector).await?;
        let OrderedSeries { infos, by_id: selected } =
            self.select(&request.selector, request.limits.series_max).await?;
        let mut plan = Plan {
            range: request.range,
            limits: request.limits,
            statistics: ReadStatistics { series: infos.len(), ..ReadStatistics::default() },
            selected: &selected,
            buckets: Vec::new(),
            heads: Vec::new(),
            hiding: Hiding::default(),
            chunks: Vec::new(),
        };
        if !request.range.is_empty() {
            for shard in self.inner.shards.iter() {
                plan.look_at(shard)?;
            }
            if !plan.buckets.is_empty() {
                let snapshot = RenewingSnapshot::take(&self.inner.kv).await.map_err(StoreError::from)?;
                if !plan.fetch(&snapshot).await? {
                    return Ok(None);
                }
            }
        }
        let Plan { statistics, heads, hiding, chunks, range, .. } = plan;
        Ok(Some(StoredSeries::new(infos, range, chunks, heads, hiding, statistics)))
    }

    /// The series that a selector means, in order, when there are at most `series_max`.
    pub(crate) async fn select(
        &self,
        selector: &SeriesSelector,
        series_max: usize,
    ) -> Result<OrderedSeries, ReadError> {
        let slots = select(&self.inner.index, selector).await?;
        let found = usize::try_from(slots.len()).unwrap_or(usize::MAX);
        if found > series_max {
            return Err(ReadError::TooManySeries { found, limit: series_max });
        }
        in_order(&self.inner.index, slots, 0..found).await
    }
}

impl Plan<'_> {
    /// Copies what the heads have and notes which groups of blocks are needed and what is deleted of them.
    fn look_at(&mut self, shard: &Shard) -> Result<(), ReadError> {
        let state = shard.state.read();
        for series in self.selected.chunk_by(|left, right| metric_of(left.id) == metric_of(right.id)) {
            let Some(first) = series.first().filter(|first| first.shard == shard.number) else { continue };
            let metric = metric_of(first.id);
            let tombstones = state.tombstones.of_metric(metric, self.range);
            if !tombstones.is_empty() {
                self.hiding.insert(metric, tombstones);
            }
            for (bucket, generations) in state.catalogue.overlapping(metric, self.range) {
                self.want(shard.number, bucket, metric, generations, series)?;
            }
            for series in series {
                for (epoch, head) in state.heads_by_epoch() {
                    if let Some(stream) = head.stream(series.local).filter(|stream| stream.overlaps(self.range)) {
                        let points = stream.snapshot();
                        self.count(u64::from(points.count()), points.bytes() as u64)?;
                        self.heads.push(HeadPoints { position: series.position, epoch, points });
                    }
                }
            }
        }
        Ok(())
    }

    fn want(
        &mut self,
        shard: u16,
        bucket: Bucket,
        metric: u32,
        generations: &[GenerationGroups],
        series: &[Selected],
    ) -> Result<(), ReadError> {
        let mut wanted = Vec::new();
        for GenerationGroups { generation, groups } in generations {
            for group in groups.iter() {
                let first = series.partition_point(|series| number_of(series.id) < group.first);
                if series.get(first).is_some_and(|series| number_of(series.id) <= group.last) {
                    self.count(0, u64::from(group.bytes))?;
                    wanted.push(group.key(shard, bucket, metric, *generation));
                }
            }
        }
        if !wanted.is_empty() {
            wanted.sort_unstable();
            let present = generations.iter().map(|generation| generation.groups.len()).sum();
            self.buckets.push(BucketRead { wanted, present });
        }
        Ok(())
    }

    /// Checks the limits before more is held or promised.
    fn count(&mut self, points: u64, bytes: u64) -> Result<(), ReadError> {
        self.statistics.points += points;
        self.statistics.bytes += bytes;
        if self.statistics.points > self.limits.points_max {
            return Err(ReadError::TooManyPoints { found: self.statistics.points, limit: self.limits.points_max });
        }
        if self.statistics.bytes > self.limits.bytes_max {
            return Err(ReadError::TooManyBytes { found: self.statistics.bytes, limit: self.limits.bytes_max });
        }
        Ok(())
    }

    /// Reads the groups; `false` when one is gone.
    async fn fetch(&mut self, snapshot: &dyn KvSnapshot) -> Result<bool, ReadError> {
        for bucket in std::mem::take(&mut self.buckets) {
            let fetched = fetch_groups(snapshot, &bucket.wanted, bucket.present).await?;
            if fetched.len() != bucket.wanted.len() {
                return Ok(false);
            }
            for (key, value) in fetched {
                self.add_group(&key, &value)?;
            }
        }
        Ok(true)
    }

    fn add_group(&mut self, key: &GroupKey, value: &bytes::Bytes) -> Result<(), ReadError> {
        let selected = self.selected;
        let of_metric = selected.partition_point(|series| metric_of(series.id) < key.metric);
        let mut series = selected.get(of_metric..).unwrap_or_default();
        for entry in group::read_directory(key, value)? {
            let before = series
                .partition_point(|series| metric_of(series.id) == key.metric && number_of(series.id) < entry.number);
            series = series.get(before..).unwrap_or_default();
            let Some(wanted) = series.first() else { break };
            if metric_of(wanted.id) != key.metric {
                break;
            }
            if number_of(wanted.id) == entry.number && entry.max >= self.range.start && entry.min < self.range.end {
                self.count(u64::from(entry.points), 0)?;
                self.statistics.blocks += 1;
                self.chunks.push(Chunk {
                    position: wanted.position,
                    generation: key.generation,
                    min: entry.min,
                    max: entry.max,
                    points: entry.points,
                    bytes: value.slice(entry.bytes),
                });
            }
        }
        Ok(())
    }
}

async fn get_group(snapshot: &dyn KvSnapshot, key: GroupKey) -> Result<(GroupKey, Option<bytes::Bytes>), KvError> {
    Ok((key, snapshot.get(&key.encode()).await?))
}

/// Reads groups of one metric and bucket, in one range or one by one; those that are there, in order of their keys.
pub(crate) async fn fetch_groups(
    snapshot: &dyn KvSnapshot,
    wanted: &[GroupKey],
    present: usize,
) -> Result<Vec<(GroupKey, bytes::Bytes)>, StoreError> {
    let mut fetched = Vec::with_capacity(wanted.len());
    if let ([first, .., last], true) =
        (wanted, wanted.len() >= RANGE_GROUPS_MIN && wanted.len() * RANGE_SHARE >= present)
    {
        let by_key: HashMap<bytes::Bytes, GroupKey> = wanted.iter().map(|key| (key.encode(), *key)).collect();
        let mut scan = Scan::new(KeyRange::new(first.encode(), after(&last.encode())));
        while let Some(entries) = scan.next(snapshot).await? {
            fetched.extend(entries.into_iter().filter_map(|(key, value)| Some((*by_key.get(&key)?, value))));
        }
        return Ok(fetched);
    }
    // A cluster answers many at once; for a file it makes no difference.
    let gets = wanted.iter().map(|key| get_group(snapshot, *key)).collect::<Vec<_>>();
    let mut values = stream::iter(gets).buffered(GETS_IN_FLIGHT);
    while let Some((key, value)) = values.try_next().await? {
        fetched.extend(value.map(|value| (key, value)));
    }
    drop(values);
    Ok(fetched)
}
