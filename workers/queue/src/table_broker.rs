//! A broker over a [`JobTable`]: the calls, their checks, and the waiting. Where the table lives is a [`TableRunner`]'s
//! matter: behind a lock ([`crate::MemoryBroker`]) or in a thread that owns a file ([`crate::EmbeddedBroker`]).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tidemark_model::{BoxFuture, Clock};
use tokio::sync::Notify;

use crate::{
    Broker, BrokerError, BrokerHealth, BrokerOptions, BrokerResult, Cancelled, Completion, Delivery, FetchRequest,
    JobFilter, JobId, JobIdSource, JobNote, JobPage, JobView, Leadership, LeaseState, NewJob, NumberedCommand, Outcome,
    PAYLOAD_BYTES_MAX, PUSH_JOBS_MAX, Page, Pushed, QueueName, QueueSettings, QueueStats, RateClaim, Receipt, Schedule,
    ScheduleExpect, Settled, TEXT_BYTES_MAX, TickReport, WORKER_COMMANDS_MAX, WorkerCommand, WorkerId, WorkerReport,
    WorkerView, Workflow, WorkflowId, WorkflowPage, WorkflowView,
    rate_claim::check_claims,
    record_codec,
    table::{JobTable, Now, PreparedJob},
    workflow::{Definition, encode_definition},
};

pub(crate) use crate::table::Await;

/// Runs calls on a table, one after the other, and answers once what they changed is as durable as promised.
pub trait TableRunner: Send + Sync + 'static {
    /// Whether jobs have to be encoded for it.
    #[doc(hidden)]
    const WRITES: bool;

    #[doc(hidden)]
    fn call<'a, T, F>(&'a self, call: F) -> BoxFuture<'a, Result<T, BrokerError>>
    where
        T: Send + 'static,
        F: FnOnce(&mut TableAccess<'_>) -> T + Send + 'static;

    #[doc(hidden)]
    fn health(&self) -> BoxFuture<'_, BrokerHealth>;

    #[doc(hidden)]
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// The table, and the time of a call.
#[doc(hidden)]
pub struct TableAccess<'a> {
    pub(crate) table: &'a mut JobTable,
    pub(crate) now: Now,
}

impl<'a> TableAccess<'a> {
    /// The table at this time.
    pub(crate) fn new(table: &'a mut JobTable, now: Now) -> Self {
        table.follow_clock(now);
        Self { table, now }
    }
}

/// A broker whose jobs are in the memory of this process; see the module's text.
pub struct TableBroker<R> {
    runner: R,
    shared: Arc<Shared>,
    options: BrokerOptions,
    ids: JobIdSource,
}

/// What the broker and its runner share.
pub(crate) struct Shared {
    pub(crate) clock: Arc<dyn Clock>,
    /// Fired when jobs became ready.
    pub(crate) ready: Notify,
    pub(crate) closed: AtomicBool,
}

impl Shared {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { clock, ready: Notify::new(), closed: AtomicBool::new(false) })
    }

    pub(crate) fn now(&self) -> Now {
        Now { wall_ms: self.clock.now_ms(), monotonic: self.clock.monotonic() }
    }
}

impl<R: TableRunner> TableBroker<R> {
    pub(crate) fn assemble(runner: R, shared: Arc<Shared>, options: BrokerOptions, ids: JobIdSource) -> Self {
        Self { runner, shared, options, ids }
    }

    pub(crate) fn runner(&self) -> &R {
        &self.runner
    }

