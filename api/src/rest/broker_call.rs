//! Asking the broker on behalf of a request: within a time, and with its troubles in the words of HTTP.

use std::time::Duration;

use actix_web::http::StatusCode;
use tidemark_queue::BrokerResult;
use tidemark_queue::{BrokerError, Completion, JobId, JobResult};
use tidemark_scheduler::ScheduleError;
use tokio::time::timeout;

use crate::{console::Console, error::ApiError, state::AppState};

/// How long something that changes may take: a client is told within a second that the broker is away.
const CHANGE_MAX: Duration = Duration::from_millis(900);
/// How long a look may take; a list reads thousands of jobs.
const LOOK_MAX: Duration = Duration::from_secs(10);

/// What the broker answers to a call that changes nothing.
///
/// # Errors
/// 503 when it does not answer in time, and those of [`broker_failed`].
pub(super) async fn look<T>(call: impl Future<Output = Result<T, BrokerError>>) -> Result<T, ApiError> {
    match timeout(LOOK_MAX, call).await {
        Ok(answer) => answer.map_err(broker_failed),
        Err(_) => Err(ApiError::unavailable(format!("the broker does not answer within {} s", LOOK_MAX.as_secs()))),
    }
}

/// What the broker answers to a call that changes something.
///
/// # Errors
/// 503 when it does not answer in time: then it is unknown whether the call took effect. Those of [`broker_failed`].
pub(super) async fn change<T>(call: BrokerResult<'_, T>) -> Result<T, ApiError> {
    match timeout(CHANGE_MAX, call).await {
        Ok(answer) => answer.map_err(broker_failed),
        Err(_) => Err(too_late()),
    }
}

/// The same for a change of a schedule, which is several calls.
///
/// # Errors
/// 404 when there is no such schedule, 412 when it is not what the request says, 400 when it cannot be.
pub(super) async fn change_schedule<T>(call: impl Future<Output = Result<T, ScheduleError>>) -> Result<T, ApiError> {
    match timeout(CHANGE_MAX, call).await {
        Ok(answer) => answer.map_err(schedule_failed),
        Err(_) => Err(too_late()),
    }
}

fn too_late() -> ApiError {
    ApiError::unavailable("the broker does not answer; whether it did what was asked is unknown")
        .details("a job that is posted again with the same `Idempotency-Key` is not made twice")
}

/// What a job ended with, if it does within `wait`; `None` when it has not, or the server ends.
///
/// # Errors
/// Those of [`broker_failed`].
pub(super) async fn await_end(
    state: &AppState,
    console: &Console,
    job: JobId,
    wait: Duration,
) -> Result<Option<JobResult>, ApiError> {
    let completion = tokio::select! {
        completion = console.seams.broker.completion(job, wait) => completion.map_err(broker_failed)?,
        () = state.shutdown.cancelled() => Completion::Pending,
    };
    match completion {
        Completion::Ended(ended) => Ok(Some(ended)),
        Completion::Pending | Completion::Unknown => Ok(None),
    }
}

/// 400 for what breaks a rule, else 503: a full queue and a broker that is away are both worth another try.
pub(super) fn broker_failed(error: BrokerError) -> ApiError {
    let text = error.to_string();
    match error {
        BrokerError::Invalid(text) => ApiError::bad_request(text),
        BrokerError::Corrupt(_) => ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, text),
        BrokerError::Full { .. }
        | BrokerError::Draining { .. }
        | BrokerError::Unavailable(_)
        | BrokerError::Unknown(_)
        | BrokerError::DiskFull(_)
        | BrokerError::OtherStore(_)
        | BrokerError::Closed => ApiError::unavailable(text),
    }
}

fn schedule_failed(error: ScheduleError) -> ApiError {
    let text = error.to_string();
    match error {
        ScheduleError::Broker(error) => broker_failed(error),
        ScheduleError::Missing(_) => ApiError::new(StatusCode::NOT_FOUND, text),
        ScheduleError::Exists(_) | ScheduleError::Changed(_) => ApiError::new(StatusCode::PRECONDITION_FAILED, text),
        ScheduleError::Contended(_) => ApiError::new(StatusCode::CONFLICT, text),
        ScheduleError::Timing { .. } | ScheduleError::Queue { .. } => ApiError::bad_request(text),
    }
}
