//! `/api/uid/uidmeta`: what people noted about a metric, a tag key or a tag value.

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Payload},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tidemark_model::NameKind;

use super::{
    kind::{kind_name, parse_kind, parse_uid, uid_text},
    note::{Note, NoteChange},
    notes::{Collection, Write},
};
use crate::{error::ApiError, http::query_string::QueryString, opentsdb::wire, state::AppState};

#[derive(Deserialize)]
struct NameMetaBody {
    #[serde(default, deserialize_with = "wire::text")]
    uid: Option<String>,
    #[serde(default, deserialize_with = "wire::text")]
    r#type: Option<String>,
    #[serde(flatten)]
    change: NoteChange,
}

/// A name that exists.
pub(super) struct KnownName {
    pub(super) kind: NameKind,
    pub(super) id: u32,
    pub(super) name: String,
}

pub(crate) async fn get(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, ApiError> {
    let query = QueryString::parse(request.query_string())?;
    let known = find(&state, query.required("uid")?, query.required("type")?).await?;
    Ok(wire::json(&name_meta(&state, &known).await?))
}

/// Merges.
pub(crate) async fn post(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    write(request, payload, state, Write::Merge).await
}

/// Replaces.
pub(crate) async fn put(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    write(request, payload, state, Write::Replace).await
}

/// Forgets what was noted.
pub(crate) async fn delete(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    let (known, _) = read(&request, payload, &state).await?;
    Collection::Names.forget(&state, &known.key()).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn write(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
    write: Write,
) -> Result<HttpResponse, ApiError> {
    let (known, change) = read(&request, payload, &state).await?;
    match Collection::Names.write(&state, &known.key(), &change, write).await? {
        Some(note) => Ok(wire::json(&known.to_json(&note))),
        None => Ok(HttpResponse::NotModified().finish()),
    }
}

/// From the body, or from the query string when there is none.
async fn read(request: &HttpRequest, payload: Payload, state: &AppState) -> Result<(KnownName, NoteChange), ApiError> {
    let body: NameMetaBody = match wire::read_optional_json(request, payload, state).await? {
        Some(body) => body,
        None => of_query_string(&QueryString::parse(request.query_string())?),
    };
    let missing = |what: &str| ApiError::bad_request(format!("Missing {what}"));
    let uid = body.uid.filter(|uid| !uid.is_empty()).ok_or_else(|| missing("UID"))?;
    let kind = body.r#type.filter(|kind| !kind.is_empty()).ok_or_else(|| missing("UIDMeta type"))?;
    Ok((find(state, &uid, &kind).await?, body.change))
}

fn of_query_string(query: &QueryString) -> NameMetaBody {
    NameMetaBody {
        uid: query.get("uid").map(str::to_owned),
        r#type: query.get("type").map(str::to_owned),
        change: of_flags(query),
    }
}

/// The change that a query string asks for.
pub(super) fn of_flags(query: &QueryString) -> NoteChange {
    let text = |name: &str| query.get(name).map(|text| wire::Text(text.to_owned()));
    NoteChange {
        display_name: text("display_name"),
        description: text("description"),
        notes: text("notes"),
        created: None,
        custom: None,
        units: text("units"),
        data_type: text("data_type"),
        retention: text("retention"),
        max: text("max"),
        min: text("min"),
    }
}

async fn find(state: &AppState, uid: &str, kind: &str) -> Result<KnownName, ApiError> {
    let (kind, id) = (parse_kind(kind)?, parse_uid(uid)?);
    let name = state.seams.names.name(kind, id).await?;
    let name = name.ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, "Could not find the requested UID"))?;
    Ok(KnownName { kind, id, name })
}

/// The object of a name.
pub(super) async fn name_meta(state: &AppState, known: &KnownName) -> Result<Value, ApiError> {
    let note = Collection::Names.read(state, &known.key()).await?;
    Ok(known.to_json(&note))
}

impl KnownName {
    fn key(&self) -> String {
        format!("{}-{}", kind_name(self.kind), uid_text(self.id))
    }

    fn to_json(&self, note: &Note) -> Value {
        json!({
            "uid": uid_text(self.id),
            "type": kind_name(self.kind),
            "name": self.name,
            "description": note.description,
            "notes": note.notes,
            "created": note.created,
            "custom": note.custom,
            "displayName": note.display_name,
        })
    }
}
