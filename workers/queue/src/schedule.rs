//! When jobs come, as the broker keeps it for the scheduler.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemark_model::TimestampMs;

use crate::{JobKind, NewJob, Priority, QueueName, TraceId, UniqueMode};

/// A schedule: when, and which job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Its name: 1 to 128 printable characters.
    pub name: String,
    /// When.
    pub timing: Timing,
    /// Which job each slot enqueues.
    pub job: JobTemplate,
    /// What to do about slots that nobody enqueued in time.
    pub catch_up: CatchUp,
    /// Whether it is off. A paused schedule lets its slots pass.
    pub paused: bool,
    /// Each job starts up to this much later than its slot, by a part that depends on the schedule's name, so that
    /// schedules with the same timing do not come all at once.
    pub splay: Duration,
    /// The last slot that was dealt with, in ms since the epoch; the leader moves it.
    pub last_due_ms: Option<TimestampMs>,
    /// How often it began anew because clocks were set back: its slots have the same times again, and other unique keys.
    #[serde(default)]
    pub round: u32,
    /// Grows with every write; for compare-and-set.
    pub version: u64,
}

impl Schedule {
    /// Whether it has no slot any more: a one-off whose time was dealt with. It is kept for a day, so that people see it.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.timing, Timing::Once(at_ms) if self.last_due_ms.is_some_and(|last_ms| last_ms >= at_ms))
    }

    /// The job of one slot, with the unique key `schedule@due`, or `schedule@due#round` once clocks were set back.
    ///
    /// # Errors
    /// The template's queue has an illegal name.
    pub fn job_at(&self, due_ms: TimestampMs, unique_for: Duration) -> Result<NewJob, crate::QueueNameError> {
        let mut job = self.job.job(&self.name, due_ms, unique_for)?;
        if let Some(unique) = job.unique.as_mut().filter(|_| self.round > 0) {
            unique.key = format!("{}@{due_ms}#{}", self.name, self.round);
        }
        Ok(job)
    }
}

/// When a schedule is due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Timing {
    /// Each full multiple of this many ms since the epoch.
    Every(u64),
    /// By a cron line of five or six fields (with seconds first) in a time zone of the IANA database.
    Cron {
        /// The line.
        line: String,
        /// The time zone, such as `Europe/Amsterdam` or `UTC`.
        zone: String,
    },
    /// Once, at this time in ms since the epoch.
    Once(TimestampMs),
}

/// What to do about slots that passed while no scheduler ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CatchUp {
    /// Let them pass, and say so.
    #[default]
    Skip,
    /// Enqueue the last of them.
    One,
    /// Enqueue all of them, the oldest first; of more than [`CATCH_UP_MAX`] the last so many.
    All,
}

/// Most slots that [`CatchUp::All`] enqueues after an absence.
pub const CATCH_UP_MAX: u64 = 1_000;

/// What the jobs of a schedule are like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobTemplate {
    /// What they do.
    pub kind: JobKind,
    /// Where they wait; the kind's queue when empty.
    pub queue: Option<String>,
    /// Which of the waiting go first.
    pub priority: Priority,
    /// What [`crate::Payload::encode`] made.
    #[serde(with = "serde_bytes")]
    pub payload: Vec<u8>,
    /// How long one attempt may take; the kind's limit when empty.
    pub time_limit: Option<Duration>,
    /// A job that has not started this long after its slot is discarded.
    pub expires_after: Option<Duration>,
    /// What they are about, for rates by key.
    #[serde(default)]
    pub rate_key: Option<String>,
}

impl JobTemplate {
    /// Jobs with this payload and the defaults of its kind.
    ///
    /// # Errors
    /// The payload is too large.
    pub fn new<P: crate::Payload>(payload: &P) -> Result<Self, crate::PayloadError> {
        Ok(Self {
            kind: P::KIND,
            queue: None,
            priority: Priority::Normal,
            payload: payload.encode()?,
            time_limit: None,
            expires_after: None,
            rate_key: payload.rate_key(),
        })
    }

    /// The job of one slot, with the unique key `schedule@due`. It begins a trace unless it belongs to one.
    ///
    /// # Errors
    /// The template's queue has an illegal name.
    pub fn job(
        &self,
        schedule: &str,
        due_ms: TimestampMs,
        unique_for: Duration,
    ) -> Result<NewJob, crate::QueueNameError> {
        let mut job = NewJob::from_bytes(self.kind, bytes::Bytes::copy_from_slice(&self.payload));
        if let Some(queue) = &self.queue {
            job.queue = queue.parse::<QueueName>()?;
        }
        job.trace = job.trace.or_else(|| Some(TraceId::of_slot(schedule, due_ms)));
        job.priority = self.priority;
        job.rate_key.clone_from(&self.rate_key);
        job.time_limit = self.time_limit.unwrap_or(job.time_limit);
        let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        job.expires_ms = self.expires_after.map(|after| due_ms.saturating_add(millis(after)));
        job.unique = Some(crate::UniqueKey { key: format!("{schedule}@{due_ms}"), mode: UniqueMode::For(unique_for) });
        Ok(job)
    }
}

/// What must hold for a schedule to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScheduleExpect {
    /// Nothing.
    Any,
    /// There is none of that name.
    Absent,
    /// It has this version.
    Version(u64),
}

/// The right to be the only one who does something, until it runs out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leadership {
    /// Grows each time the right goes to another owner.
    pub token: u64,
    /// For how long from the moment of the answer.
    pub ttl: Duration,
}
