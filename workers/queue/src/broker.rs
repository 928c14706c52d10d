//! The seam between those who have work and those who do it.

use std::time::Duration;

use tidemark_model::BoxFuture;

use crate::{
    BrokerError, BrokerHealth, Cancelled, Completion, Delivery, FetchRequest, JobFilter, JobId, JobNote, JobPage,
    JobView, Leadership, LeaseState, NewJob, NumberedCommand, Outcome, Page, Pushed, QueueLoss, QueueName,
    QueueSettings, QueueStats, RateClaim, Receipt, Schedule, ScheduleExpect, Settled, TickReport, WorkerCommand,
    WorkerId, WorkerReport, WorkerView, Workflow, WorkflowId, WorkflowPage, WorkflowView,
};

/// Result of a call to a broker.
pub type BrokerResult<'a, T> = BoxFuture<'a, Result<T, BrokerError>>;

/// Largest result of a job in bytes; a larger one is not kept.
pub const RESULT_BYTES_MAX: usize = 64 * 1024;

/// Most jobs of one [`Broker::push`].
pub const PUSH_JOBS_MAX: usize = 10_000;

/// Most jobs of one [`Broker::retry_all`] or [`Broker::purge`].
pub const BULK_MAX: usize = 10_000;

/// Longest reason, unique key or error text that is kept, in bytes.
pub const TEXT_BYTES_MAX: usize = 1_024;

