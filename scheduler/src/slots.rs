//! What to do about the slots of a schedule that have come since it was last looked at.

use std::time::Duration;

use tidemark_model::TimestampMs;
use tidemark_queue::{CatchUp, Schedule};

use crate::SlotTimes;

/// Slots that are enqueued at once at most; the others follow with the next look.
const SLOTS_MAX: usize = 100;
/// Passed slots that are counted one by one.
const COUNT_MAX: u64 = 1_000;

/// What a look at a schedule says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DueSlots {
    /// Slots to enqueue, the oldest first.
    pub(crate) enqueue: Vec<TimestampMs>,
    /// Slots that are let pass.
    pub(crate) skipped: u64,
    /// What the schedule's last slot is then.
    pub(crate) last_due_ms: TimestampMs,
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
    let Some(last_ms) = schedule.last_due_ms else {
        // A new schedule begins with its next slot.
        return Some(nothing_since(now_ms));
    };
    if last_ms > now_ms.saturating_add(tolerance_ms) {
        // The clock was set back. Waiting for it could take an hour or, after a wrong year, for ever.
        return Some(nothing_since(now_ms));
    }
    slots.next_after(last_ms).filter(|next_ms| *next_ms <= now_ms)?;
    if schedule.paused {
        return Some(nothing_since(slots.last_between(last_ms, now_ms, COUNT_MAX)?.0));
    }
    let mut due = nothing_since(last_ms);
    let fresh_after_ms = now_ms.saturating_sub(tolerance_ms).saturating_sub(1).max(last_ms);
    if let Some((missed_ms, missed)) = slots.last_between(last_ms, fresh_after_ms, COUNT_MAX) {
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
        };
        Schedule { catch_up, last_due_ms, ..crate::new_schedule("s", Timing::Every(10_000), job) }
    }

    fn check(last_ms: Option<i64>, catch_up: CatchUp, now_ms: i64, enqueue: &[i64], skipped: u64, last_due_ms: i64) {
        let schedule = schedule(last_ms, catch_up);
        let slots = SlotTimes::new(&schedule.timing).unwrap();
        let due = due_slots(&schedule, &slots, now_ms, Duration::from_secs(30));
        let expect = DueSlots { enqueue: enqueue.to_vec(), skipped, last_due_ms };
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
        assert_eq!(hourly(CatchUp::Skip), DueSlots { enqueue: vec![], skipped: 5, last_due_ms });
        assert_eq!(hourly(CatchUp::One), DueSlots { enqueue: vec![last_due_ms], skipped: 4, last_due_ms });
    }

    #[test]
    fn a_schedule_that_is_not_due_has_nothing_to_note() {
        let schedule = schedule(Some(10_000), CatchUp::One);
        let slots = SlotTimes::new(&schedule.timing).unwrap();
        assert_eq!(due_slots(&schedule, &slots, 19_999, Duration::from_secs(30)), None);
        let paused = Schedule { paused: true, ..schedule };
        let due = due_slots(&paused, &slots, 95_000, Duration::from_secs(30)).unwrap();
        assert_eq!(due, DueSlots { enqueue: vec![], skipped: 0, last_due_ms: 90_000 });
    }
}
