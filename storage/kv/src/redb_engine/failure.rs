//! What redb's errors mean to us.

use std::io::ErrorKind;

use redb::{CommitError, CompactionError, DatabaseError, StorageError, TableError, TransactionError};

use crate::KvError;

/// An error of redb, sorted by what is to be done about it.
#[derive(Debug)]
pub(super) enum Failure {
    /// The disk is full: open again, and go on when there is space.
    Full(String),
    /// The file contradicts itself.
    Corrupt(String),
    /// Anything else, mostly I/O: nothing may be written any more.
    Broken(String),
    /// The file had to be opened again and could not be.
    NotOpen(KvError),
    /// The store was closed.
    Closed,
}

impl Failure {
    /// What a reader is told.
    pub(super) fn into_read_error(self) -> KvError {
        match self {
            Self::Full(text) => KvError::Full(text),
            Self::Corrupt(text) => KvError::Corrupt(format!("the store is damaged: {text}")),
            Self::Broken(text) => KvError::Unavailable(format!("read from the store: {text}")),
            Self::NotOpen(error) => error,
            // The file was closed under a snapshot, for good or to open it again: another snapshot will tell.
            Self::Closed => KvError::TooOld,
        }
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Io(io) if is_full(io.kind()) => Self::Full(io.to_string()),
            StorageError::Corrupted(text) => Self::Corrupt(text),
            StorageError::DatabaseClosed => Self::Closed,
            other => Self::Broken(other.to_string()),
        }
    }
}

fn is_full(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
}

impl From<TableError> for Failure {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Storage(storage) => storage.into(),
            other => Self::Corrupt(other.to_string()),
        }
    }
}

impl From<TransactionError> for Failure {
    fn from(error: TransactionError) -> Self {
        match error {
            TransactionError::Storage(storage) => storage.into(),
            other => Self::Broken(other.to_string()),
        }
    }
}

impl From<CommitError> for Failure {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Storage(storage) => storage.into(),
            other => Self::Broken(other.to_string()),
        }
    }
}

impl From<CompactionError> for Failure {
    fn from(error: CompactionError) -> Self {
        match error {
            CompactionError::Storage(storage) => storage.into(),
            other => Self::Broken(other.to_string()),
        }
    }
}

/// Why a file could not be opened, for people.
pub(super) fn open_error(path: &str, error: DatabaseError) -> KvError {
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => KvError::InUse(format!(
            "the store `{path}` is in use by another process: stop that process, or choose another data folder"
        )),
        DatabaseError::UpgradeRequired(version) => KvError::Corrupt(format!(
            "the store `{path}` has file format {version} of its engine, which this version does not read"
        )),
        DatabaseError::Storage(StorageError::Io(io)) if io.kind() == ErrorKind::InvalidData => {
            KvError::Corrupt(format!("`{path}` is not a store: {io}"))
        }
        DatabaseError::Storage(storage) => match Failure::from(storage) {
            Failure::Full(text) => KvError::Full(format!("open the store `{path}`: {text}")),
            Failure::Corrupt(text) => KvError::Corrupt(format!("the store `{path}` is damaged: {text}")),
            Failure::Broken(text) => KvError::Unavailable(format!("open the store `{path}`: {text}")),
            Failure::NotOpen(error) => error,
            Failure::Closed => KvError::Closed,
        },
        other => KvError::Unavailable(format!("open the store `{path}`: {other}")),
    }
}
