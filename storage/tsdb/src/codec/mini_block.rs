//! A run of up to 64 integers: the best of four predictions, what is left over minus a base, bit-packed, with patches for
//! what does not fit.
//!
//! The predictions are nothing, the number before, the line through the two before (integers), and the bits of the number
//! before by XOR (doubles). Every run has its own, so a series that changes its character keeps what fits.
//!
//! Patched frame of reference after Zukowski et al., ICDE 2006 ("super-scalar RAM-CPU cache compression"); here the
//! patches carry the high bits only, packed at one width with their positions. The base is the least number or the
//! second least, so that one drop (a counter that starts again) is a patch as well, whose high bits are then signed.
//! XOR after Pelkonen et al., VLDB 2015, with the window of bits chosen once a run instead of once a value: that costs a
//! percent or two of the size and decodes three times as fast.

use super::{
    CodecError,
    bit_packing::{RUN, pack, packed_bytes, unpack},
    byte_reader::{ByteReader, signed_varint_bytes, write_signed_varint},
};

/// Bits of a position in a run.
const POSITION_BITS: u32 = 6;
/// Most high bits of a patch, so that they and the position fit into a number.
const HIGH_BITS_MAX: u32 = 64 - POSITION_BITS;

const MODE_SHIFT: u32 = 7;
const PATCHES_SHIFT: u32 = 9;
const PATCHES_MAX: usize = 63;
const BASE_BIT: u16 = 1 << 15;
/// Beside the number of high bits: they are signed.
const SIGNED_BIT: u8 = 1 << 7;

/// How a number is predicted from those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prediction {
    /// Not at all.
    Zero = 0,
    /// It is the number before.
    Previous = 1,
    /// It differs from the number before as that did from its own.
    Line = 2,
    /// Its bits are those of the number before.
    Xor = 3,
}

/// Predictions worth trying for integers.
pub(super) const FOR_INTEGERS: &[Prediction] = &[Prediction::Previous, Prediction::Zero, Prediction::Line];
/// Predictions worth trying for bits of doubles.
pub(super) const FOR_DOUBLE_BITS: &[Prediction] = &[Prediction::Xor, Prediction::Previous, Prediction::Zero];

/// The two numbers before the next.
#[derive(Clone, Copy, Debug)]
pub(super) struct History {
    last: i64,
    before_last: i64,
}

impl History {
    pub(super) fn new(before_last: i64, last: i64) -> Self {
        Self { last, before_last }
    }
}

/// Appends `numbers` in runs.
pub(super) fn write_runs(numbers: &[i64], mut history: History, predictions: &[Prediction], out: &mut Vec<u8>) {
    for run in numbers.chunks(RUN) {
        let best =
            predictions.iter().map(|&prediction| Plan::new(run, history, prediction)).min_by_key(|plan| plan.bits);
        if let Some(best) = best {
            best.write(out);
        }
        for &number in run {
            history = History::new(history.last, number);
        }
    }
}

/// Least bytes that `count` numbers take in runs.
pub(super) fn run_bytes_min(count: usize) -> usize {
    2 * count.div_ceil(RUN)
}

/// Reads `count` numbers in runs and hands them over run by run.
pub(super) fn read_runs(
    reader: &mut ByteReader<'_>,
    count: usize,
    mut history: History,
    mut take: impl FnMut(&[i64]) -> Result<(), CodecError>,
) -> Result<(), CodecError> {
    let mut numbers = [0; RUN];
    let mut left = count;
    while left > 0 {
        let length = left.min(RUN);
        let run = numbers.get_mut(..length).unwrap_or_default();
        history = read_run(reader, run, history)?;
        take(run)?;
        left -= length;
    }
    Ok(())
}

/// How one run would be written with one prediction.
struct Plan {
    /// Size of the whole run.
    bits: u32,
    prediction: Prediction,
    base: i64,
    width: u32,
    /// Bits of a patch above the width; 0 without patches.
    high_bits: u32,
    /// Whether one number is below the base.
    signed: bool,
    length: usize,
    residuals: [i64; RUN],
}

impl Plan {
    #[inline]
    fn new(run: &[i64], history: History, prediction: Prediction) -> Self {
        let mut residuals = [0; RUN];
        let length = run.len().min(RUN);
        predict(run, history, prediction, &mut residuals);
        let used = residuals.get(..length).unwrap_or_default();
        let (least, second, greatest) = extremes(used);
        let spread = bit_length(greatest.wrapping_sub(least).cast_unsigned());
        // No base at all when it would not save a bit.
        let base = if least >= 0 && bit_length(greatest.cast_unsigned()) == spread { 0 } else { least };
        let mut plan = Self { bits: 0, prediction, base, width: 0, high_bits: 0, signed: false, length, residuals };
        plan.choose_width();
        if bit_length(greatest.wrapping_sub(second).cast_unsigned()) + 2 <= spread {
            let without_least = Self { base: second, signed: true, ..plan };
            plan = plan.min(without_least);
        }
        plan
    }

