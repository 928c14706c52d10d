//! What an expression query hands out: rows of instants, columns of series.

use std::{borrow::Cow, collections::BTreeSet};

use tidemark_model::TimestampMs;

/// The values of one output. Columns come in the order of their tags.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputTable<'a> {
    /// The id of the metric or the expression.
    pub id: &'a str,
    /// What to call it.
    pub alias: Option<&'a str>,
    /// Milliseconds since the epoch, strictly ascending.
    pub timestamps: &'a [TimestampMs],
    /// One for each series.
    pub columns: Vec<OutputColumn<'a>>,
    /// Whether a NaN is written as `null` instead of the text `NaN`.
    pub nan_is_null: bool,
}

/// One series of an output.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputColumn<'a> {
    /// The metrics that it was made of, sorted.
    pub metrics: &'a BTreeSet<String>,
    /// Tags that everything it was made of has alike, sorted by key.
    pub common_tags: &'a [(String, String)],
    /// Keys of which that has different values, sorted.
    pub aggregate_tags: &'a [String],
    /// As many as there are timestamps.
    pub values: Cow<'a, [f64]>,
}
