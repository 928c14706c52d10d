//! What people and pages see of a broker.

use std::time::Duration;

use bytes::Bytes;
use tidemark_model::TimestampMs;

use crate::{
    AttemptNote, JobId, JobKind, JobState, LogLine, NodeRef, Priority, Progress, QueueName, QueueSettings, TraceId,
    WorkerId,
};

/// Figures of one queue.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueStats {
    /// The queue.
    pub queue: QueueName,
    /// What is set about it.
    pub settings: QueueSettings,
    /// Jobs that wait for a worker.
    pub ready: u64,
    /// Jobs that wait for their time.
    pub scheduled: u64,
    /// Jobs that workers hold.
    pub running: u64,
    /// Jobs that failed and wait for their next attempt.
    pub retryable: u64,
    /// Jobs given up and kept.
    pub discarded: u64,
    /// How long the oldest ready job has waited.
    pub oldest_age: Option<Duration>,
    /// Counters since the broker's data was made, for rates.
    pub totals: QueueTotals,
    /// Jobs pushed a second, over the last minute.
    pub pushed_per_second: f64,
    /// Jobs that ended a second, over the last minute.
    pub ended_per_second: f64,
}

/// Counters of one queue; they only grow. The embedded and the in-memory broker count since they were opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueTotals {
    /// Jobs pushed.
    pub pushed: u64,
    /// Jobs not pushed because another had their unique key.
    pub duplicates: u64,
    /// Jobs completed.
    pub completed: u64,
    /// Attempts that failed and are followed by another.
    pub retried: u64,
    /// Jobs cancelled.
    pub cancelled: u64,
    /// Jobs discarded.
    pub discarded: u64,
    /// Jobs taken back from lost workers.
    pub rescued: u64,
    /// Settlements refused because the lease was lost.
    pub stale: u64,
    /// Discarded jobs dropped because more than the limit were kept.
    pub discarded_dropped: u64,
}

/// A job as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct JobView {
    /// Its identity.
    pub id: JobId,
    /// What it does.
    pub kind: JobKind,
    /// Where it waits or waited.
    pub queue: QueueName,
    /// Which of the waiting go first.
    pub priority: Priority,
    /// Where it is in its life.
    pub state: JobState,
    /// Attempts begun.
    pub attempt: u32,
    /// Attempts allowed.
    pub attempts_max: u32,
    /// How often workers were lost while they held it.
    pub rescues: u32,
    /// When it was pushed, in ms since the epoch.
    pub created_ms: TimestampMs,
    /// When it starts, for one that waits for its time; else its earliest start, if it has one.
    pub not_before_ms: Option<TimestampMs>,
    /// Latest start, in ms since the epoch.
    pub expires_ms: Option<TimestampMs>,
    /// When its last attempt began, in ms since the epoch.
    pub started_ms: Option<TimestampMs>,
    /// When it ended, in ms since the epoch.
    pub finished_ms: Option<TimestampMs>,
    /// Who runs it or ran it last.
    pub worker: Option<WorkerId>,
    /// Why the last attempt failed.
    pub error: Option<String>,
    /// Its unique key.
    pub unique_key: Option<String>,
    /// The job that caused it.
    pub parent: Option<JobId>,
    /// Of which workflow it is a node.
    pub workflow: Option<NodeRef>,
    /// The request that caused it.
    pub trace: Option<TraceId>,
    /// How long one attempt may take.
    pub time_limit: Duration,
    /// After how long an attempt is told to come to an end.
    pub soft_limit: Option<Duration>,
    /// The last attempts, the oldest first, at most [`crate::ATTEMPTS_KEPT_MAX`]; empty in lists.
    pub attempts: Vec<AttemptNote>,
    /// How far its handler said it is.
    pub progress: Option<Progress>,
    /// What its handler said last, at most [`crate::LOG_LINES_MAX`] lines; empty in lists.
    pub log: Vec<LogLine>,
    /// Bytes of its payload.
    pub payload_bytes: usize,
    /// Its payload; empty in lists and for completed jobs.
    pub payload: Bytes,
    /// What its handler returned, if it is kept.
    pub result: Option<Bytes>,
}

impl JobView {
    /// Without what lists do not show.
    pub(crate) fn for_list(self) -> Self {
        Self { attempts: Vec::new(), log: Vec::new(), payload: Bytes::new(), ..self }
    }
}

