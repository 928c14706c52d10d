//! Backups: a stream of checked chunks, taken while others write, and the way back.
//!
//! # What is read in which order
//! 1. The **log** and the fence of every shard, then the tombstones.
//! 2. The **blocks**, bucket by bucket: what the directories of a bucket name, then these directories.
//! 3. The **series**, then what is kept under **names** (ids, what is known of metrics and tags), then everything else
//!    (documents, annotations, …).
//! 4. **Rollups** that outlive their points; the others are made anew of the blocks.
//! 5. The version of the store, the last writer number, the **fences**.
//!
//! Where an engine keeps a snapshot for as long as it is wanted, all of it comes from one and the backup is a state that
//! existed. Where snapshots end early (FoundationDB's after five seconds; ours after ten minutes, so that the engine can use
//! its pages again), a new one is taken and the reading goes on. What was acknowledged before the backup began is in it all
//! the same:
//!
//! - Points move from the log to the blocks and never back. The log is read first, so a point that is in neither was in
//!   the log when the log was read, and then it is there. Should a seal clear a part of a shard's log before all of it was
//!   read, the log of this shard is begun anew and what was taken of it is void: an older value of the log could hide
//!   the newer one that went to the blocks.
//! - A bucket's directories and their groups come from one snapshot, or from two between which the directories did not
//!   change. Groups are never rewritten under the same key. Directories of a seal that is under way are left out: their
//!   points are in the log.
//! - Series are made before their first point and names before their first series; both only grow. Read behind the points,
//!   they have all that the points need. Names that were made while names were being read may have gaps in their ids; a
//!   restore leaves out what is behind a gap, which no series of the backup uses. Should a name be changed meanwhile, it may
//!   be missing or be there twice: then all names are read anew, and what was taken of them is void.
//!
//! In a restored store the log lies in an epoch of its own above all that were ever open, between the fence's sealed epoch
//! and the new open one, as if a seal had been broken off: the first opening seals it. Thus the value of a point is the one
//! of the log as it was read, and points without one have what the blocks say. For each point that is the value it had
//! when the backup began, or a later one. Since new points go to a later epoch, it does not matter whether the engine
//! restored into gives out smaller versionstamps than the one before; no incarnation has to be counted.
//!
//! # What breaks off can go on
//! Each chunk carries a [`BackupCursor`]: where to go on behind it. Whoever takes a backup needs nothing else, so a server
//! that was restarted goes on for a client that has half of a file; from there on it reads as from a new snapshot. A restore
//! notes in the store how many chunks are in it and may be run again at any time.
//!
//! Turned down: copying the engine's file (needs a lock, knows nothing of clusters, copies its free pages); numbering the
//! restored log by its old epochs (an epoch that was open then and is sealed now would be written twice).
//!
//! Byte map of the file: `docs/format/backup.md`.

mod chunk;
mod cursor;
mod error;
mod file;
mod restore;
mod taking;
mod verify;

pub use chunk::{BackupHeader, Chunk, ChunkKind, HEADER_BYTES};
pub use cursor::BackupCursor;
pub use error::BackupError;
pub use file::BackupFile;
pub use restore::{Existing, Restore};
pub use taking::{BackupOptions, BackupSink, TakenChunk, take_backup};
pub use verify::{BackupSummary, BackupVerifier};
