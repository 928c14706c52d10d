//! Tokens become a tree whose types are checked.
//!
//! Precedence climbing by hand rather than a parser generator: fourteen operators and one kind of call need no more,
//! and errors can say what was expected where.

use std::sync::Arc;

use crate::{
    expression::{
        ExpressionLimits, ValueType,
        error::{ParseError, ParseErrorKind},
        functions::{self, Function},
        lexer::{Token, TokenKind, tokens},
        operator::{BinaryOperator, UnaryOperator},
        position::{Position, Span},
        syntax::{Node, NodeKind},
        tag_keys,
    },
    suggestion::most_similar,
};

/// Reads a text.
///
/// # Errors
/// Names the first place that is wrong and what was expected there.
pub(crate) fn parse(text: &str, limits: &ExpressionLimits) -> Result<Node, ParseError> {
    let mut parser = Parser { text, tokens: Vec::new(), at: 0, limits, nesting: 0, in_lambda: false };
    if text.len() > limits.text_bytes_max {
        let reason = ParseErrorKind::TooLong { bytes: text.len(), limit: limits.text_bytes_max };
        return Err(parser.error(0, reason));
    }
    parser.tokens = tokens(text)?;
    let root = parser.expression(1)?;
    parser.expect(&TokenKind::End, "an operator or the end")?;
    match root.value_type {
        ValueType::Text if matches!(root.kind, NodeKind::Text(_)) => {
            Err(parser.error(root.span.start, ParseErrorKind::TextAlone))
        }
        _ => Ok(root),
    }
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    at: usize,
    limits: &'a ExpressionLimits,
    /// Levels of recursion, so that the stack is bounded while the tree is not built yet.
    nesting: usize,
    in_lambda: bool,
}

