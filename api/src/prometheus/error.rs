//! What is wrong, as Prometheus' clients read it.

use std::fmt;

use actix_web::{
    HttpResponse, ResponseError,
    http::{StatusCode, header},
};
use serde_json::json;
use tidemark_promql::QueryError;

use super::answer::JSON;
use crate::{error::ApiError, opentsdb::query_run::is_too_slow};

/// An answer that is an error: `{"status":"error","errorType":…,"error":…}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PrometheusError {
    status: StatusCode,
    kind: &'static str,
    text: String,
    /// Whether trying again is the right thing.
    is_passing: bool,
}

impl PrometheusError {
    /// 400: a parameter is wrong.
    pub(super) fn bad_data(text: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, kind: "bad_data", text: text.into(), is_passing: false }
    }

    /// 404: nothing is there.
    pub(super) fn not_found(text: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, kind: "not_found", text: text.into(), is_passing: false }
    }

    /// 400: a parameter is wrong, and which.
    pub(super) fn parameter(name: &str, text: impl fmt::Display) -> Self {
        Self::bad_data(format!("invalid parameter {name:?}: {text}"))
    }
}

impl fmt::Display for PrometheusError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.kind, self.text)
    }
}

impl ResponseError for PrometheusError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        response.content_type(JSON);
        if self.is_passing {
            response.insert_header((header::RETRY_AFTER, "1"));
        }
        let body = json!({ "status": "error", "errorType": self.kind, "error": self.text });
        response.body(body.to_string())
    }
}

/// What goes wrong with any query, by the status that it has elsewhere.
impl From<ApiError> for PrometheusError {
    fn from(error: ApiError) -> Self {
        let is_late = is_too_slow(&error);
        let (status, kind) = match error.status() {
            _ if is_late => (StatusCode::SERVICE_UNAVAILABLE, "timeout"),
            StatusCode::CONFLICT => (StatusCode::SERVICE_UNAVAILABLE, "canceled"),
            // Too many series, points or bytes.
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
                (StatusCode::UNPROCESSABLE_ENTITY, "execution")
            }
            StatusCode::SERVICE_UNAVAILABLE => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            status if status.is_client_error() => (status, "bad_data"),
            status => (status, "internal"),
        };
        let details = error.details_text().map_or_else(String::new, |details| format!(" ({details})"));
        let text = if is_late { "query timed out in expression evaluation" } else { error.message() };
        Self { status, kind, text: format!("{text}{details}"), is_passing: kind == "unavailable" }
    }
}

/// The error of an evaluation; [`QueryError::Cancelled`] is told apart by whoever knows why.
pub(super) fn of_query(error: QueryError) -> ApiError {
    match error {
        QueryError::Read(error) => error.into(),
        other => ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_the_statuses_of_prometheus() {
        let check = |error: ApiError, status: u16, kind: &str| {
            let error = PrometheusError::from(error);
            assert_eq!((error.status.as_u16(), error.kind), (status, kind), "{error}");
        };
        check(ApiError::bad_request("x"), 400, "bad_data");
        check(ApiError::too_large("x"), 422, "execution");
        check(of_query(QueryError::Execution("x".to_owned())), 422, "execution");
        check(ApiError::new(StatusCode::CONFLICT, "x"), 503, "canceled");
        check(ApiError::unavailable("x"), 503, "unavailable");
        check(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "x"), 500, "internal");
    }
}
