//! From a backup to a store.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use tidemark_kv::{Commit, CommitOutcome, KeyRange, Kv, KvError, RangeLimit};

use super::{BackupError, BackupHeader, BackupSummary, Chunk, verify::RestorePlan};
use crate::{
    Fence,
    commits::Commits,
    fence::{SealToken, Sealing},
    index_counts::IndexCounts,
    index_rows,
    inspect::EntryKind,
    keys,
    restore_mark::{self, RestoreMark},
};

/// How often the last commit is repeated when its outcome is unknown.
const ATTEMPTS_MAX: usize = 8;

/// What to do with a store that is not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Leave it alone.
    Refuse,
    /// Delete everything in it.
    Delete,
}

/// Puts a backup into an engine, chunk by chunk. It may be broken off at any point and begun again with the same backup.
pub struct Restore {
    kv: Arc<dyn Kv>,
    plan: RestorePlan,
    backup: [u8; 16],
    /// Chunks in the backup.
    chunks: u64,
    /// Chunks that were seen.
    seen: u64,
    /// Chunks that were in the store when this restore began.
    done: u64,
    /// Version and writers, which make the store whole.
    last: BTreeMap<Bytes, Bytes>,
}

impl Restore {
    /// Begins, or goes on with, the restore of a backup that was verified.
    ///
    /// # Errors
    /// [`BackupError::Unfinished`] and [`BackupError::Unsound`] for a backup that is not whole; [`BackupError::NotEmpty`] when
    /// there is something else in the store, also a part of another backup; what the engine says.
    pub async fn begin(
        kv: Arc<dyn Kv>,
        header: BackupHeader,
        summary: BackupSummary,
        existing: Existing,
    ) -> Result<Self, BackupError> {
        if !summary.is_complete {
            return Err(BackupError::Unfinished);
        }
        if let Some(first) = summary.report.findings.first() {
            let first = format!("entry {}: {}", first.key, first.problem);
            return Err(BackupError::Unsound { findings: summary.report.findings.len(), first });
        }
        let mut done = 0;
        match read_mark(kv.as_ref()).await? {
            Some(mark) if mark.backup == header.id => done = mark.chunks,
            mark => {
                if mark.is_some() || !is_empty(kv.as_ref()).await? {
                    match existing {
                        Existing::Refuse => return Err(BackupError::NotEmpty),
                        Existing::Delete => delete_everything(kv.as_ref()).await?,
                    }
                }
                let mark = RestoreMark { backup: header.id, chunks: 0 };
                Commits::new(kv.as_ref())
                    .put_all([(Bytes::from_static(keys::RESTORE), mark.encode())].into_iter())
                    .await?;
            }
        }
        let BackupSummary { plan, chunks, .. } = summary;
        Ok(Self { kv, plan, backup: header.id, chunks, seen: 0, done, last: BTreeMap::new() })
    }

