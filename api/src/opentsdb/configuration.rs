//! `/api/config`, `/api/config/filters` and `/api/serializers`.

use actix_web::{HttpResponse, web::Data};
use serde_json::{Map, Value, json};
use tidemark_query::FilterKind;

use super::wire;
use crate::state::AppState;

/// The settings that OpenTSDB has a name for, as texts. Those that cannot be set here say what always holds.
pub(crate) async fn settings(state: Data<AppState>) -> HttpResponse {
    let (workers, options, limits) = (state.options.workers, &state.options.opentsdb, &state.options.limits);
    wire::json(&json!({
        "tsd.core.auto_create_metrics": options.auto_create.metrics.to_string(),
        "tsd.core.auto_create_tagks": options.auto_create.tagks.to_string(),
        "tsd.core.auto_create_tagvs": options.auto_create.tagvs.to_string(),
        "tsd.core.connections.limit": limits.connections.to_string(),
        // What there is of either is decided by `tsd.mode` and by the tokens.
        "tsd.core.enable_api": "true",
        "tsd.core.enable_ui": "true",
        "tsd.core.tag.allow_specialchars": options.point_rules.characters.special(),
        "tsd.core.timezone": options.timezone,
        "tsd.http.header_tag": options.header_tag,
        "tsd.http.query.allow_delete": options.allow_delete.to_string(),
        "tsd.http.request.cors_domains": options.cors_domains.join(","),
        "tsd.http.request.cors_headers": options.cors_headers,
        "tsd.http.request.enable_chunked": "true",
        "tsd.http.request.max_chunk": limits.body_bytes.to_string(),
        "tsd.http.show_stack_trace": "false",
        "tsd.mode": options.mode.to_string(),
        "tsd.network.worker_threads": workers.to_string(),
        "tsd.query.limits.bytes.default": limits.query_reads.bytes_max.to_string(),
        "tsd.query.limits.data_points.default": limits.query_reads.points_max.to_string(),
        "tsd.query.skip_unresolved_tagvs": options.extras.skip_unresolved.to_string(),
        "tsd.query.timeout": limits.query_time.as_millis().to_string(),
        "tsd.rollups.enable": (options.rollups.iter().next().is_some()).to_string(),
        "tsd.rpc.telnet.return_errors": options.telnet_errors.to_string(),
        "tsd.storage.fix_duplicates": "true",
        "tsd.storage.max_tags": options.point_rules.tags_max.to_string(),
    }))
}

pub(crate) async fn filters() -> HttpResponse {
    let kinds: Map<String, Value> = FilterKind::ALL
        .into_iter()
        .map(|kind| (kind.name().to_owned(), json!({ "examples": kind.examples(), "description": kind.description() })))
        .collect();
    wire::json(&kinds)
}

/// OpenTSDB documents this endpoint and does not have it; clients that follow the documentation get an answer here.
pub(crate) async fn serializers() -> HttpResponse {
    wire::json(&json!([{
        "serializer": "json",
        "class": "tidemark",
        "response_content_type": "application/json; charset=UTF-8",
        "request_content_type": "application/json",
        "formatters": ["Aggregators", "Config", "Error", "NotFound", "Put", "Query", "SearchResults", "Suggest", "Version"],
        "parsers": ["LastPointQuery", "Put", "Query", "Search", "Suggest"],
    }]))
}
