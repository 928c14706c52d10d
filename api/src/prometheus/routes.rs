//! Which path is answered by whom.

use actix_web::{
    HttpRequest, HttpResponse, Resource, ResponseError as _,
    http::StatusCode,
    web::{self, Data, Payload, ServiceConfig},
};

use super::{
    PREFIX, error::PrometheusError, formatted, listing, metadata, placing::SHARED_QUERY, query_handler, remote_write,
    status,
};
use crate::{
    error::ApiError,
    http::body::skip_short_body,
    opentsdb::{reading, writing},
    state::AppState,
};

/// Adds Prometheus' routes.
pub(crate) fn configure(config: &mut ServiceConfig) {
    config
        .service(
            endpoint("query")
                .route(web::get().to(query_handler::instant))
                .route(web::post().to(query_handler::instant)),
        )
        .service(
            endpoint("query_range")
                .route(web::get().to(query_handler::range))
                .route(web::post().to(query_handler::range)),
        )
        .service(endpoint("series").route(web::get().to(listing::series)).route(web::post().to(listing::series)))
        .service(
            endpoint("labels").route(web::get().to(listing::label_names)).route(web::post().to(listing::label_names)),
        )
        .service(endpoint("label/{name}/values").route(web::get().to(listing::label_values)))
        .service(endpoint("metadata").route(web::get().to(metadata::get)))
        .service(endpoint("format_query").route(web::get().to(formatted::get)).route(web::post().to(formatted::get)))
        .service(
            endpoint("query_exemplars")
                .route(web::get().to(status::exemplars))
                .route(web::post().to(status::exemplars)),
        )
        .service(endpoint("rules").route(web::get().to(status::rules)))
        .service(endpoint("alerts").route(web::get().to(status::alerts)))
        .service(endpoint("targets").route(web::get().to(status::targets)))
        .service(
            writing(web::resource(format!("{PREFIX}write")))
                .route(web::post().to(remote_write::post))
                .default_service(web::to(method_not_allowed)),
        )
        .service(endpoint("status/buildinfo").route(web::get().to(status::build_info)))
        .service(
            reading(web::resource(SHARED_QUERY))
                .route(web::get().to(query_handler::shared_without_body))
                .route(web::post().to(query_handler::shared)),
        )
        .service(reading(web::resource(["/prometheus", "/prometheus/{rest:.*}"])).default_service(web::to(not_found)));
}

async fn not_found(request: HttpRequest, payload: Payload, state: Data<AppState>) -> HttpResponse {
    skip_short_body(&request, payload, &state.options.limits).await;
    let shown: String = request.path().chars().take(200).collect();
    PrometheusError::not_found(format!("{shown} is not there; README.md says which endpoints are")).error_response()
}

/// An endpoint that refuses methods it has no route for.
fn endpoint(path: &str) -> Resource {
    reading(web::resource(format!("{PREFIX}{path}"))).default_service(web::to(method_not_allowed))
}

async fn method_not_allowed(request: HttpRequest, payload: Payload, state: Data<AppState>) -> HttpResponse {
    skip_short_body(&request, payload, &state.options.limits).await;
    let text = format!("{} has no method {}", request.path(), request.method());
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, text).to_response()
}
