//! What is wrong with a point, in OpenTSDB's words.

use tidemark_model::{NameError, NameKind, PointError};

/// The text that OpenTSDB has for a point which the builder refused. `value` is the text of the value.
pub(crate) fn refusal_text(
    error: &PointError,
    metric: &str,
    timestamp: i64,
    value: &str,
    tags: &[(impl AsRef<str>, impl AsRef<str>)],
) -> String {
    match error {
        PointError::NoTags => format!("Need at least one tag (metric={metric}, tags={})", braces(tags)),
        PointError::TooManyTags { tags: count, limit } => {
            format!("Too many tags: {count} maximum allowed: {limit}, tags: {}", braces(tags))
        }
        PointError::Name { kind: NameKind::Metric, reason, .. } => name_text("metric name", metric, *reason),
        PointError::Name { kind, name: key, reason } => match tags.iter().find(|tag| tag.0.as_ref() == key) {
            Some((_, value)) if *kind == NameKind::TagKey => {
                name_text(&format!("tag name with value [{}]", value.as_ref()), key, *reason)
            }
            Some((_, value)) => name_text(&format!("tag value with key [{key}]"), value.as_ref(), *reason),
            None => error.to_string(),
        },
        PointError::DuplicateTag(key) => {
            let value = tags.iter().rev().find(|tag| tag.0.as_ref() == key).map_or("", |tag| tag.1.as_ref());
            format!("duplicate tag: {key}={value}, tags={}", braces(tags))
        }
        PointError::Timestamp(_) => format!(
            "bad timestamp={timestamp} when trying to add value={value} to metric={metric}, tags={}",
            braces(tags)
        ),
        PointError::NotFinite => {
            let infinite = if value.starts_with('-') { "-Infinity" } else { "Infinity" };
            format!("value is NaN or Infinite: {infinite} for metric={metric} timestamp={timestamp}")
        }
        PointError::DictionaryFull => error.to_string(),
    }
}

/// Tags as Java prints a map.
pub(crate) fn braces(tags: &[(impl AsRef<str>, impl AsRef<str>)]) -> String {
    let tags: Vec<_> = tags.iter().map(|(key, value)| format!("{}={}", key.as_ref(), value.as_ref())).collect();
    format!("{{{}}}", tags.join(", "))
}

/// Characters of a name that a text repeats.
const SHOWN_CHARACTERS_MAX: usize = 256;

fn name_text(what: &str, name: &str, reason: NameError) -> String {
    let shown: String = name.chars().take(SHOWN_CHARACTERS_MAX).collect();
    match reason {
        NameError::Empty => format!("Invalid {what}: empty string"),
        NameError::IllegalCharacter(_) | NameError::TooLong { .. } => format!("Invalid {what} (\"{shown}\"): {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use tidemark_model::{PointBatchBuilder, Value};

    use super::*;

    fn check(metric: &str, tags: &[(&str, &str)], expect: &str) {
        let error = PointBatchBuilder::new(2).push(metric, &mut tags.to_vec(), 1, Value::Int(42)).unwrap_err();
        assert_eq!(refusal_text(&error, metric, 1, "42", tags), expect);
    }

    #[test]
    fn texts_are_opentsdbs() {
        check("bad:metric", &[("a", "b")], "Invalid metric name (\"bad:metric\"): illegal character: :");
        check("m", &[("a", "")], "Invalid tag value with key [a]: empty string");
        check("m", &[("a!", "b")], "Invalid tag name with value [b] (\"a!\"): illegal character: !");
        check("m", &[], "Need at least one tag (metric=m, tags={})");
        let tags = [("a", "1"), ("b", "2"), ("c", "3")];
        check("m", &tags, "Too many tags: 3 maximum allowed: 2, tags: {a=1, b=2, c=3}");
    }
}
