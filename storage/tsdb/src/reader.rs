//! From a selector and a range to series with everything that is needed to decode their points.
//!
//! The state of the shards is taken first, under their locks, and the snapshot of the engine after it: groups that the
//! state names are in the snapshot, unless they were merged away in between, and then the read starts again.

use std::{ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, future::try_join_all, stream};
use hashbrown::HashMap;
use tidemark_kv::{KeyRange, KvError, KvSnapshot};
use tidemark_model::{
    BoxFuture, PointColumns, ReadError, ReadLimits, ReadRequest, ReadStatistics, RollupRequest, SeriesId, SeriesReader,
    SeriesSelector, SeriesSet, TimeRange,
};

use crate::{
    Bucket, GroupKey, Scan, Shard, Store, StoreError, Target, Tier,
    directory::GenerationGroups,
    group,
    index::{metric_of, number_of},
    keys::{RollupGroupKey, RollupKey},
    point_stream::StreamSnapshot,
    renewing_snapshot::RenewingSnapshot,
    rollup::{self, Coverage, DayUse, RollupChoice, RollupInterval, SpanRollups},
    scan::after,
    selection::{OrderedSeries, in_order, select},
    series_set::{Chunk, HeadPoints, Hiding, RollupChunk, StoredSeries},
};

/// How often a read starts again because a merge took groups away.
pub(crate) const ATTEMPTS_MAX: usize = 20;
/// A merge tells readers of its commit within microseconds.
pub(crate) const RETRY_AFTER: Duration = Duration::from_millis(2);
/// How often series are selected again because names were changed meanwhile. When that goes on, names of before and after
/// a change are better than no answer.
const SELECTIONS_MAX: usize = 4;
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

/// What a shard has of a metric in the range of a read, as it was at one moment.
struct MetricRead {
    shard: u16,
    metric: u32,
    /// Which of the selected series are its.
    series: Range<usize>,
    buckets: Vec<(Bucket, Vec<GenerationGroups>)>,
    /// Which of the points in memory are its.
    heads: Range<usize>,
    /// The interval whose rows are used.
    interval: Option<RollupInterval>,
    days: DayUse,
    spans: Vec<(RollupKey, Arc<SpanRollups>)>,
    coverage: Coverage,
}

/// Groups of one metric and bucket that a read needs.
struct BucketRead {
    /// Which metric, among those of the read.
    metric: usize,
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
    rollup: Option<&'a RollupRequest>,
    /// Of these rows are made.
    intervals: &'a [RollupInterval],
    metrics: Vec<MetricRead>,
    heads: Vec<HeadPoints>,
    hiding: Hiding,
    chunks: Vec<Chunk>,
    rollups: Vec<RollupChunk>,
}

impl Store {
    /// Learns what other processes wrote of the series that a selector means.
    pub(crate) async fn catch_up(&self, selector: &SeriesSelector) -> Result<(), StoreError> {
        let follower = &self.inner.follower;
        if !follower.sharing.is_shared() {
            return Ok(());
        }
        if let SeriesSelector::Tags { metric: Some(metric), .. } = selector {
            return self.catch_up_metric(metric).await;
        }
        try_join_all(self.inner.shards.iter().map(|shard| follower.catch_up(shard))).await?;
        Ok(())
    }

    /// The name of a metric may turn out to be that of another one, which has another shard.
    async fn catch_up_metric(&self, metric: &str) -> Result<(), StoreError> {
        let shard_of = |metric| self.inner.index.read().shard_of_metric(metric);
        let mut number = shard_of(metric);
        while let Some(shard) = self.inner.shards.get(usize::from(number)) {
            self.inner.follower.catch_up(shard).await?;
            number = shard_of(metric);
            if number == shard.number {
                break;
            }
        }
        Ok(())
    }