/// Which jobs to list. Everything that is set must hold.
#[derive(Clone, Debug, Default)]
pub struct JobFilter {
    /// Of this kind.
    pub kind: Option<JobKind>,
    /// Of this queue.
    pub queue: Option<QueueName>,
    /// In this state.
    pub state: Option<JobState>,
    /// Whose unique key contains this text.
    pub key: Option<String>,
    /// Whose last error contains this text, whatever the case of its (ASCII) letters.
    pub text: Option<String>,
    /// Pushed at this time or later, in ms since the epoch.
    pub since_ms: Option<TimestampMs>,
    /// Pushed before this time, in ms since the epoch.
    pub until_ms: Option<TimestampMs>,
}

impl JobFilter {
    /// Whether a job is wanted.
    #[must_use]
    pub fn matches(&self, job: &JobView) -> bool {
        self.wants(&JobFacts {
            kind: job.kind,
            queue: &job.queue,
            state: job.state,
            key: job.unique_key.as_deref(),
            error: job.error.as_deref(),
            created_ms: job.created_ms,
        })
    }

    pub(crate) fn wants(&self, job: &JobFacts<'_>) -> bool {
        let has_key = |text: &String| job.key.is_some_and(|key| key.contains(text));
        let has_text = |text: &String| job.error.is_some_and(|error| contains_ignoring_case(error, text));
        self.kind.is_none_or(|kind| kind == job.kind)
            && self.queue.as_ref().is_none_or(|queue| queue == job.queue)
            && self.state.is_none_or(|state| state == job.state)
            && self.since_ms.is_none_or(|since| job.created_ms >= since)
            && self.until_ms.is_none_or(|until| job.created_ms < until)
            && self.key.as_ref().is_none_or(has_key)
            && self.text.as_ref().is_none_or(has_text)
    }
}

/// What a filter looks at, so that no view has to be made of a job that is not wanted.
pub(crate) struct JobFacts<'a> {
    pub(crate) kind: JobKind,
    pub(crate) queue: &'a QueueName,
    pub(crate) state: JobState,
    pub(crate) key: Option<&'a str>,
    pub(crate) error: Option<&'a str>,
    pub(crate) created_ms: TimestampMs,
}

fn contains_ignoring_case(text: &str, wanted: &str) -> bool {
    let wanted = wanted.as_bytes();
    wanted.is_empty() || text.as_bytes().windows(wanted.len()).any(|window| window.eq_ignore_ascii_case(wanted))
}

/// Which part of a list.
#[derive(Clone, Debug)]
pub struct Page {
    /// Jobs older than this one, as the page before gave it.
    pub before: Option<JobId>,
    /// Jobs wanted, at most [`Page::LIMIT_MAX`].
    pub limit: usize,
}

impl Page {
    /// Most jobs of one page.
    pub const LIMIT_MAX: usize = 1_000;

    /// The newest `limit` jobs.
    #[must_use]
    pub fn first(limit: usize) -> Self {
        Self { before: None, limit }
    }

    pub(crate) fn limit_capped(&self) -> usize {
        self.limit.min(Self::LIMIT_MAX)
    }
}

/// Part of a list of jobs, the newest first.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct JobPage {
    /// The jobs, without their payloads.
    pub jobs: Vec<JobView>,
    /// What [`Page::before`] has to be for the next page, when there may be one.
    pub next: Option<JobId>,
}

/// What a worker says of itself with each heartbeat.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct WorkerReport {
    /// Its name.
    pub worker: String,
    /// The release it runs.
    pub version: String,
    /// Its host.
    pub host: String,
    /// Queues it works on, each with the jobs it runs at once.
    pub queues: Vec<(String, u32)>,
    /// Jobs it runs now.
    pub running: u32,
    /// Attempts it has made.
    pub attempts: u64,
    /// When it started, in ms since the epoch.
    pub started_ms: TimestampMs,
    /// Jobs that it runs now, at most [`WorkerReport::JOBS_MAX`].
    #[serde(default)]
    pub jobs: Vec<JobId>,
    /// Number of the last command that it has; 0 for none.
    #[serde(default)]
    pub last_command: u64,
}

impl WorkerReport {
    /// Most running jobs that are named.
    pub const JOBS_MAX: usize = 100;
}

/// A worker as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerView {
    /// What it said last.
    pub report: WorkerReport,
    /// How long ago that was.
    pub silent_for: Duration,
}

/// Whether the broker keeps what it promises.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokerHealth {
    /// What kind of broker it is and where, without secrets.
    pub description: String,
    /// Whether it answers.
    pub reachable: bool,
    /// What is set so that acknowledged jobs may be lost, or else is wrong; readiness is degraded when there is one.
    pub warnings: Vec<String>,
}
