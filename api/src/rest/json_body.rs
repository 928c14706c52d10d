//! Bodies of requests that are JSON.

use actix_web::{HttpRequest, web::Payload};
use serde::de::DeserializeOwned;

use crate::{error::ApiError, http::body::read_body_up_to, state::AppState};

/// Reads a body of at most `bytes_max` bytes. Its bytes count as held only until they are read.
///
/// # Errors
/// Those of [`read_body_up_to`] and [`parse_json`].
pub(super) async fn read_json<T: DeserializeOwned>(
    request: &HttpRequest,
    payload: Payload,
    state: &AppState,
    bytes_max: usize,
    refusal: &str,
) -> Result<T, ApiError> {
    let body = read_body_up_to(request, payload, state, bytes_max).await?;
    parse_json(body.text()?, refusal)
}

/// Reads a text.
///
/// # Errors
/// 400 with `refusal`, such as "not a job", and what exactly is wrong as its details.
pub(super) fn parse_json<T: DeserializeOwned>(text: &str, refusal: &str) -> Result<T, ApiError> {
    serde_json::from_str(text).map_err(|error| ApiError::bad_request(refusal).details(error.to_string()))
}
