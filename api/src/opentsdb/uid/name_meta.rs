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
    noted::{Noted, object, of_flags},
    notes::Collection,
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
pub(crate) struct KnownName {
    pub(super) kind: NameKind,
    pub(super) id: u32,
    pub(super) name: String,
}

pub(crate) async fn get(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, ApiError> {
    let query = QueryString::parse(request.query_string())?;
    let known = find(&state, query.required("uid")?, query.required("type")?).await?;
    Ok(wire::json(&object(&state, &known).await?))
}

async fn find(state: &AppState, uid: &str, kind: &str) -> Result<KnownName, ApiError> {
    let (kind, id) = (parse_kind(kind)?, parse_uid(uid)?);
    let name = state.seams.names.name(kind, id).await?;
    let name = name.ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, "Could not find the requested UID"))?;
    Ok(KnownName { kind, id, name })
}

impl Noted for KnownName {
    const COLLECTION: Collection = Collection::Names;

    async fn read(request: &HttpRequest, payload: Payload, state: &AppState) -> Result<(Self, NoteChange), ApiError> {
        let body: NameMetaBody = match wire::read_optional_json(request, payload, state).await? {
            Some(body) => body,
            None => of_query_string(&QueryString::parse(request.query_string())?),
        };
        let missing = |what: &str| ApiError::bad_request(format!("Missing {what}"));
        let uid = body.uid.filter(|uid| !uid.is_empty()).ok_or_else(|| missing("UID"))?;
        let kind = body.r#type.filter(|kind| !kind.is_empty()).ok_or_else(|| missing("UIDMeta type"))?;
        Ok((find(state, &uid, &kind).await?, body.change))
    }

    fn note_id(&self) -> String {
        format!("{}-{}", kind_name(self.kind), uid_text(self.id))
    }

    async fn to_json(&self, _state: &AppState, note: &Note) -> Result<Value, ApiError> {
        Ok(json!({
            "uid": uid_text(self.id),
            "type": kind_name(self.kind),
            "name": self.name,
            "description": note.description,
            "notes": note.notes,
            "created": note.created,
            "custom": note.custom,
            "displayName": note.display_name,
        }))
    }
}

fn of_query_string(query: &QueryString) -> NameMetaBody {
    NameMetaBody {
        uid: query.get("uid").map(str::to_owned),
        r#type: query.get("type").map(str::to_owned),
        change: of_flags(query),
    }
}