    async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut TableAccess<'_>) -> T + Send + 'static,
    ) -> Result<T, BrokerError> {
        if self.shared.closed.load(Ordering::Acquire) {
            return Err(BrokerError::Closed);
        }
        self.runner.call(call).await
    }

    fn prepare(&self, job: NewJob) -> PreparedJob {
        let record = Arc::new(job.into_record(self.ids.next_id(), self.shared.clock.now_ms()));
        let body = if R::WRITES { record_codec::encode(&record) } else { Vec::new() };
        PreparedJob { record, body }
    }

    async fn fetch_within(&self, request: FetchRequest) -> Result<Vec<Delivery>, BrokerError> {
        if request.max == 0 || request.queues.is_empty() {
            return Ok(Vec::new());
        }
        let request = Arc::new(request);
        let deadline = tokio::time::sleep(request.wait);
        tokio::pin!(deadline);
        loop {
            // IMPORTANT: listen before looking, or a job that comes in between waits until the deadline.
            let ready = self.shared.ready.notified();
            tokio::pin!(ready);
            ready.as_mut().enable();
            let asked = request.clone();
            let fetch = move |access: &mut TableAccess<'_>| {
                let deliveries = access.table.fetch(access.now, &asked);
                let look_again = deliveries.is_empty().then(|| access.table.next_turn(access.now, &asked.queues));
                (deliveries, look_again.flatten())
            };
            let (deliveries, next_turn) = self.call(fetch).await?;
            // A timer of no time still takes a millisecond.
            if !deliveries.is_empty() || request.wait.is_zero() {
                return Ok(deliveries);
            }
            tokio::select! {
                () = &mut deadline => return Ok(Vec::new()),
                () = ready => {}
                () = turn_comes(next_turn) => {}
            }
        }
    }

    async fn end_within(&self, job: JobId, known: Await, wait: Duration) -> Result<Completion, BrokerError> {
        let receiver = match known {
            Await::Known(completion) => return Ok(completion),
            Await::Coming(receiver) => receiver,
        };
        match tokio::time::timeout(wait, receiver).await {
            Ok(Ok(result)) => Ok(Completion::Ended(result)),
            Ok(Err(_dropped)) => Err(BrokerError::Closed),
            Err(_elapsed) => {
                self.call(move |access| access.table.forget_waiter(job)).await?;
                Ok(Completion::Pending)
            }
        }
    }
}

/// Waits for the next job that a rate lets through; for ever when no job is held back.
async fn turn_comes(turn: Option<Duration>) {
    match turn {
        Some(turn) => tokio::time::sleep(turn).await,
        None => std::future::pending().await,
    }
}

/// What a broker says to a command for a worker for which too many wait.
pub(crate) fn too_many_commands(worker: &WorkerId) -> BrokerError {
    BrokerError::Invalid(format!("{WORKER_COMMANDS_MAX} commands wait for worker `{worker}` already"))
}

/// Checks what [`Broker::push`] promises to refuse.
pub(crate) fn check_new_jobs(jobs: &[NewJob]) -> Result<(), BrokerError> {
    if jobs.len() > PUSH_JOBS_MAX {
        let count = jobs.len();
        return Err(BrokerError::Invalid(format!(
            "{count} jobs are too many for one push, at most {PUSH_JOBS_MAX} are"
        )));
    }
    jobs.iter().try_for_each(check_new_job)
}

fn check_new_job(job: &NewJob) -> Result<(), BrokerError> {
    if job.payload.len() > PAYLOAD_BYTES_MAX {
        return Err(BrokerError::Invalid(format!(
            "payload of a {} job has {} bytes, at most {PAYLOAD_BYTES_MAX} are allowed",
            job.kind,
            job.payload.len()
        )));
    }
    if job.unique.as_ref().is_some_and(|unique| unique.key.len() > TEXT_BYTES_MAX) {
        return Err(BrokerError::Invalid(format!("unique key of a {} job exceeds {TEXT_BYTES_MAX} bytes", job.kind)));
    }
    if job.rate_key.as_ref().is_some_and(|key| key.len() > TEXT_BYTES_MAX) {
        return Err(BrokerError::Invalid(format!("rate key of a {} job exceeds {TEXT_BYTES_MAX} bytes", job.kind)));
    }
    Ok(())
}

/// Checks what every broker refuses to store.
pub(crate) fn check_schedule(schedule: &Schedule) -> Result<(), BrokerError> {
    let characters = schedule.name.chars().count();
    if characters == 0 || characters > 128 || schedule.name.chars().any(char::is_control) {
        return Err(BrokerError::Invalid("the name of a schedule has 1 to 128 printable characters".to_owned()));
    }
    if schedule.job.payload.len() > PAYLOAD_BYTES_MAX {
        return Err(BrokerError::Invalid(format!(
            "payload of schedule `{}` has {} bytes, at most {PAYLOAD_BYTES_MAX} are allowed",
            schedule.name,
            schedule.job.payload.len()
        )));
    }
    Ok(())
}

