//! `/api/uid/assign`: ids for names that have none yet. A name needs none before its first point, which gives it one.

use std::collections::BTreeMap;

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Payload},
};
use serde::Deserialize;
use serde_json::{Map, Value};
use tidemark_model::NameKind;

use super::kind::{KINDS, uid_text};
use crate::{
    error::{ApiError, JSON},
    http::query_string::QueryString,
    opentsdb::wire,
    state::AppState,
};

/// Names of one request.
const NAMES_MAX: usize = 1_000;

#[derive(Deserialize)]
struct AssignBody {
    #[serde(default, deserialize_with = "wire::texts")]
    metric: Option<Vec<String>>,
    #[serde(default, deserialize_with = "wire::texts")]
    tagk: Option<Vec<String>>,
    #[serde(default, deserialize_with = "wire::texts")]
    tagv: Option<Vec<String>>,
}

pub(crate) async fn get(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, ApiError> {
    let query = QueryString::parse(request.query_string())?;
    let names = KINDS.map(|(word, _)| {
        let list = query.get(word).filter(|list| !list.is_empty());
        list.map(|list| list.split(',').map(str::to_owned).collect())
    });
    assign(&state, names).await
}

pub(crate) async fn post(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    let AssignBody { metric, tagk, tagv } = wire::read_json(&request, payload, &state).await?;
    assign(&state, [metric, tagk, tagv]).await
}

/// Each name by itself: those that are refused do not keep the others from their ids.
async fn assign(state: &AppState, names: [Option<Vec<String>>; 3]) -> Result<HttpResponse, ApiError> {
    let count: usize = names.iter().flatten().map(Vec::len).sum();
    if names.iter().all(Option::is_none) {
        return Err(ApiError::bad_request("Missing values to assign UIDs"));
    }
    if count > NAMES_MAX {
        return Err(ApiError::too_large(format!("{count} names in one request, at most {NAMES_MAX} are allowed")));
    }
    let mut answer = Map::new();
    let mut status = StatusCode::OK;
    for ((word, kind), names) in KINDS.into_iter().zip(names) {
        let Some(names) = names else { continue };
        let (mut given, mut refused) = (BTreeMap::new(), BTreeMap::new());
        for name in names {
            match assign_one(state, kind, &name).await? {
                Ok(id) => given.insert(name, uid_text(id)),
                Err(reason) => refused.insert(name, reason),
            };
        }
        answer.insert(word.to_owned(), object(given));
        if !refused.is_empty() {
            status = StatusCode::BAD_REQUEST;
            answer.insert(format!("{word}_errors"), object(refused));
        }
    }
    Ok(HttpResponse::build(status).content_type(JSON).body(Value::Object(answer).to_string()))
}

fn object(map: BTreeMap<String, String>) -> Value {
    map.into_iter().map(|(name, text)| (name, Value::from(text))).collect::<Map<_, _>>().into()
}

/// The new id, or why there is none.
async fn assign_one(state: &AppState, kind: NameKind, name: &str) -> Result<Result<u32, String>, ApiError> {
    if let Err(error) = state.options.opentsdb.point_rules.characters.check(name) {
        return Ok(Err(error.to_string()));
    }
    if let Some(id) = state.seams.names.id(kind, name).await? {
        return Ok(Err(format!("Name already exists with UID: {}", uid_text(id))));
    }
    match state.seams.names.assign(kind, name).await {
        Ok(id) => Ok(Ok(id)),
        Err(refusal) if refusal.reason == tidemark_model::RefusalReason::Limit => Ok(Err(refusal.message)),
        Err(refusal) => Err(ApiError::from(&refusal)),
    }
}
