//! `/api/suggest`: names that begin with a text.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Payload},
};
use serde::Deserialize;
use tidemark_model::NameKind;

use super::wire::{self, Text};
use crate::{error::ApiError, http::query_string::QueryString, state::AppState};

/// Names that are listed unless told otherwise.
const MAX_DEFAULT: u64 = 25;

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct SuggestBody {
    #[serde(rename = "type")]
    kind: Option<Text>,
    q: Option<Text>,
    max: Option<Text>,
}

pub(crate) async fn get(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, ApiError> {
    let query = QueryString::parse(request.query_string())?;
    let kind = kind_of(query.required("type")?)?;
    suggest(&state, kind, query.get("q").unwrap_or_default(), query.get("max").unwrap_or_default()).await
}

pub(crate) async fn post(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    let body: SuggestBody = wire::read_json(&request, payload, &state).await?;
    let kind = body.kind.filter(|kind| !kind.0.is_empty());
    let kind = kind_of(&kind.ok_or_else(|| ApiError::bad_request("Missing 'type' parameter"))?.0)?;
    let text = |text: Option<Text>| text.map(|text| text.0).unwrap_or_default();
    suggest(&state, kind, &text(body.q), &text(body.max)).await
}

fn kind_of(text: &str) -> Result<NameKind, ApiError> {
    match text {
        "metrics" => Ok(NameKind::Metric),
        "tagk" => Ok(NameKind::TagKey),
        "tagv" => Ok(NameKind::TagValue),
        other => {
            let shown: String = other.chars().take(64).collect();
            Err(ApiError::bad_request(format!("Invalid 'type' parameter:{shown}")))
        }
    }
}

/// `max` is the default when it is empty, zero or below.
async fn suggest(state: &AppState, kind: NameKind, prefix: &str, max: &str) -> Result<HttpResponse, ApiError> {
    let max = match max {
        "" => 0,
        text => text.parse::<i64>().map_err(|_| ApiError::bad_request("Unable to parse 'max' as a number"))?,
    };
    let max = u64::try_from(max).ok().filter(|&max| max > 0).unwrap_or(MAX_DEFAULT);
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    let names = state.seams.catalog.suggest(kind, prefix, max.min(state.options.limits.results)).await?;
    Ok(wire::json(&names))
}
