//! Downsampling one series: one double per bucket, in a single pass over its values.
//!
//! A kernel works on the slice of values of one bucket, so that nothing is decided per point: neither the type of the
//! value nor the function nor, for a steady series, the bucket (`Grid::for_each_bucket` guesses where it ends).

use tidemark_model::{PointColumns, TimestampMs, Value, ValueColumn};

use crate::{Aggregator, grid::Grid, row::aggregate_doubles};

/// A value that is stored in columns of one type.
trait Number: Copy {
    /// As a double.
    fn double(self) -> f64;

    /// How many of them are numbers.
    fn count(values: &[Self]) -> f64;
}

impl Number for i64 {
    fn double(self) -> f64 {
        self as f64
    }

    fn count(values: &[Self]) -> f64 {
        values.len() as f64
    }
}

impl Number for f64 {
    fn double(self) -> f64 {
        self
    }

    fn count(values: &[Self]) -> f64 {
        values.iter().map(|value| u64::from(!value.is_nan())).sum::<u64>() as f64
    }
}

/// Buckets with points, and a value of each.
#[derive(Debug, PartialEq)]
pub(crate) struct BucketColumns {
    /// Numbers of buckets, ascending.
    pub(crate) buckets: Vec<usize>,
    /// As many values.
    pub(crate) values: Vec<f64>,
}

/// Downsamples the points that lie in the range of the grid.
pub(crate) fn downsample(points: &PointColumns, grid: &Grid, function: Aggregator) -> BucketColumns {
    let range = grid.range();
    let from = points.timestamps.partition_point(|&timestamp| timestamp < range.start);
    let until = points.timestamps.partition_point(|&timestamp| timestamp < range.end).max(from);
    let timestamps = points.timestamps.get(from..until).unwrap_or_default();
    match &points.values {
        ValueColumn::Int(ints) => run(timestamps, ints.get(from..until).unwrap_or_default(), grid, function),
        ValueColumn::Float(floats) => run(timestamps, floats.get(from..until).unwrap_or_default(), grid, function),
        ValueColumn::Mixed(values) => {
            let values = values.get(from..until).unwrap_or_default();
            let doubles: Vec<f64> = values.iter().copied().map(Value::as_f64).collect();
            run(timestamps, &doubles, grid, function)
        }
    }
}

fn run<T: Number>(timestamps: &[TimestampMs], values: &[T], grid: &Grid, function: Aggregator) -> BucketColumns {
    match function {
        Aggregator::Sum | Aggregator::Zimsum | Aggregator::Pfsum => each_bucket(timestamps, values, grid, sum),
        Aggregator::Avg => each_bucket(timestamps, values, grid, average),
        Aggregator::Min | Aggregator::Mimmin => each_bucket(timestamps, values, grid, smallest),
        Aggregator::Max | Aggregator::Mimmax => each_bucket(timestamps, values, grid, largest),
        Aggregator::Count => each_bucket(timestamps, values, grid, T::count),
        Aggregator::First => each_bucket(timestamps, values, grid, |values| double_or_nan(values.first())),
        Aggregator::Last => each_bucket(timestamps, values, grid, |values| double_or_nan(values.last())),
        _ => {
            let mut row = Vec::new();
            each_bucket(timestamps, values, grid, |values| by_definition(function, values, &mut row))
        }
    }
}

fn each_bucket<T: Number>(
    timestamps: &[TimestampMs],
    values: &[T],
    grid: &Grid,
    mut kernel: impl FnMut(&[T]) -> f64,
) -> BucketColumns {
    let buckets_max = timestamps.len().min(usize::try_from(grid.count()).unwrap_or(usize::MAX));
    let mut columns =
        BucketColumns { buckets: Vec::with_capacity(buckets_max), values: Vec::with_capacity(buckets_max) };
    grid.for_each_bucket(timestamps, |bucket, points| {
        columns.buckets.push(bucket);
        columns.values.push(kernel(values.get(points).unwrap_or_default()));
    });
    columns
}

fn by_definition<T: Number>(function: Aggregator, values: &[T], row: &mut Vec<f64>) -> f64 {
    row.clear();
    row.extend(values.iter().map(|value| value.double()));
    aggregate_doubles(function, row)
}

fn double_or_nan<T: Number>(value: Option<&T>) -> f64 {
    value.map_or(f64::NAN, |value| value.double())
}

// A NaN among the values shows in the result of a kernel; only then the definition, which skips it, is asked.

fn sum<T: Number>(values: &[T]) -> f64 {
    let sum = values.iter().fold(0.0, |sum, value| sum + value.double());
    if sum.is_nan() { by_definition(Aggregator::Sum, values, &mut Vec::new()) } else { sum }
}

fn average<T: Number>(values: &[T]) -> f64 {
    let sum = values.iter().fold(0.0, |sum, value| sum + value.double());
    if sum.is_nan() { by_definition(Aggregator::Avg, values, &mut Vec::new()) } else { sum / values.len() as f64 }
}

fn smallest<T: Number>(values: &[T]) -> f64 {
    let smaller = |least: f64, value: f64| if value < least { value } else { least };
    let least = values.iter().fold(f64::INFINITY, |least, value| smaller(least, value.double()));
    if least.is_infinite() { by_definition(Aggregator::Min, values, &mut Vec::new()) } else { least }
}

fn largest<T: Number>(values: &[T]) -> f64 {
    let larger = |most: f64, value: f64| if value > most { value } else { most };
    let most = values.iter().fold(f64::NEG_INFINITY, |most, value| larger(most, value.double()));
    if most.is_infinite() { by_definition(Aggregator::Max, values, &mut Vec::new()) } else { most }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_agrees_with_its_definition() {
        let grid = Grid::Regular { first: 0, interval_ms: 10, count: 100 };
        let int = |step: i64| (step * 3, Value::Int((step * 7919) % 101 - 50));
        let float = |step: i64| (step * 3, Value::Float(((step * 7919) % 101 - 50) as f64 / 8.0));
        let with_nan = |step: i64| if step % 5 == 0 { (step * 3, Value::Float(f64::NAN)) } else { float(step) };
        let all_nan = |step: i64| (step * 3, Value::Float(f64::NAN));
        let mixed = |step: i64| if step % 2 == 0 { int(step) } else { float(step) };
        for make in [&int as &dyn Fn(i64) -> (i64, Value), &float, &with_nan, &all_nan, &mixed] {
            let points: PointColumns = (0..300).map(make).collect();
            for (name, function) in Aggregator::ALL {
                let found = downsample(&points, &grid, function);
                for (bucket, value) in found.buckets.iter().zip(&found.values) {
                    let mut row: Vec<f64> = points
                        .iter()
                        .filter(|point| point.timestamp / 10 == *bucket as i64)
                        .map(|point| point.value.as_f64())
                        .collect();
                    let expect = aggregate_doubles(function, &mut row);
                    assert!(*value == expect || value.is_nan() && expect.is_nan(), "{name}: {value} and {expect}");
                }
                assert_eq!(found.buckets, (0..90).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn points_outside_the_grid_are_left_out() {
        let grid = Grid::Listed(vec![10, 20, 30]);
        let points: PointColumns = [5, 10, 19, 20, 30].into_iter().map(|time| (time, Value::Int(1))).collect();
        let expect = BucketColumns { buckets: vec![0, 1], values: vec![2.0, 1.0] };
        assert_eq!(downsample(&points, &grid, Aggregator::Sum), expect);
    }
}
