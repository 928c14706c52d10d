//! From points to rows.
//!
//! A row is worth something only if a query gets the same double from it as from the points. So sums are taken as the
//! kernels of a query take them, as doubles in order of time, and of values that compare equal the first is kept.

use tidemark_model::{PointColumns, TimestampMs, Value, ValueColumn};

use super::RollupInterval;
use crate::codec::{RollupColumns, RollupField};

/// Up to this magnitude every whole number is a double.
const TWO_TO_53: f64 = 9_007_199_254_740_992.0;

/// What the sums of some rows are good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Magnitude {
    /// Whole numbers: of the rows, each adds up values of at most 2 to this power in all, so that sums of few rows are
    /// exact in any order.
    Whole(u8),
    /// A sum of several rows may differ from that of their points in its last bits.
    Rounded,
    /// A value is NaN or infinite, or a sum is: the points have to answer.
    Unusable,
}

/// A value of a column.
trait Number: Copy {
    fn double(self) -> f64;
    fn value(self) -> Value;
}

impl Number for i64 {
    fn double(self) -> f64 {
        self as f64
    }

    fn value(self) -> Value {
        Value::Int(self)
    }
}

impl Number for f64 {
    fn double(self) -> f64 {
        self
    }

    fn value(self) -> Value {
        Value::Float(self)
    }
}

impl Number for Value {
    fn double(self) -> f64 {
        self.as_f64()
    }

    fn value(self) -> Value {
        self
    }
}

/// Appends the rows of points, which ascend and are not before `span_start`.
pub(super) fn add_rows(
    points: &PointColumns,
    interval: RollupInterval,
    span_start: TimestampMs,
    rows: &mut RollupColumns,
) {
    let cut = Cut { interval_ms: interval.millis(), span_start };
    match &points.values {
        ValueColumn::Int(ints) => cut.run(&points.timestamps, ints, rows),
        ValueColumn::Float(floats) => cut.run(&points.timestamps, floats, rows),
        ValueColumn::Mixed(values) => cut.run(&points.timestamps, values, rows),
    }
}

/// Where points are cut into rows.
struct Cut {
    interval_ms: i64,
    span_start: TimestampMs,
}

impl Cut {
    fn run<T: Number>(&self, timestamps: &[TimestampMs], values: &[T], rows: &mut RollupColumns) {
        let mut from = 0;
        while let Some((rest, &first)) = timestamps.get(from..).and_then(|rest| Some((rest, rest.first()?))) {
            let interval = (first - self.span_start) / self.interval_ms;
            let end = self.span_start + (interval + 1) * self.interval_ms;
            let until = from + rest.partition_point(|&timestamp| timestamp < end).max(1);
            if let Ok(interval) = u32::try_from(interval) {
                push_row(interval, values.get(from..until).unwrap_or_default(), rows);
            }
            from = until;
        }
    }
}

fn push_row<T: Number>(interval: u32, values: &[T], rows: &mut RollupColumns) {
    let (Some(&first), Some(&last)) = (values.first(), values.last()) else { return };
    let (mut least, mut most, mut sum, mut is_whole) = (first, first, 0.0, true);
    for &value in values {
        let double = value.double();
        sum += double;
        least = if double < least.double() { value } else { least };
        most = if double > most.double() { value } else { most };
        is_whole &= double.fract() == 0.0;
    }
    let count = values.len() as i64;
    is_whole &= bound(count as f64, least.double(), most.double()) <= TWO_TO_53;
    let sum = if is_whole { Value::Int(sum as i64) } else { Value::Float(sum) };
    rows.intervals.push(interval);
    for (field, value) in [
        (RollupField::Count, Value::Int(count)),
        (RollupField::Sum, sum),
        (RollupField::Minimum, least.value()),
        (RollupField::Maximum, most.value()),
        (RollupField::First, first.value()),
        (RollupField::Last, last.value()),
    ] {
        rows.column_mut(field).push(value);
    }
}

/// What the values of a row add up to at most, whatever their signs.
fn bound(count: f64, least: f64, most: f64) -> f64 {
    count * least.abs().max(most.abs())
}

