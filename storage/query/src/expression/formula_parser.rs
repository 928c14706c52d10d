//! Reading a formula: recursive descent that writes the program as it goes.

use std::collections::HashMap;

use super::{
    ExpressionError, FORMULA_BYTES_MAX, FORMULA_DEPTH_MAX, Formula,
    formula::Instruction,
    formula_token::{Token, tokens},
    formula_value::Operator,
};
use crate::parse_error::excerpt;

pub(super) fn parse(text: &str) -> Result<Formula, ExpressionError> {
    if text.len() > FORMULA_BYTES_MAX {
        return Err(ExpressionError::FormulaTooLong { bytes: text.len() });
    }
    let tokens = tokens(text)?;
    if tokens.is_empty() {
        return Err(ExpressionError::EmptyFormula);
    }
    let mut parser =
        Parser { text, tokens: &tokens, next: 0, depth: 0, program: Vec::new(), variables: HashMap::new() };
    parser.choice()?;
    if parser.next < tokens.len() {
        return Err(parser.unexpected("an operator or the end"));
    }
    if parser.variables.is_empty() {
        return Err(ExpressionError::NoVariables(excerpt(text)));
    }
    let mut variables: Vec<(usize, &str)> = parser.variables.into_iter().map(|(name, index)| (index, name)).collect();
    variables.sort_unstable();
    let variables = variables.into_iter().map(|(_, name)| name.to_owned()).collect();
    Ok(Formula { text: text.to_owned(), program: parser.program, variables })
}

/// The operators that bind alike, from the loosest on.
const LEVELS: [&[Operator]; 6] = [
    &[Operator::Or],
    &[Operator::And],
    &[Operator::Equal, Operator::NotEqual],
    &[Operator::Less, Operator::LessOrEqual, Operator::Greater, Operator::GreaterOrEqual],
    &[Operator::Add, Operator::Subtract],
    &[Operator::Multiply, Operator::Divide, Operator::Remainder],
];

struct Parser<'a> {
    text: &'a str,
    tokens: &'a [(usize, Token<'a>)],
    next: usize,
    depth: usize,
    program: Vec<Instruction>,
    variables: HashMap<&'a str, usize>,
}

impl<'a> Parser<'a> {
    /// `condition ? then : else`, `value ?: otherwise`, or something that binds tighter.
    fn choice(&mut self) -> Result<(), ExpressionError> {
        self.depth += 1;
        if self.depth > FORMULA_DEPTH_MAX {
            let problem = format!("more than {FORMULA_DEPTH_MAX} levels");
            return Err(ExpressionError::syntax(self.text, self.position(), problem));
        }
        self.operators(&LEVELS)?;
        if self.take(Token::Question) {
            self.choice()?;
            if !self.take(Token::Colon) {
                return Err(self.unexpected("`:`"));
            }
            self.choice()?;
            self.program.push(Instruction::Choose);
        } else if self.take(Token::Elvis) {
            self.choice()?;
            self.program.push(Instruction::Otherwise);
        }
        self.depth -= 1;
        Ok(())
    }

    /// Operands joined by operators of the first of `levels`; comparisons join two operands and no more.
    fn operators(&mut self, levels: &[&[Operator]]) -> Result<(), ExpressionError> {
        let Some((level, tighter)) = levels.split_first() else { return self.signed() };
        self.operators(tighter)?;
        while let Some(operator) = self.operator(level) {
            self.next += 1;
            self.operators(tighter)?;
            self.program.push(Instruction::Apply(operator));
            if !operator.chains() {
                break;
            }
        }
        Ok(())
    }

    fn operator(&self, level: &[Operator]) -> Option<Operator> {
        match self.peek()? {
            Token::Operator(operator) if level.contains(&operator) => Some(operator),
            _ => None,
        }
    }

    /// A primary with any number of `-` and `!` before it.
    fn signed(&mut self) -> Result<(), ExpressionError> {
        let mut signs = Vec::new();
        loop {
            match self.peek() {
                Some(Token::Operator(Operator::Subtract)) => signs.push(Instruction::Negate),
                Some(Token::Not) => signs.push(Instruction::Not),
                _ => break,
            }
            self.next += 1;
        }
        self.primary()?;
        self.program.extend(signs.into_iter().rev());
        Ok(())
    }

    fn primary(&mut self) -> Result<(), ExpressionError> {
        match self.peek() {
            Some(Token::Constant(value)) => self.program.push(Instruction::Constant(value)),
            Some(Token::Name(name)) => {
                let next = self.variables.len();
                let index = *self.variables.entry(name).or_insert(next);
                self.program.push(Instruction::Variable(index));
            }
            Some(Token::Open) => {
                self.next += 1;
                self.choice()?;
                return if self.take(Token::Close) { Ok(()) } else { Err(self.unexpected("`)`")) };
            }
            _ => return Err(self.unexpected("a number, a name or `(`")),
        }
        self.next += 1;
        Ok(())
    }

    fn peek(&self) -> Option<Token<'a>> {
        self.tokens.get(self.next).map(|(_, token)| *token)
    }

    fn take(&mut self, token: Token<'_>) -> bool {
        let is_next = self.peek() == Some(token);
        self.next += usize::from(is_next);
        is_next
    }

    fn position(&self) -> usize {
        self.tokens.get(self.next).map_or(self.text.len(), |(position, _)| *position)
    }

    fn unexpected(&self, expected: &str) -> ExpressionError {
        ExpressionError::syntax(self.text, self.position(), format!("expected {expected}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_formula_says_where_it_is_wrong() {
        let check = |text: &str, expect: &str| assert_eq!(parse(text).unwrap_err().to_string(), expect, "{text}");
        check("", "missing or empty expr");
        check("  ", "missing or empty expr");
        check(" a / ", "Failed to parse ` a / `: expected a number, a name or `(` at byte 5");
        check("a b", "Failed to parse `a b`: expected an operator or the end at byte 2");
        check("(a + b", "Failed to parse `(a + b`: expected `)` at byte 6");
        check("a ? b", "Failed to parse `a ? b`: expected `:` at byte 5");
        check("a < b < c", "Failed to parse `a < b < c`: expected an operator or the end at byte 6");
        check("a == b != c", "Failed to parse `a == b != c`: expected an operator or the end at byte 7");
        check("f(a)", "Failed to parse `f(a)`: expected an operator or the end at byte 1");
        check("1 + 1", "The expression didn't appear to have any variables: 1 + 1");
        let long = "a".repeat(FORMULA_BYTES_MAX + 1);
        check(&long, "expression of 16385 bytes, at most 16384 are allowed");
        let deep = format!("{}a", "(".repeat(FORMULA_DEPTH_MAX));
        assert!(parse(&deep).unwrap_err().to_string().contains("more than 64 levels at byte 64"));
    }

    #[test]
    fn long_chains_are_no_deep_nesting() {
        let text = format!("a{}", " + a".repeat(4000));
        assert_eq!(parse(&text).unwrap().evaluate(&[1.0]), 4001.0);
        let signs = format!("{}a", "-".repeat(FORMULA_BYTES_MAX - 1));
        assert_eq!(parse(&signs).unwrap().evaluate(&[1.0]), -1.0);
    }
}
