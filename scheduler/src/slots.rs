//! What to do about the slots of a schedule that have come since it was last looked at.

use std::time::Duration;

use tidemark_model::TimestampMs;
use tidemark_queue::{CATCH_UP_MAX, CatchUp, Schedule, Timing};

use crate::SlotTimes;

/// Slots that are enqueued at once at most; the others follow with the next look.
const SLOTS_MAX: usize = 100;
/// Passed slots that are counted one by one.
const COUNT_MAX: u64 = 1_000;
/// When clocks were set back by at most this, a time of day that has been is waited for rather than repeated.
const SET_BACK_MAX_MS: i64 = 25 * 3_600 * 1_000;

/// What a look at a schedule says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DueSlots {
    /// Slots to enqueue, the oldest first.
    pub(crate) enqueue: Vec<TimestampMs>,
    /// Slots that are let pass.
    pub(crate) skipped: u64,
    /// What the schedule's last slot is then.
    pub(crate) last_due_ms: TimestampMs,
    /// Whether the schedule begins anew, because clocks were set back.
    pub(crate) begins_anew: bool,
}

/// The slots that have come, or `None` when there is nothing to note. A slot may be late by `tolerance` and still counts as
/// in time; what is older is for the catch-up policy.
pub(crate) fn due_slots(
    schedule: &Schedule,
    slots: &SlotTimes,
    now_ms: TimestampMs,
    tolerance: Duration,
) -> Option<DueSlots> {
    let tolerance_ms = i64::try_from(tolerance.as_millis()).unwrap_or(i64::MAX);
    let nothing_since = |last_due_ms| DueSlots { last_due_ms, ..DueSlots::default() };
    if schedule.is_done() {
        return None;
    }
    let last_ms = match (schedule.last_due_ms, &schedule.timing) {
        (Some(last_ms), _) => last_ms,
        // It is due even if its time came before anybody looked at it.
        (None, Timing::Once(at_ms)) => at_ms.saturating_sub(1),
        // A new schedule begins with its next slot.
        (None, _) => return Some(nothing_since(now_ms)),
    };
    let ahead_ms = last_ms.saturating_sub(now_ms);
    if ahead_ms > tolerance_ms && schedule.last_due_ms.is_some() {
        // The clock was set back. "So often" goes on, since nobody wants to be without it for an hour; what comes at a time
        // of day has been. But a clock that was wrong by years must not stop anything for years.
        let has_been = slots.is_time_of_day() && ahead_ms <= SET_BACK_MAX_MS;
        return (!has_been).then(|| DueSlots { begins_anew: true, ..nothing_since(now_ms) });
    }
    slots.next_after(last_ms).filter(|next_ms| *next_ms <= now_ms)?;
    if schedule.paused {
        return Some(nothing_since(slots.last_between(last_ms, now_ms, COUNT_MAX)?.0));
    }
    let mut due = nothing_since(last_ms);
    let fresh_after_ms = now_ms.saturating_sub(tolerance_ms).saturating_sub(1).max(last_ms);
    if schedule.catch_up == CatchUp::All {
        due.last_due_ms = slots.after_which(last_ms, fresh_after_ms, CATCH_UP_MAX);
        due.skipped = slots.last_between(last_ms, due.last_due_ms, COUNT_MAX).map_or(0, |(_, skipped)| skipped);
    } else if let Some((missed_ms, missed)) = slots.last_between(last_ms, fresh_after_ms, COUNT_MAX) {
        let is_caught_up = schedule.catch_up == CatchUp::One && slots.last_between(missed_ms, now_ms, 1).is_none();
        due.skipped = missed - u64::from(is_caught_up);
        due.last_due_ms = missed_ms;
        due.enqueue.extend(is_caught_up.then_some(missed_ms));
    }
    while due.enqueue.len() < SLOTS_MAX {
        let Some(slot_ms) = slots.next_after(due.last_due_ms).filter(|slot_ms| *slot_ms <= now_ms) else { break };
        due.enqueue.push(slot_ms);
        due.last_due_ms = slot_ms;
    }
    Some(due)
}

#[cfg(test)]
mod tests {
    use tidemark_queue::{JobKind, JobTemplate, Priority, Timing};

    use super::*;

    fn schedule(last_due_ms: Option<i64>, catch_up: CatchUp) -> Schedule {
        let job = JobTemplate {
            kind: JobKind::Rollup,
            queue: None,
            priority: Priority::Normal,
            payload: Vec::new(),
            time_limit: None,
            expires_after: None,
            rate_key: None,
        };
        Schedule { catch_up, last_due_ms, ..crate::new_schedule("s", Timing::Every(10_000), job) }
    }

    #[test]
    fn all_slots_of_an_absence_are_caught_up_and_of_very_many_the_last() {
        let look = |last_ms, now_ms| {
            let schedule = schedule(Some(last_ms), CatchUp::All);
            let slots = SlotTimes::new(&schedule.timing).unwrap();
            due_slots(&schedule, &slots, now_ms, Duration::from_secs(30)).unwrap()
        };
        let all = look(10_000, 500_000);
        assert_eq!((all.enqueue.len(), all.skipped, all.enqueue[0], all.last_due_ms), (49, 0, 20_000, 500_000));
        // 1,500 slots: those that are in time come on top of the thousand.
        let now_ms = 15_000_000;
        let (mut last_ms, mut enqueued, mut skipped) = (0, Vec::new(), 0);
        while last_ms < now_ms {
            let due = look(last_ms, now_ms);
            assert!(due.enqueue.len() <= SLOTS_MAX);
            enqueued.extend(due.enqueue);
            skipped += due.skipped;
            last_ms = due.last_due_ms;
        }
        let in_time = [14_970_000, 14_980_000, 14_990_000, 15_000_000];
        assert_eq!((enqueued.len(), skipped), (1_000 + in_time.len(), 496));
        assert!(enqueued.is_sorted() && enqueued.ends_with(&in_time));
    }

