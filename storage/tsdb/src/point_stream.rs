//! Points of one series in memory, in the order in which they were written, a few bytes each.
//!
//! A point is a control byte, the change of the step between timestamps if there is one, and the bytes of the value's
//! difference from the value before. Any order of timestamps will do and overwrites are just appended: readers sort when
//! the stream says that they must. Doubles with at most two decimals go in as integers. Machine metrics take 2 to 4
//! bytes a point, where plain columns take 16 and their growth as much again. A deletion is appended as well and hides
//! what is before it. Nothing of this is ever stored.

use tidemark_model::{PointColumns, TimeRange, TimestampMs, Value, ValueColumn};

use crate::{RangeSet, merge, put_varint, unzigzag, zigzag};

/// Control byte: bits 0 to 3 say how many bytes the difference has, 4 and 5 what it is, 6 whether the step changed.
const LENGTH_MASK: u8 = 0x0F;
const KIND_MASK: u8 = 0x30;
const KIND_INT: u8 = 0x00;
const KIND_FLOAT: u8 = 0x10;
const KIND_DECIMAL: u8 = 0x20;
/// No point: points before it in a range of time are gone. Its start and its length follow.
const KIND_DELETION: u8 = 0x30;
const STEP_CHANGED: u8 = 0x40;
const DECIMAL_SCALE: f64 = 100.0;
/// Most bytes that a point needs (control, a varint of 64 bits, a difference with the bytes that are taken back) or of a deletion (control, two varints).
const POINT_BYTES_MAX: usize = 1 + 10 + 10;

/// The stream, growing at its end.
#[derive(Clone, Debug, Default)]
pub(crate) struct PointStream {
    bytes: Vec<u8>,
    state: State,
    count: u32,
    /// Whether readers have to sort, or to leave out what was deleted.
    disordered: bool,
    /// No point is before it.
    min: TimestampMs,
    max: TimestampMs,
    /// Of the point at `max`.
    last: (u64, bool),
}

/// What differences are taken from.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    timestamp: TimestampMs,
    step: i64,
    int: i64,
    bits: u64,
}

/// The points of a stream as they were at one moment.
#[derive(Clone, Debug)]
pub(crate) struct StreamSnapshot {
    bytes: Box<[u8]>,
    count: u32,
    disordered: bool,
    pub(crate) min: TimestampMs,
    pub(crate) max: TimestampMs,
}

impl PointStream {
    /// Appends a point.
    pub(crate) fn push(&mut self, timestamp: TimestampMs, bits: u64, float: bool) {
        let step = timestamp.wrapping_sub(self.state.timestamp);
        let (kind, difference) = self.state.difference(bits, float);
        let length = (8 - difference.leading_zeros() / 8) as u8;
        self.reserve();
        if step == self.state.step {
            self.bytes.push(kind | length);
        } else {
            self.bytes.push(kind | length | STEP_CHANGED);
            put_varint(&mut self.bytes, zigzag(step.wrapping_sub(self.state.step)));
        }
        // All eight bytes and then back: a copy of a length that the compiler knows is no call.
        let end = self.bytes.len() + usize::from(length);
        self.bytes.extend_from_slice(&difference.to_le_bytes());
        self.bytes.truncate(end);
        self.state.timestamp = timestamp;
        self.state.step = step;
        self.note(timestamp, bits, float);
    }

    /// Reads both ends of what [`Self::push`] will need, and nothing that means anything.
    pub(crate) fn look_at_end(&self) -> u32 {
        self.count ^ self.bytes.last().map_or(0, |&byte| u32::from(byte))
    }

    fn note(&mut self, timestamp: TimestampMs, bits: u64, float: bool) {
        if self.count == 0 || timestamp > self.max {
            self.max = timestamp;
            self.last = (bits, float);
        } else {
            self.disordered = true;
            if timestamp == self.max {
                self.last = (bits, float);
            }
        }
        self.min = if self.count == 0 { timestamp } else { self.min.min(timestamp) };
        self.count += 1;
    }

    /// Hides the points in `range` that are there now; says whether the stream changed.
    pub(crate) fn delete(&mut self, range: TimeRange) -> bool {
        if !self.overlaps(range) {
            return false;
        }
        if range.start <= self.min && self.max < range.end {
            *self = Self::default();
            return true;
        }
        self.reserve();
        self.bytes.push(KIND_DELETION);
        put_varint(&mut self.bytes, zigzag(range.start));
        put_varint(&mut self.bytes, range.end.wrapping_sub(range.start).cast_unsigned());
        self.disordered = true;
        if range.contains(self.max) {
            self.find_last();
        }
        true
    }

