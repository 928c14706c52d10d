//! Requests that change something, when they come from a browser.

use actix_web::{
    HttpRequest,
    http::{StatusCode, header},
};

use crate::{console::Console, error::ApiError, http::same_origin::is_same_origin};

/// Header that pages send their token in.
const CSRF_HEADER: &str = "x-tidemark-csrf";

/// Lets programs through, and pages of ours that send their token. Browsers name the page in `Origin` with every such
/// request; programs have none.
///
/// # Errors
/// 403 when another site's page sent the request, or the token is missing or old.
pub(super) fn guard(request: &HttpRequest, console: &Console) -> Result<(), ApiError> {
    let refused = |message: &str| ApiError::new(StatusCode::FORBIDDEN, message);
    if !is_same_origin(request.headers()) {
        return Err(refused("a page of another site may not do this"));
    }
    if !request.headers().contains_key(header::ORIGIN) {
        return Ok(());
    }
    let token = request.headers().get(CSRF_HEADER).and_then(|value| value.to_str().ok());
    if token == Some(console.csrf_token.as_str()) {
        return Ok(());
    }
    Err(refused("the page's token is missing or old; reload the page"))
}
