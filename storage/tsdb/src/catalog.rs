//! Names, series and newest points.

use std::cmp::Reverse;

use hashbrown::HashMap;
use tidemark_model::{
    BoxFuture, CatalogError, LastPoint, NameKind, Point, ReadError, SeriesCatalog, SeriesPage, SeriesSelector,
    TimeRange, TimestampMs, Value,
};

use crate::{
    Bucket, Generation, Shard, Store, StoreError,
    directory::GenerationGroups,
    group,
    index::{metric_of, number_of},
    reader::{ATTEMPTS_MAX, RETRY_AFTER, Selected, fetch_groups},
    selection::{OrderedSeries, in_order, select},
    shard::{LastSealed, newest},
};

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
            Ok(self.inner.index.read().names(kind).with_prefix(prefix, max))
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
            let slots = select(&self.inner.index, selector).await?;
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
}

impl Store {
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
            state.heads().fold(sealed, |last, head| newest(last, head.stream(series.local).and_then(|s| s.last())))
        });
        let found = infos.into_iter().zip(points).filter_map(|(series, point)| {
            let (timestamp, value) = point.filter(|(timestamp, _)| *timestamp >= not_before)?;
            Some(LastPoint { series, point: Point { timestamp, value } })
        });
        Ok(found.collect())
    }

    /// As [`Store::read_directories`], again when a merge took groups away.
    async fn read_directories_in_peace(
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
    /// blocks, newest bucket first, until each series is found or `not_before` is passed. `false` when a group is gone.
    async fn read_directories(
        &self,
        shard: &Shard,
        series: &[Selected],
        not_before: TimestampMs,
    ) -> Result<bool, ReadError> {
        let Some(metric) = series.first().map(|first| metric_of(first.id)) else { return Ok(true) };
        let (mut unread, buckets) = {
            let state = shard.state.read();
            let unread =
                series.iter().filter(|series| matches!(state.sealed_last.get(series.local), LastSealed::Unread(_)));
            // By number: the series' number in the shard and, as a lower bound, the newest point in a head.
            let unread: HashMap<u32, (u32, TimestampMs)> = unread
                .map(|series| {
                    let heads = state.heads().filter_map(|head| head.stream(series.local)?.last());
                    let in_head = heads.map(|(timestamp, _)| timestamp).max().unwrap_or(TimestampMs::MIN);
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
            (unread, buckets)
        };
        let snapshot = self.inner.kv.snapshot().await.map_err(StoreError::from)?;
        let mut found = HashMap::<u32, FoundLast>::new();
        for (bucket, generations) in buckets {
            // What is left is older: neither a point in a head nor one that was found here can be replaced by it.
            let settled = found.extract_if(|_, last| last.timestamp >= bucket.end());
            settle(shard, &mut unread, settled);
            unread.retain(|_, (_, in_head)| *in_head < bucket.end());
            if bucket.end() <= not_before || unread.is_empty() {
                settle(shard, &mut unread, found.drain());
                return Ok(true);
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
                            let last = FoundLast { timestamp: entry.max, generation: *generation, value: entry.last };
                            found.entry(entry.number).and_modify(|before| before.replace_by(last)).or_insert(last);
                        }
                    }
                }
            }
        }
        settle(shard, &mut unread, found.drain());
        let mut state = shard.state.write();
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

/// Notes the newest points of series, which are not looked for any longer.
fn settle(shard: &Shard, unread: &mut HashMap<u32, (u32, TimestampMs)>, found: impl Iterator<Item = (u32, FoundLast)>) {
    let mut state = shard.state.write();
    for (number, last) in found {
        if let Some((local, _)) = unread.remove(&number) {
            state.sealed_last.set_read(local, Some((last.timestamp, last.value)));
        }
    }
}

fn has_number_between(unread: &HashMap<u32, (u32, TimestampMs)>, first: u32, last: u32) -> bool {
    if u64::from(last - first) < unread.len() as u64 {
        return (first..=last).any(|number| unread.contains_key(&number));
    }
    unread.keys().any(|number| (first..=last).contains(number))
}
