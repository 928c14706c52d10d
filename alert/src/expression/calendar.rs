//! Months of the Gregorian calendar, without a dependency for one function.

/// Seconds since the epoch at which the month of `seconds` begins, and its last second, in UTC.
///
/// Days after Howard Hinnant, "chrono-compatible low-level date algorithms".
pub(crate) fn month_of(seconds: i64) -> (i64, i64) {
    let (year, month) = year_and_month(seconds.div_euclid(86_400));
    let (next_year, next_month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    let start = |year, month| first_day(year, month) * 86_400;
    (start(year, month), start(next_year, next_month) - 1)
}

/// Year and month (1 to 12) of a day since the epoch.
fn year_and_month(day: i64) -> (i64, i64) {
    let day = day + 719_468;
    let era = day.div_euclid(146_097);
    let day_of_era = day.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month)
}

/// The first day of a month, in days since the epoch.
fn first_day(year: i64, month: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_have_their_lengths() {
        let days = |seconds: i64| {
            let (start, end) = month_of(seconds);
            assert!(start <= seconds && seconds <= end);
            (end + 1 - start) / 86_400
        };
        assert_eq!(month_of(0), (0, 31 * 86_400 - 1));
        assert_eq!(days(951_782_400), 29); // 2000-02-29
        assert_eq!(days(983_318_400), 28); // 2001-02-28
        assert_eq!(days(-1), 31); // 1969-12-31
        assert_eq!(days(4_107_542_400), 31); // 2100-03-01
        assert_eq!(days(4_107_542_399), 28); // 2100-02-28
    }
}
