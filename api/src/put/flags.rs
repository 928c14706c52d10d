//! What a put request wants to hear.

use std::time::Duration;

use crate::{error::ApiError, http::query_string::QueryString};

/// The flags of `/api/put`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PutFlags {
    /// Answer with the numbers of good and bad points.
    pub(crate) summary: bool,
    /// Answer with the bad points, each with what is wrong.
    pub(crate) details: bool,
    /// Answer only when the store committed.
    pub(crate) sync: bool,
    /// Wait no longer than this.
    pub(crate) timeout: Option<Duration>,
    /// Whether `sync_timeout` was given, which adds a number to the answer.
    pub(crate) reports_timeouts: bool,
}

impl PutFlags {
    pub(crate) fn from_query(query: &QueryString) -> Result<Self, ApiError> {
        let timeout = query.number("sync_timeout")?.map(Duration::from_millis);
        Ok(Self {
            summary: query.has("summary"),
            details: query.has("details"),
            sync: query.has("sync"),
            timeout: timeout.filter(|timeout| !timeout.is_zero()),
            reports_timeouts: timeout.is_some(),
        })
    }

    /// Whether the answer has a body when all is well.
    pub(crate) fn reports(self) -> bool {
        self.summary || self.details
    }
}
