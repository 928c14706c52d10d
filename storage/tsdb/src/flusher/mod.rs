//! The one task that writes a shard's log.
//!
//! It gathers whatever waits while the commit before is on its way to the disk, and a moment longer when there are more
//! writers than waiting batches (`group_commit.rs`), so a busy store commits large groups and an idle one does not wait. Heads change here alone and only after their commit: what a reader sees is acknowledged or
//! about to be. Fences move here too, between two flushes, so that the head of a closed epoch is complete.

mod deletions;
mod entries;
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
    entries::{Entries, put_entries},
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
    tombstones_max: usize,
    writer: u64,
    segments: SegmentEncoder,
    /// Rows that the next commit takes.
    rows: Vec<Row>,
    /// Writes whose last row is among `rows`.
    waiting: Vec<Waiting>,
    group_commit: GroupCommit,
    /// Entries that are in the log or not; nothing else is written before that is known.
    unresolved: Option<Unresolved>,
    /// The fence of a shared store as far as this flusher knows it; readers follow it by themselves.
    fence: Fence,
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
    pub(crate) tombstones_max: usize,
    pub(crate) writer: u64,
}

impl Flusher {
    pub(crate) fn new(parts: FlusherParts, shard: Arc<Shard>, receiver: mpsc::Receiver<ShardMessage>) -> Self {
        let FlusherParts { kv, clock, index, counters, seal_wanted, seal_points, tombstones_max, writer } = parts;
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
            tombstones_max,
            writer,
            segments: SegmentEncoder::new(writer),
            rows: Vec::new(),
            waiting: Vec::new(),
            group_commit: GroupCommit::default(),
            unresolved: None,
            fence,
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
                    ShardMessage::Delete(pending) => {
                        self.flush().await;
                        self.delete(pending).await;
                    }
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
        let segments = match self.segments.encode(&self.rows) {
            Ok(segments) => segments,
            Err(refusal) => return Flushed::Refused(refusal),
        };
        let entries = Entries::Rows(std::mem::take(&mut self.rows));
        let flushed = self.commit_entries(&entries, &segments).await;
        if let Entries::Rows(rows) = entries {
            self.rows = rows;
        }
        flushed
    }

    async fn commit_entries(&mut self, entries: &Entries, segments: &Segments) -> Flushed {
        if let Err(error) = self.resolve().await {
            let message = format!("the outcome of an earlier flush is still unknown: {error}");
            return Flushed::Refused(WriteRefusal::new(RefusalReason::Unavailable, message));
        }
        for _ in 0..ATTEMPTS_MAX {
            let fence = self.known_fence();
            let started = self.clock.monotonic();
            match self.kv.commit(self.commit_of(&fence, entries, segments)).await {
                CommitOutcome::Done(_) => {
                    let took = self.clock.monotonic().saturating_sub(started);
                    self.note_stored(entries.points(), segments, took);
                    self.apply(entries, segments, fence.open).await;
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
                    return Flushed::Refused(refusal_of("the points were not stored", &error));
                }
                CommitOutcome::Unknown(error) => {
                    self.counters.unknown.add(1);
                    let (entries, segments) = (entries.clone(), segments.clone());
                    self.unresolved = Some(Unresolved { entries, segments, epoch: fence.open });
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

    fn commit_of(&self, fence: &Fence, entries: &Entries, segments: &Segments) -> Commit {
        let mut commit = Commit::new();
        commit.expect(keys::fence(self.shard.number), Some(fence.encode()));
        put_entries(&mut commit, self.shard.number, fence.open, segments);
        if let Entries::Deletions(_) = entries {
            self.add_tombstones(&mut commit, fence.open, segments);
        }
        commit
    }

    fn note_stored(&mut self, points: u64, segments: &Segments, took: Duration) {
        self.group_commit.note(took, self.waiting.len(), self.receiver.len());
        self.counters.note_commit(took);
        self.counters.points.add(points);
        self.counters.bytes.add(segments.bytes());
    }

    /// The fence that the next commit expects.
    fn known_fence(&self) -> Fence {
        if self.shard.sharing.is_shared() { self.fence } else { self.shard.state.read().fence }
    }
}

impl Flushed {
    /// The fate of the whole of which part was stored before.
    fn after(self, partly_stored: bool) -> Self {
        match self {
            Self::Refused(refusal) if partly_stored => Self::Unknown(format!("part of it is stored; {refusal}")),
            other => other,
        }
    }
}

impl Drop for Flusher {
    /// Whoever still waits is told that nothing was stored.
    fn drop(&mut self) {
        self.receiver.close();
        while let Ok(message) = self.receiver.try_recv() {
            match message {
                ShardMessage::Write(write) => write.reply.send(Flushed::Refused(shutting_down())).ok(),
                ShardMessage::Delete(delete) => delete.reply.send(Flushed::Refused(shutting_down())).ok(),
                ShardMessage::ChangeFence(..) | ShardMessage::Stop => None,
            };
        }
    }
}
