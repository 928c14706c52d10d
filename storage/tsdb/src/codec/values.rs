//! Values of a block.

use tidemark_model::{Value, ValueColumn};

use super::{
    BlockKind, CodecError,
    byte_reader::{ByteReader, write_signed_varint, write_varint},
    column_sink::{append_mixed, float_sink, int_sink},
    decimal::{EXPONENT_MAX, Scale},
    mini_block::{FOR_DOUBLE_BITS, FOR_INTEGERS, History, read_runs, run_bytes_min, write_runs},
    timestamps::greatest_common_divisor,
};

/// One in so many doubles may be no short decimal before a block gives decimals up.
const DECIMALS_PER_EXCEPTION: usize = 16;

/// Appends a column in the smallest way and says which.
pub(super) fn write(values: &ValueColumn, out: &mut Vec<u8>) -> BlockKind {
    match values {
        ValueColumn::Int(ints) => write_ints(ints, out),
        ValueColumn::Float(floats) => write_floats(floats, out),
        ValueColumn::Mixed(values) => write_mixed(values, out),
    }
}

/// Appends `count` values to a column.
pub(super) fn read(
    reader: &mut ByteReader<'_>,
    kind: BlockKind,
    count: usize,
    column: &mut ValueColumn,
) -> Result<(), CodecError> {
    match kind {
        BlockKind::ConstantInt => {
            let ints = [reader.signed_varint()?; 64];
            let mut append = int_sink(column, count);
            for_parts(count, |part| append(ints.get(..part).unwrap_or_default()));
            Ok(())
        }
        BlockKind::Int => {
            let mut append = int_sink(column, count);
            read_integers(reader, count, |ints| append(ints))
        }
        BlockKind::ConstantFloat => {
            let float = read_constant_float(reader)?;
            float_sink(column, count).append(std::iter::repeat_n(float, count));
            Ok(())
        }
        BlockKind::Decimal => read_decimals(reader, count, column),
        BlockKind::Float => read_float_bits(reader, count, column),
        BlockKind::Mixed => read_mixed(reader, count, column),
    }
}

/// The value of a block whose values are all the same.
pub(super) fn read_constant(reader: &mut ByteReader<'_>, kind: BlockKind) -> Result<Option<Value>, CodecError> {
    match kind {
        BlockKind::ConstantInt => Ok(Some(Value::Int(reader.signed_varint()?))),
        BlockKind::ConstantFloat => Ok(Some(Value::Float(read_constant_float(reader)?))),
        _ => Ok(None),
    }
}

fn write_ints(ints: &[i64], out: &mut Vec<u8>) -> BlockKind {
    let first = ints.first().copied().unwrap_or(0);
    if ints.iter().all(|&int| int == first) {
        write_signed_varint(first, out);
        return BlockKind::ConstantInt;
    }
    write_integers(ints, out);
    BlockKind::Int
}

fn write_floats(floats: &[f64], out: &mut Vec<u8>) -> BlockKind {
    let first = floats.first().copied().unwrap_or(0.0).to_bits();
    if floats.iter().all(|float| float.to_bits() == first) {
        write_constant_float(first, out);
        return BlockKind::ConstantFloat;
    }
    match Decimals::of(floats) {
        Some(decimals) => {
            decimals.write(out);
            BlockKind::Decimal
        }
        None => {
            write_float_bits(floats, out);
            BlockKind::Float
        }
    }
}

/// The bytes of a double turned round: most constants have few digits and so end in zero bytes.
fn write_constant_float(bits: u64, out: &mut Vec<u8>) {
    write_varint(bits.swap_bytes(), out);
}

fn read_constant_float(reader: &mut ByteReader<'_>) -> Result<f64, CodecError> {
    Ok(f64::from_bits(reader.varint()?.swap_bytes()))
}

/// Appends at least one integer: the first, the common factor of the differences from it, the second, runs of the rest.
fn write_integers(ints: &[i64], out: &mut Vec<u8>) {
    let first = ints.first().copied().unwrap_or(0);
    let factor = common_factor(ints, first);
    write_signed_varint(first, out);
    write_varint(factor.cast_unsigned(), out);
    let reduced: Vec<_> = if factor == 1 {
        ints.iter().map(|int| int.wrapping_sub(first)).collect()
    } else if factor.count_ones() == 1 {
        let shift = factor.trailing_zeros();
        ints.iter().map(|int| int.wrapping_sub(first) >> shift).collect()
    } else {
        ints.iter().map(|int| int.wrapping_sub(first) / factor).collect()
    };
    if let [_, second, rest @ ..] = reduced.as_slice() {
        write_signed_varint(*second, out);
        write_runs(rest, History::new(0, *second), FOR_INTEGERS, out);
    }
}

