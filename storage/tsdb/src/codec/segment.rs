//! A segment: one flush of the log. Byte map: `docs/format/segment.md`.

use std::{borrow::Cow, cell::RefCell};

use tidemark_model::TimestampMs;

use super::{
    CodecError,
    byte_reader::{ByteReader, VARINT_BYTES_MAX, write_signed_varint, write_varint},
    log_entry::{CHECKSUM_BYTES, close_entry, open_entry},
    segment_row::{ROW_BYTES_MAX, ROW_BYTES_MIN, RowContext},
};

pub use super::segment_row::SegmentRow;

/// Most bytes of a segment. Just under the 32 KiB that the embedded engine reserves for a value of this size.
pub const SEGMENT_BYTES_MAX: usize = 31_000;

/// Rows as they are.
pub(super) const PLAIN: u8 = 1;
/// Rows compressed by zstd.
pub(super) const COMPRESSED: u8 = 2;

/// Rows from which compression is tried.
const COMPRESSED_ROWS_MIN: u32 = 250;
/// Most bytes of rows before compression.
const ROWS_BYTES_MAX: usize = 1 << 20;
const COMPRESSION_LEVEL: i32 = 1;
/// Most bytes around the rows.
const ENVELOPE_BYTES_MAX: usize = 1 + 8 + 5 * VARINT_BYTES_MAX + CHECKSUM_BYTES;

/// Whose flush a segment is and what it spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Drawn by the process that wrote it when it started.
    pub writer: u64,
    /// Counts the segments of the writer. Of two segments of one writer and sequence, the later in the log is a repetition.
    pub sequence: u64,
    /// Number of rows.
    pub points: u32,
    /// Least timestamp, in milliseconds since the epoch.
    pub min_timestamp: TimestampMs,
    /// Greatest timestamp, in milliseconds since the epoch.
    pub max_timestamp: TimestampMs,
}

/// Appends rows as a segment to `out`, in their order: of two rows of one series and timestamp the later wins.
///
/// The writer and the sequence are taken from `header`; points and timestamps are counted from the rows. The state of
/// the compressor is kept per thread.
///
/// # Errors
/// [`CodecError::Empty`], or [`CodecError::TooManyBytes`] with the bytes that the rows would take: try fewer rows, in
/// proportion. A single row always fits. `out` is then as it was.
pub fn encode_segment(
    header: &SegmentHeader,
    rows: impl IntoIterator<Item = SegmentRow>,
    out: &mut Vec<u8>,
) -> Result<(), CodecError> {
    ENCODER.with_borrow_mut(|encoder| {
        encoder.collect(header, rows)?;
        encoder.write(out)
    })
}

/// Checks a segment and gives its header and its rows.
///
/// # Errors
/// Says what is wrong with the bytes. Rows are read as they are asked for, so each may say so, too; after an error
/// there are no more rows.
pub fn decode_segment(bytes: &[u8]) -> Result<(SegmentHeader, SegmentRows<'_>), CodecError> {
    let (format, mut reader) = open_entry(bytes, &[PLAIN, COMPRESSED])?;
    let header = read_header(&mut reader)?;
    let rows =
        if format == PLAIN { Cow::Borrowed(reader.take(reader.remaining())?) } else { decompress(&mut reader)?.into() };
    if (rows.len() as u64) < u64::from(header.points) * ROW_BYTES_MIN as u64 {
        return Err(CodecError::Truncated);
    }
    Ok((header, SegmentRows { rows, position: 0, left: header.points, context: RowContext::FIRST, header }))
}

/// The rows of a segment in the order in which they were written.
#[derive(Debug)]
pub struct SegmentRows<'a> {
    rows: Cow<'a, [u8]>,
    position: usize,
    left: u32,
    context: RowContext,
    header: SegmentHeader,
}

impl Iterator for SegmentRows<'_> {
    type Item = Result<SegmentRow, CodecError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let row = self.read_row();
        if row.is_err() {
            self.left = 0;
        }
        Some(row)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left as usize))
    }
}

impl SegmentRows<'_> {
    fn read_row(&mut self) -> Result<SegmentRow, CodecError> {
        let rest = self.rows.get(self.position..).unwrap_or_default();
        let mut reader = ByteReader::new(rest);
        let row = self.context.read(&mut reader)?;
        self.position += rest.len() - reader.remaining();
        if !(self.header.min_timestamp..=self.header.max_timestamp).contains(&row.1) {
            return Err(CodecError::Damaged("a row is outside the time range of its segment"));
        }
        if self.left == 0 {
            reader.finish()?;
        }
        Ok(row)
    }
}

