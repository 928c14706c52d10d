//! How busy people are, by the hour and the day of the week.

use std::f64::consts::TAU;

use tidemark_model::TimestampMs;

pub(super) const MINUTE_MS: i64 = 60_000;
pub(super) const HOUR_MS: i64 = 60 * MINUTE_MS;
pub(super) const DAY_MS: i64 = 24 * HOUR_MS;

/// Share of a working day's traffic that a weekend brings.
const WEEKEND: f64 = 0.62;

/// How busy the users of a data centre are, from about 0.1 at night to about 0.95 on a working afternoon.
///
/// `hours_ahead` is how far its clocks are ahead of UTC.
pub(super) fn activity(timestamp: TimestampMs, hours_ahead: i64) -> f64 {
    let local_ms = timestamp + hours_ahead * HOUR_MS;
    let hour = hour_of_day(local_ms);
    // Quietest at 3 o'clock, busiest at 15 o'clock, and once more on the sofa.
    let day = 0.5 - 0.5 * ((hour - 3.0) / 24.0 * TAU).cos();
    let evening = 0.18 * (-((hour - 20.5) / 1.6).powi(2)).exp();
    0.1 + (0.78 * day + evening) * if is_weekend(local_ms) { WEEKEND } else { 1.0 }
}

/// Hours since midnight, with a fraction.
pub(super) fn hour_of_day(local_ms: TimestampMs) -> f64 {
    local_ms.rem_euclid(DAY_MS) as f64 / HOUR_MS as f64
}

/// The epoch began on a Thursday.
fn is_weekend(local_ms: TimestampMs) -> bool {
    matches!(local_ms.div_euclid(DAY_MS).rem_euclid(7), 2 | 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Thursday 2026-01-01 00:00 UTC.
    const THURSDAY: TimestampMs = 1_767_225_600_000;

    #[test]
    fn afternoons_are_busier_than_nights_and_working_days_than_weekends() {
        let at = |day: i64, hour: i64| activity(THURSDAY + day * DAY_MS + hour * HOUR_MS, 0);
        assert!(at(0, 15) > 4.0 * at(0, 3));
        assert!(at(1, 15) > 1.3 * at(2, 15), "Friday and Saturday");
        assert!(at(4, 15) > 1.3 * at(3, 15), "Monday and Sunday");
        assert!((0..7 * 24).all(|hour| (0.05..=1.0).contains(&at(0, hour))));
    }

    #[test]
    fn data_centres_follow_their_own_clocks() {
        assert_eq!(activity(THURSDAY, 0), activity(THURSDAY + 5 * HOUR_MS, -5));
    }
}
