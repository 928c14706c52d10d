//! Conditions on labels.

use std::{fmt, sync::Arc};

use regex::{Regex, RegexBuilder};

use crate::{labels::METRIC_NAME, text::quote};

/// Longest regular expression.
const PATTERN_BYTES_MAX: usize = 16 << 10;
/// What a compiled regular expression may hold.
const PATTERN_MEMORY_MAX: usize = 1 << 20;

/// How the value of a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MatchKind {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Pattern,
    /// `!~`
    NotPattern,
}

impl MatchKind {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Pattern => "=~",
            Self::NotPattern => "!~",
        }
    }
}

/// A condition on the value of one label; a label that is not there has an empty value.
#[derive(Clone, Debug)]
pub struct Matcher {
    /// The label.
    pub name: String,
    /// How it is compared.
    pub kind: MatchKind,
    /// With what.
    pub value: String,
    pattern: Option<Arc<Regex>>,
}

impl Matcher {
    /// A condition. Patterns must match the whole value.
    ///
    /// # Errors
    /// What is wrong with the pattern.
    pub fn new(name: impl Into<String>, kind: MatchKind, value: impl Into<String>) -> Result<Self, String> {
        let value = value.into();
        let pattern = match kind {
            MatchKind::Equal | MatchKind::NotEqual => None,
            MatchKind::Pattern | MatchKind::NotPattern => Some(Arc::new(anchored(&value)?)),
        };
        Ok(Self { name: name.into(), kind, value, pattern })
    }

    /// Whether a value fulfils it.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        let is_match = self.pattern.as_ref().map_or(value == self.value, |pattern| pattern.is_match(value));
        is_match == matches!(self.kind, MatchKind::Equal | MatchKind::Pattern)
    }

    /// Whether it is about the metric.
    #[must_use]
    pub fn is_of_metric(&self) -> bool {
        self.name == METRIC_NAME
    }
}

/// A regular expression that must match a whole text.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn anchored(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(format!(
            "the regular expression has {} bytes, at most {PATTERN_BYTES_MAX} are allowed",
            pattern.len()
        ));
    }
    // Compiled by itself first, or `a)(b` would be two groups of ours.
    compile(pattern)?;
    compile(&format!("^(?s:{pattern})$"))
}

fn compile(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern).size_limit(PATTERN_MEMORY_MAX).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "the regular expression is too large when compiled".to_owned(),
        // The last line says what is wrong, those before point at it.
        other => {
            let text = other.to_string();
            format!("invalid regular expression: {}", text.lines().last().unwrap_or_default().trim())
        }
    })
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.kind, &self.value) == (&other.name, other.kind, &other.value)
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_plain_label(&self.name) {
            out.write_str(&self.name)?;
        } else {
            out.write_str(&quote(&self.name))?;
        }
        write!(out, "{}{}", self.kind.as_str(), quote(&self.value))
    }
}

/// Whether a label can be written without quotes.
#[must_use]
pub(crate) fn is_plain_label(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Whether a metric can be written without quotes.
#[must_use]
pub(crate) fn is_plain_metric(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || matches!(first, b'_' | b':'))
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_values() {
        let matches = |kind, value: &str, of: &str| Matcher::new("l", kind, value).unwrap().matches(of);
        assert!(matches(MatchKind::Pattern, "a|b", "b") && !matches(MatchKind::Pattern, "a|b", "ab"));
        assert!(matches(MatchKind::Pattern, "a.b", "a\nb"));
        assert!(matches(MatchKind::NotPattern, "a.*", "ba") && !matches(MatchKind::NotPattern, "a.*", "ab"));
        assert!(matches(MatchKind::Pattern, "", "") && matches(MatchKind::NotEqual, "a", ""));
    }

    #[test]
    fn wrong_and_large_patterns_are_refused() {
        for pattern in ["[", "a)(b", "(?:x{1000}){1000}"] {
            assert!(Matcher::new("l", MatchKind::Pattern, pattern).is_err(), "{pattern}");
        }
        assert!(Matcher::new("l", MatchKind::Pattern, "x".repeat(20_000)).is_err());
    }

    #[test]
    fn names_with_other_characters_are_quoted() {
        let check = |name: &str, expect: &str| {
            assert_eq!(Matcher::new(name, MatchKind::NotEqual, "a\"").unwrap().to_string(), expect);
        };
        check("host", r#"host!="a\"""#);
        check("os.type", r#""os.type"!="a\"""#);
        assert!(is_plain_metric("job:x_1") && !is_plain_metric("os.cpu") && !is_plain_label("a:b"));
    }
}
