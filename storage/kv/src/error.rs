//! What can go wrong.

use thiserror::Error;

/// Why an engine did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KvError {
    /// A key does not have the value that the commit expects. Read again and decide again.
    #[error("key {key} changed since it was read")]
    Conflict {
        /// The key, escaped for people.
        key: String,
    },
    /// A key, a value or a commit is over its limit.
    #[error("{what} of {bytes} bytes exceeds the limit of {limit}")]
    TooLarge {
        /// `key`, `value` or `commit`.
        what: &'static str,
        /// Its bytes.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The snapshot is too old to be read (FoundationDB's five seconds). Take another.
    #[error("the snapshot is too old")]
    TooOld,
    /// The disk is full. Reads go on.
    #[error("the disk is full: {0}")]
    Full(String),
    /// Another process has the store open.
    #[error("{0}")]
    InUse(String),
    /// The store is damaged or of another version.
    #[error("{0}")]
    Corrupt(String),
    /// The engine failed or is not reachable; safe to try again.
    #[error("{0}")]
    Unavailable(String),
    /// The engine is closed.
    #[error("the store is closed")]
    Closed,
}

impl KvError {
    pub(crate) fn conflict(key: &[u8]) -> Self {
        Self::Conflict { key: key.escape_ascii().to_string() }
    }
}
