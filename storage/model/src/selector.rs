//! Which series a query is about.

use std::{fmt, sync::Arc};

use crate::Tsuid;

/// A set of series, evaluated on the index.
#[derive(Clone, Debug)]
pub enum SeriesSelector {
    /// Series whose metric and tags match.
    Tags {
        /// The metric; `None` for any.
        metric: Option<String>,
        /// All must hold. Several may be about one key.
        predicates: Vec<TagPredicate>,
        /// Whether a series must have no other tag keys than those of the predicates (OpenTSDB's `explicitTags`).
        /// Has no effect without predicates.
        exact_keys: bool,
    },
    /// Exactly these series; ids that nobody has are ignored.
    Tsuids(Vec<Tsuid>),
}

impl SeriesSelector {
    /// Every series of a metric.
    #[must_use]
    pub fn metric(metric: impl Into<String>) -> Self {
        Self::Tags { metric: Some(metric.into()), predicates: Vec::new(), exact_keys: false }
    }
}

/// A condition on one tag of a series.
#[derive(Clone, Debug)]
pub struct TagPredicate {
    /// The tag key. But for [`TagMatch::Absent`] the series must have it.
    pub key: String,
    /// What its value must be.
    pub matches: TagMatch,
}

/// A condition on the value of a tag.
#[derive(Clone)]
pub enum TagMatch {
    /// Any value.
    Any,
    /// One of these values.
    OneOf(Vec<String>),
    /// A value for which the function holds: wildcards, patterns, negations. It is called once per distinct value.
    Where(Arc<dyn Fn(&str) -> bool + Send + Sync>),
    /// The series lacks the key.
    Absent,
}

impl fmt::Debug for TagMatch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => out.write_str("Any"),
            Self::OneOf(values) => out.debug_tuple("OneOf").field(values).finish(),
            Self::Where(_) => out.write_str("Where(..)"),
            Self::Absent => out.write_str("Absent"),
        }
    }
}
