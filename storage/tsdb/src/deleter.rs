//! From a selector and a range to deletions in the log.

use hashbrown::HashMap;
use parking_lot::RwLock;
use roaring::RoaringBitmap;
use tidemark_model::{
    BoxFuture, DeleteOutcome, DeleteReceipt, DeleteRefusal, DeleteRequest, PointDeleter, ReadError, RefusalReason,
    TimeRange, WriteRefusal,
};
use tokio::sync::oneshot;

use crate::{
    Index, Store,
    codec::Deletion,
    index::number_of,
    refusal::shutting_down,
    selection::{SERIES_PER_LOCK, select},
    shard::{Flushed, PendingDelete, Shard, ShardMessage},
};

impl PointDeleter for Store {
    fn delete<'a>(&'a self, request: &'a DeleteRequest) -> BoxFuture<'a, DeleteOutcome> {
        Box::pin(self.delete_points(request))
    }
}

impl Store {
    async fn delete_points(&self, request: &DeleteRequest) -> DeleteOutcome {
        if let Err(error) = self.inner.follower.catch_up_index().await {
            return DeleteOutcome::Refused(ReadError::from(error).into());
        }
        let slots = match select(&self.inner.index, &request.selector).await {
            Ok(slots) => slots,
            Err(error) => return DeleteOutcome::Refused(error.into()),
        };
        let found = usize::try_from(slots.len()).unwrap_or(usize::MAX);
        if found > request.series_max {
            let error = ReadError::TooManySeries { found, limit: request.series_max };
            return DeleteOutcome::Refused(error.into());
        }
        let plan = plan(&self.inner.index, &slots, request.range);
        let series = plan.values().flatten().map(|deletion| deletion.series.len()).sum::<u64>();
        let metrics: Vec<u32> = plan.values().flatten().map(|deletion| deletion.metric).collect();
        let mut answers = Vec::with_capacity(plan.len());
        for (shard, deletions) in plan {
            if let Some(shard) = self.inner.shards.get(usize::from(shard)) {
                answers.push(self.enqueue(shard, deletions).await);
            }
        }
        let mut outcome = None;
        for answer in answers {
            let flushed = match answer {
                Ok(answer) => answer
                    .await
                    .unwrap_or_else(|_ended| Flushed::Unknown("the store ended during a deletion".to_owned())),
                Err(refusal) => Flushed::Refused(refusal),
            };
            outcome = Some(flushed.together(outcome));
        }
        {
            let index = self.inner.index.read();
            metrics.into_iter().for_each(|metric| index.doubt_presence(metric));
        }
        if let Err(error) = self.check_presence().await {
            tracing::warn!(%error, "which series have no points left was not found out; the next seal tries again");
        }
        let series = usize::try_from(series).unwrap_or(usize::MAX);
        match outcome {
            None | Some(Flushed::Stored) => DeleteOutcome::Done(DeleteReceipt { series }),
            Some(Flushed::Refused(refusal)) => DeleteOutcome::Refused(DeleteRefusal::Store(refusal)),
            Some(Flushed::Unknown(reason)) => DeleteOutcome::Unknown(reason),
        }
    }

    async fn enqueue(
        &self,
        shard: &Shard,
        deletions: Vec<Deletion>,
    ) -> Result<oneshot::Receiver<Flushed>, WriteRefusal> {
        let limit = self.inner.limits().head_points_max;
        if shard.state.read().head_points() >= limit {
            let message = format!("{limit} points wait in memory to be sealed; see `limits.head_points`");
            return Err(WriteRefusal::new(RefusalReason::Busy, message));
        }
        let (reply, answer) = oneshot::channel();
        let message = ShardMessage::Delete(PendingDelete { deletions, reply });
        shard.queue.send(message).await.map_err(|_ended| shutting_down())?;
        Ok(answer)
    }
}

/// The deletions of each shard. The index is let go of every few thousand series.
fn plan(index: &RwLock<Index>, slots: &RoaringBitmap, range: TimeRange) -> HashMap<u16, Vec<Deletion>> {
    let mut by_metric = HashMap::<(u16, u32), RoaringBitmap>::new();
    let mut slots = slots.iter().peekable();
    while slots.peek().is_some() {
        let index = index.read();
        for series in slots.by_ref().take(SERIES_PER_LOCK).filter_map(|slot| index.series(slot)) {
            by_metric.entry((series.target.shard, series.metric())).or_default().insert(number_of(series.target.id));
        }
    }
    let mut by_shard = HashMap::<u16, Vec<Deletion>>::new();
    for ((shard, metric), series) in by_metric {
        by_shard.entry(shard).or_default().extend(Deletion { metric, series, range }.split());
    }
    by_shard
}
