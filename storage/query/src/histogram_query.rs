//! What to show of histograms.

use crate::{Aggregator, ParseError, SubQuery, java_float::java_float, parse_error::excerpt};

/// Most percentiles of one sub-query.
pub const PERCENTILES_MAX: usize = 100;

/// What to show of the histograms of a metric; each percentile and each bucket is a series of its own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HistogramQuery {
    /// From 0 to 100.
    pub percentiles: Vec<f32>,
    /// Whether to show the counts of the buckets.
    pub show_buckets: bool,
}

impl HistogramQuery {
    /// Percentiles as they come in JSON, one text each, and sorted as OpenTSDB does.
    ///
    /// # Errors
    /// [`ParseError::Percentiles`] for what is no number.
    pub fn new<'a>(texts: impl IntoIterator<Item = &'a str>, show_buckets: bool) -> Result<Self, ParseError> {
        let percentile = |text: &str| text.trim().parse().map_err(|_| ParseError::Percentiles(excerpt(text)));
        let mut percentiles: Vec<f32> = texts.into_iter().map(percentile).collect::<Result<_, _>>()?;
        percentiles.sort_unstable_by(f32::total_cmp);
        Ok(Self { percentiles, show_buckets })
    }

    pub(crate) fn check(&self, sub_query: &SubQuery) -> Result<(), ParseError> {
        if !matches!(sub_query.aggregator, Aggregator::None | Aggregator::Sum) {
            return Err(ParseError::HistogramAggregator);
        }
        if sub_query.downsample.is_some_and(|downsample| downsample.function != Aggregator::Sum) {
            return Err(ParseError::HistogramDownsample);
        }
        if self.percentiles.len() > PERCENTILES_MAX {
            return Err(ParseError::TooManyPercentiles { found: self.percentiles.len() });
        }
        match self.percentiles.iter().find(|percentile| !(0.0..=100.0).contains(*percentile)) {
            Some(&percentile) => Err(ParseError::PercentileRange(java_float(percentile))),
            None => Ok(()),
        }
    }
}

/// The numbers of `percentiles[50,99.9]`.
pub(crate) fn parse_percentiles(part: &str) -> Result<Vec<f32>, ParseError> {
    let malformed = || ParseError::Percentiles(excerpt(part));
    let (_, inside) = part.split_once('[').ok_or_else(malformed)?;
    let (inside, _) = inside.split_once(']').ok_or_else(malformed)?;
    HistogramQuery::new(inside.split(','), false).map(|query| query.percentiles).map_err(|_| malformed())
}
