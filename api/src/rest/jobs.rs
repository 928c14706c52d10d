//! Jobs: looking for them, and what people do to one.

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{self, Data},
};
use serde::Deserialize;
use serde_json::json;
use tidemark_queue::{Cancelled, JobFilter, JobId, JobKind, Page};

use super::{
    broker_call::{change, look},
    enqueue::{WaitParameters, ended_within},
    guard::guard,
    job_json::{full_job_json, job_json},
    moments::parse_moment,
};
use crate::{
    console::{Console, JobSearch, parse_state},
    error::ApiError,
    state::AppState,
};

/// Jobs of a page unless the request says otherwise.
const JOBS_LISTED: usize = 100;

/// Which jobs to list.
#[derive(Debug, Default, Deserialize)]
pub(super) struct JobParameters {
    kind: Option<String>,
    queue: Option<String>,
    state: Option<String>,
    key: Option<String>,
    /// As the search field of the page `/tasks`.
    #[serde(default)]
    q: String,
    since: Option<String>,
    until: Option<String>,
    before: Option<String>,
    limit: Option<usize>,
}

impl JobParameters {
    /// What is searched for.
    ///
    /// # Errors
    /// 400 naming the parameter that is wrong.
    fn search(&self, now_ms: i64) -> Result<JobSearch, ApiError> {
        let time = |field: &str, text: &Option<String>| {
            text.as_deref().map(|text| parse_moment(field, text, now_ms)).transpose()
        };
        let filter = JobFilter {
            kind: self.kind.as_deref().map(|text| parse::<JobKind>("kind", text)).transpose()?,
            queue: self.queue.as_deref().map(|text| parse("queue", text)).transpose()?,
            state: self.state.as_deref().map(|text| parse_state(text).map_err(ApiError::bad_request)).transpose()?,
            key: self.key.clone(),
            text: None,
            since_ms: time("since", &self.since)?,
            until_ms: time("until", &self.until)?,
        };
        JobSearch::parse(&self.q, filter).map_err(|error| ApiError::bad_request(format!("q: {error}")))
    }

    fn limit(&self) -> Result<usize, ApiError> {
        match self.limit {
            None => Ok(JOBS_LISTED),
            Some(limit @ 1..=Page::LIMIT_MAX) => Ok(limit),
            Some(limit) => {
                Err(ApiError::bad_request(format!("limit: {limit} jobs are not between 1 and {}", Page::LIMIT_MAX)))
            }
        }
    }
}

/// `GET /jobs`.
pub(super) async fn list(
    console: Data<Console>,
    parameters: web::Query<JobParameters>,
) -> Result<HttpResponse, ApiError> {
    let search = parameters.search(console.seams.clock.now_ms())?;
    let before = parameters.before.as_deref().map(|text| parse::<JobId>("before", text)).transpose()?;
    let page = look(search.run(console.seams.broker.as_ref(), before, parameters.limit()?)).await?;
    let jobs: Vec<_> = page.jobs.iter().map(job_json).collect();
    Ok(HttpResponse::Ok().json(json!({"jobs": jobs, "next": page.next.map(|id| id.to_string())})))
}

/// `GET /jobs/{id}`; with `?wait=` once it has ended, or the time is over.
pub(super) async fn one(
    state: Data<AppState>,
    console: Data<Console>,
    id: web::Path<String>,
    parameters: web::Query<WaitParameters>,
) -> Result<HttpResponse, ApiError> {
    let id: JobId = parse("job", &id)?;
    ended_within(&state, &console, id, parameters.wait()?).await?;
    match look(console.seams.broker.job(id)).await? {
        Some(job) => Ok(HttpResponse::Ok().json(full_job_json(&job))),
        None => Err(no_such_job(id)),
    }
}

/// `POST /jobs/{id}/{action}`.
pub(super) async fn steer(
    request: HttpRequest,
    console: Data<Console>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    guard(&request, &console)?;
    let (id, action) = path.into_inner();
    let id: JobId = parse("job", &id)?;
    match action.as_str() {
        "retry" => retry(&console, id).await,
        "cancel" => cancel(&console, id).await,
        _ => {
            let shown: String = action.chars().take(64).collect();
            Err(ApiError::new(StatusCode::NOT_FOUND, format!("a job can be retried and cancelled, not `{shown}`")))
        }
    }
}

async fn retry(console: &Console, id: JobId) -> Result<HttpResponse, ApiError> {
    if change(console.seams.broker.retry(id)).await? {
        return Ok(HttpResponse::Ok().json(json!({"state": "available"})));
    }
    match look(console.seams.broker.job(id)).await? {
        None => Err(no_such_job(id)),
        Some(job) => Err(ApiError::new(
            StatusCode::CONFLICT,
            format!(
                "job {id} is {} and can not be retried: only discarded, cancelled and retryable jobs can, as long as no \
                 other has their unique key",
                job.state.name()
            ),
        )),
    }
}

async fn cancel(console: &Console, id: JobId) -> Result<HttpResponse, ApiError> {
    match change(console.seams.broker.cancel(id)).await? {
        Cancelled::Now => Ok(HttpResponse::Ok().json(json!({"state": "cancelled"}))),
        Cancelled::Requested => Ok(HttpResponse::Accepted().json(json!({"state": "running"}))),
        Cancelled::TooLate(state) => {
            Err(ApiError::new(StatusCode::CONFLICT, format!("job {id} has ended already: it is {}", state.name())))
        }
        Cancelled::Unknown => Err(no_such_job(id)),
    }
}

/// A part of an address or a parameter.
///
/// # Errors
/// 400 naming what is wrong.
pub(super) fn parse<T: std::str::FromStr>(what: &str, text: &str) -> Result<T, ApiError>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| ApiError::bad_request(format!("{what}: {error}")))
}

pub(super) fn no_such_job(id: JobId) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, format!("there is no job {id}; finished jobs are kept for a day at most"))
}
