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
    suggest(&state, kind, query.get("q").unwrap_or_default(), query.number("max")?).await
}

pub(crate) async fn post(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    let body: SuggestBody = wire::read_json(&request, payload, &state).await?;
    let kind = body.kind.filter(|kind| !kind.0.is_empty());
    let kind = kind_of(&kind.ok_or_else(|| ApiError::bad_request("Missing item from JSON: type"))?.0)?;
    let max = match body.max {
        None => None,
        Some(Text(text)) => {
            Some(text.parse().map_err(|_| ApiError::bad_request(format!("Invalid 'max' parameter: {text}")))?)
        }
    };
    suggest(&state, kind, &body.q.map(|text| text.0).unwrap_or_default(), max).await
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

async fn suggest(state: &AppState, kind: NameKind, prefix: &str, max: Option<u64>) -> Result<HttpResponse, ApiError> {
    let max = usize::try_from(max.filter(|&max| max > 0).unwrap_or(MAX_DEFAULT)).unwrap_or(usize::MAX);
    let names = state.seams.catalog.suggest(kind, prefix, max.min(state.options.limits.results)).await?;
    Ok(wire::json(&names))
}
