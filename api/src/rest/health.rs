//! `/-/healthy` and `/-/ready`, for balancers and supervisors.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web::Data};
use serde_json::json;
use tidemark_model::BoxFuture;

use crate::{auth::Visitor, state::AppState};

/// Says what keeps this process from taking writes and answering queries; nothing when it is ready.
pub trait Readiness: Send + Sync {
    /// Sentences, one for each trouble: what makes it unready, and what only degrades it.
    fn troubles(&self) -> BoxFuture<'_, Troubles>;
}

/// What is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Troubles {
    /// What makes the process unready.
    pub fatal: Vec<String>,
    /// What it can work with but should not.
    pub degrading: Vec<String>,
}

pub(super) async fn healthy() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("healthy\n")
}

/// Whether the process is ready; why not is told only to those who may read, since it names other systems.
pub(super) async fn ready(
    request: HttpRequest,
    state: Data<AppState>,
    readiness: Data<Arc<dyn Readiness>>,
) -> HttpResponse {
    let troubles = readiness.troubles().await;
    let (status, word) = match (troubles.fatal.is_empty(), troubles.degrading.is_empty()) {
        (true, true) => (StatusCode::OK, "ready"),
        (true, false) => (StatusCode::OK, "degraded"),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "unready"),
    };
    if !state.options.tokens.is_empty() && Visitor::of(&request).is_none() {
        return HttpResponse::build(status).json(json!({"status": word}));
    }
    let reasons = [troubles.fatal, troubles.degrading].concat();
    HttpResponse::build(status).json(json!({"status": word, "reasons": reasons}))
}
