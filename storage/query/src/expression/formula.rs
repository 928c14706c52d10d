//! A formula over variables: `a + b * 2 > c ? a : 0`.

use std::str::FromStr;

use super::{
    ExpressionError,
    formula_parser::parse,
    formula_value::{FormulaValue, Operator},
};

/// Longest text of one formula in bytes.
pub const FORMULA_BYTES_MAX: usize = 16 * 1024;

/// How deep parentheses, signs and choices of a formula may be nested.
pub const FORMULA_DEPTH_MAX: usize = 64;

/// A formula that was read: a program for a stack machine.
///
/// The language is the part of JEXL that computes: `+ - * / %` (also `div`, `mod`), `== != < > <= >=` (also `eq`, `ne`,
/// `lt`, `gt`, `le`, `ge`), `&& || !` (also `and`, `or`, `not`), a minus sign, `condition ? then : else`, `value ?: otherwise`,
/// parentheses, numbers, `true`, `false`, and names. Nothing of it can have an effect beside its value, so that both sides
/// of a choice are evaluated and one is taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Formula {
    pub(super) text: String,
    pub(super) program: Vec<Instruction>,
    /// In the order in which they first appear.
    pub(super) variables: Vec<String>,
}

/// A step of the machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Instruction {
    Constant(FormulaValue),
    /// The value of the variable at this position of [`Formula::variables`].
    Variable(usize),
    Negate,
    Not,
    Apply(Operator),
    /// Takes the third last value as a condition and leaves one of the last two.
    Choose,
    /// Leaves the second last value if it is true, or else the last.
    Otherwise,
}

impl Formula {
    /// Reads a formula.
    ///
    /// # Errors
    /// [`ExpressionError::Syntax`] with the place; an empty text, a text beyond [`FORMULA_BYTES_MAX`], and a formula
    /// without any variable.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        parse(text)
    }

    /// The names with an operator between them, from left to right.
    pub(super) fn chain(operator: Operator, names: &[String]) -> Self {
        let separator = format!(" {} ", operator.symbol());
        let mut program = Vec::new();
        for index in 0..names.len() {
            program.push(Instruction::Variable(index));
            if index > 0 {
                program.push(Instruction::Apply(operator));
            }
        }
        Self { text: names.join(&separator), program, variables: names.to_vec() }
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The names in it, each once, in the order in which they first appear.
    #[must_use]
    pub fn variables(&self) -> &[String] {
        &self.variables
    }

    /// Its value for one value of each variable, in the order of [`Self::variables`]. Truth is 1 and 0.
    #[must_use]
    pub fn evaluate(&self, variables: &[f64]) -> f64 {
        self.run(variables, &mut Vec::new())
    }

    /// As [`Self::evaluate`], with a stack that is used again.
    pub(super) fn run(&self, variables: &[f64], stack: &mut Vec<FormulaValue>) -> f64 {
        stack.clear();
        for instruction in &self.program {
            let value = match *instruction {
                Instruction::Constant(value) => value,
                Instruction::Variable(index) => FormulaValue::Double(variables.get(index).copied().unwrap_or(f64::NAN)),
                Instruction::Negate => pop(stack).negate(),
                Instruction::Not => FormulaValue::Bool(!pop(stack).is_true()),
                Instruction::Apply(operator) => {
                    let right = pop(stack);
                    operator.apply(pop(stack), right)
                }
                Instruction::Choose => {
                    let (otherwise, then) = (pop(stack), pop(stack));
                    if pop(stack).is_true() { then } else { otherwise }
                }
                Instruction::Otherwise => {
                    let (otherwise, value) = (pop(stack), pop(stack));
                    if value.is_true() { value } else { otherwise }
                }
            };
            stack.push(value);
        }
        pop(stack).double()
    }
}

/// The parser leaves no program that takes from an empty stack.
fn pop(stack: &mut Vec<FormulaValue>) -> FormulaValue {
    stack.pop().unwrap_or(FormulaValue::Double(f64::NAN))
}

impl FromStr for Formula {
    type Err = ExpressionError;

    fn from_str(text: &str) -> Result<Self, ExpressionError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_bind_as_in_jexl() {
        let check = |text: &str, variables: &[f64], expect: f64| {
            let found = Formula::parse(text).unwrap().evaluate(variables);
            assert!(found == expect || found.is_nan() && expect.is_nan(), "{text}: {found}");
        };
        check("a + b * b", &[1.0, 11.0], 122.0);
        check("(a + b) * b", &[1.0, 11.0], 132.0);
        check("a - b - a", &[5.0, 3.0], -3.0);
        check("a / b / a", &[8.0, 2.0], 0.5);
        check("a % b", &[7.0, 4.0], 3.0);
        check("a / 0", &[7.0], 0.0);
        check("-a + b", &[1.0, 3.0], 2.0);
        check("- -a", &[1.0], 1.0);
        check("a + 1 / 2", &[1.0], 1.0);
        check("a + 1 / 2.0", &[1.0], 1.5);
        check("a > b", &[2.0, 1.0], 1.0);
        check("a < b", &[2.0, 1.0], 0.0);
        check("a > 1 && b > 1", &[2.0, 1.0], 0.0);
        check("a > 1 || b > 1 && false", &[2.0, 1.0], 1.0);
        check("not (a ge 2) or b", &[2.0, 0.0], 0.0);
        check("a + 1 == b", &[2.0, 3.0], 1.0);
        check("!a == b", &[0.0, 5.0], 1.0);
        check("a > b ? a : b", &[2.0, 3.0], 3.0);
        check("a > b ? a : a < 0 ? 0 : 7", &[2.0, 3.0], 7.0);
        check("a ?: b", &[0.0, 3.0], 3.0);
        check("a ?: b", &[f64::NAN, 3.0], 3.0);
        check("a + b", &[f64::NAN, 3.0], f64::NAN);
        check("(a > 1) + (b > 1)", &[2.0, 3.0], 2.0);
    }

    #[test]
    fn variables_are_listed_once() {
        let formula = Formula::parse("b + a * b").unwrap();
        assert_eq!(formula.variables(), ["b", "a"]);
        assert_eq!(formula.text(), "b + a * b");
    }
}
