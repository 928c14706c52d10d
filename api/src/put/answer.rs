//! What a put request is answered.

use actix_web::{HttpResponse, http::StatusCode};
use serde::Serialize;

use super::{flags::PutFlags, rejected::Rejections};
use crate::error::{ApiError, JSON};

/// The outcome of a request whose points were handed to the store.
#[derive(Debug)]
pub(crate) struct PutOutcome {
    pub(crate) stored: usize,
    pub(crate) rejections: Rejections,
    /// Points of which nobody knew in time whether they are stored.
    pub(crate) timed_out: usize,
}

#[derive(Serialize)]
struct Report<'a> {
    success: usize,
    failed: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeouts: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<&'a [super::rejected::Rejection]>,
}

impl PutOutcome {
    /// The answer that the flags ask for.
    pub(crate) fn answer(&self, flags: PutFlags) -> HttpResponse {
        let failed = self.rejections.count();
        let good = failed == 0 && self.timed_out == 0;
        if good && !flags.reports() {
            return HttpResponse::NoContent().finish();
        }
        if flags.reports() {
            let status = if good { StatusCode::OK } else { StatusCode::BAD_REQUEST };
            let report = Report {
                success: self.stored,
                failed,
                timeouts: flags.reports_timeouts.then_some(self.timed_out),
                errors: flags.details.then(|| self.rejections.described()),
            };
            let body = serde_json::to_string(&report).unwrap_or_default();
            return HttpResponse::build(status).content_type(JSON).body(body);
        }
        if self.timed_out > 0 {
            return ApiError::unavailable(format!(
                "the store did not answer within `sync_timeout` for {} points",
                self.timed_out
            ))
            .details("they may have been stored; sending them again is harmless")
            .to_response();
        }
        ApiError::bad_request("One or more data points had errors")
            .details("Please see the TSD logs or append \"details\" to the put request")
            .to_response()
    }
}