    /// After the point at `max` was deleted.
    fn find_last(&mut self) {
        let points = sorted_points(&self.bytes, self.count);
        match (points.first(), points.last()) {
            (Some(&(min, _)), Some(&(max, value))) => {
                (self.min, self.max) = (min, max);
                self.last = match value {
                    Value::Int(int) => (int.cast_unsigned(), false),
                    Value::Float(float) => (float.to_bits(), true),
                };
            }
            _ => *self = Self::default(),
        }
    }

    /// Grows by half, so that memory is not mostly slack.
    fn reserve(&mut self) {
        if self.bytes.capacity() - self.bytes.len() < POINT_BYTES_MAX {
            self.bytes.reserve_exact(POINT_BYTES_MAX.max(self.bytes.len() / 2));
        }
    }

    /// Points, counting overwritten and deleted ones; 0 when none is left.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Bytes of memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// The newest point.
    pub(crate) fn last(&self) -> Option<(TimestampMs, Value)> {
        (self.count > 0).then(|| (self.max, value_of(self.last.0, self.last.1)))
    }

    /// Whether a point may be in a range.
    pub(crate) fn overlaps(&self, range: TimeRange) -> bool {
        self.count > 0 && self.max >= range.start && self.min < range.end
    }

    /// The points as they are now.
    pub(crate) fn snapshot(&self) -> StreamSnapshot {
        StreamSnapshot {
            bytes: Box::from(self.bytes.as_slice()),
            count: self.count,
            disordered: self.disordered,
            min: self.min,
            max: self.max,
        }
    }

    /// Appends the points inside `range` in order of time, one per timestamp, the one written last.
    pub(crate) fn read(&self, range: TimeRange, columns: &mut PointColumns) {
        read(&self.bytes, self.count, self.disordered, range, columns);
    }
}

impl StreamSnapshot {
    /// As [`PointStream::read`].
    pub(crate) fn read(&self, range: TimeRange, columns: &mut PointColumns) {
        read(&self.bytes, self.count, self.disordered, range, columns);
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }
}

impl State {
    /// What has to be written for a value; the state then holds it.
    fn difference(&mut self, bits: u64, float: bool) -> (u8, u64) {
        if float {
            return match decimal_of(bits) {
                Some(int) => (KIND_DECIMAL, self.int_difference(int)),
                None => {
                    let difference = bits ^ self.bits;
                    self.bits = bits;
                    (KIND_FLOAT, difference)
                }
            };
        }
        (KIND_INT, self.int_difference(bits.cast_signed()))
    }

    fn int_difference(&mut self, int: i64) -> u64 {
        let difference = zigzag(int.wrapping_sub(self.int));
        self.int = int;
        difference
    }

    fn apply(&mut self, kind: u8, difference: u64) -> Value {
        if kind == KIND_FLOAT {
            self.bits ^= difference;
            return Value::Float(f64::from_bits(self.bits));
        }
        self.int = self.int.wrapping_add(unzigzag(difference));
        if kind == KIND_INT { Value::Int(self.int) } else { Value::Float(self.int as f64 / DECIMAL_SCALE) }
    }
}

/// A hundred times the double, when that says exactly the same.
fn decimal_of(bits: u64) -> Option<i64> {
    let value = f64::from_bits(bits);
    let scaled = value * DECIMAL_SCALE;
    let int = (scaled + 0.5_f64.copysign(scaled)) as i64;
    (((int as f64) / DECIMAL_SCALE).to_bits() == bits).then_some(int)
}

pub(crate) fn value_of(bits: u64, float: bool) -> Value {
    if float { Value::Float(f64::from_bits(bits)) } else { Value::Int(bits.cast_signed()) }
}

fn read(bytes: &[u8], count: u32, disordered: bool, range: TimeRange, columns: &mut PointColumns) {
    if disordered {
        sorted_points(bytes, count)
            .into_iter()
            .filter(|(timestamp, _)| range.contains(*timestamp))
            .for_each(|(timestamp, value)| columns.push(timestamp, value));
        return;
    }
    columns.timestamps.reserve(count as usize);
    if let ValueColumn::Int(ints) = &mut columns.values {
        ints.reserve(count as usize);
    }
    decode(bytes, |entry| {
        if let Entry::Point(timestamp, value) = entry
            && range.contains(timestamp)
        {
            columns.push(timestamp, value);
        }
    });
}

