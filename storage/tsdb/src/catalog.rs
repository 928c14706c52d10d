//! Names, series and newest points.

use std::{cmp::Reverse, sync::Arc};

use bytes::Bytes;
use hashbrown::HashMap;
use tidemark_model::{
    BoxFuture, Cardinality, CatalogError, LastPoint, NameKind, Point, PointColumns, ReadError, SeriesCatalog,
    SeriesPage, SeriesSelector, TimeRange, TimestampMs, Value, is_reserved,
};

use crate::{
    Bucket, Generation, GroupKey, Shard, Store, StoreError, cardinality, codec,
    directory::GenerationGroups,
    group::{self, BlockEntry},
    index::{metric_of, number_of, series_id},
    reader::{ATTEMPTS_MAX, RETRY_AFTER, Selected, fetch_groups},
    selection::{OrderedSeries, in_order, select},
    shard::{LastSealed, newest},
    stored_value,
    tombstones::{Tombstone, hidden},
};

/// Names that are looked at before the index is let go of.
const NAMES_PER_LOCK: usize = 4_096;
/// Series that one question for newest points may be about (`limits.query_series`).
const LAST_SERIES_MAX: usize = 1_000_000;

impl SeriesCatalog for Store {
    fn suggest<'a>(
        &'a self,
        kind: NameKind,
        prefix: &'a str,
        max: usize,
    ) -> BoxFuture<'a, Result<Vec<String>, CatalogError>> {
        Box::pin(async move {
            self.inner.follower.catch_up_index().await.map_err(ReadError::from)?;
            self.catch_up_presence().await?;
            Ok(self.suggested_names(kind, prefix, max))
        })
    }

    fn lookup<'a>(
        &'a self,
        selector: &'a SeriesSelector,
        offset: usize,
        limit: usize,
    ) -> BoxFuture<'a, Result<SeriesPage, CatalogError>> {
        Box::pin(async move {
            self.inner.follower.catch_up_index().await.map_err(ReadError::from)?;
            self.catch_up_presence().await?;
            let slots = select(&self.inner.index, selector).await? - self.inner.index.read().hidden();
            let total = usize::try_from(slots.len()).unwrap_or(usize::MAX);
            let page = in_order(&self.inner.index, slots, offset..offset.saturating_add(limit)).await?;
            Ok(SeriesPage { total, series: page.infos })
        })
    }

    fn last<'a>(
        &'a self,
        selector: &'a SeriesSelector,
        not_before: TimestampMs,
    ) -> BoxFuture<'a, Result<Vec<LastPoint>, CatalogError>> {
        Box::pin(async move { Ok(self.last_points(selector, not_before).await?) })
    }

    fn cardinality(&self, top: usize) -> BoxFuture<'_, Result<Cardinality, CatalogError>> {
        Box::pin(async move {
            self.inner.follower.catch_up_index().await.map_err(ReadError::from)?;
            self.catch_up_presence().await?;
            self.inner.index.read().growth().lock().advance(self.inner.clock.monotonic());
            let index = Arc::clone(&self.inner.index);
            let counted = tokio::task::spawn_blocking(move || cardinality::count(&index, top)).await;
            let failed = |error| ReadError::Unavailable(format!("the series could not be counted: {error}"));
            Ok(counted.map_err(failed)?)
        })
    }
}

impl Store {
    fn suggested_names(&self, kind: NameKind, prefix: &str, max: usize) -> Vec<String> {
        let mut found = Vec::new();
        // Reserved names are for whoever knows that there are some.
        let asks_reserved = is_reserved(prefix);
        let mut after: Option<Arc<str>> = None;
        while found.len() < max {
            let index = self.inner.index.read();
            let some = index.names(kind).with_prefix(prefix, after.as_deref(), NAMES_PER_LOCK);
            let Some((last, _)) = some.last() else { break };
            after = Some(Arc::clone(last));
            let is_shown = |name: &str, id| (asks_reserved || !is_reserved(name)) && index.is_suggested(kind, id);
            let shown = some.iter().filter(|(name, id)| is_shown(name, *id)).take(max - found.len());
            found.extend(shown.map(|(name, _)| name.to_string()));
        }
        found
    }

