//! `/api/query/last`: the newest point of each series.
//!
//! OpenTSDB needs the whole set of tags, or tables that few installations fill; here any part of the tags will do.

use std::collections::BTreeMap;

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Payload},
};
use serde::{Deserialize, Serialize};
use tidemark_model::{LastPoint, SeriesSelector, TimestampMs, Tsuid};
use tidemark_query::parse_selector;

use super::wire::{self, Flag, Text};
use crate::{error::ApiError, http::query_string::QueryString, state::AppState};

const HOUR_MS: i64 = 3_600_000;

#[derive(Deserialize)]
#[serde(expecting = "an object")]
#[serde(rename_all = "camelCase")]
struct LastBody {
    queries: Option<Vec<LastSubQuery>>,
    #[serde(default)]
    resolve_names: Flag,
    back_scan: Option<Text>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct LastSubQuery {
    #[serde(default, deserialize_with = "wire::text")]
    metric: Option<String>,
    tags: Option<BTreeMap<String, Text>>,
    #[serde(default, deserialize_with = "wire::texts")]
    tsuids: Option<Vec<String>>,
}

#[derive(Serialize)]
struct LastAnswer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    metric: Option<&'a str>,
    timestamp: TimestampMs,
    value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<TagMap<'a>>,
    tsuid: String,
}

struct TagMap<'a>(tidemark_model::Tags<'a>);

impl Serialize for TagMap<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        super::lookup::tag_map(&self.0, serializer)
    }
}

pub(crate) async fn get(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, ApiError> {
    let query = QueryString::parse(request.query_string())?;
    let mut selectors = Vec::new();
    for text in query.all("timeseries") {
        selectors.push(parse_selector(text).map_err(|error| ApiError::bad_request(error.to_string()))?);
    }
    for text in query.all("tsuids") {
        selectors.push(by_tsuids(text.split(','))?);
    }
    let back_scan = query.number("back_scan")?;
    answer(&state, selectors, back_scan, query.has("resolve")).await
}

pub(crate) async fn post(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    let body: LastBody = wire::read_json(&request, payload, &state).await?;
    let back_scan = match body.back_scan {
        None => None,
        Some(Text(text)) => {
            Some(text.parse().map_err(|_| ApiError::bad_request(format!("Invalid 'backScan': {text}")))?)
        }
    };
    let selectors = body.queries.unwrap_or_default().into_iter().map(selector).collect::<Result<_, _>>()?;
    answer(&state, selectors, back_scan, body.resolve_names.0).await
}

fn selector(query: LastSubQuery) -> Result<SeriesSelector, ApiError> {
    if let Some(tsuids) = query.tsuids.filter(|tsuids| !tsuids.is_empty()) {
        return by_tsuids(tsuids.iter().map(String::as_str));
    }
    let metric = query.metric.filter(|metric| !metric.is_empty());
    let metric = metric.ok_or_else(|| ApiError::bad_request("Missing metric or tsuids"))?;
    super::lookup::selector(&metric, query.tags.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)))
}

fn by_tsuids<'a>(texts: impl Iterator<Item = &'a str>) -> Result<SeriesSelector, ApiError> {
    let tsuids: Result<Vec<Tsuid>, _> = texts.map(|text| text.trim().parse()).collect();
    tsuids.map(SeriesSelector::Tsuids).map_err(|error| ApiError::bad_request(error.to_string()))
}

async fn answer(
    state: &AppState,
    selectors: Vec<SeriesSelector>,
    back_scan_hours: Option<u64>,
    resolve: bool,
) -> Result<HttpResponse, ApiError> {
    if selectors.is_empty() {
        return Err(ApiError::bad_request("Missing sub queries"));
    }
    if selectors.len() > state.options.limits.query_parts {
        return Err(ApiError::bad_request(format!(
            "{} sub-queries, at most {} are allowed; see `limits.query_parts`",
            selectors.len(),
            state.options.limits.query_parts
        )));
    }
    let hours = i64::try_from(back_scan_hours.unwrap_or(0)).unwrap_or(i64::MAX);
    let not_before =
        if hours == 0 { i64::MIN } else { state.seams.clock.now_ms().saturating_sub(hours.saturating_mul(HOUR_MS)) };
    let mut points: Vec<LastPoint> = Vec::new();
    for selector in &selectors {
        points.extend(state.seams.catalog.last(selector, not_before).await?);
        if points.len() > state.options.limits.results {
            return Err(ApiError::too_large(format!(
                "more than {} series; narrow the tags, or see `limits.results`",
                state.options.limits.results
            )));
        }
    }
    let shown: Vec<_> = points
        .iter()
        .map(|last| LastAnswer {
            metric: resolve.then(|| last.series.key.metric()),
            timestamp: last.point.timestamp,
            value: last.point.value.to_string(),
            tags: resolve.then(|| TagMap(last.series.key.tags())),
            tsuid: last.series.tsuid.to_string(),
        })
        .collect();
    Ok(wire::json(&shown))
}