/// The points that are not deleted in order of time, one per timestamp, the one written last.
fn sorted_points(bytes: &[u8], count: u32) -> Vec<(TimestampMs, Value)> {
    let mut points = Vec::with_capacity(count as usize);
    // Each with the number of points before it.
    let mut deletions = Vec::new();
    decode(bytes, |entry| match entry {
        Entry::Point(timestamp, value) => points.push((timestamp, value)),
        Entry::Deletion(range) => deletions.push((points.len(), range)),
    });
    if !deletions.is_empty() {
        points = without_deleted(&points, deletions);
    }
    merge::sort_last_wins(&mut points);
    points
}

/// From the last point to the first, so that each is looked up once however many deletions there are.
fn without_deleted(
    points: &[(TimestampMs, Value)],
    mut deletions: Vec<(usize, TimeRange)>,
) -> Vec<(TimestampMs, Value)> {
    let mut hidden = RangeSet::default();
    let mut kept = Vec::with_capacity(points.len());
    for (position, point) in points.iter().enumerate().rev() {
        while let Some((_, range)) = deletions.pop_if(|(before, _)| *before > position) {
            hidden.add(range);
        }
        if !hidden.contains(point.0) {
            kept.push(*point);
        }
    }
    kept.reverse();
    kept
}

/// What a stream consists of.
enum Entry {
    Point(TimestampMs, Value),
    /// Points before it in this range are gone.
    Deletion(TimeRange),
}

/// Calls `each` for every entry in the order of writing.
fn decode(mut bytes: &[u8], mut each: impl FnMut(Entry)) {
    let mut state = State::default();
    while let Some((&control, rest)) = bytes.split_first() {
        bytes = rest;
        if control & KIND_MASK == KIND_DELETION {
            let start = unzigzag(take_varint(&mut bytes));
            let end = start.wrapping_add(take_varint(&mut bytes).cast_signed());
            each(Entry::Deletion(TimeRange { start, end }));
            continue;
        }
        if control & STEP_CHANGED != 0 {
            state.step = state.step.wrapping_add(unzigzag(take_varint(&mut bytes)));
        }
        state.timestamp = state.timestamp.wrapping_add(state.step);
        let difference = take_difference(&mut bytes, usize::from(control & LENGTH_MASK));
        each(Entry::Point(state.timestamp, state.apply(control & KIND_MASK, difference)));
    }
}

fn take_varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    let mut shift = 0;
    while let Some((&byte, rest)) = bytes.split_first() {
        *bytes = rest;
        value |= u64::from(byte & 0x7F) << shift;
        shift += 7;
        if byte < 0x80 || shift > 63 {
            break;
        }
    }
    value
}

