//! Workflows: jobs that wait for each other.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web::{self, Data, Payload},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tidemark_queue::{
    Cancelled, Completion, FailurePolicy, NodeId, NodeView, Workflow, WorkflowId, WorkflowPage, WorkflowView,
};

use super::{
    broker_call::{broker_failed, change, look},
    enqueue::WaitParameters,
    guard::guard,
    jobs::parse,
    json_body::read_json,
    work::WorkBody,
};
use crate::{console::Console, error::ApiError, state::AppState};

/// Largest workflow in bytes.
const BODY_BYTES_MAX: usize = 1 << 20;
/// Most nodes of a workflow from outside.
const NODES_MAX: usize = 1_000;
/// Workflows of a page unless the request says otherwise.
const LISTED: usize = 100;

/// Which workflows to list.
#[derive(Debug, Deserialize)]
pub(super) struct WorkflowParameters {
    before: Option<String>,
    limit: Option<usize>,
}

/// `GET /workflows`.
pub(super) async fn list(
    console: Data<Console>,
    parameters: web::Query<WorkflowParameters>,
) -> Result<HttpResponse, ApiError> {
    let before = parameters.before.as_deref().map(|text| parse::<WorkflowId>("before", text)).transpose()?;
    let limit = parameters.limit.unwrap_or(LISTED);
    if !(1..=WorkflowPage::LIMIT_MAX).contains(&limit) {
        let text = format!("limit: {limit} workflows are not between 1 and {}", WorkflowPage::LIMIT_MAX);
        return Err(ApiError::bad_request(text));
    }
    let page = look(console.seams.broker.workflows(before, limit)).await?;
    let workflows: Vec<_> = page.workflows.iter().map(workflow_json).collect();
    Ok(HttpResponse::Ok().json(json!({"workflows": workflows, "next": page.next.map(|id| id.to_string())})))
}

/// `GET /workflows/{id}`; with `?wait=` once it has ended, or the time is over.
pub(super) async fn one(
    state: Data<AppState>,
    console: Data<Console>,
    id: web::Path<String>,
    parameters: web::Query<WaitParameters>,
) -> Result<HttpResponse, ApiError> {
    let id: WorkflowId = parse("workflow", &id)?;
    if let Some(wait) = parameters.wait()? {
        let _ended: Completion = tokio::select! {
            completion = console.seams.broker.workflow_completion(id, wait) => completion.map_err(broker_failed)?,
            () = state.shutdown.cancelled() => Completion::Pending,
        };
    }
    match look(console.seams.broker.workflow(id)).await? {
        Some(workflow) => {
            let mut full = workflow_json(&workflow);
            if let Some(fields) = full.as_object_mut() {
                fields.insert("nodes".to_owned(), workflow.nodes.iter().map(node_json).collect());
            }
            Ok(HttpResponse::Ok().json(full))
        }
        None => Err(no_such_workflow(id)),
    }
}

/// `POST /workflows`.
pub(super) async fn start(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
    console: Data<Console>,
) -> Result<HttpResponse, ApiError> {
    guard(&request, &console)?;
    let body: WorkflowBody = read_json(&request, payload, &state, BODY_BYTES_MAX, "not a workflow").await?;
    body.nodes.iter().try_for_each(|node| node.job.allow(&request))?;
    let workflow = body.workflow(&console).await?;
    let id = change(console.seams.broker.start_workflow(workflow)).await?;
    let location = format!("/api/tidemark/v1/workflows/{id}");
    let started = json!({"workflow": id.to_string(), "location": location});
    Ok(HttpResponse::Accepted().insert_header((header::LOCATION, location)).json(started))
}

/// `POST /workflows/{id}/cancel`.
pub(super) async fn cancel(
    request: HttpRequest,
    console: Data<Console>,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    guard(&request, &console)?;
    let id: WorkflowId = parse("workflow", &id)?;
    match change(console.seams.broker.cancel_workflow(id)).await? {
        Cancelled::Now => Ok(HttpResponse::Ok().json(json!({"state": "cancelled"}))),
        Cancelled::Requested => Ok(HttpResponse::Accepted().json(json!({"state": "running"}))),
        Cancelled::TooLate(_) => Err(ApiError::new(StatusCode::CONFLICT, format!("workflow {id} has ended already"))),
        Cancelled::Unknown => Err(no_such_workflow(id)),
    }
}

/// A workflow as somebody writes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WorkflowBody {
    #[serde(default)]
    name: String,
    /// `stop` or `go_on`.
    on_failure: Option<String>,
    nodes: Vec<NodeBody>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeBody {
    job: WorkBody,
    /// Numbers of earlier nodes; the first is 0.
    #[serde(default)]
    after: Vec<usize>,
    /// Whether it runs however those before it ended.
    #[serde(default)]
    always: bool,
}

impl WorkflowBody {
    async fn workflow(&self, console: &Console) -> Result<Workflow, ApiError> {
        if self.nodes.is_empty() || self.nodes.len() > NODES_MAX {
            let text = format!("nodes: a workflow has 1 to {NODES_MAX} nodes, this one has {}", self.nodes.len());
            return Err(ApiError::bad_request(text));
        }
        let mut workflow = Workflow::new().named(self.name.as_str()).on_failure(self.policy()?);
        let mut nodes: Vec<NodeId> = Vec::new();
        for (place, node) in self.nodes.iter().enumerate() {
            let after = node.after.iter().map(|number| nodes.get(*number).copied()).collect::<Option<Vec<_>>>();
            let after = after.ok_or_else(|| {
                ApiError::bad_request(format!("nodes: node {place} waits for one that does not come before it"))
            })?;
            let job = node.job.job(console).await?;
            let id = workflow.add(job, &after);
            nodes.push(id);
            if node.always {
                workflow = workflow.always(id);
            }
        }
        Ok(workflow)
    }

    fn policy(&self) -> Result<FailurePolicy, ApiError> {
        match self.on_failure.as_deref() {
            None | Some("stop") => Ok(FailurePolicy::Stop),
            Some("go_on") => Ok(FailurePolicy::GoOn),
            Some(other) => {
                let shown: String = other.chars().take(64).collect();
                Err(ApiError::bad_request(format!("on_failure: no such policy: `{shown}`; there are stop, go_on")))
            }
        }
    }
}

fn workflow_json(workflow: &WorkflowView) -> Value {
    let policy = match workflow.policy {
        FailurePolicy::Stop => "stop",
        FailurePolicy::GoOn => "go_on",
    };
    json!({
        "id": workflow.id.to_string(),
        "name": workflow.name,
        "state": workflow.state.name(),
        "on_failure": policy,
        "created_ms": workflow.created_ms,
        "ended_ms": workflow.ended_ms,
        "nodes_total": workflow.nodes_total,
        "nodes_ended": workflow.nodes_ended,
    })
}

fn node_json(node: &NodeView) -> Value {
    json!({
        "node": node.node.number(),
        "job": node.job.to_string(),
        "kind": node.kind.to_string(),
        "queue": node.queue.to_string(),
        "state": node.state.name(),
        "after": node.after.iter().map(|before| before.number()).collect::<Vec<_>>(),
        "always": node.always,
        "error": node.error,
    })
}

fn no_such_workflow(id: WorkflowId) -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        format!("there is no workflow {id}; those that ended are kept for a day at most"),
    )
}
