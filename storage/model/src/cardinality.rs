//! How many series there are of what.

/// How many series there are, of which names the most, and what has grown lately. Series whose points are all gone do not
/// count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cardinality {
    /// Series.
    pub series: u64,
    /// Series without points, whose names are not listed.
    pub hidden_series: u64,
    /// Names of metrics that were ever given an id, of tag keys and of tag values.
    pub names: [u64; 3],
    /// New series of the last [`Cardinality::minutes`], as far as this process knows.
    pub new_series: u64,
    /// Minutes that "new" is about.
    pub minutes: u64,
    /// The metrics with the most series.
    pub metrics: Vec<MetricCardinality>,
    /// The tag keys with the most values.
    pub tag_keys: Vec<TagKeyCardinality>,
    /// The tags with the most series.
    pub tags: Vec<TagCardinality>,
}

/// The series of a metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricCardinality {
    /// The metric.
    pub metric: String,
    /// Its series.
    pub series: u64,
    /// Those that are new.
    pub new_series: u64,
    /// The tag key with the most new values, if there are any.
    pub fastest_tag_key: Option<String>,
}

/// The values of a tag key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagKeyCardinality {
    /// The key.
    pub tag_key: String,
    /// Its values, in all metrics together.
    pub values: u64,
    /// Series that have it.
    pub series: u64,
    /// Values that are new, counted in each metric, with those that a limit kept out.
    pub new_values: u64,
}

/// The series with a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagCardinality {
    /// The key.
    pub tag_key: String,
    /// The value.
    pub tag_value: String,
    /// Series that have it.
    pub series: u64,
}