/// Reads eight bytes at once where there are eight, which is nearly everywhere.
fn take_difference(bytes: &mut &[u8], length: usize) -> u64 {
    let difference = match bytes.first_chunk::<8>() {
        Some(_) if length == 0 => 0,
        Some(eight) => u64::from_le_bytes(*eight) & (u64::MAX >> (64 - 8 * length.min(8))),
        None => bytes.iter().take(length).rev().fold(0, |number, &byte| number << 8 | u64::from(byte)),
    };
    *bytes = bytes.get(length..).unwrap_or_default();
    difference
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn bits_of(value: Value) -> (u64, bool) {
        match value {
            Value::Int(int) => (int.cast_unsigned(), false),
            Value::Float(float) => (float.to_bits(), true),
        }
    }

    fn check(points: &[(i64, Value)]) {
        let mut stream = PointStream::default();
        let mut expect = BTreeMap::new();
        for &(timestamp, value) in points {
            let (bits, float) = bits_of(value);
            stream.push(timestamp, bits, float);
            expect.insert(timestamp, value);
        }
        for range in [TimeRange::ALL, TimeRange::new(-10, 1000)] {
            let mut columns = PointColumns::default();
            stream.snapshot().read(range, &mut columns);
            let found: Vec<_> = columns.iter().map(|point| (point.timestamp, bits_of(point.value))).collect();
            let inside: Vec<_> = expect
                .iter()
                .filter(|(timestamp, _)| range.contains(**timestamp))
                .map(|(&timestamp, &value)| (timestamp, bits_of(value)))
                .collect();
            assert_eq!(found, inside);
        }
        let last = stream.last().map(|(timestamp, value)| (timestamp, bits_of(value)));
        assert_eq!(last, expect.last_key_value().map(|(&timestamp, &value)| (timestamp, bits_of(value))));
    }

    #[test]
    fn points_come_back_as_they_were_whatever_their_order_and_type() {
        check(&[]);
        check(&[(5, Value::Int(1)), (10, Value::Float(0.5)), (15, Value::Int(-1)), (15, Value::Float(-0.0))]);
        check(&[(i64::MAX, Value::Int(i64::MIN)), (i64::MIN, Value::Int(i64::MAX)), (0, Value::Float(f64::MAX))]);
        check(&[(3, Value::Float(45.7)), (2, Value::Float(45.8)), (1, Value::Float(1.0 / 3.0)), (2, Value::Int(9))]);
    }

    /// Points at their timestamps, or the deletion of a range.
    type Step = Result<(i64, i64), (i64, i64)>;

    fn check_steps(steps: &[Step]) {
        let mut stream = PointStream::default();
        let mut expect = BTreeMap::new();
        for &step in steps {
            match step {
                Ok((timestamp, value)) => {
                    stream.push(timestamp, value.cast_unsigned(), false);
                    expect.insert(timestamp, Value::Int(value));
                }
                Err((start, end)) => {
                    let range = TimeRange::new(start, end);
                    let before = expect.len();
                    expect.retain(|timestamp, _| !range.contains(*timestamp));
                    let changed = stream.delete(range);
                    assert!(changed || expect.len() == before, "{steps:?}");
                }
            }
            let mut columns = PointColumns::default();
            stream.snapshot().read(TimeRange::ALL, &mut columns);
            let found: Vec<_> = columns.iter().map(|point| (point.timestamp, point.value)).collect();
            assert_eq!(found, expect.iter().map(|(&at, &value)| (at, value)).collect::<Vec<_>>(), "{steps:?}");
            let newest = expect.last_key_value().map(|(&at, &value)| (at, value));
            assert_eq!(stream.last(), newest, "{steps:?}");
            assert_eq!(stream.count() > 0, newest.is_some(), "{steps:?}");
            if let (Some((&min, _)), Some((max, _))) = (expect.first_key_value(), newest) {
                assert!(stream.min <= min && stream.max == max, "{steps:?}");
            }
        }
    }

    #[test]
    fn a_deletion_hides_what_is_before_it_and_nothing_after_it() {
        check_steps(&[Ok((5, 1)), Ok((10, 2)), Ok((15, 3)), Err((10, 15)), Ok((10, 4)), Err((0, 11)), Ok((5, 7))]);
        check_steps(&[Ok((5, 1)), Err((0, 10)), Ok((3, 2)), Err((i64::MIN, i64::MAX)), Ok((4, 1))]);
        check_steps(&[Ok((5, 1)), Ok((9, 1)), Err((9, 10)), Ok((7, 3)), Err((6, 8)), Err((5, 6)), Err((5, 6))]);
    }

    #[test]
    fn a_stream_without_points_holds_no_memory() {
        let mut stream = PointStream::default();
        stream.push(5, 1, false);
        stream.push(9, 1, false);
        assert!(stream.delete(TimeRange::new(6, 12)) && stream.memory_bytes() > 0);
        assert!(stream.delete(TimeRange::new(5, 6)) && stream.memory_bytes() == 0);
        assert!(!stream.delete(TimeRange::ALL));
    }

    #[test]
    fn a_regular_series_takes_few_bytes() {
        let mut stream = PointStream::default();
        for number in 0..480_i64 {
            stream.push(1_789_948_800_000 + number * 15_000, ((457 + number % 10) as f64 / 10.0).to_bits(), true);
        }
        assert!(stream.snapshot().bytes() < 480 * 3, "{}", stream.snapshot().bytes());
    }

    proptest! {
        #[test]
        fn any_points_and_deletions_read_as_a_map_does(steps in prop::collection::vec((0_i64..30, 0_i64..12, 0_u8..4), 0..60)) {
            let steps: Vec<Step> = steps
                .into_iter()
                .map(|(at, other, kind)| if kind == 0 { Err((at, at + other)) } else { Ok((at, other)) })
                .collect();
            check_steps(&steps);
        }

        #[test]
        fn any_points_survive(points in prop::collection::vec((any::<i8>(), any::<(u64, i64, u8)>()), 0..200)) {
            let points: Vec<_> = points.into_iter().map(|(timestamp, (bits, int, kind))| {
                let value = match kind % 4 {
                    0 => Value::Int(int),
                    1 => Value::Float(f64::from_bits(bits)),
                    2 => Value::Float((int % 100_000) as f64 / 100.0),
                    _ => Value::Int(int % 100),
                };
                (i64::from(timestamp) * 15, value)
            }).collect();
            check(&points);
        }
    }
}
