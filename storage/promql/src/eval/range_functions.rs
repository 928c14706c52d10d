//! Functions of the points in a range.

use super::{
    quantile::quantile,
    regression::line,
    sums::{Mean, Sum, Variance},
    window::Window,
};
use crate::QueryError;

/// A function of the points in a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RangeFunction {
    Rate,
    Increase,
    Delta,
    Irate,
    Idelta,
    Deriv,
    PredictLinear,
    Resets,
    Changes,
    Sum,
    Avg,
    Min,
    Max,
    Count,
    First,
    Last,
    TimeOfFirst,
    TimeOfLast,
    Present,
    Quantile,
    Stddev,
    Stdvar,
    Mad,
    Smoothing,
}

impl RangeFunction {
    pub(super) fn of_name(name: &str) -> Option<Self> {
        Some(match name {
            "rate" => Self::Rate,
            "increase" => Self::Increase,
            "delta" => Self::Delta,
            "irate" => Self::Irate,
            "idelta" => Self::Idelta,
            "deriv" => Self::Deriv,
            "predict_linear" => Self::PredictLinear,
            "resets" => Self::Resets,
            "changes" => Self::Changes,
            "sum_over_time" => Self::Sum,
            "avg_over_time" => Self::Avg,
            "min_over_time" => Self::Min,
            "max_over_time" => Self::Max,
            "count_over_time" => Self::Count,
            "first_over_time" => Self::First,
            "last_over_time" => Self::Last,
            "ts_of_first_over_time" => Self::TimeOfFirst,
            "ts_of_last_over_time" => Self::TimeOfLast,
            "present_over_time" => Self::Present,
            "quantile_over_time" => Self::Quantile,
            "stddev_over_time" => Self::Stddev,
            "stdvar_over_time" => Self::Stdvar,
            "mad_over_time" => Self::Mad,
            "double_exponential_smoothing" | "holt_winters" => Self::Smoothing,
            _ => return None,
        })
    }

    /// Whether what it gives are values of the metric.
    pub(super) fn keeps_name(self) -> bool {
        matches!(self, Self::First | Self::Last)
    }

    pub(super) fn needs_resets(self) -> bool {
        matches!(self, Self::Rate | Self::Increase | Self::Resets)
    }

    /// Whether its cost grows with the points of the range.
    pub(super) fn looks_at_all(self) -> bool {
        !matches!(
            self,
            Self::Rate
                | Self::Increase
                | Self::Delta
                | Self::Irate
                | Self::Idelta
                | Self::Count
                | Self::First
                | Self::Last
                | Self::TimeOfFirst
                | Self::TimeOfLast
                | Self::Present
        )
    }

    /// Its value over a window; `None` when it has none. `scratch` is for values that it sorts.
    pub(super) fn of(
        self,
        window: &Window<'_>,
        parameters: [f64; 2],
        scratch: &mut Vec<f64>,
    ) -> Result<Option<f64>, QueryError> {
        let [first, second] = parameters;
        let values = window.values;
        let count = values.len() as f64;
        let seconds = |timestamp: Option<&i64>| timestamp.map(|&timestamp| timestamp as f64 / 1000.0);
        Ok(match self {
            Self::Rate => {
                let range = (window.end - window.start) as f64 / 1000.0;
                extrapolated(window, true).map(|increase| increase / range)
            }
            Self::Increase => extrapolated(window, true),
            Self::Delta => extrapolated(window, false),
            Self::Irate => newest_two(window, true),
            Self::Idelta => newest_two(window, false),
            Self::Deriv => window.timestamps.first().filter(|_| values.len() > 1).map(|&from| line(window, from).0),
            Self::PredictLinear if values.len() < 2 => None,
            Self::PredictLinear => {
                let (slope, now) = line(window, window.step);
                Some(slope * first + now)
            }
            Self::Resets => Some(window.resets.len() as f64),
            Self::Changes => Some(changes(values)),
            Self::Sum => {
                let mut sum = Sum::default();
                values.iter().for_each(|&value| sum.add(value));
                Some(sum.value())
            }
            Self::Avg => {
                let mut mean = Mean::default();
                values.iter().for_each(|&value| mean.add(value));
                Some(mean.value())
            }
            Self::Min => Some(values.iter().copied().fold(f64::NAN, f64::min)),
            Self::Max => Some(values.iter().copied().fold(f64::NAN, f64::max)),
            Self::Count => Some(count),
            Self::First => values.first().copied(),
            Self::Last => values.last().copied(),
            Self::TimeOfFirst => seconds(window.timestamps.first()),
            Self::TimeOfLast => seconds(window.timestamps.last()),
            Self::Present => Some(1.0),
            Self::Quantile => {
                scratch.clear();
                scratch.extend_from_slice(values);
                Some(quantile(first, scratch))
            }
            Self::Stddev => Some(variance(values).sqrt()),
            Self::Stdvar => Some(variance(values)),
            Self::Mad => {
                scratch.clear();
                scratch.extend_from_slice(values);
                let median = quantile(0.5, scratch);
                scratch.iter_mut().for_each(|value| *value = (*value - median).abs());
                Some(quantile(0.5, scratch))
            }
            Self::Smoothing => smoothed(values, first, second)?,
        })
    }
}