    async fn try_open(&self, request: &ReadRequest) -> Result<Option<StoredSeries>, ReadError> {
        self.catch_up(&request.selector).await?;
        let OrderedSeries { infos, by_id: selected } =
            self.select(&request.selector, request.limits.series_max).await?;
        let rollup = request.rollup.as_ref();
        let mut plan = Plan {
            range: request.range,
            limits: request.limits,
            statistics: ReadStatistics { series: infos.len(), ..ReadStatistics::default() },
            selected: &selected,
            rollup,
            intervals: &self.inner.options.rollup_intervals,
            metrics: Vec::new(),
            heads: Vec::new(),
            hiding: Hiding::default(),
            chunks: Vec::new(),
            rollups: Vec::new(),
        };
        if !request.range.is_empty() {
            for shard in self.inner.shards.iter() {
                plan.look_at(shard)?;
            }
            if plan.metrics.iter().any(|metric| !metric.buckets.is_empty() || !metric.spans.is_empty()) {
                let snapshot = RenewingSnapshot::take(&self.inner.kv).await.map_err(StoreError::from)?;
                if !plan.fetch(&snapshot).await? {
                    return Ok(None);
                }
            }
        }
        let Plan { statistics, heads, hiding, chunks, rollups, range, .. } = plan;
        let rows = rollup.map(|request| (request.function, rollups));
        Ok(Some(StoredSeries::new(infos, range, chunks, heads, hiding, rows, statistics)))
    }

    /// The series that a selector means, in order, when there are at most `series_max`.
    pub(crate) async fn select(
        &self,
        selector: &SeriesSelector,
        series_max: usize,
    ) -> Result<OrderedSeries, ReadError> {
        let mut attempt = 1;
        loop {
            let renames = self.inner.index.read().renames();
            let slots = select(&self.inner.index, selector).await?;
            let found = usize::try_from(slots.len()).unwrap_or(usize::MAX);
            if found > series_max {
                return Err(ReadError::TooManySeries { found, limit: series_max });
            }
            let ordered = in_order(&self.inner.index, slots, 0..found).await?;
            // Else some of them have names of before a change and others those of after it.
            if renames == self.inner.index.read().renames() || attempt == SELECTIONS_MAX {
                return Ok(ordered);
            }
            attempt += 1;
        }
    }
}

