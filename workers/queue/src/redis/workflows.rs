//! Workflows in Redis.
//!
//! The keys of a workflow and those of its jobs' queues are in different slots of a cluster, so no script can move both.
//! What a job's end means for its workflow therefore goes by an *outbox*: the script that ends the job appends an entry to
//! a list of the job's queue. Whoever ended the job, and each sweep, takes entries: notes the event with the workflow, asks
//! the state machine, pushes the jobs that are ready, and only then removes the entry. Every step may be made again by
//! anybody, also at the same time: an event is noted once by its node, and a job is pushed once by the marker of its id.
//! What happened to the workflow itself, its start or its cancellation, goes by an outbox of all workflows.
//!
//! We turned down keeping the state instead of the events: it would have to be written by compare-and-set, by all who end
//! jobs of one workflow at the same time.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use redis::Value;

use super::{RedisBroker, keys::WorkflowKeys, push::Room};
use crate::{
    BrokerError, Cancelled, Completion, JobResult, NodeRef, Pushed, QueueName, Workflow, WorkflowId, WorkflowPage,
    WorkflowView,
    record_codec::millis,
    workflow::{
        Definition, Event, FinishedWorkflow, NodeEnd, WorkflowRun, decode_definition, decode_event, decode_finished,
        encode_definition, encode_event, encode_finished,
    },
};

/// Entries of an outbox that are looked at together.
const OUTBOX_MAX: usize = 256;
/// How long the definition of a workflow is kept whose start was broken off.
const BROKEN_OFF_KEPT: Duration = Duration::from_secs(3_600);
/// Workflows whose state this process remembers.
const REMEMBERED_MAX: usize = 64;
/// How often the end of a workflow is looked for: at first, and at most.
const END_POLLS: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(100));

/// A workflow as far as this process knows it.
pub(super) struct KnownRun {
    pub(super) run: WorkflowRun,
    /// Events of the list that were taken in.
    events: usize,
    /// Nodes whose jobs are known to be pushed.
    pub(super) pushed: BTreeSet<u32>,
    /// Nodes whose jobs this process called off.
    called_off: BTreeSet<u32>,
}

/// A finished workflow, a definition, events.
type Stored = (Option<Vec<u8>>, Option<Vec<u8>>, Vec<Vec<u8>>);

/// What an outbox entry says.
pub(super) fn outbox_entry(node: NodeRef, end: &JobResult) -> Vec<u8> {
    let event = encode_event(&Event::Ended(NodeEnd::new(node.node, end)));
    node.to_bytes().into_iter().chain(event).collect()
}

fn read_outbox_entry(entry: &[u8]) -> Result<(NodeRef, NodeEnd), String> {
    let (node, event) = entry.split_at_checked(20).ok_or("an outbox entry begins with a node")?;
    let node = NodeRef::from_slice(node).ok_or("an outbox entry begins with a node")?;
    match decode_event(event)? {
        Event::Ended(end) => Ok((node, end)),
        Event::Cancelled => Err("an outbox entry is about the end of a job".to_owned()),
    }
}

impl RedisBroker {
    pub(super) async fn start(&self, workflow: Workflow) -> Result<WorkflowId, BrokerError> {
        let shared = &self.shared;
        shared.check_open()?;
        workflow.check()?;
        let definition = Definition::new(workflow, &shared.ids, shared.clock.now_ms());
        let id = definition.id;
        self.check_room_for(&definition).await?;
        shared.note_queues(definition.nodes.iter().map(|node| &node.record.queue)).await?;
        let keys = shared.keys.workflow(id);
        let body = encode_definition(&definition);
        let run = WorkflowRun::new(definition);
        let mut pipeline = redis::pipe();
        pipeline.atomic();
        pipeline.cmd("SET").arg(&keys.definition).arg(body).arg("PX").arg(millis(BROKEN_OFF_KEPT)).ignore();
        pipeline.cmd("SET").arg(&keys.shown).arg(shown(run.view())).arg("PX").arg(millis(BROKEN_OFF_KEPT)).ignore();
        // IMPORTANT: all three steps are on the replicas that the settings ask for before the start is acknowledged.
        let _set: Value = shared.run_replicated(&pipeline).await?;
        let all = shared.keys.workflows();
        let mut pipeline = redis::pipe();
        pipeline.atomic();
        pipeline.cmd("ZADD").arg(&all.running).arg(0).arg(id.as_bytes().as_slice()).ignore();
        pipeline.cmd("RPUSH").arg(&all.outbox).arg(id.as_bytes().as_slice()).ignore();
        let _added: Value = shared.run_replicated(&pipeline).await?;
        // IMPORTANT: from here on it stays, so it may be acknowledged.
        let _persisted: Value = shared.run_replicated(&Self::persist(&keys)).await?;
        if let Err(error) = self.move_started().await {
            tracing::warn!(%error, workflow = %id, "move a workflow on; the next sweep does");
        }
        Ok(id)
    }

