//! Buckets that follow a calendar: local midnights, months, quarters, weeks from Sunday.
//!
//! Every bucket belongs to a larger period and is counted from its start: milliseconds from the second, seconds from the
//! minute, minutes from the hour, hours from midnight, days and months from January 1, weeks from the Sunday of the week
//! of January 1, years from the year 0. A number of milliseconds to hours that does not divide this period is counted
//! from the start of the next longer one: 25 minutes from midnight, 5 hours from the first of the month. Where the period
//! ends the count starts again, so that the buckets do not depend on the window. (OpenTSDB counts on from the period of
//! the first point; within one period both agree.)
//!
//! Buckets within an hour, and hours, are lengths of time, longer ones are spans of the local clock: a day on which
//! clocks change is one bucket of 23 or 25 hours.

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveDateTime, Offset, TimeDelta, TimeZone, Weekday};
use chrono_tz::Tz;
use tidemark_model::TimestampMs;

use crate::{Interval, TimeUnit, time_expression::local_to_utc_ms};

/// The calendar that we follow: January 1 of the year 1 to December 31 of the year 9999.
const FIRST_MS: TimestampMs = -62_135_596_800_000;
const LAST_MS: TimestampMs = 253_402_300_799_000;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Where buckets begin, ascending, from the bucket of `from` to the first boundary after `until`.
///
/// `None` when there are more than `buckets_max`, which is told without listing them when there are many more.
pub(crate) fn boundaries(
    interval: Interval,
    zone: Tz,
    week_start: Weekday,
    from: TimestampMs,
    until: TimestampMs,
    buckets_max: usize,
) -> Option<Vec<TimestampMs>> {
    let (from, until) = (from.clamp(FIRST_MS, LAST_MS), until.clamp(FIRST_MS, LAST_MS));
    // A day on which clocks change and a leap year are longer than the interval says, by less than a tenth.
    let longest_ms = interval.millis().saturating_add(interval.millis() / 10);
    if (until - from) / longest_ms > i64::try_from(buckets_max).unwrap_or(i64::MAX) {
        return None;
    }
    let calendar = Calendar { interval, zone, week_start };
    match calendar.period() {
        Period::Length(period) => calendar.elapsed_boundaries(period, from, until, buckets_max),
        Period::Day | Period::Month | Period::Year => calendar.local_boundaries(from, until, buckets_max),
    }
}

struct Calendar {
    interval: Interval,
    zone: Tz,
    /// First day of a week.
    week_start: Weekday,
}

/// What buckets of up to hours are counted in.
#[derive(Clone, Copy)]
enum Period {
    /// So many milliseconds of an hour or all of it, whatever the clock does.
    Length(i64),
    Day,
    Month,
    Year,
}

impl Period {
    /// Periods of milliseconds, seconds, minutes and hours, and those for what does not divide them.
    const ALL: [Self; 6] =
        [Self::Length(1_000), Self::Length(60_000), Self::Length(HOUR_MS), Self::Day, Self::Month, Self::Year];

    fn shortest_ms(self) -> i64 {
        match self {
            Self::Length(millis) => millis,
            Self::Day => DAY_MS,
            Self::Month => 28 * DAY_MS,
            Self::Year => 365 * DAY_MS,
        }
    }

    /// The midnights at which the period of a date begins and ends.
    fn days(self, date: NaiveDate) -> Option<(NaiveDate, NaiveDate)> {
        let first = date.with_day(1)?;
        match self {
            Self::Length(_) | Self::Day => Some((date, date.checked_add_days(Days::new(1))?)),
            Self::Month => Some((first, first.checked_add_months(Months::new(1))?)),
            Self::Year => Some((january_1(date.year())?, january_1(date.year() + 1)?)),
        }
    }
}

impl Calendar {
    /// What buckets of up to hours are counted in; for days and longer units it is the unit that says so.
    fn period(&self) -> Period {
        let step = self.interval.millis();
        let natural = match self.interval.unit() {
            _ if step == HOUR_MS => return Period::Length(HOUR_MS),
            TimeUnit::Millisecond => 0,
            TimeUnit::Second => 1,
            TimeUnit::Minute => 2,
            TimeUnit::Hour => 3,
            TimeUnit::Day | TimeUnit::Week | TimeUnit::Month | TimeUnit::Year => return Period::Year,
        };
        let mut longer = Period::ALL.into_iter().skip(natural);
        match longer.next() {
            Some(period) if period.shortest_ms() % step == 0 => period,
            _ => longer.find(|period| period.shortest_ms() >= step).unwrap_or(Period::Year),
        }
    }

