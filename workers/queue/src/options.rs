//! What an operator can set about any broker.

use std::time::Duration;

/// Limits and times of a broker; each has a default.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokerOptions {
    /// How long a lease lasts unless it is extended.
    pub lease: Duration,
    /// A job whose workers were lost this often is discarded as poison.
    pub rescues_max: u32,
    /// Most jobs that wait in one queue; beyond that producers are refused. Setting `queue.jobs_max`.
    pub queue_jobs_max: u64,
    /// Most bytes of payload that wait in one queue. Setting `queue.bytes_max`.
    pub queue_bytes_max: u64,
    /// Most finished jobs that the history keeps.
    pub history_jobs_max: usize,
    /// Age at which finished jobs leave the history.
    pub history_age_max: Duration,
    /// Completed jobs a second that enter the history; under more load only a part of them does. Jobs that failed,
    /// and those with a result to await, are always kept.
    pub history_per_second_max: u32,
    /// Most discarded jobs that are kept; beyond that the oldest are dropped and counted.
    pub discarded_jobs_max: usize,
    /// Most workflows that run; beyond that producers are refused. Setting `queue.workflows_max`.
    pub workflows_max: usize,
    /// Most finished workflows that are kept, no longer than finished jobs.
    pub finished_workflows_max: usize,
    /// Workers not heard of for this long are forgotten.
    pub worker_silence_max: Duration,
}

impl Default for BrokerOptions {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(30),
            rescues_max: 3,
            queue_jobs_max: 2_000_000,
            queue_bytes_max: 512 * 1024 * 1024,
            history_jobs_max: 10_000,
            history_age_max: Duration::from_secs(24 * 3_600),
            history_per_second_max: 1_000,
            discarded_jobs_max: 100_000,
            workflows_max: 1_000,
            finished_workflows_max: 1_000,
            worker_silence_max: Duration::from_secs(300),
        }
    }
}
