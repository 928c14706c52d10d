//! What can go wrong with a backup.

use std::io;

use thiserror::Error;
use tidemark_kv::KvError;

use crate::StoreError;

/// Why a backup could not be taken, read or restored.
#[derive(Debug, Error)]
pub enum BackupError {
    /// The file is something else.
    #[error("it does not begin as a backup does")]
    NotABackup,
    /// A newer program took the backup.
    #[error(
        "it has version {found} of the format of backups and this program reads version {known}; use a newer program"
    )]
    NewerVersion {
        /// Version of the file.
        found: u8,
        /// The version that this program reads.
        known: u8,
    },
    /// A part of the file is not what was written.
    #[error("the chunk at byte {offset} is damaged: {reason}")]
    Damaged {
        /// Where the chunk begins.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// The file ends in the middle of a chunk.
    #[error("it ends in the middle of the chunk at byte {offset}")]
    Torn {
        /// Where the chunk begins.
        offset: u64,
    },
    /// The backup did not come to its end.
    #[error("it is not finished: run the same `tidemark backup create` again, which goes on where it ended")]
    Unfinished,
    /// The backup has findings, so a restore of it would not be what was saved.
    #[error("{findings} findings, the first: {first}")]
    Unsound {
        /// How many.
        findings: usize,
        /// The first of them.
        first: String,
    },
    /// There is something where the backup is to go.
    #[error("the store is not empty; restore into an empty one, or say `--overwrite` to delete everything in it first")]
    NotEmpty,
    /// A cursor that no chunk had.
    #[error("it is no cursor of a backup")]
    Cursor,
    /// There is no store where one is to be saved.
    #[error("there is no store")]
    NoStore,
    /// Whoever takes the chunks does not want any more.
    #[error("the backup is not wanted any more")]
    Gone,
    /// Something is wrong with the store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The engine did not do what was asked.
    #[error(transparent)]
    Kv(#[from] KvError),
    /// The file could not be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
}
