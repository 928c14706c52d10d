//! What the numbers that stand for times mean.

use crate::TimestampMs;

/// Largest timestamp: 13 digits of milliseconds, as OpenTSDB has it.
pub const TIMESTAMP_MAX: TimestampMs = 9_999_999_999_999;

/// Times above this are milliseconds, others seconds: the rule of OpenTSDB.
const SECONDS_MAX: i64 = u32::MAX as i64;

/// Milliseconds since the epoch of a time that is seconds or milliseconds.
#[must_use]
pub fn timestamp_ms(time: i64) -> TimestampMs {
    if time > SECONDS_MAX { time } else { time.saturating_mul(1000) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_milliseconds_are_told_apart_by_size() {
        assert_eq!(timestamp_ms(1_356_998_460), 1_356_998_460_000);
        assert_eq!(timestamp_ms(1_356_998_460_000), 1_356_998_460_000);
    }
}
