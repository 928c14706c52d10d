//! `/api/uid/rename`: another name for what a metric, a tag key or a tag value names. Its id stays, and with it all that
//! was written. Jobs that wait with points of the old name write to something new, as a client that goes on sending does.

use std::collections::BTreeMap;

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Payload},
};
use serde_json::json;
use tidemark_model::{NameCharacters, NameError, NameKind, RenameRefusal, Tsuid};

use super::kind::KINDS;
use crate::{
    error::{ApiError, JSON, kind_word},
    http::query_string::QueryString,
    opentsdb::wire::{self, Text},
    state::AppState,
};

/// The field that has the new name; the others have old ones.
const NEW_NAME: &str = "name";

pub(crate) async fn get(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, ApiError> {
    let query = QueryString::parse(request.query_string())?;
    let words = KINDS.map(|(word, _)| word).into_iter().chain([NEW_NAME]);
    let given = words.filter_map(|word| Some((word.to_owned(), query.get(word).filter(|name| !name.is_empty())?)));
    rename(&state, given.map(|(word, name)| (word, name.to_owned())).collect()).await
}

pub(crate) async fn post(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    let body: BTreeMap<String, Option<Text>> = wire::read_json(&request, payload, &state).await?;
    let given = body.into_iter().filter_map(|(word, name)| Some((word, name?.0)));
    rename(&state, given.collect()).await
}

async fn rename(state: &AppState, mut given: BTreeMap<String, String>) -> Result<HttpResponse, ApiError> {
    let (Some(new), Some((word, old))) = (given.remove(NEW_NAME), given.pop_first()) else {
        return Err(ApiError::bad_request("Missing necessary values to rename UID"));
    };
    let refused = if given.is_empty() {
        rename_one(state, &word, &old, &new).await?
    } else {
        // OpenTSDB takes one of them, whichever comes last in a hash table.
        Some("one name can be changed at a time".to_owned())
    };
    let (status, body) = match refused {
        None => (StatusCode::OK, json!({ "result": "true" })),
        Some(reason) => (StatusCode::BAD_REQUEST, json!({ "error": reason, "result": "false" })),
    };
    Ok(HttpResponse::build(status).content_type(JSON).body(body.to_string()))
}

/// Why the name was not changed, in OpenTSDB's words.
async fn rename_one(state: &AppState, word: &str, old: &str, new: &str) -> Result<Option<String>, ApiError> {
    // A name that was legal when it came, under other special characters, can be left behind.
    for (characters, name) in [(&NameCharacters::STORABLE, old), (&state.options.opentsdb.point_rules.characters, new)]
    {
        if let Err(error) = characters.check(name) {
            return Ok(Some(invalid(word, name, error)));
        }
    }
    let Some(kind) = KINDS.into_iter().find_map(|(known, kind)| known.eq_ignore_ascii_case(word).then_some(kind))
    else {
        return Ok(Some("Unknown type name".to_owned()));
    };
    Ok(Some(match state.seams.names.rename(kind, old, new).await {
        Ok(()) => return Ok(None),
        Err(RenameRefusal::NoSuchName) => format!("Name(\"{old}\") does not exist"),
        Err(RenameRefusal::Taken { id }) => taken(kind, old, new, id),
        Err(RenameRefusal::Illegal(error)) => invalid(word, new, error),
        Err(RenameRefusal::Store(refusal)) => return Err(ApiError::from(&refusal)),
        Err(refusal @ RenameRefusal::Unknown(_)) => return Err(ApiError::unavailable(refusal.to_string())),
    }))
}

fn invalid(word: &str, name: &str, error: NameError) -> String {
    match error {
        NameError::Empty => format!("Invalid {word}: {error}"),
        NameError::IllegalCharacter(_) | NameError::TooLong { .. } => format!("Invalid {word} (\"{name}\"): {error}"),
    }
}

/// With the bytes of the id as Java shows them, which have a sign.
fn taken(kind: NameKind, old: &str, new: &str, id: u32) -> String {
    let bytes = id.to_be_bytes().map(u8::cast_signed);
    let shown: Vec<String> = bytes.iter().skip(size_of::<u32>() - Tsuid::NAME_ID_BYTES).map(i8::to_string).collect();
    let (kind, width) = (kind_word(kind), Tsuid::NAME_ID_BYTES);
    format!(
        "When trying rename(\"{old}\", \"{new}\") on UniqueId(tsdb-uid, {kind}, {width}): new name already assigned ID=[{}]",
        shown.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_opentsdbs() {
        let expect = "When trying rename(\"a\", \"b\") on UniqueId(tsdb-uid, tagv, 3): new name already assigned ID=[1, -128, 127]";
        assert_eq!(taken(NameKind::TagValue, "a", "b", 0x01_807F), expect);
        assert_eq!(invalid("tagk", "", NameError::Empty), "Invalid tagk: empty string");
        let expect = "Invalid metric (\"a b\"): illegal character:  ";
        assert_eq!(invalid("metric", "a b", NameError::IllegalCharacter(' ')), expect);
    }
}