    /// Chunks that were in the store already when this restore began.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.done
    }

    /// Puts the next chunk into the store, unless it is there already.
    ///
    /// # Errors
    /// What the engine says; the restore can be begun again.
    pub async fn chunk(&mut self, chunk: &Chunk) -> Result<(), BackupError> {
        let number = self.seen;
        self.seen += 1;
        let mut entries = Vec::with_capacity(chunk.entries.len() + 1);
        for (key, value) in &chunk.entries {
            match EntryKind::of(key) {
                EntryKind::Store | EntryKind::Writers => {
                    self.last.insert(key.clone(), value.clone());
                }
                EntryKind::Fence | EntryKind::Counters | EntryKind::Restore => {}
                EntryKind::Log => entries.extend(self.log_entry(number, key, value)),
                EntryKind::Group | EntryKind::RollupGroup if self.plan.unnamed.contains(key) => {}
                EntryKind::Name | EntryKind::Metadata | EntryKind::TagMetadata | EntryKind::TagReference
                    if number < self.plan.void_names => {}
                EntryKind::Name if !self.wants_name(key, value)? => {}
                _ => entries.push((key.clone(), value.clone())),
            }
        }
        if number < self.done {
            return Ok(());
        }
        let mark = RestoreMark { backup: self.backup, chunks: self.seen };
        entries.push((Bytes::from_static(keys::RESTORE), mark.encode()));
        Ok(Commits::new(self.kv.as_ref()).put_all(entries.into_iter()).await?)
    }

    /// Makes the store whole, in one commit.
    ///
    /// # Errors
    /// [`BackupError::Unfinished`] when chunks are missing; what the engine says.
    pub async fn finish(self) -> Result<(), BackupError> {
        if self.seen != self.chunks {
            return Err(BackupError::Unfinished);
        }
        // Changes of names are counted anew: nobody else has read the store yet.
        let names = self.plan.name_gaps.map(|gap| u64::from(gap.saturating_sub(1)));
        let counts = IndexCounts { names, series: self.plan.series, renames: 0 };
        let mark = RestoreMark { backup: self.backup, chunks: self.seen }.encode();
        let mut commit = Commit::new();
        commit.expect(keys::RESTORE, Some(mark)).delete(keys::RESTORE);
        if counts.total() > 0 {
            commit.put(keys::COUNTERS, counts.encode());
        }
        for (&shard, fence) in &self.plan.fences {
            let has_log = self.plan.shards_with_log.contains(&shard);
            commit.put(keys::fence(shard), fence_after(*fence, has_log).encode());
        }
        for (key, value) in &self.last {
            commit.put(key.clone(), value.clone());
        }
        for _ in 0..ATTEMPTS_MAX {
            match self.kv.commit(commit.clone()).await {
                CommitOutcome::Done(_) => return Ok(()),
                CommitOutcome::Refused(error) => return Err(error.into()),
                CommitOutcome::Unknown(_) if read_mark(self.kv.as_ref()).await?.is_none() => return Ok(()),
                CommitOutcome::Unknown(_) => {}
            }
        }
        Err(KvError::Unavailable("the outcome of the last commit stayed unknown; restore again".to_owned()).into())
    }

    /// An entry of the log in the epoch that is to be sealed; `None` when the log was read anew later.
    fn log_entry(&self, chunk: u64, key: &Bytes, value: &Bytes) -> Option<(Bytes, Bytes)> {
        let (shard, _) = keys::log_position(key)?;
        let fence = self.plan.fences.get(&shard)?;
        let is_void = self.plan.void_log.get(&shard).is_some_and(|&void| chunk < void);
        (!is_void).then(|| (keys::log_in_epoch(key, shard, log_epoch(*fence)), value.clone()))
    }

    fn wants_name(&self, key: &[u8], value: &[u8]) -> Result<bool, BackupError> {
        let (kind, row) = index_rows::read_name(key, value)?;
        let mut gaps = index_rows::NAME_KINDS.into_iter().zip(self.plan.name_gaps);
        Ok(gaps.any(|(of, gap)| of == kind && row.id < gap))
    }
}

/// The epoch of the restored log: above every one that was ever open.
fn log_epoch(fence: Fence) -> u64 {
    fence.open + 1
}

/// As if the seal of the restored log had been broken off by a sealer that there never was.
fn fence_after(fence: Fence, has_log: bool) -> Fence {
    let epoch = log_epoch(fence);
    if has_log {
        Fence { open: epoch + 1, sealed: epoch - 1, sealing: Some(Sealing { epoch, owner: SealToken::NOBODY }) }
    } else {
        Fence { open: epoch, sealed: epoch - 1, sealing: None }
    }
}

async fn read_mark(kv: &dyn Kv) -> Result<Option<RestoreMark>, BackupError> {
    let value = kv.snapshot().await?.get(keys::RESTORE).await?;
    Ok(value.map(|value| restore_mark::read(&value)).transpose()?)
}

async fn is_empty(kv: &dyn Kv) -> Result<bool, KvError> {
    let all = KeyRange::prefix(&[]);
    Ok(kv.snapshot().await?.range(all, RangeLimit::entries(1)).await?.entries.is_empty())
}

async fn delete_everything(kv: &dyn Kv) -> Result<(), KvError> {
    let mut commit = Commit::new();
    commit.delete_range(KeyRange::prefix(&[]));
    for _ in 0..ATTEMPTS_MAX {
        match kv.commit(commit.clone()).await {
            CommitOutcome::Done(_) => return Ok(()),
            CommitOutcome::Refused(error) => return Err(error),
            CommitOutcome::Unknown(_) => {}
        }
    }
    Err(KvError::Unavailable("it stayed unknown whether the store was emptied; restore again".to_owned()))
}

impl std::fmt::Debug for Restore {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Restore").field("seen", &self.seen).field("done", &self.done).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_restored_log_lies_above_every_epoch_and_below_the_open_one() {
        let owner = SealToken { writer: 3, attempt: 1 };
        let begun = Fence::NEW.begin(0, owner).unwrap();
        for fence in [Fence::NEW, begun, begun.publish()] {
            for has_log in [true, false] {
                let after = fence_after(fence, has_log);
                assert_eq!(Fence::decode(0, &after.encode()), Ok(after));
                assert!(after.sealed >= fence.open && log_epoch(fence) > after.sealed);
                assert_eq!(after.sealing.map(|sealing| sealing.epoch), has_log.then_some(log_epoch(fence)));
            }
        }
    }
}
