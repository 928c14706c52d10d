//! Buckets whose values come from rows that the reader has in place of points.
//!
//! A row is made of all points of an interval that lies in the bucket. Folding the rows of a bucket gives the double that
//! the kernels of `bucket_kernels` give for its points: the reader hands rows out only where that is so.

use tidemark_model::{RollupFunction, RollupRows};

use crate::{bucket_kernels::BucketColumns, grid::Grid};

/// The buckets that have rows, all of which lie in the range of the grid.
pub(crate) fn buckets_of_rows(rows: &RollupRows, grid: &Grid, function: RollupFunction) -> BucketColumns {
    let mut columns = BucketColumns { buckets: Vec::with_capacity(rows.len()), values: Vec::with_capacity(rows.len()) };
    grid.for_each_bucket(&rows.starts, |bucket, inside| {
        let values = rows.values.get(inside.clone()).unwrap_or_default();
        let counts = rows.counts.get(inside).unwrap_or_default();
        columns.buckets.push(bucket);
        columns.values.push(fold(function, values, counts));
    });
    columns
}

fn fold(function: RollupFunction, values: &[f64], counts: &[f64]) -> f64 {
    let sum = || values.iter().fold(0.0, |sum, value| sum + value);
    match function {
        RollupFunction::Sum | RollupFunction::Count => sum(),
        RollupFunction::Average => sum() / counts.iter().fold(0.0, |sum, count| sum + count),
        RollupFunction::Smallest => {
            values.iter().fold(f64::INFINITY, |least, &value| if value < least { value } else { least })
        }
        RollupFunction::Largest => {
            values.iter().fold(f64::NEG_INFINITY, |most, &value| if value > most { value } else { most })
        }
        RollupFunction::First => values.first().copied().unwrap_or(f64::NAN),
        RollupFunction::Last => values.last().copied().unwrap_or(f64::NAN),
    }
}

/// The buckets of both; where both have one, that of `first`.
pub(crate) fn prefer(first: BucketColumns, second: BucketColumns) -> BucketColumns {
    let mut columns = BucketColumns {
        buckets: Vec::with_capacity(first.buckets.len() + second.buckets.len()),
        values: Vec::with_capacity(first.buckets.len() + second.buckets.len()),
    };
    let pairs = |columns: BucketColumns| columns.buckets.into_iter().zip(columns.values);
    let (mut first, mut second) = (pairs(first).peekable(), pairs(second).peekable());
    loop {
        let next = match (first.peek(), second.peek()) {
            (Some((left, _)), Some((right, _))) if left > right => second.next(),
            (Some((left, _)), Some((right, _))) if left == right => {
                second.next();
                first.next()
            }
            (Some(_), _) => first.next(),
            (None, _) => second.next(),
        };
        let Some((bucket, value)) = next else { return columns };
        columns.buckets.push(bucket);
        columns.values.push(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Aggregator, bucket_kernels::downsample};
    use tidemark_model::{PointColumns, Value};

    const GRID: Grid = Grid::Regular { first: 0, interval_ms: 100, count: 20 };

    /// Rows of ten milliseconds each.
    fn rows(points: &PointColumns, function: RollupFunction, aggregator: Aggregator) -> RollupRows {
        let fine = Grid::Regular { first: 0, interval_ms: 10, count: 200 };
        let of = |aggregator| downsample(points, &fine, aggregator);
        let made = of(if function == RollupFunction::Average { Aggregator::Sum } else { aggregator });
        let counts = if function == RollupFunction::Average { of(Aggregator::Count).values } else { Vec::new() };
        RollupRows {
            starts: made.buckets.iter().map(|&bucket| bucket as i64 * 10).collect(),
            values: made.values,
            counts,
        }
    }

    #[test]
    fn rows_of_whole_numbers_give_what_their_points_give() {
        let value = |step: i64| Value::Int((step * 7919) % 101 - 50);
        let points: PointColumns = (0..300).map(|step| (step * step % 7 + step * 6, value(step))).collect();
        for (function, aggregator) in [
            (RollupFunction::Sum, Aggregator::Sum),
            (RollupFunction::Average, Aggregator::Avg),
            (RollupFunction::Smallest, Aggregator::Min),
            (RollupFunction::Largest, Aggregator::Max),
            (RollupFunction::Count, Aggregator::Count),
            (RollupFunction::First, Aggregator::First),
            (RollupFunction::Last, Aggregator::Last),
        ] {
            let found = buckets_of_rows(&rows(&points, function, aggregator), &GRID, function);
            assert_eq!(found, downsample(&points, &GRID, aggregator), "{function:?}");
        }
    }

    #[test]
    fn a_bucket_of_rows_replaces_that_of_points() {
        let columns = |buckets: &[usize], value: f64| BucketColumns {
            buckets: buckets.to_vec(),
            values: vec![value; buckets.len()],
        };
        let found = prefer(columns(&[1, 4, 5], 1.0), columns(&[0, 1, 2, 5, 7], 2.0));
        assert_eq!(found.buckets, [0, 1, 2, 4, 5, 7]);
        assert_eq!(found.values, [2.0, 1.0, 2.0, 1.0, 1.0, 2.0]);
        assert_eq!(prefer(columns(&[], 1.0), columns(&[3], 2.0)), columns(&[3], 2.0));
    }
}
