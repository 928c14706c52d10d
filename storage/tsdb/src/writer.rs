//! From a batch to the flushers and back.

use std::sync::{Arc, atomic::Ordering};

use parking_lot::RwLock;
use tidemark_model::{
    BoxFuture, PointBatch, PointSink, RefusalReason, TimestampMs, WriteOutcome, WriteReceipt, WriteRefusal,
};
use tokio::sync::{mpsc::error::TrySendError, oneshot};

use crate::{
    Index, Shard, Store, Target,
    refusal::shutting_down,
    shard::{Flushed, PendingWrite, ShardMessage},
};

/// Largest timestamp: 13 digits of milliseconds. Buckets are numbered for timestamps from 1 to this one.
const TIMESTAMP_MAX: TimestampMs = 9_999_999_999_999;

impl PointSink for Store {
    fn write(&self, batch: PointBatch) -> BoxFuture<'_, WriteOutcome> {
        Box::pin(self.write_batch(batch))
    }
}

impl Store {
    async fn write_batch(&self, batch: PointBatch) -> WriteOutcome {
        if self.inner.closing.is_cancelled() {
            return WriteOutcome::Refused(shutting_down());
        }
        if let Some(refusal) = check_timestamps(&batch) {
            return WriteOutcome::Refused(refusal);
        }
        let mut targets = vec![Target::NONE; batch.series_count()];
        let missing = resolve(&self.inner.index, &batch, &mut targets);
        let refused = match missing.as_slice() {
            [] => Vec::new(),
            missing => match self.inner.creator.create(&batch, missing).await {
                Ok(refused) => {
                    resolve(&self.inner.index, &batch, &mut targets);
                    refused_points(&batch, &targets, refused)
                }
                Err(outcome) => return outcome,
            },
        };
        let stored = batch.len() - refused.len();
        match self.flush(batch, targets).await {
            Flushed::Stored => WriteOutcome::Done(WriteReceipt { stored, refused }),
            Flushed::Refused(refusal) => WriteOutcome::Refused(refusal),
            Flushed::Unknown(reason) => WriteOutcome::Unknown(reason),
        }
    }

    /// Hands the batch to the flushers of its shards and waits for all of them.
    async fn flush(&self, batch: PointBatch, targets: Vec<Target>) -> Flushed {
        let (batch, targets): (_, Arc<[Target]>) = (Arc::new(batch), targets.into());
        let mut answers = Vec::with_capacity(1);
        for shard in self.inner.shards.iter() {
            if targets.iter().any(|target| target.shard == shard.number) {
                answers.push(enqueue(shard, &batch, &targets, &self.inner.limits()));
            }
        }
        let mut together = None;
        for answer in answers {
            let flushed = match answer {
                Ok(answer) => {
                    answer.await.unwrap_or_else(|_ended| Flushed::Unknown("the store ended during a flush".to_owned()))
                }
                Err(refusal) => Flushed::Refused(refusal),
            };
            together = Some(both(together, flushed));
        }
        together.unwrap_or(Flushed::Stored)
    }
}

/// The rim refuses such timestamps one by one; a batch that came from another process might still have some.
fn check_timestamps(batch: &PointBatch) -> Option<WriteRefusal> {
    let (point, timestamp) = batch
        .columns()
        .map(|(_, timestamp, ..)| timestamp)
        .enumerate()
        .find(|(_, timestamp)| !(1..=TIMESTAMP_MAX).contains(timestamp))?;
    let message = format!("point {point} of the batch has timestamp {timestamp}, not 1 to {TIMESTAMP_MAX} ms");
    Some(WriteRefusal::new(RefusalReason::Limit, message))
}

/// Points that may wait or be held, at most.
pub(crate) struct WriteLimits {
    pub(crate) queued_points_max: usize,
    pub(crate) head_points_max: u64,
}

fn enqueue(
    shard: &Shard,
    batch: &Arc<PointBatch>,
    targets: &Arc<[Target]>,
    limits: &WriteLimits,
) -> Result<oneshot::Receiver<Flushed>, WriteRefusal> {
    let points = batch.len();
    if shard.head_points.load(Ordering::Relaxed) >= limits.head_points_max {
        let limit = limits.head_points_max;
        let message = format!("{limit} points wait in memory to be sealed; see `limits.head_points`");
        return Err(WriteRefusal::new(RefusalReason::Busy, message));
    }
    let (reply, answer) = oneshot::channel();
    let queued = shard.queued_points.fetch_add(points, Ordering::Relaxed);
    // A batch above the limit is taken when nothing else waits, or it could never be written.
    let refusal = if queued > 0 && queued + points > limits.queued_points_max {
        let limit = limits.queued_points_max;
        Some(WriteRefusal::new(
            RefusalReason::Busy,
            format!("more than {limit} points wait to be written; see `limits.queued_points`"),
        ))
    } else {
        let write = PendingWrite { batch: Arc::clone(batch), targets: Arc::clone(targets), reply };
        match shard.queue.try_send(ShardMessage::Write(write)) {
            Ok(()) => None,
            Err(TrySendError::Full(_)) => {
                Some(WriteRefusal::new(RefusalReason::Busy, "too many batches wait to be written"))
            }
            Err(TrySendError::Closed(_)) => Some(shutting_down()),
        }
    };
    match refusal {
        None => Ok(answer),
        Some(refusal) => {
            shard.queued_points.fetch_sub(points, Ordering::Relaxed);
            Err(refusal)
        }
    }
}

/// The fate of a batch whose parts went to several shards.
fn both(before: Option<Flushed>, flushed: Flushed) -> Flushed {
    match (before, flushed) {
        (None, flushed) | (Some(Flushed::Stored), flushed @ Flushed::Stored) => flushed,
        (Some(refused @ Flushed::Refused(_)), Flushed::Refused(_)) => refused,
        (Some(Flushed::Unknown(reason)), _) | (_, Flushed::Unknown(reason)) => Flushed::Unknown(reason),
        (Some(Flushed::Refused(refusal)), Flushed::Stored) | (Some(Flushed::Stored), Flushed::Refused(refusal)) => {
            Flushed::Unknown(format!("part of the batch is stored; {refusal}"))
        }
    }
}

/// Finds the series of the dictionary's entries; the positions of those that do not exist.
fn resolve(index: &RwLock<Index>, batch: &PointBatch, targets: &mut [Target]) -> Vec<usize> {
    let index = index.read();
    let mut missing = Vec::new();
    for (entry, target) in targets.iter_mut().enumerate().filter(|(_, target)| **target == Target::NONE) {
        match index.target(batch.series_text(entry)) {
            Some(found) => *target = found,
            None => missing.push(entry),
        }
    }
    missing
}

/// The points of series that were not created. A refused text may stand in the dictionary more than once.
fn refused_points(
    batch: &PointBatch,
    targets: &[Target],
    refused: Vec<(usize, WriteRefusal)>,
) -> Vec<(usize, WriteRefusal)> {
    if refused.is_empty() {
        return Vec::new();
    }
    let by_entry: hashbrown::HashMap<usize, WriteRefusal> = refused.into_iter().collect();
    batch
        .columns()
        .enumerate()
        .filter(|(_, (series, ..))| targets.get(*series as usize) == Some(&Target::NONE))
        .filter_map(|(point, (series, ..))| Some((point, by_entry.get(&(series as usize))?.clone())))
        .collect()
}
