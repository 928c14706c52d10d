//! What an operator sets about one queue. The broker keeps it, so that it holds for all processes and survives restarts.

use serde::{Deserialize, Serialize};

use crate::{BrokerError, Rate};

/// Limits and switches of one queue; what is not set is as the broker's options say, or free.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueSettings {
    /// Workers get nothing from it; jobs may still be pushed.
    pub paused: bool,
    /// It takes no new jobs; workers go on until it is empty. What a person retries and what follows from a job in it
    /// (attempts, nodes of workflows) still comes in.
    pub draining: bool,
    /// So many jobs are handed out in a time, over all workers. Jobs that travel in one frame are handed out together, and
    /// the next ones wait for longer.
    pub rate: Option<Rate>,
    /// So many jobs run at one time, over all workers; more by at most one frame of a kind that has frames.
    pub running_max: Option<u32>,
    /// Most jobs that wait in it, in the place of [`crate::BrokerOptions::queue_jobs_max`].
    pub jobs_max: Option<u64>,
    /// Most bytes of payload that wait in it, in the place of [`crate::BrokerOptions::queue_bytes_max`].
    pub bytes_max: Option<u64>,
}

/// Largest limit: what all brokers hold exactly.
const LIMIT_MAX: u64 = (1 << 52) - 1;

impl QueueSettings {
    /// Checks what every broker refuses to keep.
    pub(crate) fn check(&self) -> Result<(), BrokerError> {
        let wrong = |text: String| Err(BrokerError::Invalid(text));
        if self.running_max == Some(0) {
            return wrong("`running_max` of 0 jobs is a pause: pause the queue instead".to_owned());
        }
        for (name, limit) in [("jobs_max", self.jobs_max), ("bytes_max", self.bytes_max)] {
            if let Some(limit) = limit.filter(|limit| *limit > LIMIT_MAX) {
                return wrong(format!("`{name}` of {limit} is more than {LIMIT_MAX}"));
            }
        }
        Ok(())
    }
}
