//! A query: a window of time and what to show in it.

use chrono::Weekday;
use chrono_tz::Tz;
use tidemark_model::{
    AGGREGATE_KEY, HISTOGRAM_PART_KEY, MetricSpace, SeriesSelector, TagMatch, TagPredicate, TimestampMs, Tsuid,
};

use crate::{Aggregator, Downsample, Filter, HistogramQuery, ParseError, RateOptions};

/// Most filters of one sub-query.
pub const FILTERS_MAX: usize = 64;

/// A window of time and the sub-queries to evaluate in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// First moment of the window, in milliseconds since the epoch.
    pub start: TimestampMs,
    /// Last moment of the window, which is inside; at least `start`.
    pub end: TimestampMs,
    /// Whose calendar the calendar buckets follow.
    pub time_zone: Tz,
    /// First day of the weeks of the calendar; Sunday in OpenTSDB.
    pub week_start: Weekday,
    /// Whether every downsampling counts on the calendar, as with a `c` after its interval.
    pub use_calendar: bool,
    /// Whether results keep their milliseconds. If not, the last value of each second stands for the second.
    pub ms_resolution: bool,
    /// What to show, at least one.
    pub sub_queries: Vec<SubQuery>,
}

/// Which series, and what to make of them.
#[derive(Clone, Debug, PartialEq)]
pub struct SubQuery {
    /// What makes one value out of the members of a group.
    pub aggregator: Aggregator,
    /// Which series.
    pub source: Source,
    /// How each series is downsampled.
    pub downsample: Option<Downsample>,
    /// How the rate of each series is taken, after downsampling unless its options say otherwise.
    pub rate: Option<RateOptions>,
    /// Whether the buckets of the downsampling are all that series have in common when they are aggregated: a member
    /// without a point in a bucket takes no part there, and nothing is interpolated or held between buckets. Has no
    /// effect without downsampling, and none on what fills its buckets anyway.
    pub align_first: bool,
    /// Which rollups may answer.
    pub rollup_usage: RollupUsage,
    /// What to show of histograms; `None` when the metric's points are asked for.
    pub histogram: Option<HistogramQuery>,
    /// Whether values are asked for that were aggregated over series before they were written.
    pub pre_aggregate: bool,
}

/// Which series a sub-query is about.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// Series of a metric.
    Metric {
        /// The metric.
        name: String,
        /// All must hold.
        filters: Vec<Filter>,
        /// Whether a series must have no other tag keys than the filters name.
        explicit_tags: bool,
    },
    /// These series, as one group.
    Tsuids(Vec<Tsuid>),
}

/// Which precomputed values may answer in place of raw points.
///
/// Only values that give the same result as the raw points are ever used, so every usage has the same answer; it is
/// kept because the answer to a query repeats it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RollupUsage {
    /// None.
    Raw,
    /// Rollups or nothing; the default of OpenTSDB.
    #[default]
    NoFallback,
    /// Rollups, or finer ones.
    Fallback,
    /// Rollups, finer ones, or raw points.
    FallbackRaw,
}

impl RollupUsage {
    /// Every usage with its name in JSON.
    pub const ALL: [(&'static str, Self); 4] = [
        ("ROLLUP_RAW", Self::Raw),
        ("ROLLUP_NOFALLBACK", Self::NoFallback),
        ("ROLLUP_FALLBACK", Self::Fallback),
        ("ROLLUP_FALLBACK_RAW", Self::FallbackRaw),
    ];

    /// The usage of this name, in any case.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(candidate, _)| candidate.eq_ignore_ascii_case(name)).map(|(_, usage)| *usage)
    }

    /// Its name in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, usage)| *usage == self).map_or("ROLLUP_NOFALLBACK", |(name, _)| name)
    }
}

