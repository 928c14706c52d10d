//! Endpoints of parts of OpenTSDB that are not here, with the answers of an OpenTSDB that has them switched off.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
use serde_json::json;

use super::wire;
use crate::{error::ApiError, http::query_string::QueryString};

/// `/api/search/…` but `lookup`: no search plugin.
pub(crate) async fn search(kind: web::Path<String>) -> HttpResponse {
    match kind.as_str() {
        "tsmeta" | "tsmeta_summary" | "tsuids" | "uidmeta" | "annotation" => {
            ApiError::bad_request("Searching is not enabled")
                .details("Searching has not been enabled on this TSD")
                .to_response()
        }
        other => unknown_search(&format!("Unknown type: {}", other.chars().take(64).collect::<String>())),
    }
}

/// `/api/search` itself.
pub(crate) async fn search_of_nothing() -> HttpResponse {
    unknown_search("Type provided was null or empty")
}

fn unknown_search(details: &str) -> HttpResponse {
    ApiError::bad_request("Invalid search query type supplied").details(details).to_response()
}

/// `/api/uid` without a part that exists.
pub(crate) async fn uid() -> HttpResponse {
    ApiError::new(StatusCode::NOT_IMPLEMENTED, "Other UID endpoints have not been implemented yet").to_response()
}

/// `GET /api/tree`: no trees, and so none of an id.
pub(crate) async fn trees(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    match QueryString::parse(request.query_string())?.has("treeid") {
        true => Ok(tree().await),
        false => Ok(wire::json(&json!([]))),
    }
}

/// Everything else about trees.
pub(crate) async fn tree() -> HttpResponse {
    ApiError::new(StatusCode::NOT_FOUND, "Unable to locate the tree")
        .details("series are not sorted into trees here; look them up by `/api/search/lookup`")
        .to_response()
}
