//! `GET /api/tidemark/v1/cardinality`: what there are the most series of.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde_json::{Value, json};
use tidemark_model::Cardinality;

use crate::{error::ApiError, http::query_string::QueryString, state::AppState};

/// Names of each kind unless told otherwise.
const TOP_DEFAULT: u64 = 20;
/// Most names of each kind.
const TOP_MAX: u64 = 10_000;

pub(super) async fn cardinality(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, ApiError> {
    let query = QueryString::parse(request.query_string())?;
    let top = query.number("top")?.unwrap_or(TOP_DEFAULT);
    if top > TOP_MAX {
        return Err(ApiError::bad_request(format!("`top` is {top}, at most {TOP_MAX} names are listed")));
    }
    let report = state.seams.catalog.cardinality(usize::try_from(top).unwrap_or(usize::MAX)).await?;
    Ok(HttpResponse::Ok().json(report_json(&report)))
}

fn report_json(report: &Cardinality) -> Value {
    let metrics = report.metrics.iter().map(|of| {
        json!({
            "metric": of.metric,
            "series": of.series,
            "new_series": of.new_series,
            "fastest_tag_key": of.fastest_tag_key,
        })
    });
    let tag_keys = report.tag_keys.iter().map(
        |of| json!({ "tag_key": of.tag_key, "values": of.values, "series": of.series, "new_values": of.new_values }),
    );
    let tags =
        report.tags.iter().map(|of| json!({ "tag_key": of.tag_key, "tag_value": of.tag_value, "series": of.series }));
    let [metric_names, tag_key_names, tag_value_names] = report.names;
    json!({
        "series": report.series,
        "hidden_series": report.hidden_series,
        "new_series": report.new_series,
        "new_in_minutes": report.minutes,
        "names": { "metrics": metric_names, "tag_keys": tag_key_names, "tag_values": tag_value_names },
        "metrics": metrics.collect::<Vec<_>>(),
        "tag_keys": tag_keys.collect::<Vec<_>>(),
        "tags": tags.collect::<Vec<_>>(),
    })
}
