//! Why a query text is refused.

use thiserror::Error;

use crate::{FILTER_TEXT_BYTES_MAX, QUERY_TEXT_BYTES_MAX};

/// Why a part of a query cannot be understood. The texts are OpenTSDB's where it has one, since clients show them.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParseError {
    /// The text is longer than [`QUERY_TEXT_BYTES_MAX`].
    #[error("query text of {bytes} bytes, at most {QUERY_TEXT_BYTES_MAX} are allowed")]
    TextTooLong {
        /// Bytes of the text.
        bytes: usize,
    },
    /// A sub-query text has too few or too many parts.
    #[error("Invalid parameter m={text} ({problem} :-separated parts)")]
    PartCount {
        /// The whole text.
        text: String,
        /// `not enough` or `too many`.
        problem: &'static str,
    },
    /// A part between the aggregator and the metric is none that we know.
    #[error("Invalid parameter m={text}: unknown part `{part}`")]
    UnknownPart {
        /// The whole text.
        text: String,
        /// The part.
        part: String,
    },
    /// The usage of rollups is none of [`crate::RollupUsage::ALL`].
    #[error("`{0}` is not supported")]
    Unsupported(String),
    /// No aggregator is given.
    #[error("Missing the aggregation function")]
    MissingAggregator,
    /// The aggregator is none of [`crate::Aggregator::ALL`].
    #[error("No such aggregation function: {0}")]
    UnknownAggregator(String),
    /// Neither a metric nor series ids are given.
    #[error("Missing the metric or tsuids, provide at least one")]
    MissingSource,
    /// A brace is open at the end.
    #[error("Missing '}}' at the end of: {0}")]
    MissingBrace(String),
    /// One pair of a tag list is wrong.
    #[error("When parsing {list} '{pair}': {reason}")]
    TagPair {
        /// `tag` in the first pair of braces, `filter` in the second.
        list: &'static str,
        /// The pair.
        pair: String,
        /// What is wrong.
        reason: Box<ParseError>,
    },
    /// A pair is not `key=value`.
    #[error("invalid tag: {0}")]
    InvalidTag(String),
    /// The filter type is none of [`crate::FilterKind::ALL`].
    #[error("Could not find a tag value filter of the type: {0}")]
    UnknownFilter(String),
    /// A filter without a tag key or without a text.
    #[error("Tagk or filter of `{0}` cannot be null or empty")]
    EmptyFilter(String),
    /// A `not_key` filter with a text.
    #[error("Filter value must be null or empty for `not_key`, received '{0}'")]
    NotKeyWithText(String),
    /// The filter's text is longer than [`FILTER_TEXT_BYTES_MAX`].
    #[error("filter of {bytes} bytes on tag `{key}`, at most {FILTER_TEXT_BYTES_MAX} are allowed")]
    FilterTooLong {
        /// The tag key.
        key: String,
        /// Bytes of the text.
        bytes: usize,
    },
    /// More filters than [`crate::FILTERS_MAX`].
    #[error("{found} filters, at most {} are allowed", crate::FILTERS_MAX)]
    TooManyFilters {
        /// Filters given.
        found: usize,
    },
    /// A wildcard without an asterisk.
    #[error("Filter must contain an asterisk: {0}")]
    WildcardWithoutAsterisk(String),
    /// The pattern does not compile, is too large, or uses look-around or back-references.
    #[error("Invalid regular expression '{pattern}': {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// The first line of what is wrong.
        reason: String,
    },
    /// The downsampling text lacks a function.
    #[error("Invalid downsampling specifier '{0}': must provide at least interval and function")]
    DownsampleTooShort(String),
    /// The downsampling text has a fourth part.
    #[error("Invalid downsampling specifier '{0}': must consist of interval, function, and optional fill policy")]
    DownsampleTooLong(String),
    /// The downsampling function is no aggregator.
    #[error("No such downsampling function: {0}")]
    UnknownFunction(String),
    /// `none` as downsampling function.
    #[error("cannot use the NONE aggregator for downsampling")]
    NoneFunction,
    /// The fill policy is none of `none`, `nan`, `null`, `zero`.
    #[error("Unrecognized fill policy: {0}")]
    UnknownFill(String),
    /// A duration without a unit.
    #[error("Invalid duration, must have an integer and unit: {0}")]
    DurationWithoutUnit(String),
    /// A duration without a number, or with one that does not fit.
    #[error("Invalid duration (number): {0}")]
    DurationNumber(String),
    /// A duration with an unknown unit.
    #[error("Invalid duration (suffix): {0}")]
    DurationUnit(String),
    /// A duration of zero.
    #[error("Zero or negative duration: {0}")]
    DurationZero(String),
    /// A duration that does not fit.
    #[error("Duration must be < Long.MAX_VALUE ms: {0}")]
    DurationTooLong(String),
    /// `rate{` without an end.
    #[error("Invalid rate options specification: {0}")]
    RateOptions(String),
    /// More than three rate options.
    #[error(
        "Incorrect number of values in rate options specification, must be counter[,counter max value,reset value], received: {0} parts"
    )]
    RateOptionCount(usize),
    /// The first rate option is neither `counter` nor `dropcounter`.
    #[error("Unknown rate option '{0}', must be counter or dropcounter")]
    UnknownRateOption(String),
    /// The counter maximum is no integer.
    #[error("Max value of counter was not a number, received '{0}'")]
    CounterMax(String),
    /// The reset value is no integer.
    #[error("Reset value of counter was not a number, received '{0}'")]
    ResetValue(String),
    /// No start time is given.
    #[error("Missing start time")]
    MissingStart,
    /// No sub-query is given.
    #[error("Missing queries")]
    MissingQueries,
    /// A time that is neither relative, nor a number, nor a date.
    #[error("Invalid time: {text}. {reason}")]
    Time {
        /// The text.
        text: String,
        /// What is wrong.
        reason: String,
    },
    /// A date in none of the accepted layouts.
    #[error("Invalid absolute date: {0}")]
    DateLayout(String),
    /// A date that the calendar does not have.
    #[error("Invalid date: {0}")]
    Date(String),
    /// No zone of the IANA database.
    #[error("Invalid timezone name: {0}")]
    TimeZone(String),
    /// The end lies before the start.
    #[error("End time [{end}] must be greater than the start time [{start}]")]
    EndBeforeStart {
        /// Start in milliseconds.
        start: i64,
        /// End in milliseconds.
        end: i64,
    },
    /// Percentiles that are no list of numbers.
    #[error("Malformed percentile query parameter: {0}")]
    Percentiles(String),
    /// A percentile below 0 or above 100.
    #[error("Invalid percentile parameters: {0}")]
    PercentileRange(String),
    /// More percentiles than [`crate::PERCENTILES_MAX`].
    #[error("{found} percentiles, at most {} are allowed", crate::PERCENTILES_MAX)]
    TooManyPercentiles {
        /// Percentiles given.
        found: usize,
    },
    /// Histograms under an aggregator that cannot add them up.
    #[error("Only NONE or SUM aggregation function supported for histogram query")]
    HistogramAggregator,
    /// Histograms under a downsampling function that cannot add them up.
    #[error("Only SUM downsampling aggregation supported for histogram query")]
    HistogramDownsample,
    /// A text is no series id.
    #[error(transparent)]
    Tsuid(#[from] tidemark_model::TsuidError),
}

/// A piece of a text that a person can recognise, however long the text is.
pub(crate) fn excerpt(text: &str) -> String {
    const CHARACTERS_MAX: usize = 200;
    match text.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
