//! Writing schedules.

use std::time::Duration;

use tidemark_queue::{
    Broker, BrokerError, CatchUp, JobId, JobTemplate, NewJob, QueueName, Schedule, ScheduleExpect, Timing,
};

use crate::{SlotTimes, TimingError};

/// How long what became of a job that somebody runs by hand is kept for those who await it.
const RESULT_KEPT: Duration = Duration::from_secs(3_600);

/// Why a schedule is not written or run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Its timing cannot be read.
    #[error("schedule `{name}`: {reason}")]
    Timing {
        /// The schedule.
        name: String,
        /// What is wrong.
        reason: TimingError,
    },
    /// Its queue has an illegal name.
    #[error("schedule `{name}`: {reason}")]
    Queue {
        /// The schedule.
        name: String,
        /// What is wrong.
        reason: tidemark_queue::QueueNameError,
    },
    /// There is no such schedule.
    #[error("there is no schedule `{0}`")]
    Missing(String),
    /// There is one of that name already.
    #[error("there is a schedule `{0}` already")]
    Exists(String),
    /// Somebody has changed it since it was read.
    #[error("schedule `{0}` is not what it was when it was read: read it again")]
    Changed(String),
    /// Others changed it again and again while it was to be written.
    #[error("schedule `{0}` is being changed by others: try again")]
    Contended(String),
    /// The broker does not do it.
    #[error("{0}")]
    Broker(#[from] BrokerError),
}

/// Name of the schedule that polls a target; whoever wants a target polled finds there how.
#[must_use]
pub fn collect_schedule(target: &str) -> String {
    format!("{COLLECT_SCHEDULES}{target}")
}

/// How the names of schedules that poll targets begin.
pub const COLLECT_SCHEDULES: &str = "collect ";

/// A schedule that has not run, without splay, that lets missed slots pass.
#[must_use]
pub fn new_schedule(name: &str, timing: Timing, job: JobTemplate) -> Schedule {
    Schedule {
        name: name.to_owned(),
        timing,
        job,
        catch_up: CatchUp::Skip,
        paused: false,
        splay: Duration::ZERO,
        last_due_ms: None,
        round: 0,
        version: 0,
    }
}

/// Sees to it that there is such a schedule: writes it, or changes the one of that name, which keeps its last slot and stays
/// paused if it is. Checks the timing, so that only schedules that can run are stored.
///
/// # Errors
/// Says what is wrong with the schedule, or that the broker does not answer.
pub async fn ensure_schedule(broker: &dyn Broker, schedule: Schedule) -> Result<(), ScheduleError> {
    check(&schedule)?;
    loop {
        let known = broker.schedule(&schedule.name).await?;
        let (wanted, expect) = match known {
            None => (schedule.clone(), ScheduleExpect::Absent),
            Some(known) => {
                let wanted = Schedule {
                    last_due_ms: known.last_due_ms,
                    paused: known.paused,
                    round: known.round,
                    version: known.version,
                    ..schedule.clone()
                };
                if wanted == known {
                    return Ok(());
                }
                (wanted, ScheduleExpect::Version(known.version))
            }
        };
        if broker.put_schedule(wanted, expect).await?.is_some() {
            return Ok(());
        }
        // Somebody else was faster, such as the leader with a slot: look again.
    }
}

pub(crate) fn check(schedule: &Schedule) -> Result<(), ScheduleError> {
    let name = || schedule.name.clone();
    SlotTimes::new(&schedule.timing).map_err(|reason| ScheduleError::Timing { name: name(), reason })?;
    if let Some(queue) = &schedule.job.queue {
        queue.parse::<QueueName>().map_err(|reason| ScheduleError::Queue { name: name(), reason })?;
    }
    Ok(())
}

/// Enqueues a job of a schedule now, beside its slots; its id.
///
/// # Errors
/// [`ScheduleError::Missing`] when there is none of that name.
pub async fn run_now(broker: &dyn Broker, name: &str, now_ms: i64) -> Result<JobId, ScheduleError> {
    let schedule = broker.schedule(name).await?.ok_or_else(|| ScheduleError::Missing(name.to_owned()))?;
    let job = schedule.job.job(name, now_ms, Duration::ZERO);
    let job = job.map_err(|reason| ScheduleError::Queue { name: name.to_owned(), reason })?;
    let job = NewJob { unique: None, ..job }.with_result(RESULT_KEPT);
    let pushed = broker.push(vec![job]).await?;
    let id = pushed.first().map(|pushed| pushed.id());
    id.ok_or_else(|| ScheduleError::Broker(BrokerError::Corrupt("a push was answered without a job".to_owned())))
}
