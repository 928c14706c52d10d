//! Frames that cannot be read: of another release, or damaged.
//!
//! Nobody can tell what was in them, but for the job of a node of a workflow, whose id is beside the frame: its workflow
//! hears that it failed, and does not wait for ever.

use redis::Value;

use super::{
    RedisBroker,
    listing::parse_running,
    sweep::value_of,
    transition::{Source, Transition, entry_text},
};
use crate::{BrokerError, JobId, JobResult, JobState, NodeRef, QueueName};

/// The fields of each entry of a range.
type Entries = Vec<(String, Vec<Value>)>;

impl RedisBroker {
    /// Takes a frame out of its stream that nobody can read, and keeps it for a look. Does nothing when it is not pending
    /// any more.
    pub(super) async fn set_aside(
        &self,
        queue: &QueueName,
        level: u8,
        entry: (u64, u64),
        frame: &[u8],
        reason: &str,
    ) -> Result<(), BrokerError> {
        let place = entry_text(entry);
        tracing::error!(queue = queue.as_str(), entry = place, reason, "set aside jobs that cannot be read");
        let keys = self.shared.keys.queue(queue);
        let Some(stream) = keys.streams.get(usize::from(level)) else { return Ok(()) };
        let mut pipeline = redis::pipe();
        pipeline.cmd("HGET").arg(&keys.running).arg(format!("{level}:{place}"));
        pipeline.cmd("XRANGE").arg(stream).arg(&place).arg(&place);
        let (running, found): (Option<String>, Entries) = self.shared.run(&pipeline).await?;
        let jobs = running.and_then(|text| parse_running(&text)).map_or(1, |running| running.jobs);
        let fields = found.into_iter().next().map(|(_, fields)| fields).unwrap_or_default();
        let apart = value_of(fields.clone(), "b").unwrap_or_default();
        let apart: Vec<JobId> = apart.chunks(16).filter_map(JobId::from_slice).collect();
        let id = value_of(fields, "i");
        let node = match id.as_deref().and_then(JobId::from_slice) {
            Some(id) => self.node_of(queue, id).await?.map(|node| (id, node)),
            None => None,
        };
        let mut transition = Transition::new(self, queue);
        transition.take(&Source::Pending {
            level,
            entry,
            jobs: usize::try_from(jobs).unwrap_or(usize::MAX),
            min_idle_ms: 0,
        });
        transition.set_aside(frame, &apart);
        transition.count("discarded", i64::try_from(jobs).unwrap_or(i64::MAX));
        if let Some((id, node)) = node {
            let error = Some(format!("its job {id} cannot be read: {reason}"));
            transition.tell_workflow(node, id, &JobResult { state: JobState::Discarded, result: None, error });
        }
        transition.commit().await.map(drop)
    }

    /// The node that a job which waits or runs is the job of.
    async fn node_of(&self, queue: &QueueName, job: JobId) -> Result<Option<NodeRef>, BrokerError> {
        let key = self.shared.keys.queue(queue).nodes;
        let node: Option<Vec<u8>> = self.shared.run(redis::cmd("HGET").arg(key).arg(job.as_bytes().as_slice())).await?;
        Ok(node.as_deref().and_then(NodeRef::from_slice))
    }
}
