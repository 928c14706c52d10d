//! The static types of expressions.

use std::fmt;

/// What an expression yields. The order matters: an operator yields the larger type of its two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ValueType {
    /// A text, for arguments only.
    Text,
    /// One number without a group.
    Scalar,
    /// Groups with a number each.
    Numbers,
    /// Groups with a series each.
    Series,
    /// An expression that is not evaluated yet: the second argument of `map`.
    Lambda,
}

impl ValueType {
    /// Bosun's word for the type in answers of its API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Scalar => "scalar",
            Self::Numbers => "number",
            Self::Series => "series",
            Self::Lambda => "numberexpr",
        }
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// What a function takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ArgumentType {
    Text,
    Scalar,
    Numbers,
    Series,
    /// Numbers or series.
    Variant,
    Lambda,
}

impl ArgumentType {
    /// A scalar becomes a set of one number without a group wherever numbers are wanted; nothing else is converted.
    pub(crate) fn accepts(self, given: ValueType) -> bool {
        match self {
            Self::Text => given == ValueType::Text,
            Self::Scalar => given == ValueType::Scalar,
            Self::Numbers => matches!(given, ValueType::Scalar | ValueType::Numbers),
            Self::Series => given == ValueType::Series,
            Self::Variant => matches!(given, ValueType::Scalar | ValueType::Numbers | ValueType::Series),
            Self::Lambda => given == ValueType::Lambda,
        }
    }
}

impl fmt::Display for ArgumentType {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Text => "string",
            Self::Scalar => "scalar",
            Self::Numbers => "number",
            Self::Series => "series",
            Self::Variant => "number or series",
            Self::Lambda => "numberexpr",
        })
    }
}