    fn persist(keys: &WorkflowKeys) -> redis::Pipeline {
        let mut pipeline = redis::pipe();
        pipeline.atomic();
        pipeline.cmd("PERSIST").arg(&keys.definition).ignore().cmd("PERSIST").arg(&keys.shown).ignore();
        pipeline
    }

    async fn check_room_for(&self, definition: &Definition) -> Result<(), BrokerError> {
        let shared = &self.shared;
        let running: u64 = shared.run(redis::cmd("ZCARD").arg(shared.keys.workflows().running)).await?;
        let limit = shared.options.workflows_max as u64;
        if running >= limit {
            let first = definition.nodes.first().map(|node| node.record.queue.clone());
            return Err(BrokerError::Full {
                queue: first.unwrap_or(QueueName::of_kind(crate::JobKind::Export)),
                waiting: running,
                limit,
                unit: "workflows",
                setting: "queue.workflows_max",
            });
        }
        let mut first: BTreeMap<&QueueName, (u64, u64)> = BTreeMap::new();
        for node in definition.nodes.iter().filter(|node| node.after.is_empty()) {
            let (jobs, bytes) = first.entry(&node.record.queue).or_default();
            *jobs += 1;
            *bytes += node.record.data_bytes() as u64;
        }
        for (queue, (jobs, bytes)) in first {
            self.check_room(queue, jobs, bytes).await?;
        }
        Ok(())
    }

    /// Moves workflows on whose start or cancellation is in the outbox of all workflows.
    pub(super) async fn move_started(&self) -> Result<(), BrokerError> {
        let key = self.shared.keys.workflows().outbox;
        let entries: Vec<Vec<u8>> = self.shared.run(redis::cmd("LRANGE").arg(&key).arg(0).arg(OUTBOX_MAX - 1)).await?;
        for entry in entries {
            if let Some(id) = WorkflowId::from_slice(&entry) {
                let touched = self.happen(id, Vec::new()).await?;
                self.move_queues(touched).await?;
            }
            let _removed: i64 = self.shared.run(redis::cmd("LREM").arg(&key).arg(1).arg(entry)).await?;
        }
        Ok(())
    }

    /// Moves workflows on of which jobs of this queue ended.
    pub(super) async fn move_workflows(&self, queue: &QueueName) -> Result<(), BrokerError> {
        self.move_queues(BTreeSet::from([queue.clone()])).await
    }

    pub(super) async fn move_queues(&self, queues: BTreeSet<QueueName>) -> Result<(), BrokerError> {
        let mut queues = VecDeque::from_iter(queues);
        while let Some(queue) = queues.pop_front() {
            let key = self.shared.keys.queue(&queue).outbox;
            loop {
                let range = redis::cmd("LRANGE").arg(&key).arg(0).arg(OUTBOX_MAX - 1).clone();
                let entries: Vec<Vec<u8>> = self.shared.run(&range).await?;
                if entries.is_empty() {
                    break;
                }
                queues.extend(self.take_entries(&entries).await?);
                let mut pipeline = redis::pipe();
                entries.iter().for_each(|entry| {
                    pipeline.cmd("LREM").arg(&key).arg(1).arg(entry).ignore();
                });
                let _removed: Value = self.shared.run(&pipeline).await?;
            }
        }
        Ok(())
    }

    /// Takes the entries of an outbox in; the queues of which jobs were called off.
    async fn take_entries(&self, entries: &[Vec<u8>]) -> Result<BTreeSet<QueueName>, BrokerError> {
        let mut by_workflow: BTreeMap<WorkflowId, Vec<Event>> = BTreeMap::new();
        for entry in entries {
            match read_outbox_entry(entry) {
                Ok((node, end)) => by_workflow.entry(node.workflow).or_default().push(Event::Ended(end)),
                Err(reason) => tracing::error!(reason, "drop an outbox entry that cannot be read"),
            }
        }
        let mut touched = BTreeSet::new();
        for (id, events) in by_workflow {
            touched.extend(self.happen(id, events).await?);
        }
        Ok(touched)
    }

