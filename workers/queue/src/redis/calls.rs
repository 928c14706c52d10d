//! The calls of the seam.

use std::{sync::atomic::Ordering, time::Duration};

use tidemark_model::BoxFuture;

use super::RedisBroker;
use crate::{
    Broker, BrokerHealth, BrokerResult, Cancelled, Completion, Delivery, FetchRequest, JobFilter, JobId, JobNote,
    JobPage, JobView, Leadership, LeaseState, NewJob, NumberedCommand, Outcome, Page, Pushed, QueueLoss, QueueName,
    QueueSettings, QueueStats, RateClaim, Receipt, Schedule, ScheduleExpect, Settled, TickReport, WorkerCommand,
    WorkerId, WorkerReport, WorkerView, Workflow, WorkflowId, WorkflowPage, WorkflowView,
};

impl Broker for RedisBroker {
    fn push(&self, jobs: Vec<NewJob>) -> BrokerResult<'_, Vec<Pushed>> {
        Box::pin(self.push_all(jobs))
    }

    fn fetch(&self, request: FetchRequest) -> BrokerResult<'_, Vec<Delivery>> {
        Box::pin(self.fetch_within(request))
    }

    fn settle(&self, settlements: Vec<(Receipt, Outcome)>) -> BrokerResult<'_, Vec<Settled>> {
        Box::pin(self.settle_all(settlements))
    }

    fn note(&self, notes: Vec<(Receipt, JobNote)>) -> BrokerResult<'_, Vec<bool>> {
        Box::pin(self.note_all(notes))
    }

    fn extend<'a>(&'a self, receipts: &'a [Receipt]) -> BrokerResult<'a, Vec<LeaseState>> {
        Box::pin(self.extend_all(receipts))
    }

    fn release(&self, receipts: Vec<Receipt>) -> BrokerResult<'_, ()> {
        Box::pin(self.release_all(receipts))
    }

    fn tick(&self) -> BrokerResult<'_, TickReport> {
        Box::pin(self.sweep())
    }

    fn losses(&self) -> BrokerResult<'_, Vec<QueueLoss>> {
        Box::pin(self.known_losses())
    }

    fn lease(&self) -> Duration {
        self.shared.options.lease
    }

    fn cancel(&self, job: JobId) -> BrokerResult<'_, Cancelled> {
        Box::pin(self.cancel_job(job))
    }

    fn retry(&self, job: JobId) -> BrokerResult<'_, bool> {
        Box::pin(self.retry_job(job))
    }

    fn retry_all(&self, filter: JobFilter, limit: usize) -> BrokerResult<'_, u64> {
        Box::pin(self.retry_matching(filter, limit))
    }

    fn purge(&self, filter: JobFilter, limit: usize) -> BrokerResult<'_, u64> {
        Box::pin(self.purge_matching(filter, limit))
    }

    fn forget(&self, job: JobId) -> BrokerResult<'_, bool> {
        Box::pin(self.forget_job(job))
    }

    fn set_queue<'a>(&'a self, queue: &'a QueueName, settings: QueueSettings) -> BrokerResult<'a, ()> {
        Box::pin(self.write_settings(queue, settings))
    }

    fn admit(&self, claims: Vec<RateClaim>) -> BrokerResult<'_, Vec<Duration>> {
        Box::pin(self.admit_all(claims))
    }

    fn pause<'a>(&'a self, queue: &'a QueueName) -> BrokerResult<'a, ()> {
        Box::pin(self.set_paused(queue, true))
    }

    fn resume<'a>(&'a self, queue: &'a QueueName) -> BrokerResult<'a, ()> {
        Box::pin(self.set_paused(queue, false))
    }

    fn queues(&self) -> BrokerResult<'_, Vec<QueueStats>> {
        Box::pin(self.queue_stats())
    }

    fn jobs(&self, filter: JobFilter, page: Page) -> BrokerResult<'_, JobPage> {
        Box::pin(self.list_jobs(filter, page))
    }

    fn job(&self, job: JobId) -> BrokerResult<'_, Option<JobView>> {
        Box::pin(self.view_job(job))
    }

    fn completion(&self, job: JobId, wait: Duration) -> BrokerResult<'_, Completion> {
        Box::pin(self.completion_within(job, wait))
    }

    fn start_workflow(&self, workflow: Workflow) -> BrokerResult<'_, WorkflowId> {
        Box::pin(self.start(workflow))
    }

    fn workflow(&self, id: WorkflowId) -> BrokerResult<'_, Option<WorkflowView>> {
        Box::pin(self.view_workflow(id))
    }

    fn workflows(&self, before: Option<WorkflowId>, limit: usize) -> BrokerResult<'_, WorkflowPage> {
        Box::pin(self.list_workflows(before, limit))
    }

    fn cancel_workflow(&self, id: WorkflowId) -> BrokerResult<'_, Cancelled> {
        Box::pin(self.call_workflow_off(id))
    }

    fn workflow_completion(&self, id: WorkflowId, wait: Duration) -> BrokerResult<'_, Completion> {
        Box::pin(self.workflow_end_within(id, wait))
    }

    fn heartbeat(&self, report: WorkerReport) -> BrokerResult<'_, Vec<NumberedCommand>> {
        Box::pin(self.report_worker(report))
    }

    fn command_worker<'a>(&'a self, worker: &'a WorkerId, command: WorkerCommand) -> BrokerResult<'a, bool> {
        Box::pin(async move { self.leave_command(worker, &command).await })
    }

    fn farewell<'a>(&'a self, worker: &'a WorkerId) -> BrokerResult<'a, ()> {
        Box::pin(self.forget_worker(worker.as_str()))
    }

    fn workers(&self) -> BrokerResult<'_, Vec<WorkerView>> {
        Box::pin(self.list_workers())
    }

    fn schedules(&self) -> BrokerResult<'_, Vec<Schedule>> {
        Box::pin(self.list_schedules())
    }

    fn schedule<'a>(&'a self, name: &'a str) -> BrokerResult<'a, Option<Schedule>> {
        Box::pin(self.find_schedule(name))
    }

    fn put_schedule(&self, schedule: Schedule, expect: ScheduleExpect) -> BrokerResult<'_, Option<u64>> {
        Box::pin(self.write_schedule(schedule, expect))
    }

    fn delete_schedule<'a>(&'a self, name: &'a str) -> BrokerResult<'a, bool> {
        Box::pin(self.remove_schedule(name))
    }

    fn try_lead<'a>(&'a self, name: &'a str, owner: &'a str, ttl: Duration) -> BrokerResult<'a, Option<Leadership>> {
        Box::pin(self.lead(name, owner, ttl))
    }

    fn resign<'a>(&'a self, name: &'a str, owner: &'a str) -> BrokerResult<'a, ()> {
        Box::pin(self.give_up_lead(name, owner))
    }

    fn health(&self) -> BoxFuture<'_, BrokerHealth> {
        Box::pin(self.check_health())
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.shared.closed.store(true, Ordering::Release);
            self.shared.servers.close();
        })
    }
}
