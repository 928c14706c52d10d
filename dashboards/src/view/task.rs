//! Pages of one job, one worker, one workflow.

use serde::Serialize;

use super::JobRow;

/// The page `/tasks/{id}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TaskPage {
    /// All of it.
    pub detail: TaskDetail,
}

/// The fragment `task-detail`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TaskDetail {
    /// What lists show of it.
    pub job: JobRow,
    /// `high`, `normal` or `low`.
    pub priority: String,
    /// Its unique key; empty when it has none.
    pub unique_key: String,
    /// The trace that it belongs to; empty when it is not known.
    pub trace: String,
    /// How long one run may take, in milliseconds.
    pub time_limit_ms: i64,
    /// After how long a run is told to come to an end.
    pub soft_limit_ms: Option<i64>,
    /// Until when it must have started.
    pub expires_ms: Option<i64>,
    /// How often workers were lost while they held it.
    pub rescues: u32,
    /// Runs that are remembered, the oldest first.
    pub attempts: Vec<AttemptRow>,
    /// What it said last, the oldest line first.
    pub log: Vec<LogRow>,
    /// What it carries, as indented JSON; empty when that is not kept.
    pub payload: String,
    /// What it made, likewise.
    pub result: String,
    /// The job that caused it; empty when none did.
    pub parent: String,
    /// Jobs that it caused.
    pub children: Vec<JobRow>,
    /// The workflow that it is a part of; empty when it is by itself.
    pub workflow: String,
}

/// One run of a job, as a row and as a bar on a shared line of time.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AttemptRow {
    /// Its number.
    pub number: u32,
    /// Who made it; empty when that is not known.
    pub worker: String,
    /// When it began.
    pub started_ms: Option<i64>,
    /// When it ended.
    pub ended_ms: Option<i64>,
    /// Why it failed; empty when it did not.
    pub error: String,
    /// Where its bar begins, 0 to 100.
    pub from_percent: f64,
    /// How long its bar is, 0 to 100.
    pub width_percent: f64,
}

/// Something that a job said.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LogRow {
    /// When.
    pub at_ms: i64,
    /// What.
    pub text: String,
}

/// The page `/tasks/workers/{name}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct WorkerPage {
    /// All of it.
    pub detail: WorkerDetail,
}

/// The fragment `worker-detail`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct WorkerDetail {
    /// Its name.
    pub id: String,
    /// The host it runs on.
    pub host: String,
    /// Its version.
    pub version: String,
    /// When it was last heard of.
    pub heartbeat_ms: i64,
    /// When it started.
    pub started_ms: i64,
    /// Runs that it made since then.
    pub attempts: u64,
    /// Jobs that it runs now.
    pub running: u32,
    /// Its queues.
    pub queues: Vec<WorkerQueueRow>,
    /// The jobs that it runs, as far as they are known.
    pub jobs: Vec<JobRow>,
}

/// A queue that a worker works on.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct WorkerQueueRow {
    /// Its name.
    pub name: String,
    /// Jobs of it that the worker runs at one time.
    pub concurrency: u32,
}

/// The page `/tasks/workflows/{id}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct WorkflowPage {
    /// All of it.
    pub detail: WorkflowDetail,
}

/// The fragment `workflow-detail`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct WorkflowDetail {
    /// Its id.
    pub id: String,
    /// Its name; may be empty.
    pub name: String,
    /// `running`, `completed`, `failed` or `cancelled`.
    pub state: String,
    /// What happens when a part fails, in words.
    pub on_failure: String,
    /// When it was started.
    pub created_ms: i64,
    /// When it ended.
    pub ended_ms: Option<i64>,
    /// How many parts it has.
    pub nodes_total: u64,
    /// How many of them have ended.
    pub nodes_ended: u64,
    /// The parts, the first ones first.
    pub nodes: Vec<NodeRow>,
    /// How many more there are than are listed.
    pub left_out: u64,
}

/// A part of a workflow.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct NodeRow {
    /// Its number.
    pub number: u32,
    /// Its job.
    pub job: String,
    /// What it does.
    pub kind: String,
    /// Where it is: `waiting`, `ready`, `completed`, `cancelled`, `discarded` or `skipped`.
    pub state: String,
    /// The numbers of those that it waits for.
    pub after: Vec<u32>,
    /// Whether it runs however those ended.
    pub always: bool,
    /// Why it failed; empty when it did not.
    pub error: String,
}
