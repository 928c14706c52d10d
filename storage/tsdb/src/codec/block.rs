//! A block: points of one series. Byte map: `docs/format/block.md`.

use tidemark_model::{PointColumns, TimeRange, TimestampMs, Value, ValueColumn};

use super::{
    CodecError,
    byte_reader::{ByteReader, write_signed_varint, write_varint},
    column_sink::keep_range,
    timestamps::{self, Extent, TimestampKind},
    values,
};

/// Most points of a block: what a few bytes of constants can grow to is two megabytes.
pub const BLOCK_POINTS_MAX: usize = 1 << 17;

const FORMAT: u8 = 1;
const TIMESTAMP_KIND_SHIFT: u32 = 4;
const VALUE_KIND_MASK: u8 = 0x0F;

/// How the values of a block are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockKind {
    /// One integer, again and again.
    ConstantInt = 0,
    /// Integers.
    Int = 1,
    /// One double, again and again, bit by bit.
    ConstantFloat = 2,
    /// Doubles that are short decimals, with a few exceptions.
    Decimal = 3,
    /// Doubles by their bits.
    Float = 4,
    /// Integers and doubles.
    Mixed = 5,
}

impl BlockKind {
    pub(super) fn from_byte(byte: u8) -> Result<Self, CodecError> {
        match byte {
            0 => Ok(Self::ConstantInt),
            1 => Ok(Self::Int),
            2 => Ok(Self::ConstantFloat),
            3 => Ok(Self::Decimal),
            4 => Ok(Self::Float),
            5 => Ok(Self::Mixed),
            _ => Err(CodecError::Damaged("the values are of no known kind")),
        }
    }

    /// Whether every value is an integer.
    #[must_use]
    pub fn is_int(self) -> bool {
        matches!(self, Self::ConstantInt | Self::Int)
    }

    /// Whether every value is a double.
    #[must_use]
    pub fn is_float(self) -> bool {
        matches!(self, Self::ConstantFloat | Self::Decimal | Self::Float)
    }
}

/// What a block tells without being decoded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BlockHeader {
    /// Number of points, at least one.
    pub points: u32,
    /// Milliseconds since the epoch.
    pub first_timestamp: TimestampMs,
    /// Milliseconds since the epoch.
    pub last_timestamp: TimestampMs,
    /// How the values are written.
    pub kind: BlockKind,
    /// The value of every point, if they are all the same.
    pub constant: Option<Value>,
}

/// Appends the points as a block to `out`.
///
/// Values come back bit by bit and with their type, NaN and infinities included.
///
/// # Errors
/// When there is no point, there are more than [`BLOCK_POINTS_MAX`], the columns differ in length, or the timestamps do
/// not strictly ascend. `out` is then as it was.
pub fn encode_block(timestamps: &[TimestampMs], values: &ValueColumn, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let (Some(&first), Some(&last)) = (timestamps.first(), timestamps.last()) else { return Err(CodecError::Empty) };
    let count = timestamps.len();
    if count != values.len() {
        return Err(CodecError::UnequalColumns { timestamps: count, values: values.len() });
    }
    check_count(count as u64)?;
    let timestamp_kind = timestamps::kind_of(timestamps)?;
    let extent = Extent { first, span: last.wrapping_sub(first).cast_unsigned(), count };

    out.push(FORMAT);
    let kinds_at = out.len();
    out.push(0);
    write_varint(count as u64, out);
    write_signed_varint(first, out);
    write_varint(extent.span, out);
    if timestamp_kind == TimestampKind::Irregular {
        timestamps::write_irregular(timestamps, extent, out);
    }
    let value_kind = values::write(values, out);
    if let Some(kinds) = out.get_mut(kinds_at) {
        *kinds = (timestamp_kind as u8) << TIMESTAMP_KIND_SHIFT | value_kind as u8;
    }
    Ok(())
}

