//! A workflow that was started: its definition, and what became of its nodes so far.

use bytes::Bytes;
use tidemark_model::TimestampMs;

use super::{
    FailurePolicy, INPUTS_BYTES_MAX, NodeId, NodeInput, NodeRef, NodeState, NodeView, WORKFLOW_BYTES_MAX, Workflow,
    WorkflowId, WorkflowState, WorkflowView, input,
    state::{Machine, Step},
};
use crate::{JobIdSource, JobRecord, JobResult, JobState, RESULT_BYTES_MAX, text::shorten_to};

/// Longest error of a node that is kept, in bytes.
const ERROR_BYTES_MAX: usize = 256;

/// What a workflow is; it does not change.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Definition {
    pub(crate) id: WorkflowId,
    pub(crate) name: String,
    pub(crate) policy: FailurePolicy,
    pub(crate) created_ms: TimestampMs,
    pub(crate) nodes: Vec<DefinedNode>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DefinedNode {
    /// Its job as it will be pushed, but for its inputs.
    pub(crate) record: JobRecord,
    pub(crate) after: Vec<u32>,
    pub(crate) always: bool,
}

impl Definition {
    /// Gives the workflow and its jobs their ids.
    pub(crate) fn new(workflow: Workflow, ids: &JobIdSource, now_ms: TimestampMs) -> Self {
        let id = WorkflowId::new(ids.next_id());
        let nodes = workflow.nodes.into_iter().enumerate().map(|(place, node)| DefinedNode {
            record: JobRecord {
                workflow: Some(NodeRef { workflow: id, node: NodeId::at(place) }),
                ..node.job.into_record(ids.next_id(), now_ms)
            },
            after: node.after,
            always: node.always,
        });
        Self { id, name: workflow.name, policy: workflow.policy, created_ms: now_ms, nodes: nodes.collect() }
    }

    /// About how much memory it takes, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        let node = |node: &DefinedNode| node.record.payload.len() + node.after.len() * 4 + 400;
        self.nodes.iter().map(node).sum::<usize>() as u64
    }
}

/// How a node ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeEnd {
    pub(crate) node: u32,
    /// A final state.
    pub(crate) state: JobState,
    pub(crate) result: Option<Bytes>,
    pub(crate) is_omitted: bool,
    pub(crate) error: Option<String>,
}

impl NodeEnd {
    pub(crate) fn new(node: NodeId, end: &JobResult) -> Self {
        Self {
            node: node.number(),
            state: end.state,
            result: end.result.clone().filter(|result| result.len() <= RESULT_BYTES_MAX),
            is_omitted: end.result.as_ref().is_some_and(|result| result.len() > RESULT_BYTES_MAX),
            error: end.error.as_ref().map(|error| shorten_to(error.clone(), ERROR_BYTES_MAX)),
        }
    }

    /// Leaves the result out.
    pub(crate) fn without_result(self) -> Self {
        Self { is_omitted: self.is_omitted || self.result.is_some(), result: None, ..self }
    }
}

/// What may happen to a workflow. Events are kept and, in their order, make it what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Ended(NodeEnd),
    Cancelled,
}

#[derive(Clone, Debug)]
pub(crate) struct WorkflowRun {
    definition: Definition,
    machine: Machine,
    ends: Vec<Option<NodeEnd>>,
    result_bytes: usize,
    /// How many events were taken in.
    events: u64,
}

impl WorkflowRun {
    pub(crate) fn new(definition: Definition) -> Self {
        let nodes = definition.nodes.iter().map(|node| (&node.after[..], node.always));
        let machine = Machine::new(definition.policy, nodes);
        Self { machine, ends: vec![None; definition.nodes.len()], result_bytes: 0, events: 0, definition }
    }

    pub(crate) fn definition(&self) -> &Definition {
        &self.definition
    }

    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    pub(crate) fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The event as it is to be kept: without a result that nobody needs, or that is too much.
    pub(crate) fn trimmed(&self, end: NodeEnd) -> NodeEnd {
        let is_last = end.node as usize + 1 == self.definition.nodes.len();
        let bytes = end.result.as_ref().map_or(0, Bytes::len);
        if !is_last && !self.machine.has_dependents(end.node) {
            NodeEnd { result: None, ..end }
        } else if self.result_bytes + bytes > WORKFLOW_BYTES_MAX {
            end.without_result()
        } else {
            end
        }
    }

