//! Texts become expressions.
//!
//! By hand, a word at a time. Crates that parse PromQL were looked at: the one there is (`promql-parser` 0.11) panics over
//! `x[1e30]`, takes `x[99999999999y]` for something else, needs time that grows with the square of a chain of operators,
//! and says `invalid promql query` without a place.
//!
//! What is parsed has a bounded depth, so that whatever walks over it may recurse.

mod check;
mod modifiers;
mod selector;

use crate::{
    ParseError,
    functions::{function, why_absent},
    lexer::{Token, TokenKind, excerpt, tokens},
    syntax::{Aggregate, AggregateOperator, Binary, BinaryOperator, Expression, Grouping, Subquery, When},
};

/// Longest expression in bytes.
pub const QUERY_BYTES_MAX: usize = 64 << 10;
/// How many brackets, arguments and right sides may be open at once.
const NESTED_MAX: usize = 64;
/// Labels in a list, arguments of a call and conditions of a selector, each.
const LISTED_MAX: usize = 256;
/// Regular expressions of an expression: each is compiled, and holds memory.
const PATTERNS_MAX: usize = 200;
/// How high the tree of an expression may be; each operator of a chain is one higher than the one before.
pub const HEIGHT_MAX: usize = 200;

/// Reads an expression and checks its types.
///
/// # Errors
/// What is wrong, and where.
pub fn parse(source: &str) -> Result<Expression, ParseError> {
    if source.len() > QUERY_BYTES_MAX {
        let text = format!("the expression has {} bytes, at most {QUERY_BYTES_MAX} are allowed", source.len());
        return Err(ParseError::at(source, 0, text));
    }
    let mut parser = Parser::new(source)?;
    let (expression, _) = parser.expression(0, 0)?;
    parser.end()?;
    Ok(expression)
}

/// Reads a selector of series, as `match[]` has it: without a range and a time.
///
/// # Errors
/// What is wrong, and where.
pub fn parse_series_selector(source: &str) -> Result<Vec<crate::matcher::Matcher>, ParseError> {
    match parse(source)? {
        Expression::Selector(selector) if selector.when == When::default() => Ok(selector.matchers),
        _ => Err(ParseError::at(source, 0, "a selector of series is wanted, such as `metric{label=\"value\"}`")),
    }
}

struct Parser<'a> {
    source: &'a str,
    tokens: Vec<Token>,
    position: usize,
    selectors: usize,
    patterns: usize,
}

/// An expression and how high its tree is.
type Parsed = (Expression, usize);

impl<'a> Parser<'a> {
    fn new(source: &'a str) -> Result<Self, ParseError> {
        Ok(Self { source, tokens: tokens(source)?, position: 0, selectors: 0, patterns: 0 })
    }

    fn peek(&self) -> &TokenKind {
        self.peek_at(0)
    }

    fn peek_at(&self, ahead: usize) -> &TokenKind {
        self.tokens.get(self.position + ahead).map_or(&TokenKind::End, |token| &token.kind)
    }

    fn place(&self) -> usize {
        self.tokens.get(self.position).map_or(self.source.len(), |token| token.start)
    }

    fn take(&mut self) -> TokenKind {
        let kind = self.peek().clone();
        self.position += 1;
        kind
    }

    fn error<T>(&self, text: impl Into<String>) -> Result<T, ParseError> {
        self.error_at(self.place(), text)
    }

    fn error_at<T>(&self, place: usize, text: impl Into<String>) -> Result<T, ParseError> {
        Err(ParseError::at(self.source, place, text))
    }

    fn unexpected<T>(&self, wanted: &str) -> Result<T, ParseError> {
        self.error(format!("unexpected {}, expected {wanted}", self.peek().describe()))
    }

    fn is_symbol(&self, symbol: &str) -> bool {
        matches!(self.peek(), TokenKind::Symbol(next) if *next == symbol)
    }

    fn skip_symbol(&mut self, symbol: &str) -> bool {
        let is_there = self.is_symbol(symbol);
        self.position += usize::from(is_there);
        is_there
    }

    fn expect_symbol(&mut self, symbol: &str) -> Result<(), ParseError> {
        if self.skip_symbol(symbol) { Ok(()) } else { self.unexpected(&format!("`{symbol}`")) }
    }

    fn is_word_at(&self, ahead: usize, word: &str) -> bool {
        matches!(self.peek_at(ahead), TokenKind::Word(next) if next.eq_ignore_ascii_case(word))
    }

    fn skip_word(&mut self, word: &str) -> bool {
        let is_there = self.is_word_at(0, word);
        self.position += usize::from(is_there);
        is_there
    }

    fn end(&self) -> Result<(), ParseError> {
        if *self.peek() == TokenKind::End { Ok(()) } else { self.unexpected("an operator or the end") }
    }

