//! Workflows: the end of a node's job moves its workflow on in the same call, and so in the same transaction.

use std::{collections::BTreeMap, sync::Arc};

use super::{Change, JobTable, Now, PreparedJob, millis, steering::Await};
use crate::{
    BrokerError, Cancelled, Completion, JobRecord, JobResult, JobState, NodeId, NodeRef, NodeState, QueueName,
    WorkflowId, WorkflowPage, WorkflowState, WorkflowView, record_codec,
    workflow::{Definition, Event, FinishedWorkflow, NodeEnd, WorkflowRun, encode_event, encode_finished, state::Step},
};

#[derive(Default)]
pub(super) struct Workflows {
    running: BTreeMap<WorkflowId, WorkflowRun>,
    /// About how many bytes these take.
    running_bytes: u64,
    finished: BTreeMap<WorkflowId, Arc<FinishedWorkflow>>,
    finished_bytes: u64,
}

impl Workflows {
    fn take_running(&mut self, id: WorkflowId) -> Option<WorkflowRun> {
        let run = self.running.remove(&id)?;
        self.running_bytes = self.running_bytes.saturating_sub(run.definition().bytes());
        Some(run)
    }
}

impl JobTable {
    /// Starts a workflow: its first jobs are queued.
    pub(crate) fn start_workflow(
        &mut self,
        now: Now,
        definition: Definition,
        body: Vec<u8>,
    ) -> Result<WorkflowId, BrokerError> {
        let id = definition.id;
        let bytes = definition.bytes();
        let run = WorkflowRun::new(definition);
        let jobs: Vec<PreparedJob> =
            run.machine().ready().into_iter().filter_map(|node| run.job_of(node, now.wall_ms)).map(prepare).collect();
        self.check_room_for_workflow(&run, bytes)?;
        self.check_room(&jobs)?;
        self.workflows.running_bytes += bytes;
        self.workflows.running.insert(id, run);
        self.changes.push(Change::StartWorkflow { id, body });
        for job in jobs {
            self.push_one(now, job, false);
        }
        Ok(id)
    }

    fn check_room_for_workflow(&self, run: &WorkflowRun, bytes: u64) -> Result<(), BrokerError> {
        let (options, workflows) = (&self.options, &self.workflows);
        let queue = run.defined(0).map_or(QueueName::of_kind(crate::JobKind::Export), |first| first.queue.clone());
        let full =
            |waiting, limit, unit, setting| BrokerError::Full { queue: queue.clone(), waiting, limit, unit, setting };
        if workflows.running.len() >= options.workflows_max {
            let running = workflows.running.len() as u64;
            return Err(full(running, options.workflows_max as u64, "workflows", "queue.workflows_max"));
        }
        if workflows.running_bytes + bytes > options.queue_bytes_max {
            let limit = options.queue_bytes_max;
            return Err(full(workflows.running_bytes, limit, "bytes of workflows", "queue.bytes_max"));
        }
        Ok(())
    }

    /// Undoes [`JobTable::start_workflow`]; for a broker that could not write it down.
    pub(crate) fn retract_workflow(&mut self, id: WorkflowId) {
        self.workflows.take_running(id);
    }

    /// The job of a node has ended.
    pub(super) fn advance(&mut self, now: Now, node: NodeRef, end: &JobResult) {
        let Some(run) = self.workflows.running.get_mut(&node.workflow) else { return };
        // A job that was retried by hand ends once more.
        if run.machine().state_of(node.node.number()) != Some(NodeState::Ready) {
            return;
        }
        let end = run.trimmed(NodeEnd::new(node.node, end));
        self.happen(now, node.workflow, Event::Ended(end));
    }

    fn happen(&mut self, now: Now, id: WorkflowId, event: Event) {
        let Some(run) = self.workflows.running.get_mut(&id) else { return };
        let (number, body) = (run.events(), encode_event(&event));
        let step = run.apply(event);
        self.changes.push(Change::WorkflowEvent { id, number, body });
        self.follow(now, id, &step);
    }

    fn follow(&mut self, now: Now, id: WorkflowId, step: &Step) {
        let Some(run) = self.workflows.running.get(&id) else { return };
        let jobs: Vec<JobRecord> = step.ready.iter().filter_map(|node| run.job_of(*node, now.wall_ms)).collect();
        let called_off: Vec<_> = step.call_off.iter().filter_map(|node| Some(run.defined(*node)?.id)).collect();
        for job in jobs {
            self.push_one(now, prepare(job), true);
        }
        // IMPORTANT: the end of a job that is cancelled comes back to `advance`, where nothing is called off twice.
        for job in called_off {
            self.cancel(now, job);
        }
        if step.has_ended {
            self.end_workflow(now, id);
        }
    }

    fn end_workflow(&mut self, now: Now, id: WorkflowId) {
        let Some(run) = self.workflows.take_running(id) else { return };
        let finished = run.finish(now.wall_ms);
        self.changes.push(Change::EndWorkflow { id, body: encode_finished(&finished) });
        for waiter in self.waiters.remove(&id.as_job()).unwrap_or_default() {
            self.announcements.push((waiter, finished.end()));
        }
        self.keep_workflow(finished);
        self.forget_excess_workflows();
    }

