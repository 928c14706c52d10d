//! What can be wrong with an expression, and what can go wrong when it is evaluated.

use std::{collections::BTreeSet, fmt};

use thiserror::Error;
use tidemark_model::ReadError;
use tidemark_query::QueryError;

use crate::expression::{Position, ValueType};

/// Why a text is no expression.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{position}: {reason}")]
pub struct ParseError {
    /// Where.
    pub position: Position,
    /// What.
    pub reason: ParseErrorKind,
}

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParseErrorKind {
    /// Something else should be here.
    #[error("expected {expected}, got {found}")]
    Unexpected {
        /// What should be here.
        expected: String,
        /// What is here.
        found: String,
    },
    /// Operator characters that together are no operator.
    #[error("unknown operator `{0}`; operators that follow each other need a space between them")]
    UnknownOperator(String),
    /// A character that begins nothing.
    #[error("unexpected character `{}`", .0.escape_default())]
    UnknownCharacter(char),
    /// A number that is none.
    #[error("bad number `{0}`")]
    BadNumber(String),
    /// A text that is not well-formed.
    #[error("bad string: {0}")]
    BadText(&'static str),
    /// There is no function of this name.
    #[error("no such function: `{name}`{}", did_you_mean(.similar.as_deref()))]
    UnknownFunction {
        /// The name.
        name: String,
        /// The most similar function.
        similar: Option<String>,
    },
    /// A function got too many or too few arguments.
    #[error("`{function}` takes {expected}, got {found}")]
    ArgumentCount {
        /// The function.
        function: &'static str,
        /// How many it takes.
        expected: String,
        /// How many it got.
        found: usize,
    },
    /// An argument has the wrong type.
    #[error("argument {argument} of `{function}`: expected {expected}, got {found}")]
    ArgumentType {
        /// The function.
        function: &'static str,
        /// Which argument, from 1.
        argument: usize,
        /// The type it must have.
        expected: String,
        /// The type it has.
        found: ValueType,
    },
    /// An argument has an impossible value.
    #[error("`{function}`: {reason}")]
    Argument {
        /// The function.
        function: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Only numbers and series have operators.
    #[error("`{operator}` cannot be applied to a {found}")]
    OperandType {
        /// The operator.
        operator: &'static str,
        /// The type of the operand.
        found: ValueType,
    },
    /// The groups of the two sides can never be joined.
    #[error("incompatible tags ({} and {}) in `{expression}`: one side must have all tag keys of the other", Keys(.left), Keys(.right))]
    IncompatibleTags {
        /// Tag keys of the left side.
        left: BTreeSet<String>,
        /// Tag keys of the right side.
        right: BTreeSet<String>,
        /// The operation.
        expression: String,
    },
    /// `v()` outside of `map`.
    #[error("`v` is only valid in a map expression")]
    PointOutsideMap,
    /// A text is no expression of its own.
    #[error("an expression cannot be a string alone")]
    TextAlone,
    /// The text is too long.
    #[error("the expression has {bytes} bytes, at most {limit} are allowed (`text_bytes_max`)")]
    TooLong {
        /// Its bytes.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The text is nested too deeply.
    #[error("the expression is nested more than {limit} levels deep (`depth_max`)")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
}

/// Why an expression has no result now.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("{position}: {reason}")]
pub struct EvaluateError {
    /// The operation that failed.
    pub position: Position,
    /// Why.
    pub reason: EvaluateErrorKind,
}

impl EvaluateError {
    /// Whether the same expression may succeed later without anybody changing it.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match &self.reason {
            EvaluateErrorKind::Query { reason, .. } => matches!(reason, QueryError::Read(ReadError::Unavailable(_))),
            EvaluateErrorKind::Interrupted => true,
            EvaluateErrorKind::Function(_) | EvaluateErrorKind::Limit { .. } => false,
        }
    }
}

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum EvaluateErrorKind {
    /// A function cannot do this with these arguments.
    #[error("{0}")]
    Function(String),
    /// A query has no answer.
    #[error("{text}: {reason}")]
    Query {
        /// The text of the query.
        text: String,
        /// Why.
        reason: QueryError,
    },
    /// A limit was reached.
    #[error("more than {limit} {what} (`{field}`)")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// The field of [`crate::expression::ExpressionLimits`].
        field: &'static str,
        /// The limit.
        limit: u64,
    },
    /// Nobody waits for it any longer, or the process is ending.
    #[error("the evaluation was interrupted")]
    Interrupted,
}

impl EvaluateErrorKind {
    pub(crate) fn function(reason: impl fmt::Display) -> Self {
        Self::Function(reason.to_string())
    }
}

fn did_you_mean(similar: Option<&str>) -> String {
    similar.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

struct Keys<'a>(&'a BTreeSet<String>);

impl fmt::Display for Keys<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<_> = self.0.iter().map(String::as_str).collect();
        write!(out, "{{{}}}", keys.join(","))
    }
}
