//! From a closed epoch to visible blocks, in steps that may each crash and be done again.
//!
//! 1. Begin: the fence moves to the next epoch and names the sealer. No flush reaches the old epoch any more.
//! 2. Build: the head becomes groups of blocks; when the log has entries that the head lacks, the log is replayed first.
//! 3. Write: commits below the limit, each expecting the fence with the sealer's token. The blocks' generation is the
//!    epoch, which is above what the fence calls sealed, so nobody sees them yet. Done again, they are the same entries.
//! 4. Publish: one commit moves the fence and clears the log; readers change from head to blocks under one lock.
//!
//! Then buckets that late points left with many generations get one (`merger.rs`). A backfill touches so many that this
//! takes longer than memory takes to fill again, so the next seal does not wait for it.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::{Mutex, RwLock};
use tidemark_kv::{Kv, KvError};
use tidemark_model::Clock;
use tokio::sync::oneshot;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Bucket, Fence, Head, Index, Shard, StoreError,
    commits::Commits,
    fence::SealToken,
    figures::Counters,
    keys,
    merger::merge_bucket,
    new_generation::NewGeneration,
    replay::{count_segments, replay},
    shard::{FenceChange, ShardMessage},
};

/// Why a seal is done; it decides nothing and is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealReason {
    /// The schedule says so.
    Scheduled,
    /// The open epoch has as many points as memory is meant for.
    HeadFull,
    /// A seal was under way when the store was opened.
    Resumed,
    /// Somebody asked for it.
    Requested,
}

/// What a seal did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SealReport {
    /// Shards whose epoch was sealed; the others had nothing to seal.
    pub shards: u64,
    /// Points in the new blocks.
    pub points: u64,
    /// Groups of blocks that were written.
    pub groups: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Seals, one shard after the other, one seal at a time.
pub(crate) struct Sealer {
    pub(crate) kv: Arc<dyn Kv>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) index: Arc<RwLock<Index>>,
    pub(crate) shards: Arc<[Arc<Shard>]>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) tracker: TaskTracker,
    pub(crate) closing: CancellationToken,
    pub(crate) dropped: CancellationToken,
    pub(crate) seal_points: u64,
    pub(crate) writer: u64,
    pub(crate) attempts: AtomicU64,
    pub(crate) turn: tokio::sync::Mutex<()>,
    /// Shard, metric and bucket of what was sealed and perhaps has to be merged.
    pub(crate) unmerged: Mutex<BTreeSet<(u16, u32, Bucket)>>,
    pub(crate) merge_turn: tokio::sync::Mutex<()>,
}

impl Sealer {
    /// Seals the open epoch of every shard that has points, finishing a seal under way first. [`Sealer::merge`] has to
    /// follow.
    pub(crate) async fn seal(&self, reason: SealReason) -> Result<SealReport, StoreError> {
        let _turn = self.turn.lock().await;
        let mut report = SealReport::default();
        for shard in self.shards.iter() {
            let began = shard.state.read().fence.sealing.is_some();
            self.seal_shard(shard, reason, &mut report).await?;
            if began {
                self.seal_shard(shard, reason, &mut report).await?;
            }
        }
        Ok(report)
    }

    /// Whether a shard holds as many points as memory is meant for, or a seal is unfinished.
    pub(crate) fn is_wanted(&self) -> bool {
        self.shards.iter().any(|shard| {
            let state = shard.state.read();
            state.open.points() >= self.seal_points || state.sealing.is_some()
        })
    }

    async fn seal_shard(&self, shard: &Shard, reason: SealReason, report: &mut SealReport) -> Result<(), StoreError> {
        let started = self.clock.monotonic();
        match self.try_seal_shard(shard).await {
            Ok(None) => Ok(()),
            Ok(Some(sealed)) => {
                let took = self.clock.monotonic().saturating_sub(started);
                self.counters.note_seal(took);
                self.counters.sealed_points.add(sealed.points);
                self.counters.sealed_bytes.add(sealed.bytes);
                let SealReport { points, groups, bytes, .. } = sealed;
                tracing::info!(shard = shard.number, ?reason, points, groups, bytes, ?took, "sealed an epoch");
                report.shards += 1;
                report.points += points;
                report.groups += groups;
                report.bytes += bytes;
                Ok(())
            }
            Err(error) => {
                self.counters.seals_failed.add(1);
                Err(error)
            }
        }
    }