    fn elapsed_boundaries(
        &self,
        period: i64,
        from: TimestampMs,
        until: TimestampMs,
        buckets_max: usize,
    ) -> Option<Vec<TimestampMs>> {
        let step = self.interval.millis();
        let into_period = |moment: TimestampMs| self.local_ms(moment).rem_euclid(period);
        let mut boundaries = vec![from - into_period(from) % step];
        while let Some(&start) = boundaries.last().filter(|&&last| last <= until) {
            // What the clock shows is looked up once in a period. A bucket may start between two multiples, where a
            // change of the clock moved it.
            let mut into = into_period(start);
            let mut last = start;
            while into < period && last <= until {
                let length = (step - into % step).min(period - into);
                (into, last) = (into + length, last + length);
                boundaries.push(last);
                if boundaries.len() > buckets_max + 1 {
                    return None;
                }
            }
        }
        Some(boundaries)
    }

    fn local_boundaries(&self, from: TimestampMs, until: TimestampMs, buckets_max: usize) -> Option<Vec<TimestampMs>> {
        let mut local = self.bucket_start(DateTime::from_timestamp_millis(self.local_ms(from))?.naive_utc())?;
        let mut boundaries = vec![local_to_utc_ms(local, self.zone)?.min(from)];
        while boundaries.last().is_some_and(|&last| last <= until) {
            local = self.next_bucket(local)?;
            let boundary = local_to_utc_ms(local, self.zone)?;
            // A day that a zone skipped as a whole is no bucket.
            if boundaries.last().is_some_and(|&last| last < boundary) {
                boundaries.push(boundary);
            }
            if boundaries.len() > buckets_max + 1 {
                return None;
            }
        }
        Some(boundaries)
    }

    /// What the local clock shows, in milliseconds since it showed the epoch.
    fn local_ms(&self, moment: TimestampMs) -> i64 {
        let utc = DateTime::from_timestamp_millis(moment).unwrap_or_default().naive_utc();
        moment + i64::from(self.zone.offset_from_utc_datetime(&utc).fix().local_minus_utc()) * 1000
    }

    /// Start of the bucket in which a local time lies.
    fn bucket_start(&self, local: NaiveDateTime) -> Option<NaiveDateTime> {
        let count = self.interval.count();
        let date = local.date();
        match self.interval.unit() {
            TimeUnit::Year => {
                let year = i64::from(date.year()).div_euclid(count) * count;
                midnight(NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, 1, 1)?)
            }
            TimeUnit::Month if count > 12 => {
                let months = i64::from(date.year()) * 12 + i64::from(date.month0());
                let start = months.div_euclid(count) * count;
                let (year, month) = (start.div_euclid(12), start.rem_euclid(12) + 1);
                midnight(NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, u32::try_from(month).ok()?, 1)?)
            }
            TimeUnit::Month => {
                let month = i64::from(date.month0()) / count * count + 1;
                midnight(NaiveDate::from_ymd_opt(date.year(), u32::try_from(month).ok()?, 1)?)
            }
            TimeUnit::Week if count == 1 => midnight(self.week_of(date)?),
            TimeUnit::Week => {
                let first = self.week_of(january_1(date.year())?)?;
                let weeks = date.signed_duration_since(first).num_days() / 7;
                midnight(first.checked_add_days(days(weeks / count * count * 7)?)?)
            }
            TimeUnit::Day => {
                let day = i64::from(date.ordinal0()) / count * count;
                midnight(january_1(date.year())?.checked_add_days(days(day)?)?)
            }
            TimeUnit::Millisecond | TimeUnit::Second | TimeUnit::Minute | TimeUnit::Hour => {
                let step = self.interval.millis();
                let period = midnight(self.period().days(date)?.0)?;
                let into = local.signed_duration_since(period).num_milliseconds();
                period.checked_add_signed(TimeDelta::try_milliseconds(into / step * step)?)
            }
        }
    }

    /// First day of the week of a date.
    fn week_of(&self, date: NaiveDate) -> Option<NaiveDate> {
        date.checked_sub_days(Days::new(u64::from(date.weekday().days_since(self.week_start))))
    }

    /// Start of the bucket after the one that starts at `start`.
    fn next_bucket(&self, start: NaiveDateTime) -> Option<NaiveDateTime> {
        let count = self.interval.count();
        let date = start.date();
        let next_year = || midnight(january_1(date.year() + 1)?);
        match self.interval.unit() {
            TimeUnit::Year => midnight(january_1(date.year().checked_add(i32::try_from(count).ok()?)?)?),
            TimeUnit::Month => {
                let next = start.checked_add_months(Months::new(u32::try_from(count).ok()?))?;
                Some(if count > 12 { next } else { next.min(next_year()?) })
            }
            TimeUnit::Week => {
                let next = start.checked_add_days(days(count * 7)?)?;
                // The week of the next January 1 may begin in this December, and `start` may be that beginning.
                let week_of_year = |year: i32| january_1(year).and_then(|first| self.week_of(first));
                let year = (date.year()..).find(|year| week_of_year(*year) > Some(date))?;
                let restart = midnight(week_of_year(year)?)?;
                Some(if count > 1 { next.min(restart) } else { next })
            }
            TimeUnit::Day => Some(start.checked_add_days(days(count)?)?.min(next_year()?)),
            TimeUnit::Millisecond | TimeUnit::Second | TimeUnit::Minute | TimeUnit::Hour => {
                let step = self.interval.millis();
                let period_end = midnight(self.period().days(date)?.1)?;
                Some(start.checked_add_signed(TimeDelta::try_milliseconds(step)?)?.min(period_end))
            }
        }
    }
}

