//! `/api/dropcaches`.

use actix_web::HttpResponse;

use crate::error::JSON;

/// There is no cache of names to drop; clients that ask get the answer that they expect.
pub(crate) async fn api() -> HttpResponse {
    HttpResponse::Ok().content_type(JSON).body(r#"{"status":"200","message":"Caches dropped"}"#)
}

pub(crate) async fn legacy() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=UTF-8").body("Caches dropped.\n")
}
