//! Lengths of time as OpenTSDB writes them: `90s`, `1h`, `3n`.

use std::{fmt, str::FromStr};

use crate::{ParseError, parse_error::excerpt};

/// A unit of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimeUnit {
    /// `ms`
    Millisecond,
    /// `s`
    Second,
    /// `m`
    Minute,
    /// `h`
    Hour,
    /// `d`
    Day,
    /// `w`
    Week,
    /// `n`: 30 days unless counted on a calendar.
    Month,
    /// `y`: 365 days unless counted on a calendar.
    Year,
}

impl TimeUnit {
    const SUFFIXES: [(&'static str, Self); 8] = [
        ("ms", Self::Millisecond),
        ("s", Self::Second),
        ("m", Self::Minute),
        ("h", Self::Hour),
        ("d", Self::Day),
        ("w", Self::Week),
        ("n", Self::Month),
        ("y", Self::Year),
    ];

    /// Length in milliseconds; 30 days for a month, 365 for a year.
    #[must_use]
    pub const fn millis(self) -> i64 {
        match self {
            Self::Millisecond => 1,
            Self::Second => 1_000,
            Self::Minute => 60_000,
            Self::Hour => 3_600_000,
            Self::Day => 86_400_000,
            Self::Week => 7 * 86_400_000,
            Self::Month => 30 * 86_400_000,
            Self::Year => 365 * 86_400_000,
        }
    }

    /// How it is written.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        Self::SUFFIXES.iter().find(|(_, unit)| *unit == self).map_or("", |(suffix, _)| suffix)
    }
}

/// A number of units, at least one, that fits in 2^63 ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Interval {
    count: i64,
    unit: TimeUnit,
}

impl Interval {
    /// How many units, at least 1.
    #[must_use]
    pub fn count(self) -> i64 {
        self.count
    }

    /// The unit.
    #[must_use]
    pub fn unit(self) -> TimeUnit {
        self.unit
    }

    /// Length in milliseconds, at least 1; months have 30 days and years 365.
    #[must_use]
    pub fn millis(self) -> i64 {
        self.count.saturating_mul(self.unit.millis())
    }
}

impl FromStr for Interval {
    type Err = ParseError;

    /// Reads a number and a unit; the unit may be in upper case.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, suffix) = text.split_at_checked(digits).unwrap_or((text, ""));
        if number.is_empty() {
            return Err(ParseError::DurationNumber(excerpt(text)));
        }
        if suffix.is_empty() {
            return Err(ParseError::DurationWithoutUnit(excerpt(text)));
        }
        let count: i64 = number.parse().map_err(|_| ParseError::DurationNumber(excerpt(text)))?;
        if count == 0 {
            return Err(ParseError::DurationZero(excerpt(text)));
        }
        let unit = TimeUnit::SUFFIXES.iter().find(|(candidate, _)| candidate.eq_ignore_ascii_case(suffix));
        let (_, unit) = *unit.ok_or_else(|| ParseError::DurationUnit(excerpt(text)))?;
        match count.checked_mul(unit.millis()) {
            Some(_) => Ok(Self { count, unit }),
            None => Err(ParseError::DurationTooLong(excerpt(text))),
        }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}{}", self.count, self.unit.suffix())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_read_in_every_unit() {
        let check = |text: &str, millis: i64| assert_eq!(text.parse::<Interval>().unwrap().millis(), millis, "{text}");
        check("250ms", 250);
        check("90s", 90_000);
        check("1m", 60_000);
        check("2H", 7_200_000);
        check("1d", 86_400_000);
        check("1w", 604_800_000);
        check("1n", 2_592_000_000);
        check("1y", 31_536_000_000);
    }

    #[test]
    fn a_wrong_interval_says_what_is_wrong() {
        let check = |text: &str, expect: &str| assert_eq!(text.parse::<Interval>().unwrap_err().to_string(), expect);
        check("1x", "Invalid duration (suffix): 1x");
        check("h", "Invalid duration (number): h");
        check("-1h", "Invalid duration (number): -1h");
        check("0h", "Zero or negative duration: 0h");
        check("15", "Invalid duration, must have an integer and unit: 15");
        check("99999999999999999999h", "Invalid duration (number): 99999999999999999999h");
        check("999999999999999999y", "Duration must be < Long.MAX_VALUE ms: 999999999999999999y");
    }
}