    fn keep_workflow(&mut self, finished: FinishedWorkflow) {
        self.workflows.finished_bytes += finished.bytes();
        self.workflows.finished.insert(finished.view.id, Arc::new(finished));
    }

    fn forget_excess_workflows(&mut self) {
        let (jobs_max, bytes_max) = (self.options.finished_workflows_max, self.options.queue_bytes_max / 8);
        while self.workflows.finished.len() > jobs_max || self.workflows.finished_bytes > bytes_max {
            if !self.forget_oldest_workflow() {
                break;
            }
        }
    }

    pub(super) fn forget_old_workflows(&mut self, now: Now) {
        let oldest_kept_ms = now.wall_ms.saturating_sub(millis(self.options.history_age_max));
        let is_old = |finished: &FinishedWorkflow| finished.view.ended_ms.is_some_and(|at| at < oldest_kept_ms);
        while self.workflows.finished.first_key_value().is_some_and(|(_, finished)| is_old(finished)) {
            self.forget_oldest_workflow();
        }
    }

    fn forget_oldest_workflow(&mut self) -> bool {
        let Some((id, finished)) = self.workflows.finished.pop_first() else { return false };
        self.workflows.finished_bytes = self.workflows.finished_bytes.saturating_sub(finished.bytes());
        self.changes.push(Change::DropWorkflow { id });
        true
    }

    pub(crate) fn cancel_workflow(&mut self, now: Now, id: WorkflowId) -> Cancelled {
        if !self.workflows.running.contains_key(&id) {
            let finished = self.workflows.finished.get(&id);
            return finished.map_or(Cancelled::Unknown, |finished| Cancelled::TooLate(finished.end().state));
        }
        self.happen(now, id, Event::Cancelled);
        if self.workflows.running.contains_key(&id) { Cancelled::Requested } else { Cancelled::Now }
    }

    pub(crate) fn workflow(&self, id: WorkflowId) -> Option<WorkflowView> {
        let running = self.workflows.running.get(&id).map(WorkflowRun::full_view);
        running.or_else(|| self.workflows.finished.get(&id).map(|finished| finished.view.clone()))
    }

    /// The newest workflows, those before one if that is given.
    pub(crate) fn workflow_page(&self, before: Option<WorkflowId>, limit: usize) -> WorkflowPage {
        let limit = limit.min(WorkflowPage::LIMIT_MAX);
        let is_wanted = |id: &WorkflowId| before.is_none_or(|before| *id < before);
        let mut found = BTreeMap::new();
        for (id, run) in self.workflows.running.iter().rev().filter(|(id, _)| is_wanted(id)).take(limit) {
            found.insert(*id, run.view());
        }
        for (id, finished) in self.workflows.finished.iter().rev().filter(|(id, _)| is_wanted(id)).take(limit) {
            found.insert(*id, finished.view.clone().for_list());
        }
        let workflows: Vec<WorkflowView> = found.into_values().rev().take(limit).collect();
        let next = workflows.last().map(|workflow| workflow.id).filter(|_| workflows.len() == limit);
        WorkflowPage { workflows, next }
    }

    pub(crate) fn workflow_completion(&mut self, id: WorkflowId) -> Await {
        if let Some(finished) = self.workflows.finished.get(&id) {
            return Await::Known(Completion::Ended(finished.end()));
        }
        if !self.workflows.running.contains_key(&id) {
            return Await::Known(Completion::Unknown);
        }
        self.await_end(id.as_job())
    }

    pub(crate) fn restore_workflow(&mut self, definition: Definition, events: Vec<Event>) {
        self.workflows.running_bytes += definition.bytes();
        let mut run = WorkflowRun::new(definition);
        for event in events {
            run.apply(event);
        }
        self.workflows.running.insert(run.definition().id, run);
    }

    /// Fails the nodes whose jobs are nowhere, as in a file that somebody repaired by hand: nothing else would ever move
    /// their workflows on.
    pub(crate) fn end_lost_nodes(&mut self, now: Now) {
        let mut lost = Vec::new();
        for (id, run) in &self.workflows.running {
            let is_nowhere = |node: &u32| run.defined(*node).is_some_and(|job| self.entries.find(job.id).is_none());
            let nodes = run.machine().ready().into_iter().filter(is_nowhere);
            lost.extend(nodes.map(|node| NodeRef { workflow: *id, node: NodeId::new(node) }));
        }
        let error = Some("lost: its job is nowhere in the broker any more".to_owned());
        let end = JobResult { state: JobState::Discarded, result: None, error };
        for node in lost {
            tracing::error!(workflow = %node.workflow, node = node.node.number(), "the job of a node is lost: it fails");
            self.advance(now, node, &end);
        }
    }

    pub(crate) fn restore_finished_workflow(&mut self, finished: FinishedWorkflow) {
        debug_assert_ne!(finished.view.state, WorkflowState::Running);
        self.keep_workflow(finished);
    }
}

fn prepare(record: JobRecord) -> PreparedJob {
    let body = record_codec::encode(&record);
    PreparedJob { record: record.into(), body }
}
