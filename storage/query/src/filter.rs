//! Conditions on tags, from their text to the predicate that the index evaluates.

use std::sync::Arc;

use regex::{Regex, RegexBuilder};
use tidemark_model::{TagMatch, TagPredicate, check_name};

use crate::{FilterKind, ParseError, parse_error::excerpt, wildcard::Wildcard};

/// Longest text of one filter in bytes.
pub const FILTER_TEXT_BYTES_MAX: usize = 16 * 1024;

/// Bytes that a compiled regular expression may take.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// A condition on one tag, and whether results are grouped by it.
///
/// Filters on different keys, and several on one key, must all hold. (OpenTSDB makes a union of two `literal_or` on one
/// key, against its documentation; we do as documented.)
#[derive(Clone, Debug)]
pub struct Filter {
    kind: FilterKind,
    key: String,
    text: String,
    group_by: bool,
    matches: TagMatch,
}

impl Filter {
    /// Builds a filter and compiles its text.
    ///
    /// # Errors
    /// An empty key or text, a wildcard without an asterisk, a pattern that does not compile, or a text beyond
    /// [`FILTER_TEXT_BYTES_MAX`].
    pub fn new(kind: FilterKind, key: &str, text: &str, group_by: bool) -> Result<Self, ParseError> {
        if key.is_empty() || (text.is_empty() && kind != FilterKind::NotKey) {
            return Err(ParseError::EmptyFilter(kind.name().to_owned()));
        }
        if text.len() > FILTER_TEXT_BYTES_MAX {
            return Err(ParseError::FilterTooLong { key: excerpt(key), bytes: text.len() });
        }
        let matches = compile(kind, text)?;
        Ok(Self { kind, key: key.to_owned(), text: text.to_owned(), group_by, matches })
    }

    /// Builds the filter that a value of a `tags` map or of a pair of braces means: `web01`, `a|b`, `*`, `web*`, or a
    /// named filter such as `regexp(web0[12])`.
    ///
    /// # Errors
    /// As [`Self::new`]; and an unknown name before a parenthesis.
    pub fn from_tag_value(key: &str, value: &str, group_by: bool) -> Result<Self, ParseError> {
        if key.is_empty() || value.is_empty() {
            return Err(ParseError::InvalidTag(excerpt(&format!("{key}={value}"))));
        }
        if let Some((name, rest)) = value.split_once('(') {
            let text = rest.strip_suffix(')').ok_or_else(|| ParseError::InvalidTag(excerpt(value)))?;
            return Self::new(name.parse()?, key, text, group_by);
        }
        let kind = match value {
            "*" => FilterKind::Wildcard,
            glob if glob.contains('*') => FilterKind::Iwildcard,
            _ => FilterKind::LiteralOr,
        };
        Self::new(kind, key, value, group_by)
    }

    /// The text behind `key=`, in the braces of a metric or in a map `tags`, that lets this one value through: the value
    /// itself, or a pattern where the value has characters that mean something there.
    #[must_use]
    pub fn text_for(value: &str) -> String {
        if check_name(value).is_ok() {
            return value.to_owned();
        }
        let mut pattern = String::from("regexp(^");
        for character in value.chars() {
            match character {
                // Without the character itself, nobody who looks for the end of the filter can take it for that.
                _ if character.is_ascii() && !character.is_ascii_alphanumeric() => {
                    pattern.push_str(&format!("\\x{:02x}", u32::from(character)));
                }
                _ => pattern.push(character),
            }
        }
        pattern.push_str("$)");
        pattern
    }

    /// How it compares.
    #[must_use]
    pub fn kind(&self) -> FilterKind {
        self.kind
    }

    /// The tag key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What the value is compared with.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether there is a result per value of the tag.
    #[must_use]
    pub fn group_by(&self) -> bool {
        self.group_by
    }

    /// The condition for the index.
    #[must_use]
    pub fn predicate(&self) -> TagPredicate {
        TagPredicate { key: self.key.clone(), matches: self.matches.clone() }
    }
}

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        (self.kind, &self.key, &self.text, self.group_by) == (other.kind, &other.key, &other.text, other.group_by)
    }
}

fn compile(kind: FilterKind, text: &str) -> Result<TagMatch, ParseError> {
    Ok(match kind {
        FilterKind::LiteralOr => TagMatch::OneOf(literals(text)),
        FilterKind::IliteralOr => {
            let literals = folded_literals(text);
            matching(move |value| literals.binary_search(&value.to_lowercase()).is_ok())
        }
        FilterKind::NotLiteralOr => {
            let literals = literals(text);
            matching(move |value| literals.binary_search_by(|literal| literal.as_str().cmp(value)).is_err())
        }
        FilterKind::NotIliteralOr => {
            let literals = folded_literals(text);
            matching(move |value| literals.binary_search(&value.to_lowercase()).is_err())
        }
        FilterKind::Wildcard => match compile_wildcard(text)? {
            any if any.is_any() => TagMatch::Any,
            wildcard => matching(move |value| wildcard.matches(value)),
        },
        FilterKind::Iwildcard => match compile_wildcard(&text.to_lowercase())? {
            any if any.is_any() => TagMatch::Any,
            wildcard => matching(move |value| wildcard.matches(&value.to_lowercase())),
        },
        FilterKind::Regexp => {
            let pattern = compile_pattern(text)?;
            matching(move |value| pattern.is_match(value))
        }
        FilterKind::NotKey if text.is_empty() => TagMatch::Absent,
        FilterKind::NotKey => return Err(ParseError::NotKeyWithText(excerpt(text))),
    })
}

