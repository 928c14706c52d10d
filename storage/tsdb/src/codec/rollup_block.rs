//! A rollup block: rows of one series, each made of the points of one interval. Byte map: `docs/format/rollup.md`.
//!
//! Column by column, each with its length, so that a reader decodes only what it needs: a sum is one of six columns.

use tidemark_model::ValueColumn;

use super::{
    BlockKind, CodecError,
    byte_reader::{ByteReader, write_varint},
    values,
};

/// Most rows of a block.
pub const ROLLUP_ROWS_MAX: usize = 4_096;

const FORMAT: u8 = 1;

/// What a row has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RollupField {
    /// Number of points.
    Count,
    /// Sum of the values as doubles, in order of time. It is written as an integer when every addition was exact.
    Sum,
    /// Smallest value.
    Minimum,
    /// Largest value.
    Maximum,
    /// Value of the first point.
    First,
    /// Value of the last point.
    Last,
}

impl RollupField {
    /// Every field in the order in which blocks have them.
    pub const ALL: [Self; 6] = [Self::Count, Self::Sum, Self::Minimum, Self::Maximum, Self::First, Self::Last];
}

/// Rows of one series, column by column.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RollupColumns {
    /// Numbers of the intervals, counted from the first of the block's span, strictly ascending.
    pub intervals: Vec<u32>,
    columns: [ValueColumn; RollupField::ALL.len()],
}

impl RollupColumns {
    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.intervals.len()
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.intervals.is_empty()
    }

    /// The values of a field, as many as there are rows; none when it was not decoded.
    #[must_use]
    pub fn column(&self, field: RollupField) -> &ValueColumn {
        let [count, sum, minimum, maximum, first, last] = &self.columns;
        match field {
            RollupField::Count => count,
            RollupField::Sum => sum,
            RollupField::Minimum => minimum,
            RollupField::Maximum => maximum,
            RollupField::First => first,
            RollupField::Last => last,
        }
    }

    /// The values of a field to be changed.
    pub fn column_mut(&mut self, field: RollupField) -> &mut ValueColumn {
        let [count, sum, minimum, maximum, first, last] = &mut self.columns;
        match field {
            RollupField::Count => count,
            RollupField::Sum => sum,
            RollupField::Minimum => minimum,
            RollupField::Maximum => maximum,
            RollupField::First => first,
            RollupField::Last => last,
        }
    }

    /// Appends rows `rows` of other columns, which have all fields.
    pub fn append(&mut self, other: &Self, rows: std::ops::Range<usize>) {
        self.intervals.extend_from_slice(other.intervals.get(rows.clone()).unwrap_or_default());
        for field in RollupField::ALL {
            let values = rows.clone().map_while(|row| other.column(field).get(row));
            let column = self.column_mut(field);
            values.for_each(|value| column.push(value));
        }
    }

    /// Forgets all rows and keeps the memory.
    pub fn clear(&mut self) {
        self.intervals.clear();
        self.columns.iter_mut().for_each(ValueColumn::clear);
    }
}