/// Keeps jobs and hands them out, at least once each.
///
/// A worker holds what it fetched by a lease: it must settle, extend or release each receipt before the lease runs
/// out, or a sweep takes the job back ("rescue"). A rescued job keeps its attempt number; one that was rescued three
/// times is taken for poison and discarded. Whoever lost a lease cannot settle the job any more.
///
/// # Cancel safety
/// Dropping the future of a call leaves it unknown whether the call took effect. Jobs that were fetched into a dropped
/// future come back when their lease runs out.
pub trait Broker: Send + Sync + 'static {
    /// Queues jobs, durably. All jobs of one queue are queued or none; the answers are in the order of the jobs.
    ///
    /// # Errors
    /// [`BrokerError::Full`] when a queue is longer than its limit, [`BrokerError::Draining`] when it takes no new jobs,
    /// [`BrokerError::Invalid`] for a payload or a key
    /// that is too long; then nothing of that queue was queued. A broker in Redis queues the jobs of one queue after the
    /// other's, so an error may leave those of earlier queues queued.
    fn push(&self, jobs: Vec<NewJob>) -> BrokerResult<'_, Vec<Pushed>>;

    /// Hands out jobs that are ready; waits for the first one for as long as the request says.
    fn fetch(&self, request: FetchRequest) -> BrokerResult<'_, Vec<Delivery>>;

    /// Records what became of attempts; the answers are in the order of the settlements.
    fn settle(&self, settlements: Vec<(Receipt, Outcome)>) -> BrokerResult<'_, Vec<Settled>>;

    /// Adds to what is known of running jobs: progress and log lines, shown while a job runs and with its history. The
    /// answers are in the order of the notes: `false` for one that was refused because its lease is lost.
    ///
    /// Notes are a help for people and less durable than jobs: they may be lost with the process that keeps them.
    fn note(&self, notes: Vec<(Receipt, JobNote)>) -> BrokerResult<'_, Vec<bool>>;

    /// Extends leases; the answers are in the order of the receipts.
    fn extend<'a>(&'a self, receipts: &'a [Receipt]) -> BrokerResult<'a, Vec<LeaseState>>;

    /// Gives jobs back that were not started or not finished; their attempt does not count.
    fn release(&self, receipts: Vec<Receipt>) -> BrokerResult<'_, ()>;

    /// Makes jobs ready whose time has come, takes back jobs whose lease ran out, discards what expired. To be called
    /// about five times a second by at least one process.
    fn tick(&self) -> BrokerResult<'_, TickReport>;

    /// How long a lease lasts.
    fn lease(&self) -> Duration;

    /// Calls a job off.
    fn cancel(&self, job: JobId) -> BrokerResult<'_, Cancelled>;

    /// Gives a discarded, cancelled or retryable job a fresh set of attempts at once; `false` when there is no such job.
    fn retry(&self, job: JobId) -> BrokerResult<'_, bool>;

    /// Retries discarded jobs that match, the oldest first, as [`Broker::retry`] does; how many. At most `limit` and
    /// [`BULK_MAX`] in one call; jobs whose unique key another job has are passed over. If the call fails, a part of them
    /// may have been retried.
    fn retry_all(&self, filter: JobFilter, limit: usize) -> BrokerResult<'_, u64>;

    /// Forgets discarded jobs that match, the oldest first; how many. At most `limit` and [`BULK_MAX`] in one call.
    fn purge(&self, filter: JobFilter, limit: usize) -> BrokerResult<'_, u64>;

    /// Forgets one discarded job; `false` when there is none of that id.
    fn forget(&self, job: JobId) -> BrokerResult<'_, bool>;

    /// Sets everything that an operator can set about a queue, which need not have had a job. It holds for all processes at
    /// once and survives restarts; [`QueueStats::settings`] tells it.
    ///
    /// # Errors
    /// [`BrokerError::Invalid`] for a limit that cannot be.
    fn set_queue<'a>(&'a self, queue: &'a QueueName, settings: QueueSettings) -> BrokerResult<'a, ()>;

    /// Asks whether jobs may start now, by rates that all processes share; for each claim zero, and its turn is taken, or how
    /// long it has to wait, and nothing is taken.
    ///
    /// # Errors
    /// [`BrokerError::Invalid`] for a name or a number of rates that is too large.
    fn admit(&self, claims: Vec<RateClaim>) -> BrokerResult<'_, Vec<Duration>>;

    /// Lets workers get nothing from a queue; jobs may still be pushed. Changes nothing else of its settings.
    fn pause<'a>(&'a self, queue: &'a QueueName) -> BrokerResult<'a, ()>;

    /// Undoes [`Broker::pause`].
    fn resume<'a>(&'a self, queue: &'a QueueName) -> BrokerResult<'a, ()>;

    /// Figures of all queues that ever had a job, by name.
    fn queues(&self) -> BrokerResult<'_, Vec<QueueStats>>;

    /// A part of the jobs that match, the newest first: those that wait or run, the discarded ones, and as many of
    /// the finished ones as the history holds.
    fn jobs(&self, filter: JobFilter, page: Page) -> BrokerResult<'_, JobPage>;

    /// One job with its payload.
    fn job(&self, job: JobId) -> BrokerResult<'_, Option<JobView>>;

    /// What became of a job; waits for its end for at most `wait`. For jobs with [`NewJob::result_ttl`].
    fn completion(&self, job: JobId, wait: Duration) -> BrokerResult<'_, Completion>;

    /// Starts a workflow, durably: the jobs of nodes that wait for nothing are queued, the others when their turn comes.
    ///
    /// # Errors
    /// [`BrokerError::Full`] when too many workflows run or a queue is longer than its limit, [`BrokerError::Invalid`] for
    /// more than [`crate::WORKFLOW_NODES_MAX`] nodes, [`crate::WORKFLOW_EDGES_MAX`] "waits for" or
    /// [`crate::WORKFLOW_BYTES_MAX`] bytes of payload, for nodes that wait for later ones and for unique keys; then nothing
    /// is started. A queue that is longer than its limit once the workflow has started takes its jobs all the same.
    fn start_workflow(&self, workflow: Workflow) -> BrokerResult<'_, WorkflowId>;

    /// A workflow with its nodes; those that have ended are kept for as long as finished jobs are.
    fn workflow(&self, id: WorkflowId) -> BrokerResult<'_, Option<WorkflowView>>;

    /// At most `limit` workflows, the newest first; those before one if that is given.
    fn workflows(&self, before: Option<WorkflowId>, limit: usize) -> BrokerResult<'_, WorkflowPage>;

    /// Calls a workflow off: all its jobs that have not ended are cancelled, and no other is queued.
    fn cancel_workflow(&self, id: WorkflowId) -> BrokerResult<'_, Cancelled>;

    /// What became of a workflow, with the result of its last node; waits for its end for at most `wait`. A workflow that
    /// failed ends as [`crate::JobState::Discarded`].
    fn workflow_completion(&self, id: WorkflowId, wait: Duration) -> BrokerResult<'_, Completion>;

    /// Records that a worker lives; what it is told, the oldest first. A command comes again until a report says by
    /// [`WorkerReport::last_command`] that the worker has it.
    fn heartbeat(&self, report: WorkerReport) -> BrokerResult<'_, Vec<NumberedCommand>>;

    /// Leaves a command for a worker, which takes it with its next heartbeat; `false` when there is no such worker.
    ///
    /// # Errors
    /// [`BrokerError::Invalid`] for a number that is out of range, and when [`crate::WORKER_COMMANDS_MAX`] commands wait
    /// for it.
    fn command_worker<'a>(&'a self, worker: &'a WorkerId, command: WorkerCommand) -> BrokerResult<'a, bool>;

    /// Records that a worker has ended in order.
    fn farewell<'a>(&'a self, worker: &'a WorkerId) -> BrokerResult<'a, ()>;

    /// Workers that were heard of during the last few minutes, by name.
    fn workers(&self) -> BrokerResult<'_, Vec<WorkerView>>;

    /// All schedules by name.
    fn schedules(&self) -> BrokerResult<'_, Vec<Schedule>>;

    /// One schedule.
    fn schedule<'a>(&'a self, name: &'a str) -> BrokerResult<'a, Option<Schedule>>;

    /// Writes a schedule if its version is as expected; its new version, or `None` when somebody else was faster.
    fn put_schedule(&self, schedule: Schedule, expect: ScheduleExpect) -> BrokerResult<'_, Option<u64>>;

    /// Removes a schedule; `false` when there was none.
    fn delete_schedule<'a>(&'a self, name: &'a str) -> BrokerResult<'a, bool>;

    /// Makes `owner` the leader called `name` for `ttl`, or keeps it so; `None` while somebody else leads.
    fn try_lead<'a>(&'a self, name: &'a str, owner: &'a str, ttl: Duration) -> BrokerResult<'a, Option<Leadership>>;

    /// Gives leadership up early.
    fn resign<'a>(&'a self, name: &'a str, owner: &'a str) -> BrokerResult<'a, ()>;

    /// What is remembered of data that the broker lost, the newest first; at most a hundred. Brokers that keep their jobs in
    /// one file lose none.
    fn losses(&self) -> BrokerResult<'_, Vec<QueueLoss>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    /// Whether the broker keeps what it promises. Never fails: trouble is in the answer.
    fn health(&self) -> BoxFuture<'_, BrokerHealth>;

    /// Finishes what is on its way and closes; calls after that fail with [`BrokerError::Closed`].
    fn close(&self) -> BoxFuture<'_, ()>;
}