fn read_header(reader: &mut ByteReader<'_>) -> Result<SegmentHeader, CodecError> {
    let writer = reader.u64()?;
    let sequence = reader.varint()?;
    let points = reader.varint()?;
    let limit = (ROWS_BYTES_MAX / ROW_BYTES_MIN) as u64;
    let points = match u32::try_from(points) {
        Ok(0) => return Err(CodecError::Damaged("a segment has at least one row")),
        Ok(points) if u64::from(points) <= limit => points,
        _ => return Err(CodecError::TooManyPoints { points, limit }),
    };
    let min_timestamp = reader.signed_varint()?;
    let max_timestamp = min_timestamp.wrapping_add(reader.varint()?.cast_signed());
    if max_timestamp < min_timestamp {
        return Err(CodecError::Damaged("the greatest timestamp is out of range"));
    }
    Ok(SegmentHeader { writer, sequence, points, min_timestamp, max_timestamp })
}

fn decompress(reader: &mut ByteReader<'_>) -> Result<Vec<u8>, CodecError> {
    let bytes = usize::try_from(reader.varint()?).unwrap_or(usize::MAX);
    if bytes > ROWS_BYTES_MAX {
        return Err(CodecError::TooManyBytes { bytes, limit: ROWS_BYTES_MAX });
    }
    let compressed = reader.take(reader.remaining())?;
    let damaged = CodecError::Damaged("the rows do not decompress");
    DECOMPRESSOR.with_borrow_mut(|decompressor| {
        let decompressor = match decompressor {
            Some(decompressor) => decompressor,
            None => decompressor.insert(zstd::bulk::Decompressor::new().map_err(|_| CodecError::Compressor)?),
        };
        let rows = decompressor.decompress(compressed, bytes).map_err(|_| damaged)?;
        if rows.len() == bytes { Ok(rows) } else { Err(damaged) }
    })
}

thread_local! {
    static ENCODER: RefCell<Encoder> = const { RefCell::new(Encoder::new()) };
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

/// What is kept from one segment to the next.
struct Encoder {
    header: SegmentHeader,
    rows: Vec<u8>,
    compressed: Vec<u8>,
    compressor: Option<zstd::bulk::Compressor<'static>>,
}

impl Encoder {
    const fn new() -> Self {
        let header =
            SegmentHeader { writer: 0, sequence: 0, points: 0, min_timestamp: i64::MAX, max_timestamp: i64::MIN };
        Self { header, rows: Vec::new(), compressed: Vec::new(), compressor: None }
    }

    fn collect(
        &mut self,
        header: &SegmentHeader,
        rows: impl IntoIterator<Item = SegmentRow>,
    ) -> Result<(), CodecError> {
        self.rows.clear();
        let mut counted = SegmentHeader { points: 0, min_timestamp: i64::MAX, max_timestamp: i64::MIN, ..*header };
        let mut context = RowContext::FIRST;
        for row in rows {
            context.write(row, &mut self.rows);
            counted.points += 1;
            counted.min_timestamp = counted.min_timestamp.min(row.1);
            counted.max_timestamp = counted.max_timestamp.max(row.1);
            if self.rows.len() > ROWS_BYTES_MAX {
                return Err(CodecError::TooManyBytes { bytes: self.rows.len(), limit: ROWS_BYTES_MAX });
            }
        }
        self.header = counted;
        if counted.points == 0 { Err(CodecError::Empty) } else { Ok(()) }
    }

    fn write(&mut self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        let start = out.len();
        let compressed = self.header.points >= COMPRESSED_ROWS_MIN && self.compress()?;
        out.reserve(ENVELOPE_BYTES_MAX + if compressed { self.compressed.len() } else { self.rows.len() });
        out.push(if compressed { COMPRESSED } else { PLAIN });
        self.write_header(out);
        if compressed {
            write_varint(self.rows.len() as u64, out);
            out.extend_from_slice(&self.compressed);
        } else {
            out.extend_from_slice(&self.rows);
        }
        close_entry(start, out)
    }

    fn write_header(&self, out: &mut Vec<u8>) {
        let SegmentHeader { writer, sequence, points, min_timestamp, max_timestamp } = self.header;
        out.extend_from_slice(&writer.to_le_bytes());
        write_varint(sequence, out);
        write_varint(u64::from(points), out);
        write_signed_varint(min_timestamp, out);
        write_varint(max_timestamp.wrapping_sub(min_timestamp).cast_unsigned(), out);
    }

    /// Compresses the rows; false when that does not make them smaller.
    fn compress(&mut self) -> Result<bool, CodecError> {
        let compressor = match &mut self.compressor {
            Some(compressor) => compressor,
            None => {
                let new = zstd::bulk::Compressor::new(COMPRESSION_LEVEL).map_err(|_| CodecError::Compressor)?;
                self.compressor.insert(new)
            }
        };
        self.compressed.clear();
        self.compressed.reserve(zstd::zstd_safe::compress_bound(self.rows.len()));
        compressor.compress_to_buffer(&self.rows, &mut self.compressed).map_err(|_| CodecError::Compressor)?;
        Ok(self.compressed.len() + VARINT_BYTES_MAX < self.rows.len())
    }
}

const _: () = assert!(ENVELOPE_BYTES_MAX + ROW_BYTES_MAX < SEGMENT_BYTES_MAX, "a single row must fit");
