//! Straight lines through series.

use crate::expression::{
    ValueType,
    duration::parse_duration,
    error::EvaluateErrorKind,
    functions::{Arguments, Context, Function, Returns, Run, TagRule, arguments::with_number},
    value::{Datum, Item, Series, Set, Value},
    value_type::ArgumentType,
};

pub(crate) const FUNCTIONS: &[Function] = &[
    Function {
        name: "forecastlr",
        arguments: &[ArgumentType::Series, ArgumentType::Numbers],
        more: None,
        returns: Returns::Is(ValueType::Numbers),
        tags: TagRule::OfFirst,
        checks: &[],
        run: Run::Pure(forecast),
    },
    Function {
        name: "linelr",
        arguments: &[ArgumentType::Series, ArgumentType::Text],
        more: None,
        returns: Returns::Is(ValueType::Series),
        tags: TagRule::OfFirstAnd("regression"),
        checks: &[(1, |text| parse_duration(text).map(|_| ()))],
        run: Run::Pure(line),
    },
];

/// Ten years: no forecast looks farther.
const SECONDS_MAX: f64 = 10.0 * 365.0 * 86_400.0;

/// Seconds from now until the least-squares line reaches a value, at most ten years either way; a flat line will never
/// reach it, or has for ever, and says minus ten years, as in Bosun.
fn forecast(context: &Context, mut arguments: Arguments) -> Result<Value, EvaluateErrorKind> {
    let (series, targets) = (arguments.set(), arguments.set());
    let joins = series.joins;
    let items = with_number(series, &targets)?.into_iter().filter_map(|(item, target)| match &item.value {
        Datum::Series(series) if !series.is_empty() => {
            let seconds = Line::through(series.points(), context.now).seconds_to(target);
            let value = Datum::Number(seconds);
            Some(Item { value, ..item })
        }
        _ => None,
    });
    Ok(Value::Set(Set { items: items.collect(), joins }))
}

/// The line as two points: at the last point of the data and a while after.
fn line(_: &Context, mut arguments: Arguments) -> Result<Value, EvaluateErrorKind> {
    let set = arguments.set();
    let ahead = parse_duration(&arguments.text()).map_err(EvaluateErrorKind::Function)?.as_secs();
    let ahead = i64::try_from(ahead).unwrap_or(i64::MAX);
    let joins = set.joins;
    let items = set.items.into_iter().filter_map(|mut item| {
        let Datum::Series(series) = &item.value else {
            return None;
        };
        let stamp = series.points().last()?.0;
        let line = Line::through(series.points(), stamp);
        let later = stamp.saturating_add(ahead);
        let points = vec![(stamp, line.at(0.0)), (later, line.at(ahead as f64))];
        item.value = Datum::Series(Series::new(points));
        item.group.insert("regression", "line");
        Some(item)
    });
    Ok(Value::Set(Set { items: items.collect(), joins }))
}

/// A least-squares line; its time is in seconds from an origin.
///
/// Bosun counts from the epoch and loses digits to cancellation. The origin here is near the data, and means are taken
/// off first, so that short windows keep their precision.
struct Line {
    slope: f64,
    intercept: f64,
}

impl Line {
    fn through(points: &[(i64, f64)], origin: i64) -> Self {
        let count = points.len() as f64;
        let time = |stamp: i64| (stamp - origin) as f64;
        let mean_time = points.iter().map(|point| time(point.0)).sum::<f64>() / count;
        let mean_value = points.iter().map(|point| point.1).sum::<f64>() / count;
        let (mut covariance, mut variance) = (0.0, 0.0);
        for &(stamp, value) in points {
            let distance = time(stamp) - mean_time;
            covariance += distance * (value - mean_value);
            variance += distance * distance;
        }
        let slope = if variance == 0.0 { 0.0 } else { covariance / variance };
        Self { slope, intercept: mean_value - slope * mean_time }
    }

    fn at(&self, seconds: f64) -> f64 {
        self.intercept + self.slope * seconds
    }

    fn seconds_to(&self, value: f64) -> f64 {
        if self.slope == 0.0 {
            return -SECONDS_MAX;
        }
        ((value - self.intercept) / self.slope).trunc().clamp(-SECONDS_MAX, SECONDS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_window_keeps_its_precision() {
        let start = 1_700_000_000;
        let line = Line::through(&[(start, 30.0), (start + 60, 20.0), (start + 120, 10.0)], start + 120);
        assert_eq!(line.seconds_to(-20.0), 180.0);
        assert_eq!(line.at(0.0), 10.0);
    }

    #[test]
    fn a_flat_line_reaches_nothing() {
        assert_eq!(Line::through(&[(0, 5.0), (60, 5.0)], 60).seconds_to(9.0), -SECONDS_MAX);
        assert_eq!(Line::through(&[(0, 5.0)], 60).seconds_to(9.0), -SECONDS_MAX);
    }
}
