//! What does the jobs of a kind.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tidemark_model::BoxFuture;
use tidemark_queue::{JobKind, JobRecord, NodeInput, Payload, Progress, WorkerId};
use tokio_util::sync::CancellationToken;

use crate::pool::NoteWriter;

/// Does the jobs of one kind.
///
/// A job may be delivered more than once, also while an earlier attempt still runs: a handler must be idempotent.
pub trait Handler: Send + Sync {
    /// Makes one attempt.
    ///
    /// # Cancel safety
    /// The future is dropped when the job's time limit is over, and some time after [`JobContext::cancel`] fired.
    fn run(&self, job: JobContext) -> BoxFuture<'_, Result<JobOutput, JobError>>;
}

/// One attempt at a job.
#[derive(Clone, Debug)]
pub struct JobContext {
    /// The job.
    pub job: Arc<JobRecord>,
    /// Number of this attempt; the first is 1.
    pub attempt: u32,
    /// How often workers were lost while they held it.
    pub rescues: u32,
    /// Who runs it.
    pub worker: WorkerId,
    /// Fires when somebody called the job off, its lease was lost, or the process ends: finish soon, with
    /// [`JobError::Cancelled`] if the work is not done.
    pub cancel: CancellationToken,
    pub(crate) soft_stop: Option<CancellationToken>,
    pub(crate) notes: NoteWriter,
}

impl JobContext {
    /// The job's payload.
    ///
    /// # Errors
    /// A payload that cannot be read is an ordinary failed attempt: a newer release may read it.
    pub fn payload<P: Payload>(&self) -> Result<P, JobError> {
        if self.job.kind != P::KIND {
            let reason = format!("handler of {} jobs was given a {} job", P::KIND, self.job.kind);
            return Err(JobError::Discard(reason));
        }
        P::decode(&self.job.payload).map_err(|error| JobError::Retry(error.to_string(), None))
    }

    /// What the nodes before this one in its workflow returned, in the order of their numbers; nothing for a job by itself.
    ///
    /// # Errors
    /// Inputs that cannot be read are an ordinary failed attempt: a newer release may read them.
    pub fn inputs(&self) -> Result<Vec<NodeInput>, JobError> {
        self.job.node_inputs().map_err(|reason| JobError::Retry(reason, None))
    }

    /// Fires when the job's soft limit is over, and with [`JobContext::cancel`]: come to an end, and save what there is.
    /// An attempt that finishes within its time limit counts as any other.
    #[must_use]
    pub fn soft_stop(&self) -> &CancellationToken {
        self.soft_stop.as_ref().unwrap_or(&self.cancel)
    }

    /// Tells people how far the job is: `done` of `total` steps, 0 when it is not known how many there are.
    ///
    /// Cheap: what is told is gathered and sent at most once a second, and at the end of the attempt.
    pub fn progress(&self, done: u64, total: u64) {
        self.notes.progress(Progress { done, total, message: None });
    }

    /// As [`JobContext::progress`], and what the job does now.
    pub fn progress_at(&self, done: u64, total: u64, message: impl Into<String>) {
        self.notes.progress(Progress { done, total, message: Some(message.into()) });
    }

    /// Tells people something about the job: one line of at most [`tidemark_queue::LOG_LINE_BYTES_MAX`] bytes. The last
    /// [`tidemark_queue::LOG_LINES_MAX`] lines are kept with the job. As cheap as [`JobContext::progress`].
    pub fn log(&self, text: impl Into<String>) {
        self.notes.log(text.into());
    }

    /// The output of a job that is done: what it made as JSON, kept if somebody may await the job.
    #[must_use]
    pub fn answer(&self, made: &serde_json::Value) -> JobOutput {
        JobOutput { result: self.job.result_ttl.map(|_| Bytes::from(made.to_string())) }
    }

    /// What it does.
    #[must_use]
    pub fn kind(&self) -> JobKind {
        self.job.kind
    }
}

/// What an attempt made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobOutput {
    /// Kept for whoever awaits the job, if the job asks for it.
    pub result: Option<Bytes>,
}

/// Why an attempt did not do its job.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum JobError {
    /// Another attempt may succeed: after the given time, or else as the kind's backoff says.
    #[error("{0}")]
    Retry(String, Option<Duration>),
    /// Now is not the time; the attempt does not count.
    #[error("not now, again in {0:?}")]
    Snooze(Duration),
    /// Another attempt would fail, too.
    #[error("{0}")]
    Discard(String),
    /// Ended early because [`JobContext::cancel`] fired.
    #[error("cancelled")]
    Cancelled,
}

/// What comes out of an attempt.
pub type Attempted = Result<JobOutput, JobError>;

/// The handlers of a worker, by kind.
#[derive(Clone, Default)]
pub struct Handlers {
    by_kind: [Option<Arc<dyn Handler>>; JobKind::ALL.len()],
}

impl Handlers {
    /// No handler yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets `handler` do the jobs of `kind`.
    #[must_use]
    pub fn with(mut self, kind: JobKind, handler: Arc<dyn Handler>) -> Self {
        if let Some(place) = self.by_kind.get_mut(kind as usize) {
            *place = Some(handler);
        }
        self
    }

    /// The handler of a kind.
    #[must_use]
    pub fn get(&self, kind: JobKind) -> Option<&Arc<dyn Handler>> {
        self.by_kind.get(kind as usize)?.as_ref()
    }
}

impl std::fmt::Debug for Handlers {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kinds = JobKind::ALL.into_iter().filter(|kind| self.get(*kind).is_some());
        out.debug_set().entries(kinds).finish()
    }
}
