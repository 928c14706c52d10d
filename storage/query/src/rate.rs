//! Rates of change: their options, and the computation over one series.

use std::str::FromStr;

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
}

impl Default for RateOptions {
    fn default() -> Self {
        Self { counter: false, counter_max: i64::MAX, reset_value: 0, drop_resets: false }
    }
}

impl FromStr for RateOptions {
    type Err = ParseError;

    /// Reads `rate`, `rate{counter[,MAX[,RESET]]}` or `rate{dropcounter[,…]}`.
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
        Ok(Self { counter, counter_max, reset_value, drop_resets })
    }
}

fn parse_integer(text: Option<&str>, default: i64, refused: fn(String) -> ParseError) -> Result<i64, ParseError> {
    match text {
        None | Some("") => Ok(default),
        Some(text) => text.parse().map_err(|_| refused(excerpt(text))),
    }
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
    }

    #[test]
    fn wrong_options_say_what_is_wrong() {
        let check = |text: &str, expect: &str| assert_eq!(text.parse::<RateOptions>().unwrap_err().to_string(), expect);
        check("rate{counter,abc}", "Max value of counter was not a number, received 'abc'");
        check("rate{counter,,x}", "Reset value of counter was not a number, received 'x'");
        check("rate{counter", "Invalid rate options specification: rate{counter");
        check("rates", "Invalid rate options specification: rates");
        check("rate{gauge}", "Unknown rate option 'gauge', must be counter or dropcounter");
        check(
            "rate{counter,1,2,3}",
            "Incorrect number of values in rate options specification, must be counter[,counter max value,reset value], received: 4 parts",
        );
    }
}
