//! Quantiles and fractions of classic histograms: series with a label `le`, each of which counts what is not larger.

use std::collections::HashMap;

use super::{
    Column, Evaluator, Series, Sink,
    column::{ABSENT, present},
};
use crate::{Labels, QueryError, labels::METRIC_NAME, steps::Steps, syntax::Expression};

/// The label with the upper bound of a bucket.
const BOUND: &str = "le";
/// Counts that differ less, relatively, are equal: they come of sums of doubles.
const SMALL_DIFFERENCE: f64 = 1e-12;

/// A bucket at one step.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bucket {
    upper: f64,
    count: f64,
}

impl Evaluator<'_> {
    pub(super) fn histogram_quantile(
        &self,
        q: &Expression,
        vector: &Expression,
        steps: Steps,
        sink: Sink<'_>,
    ) -> Result<(), QueryError> {
        let q = self.scalar(q, steps)?;
        self.of_buckets(vector, steps, sink, |step, buckets| {
            quantile(q.get(step).copied().unwrap_or(f64::NAN), buckets)
        })
    }

    pub(super) fn histogram_fraction(
        &self,
        bounds: [&Expression; 2],
        vector: &Expression,
        steps: Steps,
        sink: Sink<'_>,
    ) -> Result<(), QueryError> {
        let [lower, upper] = bounds;
        let (lower, upper) = (self.scalar(lower, steps)?, self.scalar(upper, steps)?);
        let at = |column: &Column, step: usize| column.get(step).copied().unwrap_or(f64::NAN);
        self.of_buckets(vector, steps, sink, |step, buckets| fraction(at(&lower, step), at(&upper, step), buckets))
    }

    /// A value of each histogram at each step at which it has a bucket.
    fn of_buckets(
        &self,
        vector: &Expression,
        steps: Steps,
        sink: Sink<'_>,
        of: impl Fn(usize, &mut Vec<Bucket>) -> f64,
    ) -> Result<(), QueryError> {
        let mut order = Vec::new();
        let mut histograms: HashMap<Labels, Vec<(f64, Column)>> = HashMap::new();
        self.each(vector, steps, &mut |series| {
            let Some(upper) = bound(series.labels.get(BOUND)) else { return Ok(()) };
            let labels = series.labels.filtered(|name| name != METRIC_NAME && name != BOUND);
            let buckets = histograms.entry(labels.clone()).or_default();
            if buckets.is_empty() {
                order.push(labels);
            }
            buckets.push((upper, series.values));
            Ok(())
        })?;
        let mut buckets = Vec::new();
        for labels in order {
            let Some(mut columns) = histograms.remove(&labels) else { continue };
            columns.sort_by(|(left, _), (right, _)| left.total_cmp(right));
            let mut values = self.ledger.column(steps.count())?;
            for (step, value) in values.iter_mut().enumerate() {
                self.look_at(columns.len())?;
                buckets.clear();
                let there = columns.iter().filter_map(|(upper, column)| {
                    let count = present(column.get(step).copied().unwrap_or(ABSENT))?;
                    Some(Bucket { upper: *upper, count })
                });
                buckets.extend(there);
                if !buckets.is_empty() {
                    *value = of(step, &mut buckets);
                }
            }
            sink(Series { labels, values })?;
        }
        Ok(())
    }
}

/// The upper bound that a label says.
fn bound(text: &str) -> Option<f64> {
    text.parse().ok().filter(|bound: &f64| !bound.is_nan())
}

/// Makes one of buckets with the same bound, and none count less than the one before. `false` when the counts are of no use.
fn repair(buckets: &mut Vec<Bucket>) -> bool {
    buckets.dedup_by(|bucket, before| {
        let is_same = bucket.upper == before.upper;
        if is_same {
            before.count += bucket.count;
        }
        is_same
    });
    let mut before = f64::NEG_INFINITY;
    for bucket in buckets.iter_mut() {
        let is_nearly = (bucket.count - before).abs() <= SMALL_DIFFERENCE * (bucket.count.abs() + before.abs());
        if bucket.count < before || (before.is_finite() && is_nearly) {
            bucket.count = before;
        } else {
            before = bucket.count;
        }
    }
    buckets.len() >= 2 && buckets.last().is_some_and(|last| last.upper == f64::INFINITY)
}

