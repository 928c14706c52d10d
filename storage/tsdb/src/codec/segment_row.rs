//! One row of a segment: a tag byte, then what cannot be told from the row before.

use tidemark_model::{TimestampMs, Value};

use super::{
    CodecError,
    byte_reader::{ByteReader, VARINT_BYTES_MAX, write_signed_varint},
    decimal::Scale,
};

/// A row: number of the series, timestamp, value.
pub type SegmentRow = (u64, TimestampMs, Value);

/// Most bytes of a row.
pub(super) const ROW_BYTES_MAX: usize = 1 + 3 * VARINT_BYTES_MAX;
/// Least bytes of a row.
pub(super) const ROW_BYTES_MIN: usize = 2;

const INT: u8 = 0;
const DECIMAL: u8 = 1;
const FLOAT: u8 = 2;
const KIND_MASK: u8 = 3;
/// The series lies as far from the one before as that did from its own.
const SAME_STRIDE: u8 = 1 << 2;
/// The timestamp is that of the row before.
const SAME_TIMESTAMP: u8 = 1 << 3;
const EXPONENT_SHIFT: u32 = 4;
/// Greatest exponent of a decimal. More digits are rarely shorter than the bits of the double.
const EXPONENT_MAX: u8 = 7;

/// What the next row is compared with.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowContext {
    series: u64,
    stride: u64,
    timestamp: TimestampMs,
}

impl RowContext {
    /// Before the first row.
    pub(super) const FIRST: Self = Self { series: 0, stride: 1, timestamp: 0 };

    /// Appends a row.
    #[inline]
    pub(super) fn write(&mut self, (series, timestamp, value): SegmentRow, out: &mut Vec<u8>) {
        let tag_at = out.len();
        out.push(0);
        let mut tag = 0;
        let stride = series.wrapping_sub(self.series);
        if stride == self.stride {
            tag |= SAME_STRIDE;
        } else {
            write_signed_varint(stride.cast_signed(), out);
        }
        if timestamp == self.timestamp {
            tag |= SAME_TIMESTAMP;
        } else {
            write_signed_varint(timestamp.wrapping_sub(self.timestamp), out);
        }
        *self = Self { series, stride, timestamp };
        tag |= write_value(value, out);
        if let Some(byte) = out.get_mut(tag_at) {
            *byte = tag;
        }
    }

    /// Reads a row.
    #[inline]
    pub(super) fn read(&mut self, reader: &mut ByteReader<'_>) -> Result<SegmentRow, CodecError> {
        let tag = reader.u8()?;
        if tag & SAME_STRIDE == 0 {
            self.stride = reader.signed_varint()?.cast_unsigned();
        }
        self.series = self.series.wrapping_add(self.stride);
        if tag & SAME_TIMESTAMP == 0 {
            self.timestamp = self.timestamp.wrapping_add(reader.signed_varint()?);
        }
        Ok((self.series, self.timestamp, read_value(tag, reader)?))
    }
}

/// Appends a value and gives its part of the tag.
#[inline]
fn write_value(value: Value, out: &mut Vec<u8>) -> u8 {
    match value {
        Value::Int(int) => {
            write_signed_varint(int, out);
            INT
        }
        Value::Float(float) => match Scale::find(float, 0, EXPONENT_MAX) {
            Some((scale, mantissa)) => {
                write_signed_varint(mantissa, out);
                DECIMAL | scale.exponent() << EXPONENT_SHIFT
            }
            None => {
                out.extend_from_slice(&float.to_le_bytes());
                FLOAT
            }
        },
    }
}

#[inline]
fn read_value(tag: u8, reader: &mut ByteReader<'_>) -> Result<Value, CodecError> {
    match (tag & KIND_MASK, tag >> EXPONENT_SHIFT) {
        (INT, 0) => Ok(Value::Int(reader.signed_varint()?)),
        (FLOAT, 0) => Ok(Value::Float(f64::from_bits(reader.u64()?))),
        (DECIMAL, exponent) => {
            let scale = Scale::new(exponent).ok_or(CodecError::Damaged("the exponent is out of range"))?;
            Ok(Value::Float(scale.double(reader.signed_varint()?)))
        }
        _ => Err(CodecError::Damaged("a value is of no known kind")),
    }
}