    #[test]
    fn a_one_off_is_due_once_also_when_its_time_came_before_the_first_look() {
        let once =
            |at_ms, last_due_ms| Schedule { timing: Timing::Once(at_ms), ..schedule(last_due_ms, CatchUp::Skip) };
        let look = |schedule: &Schedule, now_ms| {
            due_slots(schedule, &SlotTimes::new(&schedule.timing).unwrap(), now_ms, Duration::from_secs(30))
        };
        let fires = DueSlots { enqueue: vec![50_000], last_due_ms: 50_000, ..DueSlots::default() };
        assert_eq!(look(&once(50_000, None), 49_999), None);
        assert_eq!(look(&once(50_000, None), 50_000), Some(fires.clone()));
        assert_eq!(look(&once(50_000, None), 70_000), Some(fires));
        let skipped = DueSlots { skipped: 1, last_due_ms: 50_000, ..DueSlots::default() };
        assert_eq!(look(&once(50_000, None), 90_000), Some(skipped));
        assert!(once(50_000, Some(50_000)).is_done());
        // Also when clocks are set back.
        assert_eq!(look(&once(50_000_000, Some(50_000_000)), 1_000), None);
    }

    #[test]
    fn when_clocks_are_set_back_times_of_day_are_waited_for_and_intervals_go_on() {
        let daily = Timing::Cron { line: "0 3 * * *".to_owned(), zone: "UTC".to_owned() };
        let daily = Schedule { timing: daily, ..schedule(Some(86_400_000 * 10 + 3 * 3_600_000), CatchUp::Skip) };
        let look = |schedule: &Schedule, set_back_ms| {
            let slots = SlotTimes::new(&schedule.timing).unwrap();
            due_slots(schedule, &slots, schedule.last_due_ms.unwrap() - set_back_ms, Duration::from_secs(30))
        };
        assert_eq!(look(&daily, 3_600_000), None);
        assert!(look(&daily, 86_400_000 * 365).unwrap().begins_anew);
        let anew = look(&schedule(Some(86_400_000), CatchUp::Skip), 3_600_000).unwrap();
        assert_eq!((anew.begins_anew, anew.last_due_ms), (true, 86_400_000 - 3_600_000));
    }

    fn check(last_ms: Option<i64>, catch_up: CatchUp, now_ms: i64, enqueue: &[i64], skipped: u64, last_due_ms: i64) {
        let schedule = schedule(last_ms, catch_up);
        let slots = SlotTimes::new(&schedule.timing).unwrap();
        let due = due_slots(&schedule, &slots, now_ms, Duration::from_secs(30));
        let begins_anew = last_ms.is_some_and(|last_ms| last_ms > now_ms);
        let expect = DueSlots { enqueue: enqueue.to_vec(), skipped, last_due_ms, begins_anew };
        assert_eq!(due, Some(expect), "{last_ms:?} {catch_up:?} at {now_ms}");
    }

    #[test]
    fn late_slots_are_in_time_and_old_ones_are_for_the_policy() {
        check(None, CatchUp::Skip, 15_000, &[], 0, 15_000);
        check(Some(10_000), CatchUp::Skip, 20_400, &[20_000], 0, 20_000);
        check(Some(10_000), CatchUp::Skip, 42_000, &[20_000, 30_000, 40_000], 0, 40_000);
        // Away for a while: the slots of the last 30 s are in time.
        check(Some(10_000), CatchUp::Skip, 500_000, &[470_000, 480_000, 490_000, 500_000], 45, 500_000);
        check(Some(10_000), CatchUp::One, 500_000, &[470_000, 480_000, 490_000, 500_000], 45, 500_000);
        // The clock was set back.
        check(Some(7_200_000), CatchUp::One, 3_600_500, &[], 0, 3_600_500);
    }

    #[test]
    fn one_slot_of_an_absence_is_caught_up_if_asked_for() {
        let hourly = |catch_up| {
            let timing = Timing::Every(3_600_000);
            let schedule = Schedule { timing, ..schedule(Some(0), catch_up) };
            let slots = SlotTimes::new(&schedule.timing).unwrap();
            due_slots(&schedule, &slots, 5 * 3_600_000 + 600_000, Duration::from_secs(30)).unwrap()
        };
        let last_due_ms = 5 * 3_600_000;
        assert_eq!(hourly(CatchUp::Skip), DueSlots { skipped: 5, last_due_ms, ..DueSlots::default() });
        assert_eq!(
            hourly(CatchUp::One),
            DueSlots { enqueue: vec![last_due_ms], skipped: 4, last_due_ms, begins_anew: false }
        );
    }

    #[test]
    fn a_schedule_that_is_not_due_has_nothing_to_note() {
        let schedule = schedule(Some(10_000), CatchUp::One);
        let slots = SlotTimes::new(&schedule.timing).unwrap();
        assert_eq!(due_slots(&schedule, &slots, 19_999, Duration::from_secs(30)), None);
        let paused = Schedule { paused: true, ..schedule };
        let due = due_slots(&paused, &slots, 95_000, Duration::from_secs(30)).unwrap();
        assert_eq!(due, DueSlots { last_due_ms: 90_000, ..DueSlots::default() });
    }
}
