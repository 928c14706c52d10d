//! The functions that make one value out of many, and what a series without a value contributes.

use std::{fmt, str::FromStr};

use crate::{
    ParseError,
    parse_error::excerpt,
    percentile::{Estimation, Percentile},
};

/// A function over the values of one bucket or of the members of one group at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Aggregator {
    /// Sum.
    Sum,
    /// Smallest.
    Min,
    /// Largest.
    Max,
    /// Mean; truncated towards zero among integers.
    Avg,
    /// The upper of the middle values.
    Median,
    /// Product.
    Mult,
    /// Population standard deviation; truncated among integers.
    Dev,
    /// Last minus first.
    Diff,
    /// No grouping: every series is a result. No downsampling function.
    None,
    /// Sum in which a missing member is zero.
    Zimsum,
    /// Smallest of the members that have a value.
    Mimmin,
    /// Largest of the members that have a value.
    Mimmax,
    /// Number of members.
    Count,
    /// Value of the first member.
    First,
    /// Value of the last member.
    Last,
    /// Sum in which a missing member repeats its previous value.
    Pfsum,
    /// Sum of squares.
    SquareSum,
    /// `p50`…, `ep50r3`…, `ep50r7`….
    Percentile(Percentile),
}

/// What an active member of a group contributes at an instant at which it has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interpolation {
    /// The straight line between its neighbours.
    Linear,
    /// Zero.
    Zero,
    /// Something larger than every value.
    Largest,
    /// Something smaller than every value.
    Smallest,
    /// Its previous value.
    Previous,
}

const fn percentile(per_mille: u16, estimation: Estimation) -> Aggregator {
    Aggregator::Percentile(Percentile { per_mille, estimation })
}

impl Aggregator {
    /// Every aggregator with the name that OpenTSDB gives it.
    pub const ALL: [(&'static str, Self); 35] = [
        ("sum", Self::Sum),
        ("min", Self::Min),
        ("max", Self::Max),
        ("avg", Self::Avg),
        ("median", Self::Median),
        ("mult", Self::Mult),
        ("dev", Self::Dev),
        ("diff", Self::Diff),
        ("none", Self::None),
        ("zimsum", Self::Zimsum),
        ("mimmin", Self::Mimmin),
        ("mimmax", Self::Mimmax),
        ("count", Self::Count),
        ("first", Self::First),
        ("last", Self::Last),
        ("pfsum", Self::Pfsum),
        ("squareSum", Self::SquareSum),
        ("p50", percentile(500, Estimation::Legacy)),
        ("p75", percentile(750, Estimation::Legacy)),
        ("p90", percentile(900, Estimation::Legacy)),
        ("p95", percentile(950, Estimation::Legacy)),
        ("p99", percentile(990, Estimation::Legacy)),
        ("p999", percentile(999, Estimation::Legacy)),
        ("ep50r3", percentile(500, Estimation::R3)),
        ("ep75r3", percentile(750, Estimation::R3)),
        ("ep90r3", percentile(900, Estimation::R3)),
        ("ep95r3", percentile(950, Estimation::R3)),
        ("ep99r3", percentile(990, Estimation::R3)),
        ("ep999r3", percentile(999, Estimation::R3)),
        ("ep50r7", percentile(500, Estimation::R7)),
        ("ep75r7", percentile(750, Estimation::R7)),
        ("ep90r7", percentile(900, Estimation::R7)),
        ("ep95r7", percentile(950, Estimation::R7)),
        ("ep99r7", percentile(990, Estimation::R7)),
        ("ep999r7", percentile(999, Estimation::R7)),
    ];

    /// Spellings of OpenTSDB's documentation that its code does not know.
    const ALIASES: [(&'static str, Self); 2] = [("multiply", Self::Mult), ("squaresum", Self::SquareSum)];

    /// The names in the order of [`Self::ALL`], for `/api/aggregators`.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::ALL.iter().map(|(name, _)| *name)
    }

    /// The aggregator of this name; names are case-sensitive.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().chain(&Self::ALIASES).find(|(candidate, _)| *candidate == name).map(|(_, found)| *found)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, candidate)| *candidate == self).map_or("none", |(name, _)| name)
    }

    /// What a member without a value contributes. OpenTSDB 2.4, `Aggregators`.
    #[must_use]
    pub fn interpolation(self) -> Interpolation {
        match self {
            Self::Zimsum | Self::Count | Self::First | Self::Last | Self::SquareSum => Interpolation::Zero,
            Self::Mimmin => Interpolation::Largest,
            Self::Mimmax => Interpolation::Smallest,
            Self::Pfsum => Interpolation::Previous,
            _ => Interpolation::Linear,
        }
    }

    /// Whether the result at an instant depends on values before or after it.
    pub(crate) fn needs_neighbours(self) -> bool {
        !matches!(self, Self::None | Self::Zimsum | Self::SquareSum | Self::Mimmin | Self::Mimmax)
    }
}

impl fmt::Display for Aggregator {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl FromStr for Aggregator {
    type Err = ParseError;

    fn from_str(name: &str) -> Result<Self, ParseError> {
        if name.is_empty() {
            return Err(ParseError::MissingAggregator);
        }
        Self::by_name(name).ok_or_else(|| ParseError::UnknownAggregator(excerpt(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_aggregator_is_found_by_its_name() {
        for (name, aggregator) in Aggregator::ALL {
            assert_eq!(name.parse(), Ok(aggregator));
            assert_eq!(aggregator.to_string(), name);
        }
        assert_eq!("multiply".parse(), Ok(Aggregator::Mult));
        assert_eq!("squaresum".parse(), Ok(Aggregator::SquareSum));
        assert_eq!("SUM".parse::<Aggregator>(), Err(ParseError::UnknownAggregator("SUM".into())));
        assert_eq!("".parse::<Aggregator>(), Err(ParseError::MissingAggregator));
    }
}
