//! The one task that writes a shard's log.
//!
//! It gathers whatever waits while the commit before is on its way to the disk, and a moment longer when there are more
//! writers than waiting batches (`group_commit.rs`), so a busy store commits large groups and an idle one does not wait. Heads change here alone and only after their commit: what a reader sees is acknowledged or
//! about to be. Fences move here too, between two flushes, so that the head of a closed epoch is complete.

mod fence_moves;
mod segments;
mod unknown;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use parking_lot::RwLock;
use tidemark_kv::{Commit, CommitOutcome, Kv, KvError};
use tidemark_model::{Clock, RefusalReason, WriteRefusal};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use self::{
    segments::{SegmentEncoder, Segments},
    unknown::{Resolution, Unresolved},
};
use crate::{
    Fence, Index, Shard,
    figures::Counters,
    group_commit::GroupCommit,
    head::Row,
    keys,
    refusal::{refusal_of, shutting_down},
    shard::{Flushed, PendingWrite, ShardMessage},
};

/// Rows of one commit. A row has at most 31 bytes in a segment, so the commit stays well below its limit.
const COMMIT_ROWS: usize = 24_576;
/// Messages that are taken from the queue at once.
const MESSAGES_MAX: usize = 256;
/// How often a flush starts again because the fence moved or the outcome was unknown.
const ATTEMPTS_MAX: usize = 16;

/// Writes the log of one shard.
pub(crate) struct Flusher {
    kv: Arc<dyn Kv>,
    clock: Arc<dyn Clock>,
    index: Arc<RwLock<Index>>,
    shard: Arc<Shard>,
    receiver: mpsc::Receiver<ShardMessage>,
    counters: Arc<Counters>,
    seal_wanted: Arc<Notify>,
    seal_points: u64,
    writer: u64,
    segments: SegmentEncoder,
    /// Rows that the next commit takes.
    rows: Vec<Row>,
    /// Writes whose last row is among `rows`.
    waiting: Vec<Waiting>,
    group_commit: GroupCommit,
    /// Rows that are in the log or not; nothing else is written before that is known.
    unresolved: Option<Unresolved>,
    /// The fence of a shared store as far as this flusher knows it; readers follow it by themselves.
    fence: Fence,
    /// Points that this process wrote into the open epoch of a shared store.
    written: u64,
}

struct Waiting {
    reply: oneshot::Sender<Flushed>,
    /// Whether rows of the same batch were committed before.
    partly_stored: bool,
}

/// What all flushers of a store share.
#[derive(Clone)]
pub(crate) struct FlusherParts {
    pub(crate) kv: Arc<dyn Kv>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) index: Arc<RwLock<Index>>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) seal_wanted: Arc<Notify>,
    pub(crate) seal_points: u64,
    pub(crate) writer: u64,
}

impl Flusher {
    pub(crate) fn new(parts: FlusherParts, shard: Arc<Shard>, receiver: mpsc::Receiver<ShardMessage>) -> Self {
        let FlusherParts { kv, clock, index, counters, seal_wanted, seal_points, writer } = parts;
        let fence = shard.state.read().fence;
        Self {
            kv,
            clock,
            index,
            shard,
            receiver,
            counters,
            seal_wanted,
            seal_points,
            writer,
            segments: SegmentEncoder::new(writer),
            rows: Vec::new(),
            waiting: Vec::new(),
            group_commit: GroupCommit::default(),
            unresolved: None,
            fence,
            written: 0,
        }
    }

    /// Runs until it is told to stop; when `dropped` fires, without caring for what waits.
    pub(crate) async fn run(mut self, dropped: CancellationToken) {
        let mut messages = Vec::with_capacity(MESSAGES_MAX);
        loop {
            tokio::select! {
                biased;
                () = dropped.cancelled() => return,
                received = self.receiver.recv_many(&mut messages, MESSAGES_MAX) => if received == 0 { return },
            }
            self.wait_for_company(&mut messages).await;
            for message in messages.drain(..) {
                match message {
                    ShardMessage::Write(write) => self.take(write).await,
                    ShardMessage::ChangeFence(change, reply) => {
                        self.flush().await;
                        reply.send(self.change_fence(&change).await).ok();
                    }
                    ShardMessage::Stop => self.receiver.close(),
                }
            }
            self.flush().await;
        }
    }

    /// Waits a moment for the batches of other writers. Whoever moves the fence or stops does not wait.
    async fn wait_for_company(&mut self, messages: &mut Vec<ShardMessage>) {
        let Some((wanted, wait)) = self.group_commit.wanted() else { return };
        let deadline = tokio::time::Instant::now() + wait;
        while messages.len() < wanted && messages.iter().all(|message| matches!(message, ShardMessage::Write(_))) {
            let more = tokio::time::timeout_at(deadline, self.receiver.recv_many(messages, MESSAGES_MAX)).await;
            if matches!(more, Err(_) | Ok(0)) {
                return;
            }
        }
    }

