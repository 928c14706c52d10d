//! Makes small groups of commits durable by one write and one `fsync`.
//!
//! A durable transaction of redb rewrites the path to the root, its books of free pages and its header, a dozen writes
//! and two fsyncs for a group of a few kilobytes. So such a group goes to the journal, and into redb without being
//! durable there; when the journal is full, one durable transaction takes all of it. After a crash the journal is read
//! again. Format and rules of reading: `docs/journal.md`.

use std::{
    fs::{File, OpenOptions},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use redb::StorageBackend;

use super::{
    backend::{Disk, WatchedFile},
    failure::{Failure, open_error},
    journal_frame::{FRAME_ALIGNMENT, Frame, decode_frame, encode_frame},
};
use crate::{KvError, Operation};

/// Zeros of one write.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// A journal is never so long: whatever is has not been written by us.
const READ_BYTES_MAX: u64 = 1 << 30;

/// The file.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: WatchedFile,
    bytes_max: usize,
    group_bytes_max: usize,
    store: u64,
    /// Where the next frame goes; what is before it is not durable in redb.
    position: usize,
    frame: Vec<u8>,
}

impl Journal {
    /// Opens or creates the journal of the store at `store_path`, which has the id `store`.
    pub(super) fn open(
        store_path: &Path,
        store: u64,
        bytes_max: usize,
        group_bytes_max: usize,
        disk: &Arc<Disk>,
    ) -> Result<Self, KvError> {
        let path = store_path.with_extension("journal");
        let file: std::io::Result<File> =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let name = path.display().to_string();
        let file = file.map_err(|error| open_error(&name, error.into()))?;
        let file = WatchedFile::new(file, Arc::clone(disk)).map_err(|error| open_error(&name, error))?;
        Ok(Self { path, file, bytes_max, group_bytes_max, store, position: 0, frame: Vec::new() })
    }

    /// The frames that are not in a store whose newest commit is number `sequence`. The next frame goes behind them.
    pub(super) fn read(&mut self, sequence: u64) -> Result<Vec<Frame>, KvError> {
        let bytes = self.bytes()?;
        let (mut frames, mut position, mut newest, mut before) = (Vec::new(), 0, sequence, None);
        while let Some((frame, length)) = decode_frame(&bytes.slice(position..)) {
            if frame.store != self.store {
                return Err(self.damaged("belongs to another store: move it away if that is what you want"));
            }
            if before.is_some_and(|end| end != frame.sequence) {
                break;
            }
            before = Some(frame.end());
            position = (position + length).next_multiple_of(FRAME_ALIGNMENT).min(bytes.len());
            if frame.sequence > newest {
                return Err(
                    self.damaged(&format!("begins after commit {}, the store ends at {newest}", frame.sequence))
                );
            }
            if frame.end() > newest {
                newest = frame.end();
                frames.push(frame);
            }
        }
        self.check_rest(&bytes, position, newest)?;
        self.position = if frames.is_empty() { 0 } else { position };
        Ok(frames)
    }

    /// Behind the last frame of a chain there may be a torn one and old ones, but none that was acknowledged.
    fn check_rest(&self, bytes: &Bytes, position: usize, newest: u64) -> Result<(), KvError> {
        for at in (position..bytes.len()).step_by(FRAME_ALIGNMENT) {
            match decode_frame(&bytes.slice(at..)) {
                Some((frame, _)) if frame.store == self.store && frame.end() > newest => {
                    return Err(self.damaged(&format!("is damaged between the bytes {position} and {at}")));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Refuses a journal that is shorter than the store says: commits that were acknowledged may have been in it.
    pub(super) fn check_length(&self, promised: u64) -> Result<(), KvError> {
        let found = self.file.len().map_err(|error| self.unreadable(&error))?;
        if found >= promised {
            return Ok(());
        }
        Err(self.damaged(&format!(
            "is missing or cut off, it has {found} of {promised} bytes: bring it back, since it holds the newest points. \
             The store was not closed in order, so it cannot be opened without it"
        )))
    }

    /// Writes the file out to its full length, so that a frame changes blocks that are there and nothing else; its length.
    pub(super) fn reserve(&mut self) -> Result<u64, Failure> {
        let reserve = || -> std::io::Result<u64> {
            let (wanted, mut length) = (self.bytes_max as u64, self.file.len()?);
            if length >= wanted {
                return Ok(length);
            }
            while length < wanted {
                let count = usize::try_from(wanted - length).unwrap_or(ZEROS.len()).min(ZEROS.len());
                self.file.write(length, ZEROS.get(..count).unwrap_or(&ZEROS))?;
                length += count as u64;
            }
            self.file.sync_data()?;
            Ok(length)
        };
        reserve().map_err(|error| Failure::from(redb::StorageError::Io(error)))
    }

    /// Takes no more groups.
    pub(super) fn give_up(&mut self) {
        self.bytes_max = 0;
    }

    /// Whether a group of so many bytes may be added; otherwise a durable transaction is due.
    pub(super) fn has_room(&self, group_bytes: usize) -> bool {
        // Lengths, the header and the padding beside the bytes of the commits, which count 16 for each operation.
        let frame_bytes = (group_bytes + group_bytes / 2 + 64).next_multiple_of(FRAME_ALIGNMENT);
        group_bytes <= self.group_bytes_max && self.position.saturating_add(frame_bytes) <= self.bytes_max
    }

    /// Adds a group behind commit number `sequence` and makes it durable.
    ///
    /// # Errors
    /// The group is in the journal or it is not: reading the journal again tells.
    pub(super) fn append<'a>(
        &mut self,
        sequence: u64,
        commits: impl Iterator<Item = &'a [Operation]>,
    ) -> Result<(), Failure> {
        encode_frame(self.store, sequence, commits, &mut self.frame)
            .ok_or_else(|| Failure::Broken("a group is too large for the journal".to_owned()))?;
        let written = self.file.write(self.position as u64, &self.frame).and_then(|()| self.file.sync_data());
        written.map_err(|error| Failure::from(redb::StorageError::Io(error)))?;
        self.position += self.frame.len();
        Ok(())
    }

    /// A durable transaction holds everything: the next frame goes to the start.
    pub(super) fn start_over(&mut self) {
        self.position = 0;
    }

    /// As [`Self::start_over`], and gives the disk space back.
    pub(super) fn empty(&mut self) -> std::io::Result<()> {
        self.position = 0;
        self.file.set_len(0)
    }

    #[cfg(test)]
    pub(super) fn position(&self) -> usize {
        self.position
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn bytes(&self) -> Result<Bytes, KvError> {
        let length = self.file.len().map_err(|error| self.unreadable(&error))?;
        if length > READ_BYTES_MAX {
            return Err(self.damaged(&format!("has {length} bytes, at most {READ_BYTES_MAX} are expected")));
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        self.file.read(0, &mut bytes).map_err(|error| self.unreadable(&error))?;
        Ok(bytes.into())
    }

    fn unreadable(&self, error: &std::io::Error) -> KvError {
        KvError::Unavailable(format!("read the journal `{}`: {error}", self.path.display()))
    }

    fn damaged(&self, what: &str) -> KvError {
        KvError::Corrupt(format!("the journal `{}` {what}", self.path.display()))
    }
}
