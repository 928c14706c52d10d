//! Batches between the collectors and the sink.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex as BlockingMutex;
use tidemark_model::PointBatch;
use tokio::sync::{Mutex, Notify};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    counts::Counters,
    spool::{Oldest, Spool, SpoolError},
};

/// A queue of batches, oldest first: some in memory, and older ones in the spool where there is one.
///
/// Batches live in memory while the sink takes them. As soon as it does not, they go to the spool, which survives
/// the process. Without a spool the memory is bounded and the oldest batch is dropped and counted.
#[derive(Debug)]
pub(crate) struct Backlog {
    store: Mutex<Store>,
    changed: Notify,
    closed: CancellationToken,
    bytes_max: usize,
    counters: Arc<Counters>,
    tracker: TaskTracker,
}

#[derive(Debug)]
struct Store {
    memory: VecDeque<PointBatch>,
    memory_bytes: usize,
    /// Since the sink did not take a batch, and until it takes one.
    sink_is_away: bool,
    /// Shared with the blocking call that is under way, if any.
    spool: Option<Arc<BlockingMutex<Spool>>>,
}

/// A batch to deliver.
#[derive(Debug)]
pub(crate) enum Next {
    /// From memory; it is gone from the backlog.
    Memory(PointBatch),
    /// From the spool; it stays there until it is forgotten.
    Spooled(Oldest),
}

impl Next {
    pub(crate) fn batch(&self) -> &PointBatch {
        match self {
            Self::Memory(batch) => batch,
            Self::Spooled(oldest) => &oldest.batch,
        }
    }
}

impl Backlog {
    pub(crate) fn new(bytes_max: usize, spool: Option<Spool>, counters: Arc<Counters>, tracker: TaskTracker) -> Self {
        counters.spool_bytes.set(spool.as_ref().map_or(0, Spool::bytes));
        let spool = spool.map(|spool| Arc::new(BlockingMutex::new(spool)));
        let store = Store { memory: VecDeque::new(), memory_bytes: 0, sink_is_away: false, spool };
        Self {
            store: Mutex::new(store),
            changed: Notify::new(),
            closed: CancellationToken::new(),
            bytes_max,
            counters,
            tracker,
        }
    }

    /// Adds a batch. While the sink takes none, or when memory is full, it goes to the spool, or the oldest batches
    /// are dropped.
    pub(crate) async fn push(&self, batch: PointBatch) {
        if batch.is_empty() {
            return;
        }
        let mut store = self.store.lock().await;
        store.push_back(batch);
        if store.sink_is_away || store.memory_bytes > self.bytes_max {
            self.spill_locked(&mut store).await;
        }
        self.drop_excess(&mut store);
        self.count_memory(&store);
        drop(store);
        self.changed.notify_one();
    }

    /// No more batches will come.
    pub(crate) fn close(&self) {
        self.closed.cancel();
        self.changed.notify_one();
    }

    /// Waits until no more batches will come.
    pub(crate) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// Waits for a batch. `None` after [`Backlog::close`] when nothing is left.
    ///
    /// # Cancel safety
    /// Nothing is taken out of the backlog when the future is dropped before it is ready.
    pub(crate) async fn next(&self) -> Option<Next> {
        loop {
            let changed = self.changed.notified();
            {
                let mut store = self.store.lock().await;
                if let Some(oldest) = self.oldest_spooled(&mut store).await {
                    return Some(Next::Spooled(oldest));
                }
                if let Some(batch) = store.pop_front() {
                    self.count_memory(&store);
                    return Some(Next::Memory(batch));
                }
                if self.closed.is_cancelled() {
                    return None;
                }
            }
            changed.await;
        }
    }

    /// The sink took the batch, or refused it for good.
    pub(crate) async fn settle(&self, next: Next) {
        let mut store = self.store.lock().await;
        store.sink_is_away = false;
        let Next::Spooled(oldest) = next else { return };
        let forgotten = self.with_spool(&mut store, move |spool| spool.forget(&oldest)).await;
        if let Some(Err(error)) = forgotten {
            // The batch is sent once more after a restart at worst.
            tracing::warn!(%error, "the spool could not forget a batch");
        }
    }

