//! A day of a metric becomes one generation of one bucket, and gets its rollups.
//!
//! A day is compacted some time after its end, once seals leave it alone. What comes later is a generation of a bucket
//! of two hours again, above the day's, and the day is compacted anew when that is quiet or as large as the day itself,
//! so that a backfill does not write the same days again and again: a point is written at most twice more. A day that is
//! larger than a compaction may hold stays in buckets of two hours.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use tidemark_kv::{Kv, KvSnapshot};
use tidemark_model::{TimeRange, TimestampMs};

use crate::{
    BlockCatalogue, Bucket, Scan, Shard, StoreError, Tier,
    keys::{self, RollupKey},
    replacement::{BucketGenerations, Replaced, Replacement},
    rollup::{DayRows, RollupInterval, RowsWanted, StoredSpan},
};

/// How long after its end a day is left alone, in milliseconds: agents send late, and its last points wait for a seal.
const SETTLES_MS: i64 = 2 * 3_600_000;

/// What compactions go by.
#[derive(Clone, Debug)]
pub(crate) struct CompactionRules {
    /// Rows that a day gets.
    pub(crate) intervals: Vec<RollupInterval>,
    /// Bytes of groups that one may hold.
    pub(crate) bytes_max: u64,
}

/// What a day has to be so that it is compacted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) now: TimestampMs,
    /// No seal after this epoch counts: what is newer than it is not quiet.
    pub(crate) quiet_until: u64,
    /// Days whose rows are missing are wanted too, all of which have to be looked at.
    pub(crate) without_rows: bool,
}

/// What a metric has of a day.
#[derive(Clone, Copy, Debug, Default)]
struct DayState {
    generations: usize,
    day_points: u64,
    loose_points: u64,
    loose_epoch: u64,
    is_loose: bool,
}

/// The days of a metric that are to be compacted, oldest first.
pub(crate) fn wanted_days(
    catalogue: &BlockCatalogue,
    metric: u32,
    rules: &CompactionRules,
    wanted: Wanted,
) -> Vec<Bucket> {
    let mut days = BTreeMap::<Bucket, DayState>::new();
    for (bucket, generations) in catalogue.buckets_of_tier(metric, Tier::TwoHours) {
        let state = days.entry(bucket.day()).or_default();
        for generation in generations {
            state.is_loose = true;
            state.loose_points += generation.totals().1;
            state.loose_epoch = state.loose_epoch.max(generation.generation.epoch());
        }
    }
    if wanted.without_rows {
        for (day, _) in catalogue.buckets_of_tier(metric, Tier::Day) {
            days.entry(day).or_default();
        }
    }
    for (day, state) in &mut days {
        for generation in catalogue.generations(metric, *day) {
            state.generations += 1;
            state.day_points += generation.totals().1;
        }
    }
    let is_wanted = |day: &Bucket, state: &DayState| {
        let is_quiet = state.loose_epoch <= wanted.quiet_until || state.loose_points >= state.day_points;
        let lacks_rows = || rules.intervals.iter().any(|&interval| lacks_rows(catalogue, metric, *day, interval));
        (state.is_loose && is_quiet) || state.generations > 1 || (!state.is_loose && lacks_rows())
    };
    let alone = catalogue.rollups.days_alone(metric);
    let is_due = |day: &Bucket, state: &DayState| {
        !alone.contains(&day.number) && is_over(*day, wanted.now) && is_wanted(day, state)
    };
    days.into_iter().filter(|(day, state)| is_due(day, state)).map(|(day, _)| day).collect()
}

/// The days of a metric that overlap a range, ended two hours ago or earlier and have points on the disk, oldest first.
pub(crate) fn days_in(
    catalogue: &BlockCatalogue,
    metric: u32,
    range: TimeRange,
    now: TimestampMs,
) -> impl Iterator<Item = Bucket> {
    let days: BTreeSet<Bucket> = catalogue.overlapping(metric, range).map(|(bucket, _)| bucket.day()).collect();
    let alone = catalogue.rollups.days_alone(metric);
    days.into_iter().filter(move |day| is_over(*day, now) && !alone.contains(&day.number))
}

fn is_over(day: Bucket, now: TimestampMs) -> bool {
    day.end().saturating_add(SETTLES_MS) <= now
}

/// Whether the rows of a day that has one generation were not made of it.
fn lacks_rows(catalogue: &BlockCatalogue, metric: u32, day: Bucket, interval: RollupInterval) -> bool {
    match catalogue.generations(metric, day) {
        [only] => {
            catalogue.rollups.origin(interval, metric, day.number).map(|origin| origin.generation)
                != Some(only.generation)
        }
        _ => false,
    }
}

/// Compacts a day of a metric, with its rows; `None` when it has nothing, is too large, or has rows that stand alone.
/// `version` is nobody else's.
///
/// # Errors
/// What the engine refused or which group is damaged. Nothing is lost, the day just stays as it is.
pub(crate) async fn compact_day(
    kv: &Arc<dyn Kv>,
    shard: &Shard,
    metric: u32,
    day: Bucket,
    rules: &CompactionRules,
    wanted: RowsWanted,
    version: u64,
) -> Result<Option<Replaced>, StoreError> {
    let (old, tombstones) = {
        let state = shard.state.read();
        if state.catalogue.rollups.days_alone(metric).contains(&day.number) {
            return Ok(None);
        }
        let parts = state.catalogue.buckets(metric, day.parts(Tier::TwoHours));
        let whole = state.catalogue.buckets(metric, day..=day);
        let old = parts.chain(whole).filter(|(_, generations)| !generations.is_empty());
        let old = old.map(|(bucket, generations)| BucketGenerations { bucket, generations: generations.to_vec() });
        (old.collect::<Vec<_>>(), state.tombstones.of_metric(metric, day.range()))
    };
    let replacement = Replacement { kv, shard, metric, bucket: day, old, tombstones, version };
    if replacement.bytes() > rules.bytes_max {
        return Ok(None);
    }
    let mut rows = Vec::with_capacity(rules.intervals.len());
    for &interval in &rules.intervals {
        let span = interval.span_of(day.number);
        let of = RollupKey { shard: shard.number, interval_ms: interval.key(), span, metric };
        let stored = StoredSpan::read(kv.snapshot().await?.as_ref(), of, rules.bytes_max).await?;
        rows.extend(stored.map(|stored| DayRows::new(stored, day, wanted, rules.bytes_max)));
    }
    let orphans = orphans(kv.snapshot().await?.as_ref(), &replacement).await?;
    replacement.run(rows, orphans).await
}

/// Groups of the day that nobody finds. Nobody but compactions writes any, and whoever is writing some now expects the
/// directory to be as it is and fails.
async fn orphans(snapshot: &dyn KvSnapshot, replacement: &Replacement<'_>) -> Result<Vec<Bytes>, StoreError> {
    let known: std::collections::HashSet<Bytes> = replacement.old_keys().map(|key| key.encode()).collect();
    let range = keys::groups_of_bucket(replacement.shard.number, replacement.bucket, replacement.metric);
    let (mut scan, mut orphans) = (Scan::new(range), Vec::new());
    while let Some(entries) = scan.next(snapshot).await? {
        orphans.extend(entries.into_iter().map(|(key, _)| key).filter(|key| !known.contains(key)));
    }
    Ok(orphans)
}