    /// Notes what happened to a workflow and does what follows; the queues of which jobs were called off. May be repeated.
    pub(super) async fn happen(&self, id: WorkflowId, events: Vec<Event>) -> Result<BTreeSet<QueueName>, BrokerError> {
        let Some(mut known) = self.known_run(id).await? else {
            self.file_ended(id).await?;
            return Ok(BTreeSet::new());
        };
        if !events.is_empty() {
            let keys = self.shared.keys.workflow(id);
            let mut call = self.shared.scripts.wf_append.prepare_invoke();
            call.key(&keys.definition).key(&keys.events).key(&keys.happened);
            for event in events {
                let (what, event) = match event {
                    Event::Cancelled => ("cancel".to_owned(), Event::Cancelled),
                    Event::Ended(end) => (end.node.to_string(), Event::Ended(known.run.trimmed(end))),
                };
                call.arg(what).arg(encode_event(&event));
            }
            let count: i64 = self.shared.run(&call).await?;
            if count < 0 {
                self.file_ended(id).await?;
                return Ok(BTreeSet::new());
            }
            self.take_in_events(id, &mut known).await?;
        }
        self.carry_on(id, known).await
    }

    /// A workflow that has not ended, as it was when it was read.
    pub(super) async fn known_run(&self, id: WorkflowId) -> Result<Option<KnownRun>, BrokerError> {
        let remembered = self.shared.state.lock().workflows.remove(&id);
        let mut known = match remembered {
            Some(known) => known,
            None => {
                let keys = self.shared.keys.workflow(id);
                let _persisted: Value = self.shared.run(&Self::persist(&keys)).await?;
                let mut pipeline = redis::pipe();
                pipeline.cmd("GET").arg(&keys.definition).cmd("SMEMBERS").arg(&keys.pushed);
                let (body, pushed): (Option<Vec<u8>>, BTreeSet<u32>) = self.shared.run(&pipeline).await?;
                let Some(body) = body else { return Ok(None) };
                let definition = match decode_definition(&body) {
                    Ok(definition) => definition,
                    Err(reason) => {
                        // Nothing can follow from it, and what waits behind it must not wait for ever.
                        tracing::error!(workflow = %id, reason, "give up a workflow that cannot be read");
                        return Ok(None);
                    }
                };
                let run = WorkflowRun::new(definition);
                KnownRun { run, events: 0, pushed, called_off: BTreeSet::new() }
            }
        };
        self.take_in_events(id, &mut known).await?;
        Ok(Some(known))
    }

    async fn take_in_events(&self, id: WorkflowId, known: &mut KnownRun) -> Result<(), BrokerError> {
        let key = self.shared.keys.workflow(id).events;
        let new: Vec<Vec<u8>> = self.shared.run(redis::cmd("LRANGE").arg(key).arg(known.events).arg(-1)).await?;
        for event in new {
            known.events += 1;
            match decode_event(&event) {
                Ok(event) => drop(known.run.apply(event)),
                Err(reason) => tracing::error!(workflow = %id, reason, "pass over an event that cannot be read"),
            }
        }
        Ok(())
    }

    /// Does what is to be done in a state; all of it may have been done before.
    async fn carry_on(&self, id: WorkflowId, mut known: KnownRun) -> Result<BTreeSet<QueueName>, BrokerError> {
        let keys = self.shared.keys.workflow(id);
        self.push_ready(&keys, &mut known).await?;
        let mut touched = BTreeSet::new();
        for node in known.run.machine().called_off() {
            if known.called_off.insert(node)
                && let Some(job) = known.run.defined(node)
            {
                self.cancel_node(&job.queue, job.id).await?;
                touched.insert(job.queue.clone());
            }
        }
        if known.run.machine().has_ended() {
            self.end_workflow(id, &known.run.finish(self.shared.clock.now_ms())).await?;
            return Ok(touched);
        }
        let _set: Value =
            self.shared.run(redis::cmd("SET").arg(&keys.shown).arg(shown(known.run.view())).arg("XX")).await?;
        self.remember(id, known);
        Ok(touched)
    }

    pub(super) fn remember(&self, id: WorkflowId, known: KnownRun) {
        let mut state = self.shared.state.lock();
        if state.workflows.len() >= REMEMBERED_MAX {
            state.workflows.clear();
        }
        state.workflows.insert(id, known);
    }

