//! Parts of dates, in UTC.

use chrono::{DateTime, Datelike, Timelike, Utc};

/// What a function makes of seconds since the epoch.
pub(super) fn part_of_time(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "minute" => |seconds| of(seconds, |time| f64::from(time.minute())),
        "hour" => |seconds| of(seconds, |time| f64::from(time.hour())),
        "day_of_week" => |seconds| of(seconds, |time| f64::from(time.weekday().num_days_from_sunday())),
        "day_of_month" => |seconds| of(seconds, |time| f64::from(time.day())),
        "day_of_year" => |seconds| of(seconds, |time| f64::from(time.ordinal())),
        "days_in_month" => |seconds| of(seconds, |time| f64::from(time.num_days_in_month())),
        "month" => |seconds| of(seconds, |time| f64::from(time.month())),
        "year" => |seconds| of(seconds, |time| f64::from(time.year())),
        _ => return None,
    })
}

/// A part of a date. What is no date has none: years of more than six digits are not known.
fn of(seconds: f64, part: fn(DateTime<Utc>) -> f64) -> f64 {
    let time = if seconds.is_finite() { DateTime::from_timestamp(seconds.floor() as i64, 0) } else { None };
    time.map_or(f64::NAN, part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_dates_are_those_of_utc() {
        // 2024-02-29T23:59:59Z, a Thursday.
        let parts = ["minute", "hour", "day_of_week", "day_of_month", "day_of_year", "days_in_month", "month", "year"];
        let found = parts.map(|name| part_of_time(name).unwrap()(1_709_251_199.9));
        assert_eq!(found, [59.0, 23.0, 4.0, 29.0, 60.0, 29.0, 2.0, 2024.0]);
        for seconds in [f64::NAN, f64::INFINITY, 1e30, -1e30] {
            assert!(part_of_time("year").unwrap()(seconds).is_nan());
        }
        assert_eq!(part_of_time("year").unwrap()(-1.0), 1969.0);
    }
}
