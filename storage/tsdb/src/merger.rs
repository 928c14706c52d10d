//! Many generations of one metric and bucket of two hours become one.

use std::sync::Arc;

use tidemark_kv::Kv;

use crate::{
    Bucket, Shard, StoreError, Tier,
    compaction::{CompactionRules, compact_day},
    directory::GenerationGroups,
    replacement::{BucketGenerations, Replacement},
    rollup::RowsWanted,
};

/// Generations of a metric in a bucket above which they are merged in any case.
const GENERATIONS_MAX: usize = 8;
/// A settled bucket is merged as soon as its newest generation has this share of the points of the others: an epoch
/// that ends in the middle of a bucket leaves two short blocks per series, which cost 3 % more bytes than one. Smaller
/// shares wait, or a backfill series by series would write the same buckets again and again.
const NEWEST_SHARE: u64 = 6;

/// Merges the generations of a metric in a bucket of two hours if it is worth it; says whether it did. A bucket is
/// settled when the metric has points in a later one. `version` is nobody else's.
///
/// # Errors
/// What the engine refused or which group is damaged. Nothing is lost, the generations just stay apart.
pub(crate) async fn merge_bucket(
    kv: &Arc<dyn Kv>,
    shard: &Shard,
    metric: u32,
    bucket: Bucket,
    settled: bool,
    rules: &CompactionRules,
    version: u64,
) -> Result<bool, StoreError> {
    let generations = shard.state.read().catalogue.generations(metric, bucket).to_vec();
    if !is_due(&generations, settled) {
        return Ok(false);
    }
    rewrite_bucket(kv, shard, metric, bucket, rules, version).await
}

/// Makes one generation of those that a metric has in a bucket, without what was deleted; of those of the whole day, with
/// new rows, when the bucket is a day. `false` when that would be too large, or there is nothing. `version` is nobody
/// else's.
///
/// # Errors
/// What the engine refused or which group is damaged. Nothing is lost, the generations just stay.
pub(crate) async fn rewrite_bucket(
    kv: &Arc<dyn Kv>,
    shard: &Shard,
    metric: u32,
    bucket: Bucket,
    rules: &CompactionRules,
    version: u64,
) -> Result<bool, StoreError> {
    if bucket.tier == Tier::Day {
        let wanted = RowsWanted::WhereFasterThanPoints;
        return Ok(compact_day(kv, shard, metric, bucket, rules, wanted, version).await?.is_some());
    }
    let (generations, tombstones) = {
        let state = shard.state.read();
        (state.catalogue.generations(metric, bucket).to_vec(), state.tombstones.of_metric(metric, bucket.range()))
    };
    let old = vec![BucketGenerations { bucket, generations }];
    let replacement = Replacement { kv, shard, metric, bucket, old, tombstones, version };
    if replacement.bytes() > rules.bytes_max {
        return Ok(false);
    }
    Ok(replacement.run(Vec::new(), Vec::new()).await?.is_some())
}

fn is_due(generations: &[GenerationGroups], settled: bool) -> bool {
    let Some((newest, others)) = generations.split_last() else { return false };
    let others_points: u64 = others.iter().map(|generation| generation.totals().1).sum();
    let is_large = newest.totals().1 >= others_points / NEWEST_SHARE;
    generations.len() > GENERATIONS_MAX || (settled && !others.is_empty() && is_large)
}