impl Parser<'_> {
    fn peek(&self) -> Token {
        let end = self.text.len();
        self.tokens.get(self.at).cloned().unwrap_or(Token { kind: TokenKind::End, span: end..end })
    }

    fn next(&mut self) -> Token {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn expect(&mut self, kind: &TokenKind, expected: &str) -> Result<Token, ParseError> {
        let token = self.next();
        if token.kind == *kind { Ok(token) } else { Err(self.unexpected(&token, expected)) }
    }

    /// An expression whose operators all bind at least as tightly as `level`.
    fn expression(&mut self, level: u8) -> Result<Node, ParseError> {
        self.nesting += 1;
        if self.nesting > self.limits.depth_max {
            return Err(self.error(self.peek().span.start, ParseErrorKind::TooDeep { limit: self.limits.depth_max }));
        }
        let mut left = self.operand()?;
        while let Some(operator) = self.operator_of_at_least(level) {
            let at = self.next().span;
            let right = self.expression(operator.level() + 1)?;
            left = self.binary(operator, at, left, right)?;
        }
        self.nesting -= 1;
        Ok(left)
    }

    fn operator_of_at_least(&self, level: u8) -> Option<BinaryOperator> {
        match self.peek().kind {
            TokenKind::Operator(text) => BinaryOperator::from_text(text).filter(|operator| operator.level() >= level),
            _ => None,
        }
    }

    /// A literal, a call, something in parentheses, or an operator with one side and its operand.
    fn operand(&mut self) -> Result<Node, ParseError> {
        const EXPECTED: &str = "a number, a function, `(`, `!` or `-`";
        let token = self.next();
        let span = token.span.clone();
        match token.kind {
            TokenKind::Number(number) => self.node(NodeKind::Number(number), span, ValueType::Scalar),
            TokenKind::Text(text) => self.node(NodeKind::Text(Arc::from(text)), span, ValueType::Text),
            TokenKind::Open => {
                let inside = self.expression(1)?;
                self.expect(&TokenKind::Close, "an operator or `)`")?;
                Ok(inside)
            }
            TokenKind::Name(ref name) => self.call(name, span),
            TokenKind::Operator(text) => match UnaryOperator::from_text(text) {
                Some(operator) => self.unary(operator, span),
                None => Err(self.unexpected(&token, EXPECTED)),
            },
            TokenKind::OpenBracket => Err(self.error(
                span.start,
                ParseErrorKind::Unexpected {
                    expected: EXPECTED.to_owned(),
                    found: "`[`; no function that takes a prefix such as `[\"cluster\"]` is available".to_owned(),
                },
            )),
            _ => Err(self.unexpected(&token, EXPECTED)),
        }
    }

    fn unary(&mut self, operator: UnaryOperator, at: Span) -> Result<Node, ParseError> {
        self.nesting += 1;
        if self.nesting > self.limits.depth_max {
            return Err(self.error(at.start, ParseErrorKind::TooDeep { limit: self.limits.depth_max }));
        }
        let operand = self.operand()?;
        self.nesting -= 1;
        self.check_operand(operator.text(), &at, &operand)?;
        let (span, value_type) = (at.start..operand.span.end, operand.value_type);
        self.node(NodeKind::Unary { operator, operand: Box::new(operand) }, span, value_type)
    }

    fn binary(&self, operator: BinaryOperator, at: Span, left: Node, right: Node) -> Result<Node, ParseError> {
        self.check_operand(operator.text(), &at, &left)?;
        self.check_operand(operator.text(), &at, &right)?;
        let span = left.span.start..right.span.end;
        let (left_keys, right_keys) = (self.tag_keys(&left)?, self.tag_keys(&right)?);
        if !left_keys.is_subset(&right_keys) && !right_keys.is_subset(&left_keys) {
            let expression = self.text.get(span.clone()).unwrap_or_default().to_owned();
            let reason = ParseErrorKind::IncompatibleTags { left: left_keys, right: right_keys, expression };
            return Err(self.error(at.start, reason));
        }
        let value_type = left.value_type.max(right.value_type);
        self.node(NodeKind::Binary { operator, left: Box::new(left), right: Box::new(right) }, span, value_type)
    }

    fn check_operand(&self, operator: &'static str, at: &Span, operand: &Node) -> Result<(), ParseError> {
        match operand.value_type {
            ValueType::Scalar | ValueType::Numbers | ValueType::Series => Ok(()),
            found => Err(self.error(at.start, ParseErrorKind::OperandType { operator, found })),
        }
    }

    fn call(&mut self, name: &str, at: Span) -> Result<Node, ParseError> {
        match name {
            "expr" => return self.lambda(at),
            "v" => return self.point(at),
            _ => {}
        }
        let Some(function) = functions::find(name) else {
            let similar = most_similar(name, functions::names()).map(str::to_owned);
            return Err(self.error(at.start, ParseErrorKind::UnknownFunction { name: name.to_owned(), similar }));
        };
        let arguments = self.arguments()?;
        let end =
            self.at.checked_sub(1).and_then(|before| self.tokens.get(before)).map_or(at.end, |token| token.span.end);
        self.check_arguments(function, &at, &arguments)?;
        let value_type = function.value_type(&arguments);
        let node = self.node(NodeKind::Call { function, arguments }, at.start..end, value_type)?;
        self.check_call(function, &node)?;
        Ok(node)
    }

    fn arguments(&mut self) -> Result<Vec<Node>, ParseError> {
        self.expect(&TokenKind::Open, "`(`")?;
        let mut arguments = Vec::new();
        if self.peek().kind == TokenKind::Close {
            self.next();
            return Ok(arguments);
        }
        loop {
            arguments.push(self.expression(1)?);
            let token = self.next();
            match token.kind {
                TokenKind::Comma => {}
                TokenKind::Close => return Ok(arguments),
                _ => return Err(self.unexpected(&token, "an operator, `,` or `)`")),
            }
        }
    }

    fn check_arguments(&self, function: &'static Function, at: &Span, arguments: &[Node]) -> Result<(), ParseError> {
        if !function.accepts_count(arguments.len()) {
            let reason = ParseErrorKind::ArgumentCount {
                function: function.name,
                expected: function.count_text(),
                found: arguments.len(),
            };
            return Err(self.error(at.start, reason));
        }
        for (index, argument) in arguments.iter().enumerate() {
            let expected = function.argument_type(index);
            if !expected.is_some_and(|expected| expected.accepts(argument.value_type)) {
                let reason = ParseErrorKind::ArgumentType {
                    function: function.name,
                    argument: index + 1,
                    expected: expected.map(|expected| expected.to_string()).unwrap_or_default(),
                    found: argument.value_type,
                };
                return Err(self.error(argument.span.start, reason));
            }
        }
        Ok(())
    }

    /// What can be told of literal arguments, such as the text of a query, before anything is evaluated.
    fn check_call(&self, function: &'static Function, node: &Node) -> Result<(), ParseError> {
        let NodeKind::Call { arguments, .. } = &node.kind else {
            return Ok(());
        };
        function.check(arguments).map_err(|(index, reason)| {
            let start = arguments.get(index).map_or(node.span.start, |argument| argument.span.start);
            self.error(start, ParseErrorKind::Argument { function: function.name, reason })
        })
    }

    /// `expr(…)`: a number for each point of `map`.
    fn lambda(&mut self, at: Span) -> Result<Node, ParseError> {
        self.expect(&TokenKind::Open, "`(`")?;
        let outer = std::mem::replace(&mut self.in_lambda, true);
        let inside = self.expression(1)?;
        self.in_lambda = outer;
        let end = self.expect(&TokenKind::Close, "an operator or `)`")?.span.end;
        if !matches!(inside.value_type, ValueType::Scalar | ValueType::Numbers) {
            let reason = ParseErrorKind::ArgumentType {
                function: "expr",
                argument: 1,
                expected: "number".to_owned(),
                found: inside.value_type,
            };
            return Err(self.error(inside.span.start, reason));
        }
        self.node(NodeKind::Lambda(Box::new(inside)), at.start..end, ValueType::Lambda)
    }

    fn point(&mut self, at: Span) -> Result<Node, ParseError> {
        if !self.in_lambda {
            return Err(self.error(at.start, ParseErrorKind::PointOutsideMap));
        }
        self.expect(&TokenKind::Open, "`(`")?;
        let end = self.expect(&TokenKind::Close, "`)`")?.span.end;
        self.node(NodeKind::Point, at.start..end, ValueType::Scalar)
    }

    fn tag_keys(&self, node: &Node) -> Result<tag_keys::TagKeys, ParseError> {
        tag_keys::of(node).map_err(|error| {
            let reason = ParseErrorKind::Argument { function: error.function, reason: error.reason };
            self.error(error.span.start, reason)
        })
    }

    fn node(&self, kind: NodeKind, span: Span, value_type: ValueType) -> Result<Node, ParseError> {
        let mut node = Node { kind, span, value_type, depth: 1 };
        node.depth += node.children().iter().map(|child| child.depth).max().unwrap_or_default();
        if node.depth > self.limits.depth_max {
            return Err(self.error(node.span.start, ParseErrorKind::TooDeep { limit: self.limits.depth_max }));
        }
        Ok(node)
    }

    fn unexpected(&self, token: &Token, expected: &str) -> ParseError {
        let reason = ParseErrorKind::Unexpected { expected: expected.to_owned(), found: token.kind.describe() };
        self.error(token.span.start, reason)
    }

    fn error(&self, at: usize, reason: ParseErrorKind) -> ParseError {
        ParseError { position: Position::of(self.text, at), reason }
    }
}
