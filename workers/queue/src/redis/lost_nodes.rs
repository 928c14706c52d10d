//! Workflows that wait for jobs which are nowhere any more: Redis lost the queue's keys, or went back to a state before
//! the push, or somebody deleted them.
//!
//! A queue lists its jobs of nodes that wait or run; the script that pushes one adds it, the script that ends it removes
//! it and appends its end to the outbox. So a job that is neither in the list nor has an entry in the outbox has ended,
//! and its workflow has heard of it; or it is lost. A workflow remembers which of its nodes were in a list, so that jobs
//! which an earlier release pushed are not taken for lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::RedisBroker;
use crate::{
    BrokerError, JobId, JobResult, JobState, NodeId, NodeState, QueueName, WorkflowId,
    workflow::{Event, NodeEnd},
};

/// How often a process looks.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Workflows of one look.
const WORKFLOWS_MAX: usize = 64;

/// When to look again, and behind which workflow.
#[derive(Default)]
pub(super) struct LostNodesLook {
    not_before: Duration,
    after: Option<WorkflowId>,
}

impl RedisBroker {
    /// Moves some of the running workflows on, and fails their nodes whose jobs are lost, once a minute.
    pub(super) async fn look_for_lost_nodes(&self) -> Result<(), BrokerError> {
        let now = self.shared.clock.monotonic();
        let after = {
            let look = &mut self.shared.state.lock().lost_nodes;
            if now < look.not_before {
                return Ok(());
            }
            look.not_before = now + LOOK_EVERY;
            look.after
        };
        let from = after.map_or(b"-".to_vec(), |after| b"(".iter().chain(after.as_bytes()).copied().collect());
        let mut command = redis::cmd("ZRANGEBYLEX");
        command.arg(self.shared.keys.workflows().running).arg(from).arg("+").arg("LIMIT").arg(0).arg(WORKFLOWS_MAX);
        let found: Vec<Vec<u8>> = self.shared.run(&command).await?;
        let ids: Vec<WorkflowId> = found.iter().filter_map(|id| WorkflowId::from_slice(id)).collect();
        let last = ids.last().copied().filter(|_| found.len() == WORKFLOWS_MAX);
        self.shared.state.lock().lost_nodes.after = last;
        for id in ids {
            // What its own outbox lost with the data of Redis is done now.
            let touched = self.happen(id, Vec::new()).await?;
            self.move_queues(touched).await?;
            let lost = self.lost_nodes(id).await?;
            if !lost.is_empty() {
                self.fail_lost(id, lost).await?;
            }
        }
        Ok(())
    }

    /// Nodes that were ready and whose jobs are nowhere. Nodes that are found in the list for the first time are noted.
    async fn lost_nodes(&self, id: WorkflowId) -> Result<BTreeSet<u32>, BrokerError> {
        let keys = self.shared.keys.workflow(id);
        // IMPORTANT: before the look into the lists: what is registered was in them.
        let registered: BTreeSet<u32> = self.shared.run(redis::cmd("SMEMBERS").arg(&keys.registered)).await?;
        let Some(known) = self.known_run(id).await? else { return Ok(BTreeSet::new()) };
        let mut by_queue: BTreeMap<QueueName, Vec<(u32, JobId)>> = BTreeMap::new();
        for node in known.run.machine().ready() {
            let Some(job) = known.run.defined(node).filter(|_| known.pushed.contains(&node)) else { continue };
            by_queue.entry(job.queue.clone()).or_default().push((node, job.id));
        }
        self.remember(id, known);
        let (mut lost, mut present) = (BTreeSet::new(), BTreeSet::new());
        for (queue, nodes) in by_queue {
            let queue_keys = self.shared.keys.queue(&queue);
            let mut pipeline = redis::pipe();
            pipeline.atomic();
            pipeline.cmd("LLEN").arg(&queue_keys.outbox).cmd("HMGET").arg(&queue_keys.nodes);
            nodes.iter().for_each(|(_, job)| {
                pipeline.arg(job.as_bytes().as_slice());
            });
            let (ends, listed): (u64, Vec<Option<Vec<u8>>>) = self.shared.run(&pipeline).await?;
            for ((node, _), listed) in nodes.into_iter().zip(listed) {
                match listed {
                    Some(_) if !registered.contains(&node) => drop(present.insert(node)),
                    // Its end may be among those that wait: the next look tells.
                    None if ends == 0 && registered.contains(&node) => drop(lost.insert(node)),
                    _ => {}
                }
            }
        }
        if !present.is_empty() {
            let _added: i64 = self.shared.run(redis::cmd("SADD").arg(&keys.registered).arg(present)).await?;
        }
        Ok(lost)
    }

    async fn fail_lost(&self, id: WorkflowId, lost: BTreeSet<u32>) -> Result<(), BrokerError> {
        // IMPORTANT: after the look into the lists: what ended before it is among the events now.
        let Some(known) = self.known_run(id).await? else { return Ok(()) };
        let is_ready = |node: &u32| known.run.machine().state_of(*node) == Some(NodeState::Ready);
        let lost: Vec<u32> = lost.into_iter().filter(is_ready).collect();
        self.remember(id, known);
        if lost.is_empty() {
            return Ok(());
        }
        tracing::error!(workflow = %id, nodes = lost.len(), "jobs of a workflow are lost: its nodes fail");
        let error = Some("lost: its job is nowhere in the broker any more".to_owned());
        let end = JobResult { state: JobState::Discarded, result: None, error };
        let events = lost.into_iter().map(|node| Event::Ended(NodeEnd::new(NodeId::new(node), &end))).collect();
        let touched = self.happen(id, events).await?;
        self.move_queues(touched).await
    }
}
