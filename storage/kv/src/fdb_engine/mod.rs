//! The engine `foundationdb`: a cluster that several processes share. With the feature `fdb`.
//!
//! # How it works
//! A snapshot is a transaction whose read version was fetched when it was taken; it reads without conflicts, for the five
//! seconds that FoundationDB keeps a version, and then answers [`crate::KvError::TooOld`].
//!
//! A commit is one transaction. It reads the keys of its expectations, all at once, so that FoundationDB refuses it when one
//! of them is written in the meantime; a value that differs is a [`crate::KvError::Conflict`]. Refused by FoundationDB
//! (error 1020), it reads again: either the key has changed now, or somebody wrote the same value. Operations go in
//! order, with read-your-writes off, which keeps them in order. A versionstamped key gets FoundationDB's ten bytes
//! and the two of its order inside the commit.
//!
//! Every key begins with [`FdbOptions::key_prefix`]; nothing outside is read or written.
//!
//! # Time
//! Reads, and what a commit reads first, end after [`FdbOptions::read_timeout`]. From the moment a transaction is
//! handed in, there is no time limit: FoundationDB's own transaction time-out leaves it in flight, and a commit that
//! is written after it was called unknown could overtake what its caller does next. So a commit waits for a cluster that
//! is gone in that very moment until it is back. Whoever drops the future before does not know the outcome.
//!
//! # An unknown outcome
//! `commit_unknown_result` (1021) is reported after the client library has made sure that the transaction is no longer in
//! flight: it commits a transaction of its own that conflicts with it (`tryCommit` and `commitDummyTransaction` in
//! `fdbclient/NativeAPI.actor.cpp`). For every other error that leaves the outcome open, this engine waits until the
//! read version is so old that the cluster refuses it. Then [`crate::CommitOutcome::Unknown`] means what it says: written or
//! not, and no longer under way. The crate's own retry loop (`Database::run`) was turned down because it commits again
//! after an unknown outcome, which is wrong for versionstamped keys.
//!
//! # The client library
//! Is loaded by [`FdbNetwork::start`], which also starts the one network thread of the process.

mod client_library;
mod cluster;
mod engine;
mod failure;
mod key_prefix;
mod network;
mod options;
mod size_estimate;
mod snapshot;
mod transaction;

pub use engine::FdbKv;
pub use key_prefix::{KeyPrefix, KeyPrefixError};
pub use network::FdbNetwork;
pub use options::FdbOptions;
