//! Jobs that wait for each other.
//!
//! A [`Workflow`] is a list of nodes, each a job and the earlier nodes that it waits for, so it cannot go in circles. What
//! follows from the end of a job is decided by a state machine without clock, broker and store ([`state`]); a broker keeps
//! the *definition* and the list of *events* (ends of nodes, and a cancellation) and asks the machine again after a restart.
//! The ids of the jobs are made when the workflow is started, so that a job which is pushed twice is recognised.
//!
//! We turned down jobs that wait for others inside of a worker, as apalis does: they hold a slot, and a worker that is lost
//! takes the waiting with it.

mod codec;
mod id;
mod input;
mod run;
pub(crate) mod state;
mod view;

use crate::{BrokerError, NewJob, PAYLOAD_BYTES_MAX};

pub(crate) use codec::{
    decode_definition, decode_event, decode_finished, encode_definition, encode_event, encode_finished,
};
pub use id::{NodeId, NodeRef, WorkflowId};
pub use input::{INPUTS_BYTES_MAX, NodeInput};
pub(crate) use input::{decode as decode_inputs, encode as encode_inputs};
pub(crate) use run::{DefinedNode, Definition, Event, FinishedWorkflow, NodeEnd, WorkflowRun};
pub use view::{NodeState, NodeView, WorkflowPage, WorkflowState, WorkflowView};

/// Most nodes of a workflow.
pub const WORKFLOW_NODES_MAX: usize = 10_000;
/// Most "waits for" of a workflow.
pub const WORKFLOW_EDGES_MAX: usize = 100_000;
/// Most bytes of all payloads of a workflow, and of all results that its nodes hand on.
pub const WORKFLOW_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Longest name of a workflow in bytes.
const NAME_BYTES_MAX: usize = 128;

/// What happens when a node fails: its job is discarded or cancelled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailurePolicy {
    /// Nodes that have not ended are called off. Those marked [`Workflow::always`] run when all before them have ended.
    #[default]
    Stop,
    /// Nodes that wait for the failed one, through others or not, are skipped, and the rest goes on. Those marked
    /// [`Workflow::always`] run when all before them have ended.
    GoOn,
}

/// Jobs that wait for each other, to be started with [`crate::Broker::start_workflow`].
///
/// A job of a workflow gets what the nodes before it returned ([`NodeInput`]) and must not have a unique key. One that is
/// retried by hand after the workflow has counted it as failed runs by itself: the workflow does not look back.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Workflow {
    pub(crate) name: String,
    pub(crate) policy: FailurePolicy,
    pub(crate) nodes: Vec<NewNode>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NewNode {
    pub(crate) job: NewJob,
    /// Numbers of earlier nodes, ascending.
    pub(crate) after: Vec<u32>,
    pub(crate) always: bool,
}

impl Workflow {
    /// A workflow without nodes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One job after the other.
    #[must_use]
    pub fn chain(jobs: impl IntoIterator<Item = NewJob>) -> Self {
        jobs.into_iter().fold(Self::new(), Self::then)
    }

    /// Jobs that do not wait for each other.
    #[must_use]
    pub fn group(jobs: impl IntoIterator<Item = NewJob>) -> Self {
        let mut workflow = Self::new();
        for job in jobs {
            workflow.add(job, &[]);
        }
        workflow
    }

    /// Jobs that do not wait for each other, and one that runs when all of them are done.
    #[must_use]
    pub fn chord(jobs: impl IntoIterator<Item = NewJob>, then: NewJob) -> Self {
        Self::group(jobs).then(then)
    }

    /// One job for each `chunk` items of a list, made by `job`.
    ///
    /// # Errors
    /// Those of `job`.
    pub fn map<T, E>(items: &[T], chunk: usize, job: impl FnMut(&[T]) -> Result<NewJob, E>) -> Result<Self, E> {
        let jobs: Vec<NewJob> = items.chunks(chunk.max(1)).map(job).collect::<Result<_, _>>()?;
        Ok(Self::group(jobs))
    }

    /// Adds a job that runs when all nodes that nothing waits for yet are done.
    #[must_use]
    pub fn then(mut self, job: NewJob) -> Self {
        let last = self.last_nodes();
        self.add(job, &last);
        self
    }

    /// The nodes that nothing waits for.
    #[must_use]
    pub fn last_nodes(&self) -> Vec<NodeId> {
        let mut is_last = vec![true; self.nodes.len()];
        for place in self.nodes.iter().flat_map(|node| &node.after) {
            if let Some(is_last) = is_last.get_mut(*place as usize) {
                *is_last = false;
            }
        }
        let last = is_last.into_iter().enumerate().filter(|(_, is_last)| *is_last);
        last.map(|(place, _)| NodeId::at(place)).collect()
    }

    /// Adds a job that waits for these nodes.
    pub fn add(&mut self, job: NewJob, after: &[NodeId]) -> NodeId {
        let mut after: Vec<u32> = after.iter().map(|node| node.number()).collect();
        after.sort_unstable();
        after.dedup();
        self.nodes.push(NewNode { job, after, always: false });
        NodeId::at(self.nodes.len() - 1)
    }

    /// Lets a node run when all before it have ended, however they ended. Only [`crate::Broker::cancel_workflow`] calls it
    /// off.
    #[must_use]
    pub fn always(mut self, node: NodeId) -> Self {
        if let Some(node) = self.nodes.get_mut(node.number() as usize) {
            node.always = true;
        }
        self
    }

