//! What can go wrong.

use thiserror::Error;
use tidemark_model::ReadError;

/// A text that is no expression, and where.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{line}:{column}: parse error: {text}")]
pub struct ParseError {
    /// Line, from 1.
    pub line: usize,
    /// Character of the line, from 1.
    pub column: usize,
    /// What is wrong.
    pub text: String,
}

impl ParseError {
    /// An error at a byte of the expression.
    pub(crate) fn at(source: &str, offset: usize, text: impl Into<String>) -> Self {
        let before = source.get(..offset).unwrap_or(source);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).map_or(0, |line| line.chars().count()) + 1,
            text: text.into(),
        }
    }
}

/// Why an expression has no result.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum QueryError {
    /// The values are such that there is none, such as two series with the same labels.
    #[error("{0}")]
    Execution(String),
    /// The store cannot answer, or not so much.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Too many values would be held at once.
    #[error(
        "the query holds {held} values at once (series times steps), at most {limit} are allowed; raise its step, narrow \
         its selectors or raise `limits.query_group_points`"
    )]
    TooManyHeld {
        /// Values that would be held.
        held: u64,
        /// The limit.
        limit: u64,
    },
    /// The result has too many values.
    #[error(
        "the result has {found} points, at most {limit} are allowed; raise the step of the query, narrow its selectors or \
         raise `limits.query_result_points`"
    )]
    TooManyResultPoints {
        /// Points of the result.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// Somebody ended it, or it took too long.
    #[error("the query was cancelled")]
    Cancelled,
}

impl QueryError {
    /// An error over values.
    pub(crate) fn execution(text: impl Into<String>) -> Self {
        Self::Execution(text.into())
    }
}