    fn min(self, mut other: Self) -> Self {
        other.choose_width();
        if other.bits < self.bits { other } else { self }
    }

    /// Numbers above the base, which wrap around below it.
    #[inline]
    fn offsets(&self) -> [u64; RUN] {
        self.residuals.map(|residual| residual.wrapping_sub(self.base).cast_unsigned())
    }

    /// The width for which packed numbers and patches are smallest together.
    #[inline]
    fn choose_width(&mut self) {
        let mut counts = [0_u8; 65];
        let mut longest_signed = 0;
        for offset in self.offsets().iter().take(self.length) {
            if let Some(count) = counts.get_mut(bit_length(*offset) as usize) {
                *count += 1;
            }
            longest_signed = longest_signed.max(signed_bit_length(*offset));
        }
        let longest = counts.iter().rposition(|&count| count > 0).unwrap_or(0) as u32;
        let patched = if self.signed { longest_signed } else { longest };
        let base_bits = if self.base == 0 { 0 } else { 8 * signed_varint_bytes(self.base) };
        let length = self.length as u32;
        (self.width, self.high_bits, self.bits) = (longest, 0, length * longest);
        let mut patches = 0;
        for width in (patched.saturating_sub(HIGH_BITS_MAX)..longest).rev() {
            patches += u32::from(counts.get(width as usize + 1).copied().unwrap_or(0));
            if patches as usize > PATCHES_MAX {
                break;
            }
            // A sign takes a bit.
            let high_bits = patched.saturating_sub(width).max(1);
            let bits = length * width + 8 + patches * (POSITION_BITS + high_bits);
            if bits < self.bits {
                (self.width, self.high_bits, self.bits) = (width, high_bits, bits);
            }
        }
        self.bits += 16 + base_bits;
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut offsets = self.offsets();
        let mut patches = [0; RUN];
        let mut patch_count = 0;
        if self.high_bits > 0 {
            let (mask, high_mask) = ((1 << self.width) - 1, (1 << self.high_bits) - 1);
            let used = offsets.iter_mut().take(self.length).enumerate();
            let exceeding = used.filter(|(_, offset)| **offset > mask);
            for (patch, (position, offset)) in patches.iter_mut().zip(exceeding) {
                *patch = (*offset >> self.width & high_mask) << POSITION_BITS | position as u64;
                *offset &= mask;
                patch_count += 1;
            }
        }
        let base_bit = if self.base == 0 { 0 } else { BASE_BIT };
        let mode = (self.prediction as u16) << MODE_SHIFT;
        let header = self.width as u16 | mode | (patch_count as u16) << PATCHES_SHIFT | base_bit;
        out.extend_from_slice(&header.to_le_bytes());
        if self.base != 0 {
            write_signed_varint(self.base, out);
        }
        if patch_count > 0 {
            out.push(self.high_bits as u8 | if self.signed { SIGNED_BIT } else { 0 });
        }
        pack(offsets.get(..self.length).unwrap_or_default(), self.width, out);
        pack(patches.get(..patch_count).unwrap_or_default(), POSITION_BITS + self.high_bits, out);
    }
}

/// What the prediction leaves over.
#[inline]
fn predict(run: &[i64], history: History, prediction: Prediction, residuals: &mut [i64; RUN]) {
    let mut last = history.last;
    let pairs = residuals.iter_mut().zip(run);
    match prediction {
        Prediction::Zero => pairs.for_each(|(residual, &number)| *residual = number),
        Prediction::Previous => pairs.for_each(|(residual, &number)| {
            *residual = number.wrapping_sub(last);
            last = number;
        }),
        Prediction::Line => {
            let mut slope = history.last.wrapping_sub(history.before_last);
            pairs.for_each(|(residual, &number)| {
                let step = number.wrapping_sub(last);
                *residual = step.wrapping_sub(slope);
                (last, slope) = (number, step);
            });
        }
        Prediction::Xor => pairs.for_each(|(residual, &number)| {
            *residual = number ^ last;
            last = number;
        }),
    }
}

/// The least, the second least and the greatest number.
#[inline]
fn extremes(numbers: &[i64]) -> (i64, i64, i64) {
    let (mut least, mut second, mut greatest) = (i64::MAX, i64::MAX, i64::MIN);
    for &number in numbers {
        second = second.min(number.max(least));
        least = least.min(number);
        greatest = greatest.max(number);
    }
    if numbers.len() < 2 { (least, least, greatest) } else { (least, second, greatest) }
}

#[inline]
fn bit_length(number: u64) -> u32 {
    64 - number.leading_zeros()
}

/// Bits of a number as a signed one, with its sign.
#[inline]
fn signed_bit_length(number: u64) -> u32 {
    65 - number.leading_zeros().max(number.leading_ones())
}

