//! Jobs, the [`Broker`] seam, and its in-memory, embedded and Redis implementations. Nothing here knows what a job does.
//!
//! A producer makes a [`NewJob`] from a [`Payload`] and pushes it; a worker fetches a [`Delivery`], which is a lease on
//! the job, and settles it with an [`Outcome`]. Delivery is at least once: whoever runs jobs must be idempotent.
//!
//! ```text
//!              push                fetch            settle(Completed)
//!  (producer) ------> available ---------> running ------------------> completed
//!       |                ^  ^                 |  |  settle(Retry)          ^
//!       |  not before    |  |  its time came  |  +-----------> retryable   |
//!       +--> scheduled --+  +-----------------|-------------------+        |
//!                           lease ran out     +--> discarded, cancelled    |
//! ```
//!
//! The stock stores of apalis were measured and turned down (they lose or double jobs, or are too slow by orders of
//! magnitude); what we use of apalis hangs above this seam, in `tidemark-workers`.

mod attempt_note;
mod backoff;
mod broker;
mod delivery;
mod embedded;
mod error;
mod finished_codec;
mod job;
mod job_id;
mod job_journal;
mod job_kind;
mod job_note;
mod length_prefixed;
mod memory;
mod options;
mod origin;
mod payload;
mod queue_loss;
mod queue_name;
mod queue_settings;
mod rate;
mod rate_claim;
mod record_codec;
mod redis;
mod rescue_delay;
mod schedule;
mod stored;
mod table;
mod table_broker;
#[cfg(test)]
mod test_documents;
mod text;
mod view;
mod worker_command;
mod workflow;

pub use crate::redis::{RedisBroker, RedisOptions, RedisTls};
pub use attempt_note::{ATTEMPTS_KEPT_MAX, AttemptNote};
pub use backoff::Backoff;
pub use broker::{BULK_MAX, Broker, BrokerResult, PUSH_JOBS_MAX, RESULT_BYTES_MAX, TEXT_BYTES_MAX};
pub use delivery::{
    Cancelled, Completion, Delivery, FetchRequest, JobResult, LeaseState, Outcome, Pushed, Receipt, Settled,
    TickReport, WorkerId,
};
pub use embedded::{EmbeddedBroker, EmbeddedRunner};
pub use error::BrokerError;
pub use job::{JobRecord, JobState, NewJob, Priority, TraceId, UniqueKey, UniqueMode};
pub use job_id::{JobId, JobIdError, JobIdSource};
pub use job_journal::JobJournal;
pub use job_kind::{JobKind, JobKindError, KindDefaults, ROLLUP_RANGE_QUEUE};
pub use job_note::{JobNote, LOG_LINE_BYTES_MAX, LOG_LINES_MAX, LogLine, Progress};
pub use memory::{BrokerFaults, MemoryBroker, MemoryRunner};
pub use options::BrokerOptions;
pub use origin::Origin;
pub use payload::{
    BacktestPayload, CollectPayload, EvaluatePayload, ExportPayload, ImportPayload, NotifyPayload, PAYLOAD_BYTES_MAX,
    Payload, PayloadError, RollupPayload, RollupRange, RollupStep, TimeWindow, WritePayload, decode_body,
};
pub use queue_loss::{LossFound, LossKind, QueueLoss};
pub use queue_name::{QueueName, QueueNameError};
pub use queue_settings::QueueSettings;
pub use rate::{Rate, RateError};
pub use rate_claim::{RATE_NAME_BYTES_MAX, RateClaim, RateLimit};
pub use schedule::{CATCH_UP_MAX, CatchUp, JobTemplate, Leadership, Schedule, ScheduleExpect, Timing};
pub use stored::Stored;
pub use table_broker::{TableBroker, TableRunner};
pub use view::{BrokerHealth, JobFilter, JobPage, JobView, Page, QueueStats, QueueTotals, WorkerReport, WorkerView};
pub use worker_command::{CONCURRENCY_MAX, NumberedCommand, WORKER_COMMANDS_MAX, WorkerCommand};
pub use workflow::{
    FailurePolicy, INPUTS_BYTES_MAX, NodeId, NodeInput, NodeRef, NodeState, NodeView, WORKFLOW_BYTES_MAX,
    WORKFLOW_EDGES_MAX, WORKFLOW_NODES_MAX, Workflow, WorkflowId, WorkflowPage, WorkflowState, WorkflowView,
};
