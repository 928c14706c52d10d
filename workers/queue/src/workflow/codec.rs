//! Workflows as bytes, for SQLite rows and Redis keys: `docs/embedded-layout.md`.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::{
    DefinedNode, Definition, Event, FailurePolicy, FinishedWorkflow, NodeEnd, NodeId, NodeState, NodeView,
    WORKFLOW_EDGES_MAX, WORKFLOW_NODES_MAX, WorkflowId, WorkflowState, WorkflowView,
};
use crate::{JobId, JobState, record_codec};

/// Version of the layouts that are written here.
const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
struct WireDefinition {
    version: u8,
    id: ByteBuf,
    name: String,
    goes_on: bool,
    created_ms: i64,
    /// Job record, numbers of the nodes before it, whether it runs in any case.
    nodes: Vec<(ByteBuf, Vec<u32>, bool)>,
}

#[derive(Serialize, Deserialize)]
struct WireEvent {
    version: u8,
    /// Nil when the whole was called off.
    node: Option<u32>,
    state: String,
    result: Option<ByteBuf>,
    is_omitted: bool,
    error: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct WireNode {
    job: ByteBuf,
    kind: String,
    queue: String,
    state: String,
    after: Vec<u32>,
    always: bool,
    error: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct WireFinished {
    version: u8,
    id: ByteBuf,
    name: String,
    state: String,
    goes_on: bool,
    created_ms: i64,
    ended_ms: Option<i64>,
    result: Option<ByteBuf>,
    nodes_total: u32,
    nodes_ended: u32,
    /// None when lists alone are to show it.
    nodes: Vec<WireNode>,
}

/// A vector takes every byte, and the structures have nothing that MessagePack cannot express.
fn to_bytes(wire: &impl Serialize) -> Vec<u8> {
    rmp_serde::to_vec(wire).unwrap_or_default()
}

fn check_version(what: &str, version: u8) -> Result<(), String> {
    match version {
        VERSION => Ok(()),
        _ => Err(format!("{what} has layout {version}, this release reads {VERSION}")),
    }
}

fn workflow_id(bytes: &[u8]) -> Result<WorkflowId, String> {
    WorkflowId::from_slice(bytes).ok_or_else(|| "the id of a workflow has 16 bytes".to_owned())
}

fn policy(goes_on: bool) -> FailurePolicy {
    if goes_on { FailurePolicy::GoOn } else { FailurePolicy::Stop }
}

pub(crate) fn encode_definition(definition: &Definition) -> Vec<u8> {
    let node = |node: &DefinedNode| (record_codec::encode(&node.record).into(), node.after.clone(), node.always);
    to_bytes(&WireDefinition {
        version: VERSION,
        id: definition.id.as_bytes().to_vec().into(),
        name: definition.name.clone(),
        goes_on: definition.policy == FailurePolicy::GoOn,
        created_ms: definition.created_ms,
        nodes: definition.nodes.iter().map(node).collect(),
    })
}

/// # Errors
/// Says what is wrong: an unknown layout, nodes that wait for later ones, too many of them, or damage.
pub(crate) fn decode_definition(bytes: &[u8]) -> Result<Definition, String> {
    let wire: WireDefinition = rmp_serde::from_slice(bytes).map_err(|error| format!("workflow: {error}"))?;
    check_version("workflow", wire.version)?;
    let edges: usize = wire.nodes.iter().map(|(_, after, _)| after.len()).sum();
    if wire.nodes.is_empty() || wire.nodes.len() > WORKFLOW_NODES_MAX || edges > WORKFLOW_EDGES_MAX {
        return Err(format!("workflow has {} nodes that wait for {edges}", wire.nodes.len()));
    }
    let mut nodes = Vec::with_capacity(wire.nodes.len());
    for (place, (record, after, always)) in wire.nodes.into_iter().enumerate() {
        let is_ascending = after.is_sorted_by(|left, right| left < right);
        if !is_ascending || after.last().is_some_and(|last| *last as usize >= place) {
            return Err(format!("node {place} of a workflow waits for one that does not come before it"));
        }
        nodes.push(DefinedNode { record: record_codec::decode(&record)?, after, always });
    }
    let (id, policy) = (workflow_id(&wire.id)?, policy(wire.goes_on));
    Ok(Definition { id, name: wire.name, policy, created_ms: wire.created_ms, nodes })
}

pub(crate) fn encode_event(event: &Event) -> Vec<u8> {
    let cancelled = || WireEvent {
        version: VERSION,
        node: None,
        state: JobState::Cancelled.name().to_owned(),
        result: None,
        is_omitted: false,
        error: None,
    };
    let ended = |end: &NodeEnd| WireEvent {
        version: VERSION,
        node: Some(end.node),
        state: end.state.name().to_owned(),
        result: end.result.as_ref().map(|result| result.to_vec().into()),
        is_omitted: end.is_omitted,
        error: end.error.clone(),
    };
    to_bytes(&match event {
        Event::Cancelled => cancelled(),
        Event::Ended(end) => ended(end),
    })
}

/// # Errors
/// Says what is wrong.
pub(crate) fn decode_event(bytes: &[u8]) -> Result<Event, String> {
    let wire: WireEvent = rmp_serde::from_slice(bytes).map_err(|error| format!("event of a workflow: {error}"))?;
    check_version("event of a workflow", wire.version)?;
    let Some(node) = wire.node else { return Ok(Event::Cancelled) };
    let state = JobState::from_name(&wire.state).filter(|state| state.is_final());
    Ok(Event::Ended(NodeEnd {
        node,
        state: state.ok_or_else(|| format!("`{}` is no end of a job", wire.state))?,
        result: wire.result.map(|result| Bytes::from(result.into_vec())),
        is_omitted: wire.is_omitted,
        error: wire.error,
    }))
}

pub(crate) fn encode_finished(finished: &FinishedWorkflow) -> Vec<u8> {
    let view = &finished.view;
    let node = |node: &NodeView| WireNode {
        job: node.job.as_bytes().to_vec().into(),
        kind: node.kind.name().to_owned(),
        queue: node.queue.to_string(),
        state: node.state.name().to_owned(),
        after: node.after.iter().map(|node| node.number()).collect(),
        always: node.always,
        error: node.error.clone(),
    };
    to_bytes(&WireFinished {
        version: VERSION,
        id: view.id.as_bytes().to_vec().into(),
        name: view.name.clone(),
        state: view.state.name().to_owned(),
        goes_on: view.policy == FailurePolicy::GoOn,
        created_ms: view.created_ms,
        ended_ms: view.ended_ms,
        result: finished.result.as_ref().map(|result| result.to_vec().into()),
        nodes_total: u32::try_from(view.nodes_total).unwrap_or(u32::MAX),
        nodes_ended: u32::try_from(view.nodes_ended).unwrap_or(u32::MAX),
        nodes: view.nodes.iter().map(node).collect(),
    })
}

/// # Errors
/// Says what is wrong.
pub(crate) fn decode_finished(bytes: &[u8]) -> Result<FinishedWorkflow, String> {
    let wire: WireFinished = rmp_serde::from_slice(bytes).map_err(|error| format!("finished workflow: {error}"))?;
    check_version("finished workflow", wire.version)?;
    let node = |(place, wire): (usize, WireNode)| {
        Ok::<_, String>(NodeView {
            node: NodeId::at(place),
            job: JobId::from_slice(&wire.job).ok_or("the id of a job has 16 bytes")?,
            kind: wire.kind.parse().map_err(|error: crate::JobKindError| error.to_string())?,
            queue: wire.queue.parse().map_err(|error: crate::QueueNameError| error.to_string())?,
            state: NodeState::from_name(&wire.state)
                .ok_or_else(|| format!("`{}` is no state of a node", wire.state))?,
            after: wire.after.into_iter().map(NodeId::new).collect(),
            always: wire.always,
            error: wire.error,
        })
    };
    let state = WorkflowState::from_name(&wire.state);
    let nodes: Vec<NodeView> = wire.nodes.into_iter().enumerate().map(node).collect::<Result<_, _>>()?;
    let view = WorkflowView {
        id: workflow_id(&wire.id)?,
        name: wire.name,
        state: state.ok_or_else(|| format!("`{}` is no state of a workflow", wire.state))?,
        policy: policy(wire.goes_on),
        created_ms: wire.created_ms,
        ended_ms: wire.ended_ms,
        nodes_total: wire.nodes_total as usize,
        nodes_ended: wire.nodes_ended as usize,
        nodes,
    };
    Ok(FinishedWorkflow { view, result: wire.result.map(|result| Bytes::from(result.into_vec())) })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use tidemark_model::ManualClock;

    use super::*;
    use crate::{JobIdSource, JobKind, JobResult, NewJob, Workflow, workflow::WorkflowRun};

    fn definition(nodes: u8, goes_on: bool, always: bool) -> Definition {
        let job = |number: u8| NewJob::from_bytes(JobKind::Export, vec![number].into());
        let mut workflow = Workflow::chord((0..nodes).map(job), job(99)).named("nightly").on_failure(policy(goes_on));
        if always {
            workflow = workflow.always(NodeId::new(u32::from(nodes)));
        }
        Definition::new(workflow, &JobIdSource::new(Arc::new(ManualClock::new(7)), 3), 7)
    }

    fn end() -> impl Strategy<Value = (JobState, Option<Bytes>, Option<String>)> {
        let state = prop_oneof![Just(JobState::Completed), Just(JobState::Cancelled), Just(JobState::Discarded)];
        let result = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..30));
        (state, result, proptest::option::of(".{0,30}"))
            .prop_map(|(state, result, error)| (state, result.map(Bytes::from), error))
    }

