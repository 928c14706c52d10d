//! The scheduler in simulated time, over the in-memory broker.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use chrono::DateTime;
use tidemark_model::{Clock, ManualClock};
use tidemark_queue::{
    Broker, BrokerOptions, CatchUp, FetchRequest, JobKind, JobTemplate, MemoryBroker, Outcome, Priority, Schedule,
    ScheduleExpect, Timing, WorkerId,
};
use tidemark_scheduler::{Scheduler, SchedulerOptions, SlotTimes, ensure_schedule, new_schedule, next_times, run_now};

fn ms(text: &str) -> i64 {
    DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis()
}

struct World {
    clock: Arc<ManualClock>,
    broker: Arc<MemoryBroker>,
}

impl World {
    fn at(text: &str) -> Self {
        let clock = Arc::new(ManualClock::new(ms(text)));
        let broker = Arc::new(MemoryBroker::new(BrokerOptions::default(), clock.clone(), 1));
        Self { clock, broker }
    }

    fn scheduler(&self, owner: &str) -> Scheduler {
        Scheduler::new(SchedulerOptions::new(owner), self.broker.clone(), self.clock.clone())
    }

    async fn schedule(&self, schedule: Schedule) {
        ensure_schedule(&*self.broker, schedule).await.unwrap();
    }

    /// Fetches and completes all jobs; their unique keys.
    async fn take_jobs(&self) -> Vec<String> {
        let mut keys = Vec::new();
        loop {
            let queues = vec![JobKind::Rollup.default_queue()];
            let request = FetchRequest { worker: WorkerId::new("w"), queues, max: 100, wait: Duration::ZERO };
            let deliveries = self.broker.fetch(request).await.unwrap();
            if deliveries.is_empty() {
                return keys;
            }
            keys.extend(deliveries.iter().map(|delivery| delivery.job.unique.as_ref().unwrap().key.clone()));
            let completed = || Outcome::Completed { result: None };
            let settle = deliveries.into_iter().map(|delivery| (delivery.receipt, completed())).collect();
            self.broker.settle(settle).await.unwrap();
        }
    }
}

fn template() -> JobTemplate {
    JobTemplate {
        kind: JobKind::Rollup,
        queue: None,
        priority: Priority::Normal,
        payload: b"x".to_vec(),
        time_limit: None,
        expires_after: None,
        rate_key: None,
    }
}

fn every(name: &str, seconds: u64) -> Schedule {
    new_schedule(name, Timing::Every(seconds * 1_000), template())
}

fn cron(name: &str, line: &str, zone: &str) -> Schedule {
    new_schedule(name, Timing::Cron { line: line.to_owned(), zone: zone.to_owned() }, template())
}

#[tokio::test]
async fn a_year_of_cron_enqueues_each_slot_once() {
    let world = World::at("2026-01-01T00:00:00Z");
    let schedules = [
        cron("quarter", "*/15 * * * *", "Europe/Amsterdam"),
        cron("night", "30 2 * * *", "Europe/Amsterdam"),
        cron("weekday", "0 9 * * 1-5", "America/New_York"),
    ];
    for schedule in schedules.clone() {
        world.schedule(schedule).await;
    }
    let mut scheduler = world.scheduler("a");
    scheduler.step().await.unwrap();
    let (start_ms, end_ms) = (world.clock.now_ms(), ms("2027-01-01T00:00:00Z"));
    let mut seen = Vec::new();
    while world.clock.now_ms() < end_ms {
        world.clock.advance(Duration::from_secs(5 * 60));
        scheduler.step().await.unwrap();
        // Past the tolerance there is nothing to find: we look every five minutes, on the minute.
        seen.extend(world.take_jobs().await);
    }
    let mut expect = Vec::new();
    for schedule in &schedules {
        let slots = SlotTimes::new(&schedule.timing).unwrap();
        let following = std::iter::successors(slots.next_after(start_ms), |slot_ms| slots.next_after(*slot_ms));
        let in_year = following.take_while(|slot_ms| *slot_ms <= end_ms);
        expect.extend(in_year.map(|slot_ms| format!("{}@{slot_ms}", schedule.name)));
    }
    seen.sort();
    expect.sort();
    assert_eq!(seen.len(), expect.len());
    assert!(seen == expect);
    assert_eq!(seen.iter().filter(|key| key.starts_with("quarter@")).count(), 365 * 24 * 4);
    assert_eq!(seen.iter().filter(|key| key.starts_with("night@")).count(), 365);
    assert_eq!(scheduler.handle().skipped(), 0);
}

