//! What a durable broker has to write.

use std::sync::Arc;

use tidemark_model::TimestampMs;

use super::shelf::{Finished, ShelfKind};
use crate::{AttemptNote, JobId, JobRecord, QueueName, QueueSettings, Schedule, WorkerId, WorkflowId};

/// One thing to write. Changes of one group are written in one transaction, in order.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// A new job. One that `stands` follows from something that happened; another is undone if it cannot be written.
    Insert { sequence: u64, body: Vec<u8>, stands: bool },
    /// A job that is gone from the table.
    Delete { sequence: u64 },
    /// A job that waits for its next attempt.
    Update {
        sequence: u64,
        record: Arc<JobRecord>,
        attempts: u32,
        rescues: u32,
        run_at_ms: TimestampMs,
        error: Option<String>,
        attempts_made: Vec<AttemptNote>,
    },
    /// Jobs that a worker got, each with the attempts it had behind it.
    Lease { token: u64, jobs: Vec<(u64, u32)>, worker: WorkerId, started_ms: TimestampMs },
    /// What is left of a lease of which jobs were given back or taken back: they do not run any more.
    LeaseLeft { token: u64, jobs: Vec<(u64, u32)> },
    /// A lease of which no job is left.
    Unlease { token: u64 },
    /// A finished job to keep.
    Shelve(Shelved),
    /// A finished job to forget.
    Unshelve { shelf: ShelfKind, number: u64 },
    /// A unique key that outlives its job.
    HoldKey { queue: QueueName, key: String, job: JobId, until_ms: TimestampMs },
    /// A unique key whose time is over.
    FreeKey { queue: QueueName, key: String },
    /// What is set about a queue.
    SetQueue { queue: QueueName, settings: QueueSettings },
    /// A schedule as it is now.
    PutSchedule(Box<Schedule>),
    /// A schedule that is gone.
    DeleteSchedule { name: String },
    /// The token of a new leader.
    Lead { name: String, token: u64 },
    /// A new workflow.
    StartWorkflow { id: WorkflowId, body: Vec<u8> },
    /// Something that happened to a workflow; numbers grow with each.
    WorkflowEvent { id: WorkflowId, number: u64, body: Vec<u8> },
    /// A workflow that has ended, as it is kept.
    EndWorkflow { id: WorkflowId, body: Vec<u8> },
    /// A workflow to forget.
    DropWorkflow { id: WorkflowId },
}

/// A finished job and where it is kept.
#[derive(Clone, Debug)]
pub(crate) struct Shelved {
    pub(crate) shelf: ShelfKind,
    pub(crate) number: u64,
    pub(crate) finished: Arc<Finished>,
}
