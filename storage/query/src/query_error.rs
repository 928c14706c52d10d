//! Why a query cannot be evaluated.

use thiserror::Error;
use tidemark_model::ReadError;

use crate::ParseError;

/// Why a query has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum QueryError {
    /// The query itself is wrong.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// The store could not read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Whoever asked has gone.
    #[error("the query was cancelled")]
    Cancelled,
    /// Series of the variables of an expression that only takes those which all have.
    #[error("No intersections found: no series of the variables of expression `{expression}` have the same tags")]
    NoIntersection {
        /// The id of the expression.
        expression: String,
    },
    /// The window has too many buckets.
    #[error(
        "the window has {found} buckets, at most {limit} are allowed; use a longer interval, a shorter window, or raise \
         `limits.query_result_points`"
    )]
    TooManyBuckets {
        /// Buckets, or how many were counted.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// All calendar buckets of a request together, which are listed, are too many.
    #[error(
        "the sub-queries have more than {limit} calendar buckets together; use longer intervals, a shorter window, or \
         buckets that are not of the calendar"
    )]
    TooManyCalendarBuckets {
        /// The limit, which is no setting.
        limit: u64,
    },
    /// The results of one sub-query have too many points.
    #[error(
        "the results have more than {limit} points; downsample, shorten the window or raise `limits.query_result_points`"
    )]
    TooManyResultPoints {
        /// The limit.
        limit: u64,
    },
    /// One group has to hold too many points at once.
    #[error(
        "a group of {series} series holds more than {limit} points; downsample, narrow the filters or raise \
         `limits.query_group_points`"
    )]
    TooManyGroupPoints {
        /// Members of the group.
        series: usize,
        /// The limit.
        limit: u64,
    },
}
