//! What an operator can set about the workers.

use std::time::Duration;

use tidemark_queue::{CONCURRENCY_MAX, JobKind, QueueName, Rate, WorkerId};

use crate::SharedRates;

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
    /// Most attempts at one time over all queues, shared by their weights; `None` for what the queues have together.
    pub total: Option<usize>,
    /// Rates that this process holds its kinds to; none by default.
    pub rates: Vec<(JobKind, Rate)>,
    /// Rates that all processes share; none by default.
    pub shared_rates: SharedRates,
    /// Most attempts of these kinds at one time, over all queues of the pool; the others are free.
    pub kind_limits: Vec<(JobKind, usize)>,
    /// How long running attempts may go on when the pool stops.
    pub stop_grace: Duration,
    /// How long an attempt that was told to stop may go on before it is dropped.
    pub cancel_grace: Duration,
    /// How long the broker may take to hear of the last jobs when the pool stops.
    pub settle_grace: Duration,
    /// How often the broker's sweep is called.
    pub sweep_every: Duration,
    /// How often the worker reports that it lives, and hears what it is told.
    pub heartbeat_every: Duration,
    /// How often the number of attempts at one time follows the backlog, in queues where it may.
    pub scale_every: Duration,
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
            total: None,
            rates: Vec::new(),
            shared_rates: SharedRates::default(),
            kind_limits: Vec::new(),
            stop_grace: Duration::from_secs(20),
            cancel_grace: Duration::from_secs(2),
            settle_grace: Duration::from_secs(5),
            sweep_every: Duration::from_millis(200),
            heartbeat_every: Duration::from_secs(5),
            scale_every: Duration::from_secs(1),
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
    /// Attempts that run at once; the least of them where the number follows the backlog.
    pub concurrency: usize,
    /// Most attempts that run at once: more than `concurrency` lets the number follow the backlog.
    pub concurrency_max: usize,
    /// Most attempts at once that anybody may ask for while the pool runs.
    pub scale_max: usize,
    /// Its part of the slots that all queues share, while they have more to do than there are: twice the weight gets twice
    /// the starts.
    pub weight: u32,
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
        let scale_max = usize::try_from(CONCURRENCY_MAX).unwrap_or(usize::MAX);
        Self {
            queue,
            concurrency,
            concurrency_max: concurrency,
            scale_max,
            weight: 1,
            prefetch: concurrency,
            parallel: true,
        }
    }

    /// Runs no more attempts at once than this, and prefetches no more.
    #[must_use]
    pub fn at_most(mut self, limit: usize) -> Self {
        for number in [&mut self.concurrency, &mut self.concurrency_max, &mut self.scale_max, &mut self.prefetch] {
            *number = (*number).min(limit);
        }
        self
    }

    /// Lets the number of attempts at once follow the backlog, up to this.
    #[must_use]
    pub fn growing_to(mut self, concurrency_max: usize) -> Self {
        self.concurrency_max = concurrency_max.max(self.concurrency);
        self
    }
}
