//! What is older than its retention goes, whole buckets at a time.
//!
//! A bucket that ends before the horizon of its metric leaves memory first, so that no reader looks for it, and then the
//! disk: the pages of its directories from the last to the first, each with its groups in one commit. Whatever is left
//! after a death in between is a directory that makes sense, and goes the next time. Rollups go when no day of their span
//! is kept: without the points of a day its rows answer nothing, unless they stand alone (`rollup/alone.rs`).
//!
//! What is older goes first, the day before the buckets of two hours that came after it was compacted: or a value that was
//! written over would be seen again in between.

use std::{cmp::Reverse, sync::Arc};

use tidemark_kv::{Commit, Kv};
use tidemark_model::TimeRange;

use crate::{
    BlockCatalogue, Bucket, Shard, StoreError,
    change_log::DirectoryId,
    commits::commit_change,
    directory::{self, GenerationGroups},
    follower::read_fence,
    keys::RollupKey,
    rollup::publish_rollups,
};

/// What was taken from the disk because it was older than its retention.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExpiryReport {
    /// Buckets of metrics.
    pub buckets: u64,
    /// Points in their blocks.
    pub points: u64,
    /// Bytes of their groups.
    pub bytes: u64,
}

/// Takes a bucket of a metric away. `locals` are the numbers that series of the metric have in the shard.
///
/// # Errors
/// What the engine refused. The bucket may still be there, and the next time it goes.
pub(crate) async fn clear_bucket(
    kv: &Arc<dyn Kv>,
    shard: &Shard,
    metric: u32,
    bucket: Bucket,
    locals: &[u32],
) -> Result<ExpiryReport, StoreError> {
    let id = DirectoryId { metric, bucket };
    let mut generations = shard.state.read().catalogue.generations(metric, bucket).to_vec();
    shard.changed(|state| {
        // A seal may have added one meanwhile.
        generations = state.catalogue.generations(metric, bucket).to_vec();
        state.catalogue.set(id, Vec::new());
        state.sealed_last.forget(locals, bucket.range());
        state.deletions += 1;
    });
    let mut report = ExpiryReport { buckets: 1, ..ExpiryReport::default() };
    for generation in &generations {
        if let Err(error) = clear_generation(kv.as_ref(), shard, id, generation).await {
            load_again(kv.as_ref(), shard, id).await?;
            return Err(error);
        }
        let (_, points, bytes) = generation.totals();
        report.points += points;
        report.bytes += bytes;
    }
    Ok(report)
}

async fn clear_generation(
    kv: &dyn Kv,
    shard: &Shard,
    id: DirectoryId,
    generation: &GenerationGroups,
) -> Result<(), StoreError> {
    let DirectoryId { metric, bucket } = id;
    let pages: Vec<_> =
        directory::pages(shard.number, bucket, metric, generation.generation, &generation.groups).collect();
    let groups = generation.groups.chunks(directory::PAGE_GROUPS);
    for ((key, value), groups) in pages.into_iter().zip(groups).rev() {
        let mut commit = Commit::new();
        commit.expect(key.clone(), Some(value)).delete(key.clone());
        for group in groups {
            commit.delete(group.key(shard.number, bucket, metric, generation.generation).encode());
        }
        shard.note_changes(&mut commit, [id]);
        commit_change(kv, commit, &key, None).await?;
    }
    Ok(())
}

/// Takes the rollups of a span away, of which no day is kept any more. Who writes rows of it meanwhile expects their
/// directory as it was, and fails.
///
/// # Errors
/// What the engine refused. The rows may still be there, and the next time they go.
pub(crate) async fn clear_rollups(kv: &Arc<dyn Kv>, shard: &Shard, of: &RollupKey) -> Result<(), StoreError> {
    let key = of.encode();
    if let Some(value) = kv.snapshot().await?.get(&key).await? {
        let mut commit = Commit::new();
        commit.expect(key.clone(), Some(value)).delete(key.clone()).delete_range(of.range_of_groups());
        publish_rollups(kv.as_ref(), shard, of, commit, None).await?;
    }
    shard.changed(|state| state.catalogue.rollups.remove(of));
    Ok(())
}

/// After a failure: what is still on the disk is there for readers again.
async fn load_again(kv: &dyn Kv, shard: &Shard, id: DirectoryId) -> Result<(), StoreError> {
    let snapshot = kv.snapshot().await?;
    let fence = read_fence(snapshot.as_ref(), shard.number).await?;
    let generations = BlockCatalogue::load_one(snapshot.as_ref(), shard.number, &fence, id).await?;
    shard.changed(|state| {
        for GenerationGroups { generation, groups } in generations {
            let known = state.catalogue.generations(id.metric, id.bucket);
            if known.iter().all(|known| known.generation != generation) {
                state.catalogue.add(id.metric, id.bucket, generation, groups.to_vec());
            }
        }
    });
    Ok(())
}

/// The buckets of a metric that end at or before a timestamp, in the order in which they go. Buckets of two hours go with
/// their day when that was compacted.
pub(crate) fn expired(catalogue: &BlockCatalogue, metric: u32, horizon: i64) -> Vec<Bucket> {
    let before = TimeRange::new(i64::MIN, horizon);
    let goes = |bucket: &Bucket| {
        let day = bucket.day();
        bucket.end() <= horizon && (day.end() <= horizon || catalogue.generations(metric, day).is_empty())
    };
    let mut buckets: Vec<_> = catalogue.overlapping(metric, before).map(|(bucket, _)| bucket).filter(goes).collect();
    buckets.sort_by_key(|bucket| (Reverse(bucket.tier), bucket.number));
    buckets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Generation, Tier, directory::GroupInfo};

    #[test]
    fn a_day_goes_before_what_came_later_and_that_goes_with_it() {
        let mut catalogue = BlockCatalogue::default();
        let group = GroupInfo { first: 0, last: 0, part: 0, bytes: 10, points: 5 };
        let day = |number| Bucket { tier: Tier::Day, number };
        let two_hours = |number| Bucket { tier: Tier::TwoHours, number };
        for bucket in [day(1), two_hours(12), two_hours(13), two_hours(24)] {
            catalogue.add(7, bucket, Generation(1), vec![group]);
        }
        let late = two_hours(13).end();
        assert_eq!(expired(&catalogue, 7, late), []);
        assert_eq!(expired(&catalogue, 7, day(1).end()), [day(1), two_hours(12), two_hours(13)]);
        let two_more = [day(1), two_hours(12), two_hours(13), two_hours(24)];
        assert_eq!(expired(&catalogue, 7, two_hours(24).end()), two_more);
    }
}