    /// The height of what stands on something so high.
    fn higher(&self, height: usize) -> Result<usize, ParseError> {
        if height < HEIGHT_MAX {
            return Ok(height + 1);
        }
        self.error(format!(
            "the expression is too complex: more than {HEIGHT_MAX} operators or calls stand on each other"
        ))
    }

    /// An expression whose operators all bind tighter than `above`. `outer` is how many others are open around it.
    fn expression(&mut self, above: u8, outer: usize) -> Result<Parsed, ParseError> {
        if outer >= NESTED_MAX {
            return self.error(format!("expressions lie more than {NESTED_MAX} deep in each other"));
        }
        let outer = outer + 1;
        let (mut left, mut height) = self.signed(outer)?;
        loop {
            let operator = match self.peek() {
                TokenKind::Symbol(symbol) => BinaryOperator::of(symbol),
                TokenKind::Word(word) => BinaryOperator::of(word),
                _ => None,
            };
            let Some(operator) = operator.filter(|operator| operator.precedence() > above) else {
                return Ok((left, height));
            };
            let place = self.place();
            self.take();
            let (returns_bool, matching) = self.binary_modifiers()?;
            // A power is taken of what follows; all others from left to right.
            let binds = operator.precedence() - u8::from(operator == BinaryOperator::Power);
            let (right, right_height) = self.expression(binds, outer)?;
            height = self.higher(height.max(right_height))?;
            let binary = Binary { operator, left, right, returns_bool, matching };
            left = Expression::Binary(Box::new(self.checked_binary(place, binary)?));
        }
    }

    /// A sign binds as multiplication does: `-a ^ b` is `-(a ^ b)`.
    fn signed(&mut self, outer: usize) -> Result<Parsed, ParseError> {
        let place = self.place();
        let is_minus = self.is_symbol("-");
        if !is_minus && !self.is_symbol("+") {
            return self.postfixed(outer);
        }
        self.take();
        let (inner, height) = self.expression(BinaryOperator::Multiply.precedence(), outer)?;
        self.check_sign(place, &inner)?;
        let signed = match inner {
            Expression::Number(number) => Expression::Number(if is_minus { -number } else { number }),
            inner => Expression::Sign(is_minus, Box::new(inner)),
        };
        Ok((signed, self.higher(height)?))
    }

    /// An expression with what stands behind it: ranges, steps, `offset`, `@`.
    fn postfixed(&mut self, outer: usize) -> Result<Parsed, ParseError> {
        let place = self.place();
        let (mut expression, mut height) = self.primary(outer)?;
        loop {
            if self.is_symbol("[") {
                height = self.higher(height)?;
                expression = self.range(place, expression)?;
            } else if self.is_word_at(0, "offset") || self.is_symbol("@") {
                self.when(&mut expression)?;
            } else {
                return Ok((expression, height));
            }
        }
    }

    fn range(&mut self, place: usize, expression: Expression) -> Result<Expression, ParseError> {
        self.expect_symbol("[")?;
        let range = self.duration(true)?;
        if self.skip_symbol(":") {
            let step = if self.is_symbol("]") { None } else { Some(self.duration(true)?) };
            self.expect_symbol("]")?;
            let expression = self.checked_subquery(place, expression)?;
            return Ok(Expression::Subquery(Box::new(Subquery { expression, range, step, when: When::default() })));
        }
        self.expect_symbol("]")?;
        match expression {
            Expression::Selector(selector) if selector.when.at.is_some() => {
                self.error_at(place, "no @ modifiers allowed before range")
            }
            Expression::Selector(selector) if selector.when.offset != 0 => {
                self.error_at(place, "no offset modifiers allowed before range")
            }
            Expression::Selector(selector) => Ok(Expression::Range(selector, range)),
            _ => self.error_at(place, "ranges only allowed for vector selectors; a subquery is `[range:step]`"),
        }
    }

    fn primary(&mut self, outer: usize) -> Result<Parsed, ParseError> {
        let place = self.place();
        match self.peek().clone() {
            TokenKind::Number(number) => {
                self.take();
                Ok((Expression::Number(number), 1))
            }
            TokenKind::Duration(milliseconds) => {
                self.take();
                Ok((Expression::Number(milliseconds as f64 / 1000.0), 1))
            }
            TokenKind::Text(text) => {
                self.take();
                Ok((Expression::Text(text), 1))
            }
            TokenKind::Symbol("(") => {
                self.take();
                let (inner, height) = self.expression(0, outer)?;
                self.expect_symbol(")")?;
                Ok((Expression::Group(Box::new(inner)), self.higher(height)?))
            }
            TokenKind::Symbol("{") => Ok((self.selector(None)?, 1)),
            TokenKind::Word(word) => self.word(place, &word, outer),
            _ => self.unexpected("an expression"),
        }
    }