    /// Takes an event in; what is to be done then. An event that was taken in before changes nothing.
    pub(crate) fn apply(&mut self, event: Event) -> Step {
        self.events += 1;
        let end = match event {
            Event::Cancelled => return self.machine.cancel(),
            Event::Ended(end) => end,
        };
        let step = self.machine.ended(end.node, end.state);
        let has_ended = self.machine.state_of(end.node).is_some_and(NodeState::is_final);
        if let Some(place) = self.ends.get_mut(end.node as usize)
            && place.is_none()
            && has_ended
        {
            self.result_bytes += end.result.as_ref().map_or(0, Bytes::len);
            *place = Some(end);
        }
        step
    }

    /// The job of a node, with what the nodes before it hand on.
    pub(crate) fn job_of(&self, node: u32, now_ms: TimestampMs) -> Option<JobRecord> {
        let defined = self.definition.nodes.get(node as usize)?;
        let mut inputs = Vec::with_capacity(defined.after.len());
        let mut bytes = 0;
        for before in &defined.after {
            let end = self.ends.get(*before as usize).and_then(Option::as_ref);
            let result = end.and_then(|end| end.result.clone());
            bytes += result.as_ref().map_or(0, Bytes::len);
            let fits = bytes <= INPUTS_BYTES_MAX;
            inputs.push(NodeInput {
                node: NodeId::new(*before),
                state: self.machine.state_of(*before).unwrap_or(NodeState::Skipped),
                is_omitted: end.is_some_and(|end| end.is_omitted) || (result.is_some() && !fits),
                result: result.filter(|_| fits),
                error: end.and_then(|end| end.error.clone()),
            });
        }
        let inputs = if inputs.is_empty() { Bytes::new() } else { input::encode(&inputs) };
        Some(JobRecord { inputs, created_ms: now_ms, ..defined.record.clone() })
    }

    /// The job of a node as it was defined.
    pub(crate) fn defined(&self, node: u32) -> Option<&JobRecord> {
        self.definition.nodes.get(node as usize).map(|node| &node.record)
    }

    pub(crate) fn view(&self) -> WorkflowView {
        let Definition { id, policy, created_ms, .. } = self.definition;
        let states = (0u32..).map_while(|node| self.machine.state_of(node));
        WorkflowView {
            id,
            name: self.definition.name.clone(),
            state: self.machine.state(),
            policy,
            created_ms,
            ended_ms: None,
            nodes_total: self.definition.nodes.len(),
            nodes_ended: states.filter(|state| state.is_final()).count(),
            nodes: Vec::new(),
        }
    }

    pub(crate) fn full_view(&self) -> WorkflowView {
        let nodes = (0u32..).zip(&self.definition.nodes).map(|(number, node)| NodeView {
            node: NodeId::new(number),
            job: node.record.id,
            kind: node.record.kind,
            queue: node.record.queue.clone(),
            state: self.machine.state_of(number).unwrap_or(NodeState::Waiting),
            after: node.after.iter().copied().map(NodeId::new).collect(),
            always: node.always,
            error: self.ends.get(number as usize).and_then(Option::as_ref).and_then(|end| end.error.clone()),
        });
        WorkflowView { nodes: nodes.collect(), ..self.view() }
    }

    /// What is kept of it once it has ended.
    pub(crate) fn finish(&self, now_ms: TimestampMs) -> FinishedWorkflow {
        let last = self.ends.last().and_then(Option::as_ref);
        FinishedWorkflow {
            view: WorkflowView { ended_ms: Some(now_ms), ..self.full_view() },
            result: last.and_then(|end| end.result.clone()),
        }
    }
}

/// A workflow that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FinishedWorkflow {
    pub(crate) view: WorkflowView,
    /// What the last node returned.
    pub(crate) result: Option<Bytes>,
}

impl FinishedWorkflow {
    /// For whoever awaits it.
    pub(crate) fn end(&self) -> JobResult {
        let state = match self.view.state {
            WorkflowState::Completed => JobState::Completed,
            WorkflowState::Cancelled => JobState::Cancelled,
            WorkflowState::Failed | WorkflowState::Running => JobState::Discarded,
        };
        let failed = self.view.nodes.iter().find(|node| matches!(node.state, NodeState::Discarded));
        let failed = failed.or_else(|| self.view.nodes.iter().find(|node| node.error.is_some()));
        let why = |node: &NodeView| format!("node {}: {}", node.node, node.error.as_deref().unwrap_or("failed"));
        JobResult {
            state,
            result: self.result.clone(),
            error: failed.filter(|_| state != JobState::Completed).map(why),
        }
    }

    /// About how much memory it takes, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        let node = |node: &NodeView| node.after.len() * 4 + node.error.as_ref().map_or(0, String::len) + 120;
        let nodes: usize = self.view.nodes.iter().map(node).sum();
        (nodes + self.result.as_ref().map_or(0, Bytes::len) + 200) as u64
    }
}
