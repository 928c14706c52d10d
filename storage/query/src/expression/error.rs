//! Why an expression is refused.

use thiserror::Error;

use super::{FORMULA_BYTES_MAX, FUNCTION_TEXT_BYTES_MAX};
use crate::{ParseError, parse_error::excerpt};

/// Why an expression cannot be understood. Positions are bytes from the start of the text. The texts are OpenTSDB's where
/// it has one, since clients show them.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ExpressionError {
    /// A formula is longer than [`FORMULA_BYTES_MAX`].
    #[error("expression of {bytes} bytes, at most {FORMULA_BYTES_MAX} are allowed")]
    FormulaTooLong {
        /// Bytes of the text.
        bytes: usize,
    },
    /// A text of functions is longer than [`FUNCTION_TEXT_BYTES_MAX`].
    #[error("expression of {bytes} bytes, at most {FUNCTION_TEXT_BYTES_MAX} are allowed")]
    FunctionsTooLong {
        /// Bytes of the text.
        bytes: usize,
    },
    /// The text follows no rule of the language.
    #[error("Failed to parse `{text}`: {problem} at byte {position}")]
    Syntax {
        /// The text, or the beginning of a long one.
        text: String,
        /// Where.
        position: usize,
        /// What is wrong.
        problem: String,
    },
    /// An argument is no sub-query.
    #[error("Failed to parse the sub-query at byte {position}: {reason}")]
    SubQuery {
        /// Where it begins.
        position: usize,
        /// What is wrong with it.
        reason: ParseError,
    },
    /// No such function.
    #[error("Function {name} has not been implemented (at byte {position})")]
    UnknownFunction {
        /// The name as it was written.
        name: String,
        /// Where.
        position: usize,
    },
    /// The arguments of a function do not fit.
    #[error("{problem} (function `{function}` at byte {position})")]
    Arguments {
        /// Its name.
        function: &'static str,
        /// Where it begins.
        position: usize,
        /// What is wrong.
        problem: String,
    },
    /// A text without a formula.
    #[error("missing or empty expr")]
    EmptyFormula,
    /// A formula in which there is nothing to compute with.
    #[error("The expression didn't appear to have any variables: {0}")]
    NoVariables(String),
    /// Nothing to read.
    #[error("missing or empty metrics")]
    NoMetrics,
    /// Something without an id.
    #[error("missing or empty id")]
    MissingId,
    /// An id with a character that no id has, or that begins with none of a letter.
    #[error("Invalid id (\"{id}\"): illegal character: {character}")]
    InvalidId {
        /// The id.
        id: String,
        /// The first character that is wrong.
        character: char,
    },
    /// Two metrics with one id.
    #[error("duplicated metric id: {0}")]
    DuplicateMetric(String),
    /// An expression with the id of a metric or of another expression.
    #[error("Duplicated variable or expression id: {0}")]
    DuplicateExpression(String),
    /// An expression uses an id that nothing has.
    #[error("Expression [{expression}] was missing input {variable}")]
    MissingInput {
        /// The text of the expression.
        expression: String,
        /// The id.
        variable: String,
    },
    /// An expression uses its own id.
    #[error("Self referencing expression found: {0}")]
    SelfReference(String),
    /// Expressions use each other in a circle.
    #[error("Circular reference found: {0}")]
    CircularReference(String),
    /// No such way to join.
    #[error("Unrecognized set operator: {0}")]
    UnknownJoin(String),
    /// No such way to fill.
    #[error("Unrecognized fill policy: {0}")]
    UnknownFill(String),
    /// A value that contradicts its fill policy.
    #[error("The value for {policy} must be {value}")]
    FillValue {
        /// The policy.
        policy: &'static str,
        /// What its value has to be.
        value: &'static str,
    },
    /// A time offset that is no length of time.
    #[error("Invalid timeOffset `{text}`, expected such as `1d` or `1d-ago`: {reason}")]
    TimeOffset {
        /// The text.
        text: String,
        /// What is wrong with it.
        reason: ParseError,
    },
}

impl ExpressionError {
    pub(super) fn syntax(text: &str, position: usize, problem: impl Into<String>) -> Self {
        Self::Syntax { text: excerpt(text), position, problem: problem.into() }
    }
}
