//! From a batch to the flushers and back.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use hashbrown::HashMap;
use parking_lot::RwLock;
use tidemark_model::{
    BoxFuture, PointBatch, PointSink, RefusalReason, SeriesKey, TIMESTAMP_MAX, WriteOutcome, WriteReceipt, WriteRefusal,
};
use tokio::sync::{mpsc::error::TrySendError, oneshot};

use crate::{
    Index, Shard, Store, Target,
    future::EarlyPoints,
    refusal::shutting_down,
    shard::{Flushed, PendingWrite, ShardMessage},
};

/// How often a writer looks whether other processes changed names.
const RENAMES_EVERY_MS: u64 = 1_000;

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
        self.look_for_renames().await;
        let limits = self.inner.limits();
        let (batch, early) = EarlyPoints::take_out(batch, self.inner.clock.now_ms(), limits.future_max);
        let mut targets = vec![Target::NONE; batch.series_count()];
        let missing = resolve(&self.inner.index, &batch, &mut targets);
        let refused = match missing.as_slice() {
            [] => Vec::new(),
            missing => match self.inner.creator.create(&batch, missing).await {
                Ok(refused) => {
                    let missing = resolve(&self.inner.index, &batch, &mut targets);
                    refused_points(&batch, &missing, refused)
                }
                Err(outcome) => return outcome,
            },
        };
        let stored = batch.len() - refused.len();
        let targets: Arc<[Target]> = targets.into();
        match self.flush(batch, Arc::clone(&targets), &limits).await {
            Flushed::Stored => {
                self.show_written(targets.iter().map(|target| target.id)).await;
                WriteOutcome::Done(early.add_to(WriteReceipt { stored, refused }))
            }
            Flushed::Refused(refusal) => WriteOutcome::Refused(refusal),
            Flushed::Unknown(reason) => WriteOutcome::Unknown(reason),
        }
    }

    /// Who writes to series that it knows would never hear that another process changed a name, and go on writing to what
    /// had it. So it looks now and then; a change that every flush has to expect, like a move of the fence, was turned
    /// down, since points that are on their way may be under either name.
    pub(crate) async fn look_for_renames(&self) {
        if !self.inner.follower.sharing.is_shared() {
            return;
        }
        let now = u64::try_from(self.inner.clock.monotonic().as_millis()).unwrap_or(u64::MAX);
        let (looked, order) = (&self.inner.looked_for_renames_ms, Ordering::Relaxed);
        let last = looked.load(order);
        // One of those who write looks for all.
        if now < last.saturating_add(RENAMES_EVERY_MS) || looked.compare_exchange(last, now, order, order).is_err() {
            return;
        }
        if let Err(error) = self.inner.follower.catch_up_index().await {
            tracing::warn!(%error, "whether other processes changed names is not known; the next write looks again");
            looked.store(last, order);
        }
    }

    /// Hands the batch to the flushers of its shards and waits for all of them.
    async fn flush(&self, batch: PointBatch, targets: Arc<[Target]>, limits: &WriteLimits) -> Flushed {
        let batch = Arc::new(batch);
        let mut answers = Vec::with_capacity(1);
        for shard in self.inner.shards.iter() {
            if targets.iter().any(|target| target.shard == shard.number) {
                answers.push(enqueue(shard, &batch, &targets, limits));
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
            together = Some(flushed.together(together));
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

/// Points that may wait or be held, at most, and how far ahead of the clock they may be.
pub(crate) struct WriteLimits {
    pub(crate) queued_points_max: usize,
    pub(crate) head_points_max: u64,
    pub(crate) future_max: Duration,
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

impl Flushed {
    /// The fate of something of which other parts went to other shards.
    pub(crate) fn together(self, before: Option<Self>) -> Self {
        match (before, self) {
            (None, flushed) | (Some(Self::Stored), flushed @ Self::Stored) => flushed,
            (Some(refused @ Self::Refused(_)), Self::Refused(_)) => refused,
            (Some(Self::Unknown(reason)), _) | (_, Self::Unknown(reason)) => Self::Unknown(reason),
            (Some(Self::Refused(refusal)), Self::Stored) | (Some(Self::Stored), Self::Refused(refusal)) => {
                Self::Unknown(format!("part of it is stored; {refusal}"))
            }
        }
    }
}

/// Finds the series of the dictionary's entries; the positions of those that do not exist.
fn resolve(index: &RwLock<Index>, batch: &PointBatch, targets: &mut [Target]) -> Vec<usize> {
    let index = index.read();
    let mut missing = Vec::new();
    let mut last = 0;
    for (entry, target) in targets.iter_mut().enumerate().filter(|(_, target)| **target == Target::NONE) {
        match index.next_target(batch.series_text(entry), &mut last) {
            Some(found) => *target = found,
            None => missing.push(entry),
        }
    }
    missing
}

/// The points of the entries that are still missing, for which there is nowhere to store a point, and why.
fn refused_points(
    batch: &PointBatch,
    missing: &[usize],
    refused: Vec<(usize, WriteRefusal)>,
) -> Vec<(usize, WriteRefusal)> {
    if missing.is_empty() {
        return Vec::new();
    }
    let by_entry: HashMap<usize, WriteRefusal> = refused.into_iter().collect();
    let missing: HashMap<usize, WriteRefusal> = missing
        .iter()
        .map(|&entry| (entry, by_entry.get(&entry).cloned().unwrap_or_else(|| not_in_the_index(batch, entry))))
        .collect();
    batch
        .columns()
        .enumerate()
        .filter_map(|(point, (series, ..))| Some((point, missing.get(&(series as usize))?.clone())))
        .collect()
}

/// For a series that was created and is not in the index; [`crate::creation`] logs why.
fn not_in_the_index(batch: &PointBatch, entry: usize) -> WriteRefusal {
    let series = SeriesKey::from_canonical(batch.series_text(entry));
    let message = format!("series `{series}` was created and could not be added to the index in memory; try again");
    WriteRefusal::new(RefusalReason::Unavailable, message)
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use tidemark_kv::{Commit, CommitOutcome, Kv, KvError, KvSnapshot, MemoryKv};
    use tidemark_model::{ManualClock, NameKind, PointBatchBuilder, TimestampMs, Value};

    use super::*;
    use crate::StoreOptions;

    const START: TimestampMs = 1_789_948_800_000;

    /// An engine that gives a number of the index away between a commit and its answer.
    #[derive(Default)]
    struct Racing {
        kv: MemoryKv,
        index: OnceLock<Arc<RwLock<Index>>>,
    }

    impl Kv for Racing {
        fn snapshot(&self) -> BoxFuture<'_, Result<Arc<dyn KvSnapshot>, KvError>> {
            self.kv.snapshot()
        }

        fn commit(&self, commit: Commit) -> BoxFuture<'_, CommitOutcome> {
            Box::pin(async move {
                let outcome = self.kv.commit(commit).await;
                if let Some(index) = self.index.get() {
                    index.write().insert(1, 1, Box::new([]));
                }
                outcome
            })
        }

        fn is_shared(&self) -> bool {
            self.kv.is_shared()
        }

        fn disk_bytes(&self) -> Option<u64> {
            None
        }
    }

    fn batch(hosts: &[&str]) -> PointBatch {
        let mut builder = PointBatchBuilder::default();
        for host in hosts {
            builder.push("cpu", &mut [("host", *host)], START, Value::Int(1)).unwrap();
        }
        builder.finish()
    }

    #[tokio::test]
    async fn points_of_a_series_that_is_not_in_the_index_are_refused_and_not_counted_as_stored() {
        let kv = Arc::new(Racing::default());
        let clock = Arc::new(ManualClock::new(START));
        let store = Store::open(Arc::<Racing>::clone(&kv), clock, StoreOptions::default()).await.unwrap();
        assert!(matches!(store.write(batch(&["a"])).await, WriteOutcome::Done(receipt) if receipt.stored == 1));
        assert!(store.inner.index.read().names(NameKind::Metric).id("cpu") == Some(1));
        kv.index.set(Arc::clone(&store.inner.index)).unwrap();
        let outcome = store.write(batch(&["b", "a", "b"])).await;
        let WriteOutcome::Done(receipt) = outcome else { panic!("{outcome:?}") };
        assert_eq!(receipt.stored, 1);
        assert_eq!(receipt.refused.iter().map(|(point, _)| *point).collect::<Vec<_>>(), [0, 2]);
        for (_, refusal) in &receipt.refused {
            assert_eq!(refusal.reason, RefusalReason::Unavailable);
            assert!(refusal.to_string().contains("`cpu{host=b}`"), "{refusal}");
        }
        store.close().await;
    }
}
