//! Reads a backup chunk by chunk.

use std::io::Read;

use super::{
    BackupError, BackupHeader, Chunk, HEADER_BYTES,
    chunk::{CHUNK_BYTES_MAX, LENGTH_BYTES},
};

/// A backup that is read from its beginning.
#[derive(Debug)]
pub struct BackupFile<R> {
    source: R,
    header: BackupHeader,
    /// Where the next chunk begins.
    offset: u64,
    buffer: Vec<u8>,
}

impl<R: Read> BackupFile<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// [`BackupError::NotABackup`], [`BackupError::NewerVersion`], [`BackupError::Damaged`], [`BackupError::Torn`], or what
    /// the source says.
    pub fn open(mut source: R) -> Result<Self, BackupError> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        source.by_ref().take(HEADER_BYTES as u64).read_to_end(&mut bytes)?;
        let header = BackupHeader::decode(&bytes)?;
        Ok(Self { source, header, offset: HEADER_BYTES as u64, buffer: Vec::new() })
    }

    /// What the backup is.
    pub fn header(&self) -> BackupHeader {
        self.header
    }

    /// Where the next chunk begins, in bytes from the start.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next chunk; `None` when the file ends behind one.
    ///
    /// # Errors
    /// [`BackupError::Damaged`], [`BackupError::Torn`], or what the source says. There is no way on behind an error.
    pub fn next_chunk(&mut self) -> Result<Option<Chunk>, BackupError> {
        let offset = self.offset;
        self.buffer.clear();
        match self.fill(LENGTH_BYTES)? {
            0 => return Ok(None),
            LENGTH_BYTES => {}
            _ => return Err(BackupError::Torn { offset }),
        }
        let length = self.buffer.first_chunk::<LENGTH_BYTES>().map_or(0, |length| u32::from_le_bytes(*length));
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > CHUNK_BYTES_MAX {
            let reason = format!("its length of {length} bytes exceeds the limit of {CHUNK_BYTES_MAX}");
            return Err(BackupError::Damaged { offset, reason });
        }
        if self.fill(length)? < length {
            return Err(BackupError::Torn { offset });
        }
        let chunk = Chunk::decode(&self.buffer).map_err(|reason| BackupError::Damaged { offset, reason })?;
        self.offset += self.buffer.len() as u64;
        Ok(Some(chunk))
    }

    /// Appends so many bytes to the buffer, if there are as many.
    fn fill(&mut self, bytes: usize) -> Result<usize, BackupError> {
        Ok(self.source.by_ref().take(bytes as u64).read_to_end(&mut self.buffer)?)
    }
}