#[tokio::test]
async fn one_of_two_leads_and_the_other_takes_over_within_ten_seconds() {
    let world = World::at("2026-01-01T00:00:00Z");
    world.schedule(every("tick", 1)).await;
    let (mut first, mut second) = (world.scheduler("a"), world.scheduler("b"));
    let mut seen = Vec::new();
    for _ in 0..60 {
        world.clock.advance(Duration::from_millis(500));
        assert!(first.step().await.unwrap().leads);
        assert!(!second.step().await.unwrap().leads);
        seen.extend(world.take_jobs().await);
    }
    // The first one dies.
    let died_ms = world.clock.now_ms();
    while !second.step().await.unwrap().leads {
        world.clock.advance(Duration::from_millis(500));
        assert!(world.clock.now_ms() - died_ms <= 10_000, "no new leader within 10 s");
    }
    // And comes back: it does not lead, and nothing is enqueued twice.
    for _ in 0..60 {
        world.clock.advance(Duration::from_millis(500));
        second.step().await.unwrap();
        assert!(!first.step().await.unwrap().leads);
        seen.extend(world.take_jobs().await);
    }
    let distinct: BTreeSet<_> = seen.iter().collect();
    assert_eq!(distinct.len(), seen.len());
    let seconds = (world.clock.now_ms() - ms("2026-01-01T00:00:00Z")) / 1_000;
    assert_eq!(seen.len() as i64, seconds, "no slot is skipped");
}

#[tokio::test]
async fn a_leader_that_dies_between_push_and_note_makes_no_slot_come_twice() {
    let world = World::at("2026-01-01T00:00:00Z");
    world.schedule(every("tick", 10)).await;
    let mut first = world.scheduler("a");
    first.step().await.unwrap();
    world.clock.advance(Duration::from_secs(10));
    let before = world.broker.schedule("tick").await.unwrap().unwrap();
    first.step().await.unwrap();
    assert_eq!(world.take_jobs().await.len(), 1);
    // As if the note had never been written.
    world.broker.put_schedule(before, ScheduleExpect::Any).await.unwrap();
    world.broker.resign("scheduler", "a").await.unwrap();
    let mut second = world.scheduler("b");
    second.step().await.unwrap();
    assert_eq!(world.take_jobs().await, Vec::<String>::new());
    world.clock.advance(Duration::from_secs(10));
    second.step().await.unwrap();
    assert_eq!(world.take_jobs().await.len(), 1);
}

#[tokio::test]
async fn an_absence_is_skipped_or_caught_up_by_policy() {
    let world = World::at("2026-01-01T00:00:00Z");
    world.schedule(cron("skip", "0 * * * *", "UTC")).await;
    world.schedule(Schedule { catch_up: CatchUp::One, ..cron("one", "0 * * * *", "UTC") }).await;
    let mut scheduler = world.scheduler("a");
    scheduler.step().await.unwrap();
    world.clock.advance(Duration::from_secs(5 * 3_600 + 1_800));
    let report = scheduler.step().await.unwrap();
    assert_eq!((report.enqueued, report.skipped), (1, 5 + 4));
    let last = ms("2026-01-01T05:00:00Z");
    assert_eq!(world.take_jobs().await, [format!("one@{last}")]);
}

