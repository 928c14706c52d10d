//! What passes between a broker and the workers.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use tidemark_model::TimestampMs;

use crate::{JobId, JobRecord, JobState, QueueName};

/// The name of a worker process, unique among those that run. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(Arc<str>);

impl WorkerId {
    /// The worker of that name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for WorkerId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, out)
    }
}

/// What a worker asks for.
#[derive(Clone, Debug)]
pub struct FetchRequest {
    /// Who asks.
    pub worker: WorkerId,
    /// From which queues, the first ones first.
    pub queues: Vec<QueueName>,
    /// Jobs wanted. A broker that keeps frames may give more, up to one frame.
    pub max: usize,
    /// How long to wait when there is none.
    pub wait: Duration,
}

/// A lease: the right to run one job until a time, unless it is taken over before.
///
/// Its fencing token makes a settlement by a worker that lost the lease be refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Receipt {
    /// The job.
    pub job: JobId,
    pub(crate) queue: QueueName,
    pub(crate) worker: WorkerId,
    pub(crate) place: Place,
}

/// Where a broker finds a leased job again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// A job of a table, and the token of its lease.
    Table { sequence: u64, token: u64 },
    /// A job of a frame in a Redis stream: level, the two halves of the entry's id, position in the frame. The entry
    /// leaves the pending list when it is taken over, so its id is the fencing token.
    Frame { level: u8, entry: (u64, u64), position: u16 },
}

/// One attempt for a worker to make.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// To settle, extend or release it with.
    pub receipt: Receipt,
    /// The job.
    pub job: Arc<JobRecord>,
    /// Number of this attempt; the first is 1.
    pub attempt: u32,
    /// How often workers were lost while they held it.
    pub rescues: u32,
    /// Since when it could have started, in ms since the epoch.
    pub available_ms: TimestampMs,
}

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Done; the result is kept when the job asks for that.
    Completed {
        /// At most [`crate::RESULT_BYTES_MAX`] bytes for whoever waits.
        result: Option<Bytes>,
    },
    /// Failed; another attempt follows after `delay` unless it was the last allowed.
    Retry {
        /// Why it failed.
        reason: String,
        /// How long to wait.
        delay: Duration,
    },
    /// Not now: another attempt follows after `delay`, and this one does not count.
    Snooze {
        /// How long to wait.
        delay: Duration,
    },
    /// Failed, and another attempt would fail too.
    Discard {
        /// Why.
        reason: String,
    },
    /// Called off while it ran.
    Cancelled {
        /// By whom or why.
        reason: String,
    },
}

/// How a settlement went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The job is now in this state. [`JobState::Running`] means that the outcome is noted and will be recorded together
    /// with those of the other jobs that travelled in its frame.
    Recorded(JobState),
    /// The lease was lost to somebody else, or the job is gone: nothing changed.
    Stale,
}

/// How a lease is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseState {
    /// Extended.
    Held,
    /// Extended, and somebody asks to call the job off.
    CancelRequested,
    /// Lost to somebody else: what the attempt does from now on is not recorded.
    Lost,
}

/// What became of one job of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It is queued under this id, and survives what the broker promises.
    Queued(JobId),
    /// Another job has its unique key, so there is nothing to do.
    Duplicate(JobId),
}

impl Pushed {
    /// The id of the job that will run: the new one or the one with the same key.
    #[must_use]
    pub fn id(self) -> JobId {
        match self {
            Self::Queued(id) | Self::Duplicate(id) => id,
        }
    }
}

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TickReport {
    /// Jobs whose time had come.
    pub promoted: u64,
    /// Jobs taken back from workers that had lost their lease.
    pub rescued: u64,
    /// Jobs discarded because too many workers were lost with them.
    pub poisoned: u64,
    /// Jobs discarded because they had not started in time.
    pub expired: u64,
}

/// What a job ended with.
#[derive(Clone, Debug, PartialEq)]
pub struct JobResult {
    /// A final state.
    pub state: JobState,
    /// What the handler returned.
    pub result: Option<Bytes>,
    /// Why it did not complete.
    pub error: Option<String>,
}

/// What is known of the end of a job.
#[derive(Clone, Debug, PartialEq)]
pub enum Completion {
    /// It ended.
    Ended(JobResult),
    /// It had not ended when the time to wait was over.
    Pending,
    /// No such job, or it ended and its result is not kept any more.
    Unknown,
}

/// What became of a request to call a job off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// It waited and is cancelled.
    Now,
    /// It is running: its worker is told at its next heartbeat.
    Requested,
    /// It had ended already.
    TooLate(JobState),
    /// No such job.
    Unknown,
}
