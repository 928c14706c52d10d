//! Buckets of the calendar, by listing all of them near a moment.
//!
//! Each unit is counted from the start of a period: the second for milliseconds, the minute for seconds, the hour for
//! minutes, the day for hours, January 1 for days and months, the first day of the week of January 1 for weeks, the year 0
//! for years. A number of units that does not divide its period (a day has 24 hours) is counted from the next longer one.

use chrono::{Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeDelta, TimeZone, Timelike};
use tidemark_model::TimestampMs;
use tidemark_query::{Interval, TimeUnit, Tz, Weekday};

/// Start of the bucket of a moment, and of the next one.
pub(crate) fn bucket(
    interval: Interval,
    zone: Tz,
    week_start: Weekday,
    time: TimestampMs,
) -> (TimestampMs, TimestampMs) {
    let count = interval.count();
    let elapsed = |period: i64, step: i64| {
        // Within the hour no clock of these tests changes.
        let into = local(zone, time).and_utc().timestamp_millis().rem_euclid(period);
        let start = time - into % step;
        (start, (start + step).min(time - into + period))
    };
    match interval.unit() {
        TimeUnit::Millisecond if 1_000 % count == 0 => elapsed(1_000, count),
        TimeUnit::Millisecond => elapsed(60_000, count),
        TimeUnit::Second if 60 % count == 0 => elapsed(60_000, 1_000 * count),
        TimeUnit::Second => elapsed(3_600_000, 1_000 * count),
        TimeUnit::Minute if 60 % count == 0 => elapsed(3_600_000, 60_000 * count),
        TimeUnit::Hour if count == 1 => elapsed(3_600_000, 3_600_000),
        _ => between(&starts_near(interval, week_start, local(zone, time).date()), zone, time),
    }
}

/// Of moments on the local clock, the last one that is not after a moment, and the one after that.
fn between(starts: &[NaiveDateTime], zone: Tz, time: TimestampMs) -> (TimestampMs, TimestampMs) {
    let mut moments: Vec<TimestampMs> = starts.iter().map(|start| moment(zone, *start)).collect();
    moments.sort_unstable();
    moments.dedup();
    let next = moments.iter().position(|start| *start > time).unwrap();
    (moments[next - 1], moments[next])
}

/// Where buckets begin on the local clock, in the periods before, around and after a date.
fn starts_near(interval: Interval, week_start: Weekday, date: NaiveDate) -> Vec<NaiveDateTime> {
    let count = interval.count();
    let midnight = |date: NaiveDate| date.and_time(NaiveTime::MIN);
    let years = || date.year() - 1..=date.year() + 1;
    match interval.unit() {
        TimeUnit::Year => {
            let year = i64::from(date.year());
            let first = year - year % count;
            [first - count, first, first + count].map(|year| midnight(january_1(year as i32))).to_vec()
        }
        TimeUnit::Month => years()
            .flat_map(|year| (1..=12).step_by(count as usize).map(move |month| (year, month)))
            .map(|(year, month)| midnight(NaiveDate::from_ymd_opt(year, month, 1).unwrap()))
            .collect(),
        TimeUnit::Week => years()
            .flat_map(|year| days(first_week(year, week_start), first_week(year + 1, week_start), 7 * count))
            .map(midnight)
            .collect(),
        TimeUnit::Day => {
            years().flat_map(|year| days(january_1(year), january_1(year + 1), count)).map(midnight).collect()
        }
        TimeUnit::Hour if 24 % count != 0 => {
            let first = date.with_day(1).unwrap();
            let months = [first - TimeDelta::days(1), first, first + TimeDelta::days(31)];
            months.iter().flat_map(|month| steps_of_month(month.with_day(1).unwrap(), 3_600_000 * count)).collect()
        }
        TimeUnit::Hour => steps_of_days(date, 3_600_000 * count),
        TimeUnit::Minute => steps_of_days(date, 60_000 * count),
        TimeUnit::Second | TimeUnit::Millisecond => panic!("{interval} is a length of time"),
    }
}

fn steps_of_days(date: NaiveDate, step_ms: i64) -> Vec<NaiveDateTime> {
    (-1..=1)
        .map(|day| (date + TimeDelta::days(day)).and_time(NaiveTime::MIN))
        .flat_map(|day| steps(day, day + TimeDelta::days(1), step_ms))
        .collect()
}

fn steps_of_month(first: NaiveDate, step_ms: i64) -> Vec<NaiveDateTime> {
    let next = (first + TimeDelta::days(31)).with_day(1).unwrap();
    steps(first.and_time(NaiveTime::MIN), next.and_time(NaiveTime::MIN), step_ms)
}

fn steps(from: NaiveDateTime, until: NaiveDateTime, step_ms: i64) -> Vec<NaiveDateTime> {
    let mut starts = vec![from];
    while starts[starts.len() - 1] + TimeDelta::milliseconds(step_ms) < until {
        starts.push(starts[starts.len() - 1] + TimeDelta::milliseconds(step_ms));
    }
    starts
}

fn days(from: NaiveDate, until: NaiveDate, step: i64) -> Vec<NaiveDate> {
    let mut starts = vec![from];
    while starts[starts.len() - 1] + TimeDelta::days(step) < until {
        starts.push(starts[starts.len() - 1] + TimeDelta::days(step));
    }
    starts
}

fn january_1(year: i32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, 1, 1).unwrap()
}

/// First day of the week of January 1.
fn first_week(year: i32, week_start: Weekday) -> NaiveDate {
    (0..7).map(|days| january_1(year) - Days::new(days)).find(|date| date.weekday() == week_start).unwrap()
}

/// What the clocks of a zone show.
fn local(zone: Tz, time: TimestampMs) -> NaiveDateTime {
    zone.timestamp_millis_opt(time).unwrap().naive_local()
}

/// When the clocks of a zone first show a time, or first show a later one.
fn moment(zone: Tz, mut shown: NaiveDateTime) -> TimestampMs {
    loop {
        if let Some(moment) = zone.from_local_datetime(&shown).earliest() {
            return moment.timestamp_millis();
        }
        // Clocks change on whole minutes.
        shown = (shown + TimeDelta::minutes(1)).with_second(0).unwrap();
    }
}

#[test]
fn offsets_are_whole_minutes_in_the_zones_of_these_tests() {
    for zone in crate::generator::ZONES {
        let offset = zone.offset_from_utc_datetime(&january_1(2013).and_time(NaiveTime::MIN)).fix();
        assert_eq!(offset.local_minus_utc() % 60, 0, "{zone}");
    }
}
