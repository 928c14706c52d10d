//! What an operator can set about the workers.

use std::time::Duration;

use tidemark_queue::{JobKind, QueueName, WorkerId};

use crate::Rate;

/// What a pool runs and how.
#[derive(Clone, Debug)]
pub struct PoolOptions {
    /// Its name, unique among the workers of a broker.
    pub worker: WorkerId,
    /// Host, for people.
    pub host: String,
    /// Release, for people.
    pub version: String,
    /// The queues it works on.
    pub queues: Vec<QueueOptions>,
    /// Rates that this process holds its kinds to; none by default.
    pub rates: Vec<(JobKind, Rate)>,
    /// How long running attempts may go on when the pool stops.
    pub stop_grace: Duration,
    /// How long an attempt that was told to stop may go on before it is dropped.
    pub cancel_grace: Duration,
    /// How long the broker may take to hear of the last jobs when the pool stops.
    pub settle_grace: Duration,
    /// How often the broker's sweep is called.
    pub sweep_every: Duration,
    /// How often the worker reports that it lives.
    pub heartbeat_every: Duration,
}

impl PoolOptions {
    /// A worker of this name without queues.
    #[must_use]
    pub fn new(worker: WorkerId) -> Self {
        Self {
            worker,
            host: String::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            queues: Vec::new(),
            rates: Vec::new(),
            stop_grace: Duration::from_secs(20),
            cancel_grace: Duration::from_secs(2),
            settle_grace: Duration::from_secs(5),
            sweep_every: Duration::from_millis(200),
            heartbeat_every: Duration::from_secs(5),
        }
    }

    /// Works on this queue, too.
    #[must_use]
    pub fn with_queue(mut self, queue: QueueOptions) -> Self {
        self.queues.push(queue);
        self
    }
}

/// How a pool works on a queue.
#[derive(Clone, Debug)]
pub struct QueueOptions {
    /// The queue.
    pub queue: QueueName,
    /// Attempts that run at once.
    pub concurrency: usize,
    /// Jobs that wait in the process for a slot, so that no slot waits for the broker. A job that waits here is not
    /// available to other workers, so queues with long jobs want 0 or 1.
    pub prefetch: usize,
    /// Whether each attempt gets a task of its own and so may run on any core; without it, a handler that computes holds up
    /// the other attempts of its queue.
    pub parallel: bool,
}

impl QueueOptions {
    /// Works on the queue with so many attempts at once and as many prefetched.
    #[must_use]
    pub fn new(queue: QueueName, concurrency: usize) -> Self {
        Self { queue, concurrency, prefetch: concurrency, parallel: true }
    }

    pub(crate) fn shown(&self) -> (String, u32) {
        (self.queue.to_string(), u32::try_from(self.concurrency).unwrap_or(u32::MAX))
    }
}
