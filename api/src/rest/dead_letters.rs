//! Discarded jobs, many at a time.

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{self, Data, Payload},
};
use serde::Deserialize;
use serde_json::json;
use tidemark_queue::{BULK_MAX, JobFilter, JobId, JobKind};

use super::{
    broker_call::{change, look},
    guard::guard,
    jobs::{no_such_job, parse},
    json_body::parse_json,
    moments::Moment,
};
use crate::{console::Console, error::ApiError, http::body::read_body_up_to, state::AppState};

/// Largest description of jobs in bytes.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// Which discarded jobs; all of them when it says nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Which {
    kind: Option<String>,
    queue: Option<String>,
    /// Part of the unique key.
    key: Option<String>,
    /// Part of the last error.
    text: Option<String>,
    since: Option<Moment>,
    until: Option<Moment>,
    /// At most so many.
    limit: Option<usize>,
}

impl Which {
    fn filter(&self, now_ms: i64) -> Result<JobFilter, ApiError> {
        Ok(JobFilter {
            kind: self.kind.as_deref().map(|text| parse::<JobKind>("kind", text)).transpose()?,
            queue: self.queue.as_deref().map(|text| parse("queue", text)).transpose()?,
            state: None,
            key: self.key.clone(),
            text: self.text.clone(),
            since_ms: self.since.as_ref().map(|moment| moment.at("since", now_ms)).transpose()?,
            until_ms: self.until.as_ref().map(|moment| moment.at("until", now_ms)).transpose()?,
        })
    }

    fn limit(&self) -> Result<usize, ApiError> {
        match self.limit.unwrap_or(BULK_MAX) {
            limit @ 1..=BULK_MAX => Ok(limit),
            limit => Err(ApiError::bad_request(format!("limit: {limit} jobs are not between 1 and {BULK_MAX}"))),
        }
    }
}

async fn which(
    request: &HttpRequest,
    payload: Payload,
    state: &AppState,
    console: &Console,
) -> Result<(JobFilter, usize), ApiError> {
    guard(request, console)?;
    let body = read_body_up_to(request, payload, state, BODY_BYTES_MAX).await?;
    let text = body.text()?;
    let text = if text.trim().is_empty() { "{}" } else { text };
    let which: Which = parse_json(text, "not a description of jobs")?;
    Ok((which.filter(console.seams.clock.now_ms())?, which.limit()?))
}

/// `POST /jobs/retry`: fresh attempts for discarded jobs, the oldest first.
pub(super) async fn retry(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
    console: Data<Console>,
) -> Result<HttpResponse, ApiError> {
    let (filter, limit) = which(&request, payload, &state, &console).await?;
    let retried = look(console.seams.broker.retry_all(filter, limit)).await?;
    Ok(HttpResponse::Ok().json(json!({ "retried": retried })))
}

/// `POST /jobs/purge`: forgets discarded jobs, the oldest first.
pub(super) async fn purge(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
    console: Data<Console>,
) -> Result<HttpResponse, ApiError> {
    let (filter, limit) = which(&request, payload, &state, &console).await?;
    let purged = look(console.seams.broker.purge(filter, limit)).await?;
    Ok(HttpResponse::Ok().json(json!({ "purged": purged })))
}

/// `DELETE /jobs/{id}`: forgets one discarded job.
pub(super) async fn forget(
    request: HttpRequest,
    console: Data<Console>,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    guard(&request, &console)?;
    let id: JobId = parse("job", &id)?;
    if change(console.seams.broker.forget(id)).await? {
        return Ok(HttpResponse::NoContent().finish());
    }
    match look(console.seams.broker.job(id)).await? {
        None => Err(no_such_job(id)),
        Some(job) => {
            let text = format!("job {id} is {}: only discarded jobs can be forgotten", job.state.name());
            Err(ApiError::new(StatusCode::CONFLICT, text))
        }
    }
}
