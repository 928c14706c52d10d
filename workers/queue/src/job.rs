//! A job as its producer describes it, and as a broker keeps it.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidemark_model::TimestampMs;

use crate::{JobId, JobKind, NodeInput, NodeRef, Origin, Payload, PayloadError, QueueName};

/// Which of the waiting jobs of one queue go first. Lower ones are not starved: one pick in four prefers `Normal`
/// and one in sixteen `Low`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Before all others.
    High,
    /// What a job has unless told otherwise.
    #[default]
    Normal,
    /// When nothing else waits, mostly.
    Low,
}

impl Priority {
    /// All levels, the most urgent first.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];

    /// 0 for the most urgent.
    #[must_use]
    pub const fn level(self) -> usize {
        match self {
            Self::High => 0,
            Self::Normal => 1,
            Self::Low => 2,
        }
    }

    /// The level as it is shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }
}

/// Where a job is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Waits for its time.
    Scheduled,
    /// Waits for a worker.
    Available,
    /// A worker holds its lease.
    Running,
    /// Failed, and waits for its next attempt.
    Retryable,
    /// Done.
    Completed,
    /// Called off.
    Cancelled,
    /// Given up: out of attempts, expired, undecodable or poison. Kept, and may be retried by hand.
    Discarded,
}

impl JobState {
    /// All states, in the order of a job's life.
    pub const ALL: [Self; 7] = [
        Self::Scheduled,
        Self::Available,
        Self::Running,
        Self::Retryable,
        Self::Completed,
        Self::Cancelled,
        Self::Discarded,
    ];

    /// The state as it is stored and shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Available => "available",
            Self::Running => "running",
            Self::Retryable => "retryable",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Discarded => "discarded",
        }
    }

    /// The state of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether nothing more happens by itself.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Cancelled | Self::Discarded)
    }
}

/// How long a unique key keeps others away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum UniqueMode {
    /// Until the job with the key is completed, cancelled or discarded.
    UntilDone,
    /// For this long after the job was pushed, whatever becomes of it.
    For(Duration),
}

/// A key that only one job of a queue may have at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UniqueKey {
    /// The key; keys of different queues have nothing to do with each other.
    pub key: String,
    /// For how long.
    pub mode: UniqueMode,
}

/// Ties together what one request caused, through job, handler and store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TraceId(pub u128);

impl std::fmt::Display for TraceId {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{:032x}", self.0)
    }
}

/// A job as its producer describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct NewJob {
    /// What it does.
    pub kind: JobKind,
    /// Where it waits.
    pub queue: QueueName,
    /// Which of the waiting go first.
    pub priority: Priority,
    /// What [`Payload::encode`] made.
    pub payload: Bytes,
    /// Earliest start, in ms since the epoch.
    pub not_before_ms: Option<TimestampMs>,
    /// A job that has not started by then, in ms since the epoch, is discarded.
    pub expires_ms: Option<TimestampMs>,
    /// How long one attempt may take; then it is cancelled.
    pub time_limit: Duration,
    /// After how long an attempt is told to come to an end; it may finish within [`NewJob::time_limit`].
    pub soft_limit: Option<Duration>,
    /// Attempts allowed, at least 1.
    pub attempts_max: u32,
    /// Keeps other jobs with the same key away.
    pub unique: Option<UniqueKey>,
    /// What it is about, for rates by key: a target, a receiver, a token.
    pub rate_key: Option<String>,
    /// The job that caused this one.
    pub parent: Option<JobId>,
    /// The request that caused this one.
    pub trace: Option<TraceId>,
    /// For how long after its end [`crate::Broker::completion`] can tell what became of it. Without it, a completed
    /// job may be forgotten at once.
    pub result_ttl: Option<Duration>,
}

impl NewJob {
    /// A job with this payload and the defaults of its kind.
    ///
    /// # Errors
    /// The payload does not fit [`crate::PAYLOAD_BYTES_MAX`].
    pub fn new<P: Payload>(payload: &P) -> Result<Self, PayloadError> {
        let job = Self::from_bytes(P::KIND, Bytes::from(payload.encode()?));
        Ok(Self { rate_key: payload.rate_key(), ..job })
    }

    /// A job of this kind whose payload is encoded already. It is caused by what [`Origin::current`] says.
    #[must_use]
    pub fn from_bytes(kind: JobKind, payload: Bytes) -> Self {
        let defaults = kind.defaults();
        let origin = Origin::current();
        Self {
            kind,
            queue: kind.default_queue(),
            priority: Priority::Normal,
            payload,
            not_before_ms: None,
            expires_ms: None,
            time_limit: defaults.time_limit,
            soft_limit: defaults.soft_limit,
            attempts_max: defaults.attempts_max,
            unique: None,
            rate_key: None,
            parent: origin.job,
            trace: origin.trace,
            result_ttl: None,
        }
    }

