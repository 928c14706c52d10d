//! One value out of several.

use tidemark_model::Value;
use tidemark_query::{Aggregator, Estimation, Percentile};

/// Of integers: divisions, roots and percentiles are truncated, and what outgrows 64 bits becomes a double.
pub(crate) fn integers(aggregator: Aggregator, values: &[i64]) -> Value {
    let wide: Vec<i128> = values.iter().map(|value| i128::from(*value)).collect();
    let in_doubles: Vec<f64> = values.iter().map(|value| *value as f64).collect();
    let (first, last, count) = (wide[0], wide[wide.len() - 1], wide.len() as i128);
    let exact = match aggregator.name() {
        "sum" | "zimsum" | "pfsum" => Some(wide.iter().sum()),
        "min" | "mimmin" => wide.iter().copied().min(),
        "max" | "mimmax" => wide.iter().copied().max(),
        "avg" => Some(wide.iter().sum::<i128>() / count),
        "median" => Some(sorted(wide.clone())[wide.len() / 2]),
        "mult" if wide.contains(&0) => Some(0),
        "mult" => wide.iter().try_fold(1_i128, |product, value| product.checked_mul(*value)),
        "squareSum" => wide.iter().try_fold(0_i128, |sum, value| sum.checked_add(value * value)),
        "diff" => Some(last - first),
        "count" => Some(count),
        "first" | "none" => Some(first),
        "last" => Some(last),
        // Beyond 64 bits only by rounding.
        _ => Some(i128::from(doubles(aggregator, &in_doubles) as i64)),
    };
    match exact.map(i64::try_from) {
        Some(Ok(integer)) => Value::Int(integer),
        _ => Value::Float(doubles(aggregator, &in_doubles)),
    }
}

/// Of doubles: NaN is no value, but for `mult`, `first`, `last` and `diff`, which carry it on. Without any, NaN.
pub(crate) fn doubles(aggregator: Aggregator, values: &[f64]) -> f64 {
    let (first, last) = (values[0], values[values.len() - 1]);
    let numbers: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    let count = numbers.len() as f64;
    match aggregator.name() {
        "first" | "none" => first,
        "last" => last,
        "diff" => last - first,
        "mult" => values.iter().product(),
        "count" => count,
        _ if numbers.is_empty() => f64::NAN,
        "sum" | "zimsum" | "pfsum" => numbers.iter().sum(),
        "avg" => numbers.iter().sum::<f64>() / count,
        "min" | "mimmin" => numbers.iter().copied().fold(numbers[0], f64::min),
        "max" | "mimmax" => numbers.iter().copied().fold(numbers[0], f64::max),
        "squareSum" => numbers.iter().map(|number| number * number).sum(),
        "dev" if numbers.len() < 2 => 0.0,
        "dev" => {
            let mean = numbers.iter().sum::<f64>() / count;
            (numbers.iter().map(|number| (number - mean).powi(2)).sum::<f64>() / count).sqrt()
        }
        "median" => sorted_doubles(numbers)[count as usize / 2],
        _ => match aggregator {
            Aggregator::Percentile(percentile) => percentile_of(percentile, &sorted_doubles(numbers)),
            other => panic!("{other} is a percentile"),
        },
    }
}

/// Values are numbered from 1; what lies between two is on the line between them.
fn percentile_of(percentile: Percentile, sorted: &[f64]) -> f64 {
    let (count, per_mille) = (sorted.len() as f64, f64::from(percentile.per_mille));
    let position = match percentile.estimation {
        Estimation::Legacy => per_mille * (count + 1.0) / 1000.0,
        Estimation::R3 => (per_mille * count / 1000.0).round_ties_even(),
        Estimation::R7 => 1.0 + per_mille * (count - 1.0) / 1000.0,
    };
    if position < 1.0 {
        return sorted[0];
    }
    if position >= count {
        return sorted[sorted.len() - 1];
    }
    let below = position.floor() as usize;
    sorted[below - 1] + position.fract() * (sorted[below] - sorted[below - 1])
}

fn sorted(mut values: Vec<i128>) -> Vec<i128> {
    values.sort_unstable();
    values
}

fn sorted_doubles(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}
