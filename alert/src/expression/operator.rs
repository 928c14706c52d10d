//! Operators and their arithmetic.

/// An operator with two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BinaryOperator {
    Or,
    And,
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Power,
}

/// An operator with one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnaryOperator {
    Not,
    Negate,
}

/// Text, operator, how tightly it binds. All associate to the left, `**` too: `2 ** 3 ** 2` is 64, as in Bosun.
const BINARY: &[(&str, BinaryOperator, u8)] = &[
    ("||", BinaryOperator::Or, 1),
    ("&&", BinaryOperator::And, 2),
    ("==", BinaryOperator::Equal, 3),
    ("!=", BinaryOperator::NotEqual, 3),
    (">", BinaryOperator::Greater, 3),
    (">=", BinaryOperator::GreaterOrEqual, 3),
    ("<", BinaryOperator::Less, 3),
    ("<=", BinaryOperator::LessOrEqual, 3),
    ("+", BinaryOperator::Add, 4),
    ("-", BinaryOperator::Subtract, 4),
    ("*", BinaryOperator::Multiply, 5),
    ("/", BinaryOperator::Divide, 5),
    ("%", BinaryOperator::Remainder, 5),
    ("**", BinaryOperator::Power, 6),
];

impl BinaryOperator {
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        BINARY.iter().find(|row| row.0 == text).map(|row| row.1)
    }

    pub(crate) fn text(self) -> &'static str {
        BINARY.iter().find(|row| row.1 == self).map_or("", |row| row.0)
    }

    /// How tightly it binds; larger is tighter.
    pub(crate) fn level(self) -> u8 {
        BINARY.iter().find(|row| row.1 == self).map_or(0, |row| row.2)
    }

    /// The result for two numbers. A side that settles `||` or `&&` alone does so even beside NaN; else NaN on either
    /// side gives NaN, in comparisons too.
    pub(crate) fn apply(self, left: f64, right: f64) -> f64 {
        let truth = |holds: bool| if holds { 1.0 } else { 0.0 };
        match self {
            Self::Or if left != 0.0 => return 1.0,
            Self::And if left == 0.0 => return 0.0,
            _ if left.is_nan() || right.is_nan() => return f64::NAN,
            _ => {}
        }
        match self {
            Self::Or => truth(left != 0.0 || right != 0.0),
            Self::And => truth(left != 0.0 && right != 0.0),
            Self::Equal => truth(left == right),
            Self::NotEqual => truth(left != right),
            Self::Greater => truth(left > right),
            Self::GreaterOrEqual => truth(left >= right),
            Self::Less => truth(left < right),
            Self::LessOrEqual => truth(left <= right),
            Self::Add => left + right,
            Self::Subtract => left - right,
            Self::Multiply => left * right,
            Self::Divide => left / right,
            Self::Remainder => left % right,
            Self::Power => left.powf(right),
        }
    }
}

impl UnaryOperator {
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        match text {
            "!" => Some(Self::Not),
            "-" => Some(Self::Negate),
            _ => None,
        }
    }

    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Not => "!",
            Self::Negate => "-",
        }
    }

    /// The result for a member of a set. `!NaN` is 0 here, since NaN is not zero.
    pub(crate) fn apply(self, operand: f64) -> f64 {
        match self {
            Self::Not => f64::from(u8::from(operand == 0.0)),
            Self::Negate => -operand,
        }
    }

    /// The result for a bare scalar, where `!NaN` stays NaN.
    pub(crate) fn apply_to_scalar(self, operand: f64) -> f64 {
        if operand.is_nan() { f64::NAN } else { self.apply(operand) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_settles_nothing_but_may_be_settled_beside() {
        let check = |left: f64, operator: &str, right: f64, expect: f64| {
            let result = BinaryOperator::from_text(operator).unwrap().apply(left, right);
            assert!(result == expect || result.is_nan() && expect.is_nan(), "{left} {operator} {right} = {result}");
        };
        let nan = f64::NAN;
        check(1.0, "||", nan, 1.0);
        check(nan, "||", 0.0, 1.0);
        check(0.0, "||", nan, nan);
        check(0.0, "&&", nan, 0.0);
        check(1.0, "&&", nan, nan);
        check(nan, "&&", 0.0, nan);
        check(nan, "==", nan, nan);
        check(1.0, "/", 0.0, f64::INFINITY);
        check(-1.0, "/", 0.0, f64::NEG_INFINITY);
        check(0.0, "/", 0.0, nan);
        check(-7.0, "%", 3.0, -1.0);
        check(25.5, "%", 5.0, 0.5);
        assert!(UnaryOperator::Not.apply(nan) == 0.0);
        assert!(UnaryOperator::Not.apply_to_scalar(nan).is_nan());
    }

    #[test]
    fn every_operator_finds_itself() {
        for &(text, operator, level) in BINARY {
            assert_eq!((operator.text(), operator.level()), (text, level));
        }
    }
}
