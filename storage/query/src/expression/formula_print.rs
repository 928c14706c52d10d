//! Writing a formula from its program, with no more parentheses than it needs.

use std::fmt;

use super::{
    Formula,
    formula::Instruction,
    formula_value::{FormulaValue, Operator},
};

/// How tight a text binds: choices least, then operators by their precedence, then signs, then everything else.
const CHOICE: u8 = 0;
const SIGNED: u8 = 7;
const PRIMARY: u8 = 8;

struct Piece {
    text: String,
    binds: u8,
}

impl Piece {
    /// The text as an operand of something that needs operands to bind at least so tight.
    fn at_least(self, binds: u8) -> String {
        if self.binds >= binds { self.text } else { format!("({})", self.text) }
    }
}

impl fmt::Display for Formula {
    /// Writes a formula that reads as the same program.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut stack: Vec<Piece> = Vec::new();
        for instruction in &self.program {
            let mut pop = || stack.pop().unwrap_or(Piece { text: String::new(), binds: PRIMARY });
            let piece = match *instruction {
                Instruction::Constant(value) => Piece { text: constant(value), binds: PRIMARY },
                Instruction::Variable(index) => {
                    Piece { text: self.variables.get(index).cloned().unwrap_or_default(), binds: PRIMARY }
                }
                Instruction::Negate => Piece { text: format!("-{}", pop().at_least(SIGNED)), binds: SIGNED },
                Instruction::Not => Piece { text: format!("!{}", pop().at_least(SIGNED)), binds: SIGNED },
                Instruction::Apply(operator) => {
                    let right = pop();
                    applied(operator, pop(), right)
                }
                Instruction::Choose => {
                    let (otherwise, then, condition) = (pop(), pop(), pop());
                    let condition = condition.at_least(CHOICE + 1);
                    Piece { text: format!("{condition} ? {} : {}", then.text, otherwise.text), binds: CHOICE }
                }
                Instruction::Otherwise => {
                    let (otherwise, value) = (pop(), pop());
                    Piece { text: format!("{} ?: {}", value.at_least(CHOICE + 1), otherwise.text), binds: CHOICE }
                }
            };
            stack.push(piece);
        }
        out.write_str(&stack.pop().map(|piece| piece.text).unwrap_or_default())
    }
}

fn applied(operator: Operator, left: Piece, right: Piece) -> Piece {
    let binds = operator.precedence();
    let of_left = binds + u8::from(!operator.chains());
    let text = format!("{} {} {}", left.at_least(of_left), operator.symbol(), right.at_least(binds + 1));
    Piece { text, binds }
}

fn constant(value: FormulaValue) -> String {
    match value {
        FormulaValue::Bool(truth) => truth.to_string(),
        FormulaValue::Int(int) => int.to_string(),
        // With a point or an exponent, so that it is not read as an integer.
        FormulaValue::Double(double) => format!("{double:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parentheses_are_written_where_they_are_needed() {
        let check = |text: &str, expect: &str| assert_eq!(Formula::parse(text).unwrap().to_string(), expect);
        check("(a+b)*c", "(a + b) * c");
        check("a+(b*c)", "a + b * c");
        check("a-(b-c)", "a - (b - c)");
        check("(a-b)-c", "a - b - c");
        check("(a<b)==(c<d)", "a < b == c < d");
        check("(a<b)<c", "(a < b) < c");
        check("!(a and b) or not c", "!(a && b) || !c");
        check("-(a+1.0)", "-(a + 1.0)");
        check("(a?b:c)?d:e?:f", "(a ? b : c) ? d : e ?: f");
        check("a div 0x10", "a / 16");
    }
}