    /// What happens when a node fails.
    #[must_use]
    pub fn on_failure(mut self, policy: FailurePolicy) -> Self {
        self.policy = policy;
        self
    }

    /// A name for people, at most 128 bytes.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// How many nodes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is no node.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Checks what [`crate::Broker::start_workflow`] promises to refuse.
    pub(crate) fn check(&self) -> Result<(), BrokerError> {
        let refuse = |reason: String| Err(BrokerError::Invalid(reason));
        let (nodes, edges) = (self.nodes.len(), self.nodes.iter().map(|node| node.after.len()).sum::<usize>());
        if nodes == 0 || nodes > WORKFLOW_NODES_MAX {
            return refuse(format!("a workflow has 1 to {WORKFLOW_NODES_MAX} nodes, this one has {nodes}"));
        }
        if edges > WORKFLOW_EDGES_MAX {
            return refuse(format!("nodes wait for {edges} others in all, at most {WORKFLOW_EDGES_MAX} are allowed"));
        }
        if self.name.len() > NAME_BYTES_MAX || self.name.chars().any(char::is_control) {
            return refuse(format!("the name of a workflow has at most {NAME_BYTES_MAX} printable bytes"));
        }
        let bytes: usize = self.nodes.iter().map(|node| node.job.payload.len()).sum();
        if bytes > WORKFLOW_BYTES_MAX {
            return refuse(format!(
                "payloads of a workflow have {bytes} bytes, at most {WORKFLOW_BYTES_MAX} are allowed"
            ));
        }
        for (place, node) in self.nodes.iter().enumerate() {
            if node.after.iter().any(|before| *before as usize >= place) {
                return refuse(format!("node {place} waits for one that does not come before it"));
            }
            if node.job.unique.is_some() {
                return refuse(format!(
                    "the job of node {place} has a unique key, which no job of a workflow may have"
                ));
            }
            if node.job.payload.len() > PAYLOAD_BYTES_MAX {
                let bytes = node.job.payload.len();
                return refuse(format!(
                    "payload of node {place} has {bytes} bytes, at most {PAYLOAD_BYTES_MAX} are allowed"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{JobKind, UniqueMode};

    fn job(text: &str) -> NewJob {
        NewJob::from_bytes(JobKind::Export, text.as_bytes().to_vec().into())
    }

    fn shape(workflow: &Workflow) -> Vec<(String, Vec<u32>)> {
        let text = |node: &NewNode| String::from_utf8_lossy(&node.job.payload).into_owned();
        workflow.nodes.iter().map(|node| (text(node), node.after.clone())).collect()
    }

    fn expect(nodes: &[(&str, &[u32])]) -> Vec<(String, Vec<u32>)> {
        nodes.iter().map(|(text, after)| ((*text).to_owned(), after.to_vec())).collect()
    }

    #[test]
    fn a_chain_a_group_a_chord_and_a_map_are_what_they_are_called() {
        let jobs = || ["a", "b", "c"].map(job);
        assert_eq!(shape(&Workflow::chain(jobs())), expect(&[("a", &[]), ("b", &[0]), ("c", &[1])]));
        assert_eq!(shape(&Workflow::group(jobs())), expect(&[("a", &[]), ("b", &[]), ("c", &[])]));
        let chord = Workflow::chord(jobs(), job("d")).then(job("e"));
        assert_eq!(shape(&chord), expect(&[("a", &[]), ("b", &[]), ("c", &[]), ("d", &[0, 1, 2]), ("e", &[3])]));
        let map = Workflow::map(&[1, 2, 3, 4, 5], 2, |chunk| Ok::<_, ()>(job(&format!("{chunk:?}")))).unwrap();
        assert_eq!(shape(&map), expect(&[("[1, 2]", &[]), ("[3, 4]", &[]), ("[5]", &[])]));
    }

    #[test]
    fn what_no_broker_could_run_is_refused() {
        let check = |workflow: Workflow| workflow.check().map_err(|error| error.to_string());
        assert_eq!(check(Workflow::chain([job("a")])), Ok(()));
        assert_eq!(check(Workflow::new()).unwrap_err(), "a workflow has 1 to 10000 nodes, this one has 0");
        let unique =
            NewJob { unique: Some(crate::UniqueKey { key: "k".into(), mode: UniqueMode::UntilDone }), ..job("a") };
        assert!(check(Workflow::chain([unique])).unwrap_err().contains("node 0 has a unique key"));
        let mut circle = Workflow::new();
        circle.add(job("a"), &[NodeId::at(0)]);
        assert!(check(circle).unwrap_err().contains("does not come before it"));
        let large = NewJob::from_bytes(JobKind::Export, vec![0; WORKFLOW_BYTES_MAX / 3].into());
        assert!(check(Workflow::group(vec![large; 4])).unwrap_err().contains("at most 16777216 are allowed"));
        assert!(check(Workflow::group(vec![job(""); 10_001])).is_err());
        let mut dense = Workflow::group(vec![job(""); 1_000]);
        let all = dense.last_nodes();
        for _ in 0..101 {
            dense.add(job(""), &all);
        }
        assert!(check(dense).unwrap_err().contains("at most 100000 are allowed"));
    }
}
