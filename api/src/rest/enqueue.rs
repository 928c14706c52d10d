//! `POST /api/tidemark/v1/jobs`: work that somebody outside wants done now, or later, once.

use std::time::Duration;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web::{self, Data, Payload},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tidemark_queue::{JobId, JobResult, NewJob, Pushed};

use super::{
    broker_call::{await_end, change, look},
    guard::guard,
    job_json::result_json,
    json_body::read_json,
    moments::parse_span,
    work::WorkBody,
};
use crate::{auth::Visitor, console::Console, error::ApiError, state::AppState};

/// Largest description of a job in bytes.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// Longest time that a request waits for the end of a job.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// How long a request with the same `Idempotency-Key` gets the same job.
const KEY_KEPT: Duration = Duration::from_secs(24 * 3_600);
/// Longest `Idempotency-Key` in bytes.
const KEY_BYTES_MAX: usize = 200;
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Whether to wait for the end of a job.
#[derive(Debug, Deserialize)]
pub(super) struct WaitParameters {
    wait: Option<String>,
}

impl WaitParameters {
    /// How long to wait.
    ///
    /// # Errors
    /// 400 when it is no duration, or too long.
    pub(super) fn wait(&self) -> Result<Option<Duration>, ApiError> {
        let Some(text) = &self.wait else { return Ok(None) };
        let wait = parse_span("wait", text)?;
        if wait > WAIT_MAX {
            return Err(ApiError::bad_request(format!("wait: at most {} s; ask again after that", WAIT_MAX.as_secs())));
        }
        Ok(Some(wait))
    }
}

/// Enqueues a job; with `?wait=` also waits for its end.
pub(super) async fn enqueue(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
    console: Data<Console>,
    parameters: web::Query<WaitParameters>,
) -> Result<HttpResponse, ApiError> {
    guard(&request, &console)?;
    let wait = parameters.wait()?;
    let key = unique_key(&request)?;
    let body: WorkBody = read_json(&request, payload, &state, BODY_BYTES_MAX, "not a job").await?;
    body.allow(&request)?;
    let job = body.job(&console).await?;
    let job = match key {
        Some(key) => job.unique_for(key, KEY_KEPT),
        None => job,
    };
    let (id, is_new) = push(&console, job).await?;
    if let Some(ended) = ended_within(&state, &console, id, wait).await? {
        return Ok(HttpResponse::Ok().insert_header(location(id)).json(ended_json(id, is_new, &ended)));
    }
    let queued = json!({"job": id.to_string(), "new": is_new, "location": path_of(id)});
    Ok(HttpResponse::Accepted().insert_header(location(id)).json(queued))
}

/// Pushes a job; its id, and whether it is new.
async fn push(console: &Console, job: NewJob) -> Result<(JobId, bool), ApiError> {
    let payload = job.payload.clone();
    let pushed = change(console.seams.broker.push(vec![job])).await?;
    match pushed.first() {
        Some(Pushed::Queued(id)) => Ok((*id, true)),
        Some(Pushed::Duplicate(id)) => {
            let known = look(console.seams.broker.job(*id)).await?;
            // The payload of a job that is done is not kept: then its key has to do.
            if known.is_some_and(|known| !known.payload.is_empty() && known.payload != payload) {
                let text = format!("the `Idempotency-Key` belongs to job {id}, which is another one");
                return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, text));
            }
            Ok((*id, false))
        }
        None => Err(ApiError::unavailable("the broker took the job and did not say which")),
    }
}

/// What a job ended with, if the request waits for that and it does.
pub(super) async fn ended_within(
    state: &AppState,
    console: &Console,
    id: JobId,
    wait: Option<Duration>,
) -> Result<Option<JobResult>, ApiError> {
    match wait {
        Some(wait) => await_end(state, console, id, wait).await,
        None => Ok(None),
    }
}

fn ended_json(id: JobId, is_new: bool, ended: &JobResult) -> Value {
    json!({
        "job": id.to_string(),
        "new": is_new,
        "location": path_of(id),
        "state": ended.state.name(),
        "result": ended.result.as_ref().map(result_json),
        "error": ended.error,
    })
}

/// Where a job is found.
pub(super) fn path_of(id: JobId) -> String {
    format!("/api/tidemark/v1/jobs/{id}")
}

/// The header that says so.
pub(super) fn location(id: JobId) -> (header::HeaderName, String) {
    (header::LOCATION, path_of(id))
}

/// The unique key of a request that has an `Idempotency-Key`. Keys of different tokens have nothing to do with each other.
fn unique_key(request: &HttpRequest) -> Result<Option<String>, ApiError> {
    let Some(key) = request.headers().get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = key.to_str().unwrap_or_default();
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(ApiError::bad_request(format!("Idempotency-Key: 1 to {KEY_BYTES_MAX} printable characters")));
    }
    let visitor = Visitor::of(request).map(|visitor| visitor.name).unwrap_or_default();
    Ok(Some(format!("request {visitor} {key}")))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_wait_has_an_end() {
        let wait = |text: &str| WaitParameters { wait: Some(text.to_owned()) }.wait();
        assert_eq!(wait("10s").unwrap(), Some(Duration::from_secs(10)));
        assert!(wait("2m").unwrap_err().message().contains("at most 60 s"));
        assert_eq!(WaitParameters { wait: None }.wait().unwrap(), None);
    }

    #[test]
    fn a_key_is_short_and_printable() {
        let key =
            |value: &str| unique_key(&TestRequest::default().insert_header((IDEMPOTENCY_KEY, value)).to_http_request());
        assert_eq!(key("abc").unwrap(), Some("request  abc".to_owned()));
        assert!(key("").is_err());
        assert!(key(&"x".repeat(201)).is_err());
        assert_eq!(unique_key(&TestRequest::default().to_http_request()).unwrap(), None);
    }
}
