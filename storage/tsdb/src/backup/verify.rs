//! Reads a whole backup and says what is in it and what is wrong with it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use hashbrown::HashSet;
use tidemark_model::NameKind;

use super::{BackupError, Chunk, ChunkKind};
use crate::{
    Fence,
    index_rows::NAME_KINDS,
    inspect::{CheckReport, Checker, EntryKind, Subject, first_gap},
    keys,
};

/// Takes the chunks of a backup in order.
#[derive(Debug)]
pub struct BackupVerifier {
    checker: Checker,
    chunks: u64,
    is_complete: bool,
    /// Whether the last entry was a directory: what follows is another window.
    in_directories: bool,
    /// For each shard the number of chunks from the start in which its log is void.
    void_log: BTreeMap<u16, u64>,
    /// The number of chunks from the start in which names are void.
    void_names: u64,
    shards_with_log: BTreeSet<u16>,
}

/// What a backup has.
#[derive(Clone, Debug)]
pub struct BackupSummary {
    /// What was looked at and what is wrong.
    pub report: CheckReport,
    /// Chunks.
    pub chunks: u64,
    /// Whether it came to its end.
    pub is_complete: bool,
    pub(super) plan: RestorePlan,
}

/// What a restore has to know before it begins.
#[derive(Clone, Debug, Default)]
pub(super) struct RestorePlan {
    pub(super) void_log: BTreeMap<u16, u64>,
    pub(super) void_names: u64,
    pub(super) shards_with_log: BTreeSet<u16>,
    pub(super) fences: BTreeMap<u16, Fence>,
    /// For each kind the least id of a name that is not restored.
    pub(super) name_gaps: [u32; 3],
    pub(super) series: u64,
    /// Groups that nothing names.
    pub(super) unnamed: HashSet<Bytes>,
}

impl Default for BackupVerifier {
    fn default() -> Self {
        Self {
            checker: Checker::new(Subject::Backup),
            chunks: 0,
            is_complete: false,
            in_directories: false,
            void_log: BTreeMap::new(),
            void_names: 0,
            shards_with_log: BTreeSet::new(),
        }
    }
}

impl BackupVerifier {
    /// Looks at the next chunk.
    ///
    /// # Errors
    /// [`BackupError::Damaged`] when something follows the end.
    pub fn chunk(&mut self, chunk: &Chunk) -> Result<(), BackupError> {
        if self.is_complete {
            let reason = "something follows the end of the backup".to_owned();
            return Err(BackupError::Damaged { offset: 0, reason });
        }
        match chunk.kind {
            ChunkKind::Entries => {}
            ChunkKind::ForgetLog(shard) => {
                self.void_log.insert(shard, self.chunks);
                self.shards_with_log.remove(&shard);
            }
            ChunkKind::ForgetNames => {
                self.void_names = self.chunks;
                self.checker.forget_names();
            }
            ChunkKind::End => self.is_complete = true,
        }
        self.chunks += 1;
        for (key, value) in &chunk.entries {
            let kind = EntryKind::of(key);
            if self.in_directories && kind != EntryKind::Directory {
                self.checker.end_window();
            }
            self.in_directories = kind == EntryKind::Directory;
            if let (EntryKind::Log, Some((shard, _))) = (kind, keys::log_position(key)) {
                self.shards_with_log.insert(shard);
            }
            self.checker.entry(key, value);
        }
        Ok(())
    }

    /// What the backup has.
    #[must_use]
    pub fn finish(mut self) -> BackupSummary {
        self.checker.end_window();
        self.checker.end_rollups();
        let plan = RestorePlan {
            void_log: self.void_log,
            void_names: self.void_names,
            shards_with_log: self.shards_with_log,
            fences: self.checker.fences().clone(),
            name_gaps: NAME_KINDS.map(|kind: NameKind| first_gap(self.checker.names(kind))),
            series: self.checker.series_count(),
            unnamed: self.checker.unnamed().clone(),
        };
        BackupSummary { report: self.checker.finish(), chunks: self.chunks, is_complete: self.is_complete, plan }
    }
}
