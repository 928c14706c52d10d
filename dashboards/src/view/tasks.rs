//! The page of the task system: queues, jobs, workers, schedules. Its parts have pages of their own in [`super::task`].

use serde::Serialize;

/// The page `/tasks?state=…&q=…`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TasksPage {
    /// The queues.
    pub queues: QueueTable,
    /// The jobs.
    pub jobs: JobTable,
    /// The workflows.
    pub workflows: WorkflowTable,
    /// The workers.
    pub workers: WorkerTable,
    /// The schedules.
    pub schedules: ScheduleTable,
}

/// The fragment `queues`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct QueueTable {
    /// What holds them, such as `embedded` or `redis at 127.0.0.1:6379`.
    pub broker: String,
    /// What is wrong with it, such as jobs that it lost; one sentence each.
    pub warnings: Vec<String>,
    /// By name.
    pub queues: Vec<QueueRow>,
}

/// One queue.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct QueueRow {
    /// Its name.
    pub name: String,
    /// Whether workers leave it alone.
    pub paused: bool,
    /// Whether it takes no new jobs.
    pub draining: bool,
    /// What is limited, such as `60/m, at most 4 at a time`; empty when nothing is.
    pub limits: String,
    /// Jobs that may run now.
    pub available: u64,
    /// Jobs that run.
    pub running: u64,
    /// Jobs whose time has not come.
    pub scheduled: u64,
    /// Jobs that failed and will run again.
    pub retryable: u64,
    /// Jobs that failed for good, kept for a look.
    pub discarded: u64,
    /// How long the oldest available job has waited, in milliseconds.
    pub oldest_age_ms: Option<i64>,
    /// Jobs completed per minute, lately.
    pub completed_per_minute: Option<f64>,
    /// The same over time, oldest first.
    pub recent_completed_per_minute: Vec<Option<f64>>,
}

/// The fragment `jobs`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct JobTable {
    /// The state that is listed, one of the seven words of the job states, or empty for all.
    pub state: String,
    /// The text of the search; empty for all.
    pub search: String,
    /// What is wrong with that text; empty when nothing is.
    pub wrong: String,
    /// Newest first.
    pub jobs: Vec<JobRow>,
    /// Whether the list begins somewhere in the middle.
    pub is_older: bool,
    /// The job before which the next part of the list begins; empty when there is none.
    pub older: String,
}

/// One job.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct JobRow {
    /// Its id.
    pub id: String,
    /// What it is, such as `evaluate`.
    pub kind: String,
    /// Where it waits.
    pub queue: String,
    /// One of `scheduled`, `available`, `running`, `retryable`, `completed`, `cancelled`, `discarded`.
    pub state: String,
    /// Runs made so far.
    pub attempt: u32,
    /// Runs allowed.
    pub attempts_max: u32,
    /// When it was enqueued.
    pub enqueued_ms: i64,
    /// When it may run, for jobs that wait for a time.
    pub not_before_ms: Option<i64>,
    /// When its last run began.
    pub started_ms: Option<i64>,
    /// When it ended.
    pub finished_ms: Option<i64>,
    /// Which worker runs it or ran it last; empty when none did.
    pub worker: String,
    /// 0 to 1, for long work that says so.
    pub progress: Option<f64>,
    /// What it does now; empty when it does not say.
    pub doing: String,
    /// Why the last run failed; empty when none did.
    pub error: String,
    /// Whether `POST …/jobs/{id}/retry` is possible.
    pub can_retry: bool,
    /// Whether `POST …/jobs/{id}/cancel` is possible.
    pub can_cancel: bool,
}

/// The fragment `workflows`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct WorkflowTable {
    /// Newest first.
    pub workflows: Vec<WorkflowRow>,
    /// Whether there may be older ones.
    pub more: bool,
}

/// One workflow.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct WorkflowRow {
    /// Its id.
    pub id: String,
    /// What it is called; may be empty.
    pub name: String,
    /// `running`, or how it ended.
    pub state: String,
    /// When it was started.
    pub created_ms: i64,
    /// Jobs of it.
    pub nodes_total: u64,
    /// Jobs of it that have ended.
    pub nodes_ended: u64,
}

/// The fragment `workers`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct WorkerTable {
    /// By name.
    pub workers: Vec<WorkerRow>,
}

/// One worker.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct WorkerRow {
    /// Its id.
    pub id: String,
    /// The host it runs on.
    pub host: String,
    /// Its version.
    pub version: String,
    /// The queues that it takes jobs from.
    pub queues: Vec<String>,
    /// Jobs that it runs at once at most.
    pub concurrency: u32,
    /// Jobs that it runs now.
    pub running: u32,
    /// When it was last heard of.
    pub heartbeat_ms: i64,
    /// When it started.
    pub started_ms: Option<i64>,
    /// Runs that it made since then.
    pub attempts: u64,
}

/// The fragment `schedules`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ScheduleTable {
    /// Which scheduler enqueues; empty when none holds the lease.
    pub leader: String,
    /// By name.
    pub schedules: Vec<ScheduleRow>,
}

/// One schedule.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ScheduleRow {
    /// Its name.
    pub name: String,
    /// The kind of its jobs.
    pub kind: String,
    /// When, as written: `every 15s`, `0 3 * * *`.
    pub when: String,
    /// Whether it lets its slots pass.
    pub paused: bool,
    /// When the next jobs come, at most five.
    pub next_ms: Vec<i64>,
    /// When the last one came.
    pub last_ms: Option<i64>,
}
