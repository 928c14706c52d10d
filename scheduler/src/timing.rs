//! When a schedule is due: the slots of an interval or of a cron line in a time zone.

use chrono::{DateTime, LocalResult, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use tidemark_model::TimestampMs;
use tidemark_queue::Timing;

use crate::cron_line::CronLine;

/// Shortest interval in ms: schedulers look a few times a second.
pub const EVERY_MIN_MS: u64 = 1_000;
/// Longest interval in ms: a year.
const EVERY_MAX_MS: u64 = 366 * 24 * 3_600 * 1_000;
/// More than clocks are ever set by for summer time.
const SHIFT_MAX: TimeDelta = TimeDelta::hours(3);

/// Why a timing cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimingError {
    /// The interval is too short or too long.
    #[error("interval of {0} ms is not between {EVERY_MIN_MS} ms and a year")]
    Interval(u64),
    /// The cron line is wrong.
    #[error("cron line `{line}`: {reason}")]
    Line {
        /// The line.
        line: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no such time zone.
    #[error("`{0}` is no time zone of the IANA database, such as `Europe/Amsterdam` or `UTC`")]
    Zone(String),
    /// No calendar reaches that far.
    #[error("{0} ms since the epoch is no time of any calendar")]
    Instant(TimestampMs),
}

/// The slots of a schedule.
///
/// When clocks are set forward, a cron line for a time of day that does not exist on that day is due at the moment of the
/// change; when they are set back, at the first of the two. A line with any hour (`*`) is due by elapsed time instead:
/// every quarter of an hour means that also then.
#[derive(Clone, Debug)]
pub struct SlotTimes(Slots);

#[derive(Clone, Debug)]
enum Slots {
    Every(i64),
    Cron { line: CronLine, zone: Tz },
    Once(TimestampMs),
}

impl SlotTimes {
    /// Reads a timing.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn new(timing: &Timing) -> Result<Self, TimingError> {
        match timing {
            Timing::Every(millis) if !(EVERY_MIN_MS..=EVERY_MAX_MS).contains(millis) => {
                Err(TimingError::Interval(*millis))
            }
            Timing::Every(millis) => Ok(Self(Slots::Every(i64::try_from(*millis).unwrap_or(i64::MAX)))),
            Timing::Cron { line, zone } => {
                let shown = || zone.chars().take(64).collect();
                let zone: Tz = zone.parse().map_err(|_| TimingError::Zone(shown()))?;
                let line = CronLine::parse(line).map_err(|reason| TimingError::Line { line: line.clone(), reason })?;
                Ok(Self(Slots::Cron { line, zone }))
            }
            Timing::Once(at_ms) if DateTime::from_timestamp_millis(*at_ms).is_none() => {
                Err(TimingError::Instant(*at_ms))
            }
            Timing::Once(at_ms) => Ok(Self(Slots::Once(*at_ms))),
        }
    }

    /// The first slot after a time, both in ms since the epoch; `None` when there is none any more.
    #[must_use]
    pub fn next_after(&self, after_ms: TimestampMs) -> Option<TimestampMs> {
        match &self.0 {
            Slots::Every(every) => after_ms.div_euclid(*every).checked_add(1)?.checked_mul(*every),
            Slots::Cron { line, zone } => {
                let after = DateTime::from_timestamp_millis(after_ms)?;
                next_of_line(line, *zone, after).map(|slot| slot.timestamp_millis())
            }
            Slots::Once(at_ms) => Some(*at_ms).filter(|at_ms| *at_ms > after_ms),
        }
    }

    /// Whether slots are at times of day, so that none must come again when clocks are set back, rather than "so often".
    #[must_use]
    pub fn is_time_of_day(&self) -> bool {
        match &self.0 {
            Slots::Every(_) => false,
            Slots::Cron { line, .. } => !line.any_hour,
            Slots::Once(_) => true,
        }
    }

    /// The earliest time in `after_ms..until_ms` after which at most `count_max` slots come up to `until_ms`.
    pub(crate) fn after_which(&self, after_ms: TimestampMs, until_ms: TimestampMs, count_max: u64) -> TimestampMs {
        let fits =
            |from_ms| self.last_between(from_ms, until_ms, count_max + 1).is_none_or(|(_, count)| count <= count_max);
        if fits(after_ms) {
            return after_ms;
        }
        // A line may be dense in one month and empty in the next, so there is no better guess than the middle.
        let (mut low_ms, mut high_ms) = (after_ms, until_ms);
        while high_ms - low_ms > 1 {
            let middle_ms = low_ms + (high_ms - low_ms) / 2;
            if fits(middle_ms) { high_ms = middle_ms } else { low_ms = middle_ms }
        }
        high_ms
    }

    /// The last slot at or before `until_ms` and after `after_ms`, and how many there are; `None` when there is none.
    ///
    /// Counts at most `count_max`: what is beyond is only said to be "at least so many".
    #[must_use]
    pub fn last_between(
        &self,
        after_ms: TimestampMs,
        until_ms: TimestampMs,
        count_max: u64,
    ) -> Option<(TimestampMs, u64)> {
        if let Slots::Every(every) = &self.0 {
            let (first, last) = (after_ms.div_euclid(*every), until_ms.div_euclid(*every));
            return (last > first).then(|| (last * every, (last - first).unsigned_abs()));
        }
        let mut found = None;
        let mut at_ms = after_ms;
        let mut count = 0;
        while let Some(slot_ms) = self.next_after(at_ms).filter(|slot_ms| *slot_ms <= until_ms) {
            count += 1;
            if count >= count_max {
                // Too many to walk through: the last one is found from the end.
                return Some((self.last_before(slot_ms, until_ms), count));
            }
            found = Some((slot_ms, count));
            at_ms = slot_ms;
        }
        found
    }

    /// The last slot in `first_ms..=until_ms`, where `first_ms` is one; looks back from the end in growing steps.
    fn last_before(&self, first_ms: TimestampMs, until_ms: TimestampMs) -> TimestampMs {
        let mut step_ms = 60_000;
        loop {
            let from_ms = until_ms.saturating_sub(step_ms).max(first_ms - 1);
            if let Some(slot_ms) = self.next_after(from_ms).filter(|slot_ms| *slot_ms <= until_ms) {
                let mut last_ms = slot_ms;
                while let Some(next_ms) = self.next_after(last_ms).filter(|next_ms| *next_ms <= until_ms) {
                    last_ms = next_ms;
                }
                return last_ms;
            }
            if from_ms < first_ms {
                return first_ms;
            }
            step_ms = step_ms.saturating_mul(2);
        }
    }
}

