//! What the server answers when it cannot do what was asked: OpenTSDB's error object.

use std::{fmt, time::Duration};

use actix_web::{
    HttpResponse, ResponseError,
    http::{StatusCode, header},
};
use tidemark_model::{CatalogError, DocumentError, NameKind, ReadError, RefusalReason, WriteRefusal};

/// What something was answered without, one header for each warning. HTTP's own `Warning` is about caches and obsolete.
pub(crate) const WARNING_HEADER: &str = "X-Tidemark-Warning";

/// An answer that is an error: a status, a message for the caller and, when there is more to say, details.
///
/// The body is `{"error":{"code":…,"message":…,"details":…}}`; a stack trace is never in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    status: StatusCode,
    message: String,
    details: Option<String>,
    retry_after: Option<Duration>,
    close: bool,
    challenge: bool,
}

impl ApiError {
    /// An error with this status and message.
    #[must_use]
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), details: None, retry_after: None, close: false, challenge: false }
    }

    /// 400: the request is wrong.
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 404 as OpenTSDB says it of an unknown path.
    #[must_use]
    pub fn endpoint_not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Endpoint not found")
    }

    /// 405 as OpenTSDB says it.
    #[must_use]
    pub fn method_not_allowed(method: &str) -> Self {
        // OPTIONS is refused before any endpoint is looked for.
        let place = if method == "OPTIONS" { "" } else { " for this endpoint" };
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed")
            .details(format!("The HTTP method [{method}] is not permitted{place}"))
    }

    /// 503 with `Retry-After`: a dependency is down or a queue is full, and trying again is the right thing.
    #[must_use]
    pub fn unavailable(message: impl Into<String>) -> Self {
        let mut error = Self::new(StatusCode::SERVICE_UNAVAILABLE, message);
        error.retry_after = Some(Duration::from_secs(1));
        error
    }

    /// 401: who are you? Browsers ask their user for the token, as the password.
    #[must_use]
    pub fn unauthorized(message: impl Into<String>) -> Self {
        let mut error = Self::new(StatusCode::UNAUTHORIZED, message);
        error.challenge = true;
        error
    }

    /// 413: something is larger than its limit, which the message names.
    #[must_use]
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    }

    /// Adds details.
    #[must_use]
    pub fn details(mut self, details: impl Into<String>) -> Self {
        self.details = Some(details.into());
        self
    }

    /// Closes the connection after the answer, because the rest of the request was not read.
    #[must_use]
    pub fn closing(mut self) -> Self {
        self.close = true;
        self
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The message for the caller.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The details, if there are any.
    #[must_use]
    pub fn details_text(&self) -> Option<&str> {
        self.details.as_deref()
    }

    /// The body.
    #[must_use]
    pub fn to_json(&self) -> String {
        let text = |text: &str| serde_json::Value::from(text).to_string();
        let details = self.details.as_deref().map(|details| format!(",\"details\":{}", text(details)));
        format!(
            "{{\"error\":{{\"code\":{},\"message\":{}{}}}}}",
            self.status.as_u16(),
            text(&self.message),
            details.unwrap_or_default()
        )
    }

    /// The answer.
    #[must_use]
    pub fn to_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        response.content_type(JSON);
        if let Some(after) = self.retry_after {
            response.insert_header((header::RETRY_AFTER, after.as_secs().max(1).to_string()));
        }
        if self.challenge {
            response.insert_header((header::WWW_AUTHENTICATE, "Basic realm=\"tidemark\", charset=\"UTF-8\""));
        }
        if self.close {
            response.force_close();
        }
        response.body(self.to_json())
    }
}

/// The content type of OpenTSDB's JSON.
pub const JSON: &str = "application/json; charset=UTF-8";

impl fmt::Display for ApiError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.status.as_u16(), self.message)?;
        match &self.details {
            Some(details) => write!(out, " ({details})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ApiError {}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        self.to_response()
    }
}

/// OpenTSDB's word for a kind of name in `No such name for '…'`.
pub(crate) fn kind_word(kind: NameKind) -> &'static str {
    match kind {
        NameKind::Metric => "metrics",
        NameKind::TagKey => "tagk",
        NameKind::TagValue => "tagv",
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        let text = error.to_string();
        match error {
            ReadError::UnknownName { kind, name } => {
                let text = format!("No such name for '{}': '{name}'", kind_word(kind));
                Self::bad_request(text.clone()).details(text)
            }
            ReadError::TooManySeries { .. } | ReadError::TooManyPoints { .. } | ReadError::TooManyBytes { .. } => {
                Self::too_large(text)
            }
            ReadError::Unavailable(_) => Self::unavailable(text),
            ReadError::Corrupt(_) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, text),
        }
    }
}

impl From<CatalogError> for ApiError {
    fn from(error: CatalogError) -> Self {
        error.0.into()
    }
}

impl From<DocumentError> for ApiError {
    fn from(error: DocumentError) -> Self {
        let text = error.to_string();
        match error {
            DocumentError::Conflict { .. } => Self::new(StatusCode::CONFLICT, text),
            DocumentError::TooLarge { .. } => Self::too_large(text),
            DocumentError::Unknown { .. } | DocumentError::Unavailable(_) => Self::unavailable(text),
        }
    }
}

impl From<&WriteRefusal> for ApiError {
    fn from(refusal: &WriteRefusal) -> Self {
        let message = refusal.message.as_str();
        match refusal.reason {
            RefusalReason::Busy | RefusalReason::Unavailable | RefusalReason::ShuttingDown => {
                Self::unavailable(message).details("nothing was stored; send the request again")
            }
            RefusalReason::DiskFull => Self::new(StatusCode::INSUFFICIENT_STORAGE, message)
                .details("nothing was stored; reads go on, and writes will when there is room on the disk"),
            RefusalReason::Limit => Self::bad_request(message).details("nothing was stored"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_opentsdbs_error_object() {
        assert_eq!(
            ApiError::endpoint_not_found().to_json(),
            r#"{"error":{"code":404,"message":"Endpoint not found"}}"#
        );
        let quoted = ApiError::bad_request("no \"name\"").details("line\n2");
        assert_eq!(quoted.to_json(), r#"{"error":{"code":400,"message":"no \"name\"","details":"line\n2"}}"#);
    }

    #[test]
    fn a_refusal_says_by_its_status_whether_to_try_again() {
        let status = |reason| ApiError::from(&WriteRefusal::new(reason, "x")).to_response().status().as_u16();
        assert_eq!(status(RefusalReason::Busy), 503);
        assert_eq!(status(RefusalReason::Unavailable), 503);
        assert_eq!(status(RefusalReason::ShuttingDown), 503);
        assert_eq!(status(RefusalReason::DiskFull), 507);
        assert_eq!(status(RefusalReason::Limit), 400);
        let busy = ApiError::unavailable("busy").to_response();
        assert_eq!(busy.headers().get("retry-after").unwrap(), "1");
    }
}
