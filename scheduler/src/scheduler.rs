//! The service: one leader looks at all schedules a few times a second.

use std::{
    collections::{HashMap, HashSet},
    hash::Hasher,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tidemark_model::{Clock, TimestampMs};
use tidemark_queue::{Broker, BrokerError, CatchUp, NewJob, Schedule, ScheduleExpect, Timing};
use tokio_util::sync::CancellationToken;

use crate::{SlotTimes, TimingError, slots::due_slots};

/// What an operator can set about the scheduler.
#[derive(Clone, Debug)]
pub struct SchedulerOptions {
    /// Its name, unique among the schedulers of a broker.
    pub owner: String,
    /// How long leadership lasts unless it is renewed. A successor takes over within this and one look.
    pub lease: Duration,
    /// How often to look, and how often to try to become the leader.
    pub every: Duration,
    /// How late a slot may be enqueued and still count as in time; older ones are for the catch-up policy.
    pub tolerance: Duration,
}

impl SchedulerOptions {
    /// The defaults: a new leader within 10 s.
    #[must_use]
    pub fn new(owner: &str) -> Self {
        Self {
            owner: owner.to_owned(),
            lease: Duration::from_secs(9),
            every: Duration::from_millis(500),
            tolerance: Duration::from_secs(30),
        }
    }
}

/// Turns schedules into jobs while it leads.
pub struct Scheduler {
    options: SchedulerOptions,
    broker: Arc<dyn Broker>,
    clock: Arc<dyn Clock>,
    handle: SchedulerHandle,
    /// Until when we lead, by the monotonic clock.
    leads_until: Duration,
    /// Timings that were read, so that a cron line is parsed once.
    timings: HashMap<String, (Timing, Result<SlotTimes, TimingError>)>,
    /// Schedules whose queue takes no jobs, of which it was said already.
    refused: HashSet<String>,
}

/// What others see of a scheduler. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct SchedulerHandle {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    leads: AtomicBool,
    enqueued: AtomicU64,
    skipped: AtomicU64,
    failures: AtomicU64,
}

impl SchedulerHandle {
    /// Whether it leads.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.shared.leads.load(Ordering::Relaxed)
    }

    /// Jobs enqueued so far.
    #[must_use]
    pub fn enqueued(&self) -> u64 {
        self.shared.enqueued.load(Ordering::Relaxed)
    }

    /// Slots that were let pass so far.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.shared.skipped.load(Ordering::Relaxed)
    }

    /// Looks that failed so far because the broker did not answer.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.shared.failures.load(Ordering::Relaxed)
    }
}

/// What one look did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepReport {
    /// Whether we lead.
    pub leads: bool,
    /// Jobs enqueued.
    pub enqueued: u64,
    /// Slots let pass.
    pub skipped: u64,
}

impl Scheduler {
    /// A scheduler on this broker's schedules.
    #[must_use]
    pub fn new(options: SchedulerOptions, broker: Arc<dyn Broker>, clock: Arc<dyn Clock>) -> Self {
        let handle = SchedulerHandle::default();
        let (timings, refused) = (HashMap::new(), HashSet::new());
        Self { options, broker, clock, handle, leads_until: Duration::ZERO, timings, refused }
    }

    /// To look at the scheduler while it runs.
    #[must_use]
    pub fn handle(&self) -> SchedulerHandle {
        self.handle.clone()
    }

