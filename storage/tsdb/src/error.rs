//! What can go wrong with the store as a whole.

use thiserror::Error;
use tidemark_kv::KvError;
use tidemark_model::{DocumentError, ReadError};

/// Why the store could not be opened or sealed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StoreError {
    /// The store was written by a newer program.
    #[error(
        "the store has version {found} and this program reads up to version {known}; start a newer program or restore a backup that was taken before the upgrade"
    )]
    NewerVersion {
        /// The version of the store.
        found: u64,
        /// The newest version that this program reads.
        known: u64,
    },
    /// The number of shards is fixed when a store is created.
    #[error("the store was created with {stored} shards and cannot be opened with {asked}")]
    ShardCount {
        /// Shards of the store.
        stored: u16,
        /// Shards asked for.
        asked: u16,
    },
    /// A stored entry is damaged. It was acknowledged once, so it is not skipped.
    #[error("entry {key} is damaged: {reason}; restore a backup")]
    Corrupt {
        /// The key, escaped for people.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// A restore into the store was broken off.
    #[error(
        "a restore into the store was broken off; run the same `tidemark backup restore` again, or begin with an empty store"
    )]
    RestoreUnfinished,
    /// Another process took the seal over; nothing is lost, and it will finish it.
    #[error("the seal of epoch {epoch} of shard {shard} was taken over by another process")]
    SealTakenOver {
        /// The shard.
        shard: u16,
        /// The epoch.
        epoch: u64,
    },
    /// Another process seals the shard and was alive a moment ago; nothing is to be done.
    #[error("epoch {epoch} of shard {shard} is being sealed by another process")]
    SealUnderWay {
        /// The shard.
        shard: u16,
        /// The epoch.
        epoch: u64,
    },
    /// The engine did not do what was asked.
    #[error(transparent)]
    Kv(#[from] KvError),
    /// The store is closed or closing.
    #[error("the store is closed")]
    Closed,
}

impl From<StoreError> for ReadError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Corrupt { .. } | StoreError::Kv(KvError::Corrupt(_)) => Self::Corrupt(error.to_string()),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

impl From<StoreError> for DocumentError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.to_string())
    }
}
