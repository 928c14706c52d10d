//! Why a broker does not do what it is asked.

use crate::QueueName;

/// Why a broker does not do what it is asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    /// The queue is longer than its limit: try again later. Nothing was pushed. HTTP 503 with `Retry-After`.
    #[error("queue `{queue}` is full: {waiting} {unit} wait, at most {limit} are allowed; see `{setting}`")]
    Full {
        /// The queue.
        queue: QueueName,
        /// Jobs or bytes that wait.
        waiting: u64,
        /// The limit.
        limit: u64,
        /// What is counted: `jobs` or `payload bytes`.
        unit: &'static str,
        /// The setting that raises the limit.
        setting: &'static str,
    },
    /// The queue is being drained: nothing was pushed. HTTP 503 with `Retry-After`.
    #[error("queue `{queue}` is being drained: it takes no new jobs until somebody undoes that")]
    Draining {
        /// The queue.
        queue: QueueName,
    },
    /// What was asked for breaks a rule; asking again does not help.
    #[error("{0}")]
    Invalid(String),
    /// The broker cannot be reached or its disk fails. The request had no effect.
    #[error("the broker is unavailable: {0}")]
    Unavailable(String),
    /// The answer was lost: the request took effect or not. Asking again is harmless for everything but a push without a
    /// unique key, whose jobs may then run twice.
    #[error("the broker's answer was lost: {0}")]
    Unknown(String),
    /// The disk under the broker is full; nothing was pushed.
    #[error("the broker's disk is full: {0}")]
    DiskFull(String),
    /// What is stored cannot be read.
    #[error("stored job data is damaged: {0}")]
    Corrupt(String),
    /// The queues belong to another store. Nothing was pushed.
    #[error("{0}")]
    OtherStore(String),
    /// The broker has been closed.
    #[error("the broker is closed")]
    Closed,
}
