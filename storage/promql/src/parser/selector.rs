//! `metric{label="value"}`, and names with any characters in quotes.

use super::{PATTERNS_MAX, Parser};
use crate::{
    ParseError,
    labels::METRIC_NAME,
    lexer::TokenKind,
    matcher::{MatchKind, Matcher},
    syntax::{Expression, Selector, When},
};

impl Parser<'_> {
    /// A selector, whose metric may have been read already.
    pub(super) fn selector(&mut self, mut metric: Option<String>) -> Result<Expression, ParseError> {
        let place = self.place();
        let mut matchers = Vec::new();
        if self.skip_symbol("{") {
            while !self.skip_symbol("}") {
                self.matcher(&mut metric, &mut matchers)?;
                self.check_listed(matchers.len(), "conditions")?;
                if !self.skip_symbol(",") && !self.is_symbol("}") {
                    return self.unexpected("`,` or `}`");
                }
            }
        }
        if let Some(metric) = &metric {
            let named = matchers.iter().find(|matcher| matcher.is_of_metric());
            if let Some(named) = named.filter(|named| named.kind == MatchKind::Equal) {
                let text = format!("metric name must not be set twice: {metric:?} or {:?}", named.value);
                return self.error_at(place, text);
            }
            let of_metric = Matcher::new(METRIC_NAME, MatchKind::Equal, metric.as_str());
            matchers.push(of_metric.map_err(|error| ParseError::at(self.source, place, error))?);
        }
        if matchers.iter().all(|matcher| matcher.matches("")) {
            return self.error_at(place, "vector selector must contain at least one non-empty matcher");
        }
        let id = self.selectors;
        self.selectors += 1;
        Ok(Expression::Selector(Selector { id, matchers, when: When::default() }))
    }

    /// A condition, or the metric in quotes.
    fn matcher(&mut self, metric: &mut Option<String>, matchers: &mut Vec<Matcher>) -> Result<(), ParseError> {
        let place = self.place();
        let (name, is_quoted) = match self.peek().clone() {
            TokenKind::Word(word) if !word.contains(':') => (word, false),
            TokenKind::Text(text) => (text, true),
            _ => return self.unexpected("a label, a metric in quotes or `}`"),
        };
        self.take();
        let kind = match self.peek() {
            TokenKind::Symbol("=") => MatchKind::Equal,
            TokenKind::Symbol("!=") => MatchKind::NotEqual,
            TokenKind::Symbol("=~") => MatchKind::Pattern,
            TokenKind::Symbol("!~") => MatchKind::NotPattern,
            _ if is_quoted => {
                if let Some(known) = metric {
                    return self.error_at(place, format!("metric name must not be set twice: {known:?} or {name:?}"));
                }
                *metric = Some(name);
                return Ok(());
            }
            _ => return self.unexpected("`=`, `!=`, `=~` or `!~`"),
        };
        self.take();
        let place = self.place();
        let TokenKind::Text(value) = self.peek().clone() else { return self.unexpected("a text in quotes") };
        self.take();
        if matches!(kind, MatchKind::Pattern | MatchKind::NotPattern) {
            self.patterns += 1;
            if self.patterns > PATTERNS_MAX {
                let text = format!("there are more than {PATTERNS_MAX} regular expressions");
                return self.error_at(place, text);
            }
        }
        matchers.push(Matcher::new(name, kind, value).map_err(|error| ParseError::at(self.source, place, error))?);
        Ok(())
    }
}