    /// Looks until `stop` fires, then gives leadership up.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut failing = false;
        loop {
            match self.step().await {
                Ok(_) => failing = false,
                Err(BrokerError::Closed) => break,
                Err(error) => {
                    self.handle.shared.failures.fetch_add(1, Ordering::Relaxed);
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "look at the schedules; trying again");
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(self.options.every) => {}
            }
        }
        if self.handle.leads() {
            self.note_leading(false);
            if let Err(error) = self.broker.resign(LEADERSHIP, &self.options.owner).await {
                tracing::debug!(%error, "give leadership up; it runs out by itself");
            }
        }
    }

    /// Tries to lead, and if so enqueues what is due. [`Scheduler::run`] does this again and again; a simulation does it
    /// itself.
    ///
    /// # Errors
    /// The broker did not answer: what was due is still due.
    pub async fn step(&mut self) -> Result<StepReport, BrokerError> {
        let asked = self.clock.monotonic();
        let lead = self.broker.try_lead(LEADERSHIP, &self.options.owner, self.options.lease).await;
        match lead {
            Ok(lead) => {
                // The lease began when the broker answered, which is no earlier than when it was asked.
                self.leads_until = lead.as_ref().map_or(Duration::ZERO, |lead| asked + lead.ttl);
                self.note_leading(lead.is_some());
            }
            Err(error) => {
                self.note_leading(self.clock.monotonic() < self.leads_until);
                return Err(error);
            }
        }
        let mut report = StepReport { leads: self.handle.leads(), ..StepReport::default() };
        if report.leads {
            let schedules = self.broker.schedules().await?;
            let names: HashSet<&str> = schedules.iter().map(|schedule| schedule.name.as_str()).collect();
            self.timings.retain(|name, _| names.contains(name.as_str()));
            self.refused.retain(|name| names.contains(name.as_str()));
            for schedule in schedules {
                self.look_at(schedule, &mut report).await?;
            }
        }
        Ok(report)
    }

    fn note_leading(&self, leads: bool) {
        if self.handle.shared.leads.swap(leads, Ordering::Relaxed) != leads {
            let owner = self.options.owner.as_str();
            if leads {
                tracing::info!(owner, "this scheduler leads now");
            } else {
                tracing::info!(owner, "this scheduler does not lead any more");
            }
        }
    }

    async fn look_at(&mut self, schedule: Schedule, report: &mut StepReport) -> Result<(), BrokerError> {
        if schedule.is_done() {
            return self.forget_done(schedule).await;
        }
        let Some(slots) = self.slots_of(&schedule) else { return Ok(()) };
        let Some(due) = due_slots(&schedule, &slots, self.clock.now_ms(), self.options.tolerance) else {
            return Ok(());
        };
        if due.skipped > 0 {
            tracing::warn!(schedule = schedule.name, slots = due.skipped, "slots passed while no scheduler ran");
        }
        if due.begins_anew {
            tracing::warn!(schedule = schedule.name, "the clock was set back: the schedule begins anew");
        }
        let jobs: Vec<NewJob> = due.enqueue.iter().filter_map(|due_ms| self.job_of(&schedule, *due_ms)).collect();
        let enqueued = jobs.len() as u64;
        if self.clock.monotonic() >= self.leads_until {
            // The broker took so long that somebody else may lead: the slots are theirs.
            return Ok(());
        }
        if !jobs.is_empty() {
            match self.broker.push(jobs).await {
                Ok(_queued_or_known) => {
                    self.refused.remove(&schedule.name);
                }
                Err(error @ (BrokerError::Full { .. } | BrokerError::Draining { .. } | BrokerError::Invalid(_))) => {
                    // One schedule must not hold up the others; it stays due.
                    if self.refused.insert(schedule.name.clone()) {
                        tracing::warn!(schedule = schedule.name, %error, "enqueue a slot; trying again");
                    }
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        // IMPORTANT: after the push; see the crate's text.
        let expect = ScheduleExpect::Version(schedule.version);
        let round = schedule.round.wrapping_add(u32::from(due.begins_anew));
        let moved = Schedule { last_due_ms: Some(due.last_due_ms), round, ..schedule };
        if self.broker.put_schedule(moved, expect).await?.is_some() {
            report.enqueued += enqueued;
            report.skipped += due.skipped;
            self.handle.shared.enqueued.fetch_add(enqueued, Ordering::Relaxed);
            self.handle.shared.skipped.fetch_add(due.skipped, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Removes a one-off a day after its time.
    async fn forget_done(&self, schedule: Schedule) -> Result<(), BrokerError> {
        let last_ms = schedule.last_due_ms.unwrap_or(TimestampMs::MAX);
        if last_ms.saturating_add(DONE_KEPT_MS) > self.clock.now_ms() {
            return Ok(());
        }
        // IMPORTANT: by its version first, or one that was given a new time meanwhile would be removed.
        let (name, expect) = (schedule.name.clone(), ScheduleExpect::Version(schedule.version));
        if self.broker.put_schedule(schedule, expect).await?.is_some() {
            self.broker.delete_schedule(&name).await?;
        }
        Ok(())
    }

    fn slots_of(&mut self, schedule: &Schedule) -> Option<SlotTimes> {
        let known = self.timings.get(&schedule.name).filter(|(timing, _)| *timing == schedule.timing);
        if known.is_none() {
            let read = SlotTimes::new(&schedule.timing);
            if let Err(error) = &read {
                // Once for each change of the schedule.
                tracing::error!(schedule = schedule.name, %error, "pass over a schedule");
            }
            self.timings.insert(schedule.name.clone(), (schedule.timing.clone(), read));
        }
        self.timings.get(&schedule.name)?.1.as_ref().ok().cloned()
    }

    fn job_of(&self, schedule: &Schedule, due_ms: TimestampMs) -> Option<NewJob> {
        // A slot that is skipped when it is old needs its key only while it may be enqueued; one that is caught up, longer.
        let unique_for = match schedule.catch_up {
            CatchUp::Skip => 2 * self.options.tolerance,
            CatchUp::One | CatchUp::All => Duration::from_secs(24 * 3_600),
        };
        match schedule.job_at(due_ms, unique_for) {
            Ok(job) if schedule.splay.is_zero() => Some(job),
            Ok(job) => Some(job.not_before(due_ms.saturating_add(splay_ms(schedule)))),
            Err(error) => {
                tracing::error!(schedule = schedule.name, %error, "pass over a slot");
                None
            }
        }
    }
}

/// The name of the leadership.
const LEADERSHIP: &str = "scheduler";
/// How long a one-off is kept after its time, in ms.
const DONE_KEPT_MS: i64 = 24 * 3_600 * 1_000;

/// A part of the splay that is always the same for a schedule.
fn splay_ms(schedule: &Schedule) -> i64 {
    // FNV-1a: any hash will do that is the same in every release.
    struct Fnv(u64);
    impl Hasher for Fnv {
        fn finish(&self) -> u64 {
            self.0
        }

        fn write(&mut self, bytes: &[u8]) {
            for byte in bytes {
                self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3);
            }
        }
    }
    let mut hash = Fnv(0xCBF2_9CE4_8422_2325);
    hash.write(schedule.name.as_bytes());
    let splay = u64::try_from(schedule.splay.as_millis()).unwrap_or(u64::MAX).max(1);
    i64::try_from(hash.finish() % splay).unwrap_or(0)
}