    /// Adds the rows of a write, committing whenever there are enough for a commit.
    async fn take(&mut self, write: PendingWrite) {
        let PendingWrite { batch, targets, reply } = write;
        self.shard.queued_points.fetch_sub(batch.len(), Ordering::Relaxed);
        let mut partly_stored = false;
        for (series, timestamp, bits, float) in batch.columns() {
            let Some(target) = targets.get(series as usize).filter(|target| target.shard == self.shard.number) else {
                continue;
            };
            if self.rows.len() == COMMIT_ROWS {
                match self.flush().await {
                    Flushed::Stored => partly_stored = true,
                    other => {
                        reply.send(other.after(partly_stored)).ok();
                        return;
                    }
                }
            }
            self.rows.push(Row { id: target.id, timestamp, bits, local: target.local, float });
        }
        self.waiting.push(Waiting { reply, partly_stored });
    }

    /// Commits the rows and tells those who wait.
    async fn flush(&mut self) -> Flushed {
        let flushed = if self.rows.is_empty() { Flushed::Stored } else { self.commit_rows().await };
        self.rows.clear();
        for waiting in self.waiting.drain(..) {
            waiting.reply.send(flushed.clone().after(waiting.partly_stored)).ok();
        }
        flushed
    }

    async fn commit_rows(&mut self) -> Flushed {
        if let Err(error) = self.resolve().await {
            let message = format!("the outcome of an earlier flush is still unknown: {error}");
            return Flushed::Refused(WriteRefusal::new(RefusalReason::Unavailable, message));
        }
        let segments = match self.segments.encode(&self.rows) {
            Ok(segments) => segments,
            Err(refusal) => return Flushed::Refused(refusal),
        };
        for _ in 0..ATTEMPTS_MAX {
            let fence = self.known_fence();
            let started = self.clock.monotonic();
            match self.kv.commit(self.commit_of(&fence, &segments)).await {
                CommitOutcome::Done(_) => {
                    self.note_stored(&segments, self.clock.monotonic().saturating_sub(started));
                    let rows = std::mem::take(&mut self.rows);
                    self.add_to_head(&rows, &segments);
                    self.rows = rows;
                    return Flushed::Stored;
                }
                CommitOutcome::Refused(KvError::Conflict { .. }) => {
                    self.counters.fence_moves.add(1);
                    if let Err(error) = self.reload_fence().await {
                        let message = format!("the fence of the shard could not be read: {error}");
                        return Flushed::Refused(WriteRefusal::new(RefusalReason::Unavailable, message));
                    }
                }
                CommitOutcome::Refused(error) => {
                    self.counters.refused.add(1);
                    return Flushed::Refused(refusal_of(&error));
                }
                CommitOutcome::Unknown(error) => {
                    self.counters.unknown.add(1);
                    let rows = self.rows.clone();
                    self.unresolved = Some(Unresolved { rows, segments: segments.clone(), epoch: fence.open });
                    match self.resolve().await {
                        Ok(Resolution::Stored) => return Flushed::Stored,
                        Ok(Resolution::NotStored) => {}
                        Ok(Resolution::Lost) => return Flushed::Unknown(error.to_string()),
                        Err(reason) => return Flushed::Unknown(format!("{error}; reading the log again: {reason}")),
                    }
                }
            }
        }
        let message = "the fence of the shard moved all the time; try again";
        Flushed::Refused(WriteRefusal::new(RefusalReason::Busy, message))
    }

    fn commit_of(&self, fence: &Fence, segments: &Segments) -> Commit {
        let mut commit = Commit::new();
        commit.expect(keys::fence(self.shard.number), Some(fence.encode()));
        for value in &segments.values {
            commit.put_versionstamped(keys::log_prefix(self.shard.number, fence.open), value.clone());
        }
        commit
    }

    fn note_stored(&mut self, segments: &Segments, took: Duration) {
        self.group_commit.note(took, self.waiting.len(), self.receiver.len());
        self.counters.note_commit(took);
        self.counters.points.add(self.rows.len() as u64);
        self.counters.bytes.add(segments.bytes());
    }

    /// The fence that the next commit expects.
    fn known_fence(&self) -> Fence {
        if self.shard.sharing.is_shared() { self.fence } else { self.shard.state.read().fence }
    }

    fn add_to_head(&mut self, rows: &[Row], segments: &Segments) {
        if self.shard.sharing.is_shared() {
            // Heads come from the log, where the rows stand in order with those of other processes.
            self.written += rows.len() as u64;
            if self.written >= self.seal_points {
                self.seal_wanted.notify_one();
            }
            return;
        }
        let mut state = self.shard.state.write();
        rows.iter().for_each(|row| state.open.push(row));
        state.open.segments += segments.values.len() as u64;
        state.open.log_bytes += segments.bytes();
        let (open, all) = (state.open.points(), state.head_points());
        drop(state);
        self.shard.note_head_points(all);
        if open >= self.seal_points {
            self.seal_wanted.notify_one();
        }
    }
}

impl Flushed {
    /// The fate of a whole batch of which part was stored before.
    fn after(self, partly_stored: bool) -> Self {
        match self {
            Self::Refused(refusal) if partly_stored => Self::Unknown(format!("part of the batch is stored; {refusal}")),
            other => other,
        }
    }
}

impl Drop for Flusher {
    /// Whoever still waits is told that nothing was stored.
    fn drop(&mut self) {
        self.receiver.close();
        while let Ok(message) = self.receiver.try_recv() {
            if let ShardMessage::Write(write) = message {
                write.reply.send(Flushed::Refused(shutting_down())).ok();
            }
        }
    }
}