/// Appends the points of a block that are inside `range` to `columns`, oldest first.
///
/// # Errors
/// Says what is wrong with the bytes; `columns` then hold the points that they held before.
pub fn decode_block(bytes: &[u8], range: TimeRange, columns: &mut PointColumns) -> Result<(), CodecError> {
    let mut reader = ByteReader::new(bytes);
    let start = Start::read(&mut reader)?;
    if !range.overlaps(TimeRange { start: start.extent.first, end: start.last().saturating_add(1) })
        && !range.contains(start.last())
    {
        return Ok(());
    }
    let before = columns.timestamps.len();
    let decoded = decode_points(&mut reader, start, range, columns);
    if decoded.is_err() {
        columns.timestamps.truncate(before);
        keep_range(&mut columns.values, before, 0..0);
    }
    decoded
}

/// Reads what a block tells without being decoded; a few nanoseconds.
///
/// # Errors
/// Says what is wrong with the bytes. That there is no error does not mean that the block decodes.
pub fn peek_block(bytes: &[u8]) -> Result<BlockHeader, CodecError> {
    let mut reader = ByteReader::new(bytes);
    let start = Start::read(&mut reader)?;
    // The values of a block with irregular timestamps begin somewhere behind them.
    let constant = match start.timestamp_kind {
        TimestampKind::Regular => values::read_constant(&mut reader, start.kind)?,
        TimestampKind::Irregular => None,
    };
    Ok(BlockHeader {
        points: start.extent.count as u32,
        first_timestamp: start.extent.first,
        last_timestamp: start.last(),
        kind: start.kind,
        constant,
    })
}

fn decode_points(
    reader: &mut ByteReader<'_>,
    start: Start,
    range: TimeRange,
    columns: &mut PointColumns,
) -> Result<(), CodecError> {
    let before = columns.timestamps.len();
    let count = start.extent.count;
    values::check_size(reader, start.kind, count)?;
    timestamps::read(reader, start.timestamp_kind, start.extent, &mut columns.timestamps)?;
    values::read(reader, start.kind, count, &mut columns.values)?;
    reader.finish()?;
    if range.contains(start.extent.first) && range.contains(start.last()) {
        return Ok(());
    }
    let decoded = columns.timestamps.get(before..).unwrap_or_default();
    let keep = decoded.partition_point(|&at| at < range.start)..decoded.partition_point(|&at| at < range.end);
    columns.timestamps.truncate(before + keep.end);
    columns.timestamps.drain(before..before + keep.start);
    keep_range(&mut columns.values, before, keep);
    Ok(())
}

/// The part of a block before the timestamps.
#[derive(Clone, Copy, Debug)]
struct Start {
    kind: BlockKind,
    timestamp_kind: TimestampKind,
    extent: Extent,
}

impl Start {
    fn read(reader: &mut ByteReader<'_>) -> Result<Self, CodecError> {
        let format = reader.u8()?;
        if format != FORMAT {
            return Err(CodecError::UnknownFormat(format));
        }
        let kinds = reader.u8()?;
        let kind = BlockKind::from_byte(kinds & VALUE_KIND_MASK)?;
        let timestamp_kind = match kinds >> TIMESTAMP_KIND_SHIFT {
            0 => TimestampKind::Regular,
            1 => TimestampKind::Irregular,
            _ => return Err(CodecError::Damaged("the timestamps are of no known kind")),
        };
        let count = reader.varint()?;
        if count == 0 {
            return Err(CodecError::Damaged("a block has at least one point"));
        }
        check_count(count)?;
        let first = reader.signed_varint()?;
        let span = reader.varint()?;
        // The last timestamp must not wrap around.
        if i128::from(first) + i128::from(span) > i128::from(i64::MAX) {
            return Err(CodecError::Damaged("the last timestamp is out of range"));
        }
        if span < count - 1 {
            return Err(CodecError::Damaged("timestamps do not ascend"));
        }
        Ok(Self { kind, timestamp_kind, extent: Extent { first, span, count: count as usize } })
    }

    fn last(&self) -> TimestampMs {
        self.extent.first.wrapping_add(self.extent.span.cast_signed())
    }
}

fn check_count(points: u64) -> Result<(), CodecError> {
    let limit = BLOCK_POINTS_MAX as u64;
    if points <= limit { Ok(()) } else { Err(CodecError::TooManyPoints { points, limit }) }
}
