//! Names, series and newest points.

use hashbrown::HashMap;
use tidemark_model::{
    BoxFuture, CatalogError, LastPoint, NameKind, Point, ReadError, SeriesCatalog, SeriesPage, SeriesSelector,
    TimestampMs, Value,
};

use crate::{
    Shard, Store, StoreError,
    directory::GenerationGroups,
    group,
    index::{metric_of, number_of},
    keys,
    reader::{ATTEMPTS_MAX, RETRY_AFTER, Selected, fetch_groups},
    selection::{OrderedSeries, in_order},
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
        Box::pin(async move { Ok(self.inner.index.read().names(kind).with_prefix(prefix, max)) })
    }

    fn lookup<'a>(
        &'a self,
        selector: &'a SeriesSelector,
        offset: usize,
        limit: usize,
    ) -> BoxFuture<'a, Result<SeriesPage, CatalogError>> {
        Box::pin(async move {
            let slots = self.inner.index.read().select(selector)?;
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
            let buckets: Vec<(u32, Vec<GenerationGroups>)> = state
                .catalogue
                .buckets(metric, 0..=u32::MAX)
                .map(|(bucket, groups)| (bucket, groups.to_vec()))
                .collect();
            (unread, buckets)
        };
        let snapshot = self.inner.kv.snapshot().await.map_err(StoreError::from)?;
        for (bucket, generations) in buckets.into_iter().rev() {
            let end = keys::bucket_start(bucket).saturating_add(keys::BUCKET_MS);
            unread.retain(|_, (_, in_head)| *in_head < end);
            if end <= not_before || unread.is_empty() {
                return Ok(true);
            }
            let mut found = HashMap::<u32, (TimestampMs, Value)>::new();
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
                            let before = found.get(&entry.number).copied();
                            found
                                .extend(newest(before, Some((entry.max, entry.last))).map(|last| (entry.number, last)));
                        }
                    }
                }
            }
            let mut state = shard.state.write();
            for (number, last) in found {
                if let Some((local, _)) = unread.remove(&number) {
                    state.sealed_last.set_read(local, Some(last));
                }
            }
        }
        let mut state = shard.state.write();
        unread.values().for_each(|&(local, _)| state.sealed_last.set_read(local, None));
        Ok(true)
    }
}

fn has_number_between(unread: &HashMap<u32, (u32, TimestampMs)>, first: u32, last: u32) -> bool {
    if u64::from(last - first) < unread.len() as u64 {
        return (first..=last).any(|number| unread.contains_key(&number));
    }
    unread.keys().any(|number| (first..=last).contains(number))
}
