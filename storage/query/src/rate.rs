//! Rates of change: their options, and the computation over one series.

use std::str::FromStr;

use tidemark_model::{PointColumns, TimestampMs, Value, ValueColumn};

use crate::{ParseError, parse_error::excerpt};

/// How a rate per second is taken of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateOptions {
    /// Whether a smaller value means that a counter rolled over.
    pub counter: bool,
    /// The largest value of the counter.
    pub counter_max: i64,
    /// A rate above this after a roll-over becomes zero; 0 for never.
    pub reset_value: i64,
    /// Whether a smaller value yields nothing. Has effect only on counters.
    pub drop_resets: bool,
    /// Whether the rate is taken of the points and then downsampled. OpenTSDB takes it of the buckets, so that a reset
    /// of a counter in the middle of a bucket, or buckets that are sums of a counter, give nonsense; so do we by default.
    pub pre_downsample: bool,
}

impl Default for RateOptions {
    fn default() -> Self {
        Self { counter: false, counter_max: i64::MAX, reset_value: 0, drop_resets: false, pre_downsample: false }
    }
}

impl FromStr for RateOptions {
    type Err = ParseError;

    /// Reads `rate`, `rate{counter[,MAX[,RESET]]}` or `rate{dropcounter[,…]}`. A last value `pre` takes the rate before
    /// downsampling: `rate{pre}`, `rate{counter,pre}`.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let refused = || ParseError::RateOptions(excerpt(text));
        let options = match text.split_at_checked(4) {
            Some((word, options)) if word.eq_ignore_ascii_case("rate") => options,
            _ => return Err(refused()),
        };
        if options.is_empty() {
            return Ok(Self::default());
        }
        let options = options.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).ok_or_else(refused)?;
        let (options, pre_downsample) = match options.rsplit_once(',') {
            _ if options.trim() == "pre" => ("", true),
            Some((others, last)) if last.trim() == "pre" => (others, true),
            Some(_) | None => (options, false),
        };
        let parts = options.split(',').count();
        if parts > 3 {
            return Err(ParseError::RateOptionCount(parts));
        }
        let mut parts = options.split(',').map(str::trim);
        let (counter, drop_resets) = match parts.next().unwrap_or_default() {
            "" => (false, false),
            "counter" => (true, false),
            "dropcounter" => (true, true),
            unknown => return Err(ParseError::UnknownRateOption(excerpt(unknown))),
        };
        let counter_max = parse_integer(parts.next(), i64::MAX, ParseError::CounterMax)?;
        let reset_value = parse_integer(parts.next(), 0, ParseError::ResetValue)?;
        Ok(Self { counter, counter_max, reset_value, drop_resets, pre_downsample })
    }
}

fn parse_integer(text: Option<&str>, default: i64, refused: fn(String) -> ParseError) -> Result<i64, ParseError> {
    match text {
        None | Some("") => Ok(default),
        Some(text) => text.parse().map_err(|_| refused(excerpt(text))),
    }
}

/// The rates per second between consecutive points, each stamped at the later point.
///
/// Integers are subtracted as integers. OpenTSDB 2.4, `RateSpan`.
pub(crate) fn rates(points: &PointColumns, options: &RateOptions) -> PointColumns {
    match &points.values {
        ValueColumn::Int(ints) => rates_of(&points.timestamps, ints, options, integer_change),
        ValueColumn::Float(floats) => rates_of(&points.timestamps, floats, options, double_change),
        ValueColumn::Mixed(values) => {
            rates_of(&points.timestamps, values, options, |before, after, max| match (before, after) {
                (Value::Int(before), Value::Int(after)) => integer_change(before, after, max),
                (before, after) => double_change(before.as_f64(), after.as_f64(), max),
            })
        }
    }
}

/// How much a counter that goes up to `max` has grown, and whether it became smaller.
fn integer_change(before: i64, after: i64, max: Option<i64>) -> (f64, bool) {
    let change = i128::from(after) - i128::from(before);
    match max {
        Some(max) if change < 0 => ((change + i128::from(max)) as f64, true),
        _ => (change as f64, false),
    }
}

fn double_change(before: f64, after: f64, max: Option<i64>) -> (f64, bool) {
    match max {
        Some(max) if after - before < 0.0 => (max as f64 - before + after, true),
        _ => (after - before, false),
    }
}