fn read_integers(reader: &mut ByteReader<'_>, count: usize, mut append: impl FnMut(&[i64])) -> Result<(), CodecError> {
    let first = reader.signed_varint()?;
    let factor = reader.varint()?.cast_signed();
    append(&[first]);
    let Some(rest) = count.checked_sub(2) else { return Ok(()) };
    let second = reader.signed_varint()?;
    append(&[first.wrapping_add(second.wrapping_mul(factor))]);
    let mut ints = [0; 64];
    read_runs(reader, rest, History::new(0, second), |run| {
        for (int, number) in ints.iter_mut().zip(run) {
            *int = first.wrapping_add(number.wrapping_mul(factor));
        }
        append(ints.get(..run.len()).unwrap_or_default());
        Ok(())
    })
}

/// The greatest number that divides the difference of every integer from the first; 1 if it would not fit.
fn common_factor(ints: &[i64], first: i64) -> i64 {
    let mut factor = 0;
    for int in ints {
        let difference = int.wrapping_sub(first).unsigned_abs();
        if difference != 0 {
            factor = greatest_common_divisor(difference, factor);
            if factor == 1 {
                break;
            }
        }
    }
    i64::try_from(factor).unwrap_or(1).max(1)
}

/// Doubles as integers of one exponent, and the few that are none.
struct Decimals<'a> {
    scale: Scale,
    mantissas: Vec<i64>,
    exceptions: Vec<usize>,
    floats: &'a [f64],
}

impl<'a> Decimals<'a> {
    /// `None` when too many are no short decimals.
    fn of(floats: &'a [f64]) -> Option<Self> {
        let exceptions_max = floats.len() / DECIMALS_PER_EXCEPTION;
        let mut exponent = 0;
        let mut scale = Scale::new(0)?;
        let mut exceptions = 0;
        for &float in floats {
            if scale.mantissa(float).is_some() {
                continue;
            }
            match Scale::find(float, exponent, EXPONENT_MAX) {
                Some((greater, _)) => (scale, exponent) = (greater, greater.exponent()),
                None => exceptions += 1,
            }
            if exceptions > exceptions_max {
                return None;
            }
        }
        Self::at(scale, floats, exceptions_max)
    }

    fn at(scale: Scale, floats: &'a [f64], exceptions_max: usize) -> Option<Self> {
        let mut exceptions = Vec::new();
        let mut last = 0;
        let mut mantissas = Vec::with_capacity(floats.len());
        for (index, &float) in floats.iter().enumerate() {
            match scale.mantissa(float) {
                Some(mantissa) => last = mantissa,
                None if exceptions.len() < exceptions_max => exceptions.push(index),
                None => return None,
            }
            mantissas.push(last);
        }
        Some(Self { scale, mantissas, exceptions, floats })
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(self.scale.exponent());
        write_varint(self.exceptions.len() as u64, out);
        for &index in &self.exceptions {
            write_varint(index as u64, out);
            let bits = self.floats.get(index).map_or(0, |float| float.to_bits());
            out.extend_from_slice(&bits.to_le_bytes());
        }
        write_integers(&self.mantissas, out);
    }
}

fn read_decimals(reader: &mut ByteReader<'_>, count: usize, column: &mut ValueColumn) -> Result<(), CodecError> {
    let scale = Scale::new(reader.u8()?).ok_or(CodecError::Damaged("the exponent is out of range"))?;
    let exceptions = read_exceptions(reader, count)?;
    let start = column.len();
    let mut sink = float_sink(column, count);
    read_integers(reader, count, |ints| sink.append(ints.iter().map(|&int| scale.double(int))))?;
    for (index, float) in exceptions {
        sink.replace(start + index, float);
    }
    Ok(())
}

fn read_exceptions(reader: &mut ByteReader<'_>, count: usize) -> Result<Vec<(usize, f64)>, CodecError> {
    let exceptions = reader.varint()?;
    if exceptions > (count / DECIMALS_PER_EXCEPTION) as u64 {
        return Err(CodecError::Damaged("there are too many exceptions among the decimals"));
    }
    let read = |_| {
        let index = reader.varint()?;
        let float = f64::from_bits(reader.u64()?);
        match usize::try_from(index) {
            Ok(index) if index < count => Ok((index, float)),
            _ => Err(CodecError::Damaged("an exception is outside the block")),
        }
    };
    (0..exceptions).map(read).collect()
}

