//! The identities of a workflow and of its nodes.

use std::{fmt, str::FromStr};

use crate::{JobId, JobIdError};

/// Identifies a workflow for ever; ids sort by the time at which the workflows were started.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkflowId(JobId);

impl WorkflowId {
    pub(crate) const fn new(id: JobId) -> Self {
        Self(id)
    }

    /// For those who await a job or a workflow.
    pub(crate) const fn as_job(self) -> JobId {
        self.0
    }

    /// The 16 bytes of the id, in the order of its text.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The id in 16 bytes; `None` when there are more or less.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        JobId::from_slice(bytes).map(Self)
    }
}

impl fmt::Display for WorkflowId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl fmt::Debug for WorkflowId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, out)
    }
}

impl FromStr for WorkflowId {
    type Err = JobIdError;

    fn from_str(text: &str) -> Result<Self, JobIdError> {
        text.parse().map(Self)
    }
}

/// A node of a workflow, by its number in the order in which nodes were added; the first is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u32);

impl NodeId {
    pub(crate) const fn new(number: u32) -> Self {
        Self(number)
    }

    pub(crate) fn at(place: usize) -> Self {
        Self(u32::try_from(place).unwrap_or(u32::MAX))
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// Of which workflow a job is a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodeRef {
    /// The workflow.
    pub workflow: WorkflowId,
    /// Which node of it.
    pub node: NodeId,
}

impl NodeRef {
    /// Sixteen bytes of the workflow, four of the node (little-endian).
    pub(crate) fn to_bytes(self) -> [u8; 20] {
        let mut bytes = [0; 20];
        let parts = self.workflow.as_bytes().iter().copied().chain(self.node.number().to_le_bytes());
        bytes.iter_mut().zip(parts).for_each(|(place, byte)| *place = byte);
        bytes
    }

    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Self> {
        let (workflow, node) = bytes.split_at_checked(16)?;
        let node = NodeId::new(u32::from_le_bytes(node.try_into().ok()?));
        Some(Self { workflow: WorkflowId::from_slice(workflow)?, node })
    }
}
