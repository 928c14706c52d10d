//! Where values are kept that are not points of a metric: histograms, and what others aggregated before they sent it.
//!
//! Each such value is a point of a series of its own, so that whatever holds for points (durability, retention, deletion,
//! backups) holds for it. The metric of that series is the metric that was written in another *space*: its stored name
//! begins with U+0001, which no name that somebody writes may have, and then says which space it is. Such series belong to
//! no selection without a metric, and their names are suggested to nobody.
//!
//! The alternative, a value type of its own, would have touched the log, the blocks, every merge and every figure for
//! something that few people store.

use crate::NameError;

/// First character of the names that only this program writes.
pub const RESERVED: char = '\u{1}';

/// Key of the tag that says what values are that were aggregated over series before they were written.
pub const AGGREGATE_KEY: &str = "_aggregate";

/// A kind of values that a metric may have beside its points.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MetricSpace {
    /// Counts of the buckets of histograms.
    Histogram,
    /// Values that stand for all points of an interval.
    Rollup(WrittenRollup),
    /// Values that stand for several series; the tag `_aggregate` says what was made of them.
    Aggregate,
    /// Both.
    AggregateRollup(WrittenRollup),
}

/// What a value that stands for an interval is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WrittenRollup {
    /// The interval as it was written, such as `1h`.
    pub interval: String,
    /// What was made of the points, in upper case, such as `SUM`.
    pub aggregator: String,
}

impl MetricSpace {
    /// The space that a stored name is of and the metric that was written; `None` for a name as somebody wrote it.
    #[must_use]
    pub fn of_stored_name(stored: &str) -> Option<(Self, &str)> {
        let (space, rest) = stored.strip_prefix(RESERVED)?.split_once('/')?;
        let rollup = || {
            let mut fields = rest.splitn(3, '/');
            let (interval, aggregator) = (fields.next()?.to_owned(), fields.next()?.to_owned());
            Some((WrittenRollup { interval, aggregator }, fields.next()?))
        };
        match space {
            "h" => Some((Self::Histogram, rest)),
            "a" => Some((Self::Aggregate, rest)),
            "r" => rollup().map(|(rollup, metric)| (Self::Rollup(rollup), metric)),
            "b" => rollup().map(|(rollup, metric)| (Self::AggregateRollup(rollup), metric)),
            _ => None,
        }
    }

    /// The stored name of a metric in this space.
    #[must_use]
    pub fn stored_name(&self, metric: &str) -> String {
        match self {
            Self::Histogram => format!("{RESERVED}h/{metric}"),
            Self::Aggregate => format!("{RESERVED}a/{metric}"),
            Self::Rollup(WrittenRollup { interval, aggregator }) => {
                format!("{RESERVED}r/{interval}/{aggregator}/{metric}")
            }
            Self::AggregateRollup(WrittenRollup { interval, aggregator }) => {
                format!("{RESERVED}b/{interval}/{aggregator}/{metric}")
            }
        }
    }
}

/// The metric that was written, of a name as it is stored: the name itself unless it is of a space.
#[must_use]
pub fn written_metric(stored: &str) -> &str {
    let Some(rest) = stored.strip_prefix(RESERVED) else { return stored };
    let Some((space, metric)) = rest.split_once('/') else { return stored };
    match space {
        "r" | "b" => metric.splitn(3, '/').nth(2).unwrap_or(metric),
        _ => metric,
    }
}

/// Whether nobody but this program writes the name.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    name.starts_with(RESERVED)
}

/// Checks a name as it is stored, which may be a reserved one, and may have any character that may be special: which of
/// them are allowed is decided where names come in, and may have been another then.
///
/// # Errors
/// Says the first rule that the name breaks.
pub fn check_stored_name(name: &str) -> Result<(), NameError> {
    let characters = const { &crate::NameCharacters::STORABLE };
    match name.strip_prefix(RESERVED) {
        Some(_) if name.len() > crate::NAME_BYTES_MAX => Err(NameError::TooLong { bytes: name.len() }),
        Some(rest) => characters.check(rest),
        None => characters.check(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metric_of_a_stored_name_is_the_one_that_was_written() {
        let hourly = || WrittenRollup { interval: "1h".to_owned(), aggregator: "SUM".to_owned() };
        let spaces = [
            MetricSpace::Histogram,
            MetricSpace::Rollup(hourly()),
            MetricSpace::Aggregate,
            MetricSpace::AggregateRollup(hourly()),
        ];
        for metric in ["cpu", "a/b", "h/1h/SUM/x"] {
            let mut names: Vec<_> = spaces.iter().map(|space| space.stored_name(metric)).collect();
            for (space, name) in spaces.iter().zip(&names) {
                assert_eq!(MetricSpace::of_stored_name(name), Some((space.clone(), metric)));
            }
            assert_eq!(MetricSpace::of_stored_name(metric), None);
            for name in &names {
                assert_eq!(written_metric(name), metric);
                assert_eq!(check_stored_name(name), Ok(()));
                assert!(crate::check_name(name).is_err() && is_reserved(name));
            }
            names.sort_unstable();
            names.dedup();
            assert_eq!((names.len(), written_metric(metric)), (4, metric));
        }
        for odd in ["\u{1}", "\u{1}h", "\u{1}x/m", "\u{1}r/1h/m"] {
            assert_eq!(MetricSpace::of_stored_name(odd), None);
        }
        assert_eq!(check_stored_name("\u{1}"), Err(NameError::Empty));
        assert!(check_stored_name(&format!("\u{1}{}", "x".repeat(1024))).is_err());
        assert!(check_stored_name("a\u{1}b").is_err());
    }
}
