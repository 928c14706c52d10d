//! For which intervals values may be written that stand for all points of an interval.

use std::sync::Arc;

use tidemark_model::check_name;

use crate::{Interval, ParseError};

/// What may have been made of the points of an interval, in upper case. An average is a sum and a count.
pub const ROLLUP_AGGREGATORS: [&str; 4] = ["SUM", "COUNT", "MIN", "MAX"];

/// Intervals of rollups that others compute, longest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RollupIntervals(Arc<[(String, i64)]>);

impl RollupIntervals {
    /// Reads intervals such as `1h`.
    ///
    /// # Errors
    /// What is wrong with the first that is none.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, ParseError> {
        let mut intervals = Vec::new();
        for text in texts {
            let interval: Interval = text.parse()?;
            // It becomes part of a name.
            check_name(text).map_err(|_| ParseError::DurationUnit(text.to_owned()))?;
            intervals.push((text.to_owned(), interval.millis()));
        }
        intervals.sort_by_key(|(_, millis)| std::cmp::Reverse(*millis));
        Ok(Self(intervals.into()))
    }

    /// Length of an interval in milliseconds; `None` when it is not among them.
    #[must_use]
    pub fn millis(&self, interval: &str) -> Option<i64> {
        self.0.iter().find(|(text, _)| text == interval).map(|(_, millis)| *millis)
    }

    /// Texts and lengths, longest first.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i64)> {
        self.0.iter().map(|(text, millis)| (text.as_str(), *millis))
    }
}

impl Default for RollupIntervals {
    /// A minute, ten minutes, an hour and a day.
    fn default() -> Self {
        let intervals = [("1d", 86_400_000), ("1h", 3_600_000), ("10m", 600_000), ("1m", 60_000)];
        Self(intervals.map(|(text, millis)| (text.to_owned(), millis)).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_known_by_their_texts() {
        let intervals = RollupIntervals::parse(["1m", "10m", "1h", "1d"]).unwrap();
        assert_eq!(intervals, RollupIntervals::default());
        assert_eq!((intervals.millis("1h"), intervals.millis("9h")), (Some(3_600_000), None));
        assert!(RollupIntervals::parse(["1x"]).is_err() && RollupIntervals::parse(["0m"]).is_err());
    }
}