#[tokio::test]
async fn clock_jumps_neither_repeat_slots_nor_stop_the_schedule() {
    let world = World::at("2026-06-01T12:00:00Z");
    world.schedule(every("tick", 10)).await;
    let mut scheduler = world.scheduler("a");
    let mut seen = Vec::new();
    let mut run = async |seconds: u64, seen: &mut Vec<String>| {
        let before = seen.len();
        for _ in 0..seconds {
            world.clock.advance(Duration::from_secs(1));
            scheduler.step().await.unwrap();
            seen.extend(world.take_jobs().await);
        }
        seen.len() - before
    };
    assert_eq!(run(60, &mut seen).await, 6);
    for jump_ms in [3_600_000, -3_600_000, 86_400_000, -5_000] {
        world.clock.set_now_ms(world.clock.now_ms() + jump_ms);
        run(120, &mut seen).await;
        // After at most two minutes it goes on.
        assert!(run(60, &mut seen).await >= 6, "after a jump by {jump_ms} ms");
    }
    let distinct: BTreeSet<_> = seen.iter().collect();
    assert_eq!(distinct.len(), seen.len());
}

#[tokio::test]
async fn a_paused_schedule_lets_its_slots_pass_and_a_splay_spreads_them() {
    let world = World::at("2026-01-01T00:00:00Z");
    world.schedule(Schedule { paused: true, ..every("paused", 10) }).await;
    world.schedule(Schedule { splay: Duration::from_secs(5), ..every("spread", 10) }).await;
    let mut scheduler = world.scheduler("a");
    scheduler.step().await.unwrap();
    world.clock.advance(Duration::from_secs(10));
    scheduler.step().await.unwrap();
    let early = world.take_jobs().await;
    world.clock.advance(Duration::from_secs(5));
    let late = world.take_jobs().await;
    let all: Vec<_> = early.into_iter().chain(late).collect();
    assert_eq!(all.len(), 1);
    assert!(all[0].starts_with("spread@"));
    let mut resumed = world.broker.schedule("paused").await.unwrap().unwrap();
    resumed.paused = false;
    world.broker.put_schedule(resumed, ScheduleExpect::Any).await.unwrap();
    world.clock.advance(Duration::from_secs(5));
    scheduler.step().await.unwrap();
    let keys = world.take_jobs().await;
    assert_eq!(keys.iter().filter(|key| key.starts_with("paused@")).count(), 1);
}

#[tokio::test]
async fn ensuring_a_schedule_keeps_its_last_slot() {
    let world = World::at("2026-01-01T00:00:00Z");
    world.schedule(every("tick", 10)).await;
    let mut scheduler = world.scheduler("a");
    scheduler.step().await.unwrap();
    let noted = world.broker.schedule("tick").await.unwrap().unwrap();
    world.schedule(every("tick", 20)).await;
    let changed = world.broker.schedule("tick").await.unwrap().unwrap();
    assert_eq!((changed.last_due_ms, &changed.timing), (noted.last_due_ms, &Timing::Every(20_000)));
    let error = ensure_schedule(&*world.broker, every("hasty", 0)).await.unwrap_err().to_string();
    assert_eq!(error, "schedule `hasty`: interval of 0 ms is not between 1000 ms and a year");
    run_now(&*world.broker, "tick", world.clock.now_ms()).await.unwrap();
    assert_eq!(world.broker.queues().await.unwrap()[0].ready, 1);
    assert!(run_now(&*world.broker, "nobody", 0).await.is_err());
}

#[tokio::test]
async fn a_broker_that_is_away_delays_slots_and_loses_none() {
    let world = World::at("2026-01-01T00:00:00Z");
    world.schedule(every("tick", 10)).await;
    let mut scheduler = world.scheduler("a");
    scheduler.step().await.unwrap();
    let mut seen = Vec::new();
    for round in 0..100 {
        world.clock.advance(Duration::from_secs(1));
        match round % 3 {
            0 => world.broker.faults().refuse_next(1),
            1 => world.broker.faults().lose_next_answers(2),
            _ => {}
        }
        drop(scheduler.step().await);
        world.broker.faults().refuse_next(0);
        world.broker.faults().lose_next_answers(0);
        seen.extend(world.take_jobs().await);
    }
    world.clock.advance(Duration::from_secs(1));
    scheduler.step().await.unwrap();
    seen.extend(world.take_jobs().await);
    let distinct: BTreeSet<_> = seen.iter().collect();
    assert_eq!((seen.len(), distinct.len()), (10, 10));
}

