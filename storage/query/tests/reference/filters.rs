//! Which series a sub-query is about.

use std::collections::BTreeSet;

use tidemark_model::{SeriesKey, Tsuid};
use tidemark_query::{Filter, FilterKind, Source, SubQuery};

/// A regular expression and what it finds, since nothing obvious evaluates one.
type Pattern = (&'static str, fn(&str) -> bool);

pub(crate) const PATTERNS: [Pattern; 6] = [
    ("^web", |value| value.starts_with("web")),
    ("1$", |value| value.ends_with('1')),
    ("b0[12]", |value| value.contains("b01") || value.contains("b02")),
    (".", |value| !value.is_empty()),
    ("^(db|WEB)", |value| value.starts_with("db") || value.starts_with("WEB")),
    ("x{2}", |value| value.contains("xx")),
];

/// Whether every filter holds. A filtered key must be there, but for `not_key`.
pub(crate) fn selects(sub_query: &SubQuery, key: &SeriesKey, tsuid: &Tsuid) -> bool {
    let (filters, explicit_tags) = match &sub_query.source {
        Source::Tsuids(tsuids) => return tsuids.contains(tsuid),
        Source::Metric { filters, explicit_tags, .. } => (filters, *explicit_tags),
    };
    let filtered: BTreeSet<&str> = filters.iter().map(Filter::key).collect();
    // Without any filter the flag has no effect.
    let is_explicit = !explicit_tags || filters.is_empty() || key.tags().all(|(tag, _)| filtered.contains(tag));
    is_explicit && filters.iter().all(|filter| holds(filter, key.tag(filter.key())))
}

fn holds(filter: &Filter, value: Option<&str>) -> bool {
    let Some(value) = value else { return filter.kind() == FilterKind::NotKey };
    let (text, folded_text, folded) = (filter.text(), filter.text().to_lowercase(), value.to_lowercase());
    match filter.kind() {
        FilterKind::LiteralOr => text.split('|').any(|literal| literal == value),
        FilterKind::IliteralOr => folded_text.split('|').any(|literal| literal == folded),
        FilterKind::NotLiteralOr => !text.split('|').any(|literal| literal == value),
        FilterKind::NotIliteralOr => !folded_text.split('|').any(|literal| literal == folded),
        FilterKind::Wildcard => matches(text, value),
        FilterKind::Iwildcard => matches(&folded_text, &folded),
        FilterKind::Regexp => PATTERNS.iter().any(|(pattern, finds)| *pattern == text && finds(value)),
        FilterKind::NotKey => false,
    }
}

/// An asterisk stands for any characters, none included.
fn matches(pattern: &str, value: &str) -> bool {
    let mut rest = pattern.chars();
    match rest.next() {
        None => value.is_empty(),
        Some('*') => {
            (0..=value.len()).any(|from| value.is_char_boundary(from) && matches(rest.as_str(), &value[from..]))
        }
        Some(character) => value.strip_prefix(character).is_some_and(|value| matches(rest.as_str(), value)),
    }
}