    async fn last_points(
        &self,
        selector: &SeriesSelector,
        not_before: TimestampMs,
    ) -> Result<Vec<LastPoint>, ReadError> {
        self.catch_up(selector).await?;
        let OrderedSeries { infos, by_id: mut selected } = self.select(selector, LAST_SERIES_MAX).await?;
        for series in selected.chunk_by(|left, right| metric_of(left.id) == metric_of(right.id)) {
            let shard = series.first().and_then(|first| self.inner.shards.get(usize::from(first.shard)));
            if let Some(shard) = shard {
                self.read_directories_in_peace(shard, series, not_before).await?;
            }
        }
        selected.sort_unstable_by_key(|series| series.position);
        let points = selected.iter().map(|series| {
            let shard = self.inner.shards.get(usize::from(series.shard))?;
            let state = shard.state.read();
            let sealed = state.sealed_last.get(series.local).point();
            newest(sealed, state.last_in_heads(series.id, series.local))
        });
        let found = infos.into_iter().zip(points).filter_map(|(series, point)| {
            let (timestamp, value) = point.filter(|(timestamp, _)| *timestamp >= not_before)?;
            Some(LastPoint { series, point: Point { timestamp, value } })
        });
        Ok(found.collect())
    }

    /// As [`Store::read_directories`], again when a merge took groups away or points were deleted meanwhile.
    pub(crate) async fn read_directories_in_peace(
        &self,
        shard: &Shard,
        series: &[Selected],
        not_before: TimestampMs,
    ) -> Result<(), ReadError> {
        for _ in 0..ATTEMPTS_MAX {
            if self.read_directories(shard, series, not_before).await? {
                return Ok(());
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
        Err(ReadError::Unavailable("blocks were merged while they were being read".to_owned()))
    }

    /// Looks up the newest sealed points that nobody asked for since the store was opened: in the directories of the
    /// blocks, newest bucket first, until each series is found or `not_before` is passed. `false` when a group is gone or
    /// points were deleted.
    async fn read_directories(
        &self,
        shard: &Shard,
        series: &[Selected],
        not_before: TimestampMs,
    ) -> Result<bool, ReadError> {
        let Some(metric) = series.first().map(|first| metric_of(first.id)) else { return Ok(true) };
        let (mut unread, buckets, tombstones, deletions) = {
            let state = shard.state.read();
            let unread =
                series.iter().filter(|series| matches!(state.sealed_last.get(series.local), LastSealed::Unread(_)));
            // By number: the series' number in the shard and, as a lower bound, the newest point in a head.
            let unread: HashMap<u32, (u32, TimestampMs)> = unread
                .map(|series| {
                    let last = state.last_in_heads(series.id, series.local);
                    let in_head = last.map_or(TimestampMs::MIN, |(timestamp, _)| timestamp);
                    (number_of(series.id), (series.local, in_head))
                })
                .collect();
            if unread.is_empty() {
                return Ok(true);
            }
            let mut buckets: Vec<(Bucket, Vec<GenerationGroups>)> = state
                .catalogue
                .overlapping(metric, TimeRange::ALL)
                .map(|(bucket, generations)| (bucket, generations.to_vec()))
                .collect();
            buckets.sort_by_key(|(bucket, _)| Reverse(bucket.end()));
            (unread, buckets, state.tombstones.of_metric(metric, TimeRange::ALL), state.deletions)
        };
        let snapshot = self.inner.kv.snapshot().await.map_err(StoreError::from)?;
        let mut found = HashMap::<u32, FoundLast>::new();
        for (bucket, generations) in buckets {
            // What is left is older: neither a point in a head nor one that was found here can be replaced by it.
            let settled = found.extract_if(|_, last| last.timestamp >= bucket.end());
            if !settle(shard, deletions, &mut unread, settled) {
                return Ok(false);
            }
            unread.retain(|_, (_, in_head)| *in_head < bucket.end());
            if bucket.end() <= not_before || unread.is_empty() {
                return Ok(settle(shard, deletions, &mut unread, found.drain()));
            }
            for GenerationGroups { generation, groups } in &generations {
                let wanted: Vec<_> = groups
                    .iter()
                    .filter(|group| has_number_between(&unread, group.first, group.last))
                    .map(|group| group.key(shard.number, bucket, metric, *generation))
                    .collect();
                let fetched = fetch_groups(snapshot.as_ref(), &wanted, groups.len()).await?;
                if fetched.len() != wanted.len() {
                    return Ok(false);
                }
                for (key, value) in fetched {
                    for entry in group::read_directory(&key, &value)? {
                        if unread.contains_key(&entry.number) {
                            let Some((timestamp, value)) = last_of_block(&tombstones, &key, &value, &entry)? else {
                                continue;
                            };
                            let last = FoundLast { timestamp, generation: *generation, value };
                            found.entry(entry.number).and_modify(|before| before.replace_by(last)).or_insert(last);
                        }
                    }
                }
            }
        }
        if !settle(shard, deletions, &mut unread, found.drain()) {
            return Ok(false);
        }
        let mut state = shard.state.write();
        if state.deletions != deletions {
            return Ok(false);
        }
        unread.values().for_each(|&(local, _)| state.sealed_last.set_read(local, None));
        Ok(true)
    }
}

/// The newest point of a series in the directories looked at so far.
#[derive(Clone, Copy)]
struct FoundLast {
    timestamp: TimestampMs,
    generation: Generation,
    value: Value,
}

impl FoundLast {
    fn replace_by(&mut self, other: Self) {
        if (other.timestamp, other.generation) > (self.timestamp, self.generation) {
            *self = other;
        }
    }
}

/// Notes the newest points of series, which are not looked for any longer; `false` when points were deleted since there
/// had been so many deletions.
fn settle(
    shard: &Shard,
    deletions: u64,
    unread: &mut HashMap<u32, (u32, TimestampMs)>,
    found: impl Iterator<Item = (u32, FoundLast)>,
) -> bool {
    let mut state = shard.state.write();
    if state.deletions != deletions {
        return false;
    }
    for (number, last) in found {
        if let Some((local, _)) = unread.remove(&number) {
            state.sealed_last.set_read(local, Some((last.timestamp, last.value)));
        }
    }
    true
}

/// The newest point of a block that was not deleted: as the directory has it, or else from the block itself.
fn last_of_block(
    tombstones: &[Arc<Tombstone>],
    key: &GroupKey,
    group: &Bytes,
    entry: &BlockEntry,
) -> Result<Option<(TimestampMs, Value)>, StoreError> {
    let id = series_id(key.metric, entry.number);
    let hidden = hidden(tombstones, id, key.generation.epoch(), entry.min, entry.max);
    if !hidden.contains(entry.max) {
        return Ok(Some((entry.max, entry.last)));
    }
    if hidden.covers(entry.min, entry.max) {
        return Ok(None);
    }
    let (mut all, mut left) = (PointColumns::default(), PointColumns::default());
    let block = group.get(entry.bytes.clone()).unwrap_or_default();
    codec::decode_block(block, TimeRange::ALL, &mut all)
        .map_err(|error| stored_value::damaged(&key.encode(), error.to_string()))?;
    hidden.copy_outside(&all, &mut left);
    Ok(left.iter().last().map(|point| (point.timestamp, point.value)))
}

fn has_number_between(unread: &HashMap<u32, (u32, TimestampMs)>, first: u32, last: u32) -> bool {
    if u64::from(last - first) < unread.len() as u64 {
        return (first..=last).any(|number| unread.contains_key(&number));
    }
    unread.keys().any(|number| (first..=last).contains(number))
}