impl Query {
    /// A query in UTC whose results keep their milliseconds.
    #[must_use]
    pub fn new(start: TimestampMs, end: TimestampMs, sub_queries: Vec<SubQuery>) -> Self {
        let (time_zone, week_start) = (Tz::UTC, Weekday::Sun);
        Self { start, end, time_zone, week_start, use_calendar: false, ms_resolution: true, sub_queries }
    }

    /// Checks what holds for every query: there is a sub-query, the window is not negative, filters are few.
    ///
    /// # Errors
    /// [`ParseError::MissingQueries`], [`ParseError::EndBeforeStart`], [`ParseError::MissingSource`],
    /// [`ParseError::TooManyFilters`].
    pub fn check(&self) -> Result<(), ParseError> {
        if self.sub_queries.is_empty() {
            return Err(ParseError::MissingQueries);
        }
        if self.end < self.start {
            return Err(ParseError::EndBeforeStart { start: self.start, end: self.end });
        }
        self.sub_queries.iter().try_for_each(SubQuery::check)
    }
}

impl SubQuery {
    /// A sub-query over every series of a metric, neither downsampled nor as a rate.
    #[must_use]
    pub fn new(aggregator: Aggregator, source: Source) -> Self {
        Self {
            aggregator,
            source,
            downsample: None,
            rate: None,
            align_first: false,
            rollup_usage: RollupUsage::default(),
            histogram: None,
            pre_aggregate: false,
        }
    }

    /// The keys by whose values results are grouped, sorted.
    #[must_use]
    pub fn group_keys(&self) -> Vec<&str> {
        let mut keys: Vec<_> = self.filters().iter().filter(|filter| filter.group_by()).map(Filter::key).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// The filters; none for series ids.
    #[must_use]
    pub fn filters(&self) -> &[Filter] {
        match &self.source {
            Source::Metric { filters, .. } => filters,
            Source::Tsuids(_) => &[],
        }
    }

    /// The series that it is about.
    #[must_use]
    pub fn selector(&self) -> SeriesSelector {
        match &self.source {
            Source::Metric { name, filters, explicit_tags } => {
                let mut predicates: Vec<_> = filters.iter().map(Filter::predicate).collect();
                let own_key = self.own_key().filter(|_| *explicit_tags && !predicates.is_empty());
                // What is no tag that somebody filters by does not count.
                predicates.extend(own_key.map(|key| TagPredicate { key: key.to_owned(), matches: TagMatch::Any }));
                SeriesSelector::Tags { metric: Some(self.stored_name(name)), predicates, exact_keys: *explicit_tags }
            }
            Source::Tsuids(tsuids) => SeriesSelector::Tsuids(tsuids.clone()),
        }
    }

    fn stored_name(&self, metric: &str) -> String {
        match self {
            Self { histogram: Some(_), .. } => MetricSpace::Histogram.stored_name(metric),
            Self { pre_aggregate: true, .. } => MetricSpace::Aggregate.stored_name(metric),
            _ => metric.to_owned(),
        }
    }

    /// The key of a tag that all series have because of the space that they are in.
    fn own_key(&self) -> Option<&'static str> {
        match self {
            Self { histogram: Some(_), .. } => Some(HISTOGRAM_PART_KEY),
            Self { pre_aggregate: true, .. } => {
                self.filters().iter().all(|filter| filter.key() != AGGREGATE_KEY).then_some(AGGREGATE_KEY)
            }
            _ => None,
        }
    }

    pub(crate) fn check(&self) -> Result<(), ParseError> {
        if let Some(histogram) = &self.histogram {
            histogram.check(self)?;
        }
        match &self.source {
            Source::Metric { name, .. } if name.is_empty() => Err(ParseError::MissingSource),
            Source::Metric { filters, .. } if filters.len() > FILTERS_MAX => {
                Err(ParseError::TooManyFilters { found: filters.len() })
            }
            Source::Tsuids(tsuids) if tsuids.is_empty() => Err(ParseError::MissingSource),
            Source::Metric { .. } | Source::Tsuids(_) => Ok(()),
        }
    }
}
