//! Ordered bytes with transactions: what the time-series layer asks of a database, and nothing more.
//!
//! A reader takes a [`KvSnapshot`] and sees one state. A writer hands over a [`Commit`]: what it expects to find, and
//! what to write if it finds that. Expectations instead of read and write conflict ranges, because every engine can
//! check them in its own way (one committer thread embedded, serializable reads on FoundationDB), because they can be
//! logged and replayed, and because a fence is exactly one of them. Interactive transactions, which FoundationDB
//! offers, were turned down: an embedded engine would have to hold a write lock while the caller thinks.
//!
//! The limits are FoundationDB's on every engine, so that nothing that works on one machine fails on a cluster.

mod commit;
mod error;
#[cfg(feature = "fdb")]
pub mod fdb_engine;
pub mod memory;
mod range;
pub mod redb_engine;
mod versionstamp;

use std::{future::Future, pin::Pin, sync::Arc};

use bytes::Bytes;

pub use commit::{Commit, CommitOutcome, Expectation, OPERATION_BYTES, Operation};
pub use error::KvError;
#[cfg(feature = "fdb")]
pub use fdb_engine::{FdbKv, FdbNetwork, FdbOptions, KeyPrefix, KeyPrefixError};
pub use memory::{FaultPlan, MemoryKv};
pub use range::{KeyRange, RangeLimit, RangePage};
pub use redb_engine::{RedbKv, RedbOptions};
pub use versionstamp::Versionstamp;

/// A future that a seam returns.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Longest key in bytes. FoundationDB's limit is 10,000; the rest is for the prefix of the store and what comes after a
/// versionstamp.
pub const KEY_BYTES_MAX: usize = 9_900;
/// Longest value in bytes.
pub const VALUE_BYTES_MAX: usize = 100_000;
/// Most bytes of keys and values in one commit. FoundationDB allows ten times as much and advises against it.
pub const COMMIT_BYTES_MAX: usize = 1_000_000;

/// An ordered key-value store.
pub trait Kv: Send + Sync {
    /// The state of now: everything whose commit ended before this call is in it.
    fn snapshot(&self) -> BoxFuture<'_, Result<Arc<dyn KvSnapshot>, KvError>>;

    /// Checks the expectations and applies the operations, all or nothing; done means durable.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the outcome unknown.
    fn commit(&self, commit: Commit) -> BoxFuture<'_, CommitOutcome>;

    /// Whether other processes can read and write the same store at the same time. Then what this process knows of it may
    /// be out of date, and only expectations protect a decision; otherwise everything that ever changes the store went
    /// through this handle or its clones.
    fn is_shared(&self) -> bool;

    /// Why the engine takes no more writes, in words for the operator; `None` while it does.
    fn trouble(&self) -> Option<String> {
        None
    }

    /// Bytes on disk, for figures; `None` when the engine cannot tell.
    fn disk_bytes(&self) -> Option<u64>;
}

/// One state of the store.
pub trait KvSnapshot: Send + Sync {
    /// The value of a key.
    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Bytes>, KvError>>;

    /// Entries in order of their keys, until the range or a limit ends.
    fn range(&self, range: KeyRange, limit: RangeLimit) -> BoxFuture<'_, Result<RangePage, KvError>>;
}
