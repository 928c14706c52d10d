//! What stands behind operators and selectors: which series belong together, and when.

use super::Parser;
use crate::{
    ParseError,
    lexer::TokenKind,
    syntax::{At, Expression, Many, Matching, When},
};

/// Milliseconds that a range, a step or an offset may have: a thousand years.
const DURATION_MAX: f64 = 1000.0 * 365.0 * 86_400_000.0;
/// Seconds from the epoch that a moment may be away: so that no sum of such times outgrows its type.
const SECONDS_MAX: f64 = 1e12;

impl Parser<'_> {
    /// `bool`, `on (…)` or `ignoring (…)`, `group_left (…)` or `group_right (…)`.
    pub(super) fn binary_modifiers(&mut self) -> Result<(bool, Matching), ParseError> {
        let returns_bool = self.skip_word("bool");
        let mut matching = Matching::default();
        let is_on = self.skip_word("on");
        if !is_on && !self.skip_word("ignoring") {
            return Ok((returns_bool, matching));
        }
        matching.is_on = is_on;
        matching.labels = self.label_names()?;
        let is_left = self.skip_word("group_left");
        if is_left || self.skip_word("group_right") {
            let include = if self.is_symbol("(") { self.label_names()? } else { Vec::new() };
            if let Some(label) = include.iter().find(|label| matching.is_on && matching.labels.contains(label)) {
                return self.error(format!("label {label:?} must not occur in ON and GROUP clause at once"));
            }
            matching.many = Some(Many { is_left, include });
        }
        Ok((returns_bool, matching))
    }

    /// Labels in parentheses.
    pub(super) fn label_names(&mut self) -> Result<Vec<String>, ParseError> {
        self.expect_symbol("(")?;
        let mut labels = Vec::new();
        while !self.skip_symbol(")") {
            match self.peek().clone() {
                TokenKind::Word(word) if !word.contains(':') => labels.push(word),
                TokenKind::Text(text) if !text.is_empty() => labels.push(text),
                _ => return self.unexpected("a label or `)`"),
            }
            self.check_listed(labels.len(), "labels")?;
            self.take();
            if !self.skip_symbol(",") && !self.is_symbol(")") {
                return self.unexpected("`,` or `)`");
            }
        }
        Ok(labels)
    }

    /// Milliseconds: a duration, or a number of seconds.
    pub(super) fn duration(&mut self, is_range: bool) -> Result<i64, ParseError> {
        let place = self.place();
        let milliseconds = match self.peek() {
            TokenKind::Duration(milliseconds) => *milliseconds as f64,
            TokenKind::Number(seconds) => (seconds * 1000.0).round(),
            _ => return self.unexpected("a duration"),
        };
        self.take();
        if is_range && milliseconds < 1.0 {
            return self.error_at(place, "duration must be greater than 0");
        }
        if milliseconds.is_nan() || milliseconds > DURATION_MAX {
            return self.error_at(place, "duration out of range: at most 1000 years are allowed");
        }
        Ok(milliseconds as i64)
    }

    /// `offset 5m`, `@ 1700000000`, `@ start()`.
    pub(super) fn when(&mut self, expression: &mut Expression) -> Result<(), ParseError> {
        let place = self.place();
        let is_offset = self.skip_word("offset");
        if is_offset {
            let is_negative = self.skip_symbol("-");
            if !is_negative {
                self.skip_symbol("+");
            }
            let offset = self.duration(false)?;
            let offset = if is_negative { -offset } else { offset };
            let Some(when) = when_of(expression) else { return self.misplaced(place, "offset") };
            if when.offset != 0 {
                return self.error_at(place, "offset may not be set multiple times");
            }
            when.offset = offset;
            return Ok(());
        }
        self.expect_symbol("@")?;
        let at = self.moment()?;
        let Some(when) = when_of(expression) else { return self.misplaced(place, "@") };
        if when.at.is_some() {
            return self.error_at(place, "@ <timestamp> may not be set multiple times");
        }
        when.at = Some(at);
        Ok(())
    }

    fn misplaced<T>(&self, place: usize, modifier: &str) -> Result<T, ParseError> {
        let text = format!(
            "{modifier} modifier must be preceded by an instant vector selector or range vector selector or a subquery"
        );
        self.error_at(place, text)
    }

    fn moment(&mut self) -> Result<At, ParseError> {
        for (word, at) in [("start", At::Start), ("end", At::End)] {
            if self.skip_word(word) {
                self.expect_symbol("(")?;
                self.expect_symbol(")")?;
                return Ok(at);
            }
        }
        let is_negative = self.skip_symbol("-");
        if !is_negative {
            self.skip_symbol("+");
        }
        let place = self.place();
        let seconds = match self.peek() {
            TokenKind::Number(seconds) => *seconds,
            TokenKind::Duration(milliseconds) => *milliseconds as f64 / 1000.0,
            _ => return self.unexpected("a timestamp, `start()` or `end()`"),
        };
        self.take();
        if seconds.is_nan() || seconds > SECONDS_MAX {
            return self.error_at(place, "timestamp out of bounds for @ modifier");
        }
        let milliseconds = (seconds * 1000.0).round() as i64;
        Ok(At::Time(if is_negative { -milliseconds } else { milliseconds }))
    }
}

/// When something is evaluated that has such a modifier.
fn when_of(expression: &mut Expression) -> Option<&mut When> {
    match expression {
        Expression::Selector(selector) | Expression::Range(selector, _) => Some(&mut selector.when),
        Expression::Subquery(subquery) => Some(&mut subquery.when),
        _ => None,
    }
}
