//! What one commit puts into the log, and what follows from it in memory.

use std::sync::atomic::Ordering;

use parking_lot::RwLockWriteGuard;
use tidemark_kv::Commit;

use super::{Flusher, segments::Segments};
use crate::{
    codec::{Deletion, LogIdentity},
    head::Row,
    keys::{self, TombstoneKey},
    shard::ShardState,
    tombstones::Tombstone,
};

/// Series of a deletion whose heads change under one lock: a few milliseconds at most.
const SERIES_PER_LOCK: usize = 4_096;

/// Points, or deletions of points.
#[derive(Clone)]
pub(super) enum Entries {
    Rows(Vec<Row>),
    /// One for each value of the segments.
    Deletions(Vec<Deletion>),
}

impl Entries {
    /// Points that are written.
    pub(super) fn points(&self) -> u64 {
        match self {
            Self::Rows(rows) => rows.len() as u64,
            Self::Deletions(_) => 0,
        }
    }
}

impl Flusher {
    /// Adds the tombstones of deletions to the commit that puts them into the log of `epoch`.
    pub(super) fn add_tombstones(&self, commit: &mut Commit, epoch: u64, segments: &Segments) {
        for (sequence, value) in (segments.first_sequence..).zip(&segments.values) {
            let identity = LogIdentity { writer: self.writer, sequence };
            let key = TombstoneKey { shard: self.shard.number, epoch, identity };
            commit.put(key.encode(), value.clone());
        }
    }

    /// Does in memory what was committed to the log of `epoch`.
    pub(super) async fn apply(&mut self, entries: &Entries, segments: &Segments, epoch: u64) {
        if self.shard.sharing.is_shared() {
            // Heads come from the log, where the entries stand in order with those of other processes.
            return self.note_written(entries.points(), epoch);
        }
        match entries {
            Entries::Rows(rows) => self.add_to_head(rows, segments, epoch),
            Entries::Deletions(deletions) => {
                for (sequence, deletion) in (segments.first_sequence..).zip(deletions) {
                    let identity = LogIdentity { writer: self.writer, sequence };
                    self.apply_deletion(Tombstone { epoch, identity, deletion: deletion.clone() }).await;
                }
                self.note_log(self.shard.state.write(), segments, epoch);
            }
        }
    }

    fn note_written(&self, points: u64, epoch: u64) {
        let added = if self.known_fence().open == epoch { points } else { 0 };
        let written = self.shard.written.fetch_add(added, Ordering::Relaxed) + added;
        if written >= self.seal_points {
            self.seal_wanted.notify_one();
        }
    }

    async fn apply_deletion(&self, tombstone: Tombstone) {
        let Deletion { metric, series, range } = &tombstone.deletion;
        let (locals, range) = (self.index.read().locals(*metric, series), *range);
        let epoch = tombstone.epoch;
        self.shard.state.write().tombstones.add(tombstone);
        for some in locals.chunks(SERIES_PER_LOCK) {
            self.shard.state.write().delete(epoch, some, range);
            tokio::task::yield_now().await;
        }
    }

    /// Counts what is in the log of the open epoch.
    fn note_log(&self, mut state: RwLockWriteGuard<'_, ShardState>, segments: &Segments, epoch: u64) {
        if state.fence.open == epoch {
            state.open.segments += segments.values.len() as u64;
            state.open.log_bytes += segments.bytes();
        }
        let (open, all) = (state.open.points(), state.head_points());
        drop(state);
        self.shard.note_head_points(all);
        if open >= self.seal_points {
            self.seal_wanted.notify_one();
        }
    }

    fn add_to_head(&self, rows: &[Row], segments: &Segments, epoch: u64) {
        let mut state = self.shard.state.write();
        if state.fence.open == epoch {
            state.open.push_all(rows);
        }
        self.note_log(state, segments, epoch);
    }
}

/// Before the versionstamps of the entries.
pub(super) fn put_entries(commit: &mut Commit, shard: u16, epoch: u64, segments: &Segments) {
    for value in &segments.values {
        commit.put_versionstamped(keys::log_prefix(shard, epoch), value.clone());
    }
}
