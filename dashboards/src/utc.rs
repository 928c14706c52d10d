//! Times as text, in UTC.

use chrono::{DateTime, Utc};

/// `2026-11-25 13:05:09`, or `–` for a time that no calendar has.
#[must_use]
pub fn date_time(timestamp_ms: i64) -> String {
    with_format(timestamp_ms, "%Y-%m-%d %H:%M:%S")
}

/// `2026-11-25T13:05:09Z`, for `<time datetime>`.
pub(crate) fn machine(timestamp_ms: i64) -> String {
    with_format(timestamp_ms, "%Y-%m-%dT%H:%M:%SZ")
}

/// The label of a tick on a time axis whose ticks are `step_ms` apart: `13:05:10`, `13:05` or `Nov 25`.
pub(crate) fn tick(timestamp_ms: i64, step_ms: i64) -> String {
    const MINUTE_MS: i64 = 60_000;
    const DAY_MS: i64 = 86_400_000;
    let format = match step_ms {
        ..MINUTE_MS => "%H:%M:%S",
        MINUTE_MS..DAY_MS if timestamp_ms.rem_euclid(DAY_MS) != 0 => "%H:%M",
        _ => "%b %d",
    };
    with_format(timestamp_ms, format)
}

fn with_format(timestamp_ms: i64, format: &str) -> String {
    DateTime::<Utc>::from_timestamp_millis(timestamp_ms)
        .map_or_else(|| "–".to_owned(), |time| time.format(format).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc() {
        assert_eq!(date_time(1_764_075_909_000), "2025-11-25 13:05:09");
        assert_eq!(machine(1_764_075_909_999), "2025-11-25T13:05:09Z");
        assert_eq!(date_time(i64::MAX), "–");
    }

    #[test]
    fn ticks_show_what_changes_between_them() {
        assert_eq!(tick(1_764_075_910_000, 10_000), "13:05:10");
        assert_eq!(tick(1_764_075_900_000, 300_000), "13:05");
        assert_eq!(tick(1_764_028_800_000, 21_600_000), "Nov 25");
        assert_eq!(tick(1_764_028_800_000, 86_400_000), "Nov 25");
    }
}
