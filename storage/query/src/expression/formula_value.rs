//! The values of a formula and its arithmetic, by the rules of JEXL 2.1.
//!
//! Variables are doubles; integers are only those that a formula writes. Among integers a division truncates, everything
//! else is done in doubles. A division by zero, or its remainder, is 0 and neither an error nor an infinity. NaN is equal
//! to NaN and less than any other number. Where JEXL refuses to compute with truth values, they are 1 and 0 here; where it
//! goes on with integers of any length, we go on with doubles.

use std::cmp::Ordering;

/// A value while a formula is evaluated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum FormulaValue {
    Bool(bool),
    Int(i64),
    Double(f64),
}

/// What makes one value of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Or,
    And,
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
    Remainder,
}

impl Operator {
    pub(super) fn symbol(self) -> &'static str {
        match self {
            Self::Or => "||",
            Self::And => "&&",
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
            Self::Remainder => "%",
        }
    }

    /// Higher binds tighter.
    pub(super) fn precedence(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And => 2,
            Self::Equal | Self::NotEqual => 3,
            Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual => 4,
            Self::Add | Self::Subtract => 5,
            Self::Multiply | Self::Divide | Self::Remainder => 6,
        }
    }

    /// Whether it may follow itself without parentheses.
    pub(super) fn chains(self) -> bool {
        !matches!(self.precedence(), 3 | 4)
    }

    pub(super) fn apply(self, left: FormulaValue, right: FormulaValue) -> FormulaValue {
        use FormulaValue::Bool;
        match self {
            Self::Or => Bool(left.is_true() || right.is_true()),
            Self::And => Bool(left.is_true() && right.is_true()),
            Self::Equal => Bool(left.equals(right)),
            Self::NotEqual => Bool(!left.equals(right)),
            Self::Less => Bool(left.compare(right).is_lt()),
            Self::LessOrEqual => Bool(left.compare(right).is_le()),
            Self::Greater => Bool(left.compare(right).is_gt()),
            Self::GreaterOrEqual => Bool(left.compare(right).is_ge()),
            _ => match (left.integer(), right.integer()) {
                (Some(left), Some(right)) => self.of_integers(left, right),
                _ => FormulaValue::Double(self.of_doubles(left.double(), right.double())),
            },
        }
    }

    fn of_integers(self, left: i64, right: i64) -> FormulaValue {
        let exact = match self {
            Self::Add => left.checked_add(right),
            Self::Subtract => left.checked_sub(right),
            Self::Multiply => left.checked_mul(right),
            Self::Divide => left.checked_div(right),
            Self::Remainder if right > 0 => left.checked_rem_euclid(right),
            // `BigInteger.mod` refuses a modulus that is not positive, and JEXL makes 0.0 of that.
            _ => return FormulaValue::Double(0.0),
        };
        exact.map_or_else(|| FormulaValue::Double(self.of_doubles(left as f64, right as f64)), FormulaValue::Int)
    }

    fn of_doubles(self, left: f64, right: f64) -> f64 {
        match self {
            Self::Add => left + right,
            Self::Subtract => left - right,
            Self::Multiply => left * right,
            Self::Divide if right != 0.0 => left / right,
            Self::Remainder if right != 0.0 => left % right,
            _ => 0.0,
        }
    }
}

impl FormulaValue {
    /// What a formula hands out: truth is 1 and 0.
    pub(super) fn double(self) -> f64 {
        match self {
            Self::Bool(truth) => f64::from(u8::from(truth)),
            Self::Int(int) => int as f64,
            Self::Double(double) => double,
        }
    }

    /// NaN is not true.
    pub(super) fn is_true(self) -> bool {
        match self {
            Self::Bool(truth) => truth,
            Self::Int(int) => int != 0,
            Self::Double(double) => double != 0.0 && !double.is_nan(),
        }
    }

    /// A minus sign turns truth around, as in JEXL.
    pub(super) fn negate(self) -> Self {
        match self {
            Self::Bool(truth) => Self::Bool(!truth),
            Self::Int(int) => int.checked_neg().map_or(Self::Double(-(int as f64)), Self::Int),
            Self::Double(double) => Self::Double(-double),
        }
    }

    fn integer(self) -> Option<i64> {
        match self {
            Self::Bool(truth) => Some(i64::from(truth)),
            Self::Int(int) => Some(int),
            Self::Double(_) => None,
        }
    }

    fn equals(self, other: Self) -> bool {
        match (self, other) {
            (Self::Bool(_), _) | (_, Self::Bool(_)) => self.is_true() == other.is_true(),
            _ => self.compare(other).is_eq(),
        }
    }

    fn compare(self, other: Self) -> Ordering {
        match (self.integer(), other.integer()) {
            (Some(left), Some(right)) => left.cmp(&right),
            _ => {
                let (left, right) = (self.double(), other.double());
                left.partial_cmp(&right).unwrap_or_else(|| right.is_nan().cmp(&left.is_nan()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{FormulaValue::*, *};

    #[test]
    fn numbers_are_computed_as_jexl_computes_them() {
        let check = |left: FormulaValue, operator: Operator, right: FormulaValue, expect: FormulaValue| {
            assert_eq!(operator.apply(left, right), expect, "{left:?} {} {right:?}", operator.symbol());
        };
        check(Int(7), Operator::Divide, Int(2), Int(3));
        check(Int(-7), Operator::Divide, Int(2), Int(-3));
        check(Double(7.0), Operator::Divide, Int(2), Double(3.5));
        check(Double(7.0), Operator::Divide, Double(0.0), Double(0.0));
        check(Int(7), Operator::Divide, Int(0), Double(0.0));
        check(Double(7.5), Operator::Remainder, Int(2), Double(1.5));
        check(Double(-7.5), Operator::Remainder, Int(2), Double(-1.5));
        check(Int(-7), Operator::Remainder, Int(2), Int(1));
        check(Int(7), Operator::Remainder, Int(-2), Double(0.0));
        check(Double(7.0), Operator::Remainder, Double(0.0), Double(0.0));
        check(Int(i64::MAX), Operator::Add, Int(1), Double(9_223_372_036_854_775_808.0));
        check(Int(i64::MIN), Operator::Divide, Int(-1), Double(9_223_372_036_854_775_808.0));
        check(Bool(true), Operator::Add, Double(1.5), Double(2.5));
        check(Bool(true), Operator::Add, Bool(true), Int(2));
    }

    #[test]
    fn nan_is_equal_to_itself_and_less_than_any_number() {
        let truth = |left: FormulaValue, operator: Operator, right: FormulaValue| operator.apply(left, right);
        let nan = Double(f64::NAN);
        assert_eq!(truth(nan, Operator::Equal, nan), Bool(true));
        assert_eq!(truth(nan, Operator::Less, Double(f64::NEG_INFINITY)), Bool(true));
        assert_eq!(truth(Int(-5), Operator::Greater, nan), Bool(true));
        assert_eq!(truth(nan, Operator::GreaterOrEqual, Int(0)), Bool(false));
        assert_eq!(truth(nan, Operator::Or, Int(0)), Bool(false));
        assert_eq!(truth(Double(2.0), Operator::Equal, Bool(true)), Bool(true));
        assert_eq!(truth(Double(-0.0), Operator::Equal, Int(0)), Bool(true));
    }

    #[test]
    fn a_minus_sign_turns_truth_around() {
        assert_eq!(Bool(true).negate(), Bool(false));
        assert_eq!(Int(i64::MIN).negate(), Double(9_223_372_036_854_775_808.0));
        assert_eq!(Double(1.5).negate(), Double(-1.5));
    }
}
