//! How OpenTSDB's clients spell things: numbers as strings, booleans as strings.

use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};

use actix_web::{HttpRequest, HttpResponse, web::Payload};

use crate::{
    error::{ApiError, JSON},
    http::body::{Body, read_body, read_body_up_to},
    state::AppState,
};

/// Longest body of a request that only asks.
const REQUEST_BYTES_MAX: usize = 1 << 20;

/// A text that may come as a string, a number or a boolean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text(pub(crate) String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => Ok(Self(text)),
            serde_json::Value::Number(number) => Ok(Self(number.to_string())),
            serde_json::Value::Bool(flag) => Ok(Self(flag.to_string())),
            serde_json::Value::Null => Ok(Self(String::new())),
            _ => Err(serde::de::Error::custom("expected a string or a number")),
        }
    }
}

/// A field that is a text but may come as a number or a boolean, as names may consist of digits alone.
///
/// # Errors
/// When it is an array or an object.
pub(crate) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<Text>::deserialize(deserializer)?.map(|text| text.0))
}

/// The same of a list of texts.
///
/// # Errors
/// When it is no array, or an array of other things.
pub(crate) fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    let list = Option::<Vec<Text>>::deserialize(deserializer)?;
    Ok(list.map(|texts| texts.into_iter().map(|text| text.0).collect()))
}

/// A boolean that may come as a string; null is false.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flag(pub(crate) bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Text::deserialize(deserializer)?.0.to_ascii_lowercase();
        match text.trim() {
            "true" | "1" => Ok(Self(true)),
            "false" | "0" | "" => Ok(Self(false)),
            other => Err(serde::de::Error::custom(format!("`{other}` is neither true nor false"))),
        }
    }
}

/// Reads a body that is a small JSON object.
///
/// # Errors
/// 400 when the body is empty, no JSON, or has a field of the wrong type; otherwise as for every body.
pub(crate) async fn read_json<T: DeserializeOwned>(
    request: &HttpRequest,
    payload: Payload,
    state: &AppState,
) -> Result<T, ApiError> {
    json_of(read_short(request, payload, state).await?.text()?)
}

/// Reads the body of a request that only asks.
///
/// # Errors
/// As for every body.
pub(crate) async fn read_short(request: &HttpRequest, payload: Payload, state: &AppState) -> Result<Body, ApiError> {
    read_body_up_to(request, payload, state, REQUEST_BYTES_MAX).await
}

/// What a body is that is a JSON object.
///
/// # Errors
/// 400 when it is empty, no JSON, or has a field of the wrong type.
pub(crate) fn json_of<T: DeserializeOwned>(text: &str) -> Result<T, ApiError> {
    if text.trim().is_empty() {
        return Err(ApiError::bad_request("Missing message content")
            .details("Supply valid JSON formatted data in the body of your request"));
    }
    parse_json(text)
}

/// As [`read_json`], but `None` when there is no body.
///
/// # Errors
/// 400 when the body is no JSON or has a field of the wrong type; otherwise as for every body.
pub(crate) async fn read_optional_json<T: DeserializeOwned>(
    request: &HttpRequest,
    payload: Payload,
    state: &AppState,
) -> Result<Option<T>, ApiError> {
    let body = read_short(request, payload, state).await?;
    let text = body.text()?;
    if text.trim().is_empty() { Ok(None) } else { parse_json(text).map(Some) }
}

/// Reads a body that may be as long as one with points.
///
/// # Errors
/// As [`read_json`].
pub(crate) async fn read_long_json<T: DeserializeOwned>(
    request: &HttpRequest,
    payload: Payload,
    state: &AppState,
) -> Result<T, ApiError> {
    json_of(read_body(request, payload, state).await?.text()?)
}

fn parse_json<T: DeserializeOwned>(text: &str) -> Result<T, ApiError> {
    serde_json::from_str(text)
        .map_err(|error| ApiError::bad_request("Unable to parse the given JSON").details(error.to_string()))
}

/// An answer of JSON.
pub(crate) fn json(value: &impl Serialize) -> HttpResponse {
    match serde_json::to_vec(value) {
        Ok(body) => HttpResponse::Ok().content_type(JSON).body(body),
        Err(error) => {
            let status = actix_web::http::StatusCode::INTERNAL_SERVER_ERROR;
            ApiError::new(status, "the answer could not be written").details(error.to_string()).to_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_stand_for_numbers_and_booleans() {
        let text = |json: &str| serde_json::from_str::<Text>(json).map(|text| text.0).ok();
        assert_eq!(text("\"1h-ago\"").as_deref(), Some("1h-ago"));
        assert_eq!(text("1356998400000").as_deref(), Some("1356998400000"));
        assert_eq!(text("[1]"), None);
        #[derive(Debug, Deserialize, PartialEq)]
        struct Body {
            #[serde(default, deserialize_with = "super::text")]
            name: Option<String>,
            #[serde(default, deserialize_with = "super::texts")]
            names: Option<Vec<String>>,
        }
        let body = |json: &str| serde_json::from_str::<Body>(json).map(|body| (body.name, body.names)).ok();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(body("{}"), Some((None, None)));
        assert_eq!(body(r#"{"name":null,"names":null}"#), Some((None, None)));
        assert_eq!(
            body(r#"{"name":7,"names":[7,"a",true]}"#),
            Some((some("7"), Some(vec!["7".into(), "a".into(), "true".into()])))
        );
        assert_eq!(body(r#"{"name":[7]}"#), None);
        assert_eq!(body(r#"{"names":7}"#), None);
        let flag = |json: &str| serde_json::from_str::<Flag>(json).map(|flag| flag.0).ok();
        assert_eq!(
            (flag("true"), flag("\"TRUE\""), flag("\"false\""), flag("null")),
            (Some(true), Some(true), Some(false), Some(false))
        );
        assert_eq!(flag("\"maybe\""), None);
    }
}