    proptest! {
        #[test]
        fn a_workflow_survives_its_bytes_at_every_step(
            goes_on: bool, always: bool, ends in proptest::collection::vec(end(), 1..20)
        ) {
            let nodes = u8::try_from(ends.len()).unwrap();
            let definition = definition(nodes, goes_on, always);
            let read = decode_definition(&encode_definition(&definition)).unwrap();
            prop_assert_eq!(&read, &definition);
            let mut run = WorkflowRun::new(definition);
            let mut again = WorkflowRun::new(read);
            for (node, (state, result, error)) in ends.into_iter().enumerate() {
                let end = run.trimmed(NodeEnd::new(NodeId::at(node), &JobResult { state, result, error }));
                let event = Event::Ended(end);
                let read = decode_event(&encode_event(&event)).unwrap();
                prop_assert_eq!(&read, &event);
                prop_assert_eq!(run.apply(event), again.apply(read));
                prop_assert_eq!(run.full_view(), again.full_view());
                prop_assert_eq!(run.job_of(u32::from(nodes), 9), again.job_of(u32::from(nodes), 9));
            }
            let finished = run.finish(11);
            prop_assert_eq!(decode_finished(&encode_finished(&finished)), Ok(finished));
        }

        #[test]
        fn no_bytes_make_the_readers_of_workflows_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _outcome = (decode_definition(&bytes), decode_event(&bytes), decode_finished(&bytes));
        }
    }

    #[test]
    fn that_a_workflow_was_called_off_survives_its_bytes() {
        assert_eq!(decode_event(&encode_event(&Event::Cancelled)), Ok(Event::Cancelled));
    }
}
