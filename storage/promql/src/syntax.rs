//! Expressions as trees.

use crate::{functions::Function, matcher::Matcher};

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Expression {
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
    /// The newest point of each series.
    Selector(Selector),
    /// The points of each series in a range of time, given in milliseconds.
    Range(Selector, i64),
    /// The values of an expression in a range of time.
    Subquery(Box<Subquery>),
    /// A function of its arguments.
    Call(&'static Function, Vec<Expression>),
    /// One series made of several.
    Aggregate(Box<Aggregate>),
    /// Two sides.
    Binary(Box<Binary>),
    /// A sign: minus when true.
    Sign(bool, Box<Expression>),
    /// Something in parentheses.
    Group(Box<Expression>),
}

/// What type the value of an expression has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// A number for each step.
    Scalar,
    /// A text.
    Text,
    /// Series with one value for each step at most.
    Vector,
    /// Series with points in a range.
    Matrix,
}

impl ValueType {
    /// As Prometheus calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Text => "string",
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
        }
    }
}

/// When something is evaluated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct When {
    /// How many milliseconds before.
    pub offset: i64,
    /// A moment in place of that of the step.
    pub at: Option<At>,
}

/// A moment that is the same for all steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// Milliseconds since the epoch.
    Time(i64),
    /// The first step of the query.
    Start,
    /// The end of the query, which may be after its last step.
    End,
}

/// Which series.
#[derive(Clone, Debug, PartialEq)]
pub struct Selector {
    /// Its position among the selectors of the expression.
    pub id: usize,
    /// All must hold.
    pub matchers: Vec<Matcher>,
    /// When.
    pub when: When,
}

/// An expression that is evaluated at steps of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Subquery {
    /// The expression.
    pub expression: Expression,
    /// How far back, in milliseconds.
    pub range: i64,
    /// From value to value, in milliseconds; the default when there is none.
    pub step: Option<i64>,
    /// When.
    pub when: When,
}

/// Which labels make a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grouping {
    /// Whether it is these labels (`by`) or all others (`without`).
    pub is_by: bool,
    /// The labels.
    pub labels: Vec<String>,
}

/// An aggregation.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    /// What is made of the series of a group.
    pub operator: AggregateOperator,
    /// Of what.
    pub expression: Expression,
    /// How many, which quantile, or which label.
    pub parameter: Option<Expression>,
    /// What makes a group; without it all series are one.
    pub grouping: Option<Grouping>,
}

/// What is made of the series of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum AggregateOperator {
    Sum,
    Avg,
    Min,
    Max,
    Count,
    Group,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    Quantile,
    CountValues,
    Limitk,
}

impl AggregateOperator {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Sum,
        Self::Avg,
        Self::Min,
        Self::Max,
        Self::Count,
        Self::Group,
        Self::Stddev,
        Self::Stdvar,
        Self::Topk,
        Self::Bottomk,
        Self::Quantile,
        Self::CountValues,
        Self::Limitk,
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Min => "min",
            Self::Max => "max",
            Self::Count => "count",
            Self::Group => "group",
            Self::Stddev => "stddev",
            Self::Stdvar => "stdvar",
            Self::Topk => "topk",
            Self::Bottomk => "bottomk",
            Self::Quantile => "quantile",
            Self::CountValues => "count_values",
            Self::Limitk => "limitk",
        }
    }

    /// The type of its parameter; `None` when it has none.
    #[must_use]
    pub fn parameter(self) -> Option<ValueType> {
        match self {
            Self::Topk | Self::Bottomk | Self::Quantile | Self::Limitk => Some(ValueType::Scalar),
            Self::CountValues => Some(ValueType::Text),
            _ => None,
        }
    }
}

/// An operation of two sides.
#[derive(Clone, Debug, PartialEq)]
pub struct Binary {
    /// What is done.
    pub operator: BinaryOperator,
    /// The left side.
    pub left: Expression,
    /// The right side.
    pub right: Expression,
    /// Whether a comparison is 0 or 1 and no filter.
    pub returns_bool: bool,
    /// Which series belong together, where both sides have series.
    pub matching: Matching,
}

