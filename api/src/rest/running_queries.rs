//! `GET /api/tidemark/v1/queries` and `POST /api/tidemark/v1/queries/{id}/cancel`: the queries of this process.

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{self, Data},
};
use serde_json::json;

use super::guard::guard;
use crate::{console::Console, error::ApiError, queries::ClientIdentity, state::AppState};

/// Those under way and the newest that ended, as `/api/stats/query` has them.
pub(super) async fn list(state: Data<AppState>) -> HttpResponse {
    HttpResponse::Ok().json(state.queries.to_json())
}

/// Ends a query. Its client is told who did it; an answer that has begun breaks off.
pub(super) async fn cancel(
    request: HttpRequest,
    state: Data<AppState>,
    console: Data<Console>,
    id: web::Path<u64>,
) -> Result<HttpResponse, ApiError> {
    guard(&request, &console)?;
    let by = ClientIdentity::of(&request).to_string();
    if state.queries.cancel(*id, by) {
        return Ok(HttpResponse::Accepted().json(json!({ "id": *id, "state": "cancelled" })));
    }
    Err(ApiError::new(StatusCode::NOT_FOUND, format!("no query {id} is under way in this process")))
}