impl Plan<'_> {
    /// Copies what the heads have and notes which groups of blocks there are and what is deleted of them.
    fn look_at(&mut self, shard: &Shard) -> Result<(), ReadError> {
        let state = shard.state.read();
        let selected = self.selected;
        let mut position = 0;
        for series in selected.chunk_by(|left, right| metric_of(left.id) == metric_of(right.id)) {
            let of_metric = position..position + series.len();
            position = of_metric.end;
            let Some(first) = series.first().filter(|first| first.shard == shard.number) else { continue };
            let metric = metric_of(first.id);
            let tombstones = state.tombstones.of_metric(metric, self.range);
            let buckets = state.catalogue.overlapping(metric, self.range);
            let buckets: Vec<_> = buckets.map(|(bucket, generations)| (bucket, generations.to_vec())).collect();
            let heads = self.heads.len();
            for series in series {
                for (epoch, head) in state.heads_by_epoch() {
                    if let Some(stream) = head.stream(series.local).filter(|stream| stream.overlaps(self.range)) {
                        let points = stream.snapshot();
                        self.count(u64::from(points.count()), points.bytes() as u64)?;
                        self.heads.push(HeadPoints { position: series.position, epoch, points });
                    }
                }
            }
            let (mut days, mut spans) = (DayUse::default(), Vec::new());
            let choice = self.rollup.and_then(|request| {
                RollupChoice::of(request, self.intervals, &state.catalogue.rollups, metric, self.range)
            });
            let interval = choice.map(|choice| choice.interval);
            if let Some(interval) = interval {
                days = DayUse::of_blocks(&state.catalogue, metric, interval, self.range, &tombstones);
                spans.extend(days.spans(interval).into_iter().filter_map(|span| {
                    let of = RollupKey { shard: shard.number, interval_ms: interval.key(), span, metric };
                    Some((of, Arc::clone(state.catalogue.rollups.span(interval, metric, span)?)))
                }));
            }
            if !tombstones.is_empty() {
                self.hiding.insert(metric, tombstones);
            }
            let heads = heads..self.heads.len();
            let coverage = Coverage::default();
            let read = MetricRead {
                shard: shard.number,
                metric,
                series: of_metric,
                buckets,
                heads,
                interval,
                days,
                spans,
                coverage,
            };
            self.metrics.push(read);
        }
        Ok(())
    }

    /// Reads what is needed; `false` when a group is gone.
    async fn fetch(&mut self, snapshot: &dyn KvSnapshot) -> Result<bool, ReadError> {
        let mut metrics = std::mem::take(&mut self.metrics);
        for metric in &mut metrics {
            if let (Some(request), Some(interval)) = (self.rollup, metric.interval)
                && !self.fetch_rollups(snapshot, RollupChoice { request, interval }, metric).await?
            {
                return Ok(false);
            }
        }
        let mut reads = Vec::new();
        for (position, metric) in metrics.iter().enumerate() {
            for (bucket, generations) in &metric.buckets {
                reads.extend(self.want(position, metric, *bucket, generations)?);
            }
        }
        for read in reads {
            let fetched = fetch_groups(snapshot, &read.wanted, read.present).await?;
            if fetched.len() != read.wanted.len() {
                return Ok(false);
            }
            let Some(metric) = metrics.get(read.metric) else { continue };
            for (key, value) in fetched {
                self.add_group(metric, &key, &value)?;
            }
        }
        Ok(true)
    }

    /// Reads the rows of a metric and decides which buckets they answer; `false` when a group is gone.
    async fn fetch_rollups(
        &mut self,
        snapshot: &dyn KvSnapshot,
        choice: RollupChoice<'_>,
        metric: &mut MetricRead,
    ) -> Result<bool, ReadError> {
        for head in self.heads.get(metric.heads.clone()).unwrap_or_default() {
            days_of(&head.points, self.range, &mut metric.days);
        }
        let series = self.selected.get(metric.series.clone()).unwrap_or_default();
        let mut found = Vec::new();
        let usable = metric.days.spans(choice.interval);
        for (of, rollups) in metric.spans.iter().filter(|(of, _)| usable.contains(&of.span)) {
            let wanted: Vec<RollupGroupKey> = rollups
                .groups
                .iter()
                .filter(|group| has_number_between(series, group.first, group.last))
                .map(|group| group.key(*of, rollups.version))
                .collect();
            let fetched = fetch_groups(snapshot, &wanted, rollups.groups.len()).await?;
            if fetched.len() != wanted.len() {
                return Ok(false);
            }
            let (mut is_exact, before) = (true, found.len());
            for (key, value) in fetched {
                let mut rest = series;
                for entry in rollup::read_directory(&key, &value)? {
                    let Some(wanted) = next_numbered(&mut rest, entry.number) else { continue };
                    is_exact &= choice.is_exact(entry.magnitude);
                    found.push((*wanted, *of, entry.rows, value.slice(entry.bytes)));
                }
            }
            if !is_exact {
                metric.days.refuse_span(choice.interval, of.span);
                // Where others stand alone, they may be needed all the same.
                if !metric.days.has_alone() {
                    found.truncate(before);
                }
            }
        }
        metric.coverage = metric.days.coverage(choice.request, self.range);
        if metric.coverage.is_empty() {
            return Ok(true);
        }
        let deleted = if metric.days.has_alone() { self.hiding.get(&metric.metric).cloned() } else { None };
        for (series, of, rows, bytes) in found {
            self.statistics.rollup_rows += u64::from(rows);
            self.count(0, bytes.len() as u64)?;
            let mut rows = Arc::clone(&metric.coverage.rows);
            if let Some(tombstones) = &deleted {
                let deleted = metric.days.deleted_rows(tombstones, number_of(series.id), choice.interval);
                rows = rows.iter().flat_map(|range| deleted.outside(*range)).collect();
            }
            let (position, start) = (series.position, choice.interval.span_start(of.span));
            self.rollups.push(RollupChunk { position, start, interval_ms: choice.interval.millis(), rows, bytes });
        }
        Ok(true)
    }

    fn want(
        &mut self,
        position: usize,
        metric: &MetricRead,
        bucket: Bucket,
        generations: &[GenerationGroups],
    ) -> Result<Option<BucketRead>, ReadError> {
        let (first, last) = (bucket.start().max(self.range.start), (bucket.end() - 1).min(self.range.end - 1));
        if !metric.coverage.needs_points(first, last) {
            return Ok(None);
        }
        let series = self.selected.get(metric.series.clone()).unwrap_or_default();
        let mut wanted = Vec::new();
        for GenerationGroups { generation, groups } in generations {
            for group in groups.iter().filter(|group| has_number_between(series, group.first, group.last)) {
                self.count(0, u64::from(group.bytes))?;
                wanted.push(group.key(metric.shard, bucket, metric.metric, *generation));
            }
        }
        wanted.sort_unstable();
        let present = generations.iter().map(|generation| generation.groups.len()).sum();
        Ok((!wanted.is_empty()).then_some(BucketRead { metric: position, wanted, present }))
    }

    /// Checks the limits before more is held or promised.
    fn count(&mut self, points: u64, bytes: u64) -> Result<(), ReadError> {
        self.statistics.points += points;
        self.statistics.bytes += bytes;
        let found = self.statistics.points + self.statistics.rollup_rows;
        if found > self.limits.points_max {
            return Err(ReadError::TooManyPoints { found, limit: self.limits.points_max });
        }
        if self.statistics.bytes > self.limits.bytes_max {
            return Err(ReadError::TooManyBytes { found: self.statistics.bytes, limit: self.limits.bytes_max });
        }
        Ok(())
    }

    fn add_group(&mut self, metric: &MetricRead, key: &GroupKey, value: &Bytes) -> Result<(), ReadError> {
        let mut series = self.selected.get(metric.series.clone()).unwrap_or_default();
        for entry in group::read_directory(key, value)? {
            let Some(wanted) = next_numbered(&mut series, entry.number) else { continue };
            let is_in_range = entry.max >= self.range.start && entry.min < self.range.end;
            if is_in_range && metric.coverage.needs_points(entry.min, entry.max) {
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

async fn get_group<K: FetchKey>(snapshot: &dyn KvSnapshot, key: K) -> Result<(K, Option<Bytes>), KvError> {
    Ok((key, snapshot.get(&key.bytes()).await?))
}

/// Whether one of the series, which are in order, has a number of a group.
fn has_number_between(series: &[Selected], first: u32, last: u32) -> bool {
    let from = series.partition_point(|series| number_of(series.id) < first);
    series.get(from).is_some_and(|series| number_of(series.id) <= last)
}

/// The series of this number, if it is among those that are left, which are then those from it on. Numbers are asked
/// for in order.
fn next_numbered<'a>(series: &mut &'a [Selected], number: u32) -> Option<&'a Selected> {
    let before = series.partition_point(|series| number_of(series.id) < number);
    *series = series.get(before..).unwrap_or_default();
    series.first().filter(|series| number_of(series.id) == number)
}

/// The days of which memory has points. Mostly they are of one day; of others the timestamps are looked at, or a single
/// late point would hide the rows of a year.
fn days_of(stream: &StreamSnapshot, range: TimeRange, days: &mut DayUse) {
    let day = |timestamp| Bucket::of(Tier::Day, timestamp).number;
    if day(stream.max) - day(stream.min) <= 1 {
        days.needs_points_between(stream.min, stream.max);
        return;
    }
    let mut columns = PointColumns::default();
    stream.read(range, &mut columns);
    columns.timestamps.chunk_by(|left, right| day(*left) == day(*right)).for_each(|of_day| {
        if let Some(&first) = of_day.first() {
            days.needs_points(day(first));
        }
    });
}

/// A key of groups.
pub(crate) trait FetchKey: Copy {
    /// Its bytes, which sort as the keys do.
    fn bytes(&self) -> Bytes;
}

impl FetchKey for GroupKey {
    fn bytes(&self) -> Bytes {
        self.encode()
    }
}

impl FetchKey for RollupGroupKey {
    fn bytes(&self) -> Bytes {
        self.encode()
    }
}

/// Reads groups of one metric and bucket, in one range or one by one; those that are there, in order of their keys.
pub(crate) async fn fetch_groups<K: FetchKey>(
    snapshot: &dyn KvSnapshot,
    wanted: &[K],
    present: usize,
) -> Result<Vec<(K, Bytes)>, StoreError> {
    let mut fetched = Vec::with_capacity(wanted.len());
    if let ([first, .., last], true) =
        (wanted, wanted.len() >= RANGE_GROUPS_MIN && wanted.len() * RANGE_SHARE >= present)
    {
        let by_key: HashMap<Bytes, K> = wanted.iter().map(|key| (key.bytes(), *key)).collect();
        let mut scan = Scan::new(KeyRange::new(first.bytes(), after(&last.bytes())));
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
