//! When jobs come: schedules kept by the broker become jobs, enqueued by exactly one leader.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use tidemark_model::SystemClock;
//! # use tidemark_queue::{Broker, CatchUp, JobTemplate, Schedule, Timing};
//! # use tidemark_scheduler::*;
//! # async fn example(broker: Arc<dyn Broker>, rollup: JobTemplate, stop: tokio_util::sync::CancellationToken) -> Result<(), Box<dyn std::error::Error>> {
//! ensure_schedule(&*broker, new_schedule("seal", Timing::Every(60_000), rollup)).await?;
//! let scheduler = Scheduler::new(SchedulerOptions::new("ams1-scheduler"), broker, Arc::new(SystemClock::new()));
//! let handle = scheduler.handle();
//! scheduler.run(stop).await;
//! # Ok(()) }
//! ```
//!
//! The leader is whoever holds a lease in the broker. For each slot of a schedule it first enqueues the job, with the unique
//! key `schedule@due`, and then moves the schedule's last slot by compare-and-set. So a leader that dies in between makes
//! its successor enqueue the slot again, which the key turns into nothing; and one that has lost its lease without knowing
//! is stopped by the same two. Doing it the other way round would lose the slot.

mod change;
mod cron_line;
mod ensure;
mod scheduler;
mod slots;
mod timing;

pub use change::{PutCondition, change_schedule, definition_tag, put_schedule, remove_schedule};
pub use ensure::{COLLECT_SCHEDULES, ScheduleError, collect_schedule, ensure_schedule, new_schedule, run_now};
pub use scheduler::{Scheduler, SchedulerHandle, SchedulerOptions, StepReport};
pub use timing::{EVERY_MIN_MS, SlotTimes, TimingError, next_times};
