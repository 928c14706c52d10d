//! The functions of the language, as tables: one row says everything about a function, and a new function is a new row.

mod aggregation;
mod arguments;
mod dropping;
mod groups;
mod numbers;
mod queries;
mod reductions;
mod regression;
mod series;

pub(crate) use arguments::Arguments;
pub(crate) use queries::{QueryPlan, QueryWindow};

use crate::expression::{
    ExpressionLimits, ValueType,
    error::EvaluateErrorKind,
    syntax::Node,
    tag_keys::TagKeys,
    value::{Set, Value},
    value_type::ArgumentType,
};

/// A row.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: &'static str,
    /// What it takes, in order.
    pub(crate) arguments: &'static [ArgumentType],
    /// What it takes any number of after that.
    pub(crate) more: Option<ArgumentType>,
    pub(crate) returns: Returns,
    pub(crate) tags: TagRule,
    /// Checks of arguments that are literal texts, by position; made when the expression is read.
    pub(crate) checks: &'static [(usize, TextCheck)],
    pub(crate) run: Run,
}

/// Says what is wrong with a text.
pub(crate) type TextCheck = fn(&str) -> Result<(), String>;

/// What a function yields.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Returns {
    Is(ValueType),
    /// The static type of the first argument, even where a scalar became a set of one.
    OfFirst,
}

/// Which tag keys its groups have.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TagRule {
    None,
    OfFirst,
    OfFirstAnd(&'static str),
    /// Made of the keys of the first argument and the arguments.
    Computed(fn(&TagKeys, &[Node]) -> Result<TagKeys, String>),
}

/// How it is evaluated.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Run {
    /// From its arguments alone.
    Pure(fn(&Context, Arguments) -> Result<Value, EvaluateErrorKind>),
    /// By evaluating its second argument for each point of the first.
    PointByPoint,
    /// By reading series: what to read, and what to make of the answers.
    Query {
        plan: fn(&Context, Arguments) -> Result<QueryPlan, EvaluateErrorKind>,
        combine: fn(&QueryPlan, Vec<Set>) -> Result<Value, EvaluateErrorKind>,
    },
}

/// What a function may know besides its arguments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context {
    /// Seconds since the epoch.
    pub(crate) now: i64,
    /// Members without a partner vanish instead of standing beside NaN.
    pub(crate) unjoined_ok: bool,
    pub(crate) limits: ExpressionLimits,
}

/// Every table.
const TABLES: &[&[Function]] = &[
    reductions::FUNCTIONS,
    regression::FUNCTIONS,
    aggregation::FUNCTIONS,
    groups::FUNCTIONS,
    numbers::FUNCTIONS,
    series::FUNCTIONS,
    dropping::FUNCTIONS,
    queries::FUNCTIONS,
];

/// The function of this name.
pub(crate) fn find(name: &str) -> Option<&'static Function> {
    TABLES.iter().copied().flatten().find(|function| function.name == name)
}

/// All names.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    TABLES.iter().copied().flatten().map(|function| function.name).chain(["expr", "v"])
}

impl Function {
    pub(crate) fn accepts_count(&self, count: usize) -> bool {
        let least = self.arguments.len().max(usize::from(self.arguments.is_empty() && self.more.is_some()));
        count >= least && (count == self.arguments.len() || self.more.is_some())
    }

    pub(crate) fn count_text(&self) -> String {
        let count = self.arguments.len();
        let plural = if count == 1 { "" } else { "s" };
        match self.more {
            Some(_) => format!("at least {} argument(s)", count.max(1)),
            None => format!("{count} argument{plural}"),
        }
    }

    pub(crate) fn argument_type(&self, index: usize) -> Option<ArgumentType> {
        self.arguments.get(index).copied().or(self.more)
    }

    pub(crate) fn value_type(&self, arguments: &[Node]) -> ValueType {
        match self.returns {
            Returns::Is(value_type) => value_type,
            Returns::OfFirst => arguments.first().map_or(ValueType::Scalar, |first| first.value_type),
        }
    }

    /// Checks literal arguments; an error comes with the position of the argument.
    pub(crate) fn check(&self, arguments: &[Node]) -> Result<(), (usize, String)> {
        for (index, check) in self.checks {
            if let Some(text) = arguments.get(*index).and_then(Node::literal_text) {
                check(text).map_err(|reason| (*index, reason))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_functions_share_a_name() {
        let mut all: Vec<_> = names().collect();
        let before = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), before);
        assert!(all.iter().all(|name| name.chars().all(char::is_alphabetic)), "names are letters only");
    }
}