    /// Pushes the jobs of nodes that are ready and not known to be pushed.
    async fn push_ready(&self, keys: &WorkflowKeys, known: &mut KnownRun) -> Result<(), BrokerError> {
        let missing = |known: &KnownRun| -> Vec<u32> {
            known.run.machine().ready().into_iter().filter(|node| !known.pushed.contains(node)).collect()
        };
        if missing(known).is_empty() {
            return Ok(());
        }
        let pushed: BTreeSet<u32> = self.shared.run(redis::cmd("SMEMBERS").arg(&keys.pushed)).await?;
        known.pushed.extend(pushed);
        let nodes = missing(known);
        if nodes.is_empty() {
            return Ok(());
        }
        let now_ms = self.shared.clock.now_ms();
        let mut by_queue: BTreeMap<QueueName, Vec<_>> = BTreeMap::new();
        for (place, record) in nodes.iter().filter_map(|node| known.run.job_of(*node, now_ms)).enumerate() {
            by_queue.entry(record.queue.clone()).or_default().push((place, record));
        }
        let mut registered: Vec<u32> = Vec::with_capacity(nodes.len());
        for (queue, records) in by_queue {
            for (place, pushed) in self.push_records(&queue, records, Room::Enough).await? {
                // Of one that was pushed before we do not know whether the queue lists it.
                registered.extend(nodes.get(place).copied().filter(|_| matches!(pushed, Pushed::Queued(_))));
            }
        }
        let mut pipeline = redis::pipe();
        pipeline.atomic().cmd("SADD").arg(&keys.pushed).arg(&nodes).ignore();
        if !registered.is_empty() {
            pipeline.cmd("SADD").arg(&keys.registered).arg(registered).ignore();
        }
        let _added: Value = self.shared.run(&pipeline).await?;
        known.pushed.extend(nodes);
        Ok(())
    }

    async fn end_workflow(&self, id: WorkflowId, finished: &FinishedWorkflow) -> Result<(), BrokerError> {
        let keys = self.shared.keys.workflow(id);
        let kept = millis(self.shared.options.history_age_max).max(1);
        let mut pipeline = redis::pipe();
        pipeline.atomic();
        pipeline.cmd("SET").arg(&keys.finished).arg(encode_finished(finished)).arg("PX").arg(kept).ignore();
        let view = WorkflowView { ended_ms: finished.view.ended_ms, ..finished.view.clone().for_list() };
        pipeline.cmd("SET").arg(&keys.shown).arg(shown(view)).arg("PX").arg(kept).ignore();
        pipeline.cmd("DEL").arg(&keys.definition).arg(&keys.events).arg(&keys.happened).arg(&keys.pushed);
        pipeline.arg(&keys.registered).ignore();
        let _done: Value = self.shared.run(&pipeline).await?;
        self.file_ended(id).await
    }

    /// Moves a workflow from those that run to those that have ended.
    async fn file_ended(&self, id: WorkflowId) -> Result<(), BrokerError> {
        let all = self.shared.keys.workflows();
        let id = id.as_bytes().as_slice();
        let kept = i64::try_from(self.shared.options.finished_workflows_max).unwrap_or(i64::MAX);
        let mut pipeline = redis::pipe();
        pipeline.atomic();
        pipeline.cmd("ZREM").arg(&all.running).arg(id).ignore();
        pipeline.cmd("ZADD").arg(&all.ended).arg(0).arg(id).ignore();
        pipeline.cmd("ZREMRANGEBYRANK").arg(&all.ended).arg(0).arg(-kept.saturating_add(1)).ignore();
        let _done: Value = self.shared.run(&pipeline).await?;
        Ok(())
    }

    pub(super) async fn call_workflow_off(&self, id: WorkflowId) -> Result<Cancelled, BrokerError> {
        let keys = self.shared.keys.workflow(id);
        let mut pipeline = redis::pipe();
        pipeline.cmd("EXISTS").arg(&keys.definition).cmd("GET").arg(&keys.finished);
        let (runs, finished): (bool, Option<Vec<u8>>) = self.shared.run(&pipeline).await?;
        if let Some(finished) = finished {
            let finished = decode_finished(&finished).map_err(BrokerError::Corrupt)?;
            return Ok(Cancelled::TooLate(finished.end().state));
        }
        if !runs {
            return Ok(Cancelled::Unknown);
        }
        let outbox = self.shared.keys.workflows().outbox;
        let _length: i64 = self.shared.run(redis::cmd("RPUSH").arg(outbox).arg(id.as_bytes().as_slice())).await?;
        let touched = self.happen(id, vec![Event::Cancelled]).await?;
        self.move_queues(touched).await?;
        self.move_started().await?;
        let runs: bool = self.shared.run(redis::cmd("EXISTS").arg(&keys.definition)).await?;
        Ok(if runs { Cancelled::Requested } else { Cancelled::Now })
    }

