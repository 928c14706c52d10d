//! `POST /api/tidemark/v1/graph`: series on shared timestamps, as few as a picture has pixels for.

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Payload},
};
use serde::Deserialize;
use tidemark_dashboards::GraphQuery;
use tidemark_model::ReadError;

use super::json_body::read_json;
use crate::{
    console::{AskError, Console},
    error::ApiError,
    state::AppState,
};

/// Largest request in bytes.
const BODY_BYTES_MAX: usize = 256 * 1024;

/// What to draw.
#[derive(Debug, Deserialize)]
struct Wanted {
    from: String,
    #[serde(default)]
    to: String,
    #[serde(default = "default_px")]
    px: u32,
    queries: Vec<GraphQuery>,
}

fn default_px() -> u32 {
    800
}

pub(super) async fn graph(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
    console: Data<Console>,
) -> Result<HttpResponse, ApiError> {
    let wanted: Wanted = read_json(&request, payload, &state, BODY_BYTES_MAX, "not a graph").await?;
    let window = console.asker.window(&wanted.from, &wanted.to).map_err(ask_failed)?;
    let data = console.asker.graph(&wanted.queries, window, wanted.px).await.map_err(ask_failed)?;
    Ok(HttpResponse::Ok().json(data))
}

fn ask_failed(error: AskError) -> ApiError {
    let text = error.to_string();
    match error {
        AskError::Text(_) | AskError::Read(ReadError::UnknownName { .. }) => ApiError::bad_request(text),
        AskError::TooLarge(_) | AskError::TooSlow(_) | AskError::Evaluate(_) => ApiError::too_large(text),
        AskError::Read(ReadError::Corrupt(_)) => ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, text),
        AskError::Read(ReadError::Unavailable(_)) | AskError::Busy(_) | AskError::Ending => ApiError::unavailable(text),
        AskError::Read(_) => ApiError::too_large(text),
    }
}
