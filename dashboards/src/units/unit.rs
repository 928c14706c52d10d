//! What a number counts.

use serde::{Deserialize, Serialize};

use super::{duration::format_duration, scaled};

/// What a number counts, as far as formatting cares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// A plain number.
    #[default]
    None,
    /// Percent, 0 to 100.
    Percent,
    /// Bytes; shown in steps of 1024.
    Bytes,
    /// Bytes per second; shown in steps of 1024.
    BytesPerSecond,
    /// Bits per second; shown in steps of 1000.
    BitsPerSecond,
    /// Events per second.
    PerSecond,
    /// A duration in seconds.
    Seconds,
    /// A duration in milliseconds.
    Milliseconds,
}

impl Unit {
    /// The unit that the metadata of a metric names (scollector's words, such as `bytes` or `percent`), of its rate
    /// per second when `rate` is set. An unknown word is a plain number.
    #[must_use]
    pub fn from_metadata(word: &str, rate: bool) -> Self {
        match (word.to_ascii_lowercase().as_str(), rate) {
            ("percent" | "pct" | "%", _) => Self::Percent,
            ("bytes" | "byte", false) => Self::Bytes,
            ("bytes" | "byte", true) | ("bytes per second" | "bytes/s" | "byte/s", _) => Self::BytesPerSecond,
            ("bits per second" | "bits/s" | "bit/s", _) | ("bits", true) => Self::BitsPerSecond,
            ("seconds" | "second" | "s", false) => Self::Seconds,
            ("milliseconds" | "millisecond" | "ms", false) => Self::Milliseconds,
            ("per second" | "/s" | "ops/s", _) => Self::PerSecond,
            (_, true) => Self::PerSecond,
            (_, false) => Self::None,
        }
    }
}

/// `value` with its unit, for people: `1.50 GiB`, `91.2 %`, `4.21 k/s`, `3 h 12 m`. Three significant digits; a value
/// that is not finite is `–`.
#[must_use]
pub fn format_quantity(value: f64, unit: Unit) -> String {
    if !value.is_finite() {
        return scaled::MISSING.to_owned();
    }
    match unit {
        Unit::None => scaled::decimal(value, ""),
        Unit::Percent => format!("{} %", scaled::one_decimal(value)),
        Unit::Bytes => scaled::binary(value, "B"),
        Unit::BytesPerSecond => scaled::binary(value, "B/s"),
        Unit::BitsPerSecond => scaled::decimal(value, "bit/s"),
        Unit::PerSecond => scaled::decimal(value, "/s"),
        Unit::Seconds => format_duration(value * 1000.0),
        Unit::Milliseconds => format_duration(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Rules {
        quantities: Vec<(f64, Unit, String)>,
        ages: Vec<(i64, String)>,
    }

    fn rules() -> Rules {
        serde_json::from_str(include_str!("rules.json")).unwrap()
    }

    #[test]
    fn quantities_follow_the_table_that_the_browser_is_tested_with() {
        for (value, unit, expected) in rules().quantities {
            assert_eq!(format_quantity(value, unit), expected, "{value} {unit:?}");
        }
    }

    #[test]
    fn ages_follow_the_table_that_the_browser_is_tested_with() {
        for (age_ms, expected) in rules().ages {
            assert_eq!(super::super::format_age(age_ms), expected, "{age_ms} ms");
        }
    }

    #[test]
    fn what_is_not_finite_is_a_dash() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(format_quantity(value, Unit::Bytes), "–");
        }
    }

    #[test]
    fn a_rate_of_bytes_is_bytes_per_second() {
        assert_eq!(Unit::from_metadata("bytes", true), Unit::BytesPerSecond);
        assert_eq!(Unit::from_metadata("Bytes", false), Unit::Bytes);
        assert_eq!(Unit::from_metadata("interrupts", true), Unit::PerSecond);
        assert_eq!(Unit::from_metadata("interrupts", false), Unit::None);
    }
}
