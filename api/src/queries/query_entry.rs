//! One query from its arrival to its end.

use std::{sync::Arc, time::Duration};

use actix_web::http::StatusCode;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{ClientIdentity, QueryFigures, QueryRegistry};
use crate::error::ApiError;

/// Longest description of a query that is kept, in bytes of JSON.
const DESCRIPTION_BYTES_MAX: usize = 64 << 10;

/// What somebody asks.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) client: ClientIdentity,
    /// The path.
    pub(crate) endpoint: &'static str,
    /// The query as JSON; a text about its length when that is longer than is kept.
    pub(crate) query: Value,
}

impl Asked {
    pub(crate) fn new(client: ClientIdentity, endpoint: &'static str, query: Value) -> Self {
        let bytes = query.to_string().len();
        let query = if bytes > DESCRIPTION_BYTES_MAX {
            format!("{bytes} bytes, more than the {DESCRIPTION_BYTES_MAX} that are kept").into()
        } else {
            query
        };
        Self { client, endpoint, query }
    }
}

/// What a query is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Others are evaluated.
    Waits,
    /// Series are selected and blocks are fetched.
    Opens,
    /// It is evaluated and answered.
    Evaluates,
}

impl Phase {
    fn as_str(self) -> &'static str {
        match self {
            Self::Waits => "waits",
            Self::Opens => "opens",
            Self::Evaluates => "evaluates",
        }
    }
}

/// A query that is under way.
#[derive(Debug)]
pub(super) struct RunningQuery {
    pub(super) id: u64,
    pub(super) asked: Asked,
    pub(super) started_ms: i64,
    /// On the clock that only goes forward.
    pub(super) began: Duration,
    /// Queries that were under way when it came, itself among them.
    pub(super) running: usize,
    pub(super) cancelled: CancellationToken,
    pub(super) progress: Mutex<Progress>,
}

#[derive(Debug)]
pub(super) struct Progress {
    pub(super) phase: Phase,
    pub(super) figures: QueryFigures,
    /// The status of the answer, and why it is an error. None when the client left before there was one.
    pub(super) outcome: Option<(StatusCode, Option<String>)>,
    pub(super) cancelled_by: Option<String>,
}

impl RunningQuery {
    /// With the names of OpenTSDB, and ours.
    pub(super) fn to_json(&self, now: Duration) -> Value {
        let progress = self.progress.lock();
        let elapsed = now.saturating_sub(self.began);
        let figures = QueryFigures { total: elapsed, ..progress.figures };
        json!({
            "id": self.id,
            "endpoint": self.asked.endpoint,
            "query": self.asked.query,
            "remote": self.asked.client.address.map(|address| address.to_string()),
            "user": self.asked.client.token,
            "headers": { "User-Agent": self.asked.client.program },
            "queryStart": self.started_ms,
            "elapsed": elapsed.as_secs_f64() * 1000.0,
            "phase": progress.phase.as_str(),
            "isCancelled": self.cancelled.is_cancelled(),
            "stats": figures.to_json(),
        })
    }
}

/// A query as long as it is under way: dropping it ends it in the eyes of the registry.
#[derive(Debug)]
pub(crate) struct QueryEntry {
    registry: Arc<QueryRegistry>,
    query: Arc<RunningQuery>,
}

impl QueryEntry {
    pub(super) fn new(registry: Arc<QueryRegistry>, query: Arc<RunningQuery>) -> Self {
        Self { registry, query }
    }

    /// Fires when somebody ends it.
    pub(crate) fn cancelled(&self) -> &CancellationToken {
        &self.query.cancelled
    }

    /// Time since it came.
    pub(crate) fn elapsed(&self) -> Duration {
        self.registry.now().saturating_sub(self.query.began)
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.query.progress.lock().phase = phase;
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut QueryFigures)) {
        change(&mut self.query.progress.lock().figures);
    }

    /// What it cost until now.
    pub(crate) fn figures(&self) -> QueryFigures {
        QueryFigures { total: self.elapsed(), ..self.query.progress.lock().figures }
    }

    /// Notes how it was answered.
    pub(crate) fn answered(&self) {
        self.query.progress.lock().outcome = Some((StatusCode::OK, None));
    }

    /// Notes why it failed, and gives it back.
    pub(crate) fn failed(&self, error: ApiError) -> ApiError {
        self.query.progress.lock().outcome = Some((error.status(), Some(error.to_string())));
        error
    }

    /// What its client is told when somebody ended it: nothing that invites to try again.
    pub(crate) fn cancellation(&self) -> ApiError {
        let by = self.query.progress.lock().cancelled_by.clone();
        let by = by.map_or_else(String::new, |by| format!(" by {by}"));
        ApiError::new(StatusCode::CONFLICT, format!("query {} was cancelled{by}", self.query.id))
            .details(format!("it had run for {:.1} s", self.elapsed().as_secs_f64()))
    }
}

impl Drop for QueryEntry {
    fn drop(&mut self) {
        self.registry.leave(&self.query);
    }
}