/// A year in steps of seven minutes, over both changes of the clocks: leaders die, come back and are cut off from the
/// broker, and once nobody leads for two days.
#[tokio::test]
async fn through_a_year_of_changing_leaders_every_slot_comes_once_or_is_said_to_have_passed() {
    let world = World::at("2026-01-01T00:00:00Z");
    let all = |schedule| Schedule { catch_up: CatchUp::All, ..schedule };
    let schedules = [
        all(cron("hourly", "0 * * * *", "Europe/Amsterdam")),
        all(cron("night", "30 2 * * *", "Europe/Amsterdam")),
        all(cron("weekday", "0 9 * * 1-5", "America/New_York")),
        cron("skips", "0 */6 * * *", "Australia/Lord_Howe"),
        new_schedule("once", Timing::Once(ms("2026-07-04T12:00:00Z")), template()),
    ];
    for schedule in schedules.clone() {
        world.schedule(schedule).await;
    }
    let mut leaders = [world.scheduler("a"), world.scheduler("b"), world.scheduler("c")];
    leaders[0].step().await.unwrap();
    let (start_ms, end_ms) = (world.clock.now_ms(), ms("2027-01-01T00:00:00Z"));
    let absence_ms = ms("2026-05-01T00:00:00Z")..ms("2026-05-03T00:00:00Z");
    let mut seen = Vec::new();
    let mut round: u64 = 0;
    while world.clock.now_ms() < end_ms {
        world.clock.advance(Duration::from_secs(7 * 60));
        round += 1;
        if absence_ms.contains(&world.clock.now_ms()) {
            continue;
        }
        // A few are tried; which, and what happens to their calls, changes all the time.
        let chosen = usize::try_from(round.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 60).unwrap() % 3;
        match round % 7 {
            0 => world.broker.faults().refuse_next(2),
            1 => world.broker.faults().lose_next_answers(3),
            _ => {}
        }
        drop(leaders[chosen].step().await);
        world.broker.faults().refuse_next(0);
        world.broker.faults().lose_next_answers(0);
        if round.is_multiple_of(11) {
            // The leader dies: its lease runs out before the next look.
            leaders[chosen] = world.scheduler(["a", "b", "c"][chosen]);
        }
        seen.extend(world.take_jobs().await);
    }
    world.clock.advance(Duration::from_secs(10));
    leaders[0].step().await.unwrap();
    seen.extend(world.take_jobs().await);
    let distinct: BTreeSet<&String> = seen.iter().collect();
    assert_eq!(distinct.len(), seen.len(), "no slot comes twice");
    for schedule in &schedules {
        let slots = SlotTimes::new(&schedule.timing).unwrap();
        let following = std::iter::successors(slots.next_after(start_ms), |slot_ms| slots.next_after(*slot_ms));
        let keys = following.take_while(|slot_ms| *slot_ms <= end_ms).map(|ms| format!("{}@{ms}", schedule.name));
        let (came, passed): (Vec<String>, Vec<String>) = keys.partition(|key| distinct.contains(key));
        if schedule.catch_up == CatchUp::All {
            assert_eq!(passed, Vec::<String>::new());
        } else {
            assert!(!came.is_empty() || schedule.name == "once", "{}", schedule.name);
        }
    }
    let keys_of = |name: &str| seen.iter().filter(|key| key.starts_with(name)).count();
    assert_eq!((keys_of("hourly@"), keys_of("night@")), (365 * 24, 365));
    assert!(world.broker.schedule("once").await.unwrap().is_none(), "a one-off is forgotten after a day");
}