#[inline]
fn read_run(reader: &mut ByteReader<'_>, run: &mut [i64], history: History) -> Result<History, CodecError> {
    let header = reader.u16()?;
    let width = u32::from(header & 0x7F);
    let patch_count = usize::from(header >> PATCHES_SHIFT) & PATCHES_MAX;
    let base = if header & BASE_BIT == 0 { 0 } else { reader.signed_varint()? };
    let high = if patch_count == 0 { 0 } else { reader.u8()? };
    let (high_bits, signed) = (u32::from(high & !SIGNED_BIT), high & SIGNED_BIT != 0);
    if width > 64 || high_bits > HIGH_BITS_MAX || width + high_bits > 64 || (patch_count > 0 && high_bits == 0) {
        return Err(CodecError::Damaged("a run is wider than 64 bits"));
    }
    let mut offsets = [0; RUN];
    unpack(reader.take(packed_bytes(run.len(), width))?, width, &mut offsets);
    if patch_count > 0 {
        let patch_width = POSITION_BITS + high_bits;
        let mut patches = [0; RUN];
        unpack(reader.take(packed_bytes(patch_count, patch_width))?, patch_width, &mut patches);
        for patch in patches.iter().take(patch_count) {
            let position = (patch & ((1 << POSITION_BITS) - 1)) as usize;
            let high = patch >> POSITION_BITS;
            let unused = 64 - high_bits;
            let high = if signed { ((high << unused).cast_signed() >> unused).cast_unsigned() } else { high };
            if let Some(offset) = offsets.get_mut(position) {
                *offset |= high << width;
            }
        }
    }
    let mode = header >> MODE_SHIFT & 3;
    Ok(restore(run, &offsets, base, history, mode))
}

/// Adds the base and the predictions.
#[inline]
fn restore(run: &mut [i64], offsets: &[u64; RUN], base: i64, history: History, mode: u16) -> History {
    let mut last = history.last;
    let pairs = run.iter_mut().zip(offsets);
    let residual = |offset: &u64| offset.cast_signed().wrapping_add(base);
    match mode {
        0 => pairs.for_each(|(number, offset)| *number = residual(offset)),
        1 => pairs.for_each(|(number, offset)| {
            last = last.wrapping_add(residual(offset));
            *number = last;
        }),
        2 => {
            let mut slope = history.last.wrapping_sub(history.before_last);
            pairs.for_each(|(number, offset)| {
                slope = slope.wrapping_add(residual(offset));
                last = last.wrapping_add(slope);
                *number = last;
            });
        }
        _ => pairs.for_each(|(number, offset)| {
            last ^= residual(offset);
            *number = last;
        }),
    }
    match *run {
        [.., before_last, last] => History::new(before_last, last),
        [last] => History::new(history.last, last),
        [] => history,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes and reads what follows the first two numbers, which are the history, as in a block.
    fn check(numbers: &[i64], bytes_max: usize) {
        let (history, numbers) = match numbers {
            [first, second, rest @ ..] => (History::new(*first, *second), rest),
            _ => (History::new(3, -4), numbers),
        };
        for predictions in [FOR_INTEGERS, FOR_DOUBLE_BITS] {
            let mut bytes = Vec::new();
            write_runs(numbers, history, predictions, &mut bytes);
            assert!(bytes.len() >= run_bytes_min(numbers.len()));
            if predictions == FOR_INTEGERS {
                assert!(bytes.len() <= bytes_max, "{} bytes of at most {bytes_max}", bytes.len());
            }
            let mut read = Vec::new();
            let mut reader = ByteReader::new(&bytes);
            read_runs(&mut reader, numbers.len(), history, |run| {
                read.extend_from_slice(run);
                Ok(())
            })
            .unwrap();
            assert_eq!(read, numbers);
            assert_eq!(reader.finish(), Ok(()));
        }
    }

    #[test]
    fn a_line_costs_two_bytes_a_run() {
        let line: Vec<_> = (0..642).map(|index| 1_000_000 + 7 * index).collect();
        check(&line, 2 * 10);
    }

    #[test]
    fn one_drop_and_one_spike_are_patches() {
        let mut counter: Vec<i64> = (0..66).map(|index| 1000 * index + index % 7).collect();
        counter.iter_mut().skip(30).for_each(|number| *number -= 30_000);
        check(&counter, 64 * 3 / 8 + 16);
        let mut gauge: Vec<i64> = (0..66).map(|index| index * 31 % 8).collect();
        gauge[10] = 1 << 40;
        check(&gauge, 64 * 3 / 8 + 16);
    }

    #[test]
    fn extremes_come_back() {
        check(&[i64::MIN, i64::MAX, 0, -1, i64::MIN, i64::MIN, i64::MAX, 1], 100);
        check(&[i64::MAX; 200], 100);
        check(&[i64::MIN], 20);
        check(&[], 0);
    }
}
