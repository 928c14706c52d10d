//! Timestamps of a block.
//!
//! Regular ones need nothing beyond the first, the last and the count, which the header of the block has. Others are
//! divided by the common factor of their steps (1000 for clients that send seconds), and what they deviate from the
//! straight line between the first and the last is written in runs: jitter stays as small as it is, and a gap costs one
//! patch.

use super::{
    CodecError,
    byte_reader::{ByteReader, write_varint},
    mini_block::{FOR_INTEGERS, History, read_runs, run_bytes_min, write_runs},
};

/// How the timestamps of a block are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimestampKind {
    /// Every step is the same.
    Regular = 0,
    /// Deviations from a line.
    Irregular = 1,
}

/// What the header of the block says about the timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) first: i64,
    /// From the first timestamp to the last.
    pub(super) span: u64,
    pub(super) count: usize,
}

impl Extent {
    fn step(self) -> u64 {
        let steps = (self.count as u64).saturating_sub(1).max(1);
        self.span / steps
    }
}

/// Checks that timestamps ascend and says how to write them.
///
/// # Errors
/// [`CodecError::NotAscending`] names the first that does not.
pub(super) fn kind_of(timestamps: &[i64]) -> Result<TimestampKind, CodecError> {
    let mut regular = true;
    let mut first_step = None;
    for (index, (earlier, later)) in timestamps.iter().zip(timestamps.iter().skip(1)).enumerate() {
        if later <= earlier {
            return Err(CodecError::NotAscending { index: index + 1 });
        }
        let step = later.wrapping_sub(*earlier).cast_unsigned();
        regular &= *first_step.get_or_insert(step) == step;
    }
    Ok(if regular { TimestampKind::Regular } else { TimestampKind::Irregular })
}

/// Appends irregular timestamps, all but the first and the last, which the header has.
pub(super) fn write_irregular(timestamps: &[i64], extent: Extent, out: &mut Vec<u8>) {
    let steps = timestamps.iter().zip(timestamps.iter().skip(1));
    let factor = common_factor(steps.map(|(earlier, later)| later.wrapping_sub(*earlier).cast_unsigned()));
    write_varint(factor, out);
    let line = Line::new(extent, factor);
    let inner = timestamps.get(1..timestamps.len().saturating_sub(1)).unwrap_or_default();
    let deviation = |(index, timestamp): (usize, &i64)| {
        let units = timestamp.wrapping_sub(extent.first).cast_unsigned() / factor;
        units.cast_signed().wrapping_sub(line.at(index + 1))
    };
    let deviations: Vec<_> = inner.iter().enumerate().map(deviation).collect();
    write_runs(&deviations, History::new(0, 0), FOR_INTEGERS, out);
}

/// Appends the timestamps of a block to `timestamps`.
///
/// # Errors
/// When they are cut, do not ascend, or do not end where the header says.
pub(super) fn read(
    reader: &mut ByteReader<'_>,
    kind: TimestampKind,
    extent: Extent,
    timestamps: &mut Vec<i64>,
) -> Result<(), CodecError> {
    match kind {
        TimestampKind::Regular => read_regular(extent, timestamps),
        TimestampKind::Irregular => read_irregular(reader, extent, timestamps),
    }
}

fn read_regular(extent: Extent, timestamps: &mut Vec<i64>) -> Result<(), CodecError> {
    let step = extent.step();
    let steps = extent.count as u64 - 1;
    if step.checked_mul(steps) != Some(extent.span) || (steps > 0 && step == 0) {
        return Err(CodecError::Damaged("regular timestamps do not end where they should"));
    }
    let step = step.cast_signed();
    timestamps.extend((0..extent.count as i64).map(|index| extent.first.wrapping_add(step.wrapping_mul(index))));
    Ok(())
}

fn read_irregular(reader: &mut ByteReader<'_>, extent: Extent, timestamps: &mut Vec<i64>) -> Result<(), CodecError> {
    let factor = reader.varint()?;
    if factor == 0 || !extent.span.is_multiple_of(factor) {
        return Err(CodecError::Damaged("timestamps have an impossible common factor"));
    }
    let inner = extent.count.checked_sub(2).ok_or(CodecError::Damaged("too few timestamps to be irregular"))?;
    if run_bytes_min(inner) > reader.remaining() {
        return Err(CodecError::Truncated);
    }
    let line = Line::new(extent, factor);
    timestamps.reserve(extent.count);
    timestamps.push(extent.first);
    let (mut index, mut last_units, mut ascending) = (1, 0_u64, true);
    read_runs(reader, inner, History::new(0, 0), |run| {
        timestamps.extend(run.iter().zip(index..).map(|(deviation, index)| {
            let units = line.at(index).wrapping_add(*deviation).cast_unsigned();
            ascending &= units > last_units;
            last_units = units;
            extent.first.wrapping_add(units.wrapping_mul(factor).cast_signed())
        }));
        index += run.len();
        Ok(())
    })?;
    // Ascending and below the last, so that multiplying by the factor cannot have wrapped.
    if !ascending || last_units >= extent.span / factor {
        return Err(CodecError::Damaged("timestamps do not ascend"));
    }
    timestamps.push(extent.first.wrapping_add(extent.span.cast_signed()));
    Ok(())
}

/// The straight line from the first timestamp to the last, in units of the common factor.
struct Line {
    step: i64,
}

impl Line {
    fn new(extent: Extent, factor: u64) -> Self {
        let steps = (extent.count as u64).saturating_sub(1).max(1);
        let units = extent.span / factor;
        // Rounded, so that it ends within half a step for each point.
        let step = units / steps + u64::from(units % steps >= steps.div_ceil(2));
        Self { step: step.cast_signed() }
    }

    #[inline]
    fn at(&self, index: usize) -> i64 {
        self.step.wrapping_mul(index as i64)
    }
}

/// The greatest common divisor, at least 1.
fn common_factor(steps: impl Iterator<Item = u64>) -> u64 {
    let mut factor = 0;
    for step in steps {
        if factor == 1 {
            break;
        }
        factor = greatest_common_divisor(step, factor);
    }
    factor.max(1)
}

/// Euclid's; the common case that `right` divides `left` takes one division.
#[inline]
pub(super) fn greatest_common_divisor(mut left: u64, mut right: u64) -> u64 {
    while right != 0 {
        (left, right) = (right, left % right);
    }
    left
}
