//! Deleted points go from the disk, and then their tombstones.
//!
//! When the epoch of a deletion is sealed, no block of an epoch before it will come any more. Each bucket that still has
//! points of it is rewritten as a merge does it, without them, one after the other, or group by group when it is too large
//! for that (`group_purge.rs`); when all are done the tombstone goes.
//! A purge that dies in between is done again and finds in the directories of the groups which buckets are left.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tidemark_kv::{Commit, CommitOutcome, Kv};
use tokio_util::sync::CancellationToken;

use crate::{
    Bucket, Shard, StoreError,
    compaction::CompactionRules,
    directory::{GenerationGroups, GroupInfo},
    group::{self, BlockEntry},
    group_purge::GroupPurge,
    keys::{RollupKey, TombstoneKey},
    merger::rewrite_bucket,
    reader::fetch_groups,
    rollup::purge_span,
    shard::ShardState,
    tombstones::Tombstone,
};

/// Tombstones that one commit takes away.
const COMMIT_TOMBSTONES: usize = 1_000;

/// What a purge did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PurgeReport {
    /// Buckets of metrics that were rewritten.
    pub buckets: u64,
    /// Deletions whose points are gone from the disk.
    pub deletions: u64,
}

/// Deletions of one metric that may have left points in one bucket.
type Affected = BTreeMap<(u32, Bucket), Vec<Arc<Tombstone>>>;

/// Rewrites what deletions left in the blocks of a shard. What cannot be rewritten now keeps its tombstones. `version`
/// gives numbers that no other replacement has.
///
/// # Errors
/// What the engine refused or which group is damaged. Nothing is lost, and the points stay hidden.
pub(crate) async fn purge_shard(
    kv: &Arc<dyn Kv>,
    shard: &Shard,
    rules: &CompactionRules,
    version: &(dyn Fn() -> u64 + Sync),
    ended: &CancellationToken,
) -> Result<PurgeReport, StoreError> {
    let (due, affected, spans) = {
        let state = shard.state.read();
        let sealed = state.fence.sealed;
        let due: Vec<_> = state.tombstones.iter().filter(|tombstone| tombstone.epoch <= sealed).cloned().collect();
        let (affected, spans) = (affected(&state, &due), affected_spans(&state, shard.number, &due));
        (due, affected, spans)
    };
    let (mut report, mut left) = (PurgeReport::default(), BTreeSet::new());
    for (of, tombstones) in spans {
        if ended.is_cancelled() {
            return Ok(report);
        }
        let identities: Vec<_> = tombstones.iter().map(|tombstone| key_of(shard, tombstone).encode()).collect();
        if !purge_span(kv, shard, of, tombstones, rules.bytes_max, version()).await? {
            left.extend(identities);
        }
    }
    for ((metric, bucket), tombstones) in affected {
        if ended.is_cancelled() {
            return Ok(report);
        }
        if !has_deleted_points(kv.as_ref(), shard, metric, bucket, &tombstones).await? {
            continue;
        }
        if rewrite_bucket(kv, shard, metric, bucket, rules, version()).await?
            || GroupPurge::new(kv, shard, metric, bucket).run(rules.bytes_max, version).await?
        {
            report.buckets += 1;
        } else {
            left.extend(tombstones.iter().map(|tombstone| key_of(shard, tombstone).encode()));
        }
    }
    let gone: Vec<_> = due.into_iter().filter(|one| !left.contains(&key_of(shard, one).encode())).collect();
    forget(kv.as_ref(), shard, &gone).await?;
    report.deletions = gone.len() as u64;
    Ok(report)
}

fn key_of(shard: &Shard, tombstone: &Tombstone) -> TombstoneKey {
    TombstoneKey { shard: shard.number, epoch: tombstone.epoch, identity: tombstone.identity }
}

/// The buckets whose directories do not rule out that they have points of these deletions.
fn affected(state: &ShardState, tombstones: &[Arc<Tombstone>]) -> Affected {
    let mut affected = Affected::new();
    for tombstone in tombstones {
        let metric = tombstone.deletion.metric;
        for (bucket, generations) in state.catalogue.overlapping(metric, tombstone.deletion.range) {
            if generations
                .iter()
                .any(|generation| generation.groups.iter().any(|group| may_have(tombstone, generation, group)))
            {
                affected.entry((metric, bucket)).or_default().push(Arc::clone(tombstone));
            }
        }
    }
    affected
}

/// The rollups that have rows alone of the time of these deletions.
fn affected_spans(
    state: &ShardState,
    shard: u16,
    tombstones: &[Arc<Tombstone>],
) -> BTreeMap<RollupKey, Vec<Arc<Tombstone>>> {
    let mut affected = BTreeMap::<RollupKey, Vec<Arc<Tombstone>>>::new();
    for tombstone in tombstones {
        let deletion = &tombstone.deletion;
        for of in state.catalogue.rollups.spans_alone(shard, deletion.metric, deletion.range) {
            affected.entry(of).or_default().push(Arc::clone(tombstone));
        }
    }
    affected
}

fn may_have(tombstone: &Tombstone, generation: &GenerationGroups, group: &GroupInfo) -> bool {
    generation.generation.epoch() < tombstone.epoch
        && tombstone.deletion.series.range_cardinality(group.first..=group.last) > 0
}

/// Looks into the directories of the groups, which say what time each series has points of.
async fn has_deleted_points(
    kv: &dyn Kv,
    shard: &Shard,
    metric: u32,
    bucket: Bucket,
    tombstones: &[Arc<Tombstone>],
) -> Result<bool, StoreError> {
    let generations = shard.state.read().catalogue.generations(metric, bucket).to_vec();
    let snapshot = kv.snapshot().await?;
    for generation in &generations {
        let hiding: Vec<_> = tombstones.iter().filter(|one| generation.generation.epoch() < one.epoch).collect();
        for group in generation.groups.iter() {
            if !hiding.iter().any(|tombstone| may_have(tombstone, generation, group)) {
                continue;
            }
            let key = group.key(shard.number, bucket, metric, generation.generation);
            // A group that a merge took away meanwhile: the bucket is looked at again by whoever rewrites it.
            for (key, value) in fetch_groups(snapshot.as_ref(), &[key], 1).await? {
                let entries = group::read_directory(&key, &value)?;
                if entries.iter().any(|entry| hiding.iter().any(|tombstone| touches(tombstone, entry))) {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}

fn touches(tombstone: &Tombstone, entry: &BlockEntry) -> bool {
    let deletion = &tombstone.deletion;
    deletion.range.start <= entry.max && entry.min < deletion.range.end && deletion.series.contains(entry.number)
}

/// Takes tombstones away whose points are gone. To do so again is harmless.
async fn forget(kv: &dyn Kv, shard: &Shard, gone: &[Arc<Tombstone>]) -> Result<(), StoreError> {
    for some in gone.chunks(COMMIT_TOMBSTONES) {
        let mut commit = Commit::new();
        for tombstone in some {
            commit.delete(key_of(shard, tombstone).encode());
        }
        match kv.commit(commit).await {
            CommitOutcome::Done(_) => shard.state.write().tombstones.remove(some),
            CommitOutcome::Refused(error) | CommitOutcome::Unknown(error) => return Err(error.into()),
        }
    }
    Ok(())
}
