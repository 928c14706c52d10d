//! The series with the highest values.

use tidemark_model::Value;

use crate::GroupResult;

/// What a series is ranked by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rank {
    /// Its largest value.
    Max,
    /// Its newest value.
    Current,
}

impl Rank {
    /// NaN does not count; a series of nothing else comes last.
    fn of(self, group: &GroupResult) -> f64 {
        let numbers = group.values.iter().map(Value::as_f64).filter(|number| !number.is_nan());
        let found = match self {
            Self::Max => numbers.reduce(f64::max),
            Self::Current => numbers.last(),
        };
        found.unwrap_or(f64::NEG_INFINITY)
    }
}

/// At most `count` of the series, the highest first; of two that are equally high, the earlier one.
pub(super) fn highest<S>(series: Vec<S>, group: impl Fn(&S) -> &GroupResult, rank: Rank, count: usize) -> Vec<S> {
    let mut ranked: Vec<(f64, S)> = series.into_iter().map(|series| (rank.of(group(&series)), series)).collect();
    ranked.sort_by(|(left, _), (right, _)| right.total_cmp(left));
    ranked.into_iter().take(count).map(|(_, series)| series).collect()
}

#[cfg(test)]
mod tests {
    use tidemark_model::ValueColumn;

    use super::*;
    use crate::Fill;

    #[test]
    fn series_are_ranked_by_what_was_asked_for() {
        let series = |name: &str, values: &[f64]| GroupResult {
            metric: name.to_owned(),
            tags: Vec::new(),
            aggregate_tags: Vec::new(),
            tsuids: Vec::new(),
            timestamps: (0..).take(values.len()).collect(),
            values: ValueColumn::Float(values.to_vec()),
            fill: Fill::None,
        };
        let all = || {
            vec![
                series("empty", &[f64::NAN]),
                series("peak", &[9.0, 1.0, f64::NAN]),
                series("even", &[4.0, 4.0]),
                series("negative", &[-3.0, -2.0]),
                series("same", &[4.0, 4.0]),
            ]
        };
        let check = |rank, count, expect: &[&str]| {
            let found = highest(all(), |group| group, rank, count);
            assert_eq!(found.iter().map(|group| group.metric.as_str()).collect::<Vec<_>>(), expect);
        };
        check(Rank::Max, 2, &["peak", "even"]);
        check(Rank::Max, 9, &["peak", "even", "same", "negative", "empty"]);
        check(Rank::Current, 3, &["even", "same", "peak"]);
    }
}
