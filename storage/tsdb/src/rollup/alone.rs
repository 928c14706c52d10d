//! Rows that outlive their points.
//!
//! Before the points of a day go, its rows are told to stand alone: from then on they answer for the day whatever else
//! there is of it, and nothing is computed from points any more. That is a commit of its own, ahead of those that take the
//! points away: whoever dies in between leaves rows and points of which either gives the same answers, and the next
//! expiry goes on. To change both in one commit was turned down: a day has a directory of rollups for each interval, and
//! together with its own pages they may be more than a commit holds.
//!
//! What is deleted of such a day is deleted by whole rows, since nobody can take a part of a sum away.

use std::sync::Arc;

use bytes::Bytes;
use tidemark_kv::{Commit, Kv, KvError};

use super::{RollupInterval, SpanRollups, update::StoredSpan};
use crate::{
    BlockCatalogue, Bucket, Shard, StoreError, Tier,
    change_log::DirectoryId,
    commits::{Commits, commit_change},
    keys::RollupKey,
    retention::Horizons,
    tombstones::Tombstone,
};

/// Whether a day has one generation, and rows of each interval were made of it.
pub(crate) fn has_all_rows(catalogue: &BlockCatalogue, metric: u32, day: Bucket, intervals: &[RollupInterval]) -> bool {
    let has_late = catalogue.buckets(metric, day.parts(Tier::TwoHours)).next().is_some();
    !has_late && intervals.iter().all(|&interval| has_rows(catalogue, metric, day, interval))
}

/// Whether rows of an interval were made of the only generation that was compacted.
fn has_rows(catalogue: &BlockCatalogue, metric: u32, day: Bucket, interval: RollupInterval) -> bool {
    let origin = catalogue.rollups.origin(interval, metric, day.number);
    match (catalogue.generations(metric, day), origin) {
        ([only], Some(origin)) => origin.has_rows && origin.generation == only.generation,
        _ => false,
    }
}

/// Lets the rows of a day, of each interval that has them, answer without its points from now on. `false` when another
/// process changed some meanwhile: what they are now is looked at the next time. To do so again is harmless.
///
/// # Errors
/// What the engine refused, a conflict when the rows changed meanwhile. The next time goes on.
pub(crate) async fn let_stand_alone(
    kv: &Arc<dyn Kv>,
    shard: &Shard,
    metric: u32,
    day: Bucket,
    intervals: &[RollupInterval],
) -> Result<bool, StoreError> {
    for &interval in intervals {
        let made_of = {
            let state = shard.state.read();
            let has_rows = has_rows(&state.catalogue, metric, day, interval);
            state.catalogue.rollups.origin(interval, metric, day.number).filter(|origin| has_rows && !origin.is_alone)
        };
        let Some(made_of) = made_of else { continue };
        let of =
            RollupKey { shard: shard.number, interval_ms: interval.key(), span: interval.span_of(day.number), metric };
        let let_stand = |rollups: &mut SpanRollups| match rollups.days.get_mut(&day.number) {
            Some(origin) if *origin == made_of => {
                origin.is_alone = true;
                true
            }
            _ => false,
        };
        if !change(kv, shard, &of, let_stand).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Forgets the days of a span whose rows stand alone and are no longer kept. The rows themselves go with the span.
///
/// # Errors
/// What the engine refused, a conflict when the rows changed meanwhile. The next time goes on.
pub(crate) async fn forget_expired_days(
    kv: &Arc<dyn Kv>,
    shard: &Shard,
    of: &RollupKey,
    horizons: Horizons,
) -> Result<(), StoreError> {
    let is_kept = |&number: &u32| Bucket { tier: Tier::Day, number }.end() > horizons.rollups;
    let forget = |rollups: &mut SpanRollups| {
        rollups.days.retain(|day, origin| !origin.is_alone || is_kept(day));
        true
    };
    change(kv, shard, of, forget).await.map(drop)
}

/// Changes the directory of a span, and not its groups; `false` when it is gone or `change` says so.
async fn change(
    kv: &Arc<dyn Kv>,
    shard: &Shard,
    of: &RollupKey,
    change: impl FnOnce(&mut SpanRollups) -> bool,
) -> Result<bool, StoreError> {
    let key = of.encode();
    let Some(before) = kv.snapshot().await?.get(&key).await? else { return Ok(false) };
    let mut rollups = SpanRollups::decode(of, &before)?;
    if !change(&mut rollups) {
        return Ok(false);
    }
    let after = rollups.encode();
    if after != before {
        let mut commit = Commit::new();
        commit.expect(key.clone(), Some(before)).put(key.clone(), after.clone());
        publish_rollups(kv.as_ref(), shard, of, commit, Some(after)).await?;
        shard.changed(|state| state.catalogue.rollups.set(of, Arc::new(rollups)));
    }
    Ok(true)
}

/// Commits a change of the directory of a span, which is `after` then. Other processes are told.
///
/// # Errors
/// What the engine refused, a conflict when the directory changed meanwhile.
pub(crate) async fn publish_rollups(
    kv: &dyn Kv,
    shard: &Shard,
    of: &RollupKey,
    mut commit: Commit,
    after: Option<Bytes>,
) -> Result<(), KvError> {
    // The rollups of a metric are read again when one of its days changed.
    let day = Bucket { tier: Tier::Day, number: 0 };
    shard.note_changes(&mut commit, [DirectoryId { metric: of.metric, bucket: day }]);
    commit_change(kv, commit, &of.encode(), after.as_ref()).await
}

/// Takes the rows that stand alone and that deletions are about from the disk. `false` when the span is too large for it.
/// `version` is nobody else's.
///
/// # Errors
/// What the engine refused or which group is damaged. Nothing is lost, and the rows stay hidden.
pub(crate) async fn purge_span(
    kv: &Arc<dyn Kv>,
    shard: &Shard,
    of: RollupKey,
    tombstones: Vec<Arc<Tombstone>>,
    bytes_max: u64,
    version: u64,
) -> Result<bool, StoreError> {
    let Some(stored) = StoredSpan::read(kv.snapshot().await?.as_ref(), of, bytes_max).await? else { return Ok(false) };
    let pruned = tokio::task::spawn_blocking(move || stored.without(&tombstones, version)).await;
    let pruned = pruned.map_err(|error| KvError::Unavailable(format!("the rows were not purged: {error}")))??;
    let Some(update) = pruned else { return Ok(true) };
    Commits::new(kv.as_ref()).put_all(update.groups.iter().cloned()).await?;
    let mut commit = Commit::new();
    update.add_to(&mut commit);
    publish_rollups(kv.as_ref(), shard, &of, commit, update.after_commit()).await?;
    shard.changed(|state| state.catalogue.rollups.set(&of, Arc::clone(&update.rollups)));
    Ok(true)
}
