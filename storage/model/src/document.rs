//! Small durable records: incidents, silences, schedules, dashboards, tokens.

use thiserror::Error;

use crate::BoxFuture;

/// Keeps small records by collection and id, each with a version for compare-and-set.
pub trait DocumentStore: Send + Sync {
    /// The document, if there is one.
    fn get<'a>(&'a self, collection: &'a str, id: &'a str) -> BoxFuture<'a, Result<Option<Document>, DocumentError>>;

    /// Writes a document if its version is as expected, durably, and returns its new version.
    ///
    /// # Errors
    /// [`DocumentError::Conflict`] when somebody else was faster: read again and decide again.
    fn put<'a>(
        &'a self,
        collection: &'a str,
        id: &'a str,
        expected: ExpectedVersion,
        bytes: Vec<u8>,
    ) -> BoxFuture<'a, Result<u64, DocumentError>>;

    /// Removes a document; removing what is not there is no error.
    fn delete<'a>(&'a self, collection: &'a str, id: &'a str) -> BoxFuture<'a, Result<(), DocumentError>>;

    /// At most `limit` documents in byte order of their ids, those after `after` (exclusive) when given.
    fn list<'a>(
        &'a self,
        collection: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Document>, DocumentError>>;
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its id in its collection.
    pub id: String,
    /// Grows with every write of this document.
    pub version: u64,
    /// Its contents, in a format of the owner's with a version of its own.
    pub bytes: Vec<u8>,
}

/// What must be there for a write to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectedVersion {
    /// Whatever is there.
    Any,
    /// Nothing.
    Absent,
    /// This version.
    Exactly(u64),
}

/// Why a document could not be read or written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DocumentError {
    /// The version is not the expected one.
    #[error("`{collection}/{id}` was changed by somebody else")]
    Conflict {
        /// The collection.
        collection: String,
        /// The id.
        id: String,
    },
    /// The document is larger than the store takes.
    #[error("`{collection}/{id}` has {bytes} bytes, at most {limit} are allowed")]
    TooLarge {
        /// The collection.
        collection: String,
        /// The id.
        id: String,
        /// Bytes of the document.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The outcome of the write is unknown: read again.
    #[error("whether `{collection}/{id}` was written is unknown: {reason}")]
    Unknown {
        /// The collection.
        collection: String,
        /// The id.
        id: String,
        /// What happened.
        reason: String,
    },
    /// The store cannot answer now; safe to try again.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
}
