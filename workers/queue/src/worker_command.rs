//! What people tell a worker through the broker.

use serde::{Deserialize, Serialize};

use crate::BrokerError;

/// Most commands that wait for one worker.
pub const WORKER_COMMANDS_MAX: usize = 64;
/// Most attempts of one queue at one time that can be asked for.
pub const CONCURRENCY_MAX: u32 = 10_000;

/// What a worker is told. Doing it twice does no harm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerCommand {
    /// Finish what runs, give the rest back, and end.
    Stop,
    /// Run so many attempts of a queue at one time.
    Scale {
        /// One of its queues; others are left alone.
        queue: String,
        /// From 1 to [`CONCURRENCY_MAX`].
        concurrency: u32,
    },
}

impl WorkerCommand {
    /// Checks what every broker refuses.
    pub(crate) fn check(&self) -> Result<(), BrokerError> {
        match self {
            Self::Scale { concurrency, .. } if !(1..=CONCURRENCY_MAX).contains(concurrency) => {
                Err(BrokerError::Invalid(format!(
                    "{concurrency} attempts at one time are out of range: 1 to {CONCURRENCY_MAX}"
                )))
            }
            Self::Scale { queue, .. } => match queue.parse::<crate::QueueName>() {
                Ok(_) => Ok(()),
                Err(error) => Err(BrokerError::Invalid(error.to_string())),
            },
            Self::Stop => Ok(()),
        }
    }
}

/// A command and its number, by which a worker says that it has it: see [`crate::WorkerReport::last_command`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberedCommand {
    /// Numbers of one worker grow.
    pub number: u64,
    /// What to do.
    pub command: WorkerCommand,
}