/// How much a series changes in the whole range, if it goes on beyond its first and last point as it does between them:
/// to the end of the range where that is near, else by half the distance of its points. A counter begins at zero at the
/// earliest.
fn extrapolated(window: &Window<'_>, is_counter: bool) -> Option<f64> {
    let (first_time, last_time) = (*window.timestamps.first()?, *window.timestamps.last()?);
    let (first, last) = (*window.values.first()?, *window.values.last()?);
    if window.values.len() < 2 {
        return None;
    }
    let mut change = last - first;
    if is_counter {
        for position in window.resets.iter() {
            change += window.values.get(position.checked_sub(1)?)?;
        }
    }
    let seconds = |from: i64, to: i64| (to - from) as f64 / 1000.0;
    let mut to_start = seconds(window.start, first_time);
    let mut to_end = seconds(last_time, window.end);
    let sampled = seconds(first_time, last_time);
    let between = sampled / (window.values.len() - 1) as f64;
    let near = between * 1.1;
    if to_start >= near {
        to_start = between / 2.0;
    }
    if is_counter && change > 0.0 && first >= 0.0 {
        to_start = to_start.min(sampled * (first / change));
    }
    if to_end >= near {
        to_end = between / 2.0;
    }
    Some(change * ((sampled + to_start + to_end) / sampled))
}

/// The change between the newest two points; of a counter, a second.
fn newest_two(window: &Window<'_>, is_counter: bool) -> Option<f64> {
    let [.., before, last] = window.values else { return None };
    let [.., time_before, time_last] = window.timestamps else { return None };
    let reset = is_counter && last < before;
    let change = if reset { *last } else { last - before };
    let seconds = (time_last - time_before) as f64 / 1000.0;
    Some(if is_counter { change / seconds } else { change })
}

fn changes(values: &[f64]) -> f64 {
    let pairs = values.iter().zip(values.iter().skip(1));
    pairs.filter(|(before, value)| before != value && !(before.is_nan() && value.is_nan())).count() as f64
}

fn variance(values: &[f64]) -> f64 {
    let mut variance = Variance::default();
    values.iter().for_each(|&value| variance.add(value));
    variance.value()
}

/// Double exponential smoothing (Holt's linear method).
fn smoothed(values: &[f64], smoothing: f64, trend: f64) -> Result<Option<f64>, QueryError> {
    for (name, factor) in [("smoothing", smoothing), ("trend", trend)] {
        if factor <= 0.0 || factor >= 1.0 {
            let text = format!("invalid {name} factor. Expected: 0 < factor < 1, got: {factor:.6}");
            return Err(QueryError::execution(text));
        }
    }
    let &[first, second, ..] = values else { return Ok(None) };
    let (mut before, mut level, mut slope) = (first, first, second - first);
    for (position, &value) in values.iter().enumerate().skip(1) {
        // The slope at the second point is that of the first two.
        if position > 1 {
            slope = trend * (level - before) + (1.0 - trend) * slope;
        }
        (before, level) = (level, smoothing * value + (1.0 - smoothing) * (level + slope));
    }
    Ok(Some(level))
}