fn matching(function: impl Fn(&str) -> bool + Send + Sync + 'static) -> TagMatch {
    TagMatch::Where(Arc::new(function))
}

fn literals(text: &str) -> Vec<String> {
    let mut literals: Vec<String> = text.split('|').filter(|literal| !literal.is_empty()).map(str::to_owned).collect();
    literals.sort_unstable();
    literals.dedup();
    literals
}

fn folded_literals(text: &str) -> Vec<String> {
    literals(&text.to_lowercase())
}

fn compile_wildcard(text: &str) -> Result<Wildcard, ParseError> {
    Wildcard::new(text).ok_or_else(|| ParseError::WildcardWithoutAsterisk(excerpt(text)))
}

fn compile_pattern(text: &str) -> Result<Regex, ParseError> {
    let built = RegexBuilder::new(text).size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX).build();
    built.map_err(|error| {
        // The last line of a syntax error is the sentence; those before it draw a picture.
        let text_of_error = error.to_string();
        let reason = text_of_error.lines().last().unwrap_or_default().trim_start_matches("error: ");
        ParseError::Pattern { pattern: excerpt(text), reason: excerpt(reason) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(filter: &Filter, value: &str) -> bool {
        match filter.predicate().matches {
            TagMatch::Any => true,
            TagMatch::OneOf(values) => values.iter().any(|candidate| candidate == value),
            TagMatch::Where(function) => function(value),
            TagMatch::Absent => false,
        }
    }

    #[test]
    fn each_kind_accepts_what_it_says() {
        let check = |kind: &str, text: &str, accepted: &[&str], refused: &[&str]| {
            let filter = Filter::new(kind.parse().unwrap(), "host", text, false).unwrap();
            accepted.iter().for_each(|value| assert!(accepts(&filter, value), "{kind}({text}) on {value}"));
            refused.iter().for_each(|value| assert!(!accepts(&filter, value), "{kind}({text}) on {value}"));
        };
        check("literal_or", "web01|web02", &["web01", "web02"], &["WEB01", "web03"]);
        check("iliteral_or", "WEB01|Größe", &["web01", "GRÖßE"], &["web02"]);
        check("not_literal_or", "web01|web02", &["WEB01", "x"], &["web01", "web02"]);
        check("not_iliteral_or", "web01", &["x"], &["web01", "WEB01"]);
        check("wildcard", "w*1", &["web01"], &["WEB01"]);
        check("iwildcard", "W*1", &["web01", "WEB01"], &["web02"]);
        check("regexp", "0[12]", &["web01", "x02y"], &["web03"]);
        check("REGEXP", "^0", &["01"], &["10"]);
    }

    #[test]
    fn a_plain_tag_value_means_the_filter_that_opentsdb_takes_it_for() {
        let check = |value: &str, kind: FilterKind, text: &str| {
            let filter = Filter::from_tag_value("host", value, true).unwrap();
            assert_eq!((filter.kind(), filter.text(), filter.group_by()), (kind, text, true), "{value}");
        };
        check("web01", FilterKind::LiteralOr, "web01");
        check("a|b", FilterKind::LiteralOr, "a|b");
        check("*", FilterKind::Wildcard, "*");
        check("va*", FilterKind::Iwildcard, "va*");
        check("regexp(a(b|c))", FilterKind::Regexp, "a(b|c)");
        check("not_key()", FilterKind::NotKey, "");
    }

    #[test]
    fn any_value_can_be_asked_for_by_a_text() {
        assert_eq!(Filter::text_for("web-01/größe"), "web-01/größe");
        assert_eq!(Filter::text_for("a|b"), r"regexp(^a\x7cb$)");
        for value in ["a|b", "*", "x)y", "(", "{}", "a,b=c", r"C:\[d]", "regexp(a)", "21°C 100%", " ", "^a$.+"] {
            let text = format!("none:m{{host={}}}", Filter::text_for(value));
            let parsed = crate::SubQuery::parse(&text).unwrap();
            let filter = parsed.filters().first().unwrap();
            assert!(accepts(filter, value), "{text}");
            for other in [format!("{value}x"), format!("x{value}"), String::from("a"), String::from("b")] {
                assert!(!accepts(filter, &other), "{text} and {other}");
            }
        }
    }

    #[test]
    fn a_wrong_filter_says_what_is_wrong() {
        let check = |value: &str, expect: &str| {
            assert_eq!(Filter::from_tag_value("host", value, true).unwrap_err().to_string(), expect);
        };
        check("foo(x)", "Could not find a tag value filter of the type: foo");
        check("wildcard(x)", "Filter must contain an asterisk: x");
        check("regexp(x", "invalid tag: regexp(x");
        check("regexp([)", "Invalid regular expression '[': unclosed character class");
        check("", "invalid tag: host=");
        check("literal_or()", "Tagk or filter of `literal_or` cannot be null or empty");
        check("not_key(x)", "Filter value must be null or empty for `not_key`, received 'x'");
        let look_around = Filter::from_tag_value("host", "regexp((?=a)b)", true).unwrap_err().to_string();
        assert!(look_around.contains("look-around"), "{look_around}");
        let huge = Filter::from_tag_value("host", "regexp(\\w{1000}{1000})", true).unwrap_err().to_string();
        assert!(huge.contains("size limit"), "{huge}");
    }
}
