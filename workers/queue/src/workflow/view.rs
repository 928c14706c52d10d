//! What people and pages see of workflows.

use tidemark_model::TimestampMs;

use super::{FailurePolicy, NodeId, WorkflowId};
use crate::{JobId, JobKind, QueueName};

/// Where a workflow is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkflowState {
    /// Some node has not ended.
    Running,
    /// All nodes are done.
    Completed,
    /// All nodes have ended, and not all are done.
    Failed,
    /// It was called off, and all nodes have ended.
    Cancelled,
}

impl WorkflowState {
    const ALL: [Self; 4] = [Self::Running, Self::Completed, Self::Failed, Self::Cancelled];

    /// The state as it is stored and shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// Where a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// Nodes before it have not ended.
    Waiting,
    /// Its job waits or runs: see the job.
    Ready,
    /// Its job is done.
    Completed,
    /// Its job was cancelled, or it was called off before it had one.
    Cancelled,
    /// Its job was given up.
    Discarded,
    /// A node before it failed.
    Skipped,
}

impl NodeState {
    const ALL: [Self; 6] =
        [Self::Waiting, Self::Ready, Self::Completed, Self::Cancelled, Self::Discarded, Self::Skipped];

    /// The state as it is stored and shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Ready => "ready",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Discarded => "discarded",
            Self::Skipped => "skipped",
        }
    }

    /// The state of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether nothing more happens by itself.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Waiting | Self::Ready)
    }
}

/// A node as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeView {
    /// Its number.
    pub node: NodeId,
    /// Its job, which there is once the node is ready.
    pub job: JobId,
    /// What the job does.
    pub kind: JobKind,
    /// Where the job waits.
    pub queue: QueueName,
    /// Where it is.
    pub state: NodeState,
    /// What it waits for.
    pub after: Vec<NodeId>,
    /// Whether it runs however those before it ended.
    pub always: bool,
    /// Why it failed.
    pub error: Option<String>,
}

/// A workflow as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkflowView {
    /// Its identity.
    pub id: WorkflowId,
    /// Its name, which may be empty.
    pub name: String,
    /// Where it is.
    pub state: WorkflowState,
    /// What happens when a node fails.
    pub policy: FailurePolicy,
    /// When it was started, in ms since the epoch.
    pub created_ms: TimestampMs,
    /// When it ended, in ms since the epoch.
    pub ended_ms: Option<TimestampMs>,
    /// How many nodes it has.
    pub nodes_total: usize,
    /// How many of them have ended.
    pub nodes_ended: usize,
    /// The nodes in order; empty in lists.
    pub nodes: Vec<NodeView>,
}

impl WorkflowView {
    /// Without what lists do not show.
    pub(crate) fn for_list(self) -> Self {
        Self { nodes: Vec::new(), ..self }
    }
}

/// Part of a list of workflows, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkflowPage {
    /// The workflows, without their nodes.
    pub workflows: Vec<WorkflowView>,
    /// Before which workflow the next page begins, when there may be one.
    pub next: Option<WorkflowId>,
}

impl WorkflowPage {
    /// Most workflows of one page.
    pub const LIMIT_MAX: usize = 1_000;
}
