//! Where a backup goes on.

use std::{fmt, str::FromStr};

use bytes::Bytes;

use super::BackupError;
use crate::{ByteReader, put_varint};

/// Longest cursor in bytes: a key and a few numbers.
const CURSOR_BYTES_MAX: usize = 11_000;
/// In the place of the number of changed names: more than there ever are.
const UNKNOWN_RENAMES: u64 = u64::MAX - 1;

/// Where to go on behind a chunk. Shown and parsed as hexadecimal, for addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupCursor(pub(super) Position);

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Position {
    /// The log of a shard, whose fence said that all epochs up to `sealed` are sealed; `after` is the last key taken. Both
    /// are `None` when nothing of this shard was taken yet.
    Log { shard: u16, sealed: Option<u64>, after: Option<Bytes> },
    /// What has to be read before the blocks: number of the range and the first key that was not taken.
    BeforeBlocks { range: usize, next: Option<Bytes> },
    /// The window of blocks that begins there, or the first.
    Blocks { next: Option<Bytes> },
    /// The series, which have to be read after the blocks.
    Series { next: Option<Bytes> },
    /// What is kept under names: as before, and how many names were changed until the first of it was read, which is `None`
    /// when nothing of it was taken yet.
    Named { renames: Option<u64>, range: usize, next: Option<Bytes> },
    /// Everything else.
    AfterNames { range: usize, next: Option<Bytes> },
    /// The directory of rollups with this key, or the first after it.
    Rollups { next: Option<Bytes> },
    /// Version, writers, fences and the end.
    Last,
}

impl BackupCursor {
    /// The beginning.
    #[must_use]
    pub fn start() -> Self {
        Self(Position::Log { shard: 0, sealed: None, after: None })
    }

    pub(super) fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        match &self.0 {
            Position::Log { shard, sealed, after } => {
                out.push(1);
                put_varint(&mut out, u64::from(*shard));
                put_varint(&mut out, sealed.map_or(0, |sealed| sealed.saturating_add(1)));
                out.extend_from_slice(after.as_deref().unwrap_or_default());
            }
            Position::BeforeBlocks { range, next } => put_range(&mut out, 2, *range, next.as_ref()),
            Position::Blocks { next } => put_range(&mut out, 3, 0, next.as_ref()),
            Position::Series { next } => put_range(&mut out, 4, 0, next.as_ref()),
            Position::Last => out.push(5),
            Position::Rollups { next } => put_range(&mut out, 6, 0, next.as_ref()),
            Position::Named { renames, range, next } => {
                out.push(7);
                put_varint(&mut out, renames.map_or(0, |renames| renames.saturating_add(1)));
                put_varint(&mut out, *range as u64);
                out.extend_from_slice(next.as_deref().unwrap_or_default());
            }
            Position::AfterNames { range, next } => put_range(&mut out, 8, *range, next.as_ref()),
        }
        out.into()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = ByteReader::new(bytes.get(..bytes.len().min(CURSOR_BYTES_MAX))?);
        let kind = reader.byte()?;
        let position = match kind {
            1 => {
                let shard = u16::try_from(reader.varint()?).ok()?;
                let sealed = reader.varint()?.checked_sub(1);
                Position::Log { shard, sealed, after: rest(&reader) }
            }
            7 => {
                let renames = reader.varint()?.checked_sub(1);
                let range = usize::try_from(reader.varint()?).ok()?;
                Position::Named { renames, range, next: rest(&reader) }
            }
            2..=4 | 6 | 8 => {
                let range = usize::try_from(reader.varint()?).ok()?;
                let next = rest(&reader);
                match kind {
                    2 => Position::BeforeBlocks { range, next },
                    3 => Position::Blocks { next },
                    4 if range == 0 => Position::Series { next },
                    // Of a program that read names and everything else in one go: names are read anew.
                    4 => Position::Named { renames: Some(UNKNOWN_RENAMES), range: 0, next: None },
                    6 => Position::Rollups { next },
                    _ => Position::AfterNames { range, next },
                }
            }
            5 if reader.is_empty() => Position::Last,
            _ => return None,
        };
        Some(Self(position))
    }
}

fn put_range(out: &mut Vec<u8>, kind: u8, range: usize, next: Option<&Bytes>) {
    out.push(kind);
    put_varint(out, range as u64);
    out.extend_from_slice(next.map(|next| &next[..]).unwrap_or_default());
}

/// A key; `None` instead of an empty one, which no entry has.
fn rest(reader: &ByteReader<'_>) -> Option<Bytes> {
    Some(reader.rest()).filter(|rest| !rest.is_empty()).map(Bytes::copy_from_slice)
}

impl fmt::Display for BackupCursor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.encode().iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl FromStr for BackupCursor {
    type Err = BackupError;

    fn from_str(text: &str) -> Result<Self, BackupError> {
        let digits = text.as_bytes();
        if !digits.len().is_multiple_of(2) || digits.len() > 2 * CURSOR_BYTES_MAX {
            return Err(BackupError::Cursor);
        }
        let byte = |pair: &[u8]| {
            pair.iter()
                .try_fold(0_u8, |byte, &digit| Some(byte << 4 | u8::try_from(char::from(digit).to_digit(16)?).ok()?))
        };
        let bytes: Option<Vec<u8>> = digits.chunks(2).map(byte).collect();
        bytes.and_then(|bytes| Self::decode(&bytes)).ok_or(BackupError::Cursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_survive_their_text() {
        let key = || Some(Bytes::from_static(b"D\0\xFF"));
        let positions = [
            Position::Log { shard: 0, sealed: None, after: None },
            Position::Log { shard: 63, sealed: Some(300), after: key() },
            Position::BeforeBlocks { range: 0, next: key() },
            Position::Blocks { next: None },
            Position::Series { next: key() },
            Position::Named { renames: None, range: 0, next: None },
            Position::Named { renames: Some(300), range: 3, next: key() },
            Position::Named { renames: Some(UNKNOWN_RENAMES), range: 0, next: None },
            Position::AfterNames { range: 3, next: key() },
            Position::Rollups { next: None },
            Position::Rollups { next: key() },
            Position::Last,
        ];
        for position in positions {
            let cursor = BackupCursor(position);
            assert_eq!(cursor.to_string().parse::<BackupCursor>().unwrap(), cursor);
        }
        let earlier = BackupCursor::decode(&[4, 5, b'T']).unwrap();
        assert_eq!(earlier.0, Position::Named { renames: Some(UNKNOWN_RENAMES), range: 0, next: None });
        for text in ["", "0", "zz", "09", "0500", "+1"] {
            assert!(text.parse::<BackupCursor>().is_err(), "{text}");
        }
    }
}