    /// The sink did not take the batch now: everything in memory becomes durable where there is a spool.
    pub(crate) async fn give_back(&self, next: Next) {
        let mut store = self.store.lock().await;
        store.sink_is_away = true;
        if let Next::Memory(batch) = next {
            store.push_front(batch);
        }
        self.spill_locked(&mut store).await;
        self.drop_excess(&mut store);
        self.count_memory(&store);
    }

    /// Puts what is left on the disk, or counts it as dropped; returns the number of points dropped.
    ///
    /// IMPORTANT: only after [`Backlog::closed`]; what came later would be neither.
    pub(crate) async fn finish(&self) -> u64 {
        let mut store = self.store.lock().await;
        self.spill_locked(&mut store).await;
        if let Some(Err(error)) = self.with_spool(&mut store, Spool::sync).await {
            tracing::warn!(%error, "the spool could not be put on the disk");
        }
        let mut dropped = 0;
        while let Some(batch) = store.pop_front() {
            dropped += batch.len() as u64;
        }
        self.counters.dropped.add(dropped);
        self.count_memory(&store);
        dropped
    }

    async fn oldest_spooled(&self, store: &mut Store) -> Option<Oldest> {
        match self.with_spool(store, Spool::oldest).await? {
            Ok(oldest) => oldest,
            Err(error) => {
                tracing::warn!(%error, "the spool could not be read");
                None
            }
        }
    }

    async fn spill_locked(&self, store: &mut Store) {
        while store.spool.is_some()
            && let Some(batch) = store.pop_front()
        {
            let points = batch.len() as u64;
            let appended = self
                .with_spool(store, move |spool| {
                    let result = spool.append(&batch);
                    (result, batch)
                })
                .await;
            match appended {
                Some((Ok(()), _)) => self.counters.spooled.add(points),
                Some((Err(error @ SpoolError::BatchTooLarge { .. }), _)) => {
                    tracing::warn!(%error, points, "points were dropped");
                    self.counters.dropped.add(points);
                }
                Some((Err(error), batch)) => {
                    tracing::warn!(%error, points, "the spool took no points, which stay in memory");
                    store.push_front(batch);
                    return;
                }
                None => return,
            }
        }
    }

    /// Runs a blocking call of the spool. `None` without a spool.
    async fn with_spool<T: Send + 'static>(
        &self,
        store: &mut Store,
        call: impl FnOnce(&mut Spool) -> T + Send + 'static,
    ) -> Option<T> {
        let spool = Arc::clone(store.spool.as_ref()?);
        let called = self.tracker.spawn_blocking(move || {
            let mut spool = spool.lock();
            let answer = call(&mut spool);
            (answer, spool.take_frames_damaged(), spool.take_points_dropped(), spool.bytes())
        });
        match called.await {
            Ok((answer, frames_damaged, points_dropped, bytes)) => {
                self.counters.spool_frames_damaged.add(frames_damaged);
                self.count_dropped(points_dropped);
                self.counters.spool_bytes.set(bytes);
                Some(answer)
            }
            Err(error) => {
                tracing::error!(%error, "the spool failed; points are kept in memory only from now on");
                store.spool = None;
                None
            }
        }
    }

    fn drop_excess(&self, store: &mut Store) {
        let mut dropped = 0;
        while store.memory_bytes > self.bytes_max
            && store.memory.len() > 1
            && let Some(batch) = store.pop_front()
        {
            dropped += batch.len() as u64;
        }
        self.count_dropped(dropped);
    }

    fn count_dropped(&self, points: u64) {
        if points > 0 {
            self.counters.dropped.add(points);
            tracing::warn!(points, "the backlog is full; the oldest points were dropped");
        }
    }

    fn count_memory(&self, store: &Store) {
        self.counters.backlog_points.set(store.memory.iter().map(|batch| batch.len() as u64).sum());
    }
}

impl Store {
    fn push_back(&mut self, batch: PointBatch) {
        self.memory_bytes += batch.memory_bytes();
        self.memory.push_back(batch);
    }

    fn push_front(&mut self, batch: PointBatch) {
        self.memory_bytes += batch.memory_bytes();
        self.memory.push_front(batch);
    }

