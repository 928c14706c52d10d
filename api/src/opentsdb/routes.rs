//! Which path is answered by whom.

use actix_web::{
    HttpRequest, HttpResponse, Resource,
    http::Method,
    web::{self, Data, Payload, ServiceConfig},
};

use tidemark_model::SeriesInfo;

use super::{
    absent, aggregators, annotation, configuration, drop_caches, expression_handler, function_handler, graph_page,
    last, logs, lookup, metadata,
    operation_mode::{reading, writing},
    process, query_handler, query_statistics, statistics, suggest, uid, version,
};
use crate::{error::ApiError, http::body::skip_short_body, put, state::AppState};

/// Adds OpenTSDB's routes. Paths are in their normal form when they get here. What neither reads nor writes is there in
/// every mode.
pub(crate) fn configure(config: &mut ServiceConfig) {
    config
        .service(writing(endpoint("/api/put")).route(web::post().to(put::put)))
        .service(writing(endpoint("/api/histogram")).route(web::post().to(put::histogram)))
        .service(writing(endpoint("/api/rollup")).route(web::post().to(put::rollup)))
        .service(
            reading(endpoint("/api/query"))
                .route(web::get().to(query_handler::get))
                .route(web::post().to(query_handler::post))
                .route(web::delete().to(query_handler::delete)),
        )
        .service(reading(endpoint("/api/query/exp")).route(web::post().to(expression_handler::post)))
        .service(reading(endpoint("/api/query/gexp")).route(web::get().to(function_handler::get)))
        .service(reading(endpoint("/api/query/last")).route(web::get().to(last::get)).route(web::post().to(last::post)))
        .service(
            reading(endpoint("/api/suggest")).route(web::get().to(suggest::get)).route(web::post().to(suggest::post)),
        )
        .service(
            reading(endpoint("/api/search/lookup"))
                .route(web::get().to(lookup::get))
                .route(web::post().to(lookup::post)),
        )
        .service(
            endpoint("/api/aggregators").route(web::get().to(aggregators::all)).route(web::post().to(aggregators::all)),
        )
        .service(
            endpoint("/api/config")
                .route(web::get().to(configuration::settings))
                .route(web::post().to(configuration::settings)),
        )
        .service(
            endpoint("/api/config/filters")
                .route(web::get().to(configuration::filters))
                .route(web::post().to(configuration::filters)),
        )
        .service(
            endpoint("/api/serializers")
                .route(web::get().to(configuration::serializers))
                .route(web::post().to(configuration::serializers)),
        )
        .service(endpoint("/api/version").route(web::get().to(version::api)).route(web::post().to(version::api)))
        .service(endpoint("/api/stats").route(web::get().to(statistics::api)).route(web::post().to(statistics::api)))
        .service(endpoint("/api/stats/jvm").route(web::get().to(process::jvm)).route(web::post().to(process::jvm)))
        .service(
            endpoint("/api/stats/threads")
                .route(web::get().to(process::threads))
                .route(web::post().to(process::threads)),
        )
        .service(
            endpoint("/api/stats/region_clients")
                .route(web::get().to(process::region_clients))
                .route(web::post().to(process::region_clients)),
        )
        .service(endpoint("/api/status").route(web::get().to(process::status)))
        .service(
            reading(endpoint("/api/search"))
                .route(web::get().to(absent::search_of_nothing))
                .route(web::post().to(absent::search_of_nothing)),
        )
        .service(
            reading(endpoint("/api/search/{kind}"))
                .route(web::get().to(absent::search))
                .route(web::post().to(absent::search)),
        )
        .service(
            writing(endpoint("/api/uid/assign"))
                .route(web::get().to(uid::assign_get))
                .route(web::post().to(uid::assign_post)),
        )
        .service(
            writing(endpoint("/api/uid/rename"))
                .route(web::get().to(uid::rename_get))
                .route(web::post().to(uid::rename_post)),
        )
        .service(
            writing(endpoint("/api/uid/uidmeta"))
                .route(web::get().to(uid::name_get))
                .route(web::post().to(uid::post::<uid::KnownName>))
                .route(web::put().to(uid::put::<uid::KnownName>))
                .route(web::delete().to(uid::delete::<uid::KnownName>)),
        )
        .service(
            writing(endpoint("/api/uid/tsmeta"))
                .route(web::get().to(uid::series_get))
                .route(web::post().to(uid::post::<SeriesInfo>))
                .route(web::put().to(uid::put::<SeriesInfo>))
                .route(web::delete().to(uid::delete::<SeriesInfo>)),
        )
        .service(writing(web::resource("/api/uid")).route(web::to(absent::uid)))
        .service(writing(web::resource("/api/uid/{rest:.*}")).route(web::to(absent::uid)))
        .service(
            writing(web::resource("/api/tree"))
                .route(web::get().to(absent::trees))
                .default_service(web::to(absent::tree)),
        )
        .service(writing(web::resource("/api/tree/{rest:.*}")).route(web::to(absent::tree)))
        .service(
            endpoint("/api/stats/query")
                .route(web::get().to(query_statistics::api))
                .route(web::post().to(query_statistics::api)),
        )
        .service(
            endpoint("/api/dropcaches").route(web::get().to(drop_caches::api)).route(web::post().to(drop_caches::api)),
        )
        .service(
            writing(endpoint("/api/annotation"))
                .route(web::get().to(annotation::get))
                .route(web::post().to(annotation::post))
                .route(web::put().to(annotation::put))
                .route(web::delete().to(annotation::delete)),
        )
        .service(
            writing(endpoint("/api/annotation/bulk"))
                .route(web::post().to(annotation::bulk_post))
                .route(web::put().to(annotation::bulk_put))
                .route(web::delete().to(annotation::bulk_delete)),
        )
        .service(
            writing(endpoint("/api/annotations"))
                .route(web::get().to(annotation::everything))
                .route(web::post().to(annotation::bulk_post))
                .route(web::put().to(annotation::bulk_put))
                .route(web::delete().to(annotation::bulk_delete)),
        )
        .service(writing(endpoint("/api/metadata/put")).route(web::post().to(metadata::put)))
        .service(reading(endpoint("/api/metadata/get")).route(web::get().to(metadata::get)))
        .service(reading(endpoint("/api/metadata/metrics")).route(web::get().to(metadata::metrics)))
        .service(writing(endpoint("/api/metadata/delete")).route(web::delete().to(metadata::delete)))
        .service(endpoint("/aggregators").route(web::get().to(aggregators::all)))
        .service(reading(endpoint("/q")).route(web::get().to(graph_page::get)))
        .service(endpoint("/logs").route(web::get().to(logs::get)).route(web::post().to(logs::get)))
        .service(reading(endpoint("/suggest")).route(web::get().to(suggest::get)))
        .service(endpoint("/version").route(web::get().to(version::legacy)))
        .service(endpoint("/stats").route(web::get().to(statistics::legacy)))
        .service(endpoint("/dropcaches").route(web::get().to(drop_caches::legacy)));
}

/// An endpoint that refuses methods it has no route for.
fn endpoint(path: &str) -> Resource {
    web::resource(path).default_service(web::to(method_not_allowed))
}

async fn method_not_allowed(request: HttpRequest, payload: Payload, state: Data<AppState>) -> HttpResponse {
    skip_short_body(&request, payload, &state.options.limits).await;
    let known = [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS];
    if known.contains(request.method()) {
        ApiError::method_not_allowed(request.method().as_str()).to_response()
    } else {
        HttpResponse::MethodNotAllowed().finish()
    }
}
