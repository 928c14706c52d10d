//! Workers.

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{self, Data, Payload},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tidemark_queue::{WorkerCommand, WorkerId, WorkerView};

use super::{
    broker_call::{change, look},
    guard::guard,
    json_body::read_json,
};
use crate::{console::Console, error::ApiError, state::AppState};

/// Largest command in bytes.
const BODY_BYTES_MAX: usize = 4 * 1024;

/// `GET /workers`.
pub(super) async fn list(console: Data<Console>) -> Result<HttpResponse, ApiError> {
    let workers = look(console.seams.broker.workers()).await?;
    let workers: Vec<_> = workers.iter().map(worker_json).collect();
    Ok(HttpResponse::Ok().json(json!({ "workers": workers })))
}

/// `GET /workers/{name}`.
pub(super) async fn one(console: Data<Console>, name: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let workers = look(console.seams.broker.workers()).await?;
    match workers.iter().find(|worker| worker.report.worker == *name) {
        Some(worker) => Ok(HttpResponse::Ok().json(worker_json(worker))),
        None => Err(no_such_worker(&name)),
    }
}

fn no_such_worker(name: &str) -> ApiError {
    let shown: String = name.chars().take(128).collect();
    ApiError::new(StatusCode::NOT_FOUND, format!("no worker `{shown}` was heard of during the last minutes"))
}

/// How many jobs of a queue a worker is to run at one time.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scale {
    queue: String,
    concurrency: u32,
}

/// `POST /workers/{name}/stop` and `POST /workers/{name}/scale`: the worker takes the command with its next heartbeat.
pub(super) async fn steer(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
    console: Data<Console>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    guard(&request, &console)?;
    let (name, action) = path.into_inner();
    let command = match action.as_str() {
        "stop" => WorkerCommand::Stop,
        "scale" => {
            let refusal = "expected `{\"queue\":\"write\",\"concurrency\":8}`";
            let Scale { queue, concurrency } = read_json(&request, payload, &state, BODY_BYTES_MAX, refusal).await?;
            WorkerCommand::Scale { queue, concurrency }
        }
        other => {
            let shown: String = other.chars().take(64).collect();
            let text = format!("a worker can be stopped and scaled, not `{shown}`");
            return Err(ApiError::new(StatusCode::NOT_FOUND, text));
        }
    };
    match change(console.seams.broker.command_worker(&WorkerId::new(&name), command)).await? {
        true => Ok(HttpResponse::Accepted().json(json!({"worker": name, "command": action}))),
        false => Err(no_such_worker(&name)),
    }
}

fn worker_json(worker: &WorkerView) -> Value {
    let report = &worker.report;
    let queues: Vec<_> = report.queues.iter().map(|(name, jobs)| json!({"name": name, "concurrency": jobs})).collect();
    json!({
        "worker": report.worker,
        "version": report.version,
        "host": report.host,
        "queues": queues,
        "running": report.running,
        "jobs": report.jobs.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "attempts": report.attempts,
        "started_ms": report.started_ms,
        "silent_ms": worker.silent_for.as_millis() as u64,
    })
}