/// A quantile, in proportion within its bucket.
fn quantile(q: f64, buckets: &mut Vec<Bucket>) -> f64 {
    if q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    if !repair(buckets) {
        return f64::NAN;
    }
    let total = buckets.last().map_or(0.0, |last| last.count);
    if total == 0.0 || total.is_nan() {
        return f64::NAN;
    }
    let rank = q * total;
    let last = buckets.len() - 1;
    let position = buckets.iter().take(last).take_while(|bucket| bucket.count < rank).count();
    let before = position.checked_sub(1).and_then(|before| buckets.get(before)).copied();
    let (Some(bucket), true) = (buckets.get(position).copied(), position < last) else {
        return before.map_or(f64::NAN, |before| before.upper);
    };
    if before.is_none() && bucket.upper <= 0.0 {
        return bucket.upper;
    }
    let Bucket { upper: start, count: counted } = before.unwrap_or(Bucket { upper: 0.0, count: 0.0 });
    start + (bucket.upper - start) * ((rank - counted) / (bucket.count - counted))
}

/// Which part of what was counted lies between two bounds, in proportion within buckets.
fn fraction(lower: f64, upper: f64, buckets: &mut Vec<Bucket>) -> f64 {
    if !repair(buckets) {
        return f64::NAN;
    }
    let total = buckets.last().map_or(0.0, |last| last.count);
    if total == 0.0 || total.is_nan() || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    // How many are not larger than a bound.
    let rank = |bound: f64| {
        let mut before: Option<Bucket> = None;
        for bucket in buckets.iter() {
            let start = match before {
                Some(before) => before.upper,
                None if bucket.upper > 0.0 => 0.0,
                None => f64::NEG_INFINITY,
            };
            let counted = before.map_or(0.0, |before| before.count);
            if bound <= start {
                return counted;
            }
            if bound < bucket.upper {
                if start.is_infinite() || bucket.upper.is_infinite() {
                    return if start.is_infinite() { bucket.count } else { counted };
                }
                return counted + (bucket.count - counted) * ((bound - start) / (bucket.upper - start));
            }
            before = Some(*bucket);
        }
        total
    };
    (rank(upper) - rank(lower)) / total
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(counts: &[(f64, f64)]) -> Vec<Bucket> {
        counts.iter().map(|&(upper, count)| Bucket { upper, count }).collect()
    }

    #[test]
    fn bounds_are_numbers() {
        assert_eq!((bound("+Inf"), bound("Inf"), bound("-Inf")), (bound("inf"), Some(f64::INFINITY), bound("-inf")));
        assert_eq!((bound("0.5"), bound("1e-3"), bound("NaN"), bound("")), (Some(0.5), Some(0.001), None, None));
    }

    #[test]
    fn quantiles_lie_in_proportion_within_their_bucket() {
        let check = |q: f64, counts: &[(f64, f64)], expect: f64| {
            let found = quantile(q, &mut buckets(counts));
            assert!(
                (found - expect).abs() < 1e-12 || (found.is_nan() && expect.is_nan()) || found == expect,
                "{found}"
            );
        };
        const INF: f64 = f64::INFINITY;
        let plain = [(1.0, 10.0), (2.0, 30.0), (INF, 40.0)];
        check(0.5, &plain, 1.5);
        check(0.1, &plain, 0.4);
        check(0.9, &plain, 2.0);
        check(0.0, &plain, 0.0);
        check(-1.0, &plain, -INF);
        check(2.0, &plain, INF);
        check(f64::NAN, &plain, f64::NAN);
        check(0.5, &[(1.0, 10.0), (2.0, 20.0)], f64::NAN);
        check(0.5, &[(INF, 20.0)], f64::NAN);
        check(0.5, &[(1.0, 0.0), (INF, 0.0)], f64::NAN);
        check(0.5, &[(-1.0, 10.0), (INF, 10.0)], -1.0);
        // Counts that go down are those before.
        check(0.5, &[(1.0, 10.0), (2.0, 5.0), (INF, 20.0)], 1.0);
        check(0.5, &[(1.0, 5.0), (1.0, 5.0), (INF, 10.0)], 0.5);
    }

    #[test]
    fn fractions_lie_in_proportion_within_their_buckets() {
        let counts = [(1.0, 10.0), (2.0, 30.0), (f64::INFINITY, 40.0)];
        let check = |lower, upper, expect: f64| {
            let found = fraction(lower, upper, &mut buckets(&counts));
            assert!((found - expect).abs() < 1e-12, "{lower} {upper}: {found}");
        };
        check(0.0, 1.0, 0.25);
        check(0.5, 1.5, 0.375);
        check(f64::NEG_INFINITY, f64::INFINITY, 1.0);
        check(2.0, f64::INFINITY, 0.25);
        check(2.0, 1.0, 0.0);
        assert!(fraction(f64::NAN, 1.0, &mut buckets(&counts)).is_nan());
    }
}
