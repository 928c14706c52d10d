//! `/logs`: the newest log lines, and how much is logged.

use actix_web::{HttpRequest, HttpResponse, web::Data};

use super::wire;
use crate::{error::ApiError, http::query_string::QueryString, state::AppState};

/// Lines, or with `json` an array of them; with `level` sets what is logged, with `logger` in one place.
pub(crate) async fn get(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, ApiError> {
    let flags = QueryString::parse(request.query_string())?;
    let Some(book) = &state.options.logs else {
        return Err(ApiError::bad_request("this process keeps no log lines"));
    };
    if flags.has("json") {
        return Ok(wire::json(&book.lines()));
    }
    let text = match flags.get("level") {
        Some(level) => {
            let place = flags.get("logger").filter(|place| !place.is_empty());
            book.set_level(level, place).map_err(ApiError::bad_request)?;
            tracing::info!(level, place, "what is logged was changed through /logs");
            format!("Set the log level to {} on {}.\n", level.to_ascii_uppercase(), place.unwrap_or("all loggers"))
        }
        None => book.lines().into_iter().map(|line| line + "\n").collect(),
    };
    Ok(HttpResponse::Ok().content_type("text/plain; charset=UTF-8").body(text))
}
