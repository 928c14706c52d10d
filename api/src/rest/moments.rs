//! Times and durations in requests.

use std::time::Duration;

use serde::Deserialize;
use tidemark_model::TimestampMs;
use tidemark_query::{Tz, parse_time};

use crate::error::ApiError;

const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// A time: a number, any form of OpenTSDB's, or `+10m` for ten minutes from now.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Moment {
    Number(i64),
    Text(String),
}

/// A duration: milliseconds, or a text such as `90s`.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Span {
    Millis(u64),
    Text(String),
}

impl Moment {
    /// In ms since the epoch.
    ///
    /// # Errors
    /// 400 naming the field.
    pub(super) fn at(&self, field: &str, now_ms: TimestampMs) -> Result<TimestampMs, ApiError> {
        parse_moment(field, &self.text(), now_ms)
    }

    /// As somebody wrote it.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

impl Span {
    /// The duration.
    ///
    /// # Errors
    /// 400 naming the field.
    pub(super) fn duration(&self, field: &str) -> Result<Duration, ApiError> {
        match self {
            Self::Millis(millis) => Ok(Duration::from_millis(*millis)),
            Self::Text(text) => parse_span(field, text),
        }
    }
}

/// Reads a time.
///
/// # Errors
/// 400 naming the field.
pub(super) fn parse_moment(field: &str, text: &str, now_ms: TimestampMs) -> Result<TimestampMs, ApiError> {
    if let Some(ahead) = text.strip_prefix('+') {
        let ahead = parse_span(field, ahead)?;
        return Ok(now_ms.saturating_add(i64::try_from(ahead.as_millis()).unwrap_or(i64::MAX)));
    }
    parse_time(text, now_ms, Tz::UTC).map_err(|error| ApiError::bad_request(format!("{field}: {error}")))
}

/// Reads a duration such as `500ms`, `10s`, `2m`, `1h`, `7d`.
///
/// # Errors
/// 400 naming the field.
pub(super) fn parse_span(field: &str, text: &str) -> Result<Duration, ApiError> {
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale);
    let millis = number.parse::<u64>().ok().zip(scale).and_then(|(number, scale)| number.checked_mul(scale));
    millis.map(Duration::from_millis).ok_or_else(|| {
        let shown: String = text.chars().take(64).collect();
        ApiError::bad_request(format!("{field}: expected a duration such as `500ms`, `10s` or `2h`, got `{shown}`"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_767_225_600_000;

    #[test]
    fn times_are_absolute_or_from_now() {
        let at = |text: &str| parse_moment("since", text, NOW_MS).unwrap();
        assert_eq!(at("1767225600"), NOW_MS);
        assert_eq!(at("1767225600123"), NOW_MS + 123);
        assert_eq!(at("1h-ago"), NOW_MS - 3_600_000);
        assert_eq!(at("+10m"), NOW_MS + 600_000);
        assert!(parse_moment("since", "yesterday-ish", NOW_MS).unwrap_err().message().starts_with("since: "));
    }

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(parse_span("wait", "10s").unwrap(), Duration::from_secs(10));
        assert_eq!(parse_span("wait", "2h").unwrap(), Duration::from_secs(7_200));
        for wrong in ["", "10", "s", "-1s", "1 s", "1y", "99999999999999999999d", "18446744073709551615d"] {
            let error = parse_span("wait", wrong).unwrap_err();
            assert!(error.message().contains("wait: expected a duration"), "{wrong}");
        }
    }
}
