//! How far the spool was read.

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
};

use xxhash_rust::xxh3::xxh3_64;

use super::segment::{SEGMENT_HEADER_BYTES, SegmentSummary};

/// Segment and offset of the first frame that was not forgotten.
///
/// It is a hint: without it, or with a torn one, frames are sent again, which is harmless since the last write of one
/// (series, timestamp) wins.
#[derive(Debug)]
pub(super) struct Cursor {
    file: File,
    segment: u64,
    offset: u64,
}

impl Cursor {
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(folder.join("cursor"))?;
        let mut bytes = Vec::new();
        Read::by_ref(&mut file).take(64).read_to_end(&mut bytes)?;
        let (segment, offset) = decode(&bytes).unwrap_or((0, SEGMENT_HEADER_BYTES));
        Ok(Self { file, segment, offset })
    }

    /// The segment that it is in.
    pub(super) fn segment(&self) -> u64 {
        self.segment
    }

    /// Where to begin in a segment.
    pub(super) fn offset_in(&self, number: u64) -> u64 {
        match number.cmp(&self.segment) {
            std::cmp::Ordering::Less => u64::MAX,
            std::cmp::Ordering::Equal => self.offset,
            std::cmp::Ordering::Greater => SEGMENT_HEADER_BYTES,
        }
    }

    /// A cursor that names a segment newer than all there are says nothing: somebody emptied the folder.
    pub(super) fn limit_to(&mut self, segments: &VecDeque<SegmentSummary>) {
        if segments.back().is_none_or(|newest| newest.number < self.segment) {
            self.move_to(0, SEGMENT_HEADER_BYTES);
        }
    }

    pub(super) fn move_to(&mut self, segment: u64, offset: u64) {
        (self.segment, self.offset) = (segment, offset);
    }

    pub(super) fn save(&mut self) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&encode(self.segment, self.offset))
    }
}

fn encode(segment: u64, offset: u64) -> Vec<u8> {
    let mut bytes = [segment.to_le_bytes(), offset.to_le_bytes()].concat();
    let checksum = xxh3_64(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<(u64, u64)> {
    let (position, checksum) = bytes.split_at_checked(16)?;
    if checksum != xxh3_64(position).to_le_bytes() {
        return None;
    }
    let (segment, offset) = position.split_at(8);
    Some((u64::from_le_bytes(segment.try_into().ok()?), u64::from_le_bytes(offset.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_cursor_says_nothing() {
        let bytes = encode(7, 4096);
        assert_eq!(decode(&bytes), Some((7, 4096)));
        for length in 0..bytes.len() {
            assert_eq!(decode(&bytes[..length]), None);
        }
        let mut flipped = bytes.clone();
        flipped[0] ^= 1;
        assert_eq!(decode(&flipped), None);
    }
}
