//! What operators do with two numbers.

use crate::syntax::BinaryOperator;

/// What arithmetic gives, or whether a comparison holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Outcome {
    Value(f64),
    Holds(bool),
}

pub(super) fn apply(operator: BinaryOperator, left: f64, right: f64) -> Outcome {
    match operator {
        BinaryOperator::Add => Outcome::Value(left + right),
        BinaryOperator::Subtract => Outcome::Value(left - right),
        BinaryOperator::Multiply => Outcome::Value(left * right),
        BinaryOperator::Divide => Outcome::Value(left / right),
        BinaryOperator::Modulo => Outcome::Value(left % right),
        BinaryOperator::Power => Outcome::Value(left.powf(right)),
        BinaryOperator::Atan2 => Outcome::Value(left.atan2(right)),
        BinaryOperator::Equal => Outcome::Holds(left == right),
        BinaryOperator::NotEqual => Outcome::Holds(left != right),
        BinaryOperator::Less => Outcome::Holds(left < right),
        BinaryOperator::LessOrEqual => Outcome::Holds(left <= right),
        BinaryOperator::Greater => Outcome::Holds(left > right),
        BinaryOperator::GreaterOrEqual => Outcome::Holds(left >= right),
        BinaryOperator::Or | BinaryOperator::And | BinaryOperator::Unless => Outcome::Holds(false),
    }
}

/// The value of an operation whose result, where a comparison is a filter, is `kept`.
pub(super) fn result(operator: BinaryOperator, left: f64, right: f64, returns_bool: bool, kept: f64) -> Option<f64> {
    match apply(operator, left, right) {
        Outcome::Value(value) => Some(value),
        Outcome::Holds(holds) if returns_bool => Some(f64::from(u8::from(holds))),
        Outcome::Holds(holds) => holds.then_some(kept),
    }
}