/// Appends rows as a block to `out`.
///
/// # Errors
/// When there is no row, there are more than [`ROLLUP_ROWS_MAX`], the columns differ in length, or the intervals do not
/// strictly ascend or reach [`ROLLUP_ROWS_MAX`]. `out` is then as it was.
pub fn encode_rollup_block(rows: &RollupColumns, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let (Some(&first), Some(&last)) = (rows.intervals.first(), rows.intervals.last()) else {
        return Err(CodecError::Empty);
    };
    let count = rows.len();
    if let Some(short) = rows.columns.iter().find(|column| column.len() != count) {
        return Err(CodecError::UnequalColumns { timestamps: count, values: short.len() });
    }
    let mut steps = rows.intervals.iter().zip(rows.intervals.iter().skip(1));
    if let Some(index) = steps.position(|(earlier, later)| later <= earlier) {
        return Err(CodecError::NotAscending { index: index + 1 });
    }
    check_rows(u64::from(last) + 1)?;
    out.push(FORMAT);
    write_varint(count as u64, out);
    write_varint(u64::from(first), out);
    write_varint(u64::from(last - first), out);
    if !is_gapless(count, last - first) {
        let mut bitmap = vec![0_u8; bitmap_bytes(last - first)];
        for interval in &rows.intervals {
            let bit = interval - first;
            if let Some(byte) = bitmap.get_mut(bit as usize / 8) {
                *byte |= 1 << (bit % 8);
            }
        }
        out.extend_from_slice(&bitmap);
    }
    let mut written = Vec::new();
    for column in &rows.columns {
        written.clear();
        let kind = values::write(column, &mut written);
        out.push(kind as u8);
        write_varint(written.len() as u64, out);
        out.extend_from_slice(&written);
    }
    Ok(())
}

/// Replaces the contents of `rows` by the rows of a block, with the values of the fields that are wanted.
///
/// # Errors
/// Says what is wrong with the bytes; `rows` then hold nothing of use.
pub fn decode_rollup_block(bytes: &[u8], wanted: &[RollupField], rows: &mut RollupColumns) -> Result<(), CodecError> {
    rows.clear();
    let mut reader = ByteReader::new(bytes);
    let format = reader.u8()?;
    if format != FORMAT {
        return Err(CodecError::UnknownFormat(format));
    }
    let count = reader.varint()?;
    let (first, span) = (reader.varint()?, reader.varint()?);
    let end = first.saturating_add(span).saturating_add(1);
    check_rows(end)?;
    if count == 0 || count > span + 1 {
        return Err(CodecError::Damaged("a rollup block has a wrong number of rows"));
    }
    // All are at most `ROLLUP_ROWS_MAX` now.
    let (count, first, span) = (count as usize, first as u32, span as u32);
    read_intervals(&mut reader, count, first, span, &mut rows.intervals)?;
    for field in RollupField::ALL {
        let kind = BlockKind::from_byte(reader.u8()?)?;
        let length = usize::try_from(reader.varint()?).unwrap_or(usize::MAX);
        let mut part = ByteReader::new(reader.take(length)?);
        if wanted.contains(&field) {
            values::check_size(&part, kind, count)?;
            values::read(&mut part, kind, count, rows.column_mut(field))?;
            part.finish()?;
        }
    }
    reader.finish()
}

fn read_intervals(
    reader: &mut ByteReader<'_>,
    count: usize,
    first: u32,
    span: u32,
    intervals: &mut Vec<u32>,
) -> Result<(), CodecError> {
    if is_gapless(count, span) {
        intervals.extend(first..=first + span);
        return Ok(());
    }
    let bitmap = reader.take(bitmap_bytes(span))?;
    let is_set = |bit: u32| bitmap.get(bit as usize / 8).is_some_and(|byte| byte >> (bit % 8) & 1 == 1);
    intervals.extend((0..=span).filter(|&bit| is_set(bit)).map(|bit| first + bit));
    // The first and the last row are there, and nothing else is in the last byte.
    let bits: u32 = bitmap.iter().map(|byte| byte.count_ones()).sum();
    if intervals.len() == count && bits as usize == count && is_set(0) && is_set(span) {
        Ok(())
    } else {
        Err(CodecError::Damaged("the rows of a rollup block are not as many as it says"))
    }
}

fn is_gapless(count: usize, span: u32) -> bool {
    count == span as usize + 1
}

fn bitmap_bytes(span: u32) -> usize {
    (span as usize + 1).div_ceil(8)
}

fn check_rows(rows: u64) -> Result<(), CodecError> {
    let limit = ROLLUP_ROWS_MAX as u64;
    if rows <= limit { Ok(()) } else { Err(CodecError::TooManyPoints { points: rows, limit }) }
}
