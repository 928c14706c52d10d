//! Moves of the fence, between two flushes.

use std::sync::atomic::Ordering;

use tidemark_kv::{Commit, CommitOutcome, KeyRange, KvError, RangeLimit};

use super::{ATTEMPTS_MAX, Flusher};
use crate::{
    BlockCatalogue, Fence, StoreError, Tombstones,
    follower::read_fence,
    keys,
    shard::{FenceChange, TakeOver},
};

impl Flusher {
    /// Moves the fence for a sealer.
    pub(super) async fn change_fence(&mut self, change: &FenceChange) -> Result<Fence, StoreError> {
        self.resolve().await?;
        if self.shard.sharing.is_shared() {
            // Whether there is anything to do is decided by what is, not by what this process knew.
            self.reload_fence().await?;
        }
        for _ in 0..ATTEMPTS_MAX {
            let fence = self.known_fence();
            let is_empty = fence.sealing.is_none() && self.open_is_empty(&fence).await?;
            let Some((wanted, commit)) = self.plan_change(change, &fence, is_empty)? else { return Ok(fence) };
            match self.kv.commit(commit).await {
                CommitOutcome::Done(_) => return Ok(self.adopt(wanted, change)),
                CommitOutcome::Refused(KvError::Conflict { .. }) => self.reload_fence().await?,
                CommitOutcome::Refused(error) => return Err(error.into()),
                CommitOutcome::Unknown(_) => {
                    let snapshot = self.kv.snapshot().await?;
                    if read_fence(snapshot.as_ref(), self.shard.number).await? == wanted {
                        return Ok(self.adopt(wanted, change));
                    }
                    self.reload_fence().await?;
                }
            }
        }
        Err(KvError::Unavailable("the fence of the shard moved all the time".to_owned()).into())
    }

    /// The fence and the commit that a change means now; `None` when there is nothing to do.
    fn plan_change(
        &self,
        change: &FenceChange,
        fence: &Fence,
        is_empty: bool,
    ) -> Result<Option<(Fence, Commit)>, StoreError> {
        let key = keys::fence(self.shard.number);
        let mut commit = Commit::new();
        commit.expect(key.clone(), Some(fence.encode()));
        let wanted = match change {
            FenceChange::Begin(token, take_over) => {
                if is_empty {
                    return Ok(None);
                }
                if let (Some(sealing), TakeOver::Of(dead)) = (fence.sealing, take_over)
                    && *dead != Some(sealing.owner)
                {
                    return Err(StoreError::SealUnderWay { shard: self.shard.number, epoch: sealing.epoch });
                }
                fence.begin(self.shard.number, *token)?
            }
            FenceChange::Publish(token, catalogue) => {
                let Some(sealing) = fence.sealing.filter(|sealing| sealing.owner == *token) else {
                    return Err(StoreError::SealTakenOver { shard: self.shard.number, epoch: fence.sealed });
                };
                commit.delete_range(KeyRange::prefix(&keys::log_prefix(self.shard.number, sealing.epoch)));
                self.shard.note_changes(&mut commit, catalogue.ids());
                fence.publish()
            }
        };
        commit.put(key, wanted.encode());
        Ok(Some((wanted, commit)))
    }

    fn adopt(&mut self, fence: Fence, change: &FenceChange) -> Fence {
        if self.shard.sharing.is_shared() {
            return self.know(fence);
        }
        let published = match change {
            FenceChange::Begin(..) => None,
            FenceChange::Publish(_, catalogue) => Some(catalogue.as_ref()),
        };
        let mut state = self.shard.state.write();
        state.adopt(fence, published);
        self.shard.note_head_points(state.head_points());
        fence
    }

    /// Whether the log of the open epoch has no entries.
    async fn open_is_empty(&self, fence: &Fence) -> Result<bool, StoreError> {
        if !self.shard.sharing.is_shared() {
            return Ok(self.shard.state.read().open.segments == 0);
        }
        let log = KeyRange::prefix(&keys::log_prefix(self.shard.number, fence.open));
        let first = self.kv.snapshot().await?.range(log, RangeLimit::entries(1)).await?;
        Ok(first.entries.is_empty())
    }

    fn know(&mut self, fence: Fence) -> Fence {
        if fence.open != self.fence.open {
            self.shard.written.store(0, Ordering::Relaxed);
        }
        self.fence = fence;
        fence
    }

    /// After another process moved the fence.
    pub(super) async fn reload_fence(&mut self) -> Result<(), StoreError> {
        let snapshot = self.kv.snapshot().await?;
        let fence = read_fence(snapshot.as_ref(), self.shard.number).await?;
        if self.shard.sharing.is_shared() {
            self.know(fence);
            return Ok(());
        }
        let known = self.shard.state.read().fence;
        if fence == known {
            return Ok(());
        }
        if fence.sealed == known.sealed {
            self.shard.state.write().adopt(fence, None);
            return Ok(());
        }
        let catalogue = BlockCatalogue::load(snapshot.as_ref(), self.shard.number, &fence).await?;
        let tombstones = Tombstones::load(snapshot.as_ref(), self.shard.number).await?;
        let series = self.index.read().shard_len(self.shard.number) as usize;
        let mut state = self.shard.state.write();
        state.adopt_foreign(fence, catalogue, tombstones, series);
        self.shard.note_head_points(state.head_points());
        Ok(())
    }
}