    /// Waits in this queue.
    #[must_use]
    pub fn on_queue(mut self, queue: QueueName) -> Self {
        self.queue = queue;
        self
    }

    /// Has this priority.
    #[must_use]
    pub fn with_priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Starts at this time or later, in ms since the epoch.
    #[must_use]
    pub fn not_before(mut self, not_before_ms: TimestampMs) -> Self {
        self.not_before_ms = Some(not_before_ms);
        self
    }

    /// Is discarded when it has not started by this time, in ms since the epoch.
    #[must_use]
    pub fn expires(mut self, expires_ms: TimestampMs) -> Self {
        self.expires_ms = Some(expires_ms);
        self
    }

    /// Is the only one with this key until it is done.
    #[must_use]
    pub fn unique_until_done(mut self, key: impl Into<String>) -> Self {
        self.unique = Some(UniqueKey { key: key.into(), mode: UniqueMode::UntilDone });
        self
    }

    /// Is the only one with this key for this long.
    #[must_use]
    pub fn unique_for(mut self, key: impl Into<String>, period: Duration) -> Self {
        self.unique = Some(UniqueKey { key: key.into(), mode: UniqueMode::For(period) });
        self
    }

    /// Is held to the rates of this key: a target, a receiver, a token.
    #[must_use]
    pub fn with_rate_key(mut self, key: impl Into<String>) -> Self {
        self.rate_key = Some(key.into());
        self
    }

    /// May be awaited for this long after its end.
    #[must_use]
    pub fn with_result(mut self, ttl: Duration) -> Self {
        self.result_ttl = Some(ttl);
        self
    }

    /// The job as a broker keeps it.
    pub(crate) fn into_record(self, id: JobId, created_ms: TimestampMs) -> JobRecord {
        JobRecord {
            id,
            kind: self.kind,
            queue: self.queue,
            priority: self.priority,
            payload: self.payload,
            created_ms,
            not_before_ms: self.not_before_ms,
            expires_ms: self.expires_ms,
            time_limit: self.time_limit,
            soft_limit: self.soft_limit,
            attempts_max: self.attempts_max.max(1),
            unique: self.unique,
            rate_key: self.rate_key,
            parent: self.parent,
            trace: self.trace,
            result_ttl: self.result_ttl,
            workflow: None,
            inputs: Bytes::new(),
        }
    }
}

/// A job as a broker keeps it: what does not change between its attempts.
#[derive(Clone, Debug, PartialEq)]
pub struct JobRecord {
    /// Its identity.
    pub id: JobId,
    /// What it does.
    pub kind: JobKind,
    /// Where it waits.
    pub queue: QueueName,
    /// Which of the waiting go first.
    pub priority: Priority,
    /// Bytes for [`Payload::decode`].
    pub payload: Bytes,
    /// When it was pushed, in ms since the epoch.
    pub created_ms: TimestampMs,
    /// Earliest start, in ms since the epoch.
    pub not_before_ms: Option<TimestampMs>,
    /// Latest start, in ms since the epoch.
    pub expires_ms: Option<TimestampMs>,
    /// How long one attempt may take.
    pub time_limit: Duration,
    /// After how long an attempt is told to come to an end.
    pub soft_limit: Option<Duration>,
    /// Attempts allowed.
    pub attempts_max: u32,
    /// Keeps other jobs with the same key away.
    pub unique: Option<UniqueKey>,
    /// The job that caused this one.
    pub parent: Option<JobId>,
    /// The request that caused this one.
    pub trace: Option<TraceId>,
    /// For how long after its end it can be awaited.
    pub result_ttl: Option<Duration>,
    /// What it is about, for rates by key.
    pub rate_key: Option<String>,
    /// Of which workflow it is a node.
    pub workflow: Option<NodeRef>,
    /// What the nodes before it hand on, for [`JobRecord::node_inputs`].
    pub(crate) inputs: Bytes,
}

impl JobRecord {
    /// What the nodes before it in its workflow hand on, in the order of their numbers; nothing for a job by itself.
    ///
    /// # Errors
    /// Says what is wrong with stored inputs that cannot be read.
    pub fn node_inputs(&self) -> Result<Vec<NodeInput>, String> {
        crate::workflow::decode_inputs(&self.inputs)
    }

    /// When its first attempt may start.
    pub(crate) fn due_ms(&self) -> TimestampMs {
        self.not_before_ms.unwrap_or(self.created_ms)
    }

    /// Bytes of its payload and its inputs.
    pub(crate) fn data_bytes(&self) -> usize {
        self.payload.len() + self.inputs.len()
    }

    /// Without payload and inputs, which nobody needs once it is done.
    pub(crate) fn without_data(&self) -> Self {
        Self { payload: Bytes::new(), inputs: Bytes::new(), ..self.clone() }
    }
}