    fn pop_front(&mut self) -> Option<PointBatch> {
        let batch = self.memory.pop_front()?;
        self.memory_bytes = self.memory_bytes.saturating_sub(batch.memory_bytes());
        Some(batch)
    }
}

#[cfg(test)]
mod tests {
    use tidemark_model::{PointBatchBuilder, Value};

    use super::*;
    use crate::spool::SpoolOptions;

    fn batch(first: i64, points: i64) -> PointBatch {
        let mut builder = PointBatchBuilder::default();
        for at in first..first + points {
            builder.push("m", &mut [("host", "h")], at, Value::Int(at)).unwrap();
        }
        builder.finish()
    }

    fn backlog(bytes_max: usize, spool: Option<&std::path::Path>) -> Backlog {
        let spool = spool.map(|folder| Spool::open(SpoolOptions::in_folder(folder)).unwrap());
        Backlog::new(bytes_max, spool, Arc::default(), TaskTracker::new())
    }

    async fn drain(backlog: &Backlog) -> Vec<PointBatch> {
        backlog.close();
        let mut batches = Vec::new();
        while let Some(next) = backlog.next().await {
            batches.push(next.batch().clone());
            backlog.settle(next).await;
        }
        batches
    }

    #[tokio::test]
    async fn without_a_spool_the_oldest_batches_are_dropped_and_counted() {
        let backlog = backlog(batch(1, 10).memory_bytes() * 2, None);
        for first in [1, 11, 21, 31] {
            backlog.push(batch(first, 10)).await;
        }
        assert_eq!(backlog.counters.snapshot().dropped, 20);
        assert_eq!(backlog.counters.snapshot().backlog_points, 20);
        assert_eq!(drain(&backlog).await, [batch(21, 10), batch(31, 10)]);
    }

    #[tokio::test]
    async fn what_the_sink_does_not_take_goes_to_the_spool_and_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        let backlog = backlog(1_000_000, Some(folder.path()));
        backlog.push(batch(1, 10)).await;
        backlog.push(batch(11, 10)).await;
        let next = backlog.next().await.unwrap();
        assert!(matches!(&next, Next::Memory(_)));
        backlog.give_back(next).await;
        assert_eq!((backlog.counters.snapshot().spooled, backlog.counters.snapshot().backlog_points), (20, 0));
        backlog.push(batch(21, 10)).await;
        assert_eq!((backlog.counters.snapshot().spooled, backlog.counters.snapshot().backlog_points), (30, 0));
        assert_eq!(drain(&backlog).await, [batch(1, 10), batch(11, 10), batch(21, 10)]);
        assert_eq!((backlog.counters.snapshot().dropped, backlog.counters.snapshot().spool_bytes), (0, 0));
        backlog.push(batch(31, 10)).await;
        assert_eq!(backlog.counters.snapshot().backlog_points, 10);
    }

    #[tokio::test]
    async fn a_batch_of_the_spool_that_is_given_back_is_delivered_again() {
        let folder = tempfile::tempdir().unwrap();
        let backlog = backlog(0, Some(folder.path()));
        backlog.push(batch(1, 10)).await;
        for _ in 0..2 {
            let next = backlog.next().await.unwrap();
            assert!(matches!(&next, Next::Spooled(_)));
            backlog.give_back(next).await;
        }
        assert_eq!(drain(&backlog).await, [batch(1, 10)]);
    }

    #[tokio::test]
    async fn what_is_left_at_the_end_is_in_the_spool_of_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let first = backlog(1_000_000, Some(folder.path()));
        first.push(batch(1, 10)).await;
        assert_eq!(first.finish().await, 0);
        drop(first);
        assert_eq!(drain(&backlog(1_000_000, Some(folder.path()))).await, [batch(1, 10)]);
    }

    #[tokio::test]
    async fn what_is_left_at_the_end_without_a_spool_is_counted() {
        let backlog = backlog(1_000_000, None);
        backlog.push(batch(1, 10)).await;
        assert_eq!(backlog.finish().await, 10);
        assert_eq!(backlog.counters.snapshot().dropped, 10);
    }
}