#[tokio::test]
async fn a_one_off_fires_once_is_shown_as_done_and_may_be_given_a_new_time() {
    let world = World::at("2026-01-01T00:00:00Z");
    let at_ms = ms("2026-01-01T00:01:00Z");
    world.schedule(new_schedule("once", Timing::Once(at_ms), template())).await;
    let mut scheduler = world.scheduler("a");
    for _ in 0..120 {
        world.clock.advance(Duration::from_secs(1));
        scheduler.step().await.unwrap();
    }
    assert_eq!(world.take_jobs().await, [format!("once@{at_ms}")]);
    assert!(world.broker.schedule("once").await.unwrap().unwrap().is_done());
    // Clocks are set back: it has been.
    world.clock.set_now_ms(at_ms - 30_000);
    for _ in 0..120 {
        world.clock.advance(Duration::from_secs(1));
        scheduler.step().await.unwrap();
    }
    assert_eq!(world.take_jobs().await, Vec::<String>::new());
    let again_ms = at_ms + 600_000;
    world.schedule(new_schedule("once", Timing::Once(again_ms), template())).await;
    world.clock.advance(Duration::from_secs(515));
    scheduler.step().await.unwrap();
    assert_eq!(world.take_jobs().await, [format!("once@{again_ms}")]);
}

#[tokio::test]
async fn when_clocks_jump_times_of_day_come_once_and_all_missed_slots_are_caught_up() {
    let world = World::at("2026-06-01T00:00:00Z");
    let all = |schedule| Schedule { catch_up: CatchUp::All, ..schedule };
    world.schedule(all(cron("daily", "0 3 * * *", "UTC"))).await;
    world.schedule(all(cron("quarter", "*/15 * * * *", "UTC"))).await;
    let mut scheduler = world.scheduler("a");
    scheduler.step().await.unwrap();
    let mut seen = Vec::new();
    let mut run = async |minutes: u64, seen: &mut Vec<String>| {
        for _ in 0..minutes {
            world.clock.advance(Duration::from_secs(60));
            scheduler.step().await.unwrap();
            seen.extend(world.take_jobs().await);
        }
    };
    run(4 * 60, &mut seen).await;
    for jump_ms in [3_600_000, -3_600_000, 86_400_000, -7_200_000] {
        world.clock.set_now_ms(world.clock.now_ms() + jump_ms);
        run(3 * 60, &mut seen).await;
    }
    let now_ms = world.clock.now_ms();
    let distinct: BTreeSet<&String> = seen.iter().collect();
    assert_eq!(distinct.len(), seen.len());
    let due = |key: &String| key.split(['@', '#']).nth(1).unwrap().parse::<i64>().unwrap();
    let mut daily: Vec<i64> = seen.iter().filter(|key| key.starts_with("daily@")).map(due).collect();
    daily.dedup();
    let expect = [ms("2026-06-01T03:00:00Z"), ms("2026-06-02T03:00:00Z")];
    assert_eq!(daily, expect.into_iter().filter(|due_ms| *due_ms <= now_ms).collect::<Vec<_>>());
    // Nothing between the first and the last slot is missing.
    let quarters: BTreeSet<i64> = seen.iter().filter(|key| key.starts_with("quarter@")).map(due).collect();
    let (first, last) = (*quarters.first().unwrap(), *quarters.last().unwrap());
    assert_eq!(quarters.len() as i64, (last - first) / 900_000 + 1);
}

#[test]
fn the_next_times_can_be_shown() {
    let timing = Timing::Cron { line: "0 12 * * *".to_owned(), zone: "Asia/Tokyo".to_owned() };
    let times = next_times(&timing, ms("2026-01-01T00:00:00Z"), 2).unwrap();
    assert_eq!(times, [ms("2026-01-01T03:00:00Z"), ms("2026-01-02T03:00:00Z")]);
}