impl Magnitude {
    /// Of rows with all fields.
    pub(crate) fn of(rows: &RollupColumns) -> Self {
        let column = |field| rows.column(field).iter();
        let sums = column(RollupField::Sum);
        let bounds = column(RollupField::Count)
            .zip(column(RollupField::Minimum).zip(column(RollupField::Maximum)))
            .map(|(count, (least, most))| bound(count.as_f64(), least.as_f64(), most.as_f64()));
        let of_rows = sums.zip(bounds).map(|(sum, bound)| match sum {
            Value::Int(_) => Self::Whole((0..53).find(|&power| bound <= f64::from(2).powi(power)).unwrap_or(53) as u8),
            Value::Float(sum) if sum.is_finite() => Self::Rounded,
            Value::Float(_) => Self::Unusable,
        });
        of_rows.max().unwrap_or(Self::Whole(0))
    }

    pub(super) fn byte(self) -> u8 {
        match self {
            Self::Whole(power) => power,
            Self::Rounded => 254,
            Self::Unusable => 255,
        }
    }

    pub(super) fn of_byte(byte: u8) -> Option<Self> {
        match byte {
            0..=53 => Some(Self::Whole(byte)),
            254 => Some(Self::Rounded),
            255 => Some(Self::Unusable),
            _ => None,
        }
    }

    /// Whether the sums of so many rows add up to the sum of their points, bit by bit.
    pub(crate) fn adds_up(self, rows: i64) -> bool {
        match self {
            Self::Whole(power) => rows <= 1 || rows as f64 * f64::from(2).powi(i32::from(power)) <= TWO_TO_53,
            Self::Rounded => rows <= 1,
            Self::Unusable => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(points: &[(i64, Value)]) -> RollupColumns {
        let mut rows = RollupColumns::default();
        add_rows(&points.iter().copied().collect(), RollupInterval::HOUR, 0, &mut rows);
        rows
    }

    fn field(rows: &RollupColumns, field: RollupField) -> Vec<Value> {
        rows.column(field).iter().collect()
    }

    const HOUR: i64 = 3_600_000;

    #[test]
    fn a_row_has_the_points_of_its_interval() {
        let rows = rows(&[
            (HOUR, Value::Int(3)),
            (HOUR + 1, Value::Int(-5)),
            (2 * HOUR - 1, Value::Int(4)),
            (3 * HOUR, Value::Float(0.5)),
            (3 * HOUR + 9, Value::Int(7)),
        ]);
        assert_eq!(rows.intervals, [1, 3]);
        assert_eq!(field(&rows, RollupField::Count), [Value::Int(3), Value::Int(2)]);
        assert_eq!(field(&rows, RollupField::Sum), [Value::Int(2), Value::Float(7.5)]);
        assert_eq!(field(&rows, RollupField::Minimum), [Value::Int(-5), Value::Float(0.5)]);
        assert_eq!(field(&rows, RollupField::Maximum), [Value::Int(4), Value::Int(7)]);
        assert_eq!(field(&rows, RollupField::First), [Value::Int(3), Value::Float(0.5)]);
        assert_eq!(field(&rows, RollupField::Last), [Value::Int(4), Value::Int(7)]);
    }

    #[test]
    fn only_whole_numbers_of_a_bounded_sum_add_up() {
        let of = |values: &[Value]| {
            let points: Vec<_> = (0..).zip(values).map(|(at, &value)| (at, value)).collect();
            Magnitude::of(&rows(&points))
        };
        assert_eq!(of(&[Value::Int(3), Value::Float(-4.0)]), Magnitude::Whole(3));
        assert_eq!(of(&[Value::Float(0.5)]), Magnitude::Rounded);
        assert_eq!(of(&[Value::Int(i64::MAX)]), Magnitude::Rounded);
        assert_eq!(of(&[Value::Int(1), Value::Float(f64::NAN)]), Magnitude::Unusable);
        assert_eq!(of(&[Value::Float(f64::INFINITY)]), Magnitude::Unusable);
        assert_eq!(of(&[Value::Float(f64::MAX), Value::Float(f64::MAX)]), Magnitude::Unusable);
        assert!(Magnitude::Whole(50).adds_up(8) && !Magnitude::Whole(50).adds_up(9));
        assert!(Magnitude::Whole(53).adds_up(1) && !Magnitude::Whole(53).adds_up(2));
        assert!(Magnitude::Rounded.adds_up(1) && !Magnitude::Rounded.adds_up(2));
        assert!(!Magnitude::Unusable.adds_up(1));
        for byte in 0..=255 {
            assert!(Magnitude::of_byte(byte).is_none_or(|magnitude| magnitude.byte() == byte));
        }
    }
}