    pub(super) async fn view_workflow(&self, id: WorkflowId) -> Result<Option<WorkflowView>, BrokerError> {
        let keys = self.shared.keys.workflow(id);
        let mut pipeline = redis::pipe();
        pipeline.atomic();
        pipeline.cmd("GET").arg(&keys.finished).cmd("GET").arg(&keys.definition);
        pipeline.cmd("LRANGE").arg(&keys.events).arg(0).arg(-1);
        let (finished, definition, events): Stored = self.shared.run(&pipeline).await?;
        if let Some(finished) = finished {
            return decode_finished(&finished).map(|finished| Some(finished.view)).map_err(BrokerError::Corrupt);
        }
        let Some(definition) = definition else { return Ok(None) };
        let mut run = WorkflowRun::new(decode_definition(&definition).map_err(BrokerError::Corrupt)?);
        for event in events {
            run.apply(decode_event(&event).map_err(BrokerError::Corrupt)?);
        }
        Ok(Some(run.full_view()))
    }

    pub(super) async fn list_workflows(
        &self,
        before: Option<WorkflowId>,
        limit: usize,
    ) -> Result<WorkflowPage, BrokerError> {
        let limit = limit.min(WorkflowPage::LIMIT_MAX);
        let all = self.shared.keys.workflows();
        let from = match before {
            Some(before) => b"(".iter().chain(before.as_bytes()).copied().collect(),
            None => b"+".to_vec(),
        };
        let mut ids = BTreeSet::new();
        for key in [&all.running, &all.ended] {
            let mut command = redis::cmd("ZREVRANGEBYLEX");
            command.arg(key).arg(&from).arg("-").arg("LIMIT").arg(0).arg(limit);
            let found: Vec<Vec<u8>> = self.shared.run(&command).await?;
            ids.extend(found.iter().filter_map(|id| WorkflowId::from_slice(id)));
        }
        let ids: Vec<WorkflowId> = ids.into_iter().rev().take(limit).collect();
        let mut workflows = Vec::with_capacity(ids.len());
        for id in &ids {
            let body: Option<Vec<u8>> =
                self.shared.run(redis::cmd("GET").arg(self.shared.keys.workflow(*id).shown)).await?;
            // One that expired a moment ago is not shown.
            workflows.extend(body.and_then(|body| decode_finished(&body).ok()).map(|shown| shown.view));
        }
        Ok(WorkflowPage { workflows, next: ids.last().copied().filter(|_| ids.len() == limit) })
    }

    pub(super) async fn workflow_end_within(&self, id: WorkflowId, wait: Duration) -> Result<Completion, BrokerError> {
        let deadline = tokio::time::Instant::now() + wait;
        let keys = self.shared.keys.workflow(id);
        let mut pause = END_POLLS.0;
        loop {
            let mut pipeline = redis::pipe();
            pipeline.atomic().cmd("GET").arg(&keys.finished).cmd("EXISTS").arg(&keys.definition);
            let (finished, runs): (Option<Vec<u8>>, bool) = self.shared.run(&pipeline).await?;
            if let Some(finished) = finished {
                return decode_finished(&finished)
                    .map(|found| Completion::Ended(found.end()))
                    .map_err(BrokerError::Corrupt);
            }
            if !runs {
                return Ok(Completion::Unknown);
            }
            if tokio::time::Instant::now() >= deadline {
                return Ok(Completion::Pending);
            }
            tokio::time::sleep_until(deadline.min(tokio::time::Instant::now() + pause)).await;
            pause = (pause * 3 / 2).min(END_POLLS.1);
        }
    }
}

/// A workflow as lists show it.
fn shown(view: WorkflowView) -> Vec<u8> {
    encode_finished(&FinishedWorkflow { view, result: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{JobId, JobState, NodeId};

    #[test]
    fn an_outbox_entry_says_which_node_ended_and_how() {
        let workflow = WorkflowId::new(JobId::from_bytes([7; 16]));
        let node = NodeRef { workflow, node: NodeId::new(300) };
        let end = JobResult { state: JobState::Discarded, result: None, error: Some("no".to_owned()) };
        let entry = outbox_entry(node, &end);
        assert_eq!(read_outbox_entry(&entry), Ok((node, NodeEnd::new(node.node, &end))));
        assert!(read_outbox_entry(b"short").is_err());
    }
}