fn midnight(date: NaiveDate) -> Option<NaiveDateTime> {
    date.and_hms_opt(0, 0, 0)
}

fn january_1(year: i32) -> Option<NaiveDate> {
    NaiveDate::from_ymd_opt(year, 1, 1)
}

fn days(count: i64) -> Option<Days> {
    u64::try_from(count).ok().map(Days::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local_starts(interval: &str, zone: Tz, from: &str, until: &str) -> Vec<String> {
        local_starts_of_weeks(Weekday::Sun, interval, zone, from, until)
    }

    fn local_starts_of_weeks(week_start: Weekday, interval: &str, zone: Tz, from: &str, until: &str) -> Vec<String> {
        let time = |text: &str| crate::parse_time(text, 0, zone).unwrap();
        let found = boundaries(interval.parse().unwrap(), zone, week_start, time(from), time(until), 1000).unwrap();
        let local = |moment: &i64| zone.timestamp_millis_opt(*moment).unwrap().format("%Y-%m-%d %H:%M").to_string();
        found.iter().map(local).collect()
    }

    #[test]
    fn weeks_start_on_sunday_and_pairs_of_weeks_at_the_week_of_january_1() {
        assert_eq!(
            local_starts("1w", Tz::UTC, "2013/01/02", "2013/01/14"),
            ["2012-12-30 00:00", "2013-01-06 00:00", "2013-01-13 00:00", "2013-01-20 00:00"]
        );
        assert_eq!(
            local_starts("2w", Tz::UTC, "2013/01/02", "2013/01/28"),
            ["2012-12-30 00:00", "2013-01-13 00:00", "2013-01-27 00:00", "2013-02-10 00:00"]
        );
    }

    #[test]
    fn weeks_may_start_on_any_day() {
        assert_eq!(
            local_starts_of_weeks(Weekday::Mon, "1w", Tz::UTC, "2013/01/02", "2013/01/08"),
            ["2012-12-31 00:00", "2013-01-07 00:00", "2013-01-14 00:00"]
        );
        // Monday December 31 is the one of January 1.
        assert_eq!(
            local_starts_of_weeks(Weekday::Mon, "2w", Tz::UTC, "2012/12/25", "2013/01/14"),
            ["2012-12-24 00:00", "2012-12-31 00:00", "2013-01-14 00:00", "2013-01-28 00:00"]
        );
        assert_eq!(
            local_starts_of_weeks(Weekday::Sat, "1w", Tz::Asia__Tokyo, "2013/01/05", "2013/01/11"),
            ["2013-01-05 00:00", "2013-01-12 00:00"]
        );
    }

    #[test]
    fn days_months_and_years_are_counted_from_january_1() {
        assert_eq!(
            local_starts("2d", Tz::UTC, "2012/12/31", "2013/01/04"),
            ["2012-12-30 00:00", "2013-01-01 00:00", "2013-01-03 00:00", "2013-01-05 00:00"]
        );
        assert_eq!(
            local_starts("3n", Tz::Asia__Tokyo, "2013/02/03", "2013/07/01"),
            ["2013-01-01 00:00", "2013-04-01 00:00", "2013-07-01 00:00", "2013-10-01 00:00"]
        );
        assert_eq!(
            local_starts("5n", Tz::UTC, "2013/11/03", "2014/01/01"),
            ["2013-11-01 00:00", "2014-01-01 00:00", "2014-06-01 00:00"]
        );
        assert_eq!(
            local_starts("2y", Tz::UTC, "2013/11/03", "2014/01/01"),
            ["2012-01-01 00:00", "2014-01-01 00:00", "2016-01-01 00:00"]
        );
        assert_eq!(local_starts("18n", Tz::UTC, "2013/11/03", "2014/01/01"), ["2013-01-01 00:00", "2014-07-01 00:00"]);
    }

    #[test]
    fn a_day_on_which_clocks_change_is_one_bucket() {
        let found = |from: &str, until: &str| {
            let time = |text: &str| crate::parse_time(text, 0, Tz::Europe__Paris).unwrap();
            let starts =
                boundaries("1d".parse().unwrap(), Tz::Europe__Paris, Weekday::Sun, time(from), time(until), 1000)
                    .unwrap();
            starts.windows(2).map(|pair| (pair[1] - pair[0]) / HOUR_MS).collect::<Vec<_>>()
        };
        assert_eq!(found("2013/03/30", "2013/04/01"), [24, 23, 24]);
        assert_eq!(found("2013/10/26", "2013/10/28"), [24, 25, 24]);
        assert_eq!(
            local_starts("12h", Tz::Europe__Paris, "2013/10/27", "2013/10/27-13:00"),
            ["2013-10-27 00:00", "2013-10-27 12:00", "2013-10-28 00:00"]
        );
        // Midnight itself is skipped in São Paulo; the day begins at one.
        assert_eq!(
            local_starts("1d", Tz::America__Sao_Paulo, "2013/10/19", "2013/10/20-05:00"),
            ["2013-10-19 00:00", "2013-10-20 01:00", "2013-10-21 00:00"]
        );
    }

    #[test]
    fn short_buckets_are_lengths_of_time_from_the_local_hour() {
        assert_eq!(
            local_starts("1h", Tz::Asia__Kolkata, "2013/01/01-00:10", "2013/01/01-01:10"),
            ["2013-01-01 00:00", "2013-01-01 01:00", "2013-01-01 02:00"]
        );
        assert_eq!(
            local_starts("20m", Tz::UTC, "2013/01/01-00:30", "2013/01/01-01:10"),
            ["2013-01-01 00:20", "2013-01-01 00:40", "2013-01-01 01:00", "2013-01-01 01:20"]
        );
        // What does not divide its period is counted in the next longer one.
        assert_eq!(
            local_starts("25m", Tz::UTC, "2013/01/01-00:30", "2013/01/01-01:10"),
            ["2013-01-01 00:25", "2013-01-01 00:50", "2013-01-01 01:15"]
        );
        assert_eq!(
            local_starts("25m", Tz::UTC, "2013/01/01-23:30", "2013/01/02-00:10"),
            ["2013-01-01 23:20", "2013-01-01 23:45", "2013-01-02 00:00", "2013-01-02 00:25"]
        );
        assert_eq!(
            local_starts("5h", Tz::UTC, "2013/01/31-20:00", "2013/02/01-01:00"),
            ["2013-01-31 20:00", "2013-02-01 00:00", "2013-02-01 05:00"]
        );
        assert_eq!(
            local_starts("90m", Tz::UTC, "2013/01/01-22:00", "2013/01/01-23:59"),
            ["2013-01-01 21:00", "2013-01-01 22:30", "2013-01-02 00:00"]
        );
        // The hour between two and three exists twice.
        assert_eq!(
            local_starts("1h", Tz::Europe__Paris, "2013/10/27-01:00", "2013/10/27-03:00"),
            ["2013-10-27 01:00", "2013-10-27 02:00", "2013-10-27 02:00", "2013-10-27 03:00", "2013-10-27 04:00"]
        );
    }

    #[test]
    fn a_window_with_too_many_buckets_is_refused() {
        // Found by the fuzz target `m_parameter`: all hours that there are were listed up to the limit.
        for interval in ["1ms", "1s", "1h", "1d", "25m"] {
            assert_eq!(
                boundaries(interval.parse().unwrap(), Tz::Europe__Paris, Weekday::Sun, i64::MIN, i64::MAX, 1_000_000),
                None
            );
        }
        assert_eq!(boundaries("1s".parse().unwrap(), Tz::UTC, Weekday::Sun, 0, 10_000_000, 1000), None);
        assert_eq!(boundaries("1d".parse().unwrap(), Tz::UTC, Weekday::Sun, 0, i64::MAX, 1000), None);
    }
}
