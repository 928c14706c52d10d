//! Moves of the fence, between two flushes.

use tidemark_kv::{Commit, CommitOutcome, KeyRange, KvError};

use super::{ATTEMPTS_MAX, Flusher};
use crate::{BlockCatalogue, Fence, StoreError, keys, shard::FenceChange, stored_value};

impl Flusher {
    /// Moves the fence for a sealer.
    pub(super) async fn change_fence(&mut self, change: &FenceChange) -> Result<Fence, StoreError> {
        self.resolve().await?;
        for _ in 0..ATTEMPTS_MAX {
            let fence = self.shard.state.read().fence;
            let Some((wanted, commit)) = self.plan_change(change, &fence)? else { return Ok(fence) };
            match self.kv.commit(commit).await {
                CommitOutcome::Done(_) => return Ok(self.adopt(wanted, change)),
                CommitOutcome::Refused(KvError::Conflict { .. }) => self.reload_fence().await?,
                CommitOutcome::Refused(error) => return Err(error.into()),
                CommitOutcome::Unknown(_) => {
                    if self.read_fence().await? == wanted {
                        return Ok(self.adopt(wanted, change));
                    }
                    self.reload_fence().await?;
                }
            }
        }
        Err(KvError::Unavailable("the fence of the shard moved all the time".to_owned()).into())
    }

    /// The fence and the commit that a change means now; `None` when there is nothing to do.
    fn plan_change(&self, change: &FenceChange, fence: &Fence) -> Result<Option<(Fence, Commit)>, StoreError> {
        let key = keys::fence(self.shard.number);
        let mut commit = Commit::new();
        commit.expect(key.clone(), Some(fence.encode()));
        let wanted = match change {
            FenceChange::Begin(token) => {
                if fence.sealing.is_none() && self.shard.state.read().open.points() == 0 {
                    return Ok(None);
                }
                fence.begin(*token)
            }
            FenceChange::Publish(token, _) => {
                let Some(sealing) = fence.sealing.filter(|sealing| sealing.owner == *token) else {
                    return Err(StoreError::SealTakenOver { shard: self.shard.number, epoch: fence.sealed });
                };
                commit.delete_range(KeyRange::prefix(&keys::log_prefix(self.shard.number, sealing.epoch)));
                fence.publish()
            }
        };
        commit.put(key, wanted.encode());
        Ok(Some((wanted, commit)))
    }

    fn adopt(&self, fence: Fence, change: &FenceChange) -> Fence {
        let published = match change {
            FenceChange::Begin(_) => None,
            FenceChange::Publish(_, catalogue) => Some(catalogue.as_ref()),
        };
        let mut state = self.shard.state.write();
        state.adopt(fence, published);
        self.shard.note_head_points(state.head_points());
        fence
    }

    async fn read_fence(&self) -> Result<Fence, StoreError> {
        let key = keys::fence(self.shard.number);
        let value = self.kv.snapshot().await?.get(&key).await?;
        Fence::decode(self.shard.number, &value.ok_or_else(|| stored_value::damaged(&key, "it is gone"))?)
    }

    /// After another process moved the fence.
    pub(super) async fn reload_fence(&mut self) -> Result<(), StoreError> {
        let snapshot = self.kv.snapshot().await?;
        let key = keys::fence(self.shard.number);
        let value = snapshot.get(&key).await?.ok_or_else(|| stored_value::damaged(&key, "it is gone"))?;
        let fence = Fence::decode(self.shard.number, &value)?;
        let known = self.shard.state.read().fence;
        if fence == known {
            return Ok(());
        }
        if fence.sealed == known.sealed {
            self.shard.state.write().adopt(fence, None);
            return Ok(());
        }
        let catalogue = BlockCatalogue::load(snapshot.as_ref(), self.shard.number, &fence).await?;
        let series = self.index.read().shard_len(self.shard.number) as usize;
        let mut state = self.shard.state.write();
        state.adopt_foreign(fence, catalogue, series);
        self.shard.note_head_points(state.head_points());
        Ok(())
    }
}