    /// A number, an aggregation, a function or the name of a metric.
    fn word(&mut self, place: usize, word: &str, outer: usize) -> Result<Parsed, ParseError> {
        let is_called = matches!(self.peek_at(1), TokenKind::Symbol("("));
        let lower = word.to_ascii_lowercase();
        let is_grouped = self.is_word_at(1, "by") || self.is_word_at(1, "without");
        if is_called || is_grouped {
            if let Some(operator) = AggregateOperator::ALL.into_iter().find(|operator| operator.name() == lower) {
                self.take();
                return self.aggregate(place, operator, outer);
            }
            if lower == "limit_ratio" {
                return self.error("`limit_ratio` is not there: which series it takes depends on Prometheus' hashes");
            }
        }
        if is_called {
            return self.call(place, word, outer);
        }
        match lower.as_str() {
            "inf" | "nan" if !matches!(self.peek_at(1), TokenKind::Symbol("{")) => {
                self.take();
                Ok((Expression::Number(if lower == "inf" { f64::INFINITY } else { f64::NAN }), 1))
            }
            "and" | "or" | "unless" | "atan2" | "bool" | "on" | "ignoring" | "group_left" | "group_right"
            | "offset" => self.unexpected("an expression"),
            _ => {
                self.take();
                Ok((self.selector(Some(word.to_owned()))?, 1))
            }
        }
    }

    fn call(&mut self, place: usize, name: &str, outer: usize) -> Result<Parsed, ParseError> {
        let Some(function) = function(name) else {
            let text = match why_absent(name) {
                Some(why) => format!("function `{name}` is not there: {why}"),
                None => format!("unknown function with name {:?}", excerpt(name)),
            };
            return self.error(text);
        };
        self.take();
        let (arguments, height) = self.arguments(outer)?;
        self.check_call(place, function, &arguments)?;
        Ok((Expression::Call(function, arguments), self.higher(height)?))
    }

    /// Whether so many may be listed.
    fn check_listed(&self, count: usize, what: &str) -> Result<(), ParseError> {
        if count <= LISTED_MAX {
            Ok(())
        } else {
            self.error(format!("there are more than {LISTED_MAX} {what} in a list"))
        }
    }

    fn arguments(&mut self, outer: usize) -> Result<(Vec<Expression>, usize), ParseError> {
        self.expect_symbol("(")?;
        let (mut arguments, mut height) = (Vec::new(), 0);
        if self.skip_symbol(")") {
            return Ok((arguments, height));
        }
        loop {
            let (argument, argument_height) = self.expression(0, outer)?;
            arguments.push(argument);
            self.check_listed(arguments.len(), "arguments")?;
            height = height.max(argument_height);
            if self.skip_symbol(")") {
                return Ok((arguments, height));
            }
            if !self.skip_symbol(",") {
                return self.unexpected("`,` or `)`");
            }
        }
    }

    /// The labels may stand in front of the arguments or behind them.
    fn aggregate(&mut self, place: usize, operator: AggregateOperator, outer: usize) -> Result<Parsed, ParseError> {
        let mut grouping = self.grouping()?;
        let (arguments, height) = self.arguments(outer)?;
        if grouping.is_none() {
            grouping = self.grouping()?;
        }
        let aggregate = self.checked_aggregate(place, operator, arguments, grouping)?;
        Ok((Expression::Aggregate(Box::new(aggregate)), self.higher(height)?))
    }

    fn grouping(&mut self) -> Result<Option<Grouping>, ParseError> {
        let is_by = self.skip_word("by");
        if !is_by && !self.skip_word("without") {
            return Ok(None);
        }
        Ok(Some(Grouping { is_by, labels: self.label_names()? }))
    }

    fn checked_aggregate(
        &self,
        place: usize,
        operator: AggregateOperator,
        arguments: Vec<Expression>,
        grouping: Option<Grouping>,
    ) -> Result<Aggregate, ParseError> {
        let wanted = 1 + usize::from(operator.parameter().is_some());
        let count = arguments.len();
        let mut arguments = arguments.into_iter().rev();
        match (arguments.next(), arguments.next()) {
            (Some(expression), parameter) if count == wanted => {
                let aggregate = Aggregate { operator, expression, parameter, grouping };
                self.check_aggregate(place, &aggregate)?;
                Ok(aggregate)
            }
            _ => {
                let text = format!(
                    "wrong number of arguments for aggregate expression provided, expected {wanted}, got {count}"
                );
                self.error_at(place, text)
            }
        }
    }
}

#[cfg(test)]
mod tests;
