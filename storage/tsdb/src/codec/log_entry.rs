//! What the log consists of: segments and deletions, told apart by their first byte.

use xxhash_rust::xxh3::xxh3_64;

use super::{
    CodecError, Deletion, SEGMENT_BYTES_MAX, SegmentHeader, SegmentRows,
    byte_reader::ByteReader,
    decode_deletion, decode_segment,
    deletion::DELETION,
    segment::{COMPRESSED, PLAIN},
};

/// One entry of the log.
#[derive(Debug)]
pub enum LogEntry<'a> {
    /// Points, in the order in which they came.
    Segment(SegmentHeader, SegmentRows<'a>),
    /// Points that are gone.
    Deletion(LogIdentity, Deletion),
}

/// Whose entry it is. Of two entries of one writer and sequence, the later in the log is a repetition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LogIdentity {
    /// Drawn by the process that wrote it when it started.
    pub writer: u64,
    /// Counts the entries of the writer.
    pub sequence: u64,
}

impl LogEntry<'_> {
    /// Whose entry it is.
    #[must_use]
    pub fn identity(&self) -> LogIdentity {
        match self {
            Self::Segment(header, _) => LogIdentity { writer: header.writer, sequence: header.sequence },
            Self::Deletion(identity, _) => *identity,
        }
    }
}

/// Bytes of the checksum behind every entry.
pub(super) const CHECKSUM_BYTES: usize = 8;

/// Appends the checksum to the entry that begins at `start`.
///
/// # Errors
/// [`CodecError::TooManyBytes`]; `out` is then as it was before the entry.
pub(super) fn close_entry(start: usize, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let checksum = xxh3_64(out.get(start..).unwrap_or_default());
    out.extend_from_slice(&checksum.to_le_bytes());
    let bytes = out.len() - start;
    if bytes > SEGMENT_BYTES_MAX {
        out.truncate(start);
        return Err(CodecError::TooManyBytes { bytes, limit: SEGMENT_BYTES_MAX });
    }
    Ok(())
}

/// Checks format and checksum of an entry; its format, and what follows.
pub(super) fn open_entry<'a>(bytes: &'a [u8], formats: &[u8]) -> Result<(u8, ByteReader<'a>), CodecError> {
    let (body, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(CodecError::Truncated)?;
    let mut reader = ByteReader::new(body);
    let format = reader.u8()?;
    if !formats.contains(&format) {
        return Err(CodecError::UnknownFormat(format));
    }
    if xxh3_64(body).to_le_bytes() != *checksum {
        return Err(CodecError::Checksum);
    }
    Ok((format, reader))
}

/// Checks an entry of the log and takes it apart.
///
/// # Errors
/// Says what is wrong with the bytes. Rows are read as they are asked for, so each may say so, too.
pub fn decode_log_entry(bytes: &[u8]) -> Result<LogEntry<'_>, CodecError> {
    if bytes.first() == Some(&DELETION) {
        let (writer, sequence, deletion) = decode_deletion(bytes)?;
        return Ok(LogEntry::Deletion(LogIdentity { writer, sequence }, deletion));
    }
    decode_segment(bytes).map(|(header, rows)| LogEntry::Segment(header, rows))
}

/// Reads whose entry it is; does not check the checksum.
///
/// # Errors
/// Says what is wrong with the bytes.
pub fn peek_log_entry(bytes: &[u8]) -> Result<LogIdentity, CodecError> {
    let mut reader = ByteReader::new(bytes);
    match reader.u8()? {
        PLAIN | COMPRESSED | DELETION => Ok(LogIdentity { writer: reader.u64()?, sequence: reader.varint()? }),
        format => Err(CodecError::UnknownFormat(format)),
    }
}

#[cfg(test)]
mod tests {
    use tidemark_model::{TimeRange, Value};

    use super::*;
    use crate::codec::{encode_deletion, encode_segment};

    #[test]
    fn entries_are_told_apart_by_their_first_byte() {
        let header = SegmentHeader { writer: 3, sequence: 300, points: 0, min_timestamp: 0, max_timestamp: 0 };
        let identity = LogIdentity { writer: 3, sequence: 300 };
        let (mut segment, mut deletion) = (Vec::new(), Vec::new());
        encode_segment(&header, [(1, 5, Value::Int(7))], &mut segment).unwrap();
        let gone = Deletion { metric: 1, series: [2].into_iter().collect(), range: TimeRange::new(1, 9) };
        encode_deletion(3, 300, &gone, &mut deletion).unwrap();
        assert_eq!((peek_log_entry(&segment), peek_log_entry(&deletion)), (Ok(identity), Ok(identity)));
        assert!(
            matches!(decode_log_entry(&segment), Ok(entry @ LogEntry::Segment(..)) if entry.identity() == identity)
        );
        assert!(
            matches!(decode_log_entry(&deletion), Ok(LogEntry::Deletion(of, found)) if of == identity && found == gone)
        );
        assert_eq!(peek_log_entry(&[9, 0]), Err(CodecError::UnknownFormat(9)));
        assert!(decode_log_entry(&[]).is_err());
    }
}
