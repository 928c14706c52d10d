//! `/api/uid/rename`, which is refused.
//!
//! The name of a metric decides in which shard its points are, and all names are part of the texts by which series are
//! found and kept in order, in every process of a store. To rename would be to rewrite all series that have the name.

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Payload},
};
use serde::Deserialize;
use serde_json::json;
use tidemark_model::NameKind;

use super::kind::{KINDS, uid_text};
use crate::{
    error::{ApiError, JSON, kind_word},
    http::query_string::QueryString,
    opentsdb::wire,
    state::AppState,
};

#[derive(Deserialize)]
struct RenameBody {
    #[serde(default, deserialize_with = "wire::text")]
    metric: Option<String>,
    #[serde(default, deserialize_with = "wire::text")]
    tagk: Option<String>,
    #[serde(default, deserialize_with = "wire::text")]
    tagv: Option<String>,
    #[serde(default, deserialize_with = "wire::text")]
    name: Option<String>,
}

pub(crate) async fn get(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, ApiError> {
    let query = QueryString::parse(request.query_string())?;
    let text = |name: &str| query.get(name).map(str::to_owned);
    let body = RenameBody { metric: text("metric"), tagk: text("tagk"), tagv: text("tagv"), name: text("name") };
    rename(&state, body).await
}

pub(crate) async fn post(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    rename(&state, wire::read_json(&request, payload, &state).await?).await
}

async fn rename(state: &AppState, body: RenameBody) -> Result<HttpResponse, ApiError> {
    let sought = KINDS.into_iter().zip([body.metric, body.tagk, body.tagv]);
    let sought = sought.filter_map(|((_, kind), name)| Some((kind, name.filter(|name| !name.is_empty())?))).next();
    let (Some((kind, old)), Some(new)) = (sought, body.name.filter(|name| !name.is_empty())) else {
        return Err(ApiError::bad_request("Missing necessary values to rename UID"));
    };
    let reason = reason(state, kind, &old, &new).await?;
    let body = json!({ "error": reason, "result": "false" });
    Ok(HttpResponse::build(StatusCode::BAD_REQUEST).content_type(JSON).body(body.to_string()))
}

/// Why this name cannot be renamed to that.
async fn reason(state: &AppState, kind: NameKind, old: &str, new: &str) -> Result<String, ApiError> {
    if let Err(error) = state.options.opentsdb.point_rules.characters.check(new) {
        return Ok(error.to_string());
    }
    let Some(id) = state.seams.names.id(kind, old).await? else {
        return Ok(format!("No such name for '{}': '{old}'", kind_word(kind)));
    };
    if let Some(taken) = state.seams.names.id(kind, new).await? {
        let (word, id, taken) = (kind_word(kind), uid_text(id), uid_text(taken));
        return Ok(format!("When trying rename {word} {id} to '{new}': already in use by {taken}"));
    }
    Ok("names cannot be changed here, since they decide where points are kept: export the series, \
        change the name in the lines, and import them"
        .to_owned())
}