/// Which series of two sides belong together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matching {
    /// Whether it is these labels (`on`) or all others (`ignoring`).
    pub is_on: bool,
    /// The labels.
    pub labels: Vec<String>,
    /// Which side may have several series for one of the other.
    pub many: Option<Many>,
}

/// A side that has several series for one of the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Many {
    /// Whether it is the left side (`group_left`).
    pub is_left: bool,
    /// Labels that come from the other side.
    pub include: Vec<String>,
}

/// What is done with two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum BinaryOperator {
    Or,
    And,
    Unless,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Atan2,
    Power,
}

impl BinaryOperator {
    /// The operator of a word or symbol.
    pub(crate) fn of(text: &str) -> Option<Self> {
        Some(match text.to_ascii_lowercase().as_str() {
            "or" => Self::Or,
            "and" => Self::And,
            "unless" => Self::Unless,
            "==" => Self::Equal,
            "!=" => Self::NotEqual,
            "<" => Self::Less,
            "<=" => Self::LessOrEqual,
            ">" => Self::Greater,
            ">=" => Self::GreaterOrEqual,
            "+" => Self::Add,
            "-" => Self::Subtract,
            "*" => Self::Multiply,
            "/" => Self::Divide,
            "%" => Self::Modulo,
            "atan2" => Self::Atan2,
            "^" => Self::Power,
            _ => return None,
        })
    }

    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Or => "or",
            Self::And => "and",
            Self::Unless => "unless",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
            Self::Atan2 => "atan2",
            Self::Power => "^",
        }
    }

    /// How tightly it binds; more binds tighter.
    pub(crate) fn precedence(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And | Self::Unless => 2,
            _ if self.is_comparison() => 3,
            Self::Add | Self::Subtract => 4,
            Self::Power => 6,
            _ => 5,
        }
    }

    /// Whether it compares.
    #[must_use]
    pub fn is_comparison(self) -> bool {
        matches!(
            self,
            Self::Equal | Self::NotEqual | Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual
        )
    }

    /// Whether it is about which series there are, and not about their values.
    #[must_use]
    pub fn is_of_sets(self) -> bool {
        matches!(self, Self::Or | Self::And | Self::Unless)
    }
}

impl Expression {
    /// The type of its value.
    #[must_use]
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::Number(_) => ValueType::Scalar,
            Self::Text(_) => ValueType::Text,
            Self::Selector(_) | Self::Aggregate(_) => ValueType::Vector,
            Self::Range(..) | Self::Subquery(_) => ValueType::Matrix,
            Self::Call(function, _) => function.returns,
            Self::Binary(binary) => {
                let are_scalars = [&binary.left, &binary.right].map(|side| side.value_type() == ValueType::Scalar);
                if are_scalars == [true, true] { ValueType::Scalar } else { ValueType::Vector }
            }
            Self::Sign(_, inner) | Self::Group(inner) => inner.value_type(),
        }
    }

    /// What it is without parentheses around it.
    #[must_use]
    pub fn ungrouped(&self) -> &Self {
        match self {
            Self::Group(inner) => inner.ungrouped(),
            other => other,
        }
    }

    /// The expressions that it is made of.
    pub(crate) fn children(&self) -> Vec<&Self> {
        match self {
            Self::Number(_) | Self::Text(_) | Self::Selector(_) | Self::Range(..) => Vec::new(),
            Self::Subquery(subquery) => vec![&subquery.expression],
            Self::Call(_, arguments) => arguments.iter().collect(),
            Self::Aggregate(aggregate) => aggregate.parameter.iter().chain([&aggregate.expression]).collect(),
            Self::Binary(binary) => vec![&binary.left, &binary.right],
            Self::Sign(_, inner) | Self::Group(inner) => vec![inner],
        }
    }
}
