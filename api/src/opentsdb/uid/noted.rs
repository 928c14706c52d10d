//! What `/api/uid/uidmeta` and `/api/uid/tsmeta` do alike: people note something about a name or a series.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Payload},
};
use serde_json::Value;

use super::{
    note::{Note, NoteChange},
    notes::{Collection, Write},
};
use crate::{error::ApiError, http::query_string::QueryString, opentsdb::wire, state::AppState};

/// A name or a series that exists.
pub(crate) trait Noted: Sized {
    /// Where notes about such things are kept.
    const COLLECTION: Collection;

    /// What a request is about and what it notes: from its body, or from the query string when there is none.
    async fn read(request: &HttpRequest, payload: Payload, state: &AppState) -> Result<(Self, NoteChange), ApiError>;

    /// Id of its note in the collection.
    fn note_id(&self) -> String;

    /// The object of it with this note.
    async fn to_json(&self, state: &AppState, note: &Note) -> Result<Value, ApiError>;
}

/// The object of something.
pub(super) async fn object<N: Noted>(state: &AppState, noted: &N) -> Result<Value, ApiError> {
    let note = N::COLLECTION.read(state, &noted.note_id()).await?;
    noted.to_json(state, &note).await
}

/// Merges.
pub(crate) async fn post<N: Noted>(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    write::<N>(&request, payload, &state, Write::Merge).await
}

/// Replaces.
pub(crate) async fn put<N: Noted>(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    write::<N>(&request, payload, &state, Write::Replace).await
}

/// Forgets what was noted; what it is about stays.
pub(crate) async fn delete<N: Noted>(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    let (noted, _) = N::read(&request, payload, &state).await?;
    N::COLLECTION.forget(&state, &noted.note_id()).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn write<N: Noted>(
    request: &HttpRequest,
    payload: Payload,
    state: &AppState,
    write: Write,
) -> Result<HttpResponse, ApiError> {
    let (noted, change) = N::read(request, payload, state).await?;
    match N::COLLECTION.write(state, &noted.note_id(), &change, write).await? {
        Some(note) => Ok(wire::json(&noted.to_json(state, &note).await?)),
        None => Ok(HttpResponse::NotModified().finish()),
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