    async fn try_seal_shard(&self, shard: &Shard) -> Result<Option<SealReport>, StoreError> {
        let token = SealToken { writer: self.writer, attempt: self.attempts.fetch_add(1, Ordering::Relaxed) };
        let fence = self.change_fence(shard, FenceChange::Begin(token)).await?;
        let Some(sealing) = fence.sealing else { return Ok(None) };
        let head = self.complete_head(shard, sealing.epoch).await?;
        let (number, epoch) = (shard.number, sealing.epoch);
        let built = self.tracker.spawn_blocking(move || NewGeneration::of_head(number, epoch, &head)).await;
        let unbuilt = |reason: String| KvError::Unavailable(format!("the blocks could not be built: {reason}"));
        let sealed = built.map_err(|error| unbuilt(error.to_string()))?.map_err(|error| unbuilt(error.to_string()))?;
        if self.closing.is_cancelled() {
            return Err(StoreError::Closed);
        }
        let commits = Commits::new(self.kv.as_ref()).expecting(keys::fence(number), fence.encode());
        commits.put_all(sealed.groups.into_iter().chain(sealed.directory)).await.map_err(|error| match error {
            KvError::Conflict { .. } => StoreError::SealTakenOver { shard: number, epoch },
            other => other.into(),
        })?;
        let catalogue = &sealed.catalogue;
        let report =
            SealReport { shards: 1, points: catalogue.points, groups: catalogue.groups, bytes: catalogue.bytes };
        let touched: Vec<_> =
            catalogue.metrics_and_buckets().map(|(metric, bucket)| (number, metric, bucket)).collect();
        self.change_fence(shard, FenceChange::Publish(token, Box::new(sealed.catalogue))).await?;
        self.unmerged.lock().extend(touched);
        Ok(Some(report))
    }

    /// Merges the generations of the buckets that were sealed since the last time. What fails is left for the seal that
    /// touches the bucket next.
    pub(crate) async fn merge(&self) {
        let _turn = self.merge_turn.lock().await;
        let touched = std::mem::take(&mut *self.unmerged.lock());
        let mut newest = hashbrown::HashMap::<u32, Bucket>::new();
        for &(_, metric, bucket) in &touched {
            newest.entry(metric).and_modify(|newest| *newest = bucket.max(*newest)).or_insert(bucket);
        }
        for (number, metric, bucket) in touched {
            let Some(shard) = self.shards.get(usize::from(number)) else { continue };
            let settled = newest.get(&metric).is_some_and(|&newest| bucket < newest);
            if self.closing.is_cancelled() || self.dropped.is_cancelled() {
                return;
            }
            match merge_bucket(&self.kv, shard, metric, bucket, settled).await {
                Ok(true) => self.counters.merges.add(1),
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(metric, bucket_start = bucket.start(), %error, "generations were not merged")
                }
            }
        }
    }

    async fn change_fence(&self, shard: &Shard, change: FenceChange) -> Result<Fence, StoreError> {
        let (reply, answer) = oneshot::channel();
        let message = ShardMessage::ChangeFence(change, reply);
        shard.queue.send(message).await.map_err(|_ended| StoreError::Closed)?;
        answer.await.map_err(|_ended| StoreError::Closed)?
    }

    /// The head of a closed epoch, from the log if another process wrote to it as well.
    async fn complete_head(&self, shard: &Shard, epoch: u64) -> Result<Arc<Head>, StoreError> {
        let head = shard.state.read().sealing.clone();
        let snapshot = self.kv.snapshot().await?;
        let entries = count_segments(snapshot.as_ref(), shard.number, epoch).await?;
        if let Some(head) = head.filter(|head| head.segments == entries) {
            return Ok(head);
        }
        let head = match replay(snapshot.as_ref(), shard.number, epoch, &self.index).await {
            Err(StoreError::Corrupt { .. }) => {
                // Series that the other process created meanwhile.
                crate::index_rows::load(snapshot.as_ref(), |change| change(&mut self.index.write())).await?;
                replay(snapshot.as_ref(), shard.number, epoch, &self.index).await?
            }
            other => other?,
        };
        let head = Arc::new(head);
        let mut state = shard.state.write();
        if state.fence.sealing.is_some_and(|sealing| sealing.epoch == epoch) {
            state.sealing = Some(Arc::clone(&head));
        }
        Ok(head)
    }
}