fn rates_of<T: Copy>(
    timestamps: &[TimestampMs],
    values: &[T],
    options: &RateOptions,
    change: impl Fn(T, T, Option<i64>) -> (f64, bool),
) -> PointColumns {
    let max = options.counter.then_some(options.counter_max);
    let (mut times, mut rates) = (Vec::with_capacity(values.len()), Vec::with_capacity(values.len()));
    let pairs = timestamps.iter().zip(timestamps.iter().skip(1)).zip(values.iter().zip(values.iter().skip(1)));
    for ((&time_before, &time), (&before, &after)) in pairs {
        let (grown, is_reset) = change(before, after, max);
        if is_reset && options.drop_resets {
            continue;
        }
        let rate = grown / ((time - time_before) as f64 / 1000.0);
        let is_implausible = is_reset && options.reset_value > 0 && rate > options.reset_value as f64;
        times.push(time);
        rates.push(if is_implausible { 0.0 } else { rate });
    }
    PointColumns { timestamps: times, values: ValueColumn::Float(rates) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_in_opentsdbs_short_form() {
        let check = |text: &str, expect: RateOptions| assert_eq!(text.parse(), Ok(expect), "{text}");
        let counter = RateOptions { counter: true, ..RateOptions::default() };
        check("rate", RateOptions::default());
        check("rate{}", RateOptions::default());
        check("rate{counter}", counter);
        check("rate{counter,255}", RateOptions { counter_max: 255, ..counter });
        check("rate{counter,255,11}", RateOptions { counter_max: 255, reset_value: 11, ..counter });
        check("Rate{counter,,10}", RateOptions { reset_value: 10, ..counter });
        check("rate{dropcounter}", RateOptions { drop_resets: true, ..counter });
        let pre = RateOptions { pre_downsample: true, ..RateOptions::default() };
        check("rate{pre}", pre);
        check("rate{counter,pre}", RateOptions { counter: true, ..pre });
        check("rate{dropcounter,,10, pre}", RateOptions { counter: true, drop_resets: true, reset_value: 10, ..pre });
    }

    #[test]
    fn wrong_options_say_what_is_wrong() {
        let check = |text: &str, expect: &str| assert_eq!(text.parse::<RateOptions>().unwrap_err().to_string(), expect);
        check("rate{counter,abc}", "Max value of counter was not a number, received 'abc'");
        check("rate{counter,,x}", "Reset value of counter was not a number, received 'x'");
        check("rate{counter", "Invalid rate options specification: rate{counter");
        check("rates", "Invalid rate options specification: rates");
        check("rate{pre,counter}", "Unknown rate option 'pre', must be counter or dropcounter");
        check("rate{gauge}", "Unknown rate option 'gauge', must be counter or dropcounter");
        check(
            "rate{counter,1,2,3}",
            "Incorrect number of values in rate options specification, must be counter[,counter max value,reset value], received: 4 parts",
        );
    }

    fn check_rates(values: &[Value], options: &str, expect: &[(i64, f64)]) {
        let points = values.iter().enumerate().map(|(step, value)| (step as i64 * 10_000, *value)).collect();
        let found = rates(&points, &options.parse().unwrap());
        let expect: PointColumns = expect.iter().map(|(second, rate)| (second * 1000, Value::Float(*rate))).collect();
        assert_eq!(found.timestamps, expect.timestamps, "{options}");
        assert_eq!(found.values.iter().collect::<Vec<_>>(), expect.values.iter().collect::<Vec<_>>(), "{options}");
    }

    #[test]
    fn a_smaller_value_is_a_roll_over_only_of_a_counter() {
        for make in [|value: i64| Value::Int(value), |value: i64| Value::Float(value as f64)] {
            let values = [100, 200, 50, 150].map(make);
            check_rates(&values, "rate", &[(10, 10.0), (20, -15.0), (30, 10.0)]);
            check_rates(&values, "rate{counter,255}", &[(10, 10.0), (20, 10.5), (30, 10.0)]);
            check_rates(&values, "rate{counter,255,11}", &[(10, 10.0), (20, 10.5), (30, 10.0)]);
            check_rates(&values, "rate{counter,255,10}", &[(10, 10.0), (20, 0.0), (30, 10.0)]);
            check_rates(&values, "rate{dropcounter}", &[(10, 10.0), (30, 10.0)]);
            check_rates(&values, "rate{counter}", &[(10, 10.0), (20, 9.223372036854776e17), (30, 10.0)]);
        }
        check_rates(&[Value::Int(7)], "rate", &[]);
        check_rates(&[], "rate", &[]);
    }

    #[test]
    fn integers_are_subtracted_exactly() {
        check_rates(&[Value::Int(i64::MAX - 10), Value::Int(i64::MAX)], "rate", &[(10, 1.0)]);
        check_rates(&[Value::Int(i64::MIN), Value::Int(i64::MAX)], "rate", &[(10, 1.8446744073709552e18)]);
        check_rates(&[Value::Int(1), Value::Float(2.5), Value::Float(5.0)], "rate", &[(10, 0.15), (20, 0.25)]);
    }
}
