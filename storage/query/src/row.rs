//! The aggregators by definition: one value out of the values of one bucket, or of one group at one instant.
//!
//! The column kernels are faster forms of the same rules.

use tidemark_model::Value;

use crate::Aggregator;

/// Aggregates doubles. May reorder `values` and drop NaN from them. NaN when there is none.
///
/// NaN is skipped where OpenTSDB skips it; `mult`, `first`, `last` and `diff` carry it on.
pub(crate) fn aggregate_doubles(aggregator: Aggregator, values: &mut Vec<f64>) -> f64 {
    let (Some(&first), Some(&last)) = (values.first(), values.last()) else { return f64::NAN };
    match aggregator {
        Aggregator::First | Aggregator::None => return first,
        Aggregator::Last => return last,
        Aggregator::Diff => return last - first,
        Aggregator::Mult => return values.iter().product(),
        _ => values.retain(|value| !value.is_nan()),
    }
    let count = values.len() as f64;
    if aggregator == Aggregator::Count {
        return count;
    }
    if values.is_empty() {
        return f64::NAN;
    }
    match aggregator {
        Aggregator::Avg => values.iter().sum::<f64>() / count,
        Aggregator::Min | Aggregator::Mimmin => values.iter().copied().fold(f64::INFINITY, f64::min),
        Aggregator::Max | Aggregator::Mimmax => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        Aggregator::SquareSum => values.iter().map(|value| value * value).sum(),
        Aggregator::Dev => deviation(values.iter().copied()),
        Aggregator::Median => {
            values.sort_unstable_by(f64::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
        }
        Aggregator::Percentile(percentile) => {
            values.sort_unstable_by(f64::total_cmp);
            percentile.of_sorted(values).unwrap_or(f64::NAN)
        }
        _ => values.iter().sum(),
    }
}

/// Aggregates integers; may reorder `values`, of which there is at least one.
///
/// Divisions and roots are truncated towards zero. What does not fit in 64 bits becomes a double.
pub(crate) fn aggregate_integers(aggregator: Aggregator, values: &mut [i64]) -> Value {
    let first = values.first().copied().unwrap_or(0);
    let last = values.last().copied().unwrap_or(0);
    let wide = || values.iter().map(|&value| i128::from(value));
    match aggregator {
        Aggregator::First | Aggregator::None => Value::Int(first),
        Aggregator::Last => Value::Int(last),
        Aggregator::Diff => narrow(i128::from(last) - i128::from(first)),
        // A zero is the product, even of numbers that outgrow everything.
        Aggregator::Mult if values.contains(&0) => Value::Int(0),
        Aggregator::Mult => {
            let product = wide().try_fold(1_i128, i128::checked_mul);
            product.map_or_else(|| Value::Float(values.iter().map(|&value| value as f64).product()), narrow)
        }
        Aggregator::Count => Value::Int(values.len() as i64),
        Aggregator::Avg => narrow(wide().sum::<i128>() / (values.len().max(1) as i128)),
        Aggregator::Min | Aggregator::Mimmin => Value::Int(values.iter().copied().min().unwrap_or(0)),
        Aggregator::Max | Aggregator::Mimmax => Value::Int(values.iter().copied().max().unwrap_or(0)),
        Aggregator::SquareSum => {
            let squares = wide().try_fold(0_i128, |sum, value| sum.checked_add(value * value));
            let doubles = || Value::Float(values.iter().map(|&value| value as f64 * value as f64).sum());
            squares.map_or_else(doubles, narrow)
        }
        Aggregator::Dev => Value::Int(deviation(values.iter().map(|&value| value as f64)) as i64),
        Aggregator::Median => {
            values.sort_unstable();
            Value::Int(values.get(values.len() / 2).copied().unwrap_or(0))
        }
        Aggregator::Percentile(percentile) => {
            values.sort_unstable();
            let sorted: Vec<f64> = values.iter().map(|&value| value as f64).collect();
            Value::Int(percentile.of_sorted(&sorted).unwrap_or(0.0) as i64)
        }
        Aggregator::Sum | Aggregator::Zimsum | Aggregator::Pfsum => narrow(wide().sum()),
    }
}

/// An integer if it fits, else the nearest double.
pub(crate) fn narrow(wide: i128) -> Value {
    i64::try_from(wide).map_or(Value::Float(wide as f64), Value::Int)
}

/// Population standard deviation, by Welford's method as OpenTSDB does it; zero for one value.
fn deviation(values: impl Iterator<Item = f64>) -> f64 {
    let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
    for value in values {
        count += 1.0;
        let off = value - mean;
        mean += off / count;
        squares += off * (value - mean);
    }
    if count < 2.0 { 0.0 } else { f64::sqrt(squares / count) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_skip_nan_where_opentsdb_does() {
        let check = |name: &str, values: &[f64], expect: f64| {
            let found = aggregate_doubles(name.parse().unwrap(), &mut values.to_vec());
            assert!(found == expect || found.is_nan() && expect.is_nan(), "{name} of {values:?}: {found}");
        };
        let nan = f64::NAN;
        check("sum", &[1.0, nan, 2.0], 3.0);
        check("avg", &[1.0, nan, 2.0], 1.5);
        check("min", &[nan, 2.0, 1.0], 1.0);
        check("max", &[nan, 2.0, 1.0], 2.0);
        check("count", &[1.0, nan], 1.0);
        check("count", &[nan], 0.0);
        check("sum", &[nan, nan], nan);
        check("dev", &[nan], nan);
        check("dev", &[5.0], 0.0);
        check("dev", &[1.0, 3.0, nan], 1.0);
        check("median", &[4.0, nan, 1.0, 3.0, 2.0], 3.0);
        check("p50", &[nan, 1.0, 2.0], 1.5);
        check("mult", &[2.0, nan], nan);
        check("first", &[nan, 1.0], nan);
        check("last", &[nan, 1.0], 1.0);
        check("diff", &[1.0, 2.0, 4.0], 3.0);
        check("squareSum", &[1.0, nan, 2.0], 5.0);
    }

    #[test]
    fn integers_truncate_and_grow_into_doubles() {
        let check = |name: &str, values: &[i64], expect: Value| {
            let found = aggregate_integers(name.parse().unwrap(), &mut values.to_vec());
            assert_eq!(found, expect, "{name} of {values:?}");
        };
        check("sum", &[1, 2], Value::Int(3));
        check("sum", &[i64::MAX, 1], Value::Float(9_223_372_036_854_775_808.0));
        check("sum", &[i64::MAX, 1, -5], Value::Int(i64::MAX - 4));
        check("avg", &[-1, -2], Value::Int(-1));
        check("avg", &[i64::MAX, i64::MAX], Value::Int(i64::MAX));
        check("dev", &[1, 100], Value::Int(49));
        check("mult", &[3, 100], Value::Int(300));
        check("mult", &[i64::MAX, 2], Value::Float(i64::MAX as f64 * 2.0));
        check("mult", &[i64::MAX, i64::MAX, i64::MAX], Value::Float((i64::MAX as f64).powi(3)));
        check("mult", &[i64::MAX, i64::MAX, i64::MAX, 0], Value::Int(0));
        check("diff", &[i64::MIN, i64::MAX], Value::Float(18_446_744_073_709_551_615.0));
        check("squareSum", &[i64::MIN; 3], Value::Float(3.0 * (i64::MIN as f64).powi(2)));
        check("median", &[4, 1, 3, 2], Value::Int(3));
        check("p50", &[1, 2], Value::Int(1));
        check("count", &[7, 7], Value::Int(2));
    }
}