/// The next slots after a time, in ms since the epoch; for people.
///
/// # Errors
/// Says what is wrong with the timing.
pub fn next_times(timing: &Timing, after_ms: TimestampMs, count: usize) -> Result<Vec<TimestampMs>, TimingError> {
    let slots = SlotTimes::new(timing)?;
    let following = std::iter::successors(slots.next_after(after_ms), |slot_ms| slots.next_after(*slot_ms));
    Ok(following.take(count.min(1_000)).collect())
}

fn next_of_line(line: &CronLine, zone: Tz, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let offset = |at: DateTime<Utc>| zone.offset_from_utc_datetime(&at.naive_utc()).fix();
    let local = after.with_timezone(&zone).naive_local();
    let first = line.after(local).next()?;
    // Far from a change of the clocks, local order is order.
    if let LocalResult::Single(slot) = zone.from_local_datetime(&first) {
        let slot = slot.with_timezone(&Utc);
        let near_after = offset(after - SHIFT_MAX) == offset(after + SHIFT_MAX);
        let near_slot = offset(slot - SHIFT_MAX) == offset(slot + SHIFT_MAX);
        if near_after && near_slot && slot > after {
            return Some(slot);
        }
    }
    next_near_change(line, zone, after, local)
}

/// Looks at every local time around, since a local time may come twice or not at all.
fn next_near_change(line: &CronLine, zone: Tz, after: DateTime<Utc>, local: NaiveDateTime) -> Option<DateTime<Utc>> {
    let mut best: Option<DateTime<Utc>> = None;
    for time in line.after(local - SHIFT_MAX) {
        let is_beyond = |best: DateTime<Utc>| time > best.with_timezone(&zone).naive_local() + SHIFT_MAX;
        if best.is_some_and(is_beyond) {
            break;
        }
        let slots = instants(line, zone, time).into_iter().flatten().filter(|slot| *slot > after);
        best = best.into_iter().chain(slots).min();
    }
    best
}

/// When a local time is due.
fn instants(line: &CronLine, zone: Tz, local: NaiveDateTime) -> [Option<DateTime<Utc>>; 2] {
    let utc = |time: DateTime<Tz>| Some(time.with_timezone(&Utc));
    match zone.from_local_datetime(&local) {
        LocalResult::Single(time) => [utc(time), None],
        LocalResult::Ambiguous(first, second) if line.any_hour => [utc(first), utc(second)],
        LocalResult::Ambiguous(first, _) => [utc(first), None],
        LocalResult::None if line.any_hour => [None, None],
        LocalResult::None => [end_of_gap(zone, local), None],
    }
}