/// Appends at least one double by its bits, without the low bits that are zero in all of them.
fn write_float_bits(floats: &[f64], out: &mut Vec<u8>) {
    let used = floats.iter().fold(0, |used, float| used | float.to_bits());
    let shift = used.trailing_zeros().min(63);
    out.push(shift as u8);
    let bits: Vec<_> = floats.iter().map(|float| (float.to_bits() >> shift).cast_signed()).collect();
    if let [first, rest @ ..] = bits.as_slice() {
        out.extend_from_slice(&first.to_le_bytes());
        write_runs(rest, History::new(*first, *first), FOR_DOUBLE_BITS, out);
    }
}

fn read_float_bits(reader: &mut ByteReader<'_>, count: usize, column: &mut ValueColumn) -> Result<(), CodecError> {
    let shift = u32::from(reader.u8()?);
    if shift > 63 {
        return Err(CodecError::Damaged("doubles are shifted by more than their bits"));
    }
    let first = reader.u64()?.cast_signed();
    let mut sink = float_sink(column, count);
    let double = |bits: &i64| f64::from_bits(bits.cast_unsigned() << shift);
    sink.append(std::iter::once(double(&first)));
    read_runs(reader, count - 1, History::new(first, first), |run| {
        sink.append(run.iter().map(double));
        Ok(())
    })
}

/// Appends which values are doubles, a bit each, then the integers and the doubles, each with their kind.
fn write_mixed(values: &[Value], out: &mut Vec<u8>) -> BlockKind {
    let ints: Vec<_> =
        values.iter().filter_map(|value| if let Value::Int(int) = value { Some(*int) } else { None }).collect();
    if ints.len() == values.len() {
        return write_ints(&ints, out);
    }
    let floats: Vec<_> =
        values.iter().filter_map(|value| if let Value::Float(float) = value { Some(*float) } else { None }).collect();
    if ints.is_empty() {
        return write_floats(&floats, out);
    }
    for eight in values.chunks(8) {
        let bits = eight.iter().enumerate().map(|(index, value)| u8::from(!value.is_int()) << index);
        out.push(bits.fold(0, |byte, bit| byte | bit));
    }
    write_part(out, |out| write_ints(&ints, out));
    write_part(out, |out| write_floats(&floats, out));
    BlockKind::Mixed
}

fn write_part(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> BlockKind) {
    let at = out.len();
    out.push(0);
    let kind = write(out);
    if let Some(byte) = out.get_mut(at) {
        *byte = kind as u8;
    }
}

fn read_mixed(reader: &mut ByteReader<'_>, count: usize, column: &mut ValueColumn) -> Result<(), CodecError> {
    let bitmap = reader.take(count.div_ceil(8))?;
    let is_float = |index: usize| bitmap.get(index / 8).is_some_and(|byte| byte >> (index % 8) & 1 == 1);
    let float_count = (0..count).filter(|&index| is_float(index)).count();
    let ints = read_part(reader, count - float_count, |kind| kind.is_int())?;
    let floats = read_part(reader, float_count, |kind| kind.is_float())?;
    let (mut ints, mut floats) = (ints.iter(), floats.iter());
    let next = |index| if is_float(index) { floats.next() } else { ints.next() };
    append_mixed(column, (0..count).map_while(next), count);
    Ok(())
}

fn read_part(
    reader: &mut ByteReader<'_>,
    count: usize,
    allowed: impl Fn(BlockKind) -> bool,
) -> Result<ValueColumn, CodecError> {
    let kind = BlockKind::from_byte(reader.u8()?)?;
    if count == 0 || !allowed(kind) {
        return Err(CodecError::Damaged("a mixed block has a part that it cannot have"));
    }
    check_size(reader, kind, count)?;
    let mut column = ValueColumn::default();
    read(reader, kind, count, &mut column)?;
    Ok(column)
}

/// Checks that there are bytes enough for `count` values before memory is taken for them.
pub(super) fn check_size(reader: &ByteReader<'_>, kind: BlockKind, count: usize) -> Result<(), CodecError> {
    let least = match kind {
        BlockKind::ConstantInt | BlockKind::ConstantFloat => 1,
        BlockKind::Int | BlockKind::Decimal | BlockKind::Float => run_bytes_min(count.saturating_sub(2)),
        BlockKind::Mixed => count.div_ceil(8),
    };
    if least <= reader.remaining() { Ok(()) } else { Err(CodecError::Truncated) }
}

/// Splits `count` into parts of at most 64.
fn for_parts(count: usize, mut part: impl FnMut(usize)) {
    (0..count / 64).for_each(|_| part(64));
    part(count % 64);
}
