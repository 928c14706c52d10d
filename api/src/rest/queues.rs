//! Queues.

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{self, Data, Payload},
};
use serde_json::{Value, json};
use tidemark_queue::{QueueName, QueueSettings, QueueStats};

use super::{
    broker_call::{change, look},
    guard::guard,
    jobs::parse,
    json_body::read_json,
};
use crate::{console::Console, error::ApiError, state::AppState};

/// Largest settings of a queue in bytes.
const BODY_BYTES_MAX: usize = 4 * 1024;

/// `GET /queues`.
pub(super) async fn list(console: Data<Console>) -> Result<HttpResponse, ApiError> {
    let queues = look(console.seams.broker.queues()).await?;
    let health = console.seams.broker.health().await;
    Ok(HttpResponse::Ok().json(json!({
        "broker": health.description,
        "warnings": health.warnings,
        "queues": queues.iter().map(queue_json).collect::<Vec<_>>(),
    })))
}

/// `GET /queues/{name}`.
pub(super) async fn one(console: Data<Console>, name: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let queue: QueueName = parse("queue", &name)?;
    let queues = look(console.seams.broker.queues()).await?;
    match queues.iter().find(|stats| stats.queue == queue) {
        Some(stats) => Ok(HttpResponse::Ok().json(queue_json(stats))),
        None => Err(ApiError::new(
            StatusCode::NOT_FOUND,
            format!("queue `{queue}` has never had a job; queues appear with their first one"),
        )),
    }
}

/// `POST /queues/{name}/{action}`.
pub(super) async fn steer(
    request: HttpRequest,
    console: Data<Console>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    guard(&request, &console)?;
    let (name, action) = path.into_inner();
    let queue: QueueName = parse("queue", &name)?;
    match action.as_str() {
        "pause" => change(console.seams.broker.pause(&queue)).await?,
        "drain" => {
            let settings = QueueSettings { draining: true, ..settings_of(&console, &queue).await? };
            change(console.seams.broker.set_queue(&queue, settings)).await?;
        }
        "resume" => {
            let settings = settings_of(&console, &queue).await?;
            let open = QueueSettings { paused: false, draining: false, ..settings };
            change(console.seams.broker.set_queue(&queue, open)).await?;
        }
        _ => {
            let shown: String = action.chars().take(64).collect();
            let text = format!("a queue can be paused, drained and resumed, not `{shown}`");
            return Err(ApiError::new(StatusCode::NOT_FOUND, text));
        }
    }
    Ok(HttpResponse::NoContent().finish())
}

/// `PUT /queues/{name}/settings`: everything that can be set about a queue, at once.
pub(super) async fn set(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
    console: Data<Console>,
    name: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    guard(&request, &console)?;
    let queue: QueueName = parse("queue", &name)?;
    let settings: QueueSettings =
        read_json(&request, payload, &state, BODY_BYTES_MAX, "not the settings of a queue").await?;
    change(console.seams.broker.set_queue(&queue, settings.clone())).await?;
    Ok(HttpResponse::Ok().json(settings))
}

/// What is set about a queue, which may never have had a job.
async fn settings_of(console: &Console, queue: &QueueName) -> Result<QueueSettings, ApiError> {
    let queues = look(console.seams.broker.queues()).await?;
    let known = queues.into_iter().find(|stats| stats.queue == *queue);
    Ok(known.map(|stats| stats.settings).unwrap_or_default())
}

fn queue_json(stats: &QueueStats) -> Value {
    json!({
        "name": stats.queue.to_string(),
        "paused": stats.settings.paused,
        "draining": stats.settings.draining,
        "settings": stats.settings,
        "ready": stats.ready,
        "scheduled": stats.scheduled,
        "running": stats.running,
        "retryable": stats.retryable,
        "discarded": stats.discarded,
        "oldest_age_ms": stats.oldest_age.map(|age| age.as_millis() as u64),
        "pushed_per_second": stats.pushed_per_second,
        "ended_per_second": stats.ended_per_second,
        "totals": {
            "pushed": stats.totals.pushed,
            "duplicates": stats.totals.duplicates,
            "completed": stats.totals.completed,
            "retried": stats.totals.retried,
            "cancelled": stats.totals.cancelled,
            "discarded": stats.totals.discarded,
            "rescued": stats.totals.rescued,
            "stale": stats.totals.stale,
        },
    })
}
