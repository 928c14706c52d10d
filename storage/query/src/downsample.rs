//! Downsampling as it is written: `5m-avg`, `1dc-sum-nan`, `0all-max`.

use std::{fmt, str::FromStr};

use crate::{Aggregator, Interval, ParseError, parse_error::excerpt};

/// How points of one series are gathered into buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Downsample {
    /// Which buckets.
    pub buckets: Buckets,
    /// What makes one value of a bucket; never [`Aggregator::None`].
    pub function: Aggregator,
    /// What an empty bucket holds.
    pub fill: Fill,
}

/// Which buckets there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buckets {
    /// `[k * interval, (k + 1) * interval)` since the epoch.
    Every(Interval),
    /// By the calendar of the query's time zone; weeks start on Sunday.
    Calendar(Interval),
    /// One for `[start, end)` of the query, stamped at `start`.
    All,
}

impl Buckets {
    /// Their length; none for the one bucket that has that of the window.
    #[must_use]
    pub fn interval(self) -> Option<Interval> {
        match self {
            Self::Every(interval) | Self::Calendar(interval) => Some(interval),
            Self::All => None,
        }
    }
}

/// What a bucket without points holds, and how the serialiser writes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fill {
    /// Nothing: only buckets with points exist, and groups interpolate between them.
    #[default]
    None,
    /// NaN, written as the text `NaN`.
    Nan,
    /// NaN, written as `null`.
    Null,
    /// Zero.
    Zero,
}

impl Fill {
    const NAMES: [(&'static str, Self); 4] =
        [("none", Self::None), ("nan", Self::Nan), ("null", Self::Null), ("zero", Self::Zero)];

    /// Its name in a downsampling text.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, fill)| *fill == self).map_or("none", |(name, _)| name)
    }
}

impl FromStr for Fill {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let found = Self::NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        found.map(|(_, fill)| *fill).ok_or_else(|| ParseError::UnknownFill(excerpt(text)))
    }
}

impl Downsample {
    /// The same buckets counted on the calendar, as a query with `useCalendar` wants them.
    #[must_use]
    pub fn on_calendar(self) -> Self {
        match self.buckets {
            Buckets::Every(interval) => Self { buckets: Buckets::Calendar(interval), ..self },
            Buckets::Calendar(_) | Buckets::All => self,
        }
    }
}

impl FromStr for Downsample {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut parts = text.split('-');
        let (interval, function) = match (parts.next(), parts.next()) {
            (Some(interval), Some(function)) if !interval.is_empty() => (interval, function),
            _ => return Err(ParseError::DownsampleTooShort(excerpt(text))),
        };
        let fill = parts.next();
        if parts.next().is_some() {
            return Err(ParseError::DownsampleTooLong(excerpt(text)));
        }
        // Nothing behind the last dash is no policy.
        let fill = fill.filter(|fill| !fill.is_empty());
        let buckets = parse_buckets(interval)?;
        let function = Aggregator::by_name(function).ok_or_else(|| ParseError::UnknownFunction(excerpt(function)))?;
        if function == Aggregator::None {
            return Err(ParseError::NoneFunction);
        }
        let fill = fill.map_or(Ok(Fill::None), str::parse)?;
        Ok(Self { buckets, function, fill })
    }
}

fn parse_buckets(text: &str) -> Result<Buckets, ParseError> {
    if let Some(number) = text.strip_suffix("all") {
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        return if is_number { Ok(Buckets::All) } else { Err(ParseError::DurationNumber(excerpt(text))) };
    }
    match text.strip_suffix('c') {
        Some(interval) => Ok(Buckets::Calendar(interval.parse()?)),
        None => Ok(Buckets::Every(text.parse()?)),
    }
}

impl fmt::Display for Downsample {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.buckets {
            Buckets::Every(interval) => write!(out, "{interval}")?,
            Buckets::Calendar(interval) => write!(out, "{interval}c")?,
            Buckets::All => out.write_str("0all")?,
        }
        write!(out, "-{}", self.function)?;
        match self.fill {
            Fill::None => Ok(()),
            fill => write!(out, "-{}", fill.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_says_buckets_function_and_fill() {
        let check = |text: &str, expect: &str| assert_eq!(text.parse::<Downsample>().unwrap().to_string(), expect);
        check("5m-avg", "5m-avg");
        check("1h-p99-nan", "1h-p99-nan");
        check("1h-sum-NULL", "1h-sum-null");
        check("2dc-count-zero", "2dc-count-zero");
        check("0all-max", "0all-max");
        check("3all-max-none", "0all-max");
        check("500MS-sum", "500ms-sum");
        check("1m-sum-", "1m-sum");
        let calendar: Downsample = "1d-sum".parse().unwrap();
        assert_eq!(calendar.on_calendar().to_string(), "1dc-sum");
    }

    #[test]
    fn a_wrong_text_says_what_is_wrong_in_opentsdbs_words() {
        let check = |text: &str, expect: &str| assert_eq!(text.parse::<Downsample>().unwrap_err().to_string(), expect);
        check("1m", "Invalid downsampling specifier '1m': must provide at least interval and function");
        check("", "Invalid downsampling specifier '': must provide at least interval and function");
        check(
            "1m-sum-nan-x",
            "Invalid downsampling specifier '1m-sum-nan-x': must consist of interval, function, and optional fill policy",
        );
        check("1m-foo", "No such downsampling function: foo");
        check("1m-none", "cannot use the NONE aggregator for downsampling");
        check("1m-sum-foo", "Unrecognized fill policy: foo");
        check("1m-sum-scalar", "Unrecognized fill policy: scalar");
        check("1x-sum", "Invalid duration (suffix): 1x");
        check("0m-sum", "Zero or negative duration: 0m");
        check("all-sum", "Invalid duration (number): all");
    }
}