impl<R: TableRunner> Broker for TableBroker<R> {
    fn push(&self, jobs: Vec<NewJob>) -> BrokerResult<'_, Vec<Pushed>> {
        Box::pin(async move {
            check_new_jobs(&jobs)?;
            let prepared = jobs.into_iter().map(|job| self.prepare(job)).collect();
            self.call(move |access| access.table.push(access.now, prepared)).await?
        })
    }

    fn fetch(&self, request: FetchRequest) -> BrokerResult<'_, Vec<Delivery>> {
        Box::pin(self.fetch_within(request))
    }

    fn settle(&self, settlements: Vec<(Receipt, Outcome)>) -> BrokerResult<'_, Vec<Settled>> {
        Box::pin(self.call(move |access| access.table.settle(access.now, settlements)))
    }

    fn note(&self, notes: Vec<(Receipt, JobNote)>) -> BrokerResult<'_, Vec<bool>> {
        Box::pin(self.call(move |access| access.table.note(notes)))
    }

    fn extend<'a>(&'a self, receipts: &'a [Receipt]) -> BrokerResult<'a, Vec<LeaseState>> {
        let receipts = receipts.to_vec();
        Box::pin(self.call(move |access| access.table.extend(access.now, &receipts)))
    }

    fn release(&self, receipts: Vec<Receipt>) -> BrokerResult<'_, ()> {
        Box::pin(self.call(move |access| access.table.release(access.now, &receipts)))
    }

    fn tick(&self) -> BrokerResult<'_, TickReport> {
        Box::pin(self.call(move |access| access.table.tick(access.now)))
    }

    fn lease(&self) -> Duration {
        self.options.lease
    }

    fn cancel(&self, job: JobId) -> BrokerResult<'_, Cancelled> {
        Box::pin(self.call(move |access| access.table.cancel(access.now, job)))
    }

    fn retry(&self, job: JobId) -> BrokerResult<'_, bool> {
        Box::pin(self.call(move |access| access.table.retry(access.now, job)))
    }

    fn pause<'a>(&'a self, queue: &'a QueueName) -> BrokerResult<'a, ()> {
        let queue = queue.clone();
        Box::pin(self.call(move |access| access.table.set_paused(&queue, true)))
    }

    fn resume<'a>(&'a self, queue: &'a QueueName) -> BrokerResult<'a, ()> {
        let queue = queue.clone();
        Box::pin(self.call(move |access| access.table.set_paused(&queue, false)))
    }

    fn retry_all(&self, filter: JobFilter, limit: usize) -> BrokerResult<'_, u64> {
        Box::pin(self.call(move |access| access.table.retry_all(access.now, &filter, limit)))
    }

    fn purge(&self, filter: JobFilter, limit: usize) -> BrokerResult<'_, u64> {
        Box::pin(self.call(move |access| access.table.purge(&filter, limit)))
    }

    fn forget(&self, job: JobId) -> BrokerResult<'_, bool> {
        Box::pin(self.call(move |access| access.table.forget(job)))
    }

    fn set_queue<'a>(&'a self, queue: &'a QueueName, settings: QueueSettings) -> BrokerResult<'a, ()> {
        let queue = queue.clone();
        Box::pin(async move {
            settings.check()?;
            self.call(move |access| access.table.set_queue(&queue, settings)).await
        })
    }

    fn admit(&self, claims: Vec<RateClaim>) -> BrokerResult<'_, Vec<Duration>> {
        Box::pin(async move {
            check_claims(&claims)?;
            self.call(move |access| access.table.admit(access.now, &claims)).await
        })
    }

    fn queues(&self) -> BrokerResult<'_, Vec<QueueStats>> {
        Box::pin(self.call(|access| access.table.queue_stats(access.now)))
    }

    fn jobs(&self, filter: JobFilter, page: Page) -> BrokerResult<'_, JobPage> {
        Box::pin(self.call(move |access| access.table.list(&filter, &page)))
    }

    fn job(&self, job: JobId) -> BrokerResult<'_, Option<JobView>> {
        Box::pin(self.call(move |access| access.table.view(job)))
    }

    fn completion(&self, job: JobId, wait: Duration) -> BrokerResult<'_, Completion> {
        Box::pin(async move {
            let known = self.call(move |access| access.table.completion(job)).await?;
            self.end_within(job, known, wait).await
        })
    }

    fn start_workflow(&self, workflow: Workflow) -> BrokerResult<'_, WorkflowId> {
        Box::pin(async move {
            workflow.check()?;
            let definition = Definition::new(workflow, &self.ids, self.shared.clock.now_ms());
            let body = if R::WRITES { encode_definition(&definition) } else { Vec::new() };
            self.call(move |access| access.table.start_workflow(access.now, definition, body)).await?
        })
    }

    fn workflow(&self, id: WorkflowId) -> BrokerResult<'_, Option<WorkflowView>> {
        Box::pin(self.call(move |access| access.table.workflow(id)))
    }

    fn workflows(&self, before: Option<WorkflowId>, limit: usize) -> BrokerResult<'_, WorkflowPage> {
        Box::pin(self.call(move |access| access.table.workflow_page(before, limit)))
    }

    fn cancel_workflow(&self, id: WorkflowId) -> BrokerResult<'_, Cancelled> {
        Box::pin(self.call(move |access| access.table.cancel_workflow(access.now, id)))
    }

    fn workflow_completion(&self, id: WorkflowId, wait: Duration) -> BrokerResult<'_, Completion> {
        Box::pin(async move {
            let known = self.call(move |access| access.table.workflow_completion(id)).await?;
            self.end_within(id.as_job(), known, wait).await
        })
    }

    fn heartbeat(&self, report: WorkerReport) -> BrokerResult<'_, Vec<NumberedCommand>> {
        Box::pin(self.call(move |access| access.table.heartbeat(access.now, report)))
    }

    fn command_worker<'a>(&'a self, worker: &'a WorkerId, command: WorkerCommand) -> BrokerResult<'a, bool> {
        Box::pin(async move {
            command.check()?;
            let name = worker.clone();
            let left = self.call(move |access| access.table.command_worker(name.as_str(), command)).await?;
            left.ok_or_else(|| too_many_commands(worker))
        })
    }

    fn farewell<'a>(&'a self, worker: &'a WorkerId) -> BrokerResult<'a, ()> {
        let worker = worker.clone();
        Box::pin(self.call(move |access| access.table.farewell(worker.as_str())))
    }

    fn workers(&self) -> BrokerResult<'_, Vec<WorkerView>> {
        Box::pin(self.call(|access| access.table.worker_views(access.now)))
    }

    fn schedules(&self) -> BrokerResult<'_, Vec<Schedule>> {
        Box::pin(self.call(|access| access.table.schedules()))
    }

    fn schedule<'a>(&'a self, name: &'a str) -> BrokerResult<'a, Option<Schedule>> {
        let name = name.to_owned();
        Box::pin(self.call(move |access| access.table.schedule(&name)))
    }

    fn put_schedule(&self, schedule: Schedule, expect: ScheduleExpect) -> BrokerResult<'_, Option<u64>> {
        Box::pin(async move {
            check_schedule(&schedule)?;
            self.call(move |access| access.table.put_schedule(schedule, expect)).await
        })
    }

    fn delete_schedule<'a>(&'a self, name: &'a str) -> BrokerResult<'a, bool> {
        let name = name.to_owned();
        Box::pin(self.call(move |access| access.table.delete_schedule(&name)))
    }

    fn try_lead<'a>(&'a self, name: &'a str, owner: &'a str, ttl: Duration) -> BrokerResult<'a, Option<Leadership>> {
        let (name, owner) = (name.to_owned(), owner.to_owned());
        Box::pin(self.call(move |access| access.table.try_lead(access.now, &name, &owner, ttl)))
    }

    fn resign<'a>(&'a self, name: &'a str, owner: &'a str) -> BrokerResult<'a, ()> {
        let (name, owner) = (name.to_owned(), owner.to_owned());
        Box::pin(self.call(move |access| access.table.resign(&name, &owner)))
    }

    fn health(&self) -> BoxFuture<'_, BrokerHealth> {
        self.runner.health()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.shared.closed.store(true, Ordering::Release);
            self.shared.ready.notify_waiters();
            self.runner.close().await;
        })
    }
}