/// The moment at which clocks were set forward over a local time.
fn end_of_gap(zone: Tz, local: NaiveDateTime) -> Option<DateTime<Utc>> {
    // With the offset from before the gap, the local time lies after the change by as much as it lies in the gap.
    let before = zone.from_local_datetime(&(local - SHIFT_MAX)).earliest()?;
    let late = (local - before.offset().fix()).and_utc();
    let late_local = late.with_timezone(&zone).naive_local();
    let gap = late_local - local;
    // Both the true length of the gap and the place in it are needed: go back minute by minute is slow, so bisect.
    let (mut low, mut high) = (late - gap, late);
    let offset = |at: DateTime<Utc>| zone.offset_from_utc_datetime(&at.naive_utc()).fix();
    let after_change = offset(high);
    while high - low > TimeDelta::milliseconds(1) {
        let middle = low + (high - low) / 2;
        if offset(middle) == after_change { high = middle } else { low = middle }
    }
    Some(high)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cron(line: &str, zone: &str) -> SlotTimes {
        SlotTimes::new(&Timing::Cron { line: line.to_owned(), zone: zone.to_owned() }).unwrap()
    }

    fn ms(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis()
    }

    fn check(slots: &SlotTimes, after: &str, expect: &[&str]) {
        let following = std::iter::successors(slots.next_after(ms(after)), |slot| slots.next_after(*slot));
        let found: Vec<i64> = following.take(expect.len()).collect();
        assert_eq!(found, expect.iter().map(|text| ms(text)).collect::<Vec<_>>(), "after {after}");
    }

    #[test]
    fn an_interval_is_due_at_its_multiples() {
        let slots = SlotTimes::new(&Timing::Every(10_000)).unwrap();
        assert_eq!(slots.next_after(0), Some(10_000));
        assert_eq!(slots.next_after(9_999), Some(10_000));
        assert_eq!(slots.next_after(-1), Some(0));
        assert_eq!(slots.last_between(5_000, 45_000, 100), Some((40_000, 4)));
        assert_eq!(slots.last_between(41_000, 45_000, 100), None);
    }

    #[test]
    fn a_time_of_day_comes_once_when_clocks_change() {
        let slots = cron("30 2 * * *", "Europe/Amsterdam");
        // Clocks go from 02:00 to 03:00.
        check(
            &slots,
            "2026-03-28T00:00:00Z",
            &["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"],
        );
        // Clocks go from 03:00 to 02:00.
        check(&slots, "2026-10-24T12:00:00Z", &["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
    }

    #[test]
    fn so_often_goes_by_elapsed_time_when_clocks_change() {
        let slots = cron("*/30 * * * *", "Europe/Amsterdam");
        let half_hours =
            ["2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:00:00Z"];
        check(&slots, "2026-10-25T00:00:00Z", &half_hours);
        check(
            &slots,
            "2026-03-29T00:00:00Z",
            &["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"],
        );
    }

    #[test]
    fn zones_with_odd_changes_work() {
        // Half an hour of summer time.
        let slots = cron("15 2 * * *", "Australia/Lord_Howe");
        check(&slots, "2026-10-03T00:00:00Z", &["2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"]);
        // The change is at midnight.
        let slots = cron("0 0 * * *", "America/Asuncion");
        assert!(slots.next_after(ms("2024-10-05T12:00:00Z")).is_some());
    }

    #[test]
    fn a_year_of_every_minute_has_no_gap_and_no_repetition() {
        let slots = cron("* * * * *", "America/New_York");
        let mut at = ms("2026-01-01T00:00:00Z");
        for _ in 0..365 * 24 * 60 {
            let next = slots.next_after(at).unwrap();
            assert_eq!(next, at + 60_000);
            at = next;
        }
    }

    #[test]
    fn a_long_absence_is_counted_and_its_last_slot_found() {
        let slots = cron("*/5 * * * *", "UTC");
        let (after, until) = (ms("2026-01-01T00:00:00Z"), ms("2026-03-01T00:07:00Z"));
        assert_eq!(slots.last_between(after, until, 100), Some((ms("2026-03-01T00:05:00Z"), 100)));
        assert_eq!(slots.last_between(after, after + 600_000, 100), Some((after + 600_000, 2)));
        let yearly = cron("0 0 1 1 *", "UTC");
        assert_eq!(yearly.last_between(after, ms("2029-06-01T00:00:00Z"), 2), Some((ms("2029-01-01T00:00:00Z"), 2)));
    }

    #[test]
    fn a_timing_that_cannot_be_says_why() {
        let error = |timing| SlotTimes::new(&timing).unwrap_err().to_string();
        assert_eq!(error(Timing::Every(10)), "interval of 10 ms is not between 1000 ms and a year");
        let zone = Timing::Cron { line: "* * * * *".to_owned(), zone: "Mars/Olympus".to_owned() };
        assert!(error(zone).starts_with("`Mars/Olympus` is no time zone"));
        let line = Timing::Cron { line: "* *".to_owned(), zone: "UTC".to_owned() };
        assert!(error(line).starts_with("cron line `* *`: 2 fields"));
    }

    proptest! {
        #[test]
        fn slots_move_on(after in 0i64..4_000_000_000_000, minute in 0u32..60, hour in 0u32..24) {
            let slots = cron(&format!("{minute} {hour} * * *"), "Europe/London");
            let next = slots.next_after(after).unwrap();
            prop_assert!(next > after && next - after <= 26 * 3_600_000, "{}", next - after);
        }
    }
}
