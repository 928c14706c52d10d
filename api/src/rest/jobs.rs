//! Queues, jobs, workers and schedules.

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{self, Data},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tidemark_queue::{
    BrokerError, Cancelled, JobFilter, JobId, JobKind, JobState, JobView, Page, QueueName, QueueStats, Timing,
};

use tidemark_scheduler::{ScheduleError, run_now};

use super::guard::guard;
use crate::{console::Console, error::ApiError};

/// Jobs of a page unless the request says otherwise.
const JOBS_LISTED: usize = 100;

pub(super) async fn queues(console: Data<Console>) -> Result<HttpResponse, ApiError> {
    let queues = console.seams.broker.queues().await.map_err(broker_failed)?;
    let health = console.seams.broker.health().await;
    Ok(HttpResponse::Ok().json(json!({
        "broker": health.description,
        "warnings": health.warnings,
        "queues": queues.iter().map(queue_json).collect::<Vec<_>>(),
    })))
}

fn queue_json(stats: &QueueStats) -> Value {
    json!({
        "name": stats.queue.to_string(),
        "paused": stats.settings.paused,
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

pub(super) async fn steer_queue(
    request: HttpRequest,
    console: Data<Console>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    guard(&request, &console)?;
    let (name, action) = path.into_inner();
    let queue: QueueName = parse("queue", &name)?;
    match action.as_str() {
        "pause" => console.seams.broker.pause(&queue).await,
        "resume" => console.seams.broker.resume(&queue).await,
        _ => {
            return Err(ApiError::new(
                StatusCode::NOT_FOUND,
                format!("a queue can be paused and resumed, not `{action}`"),
            ));
        }
    }
    .map_err(broker_failed)?;
    Ok(HttpResponse::NoContent().finish())
}

/// Which jobs to list.
#[derive(Debug, Deserialize)]
pub(super) struct JobParameters {
    kind: Option<String>,
    queue: Option<String>,
    state: Option<String>,
    key: Option<String>,
    before: Option<String>,
    limit: Option<usize>,
}

pub(super) async fn list(
    console: Data<Console>,
    parameters: web::Query<JobParameters>,
) -> Result<HttpResponse, ApiError> {
    let filter = JobFilter {
        kind: parameters.kind.as_deref().map(|text| parse::<JobKind>("kind", text)).transpose()?,
        queue: parameters.queue.as_deref().map(|text| parse("queue", text)).transpose()?,
        state: parameters.state.as_deref().map(parse_state).transpose()?,
        key: parameters.key.clone(),
        ..JobFilter::default()
    };
    let before = parameters.before.as_deref().map(|text| parse::<JobId>("before", text)).transpose()?;
    let page = Page { before, limit: parameters.limit.unwrap_or(JOBS_LISTED) };
    let page = console.seams.broker.jobs(filter, page).await.map_err(broker_failed)?;
    let jobs: Vec<_> = page.jobs.iter().map(job_json).collect();
    Ok(HttpResponse::Ok().json(json!({"jobs": jobs, "next": page.next.map(|id| id.to_string())})))
}

pub(super) async fn one(console: Data<Console>, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let id: JobId = parse("job", &id)?;
    match console.seams.broker.job(id).await.map_err(broker_failed)? {
        Some(job) => Ok(HttpResponse::Ok().json(job_json(&job))),
        None => Err(no_such_job(id)),
    }
}

pub(super) async fn steer_job(
    request: HttpRequest,
    console: Data<Console>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    guard(&request, &console)?;
    let (id, action) = path.into_inner();
    let id: JobId = parse("job", &id)?;
    match action.as_str() {
        "retry" => match console.seams.broker.retry(id).await.map_err(broker_failed)? {
            true => Ok(HttpResponse::Ok().json(json!({"state": "available"}))),
            false => Err(ApiError::new(
                StatusCode::CONFLICT,
                format!("job {id} can not be retried: only discarded, cancelled and retryable jobs can"),
            )),
        },
        "cancel" => match console.seams.broker.cancel(id).await.map_err(broker_failed)? {
            Cancelled::Now => Ok(HttpResponse::Ok().json(json!({"state": "cancelled"}))),
            Cancelled::Requested => Ok(HttpResponse::Accepted().json(json!({"state": "running"}))),
            Cancelled::TooLate(state) => {
                Err(ApiError::new(StatusCode::CONFLICT, format!("job {id} has ended already: it is {}", state.name())))
            }
            Cancelled::Unknown => Err(no_such_job(id)),
        },
        _ => Err(ApiError::new(StatusCode::NOT_FOUND, format!("a job can be retried and cancelled, not `{action}`"))),
    }
}

pub(super) async fn workers(console: Data<Console>) -> Result<HttpResponse, ApiError> {
    let workers = console.seams.broker.workers().await.map_err(broker_failed)?;
    let workers: Vec<_> = workers
        .iter()
        .map(|worker| {
            json!({
                "worker": worker.report.worker,
                "version": worker.report.version,
                "host": worker.report.host,
                "queues": worker.report.queues.iter().map(|(name, jobs)| json!({"name": name, "concurrency": jobs})).collect::<Vec<_>>(),
                "running": worker.report.running,
                "attempts": worker.report.attempts,
                "started_ms": worker.report.started_ms,
                "silent_ms": worker.silent_for.as_millis() as u64,
            })
        })
        .collect();
    Ok(HttpResponse::Ok().json(json!({ "workers": workers })))
}

pub(super) async fn schedules(console: Data<Console>) -> Result<HttpResponse, ApiError> {
    let schedules = console.seams.broker.schedules().await.map_err(broker_failed)?;
    let schedules: Vec<_> = schedules
        .iter()
        .map(|schedule| {
            let when = match &schedule.timing {
                Timing::Every(every_ms) => json!({"every_ms": every_ms}),
                Timing::Cron { line, zone } => json!({"cron": line, "time_zone": zone}),
                Timing::Once(at_ms) => json!({"once_ms": at_ms}),
            };
            json!({
                "name": schedule.name,
                "kind": schedule.job.kind.to_string(),
                "when": when,
                "paused": schedule.paused,
                "done": schedule.is_done(),
                "last_due_ms": schedule.last_due_ms,
            })
        })
        .collect();
    Ok(HttpResponse::Ok().json(json!({ "schedules": schedules })))
}

/// Enqueues the job of a schedule now: the answer is the job, which can be followed under `/jobs/{id}`.
pub(super) async fn run_schedule(
    request: HttpRequest,
    console: Data<Console>,
    path: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    guard(&request, &console)?;
    let seams = &console.seams;
    match run_now(seams.broker.as_ref(), &path, seams.clock.now_ms()).await {
        Ok(id) => Ok(HttpResponse::Accepted().json(json!({ "job": id.to_string() }))),
        Err(ScheduleError::Broker(error)) => Err(broker_failed(error)),
        Err(error @ ScheduleError::Missing(_)) => Err(ApiError::new(StatusCode::NOT_FOUND, error.to_string())),
        Err(error) => Err(ApiError::bad_request(error.to_string())),
    }
}

fn job_json(job: &JobView) -> Value {
    json!({
        "id": job.id.to_string(),
        "kind": job.kind.to_string(),
        "queue": job.queue.to_string(),
        "state": job.state.name(),
        "attempt": job.attempt,
        "attempts_max": job.attempts_max,
        "rescues": job.rescues,
        "created_ms": job.created_ms,
        "not_before_ms": job.not_before_ms,
        "expires_ms": job.expires_ms,
        "started_ms": job.started_ms,
        "finished_ms": job.finished_ms,
        "worker": job.worker.as_ref().map(ToString::to_string),
        "error": job.error,
        "unique_key": job.unique_key,
        "parent": job.parent.map(|id| id.to_string()),
        "time_limit_ms": job.time_limit.as_millis() as u64,
        "payload_bytes": job.payload_bytes,
    })
}

fn parse<T: std::str::FromStr>(what: &str, text: &str) -> Result<T, ApiError>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| ApiError::bad_request(format!("{what}: {error}")))
}

fn parse_state(text: &str) -> Result<JobState, ApiError> {
    JobState::from_name(text).ok_or_else(|| {
        let known: Vec<_> = JobState::ALL.into_iter().map(JobState::name).collect();
        ApiError::bad_request(format!("state: no such state: `{text}`; there are {}", known.join(", ")))
    })
}

fn no_such_job(id: JobId) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, format!("there is no job {id}; finished jobs are kept for a day at most"))
}

fn broker_failed(error: BrokerError) -> ApiError {
    match error {
        BrokerError::Invalid(text) => ApiError::bad_request(text),
        other => ApiError::unavailable(other.to_string()),
    }
}
