//! The engine `redb`: one file on one machine, durable at every commit.
//!
//! # How it works
//! One thread, the committer, owns all writing. It takes every commit that waits, up to a cap of bytes, and puts them
//! into one redb transaction: expectations are checked in order against the state that includes the commits before
//! it in the group; a commit whose expectation fails writes nothing. One `fsync` (two, with redb's two-phase commit)
//! makes the group durable, and only then is anybody answered. While the disk works, the next group gathers, so the
//! engine batches more the slower the disk is, without a timer. Readers use redb's read transactions and never wait.
//!
//! A small group is made durable in a journal instead (`journal.rs`): one write and one `fsync` where redb needs a dozen
//! and two. redb then takes it without being durable, until the journal is full or a large group comes. After a crash
//! the journal is read and applied again; nobody is answered, and no reader sees anything, that is in neither.
//!
//! Versionstamps are a sequence number, stored in the same transaction, and the order inside the commit.
//!
//! # When the disk misbehaves
//! - *Full*: before each group the committer asks the file system for its free space and refuses with
//!   [`crate::KvError::Full`] below [`RedbOptions::free_bytes_min`], so that redb is not touched and reads go on; commits
//!   that only delete are let through, or nothing would ever make space again. Should
//!   a write find the disk full all the same, redb gives up its handle for good; the committer opens the file
//!   again (milliseconds, thanks to quick repair) and looks at the stored sequence to learn whether the group is in.
//! - *A failed fsync, or any other I/O error of a commit*: the pages in doubt may be gone from the cache, and a second
//!   fsync that succeeds proves nothing. The engine is poisoned: that group is unknown, everything after it is refused.
//! - *Rot*: redb checksums its pages but looks at the checksums only when it repairs or when
//!   [`RedbOptions::verify_on_open`] asks for it; values that matter carry checksums of their own.
//!
//! # Turned down
//! - *fjall*: fsyncs inside its journal lock, so no group commit of its own; no range delete, so a log that is consumed
//!   from behind grows to seven times its live size; damage in the middle of its journal passes for a torn tail and
//!   silently drops what follows (14 of 119 flipped bits lost half of the batches without an error).
//! - *LMDB*: two to three times faster at writing and three to seven at reading, which at 100,000 points a second is
//!   below one hundredth of a core. Against it: a map size to be chosen up front, no page checksums, media errors as
//!   SIGBUS, an unsafe interface. It is the fallback behind the same trait.
//! - *RocksDB*: aborted the process when the disk was full, and takes most of an hour to compile.
//! - *A thread pool of writers*: redb has one writer at a time; more threads would only queue for its lock.

mod backend;
mod committer;
mod database;
mod engine;
mod failure;
mod group;
mod journal;
mod journal_frame;
mod options;
mod snapshot;
#[cfg(test)]
mod tests;

pub use engine::RedbKv;
pub use options::RedbOptions;

use redb::TableDefinition;

/// Everything that commits write.
const ENTRIES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("entries");
/// What the engine remembers for itself.
const STATE: TableDefinition<'_, &str, u64> = TableDefinition::new("state");
/// In [`STATE`]: the sequence number of the newest commit.
const SEQUENCE: &str = "sequence";
/// In [`STATE`]: the version of the layout of the tables.
const LAYOUT: &str = "layout";
/// The layout that this code reads and writes. It has a number of its own, so that a version that knows no journal does
/// not open a store without what is in it.
const LAYOUT_VERSION: u64 = 2;
/// The layout before there was a journal; becomes ours when it is opened.
const LAYOUT_WITHOUT_JOURNAL: u64 = 1;
/// In [`STATE`]: the id that the frames of the journal carry.
const JOURNAL: &str = "journal";
/// In [`STATE`]: how long the journal is at least, unless the store was closed in order; then it is 0.
const JOURNAL_BYTES: &str = "journal_bytes";
