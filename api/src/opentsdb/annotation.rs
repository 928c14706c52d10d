//! `/api/annotation` and `/api/annotations`: notes about moments, of one series or of everything.

use std::collections::BTreeMap;

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Payload},
};
use serde::{Deserialize, Serialize};
use tidemark_model::{
    Annotation, AnnotationChange, AnnotationWrite, AnnotationsOf, TIMESTAMP_MAX, TimeRange, TimestampMs, Tsuid,
    timestamp_ms,
};
use tidemark_query::{parse_time, parse_time_zone};

use super::wire::{self, Text};
use crate::{error::ApiError, http::query_string::QueryString, state::AppState};

/// Annotations that one request may write.
const BULK_MAX: usize = 10_000;

/// What somebody says of an annotation. Fields that are not listed are ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(expecting = "an object")]
#[serde(rename_all = "camelCase")]
struct AnnotationBody {
    #[serde(default, deserialize_with = "wire::text")]
    tsuid: Option<String>,
    start_time: Option<Text>,
    end_time: Option<Text>,
    #[serde(default, deserialize_with = "wire::text")]
    description: Option<String>,
    #[serde(default, deserialize_with = "wire::text")]
    notes: Option<String>,
    custom: Option<BTreeMap<String, Text>>,
}

/// Which annotations are to go.
#[derive(Debug, Default, Deserialize)]
#[serde(expecting = "an object")]
#[serde(rename_all = "camelCase")]
struct BulkDelete {
    #[serde(default)]
    tsuids: Option<Vec<String>>,
    #[serde(default)]
    global: wire::Flag,
    start_time: Option<Text>,
    end_time: Option<Text>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BulkDeleted {
    tsuids: Option<Vec<String>>,
    global: bool,
    start_time: TimestampMs,
    end_time: TimestampMs,
    total_deleted: usize,
}

/// An annotation as clients see it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AnnotationView<'a> {
    tsuid: String,
    description: &'a str,
    notes: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    custom: &'a BTreeMap<String, String>,
    start_time: i64,
    end_time: i64,
}

impl<'a> From<&'a Annotation> for AnnotationView<'a> {
    fn from(annotation: &'a Annotation) -> Self {
        Self {
            tsuid: annotation.tsuid.as_ref().map(ToString::to_string).unwrap_or_default(),
            description: &annotation.description,
            notes: &annotation.notes,
            custom: &annotation.custom,
            start_time: annotation.start_time,
            end_time: annotation.end_time,
        }
    }
}

/// One annotation.
pub(crate) async fn get(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, ApiError> {
    let sought = AnnotationBody::of_query_string(&request, &state)?.into_change()?;
    let found = state.seams.annotations.annotation(sought.tsuid.as_ref(), sought.start_ms()).await?;
    match found {
        Some(annotation) => Ok(wire::json(&AnnotationView::from(&annotation))),
        None => Err(ApiError::new(StatusCode::NOT_FOUND, "Unable to locate annotation in storage")),
    }
}

/// Merges one annotation into what is there.
pub(crate) async fn post(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    put_one(request, payload, state, AnnotationWrite::Merge).await
}

/// Writes one annotation whatever is there.
pub(crate) async fn put(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    put_one(request, payload, state, AnnotationWrite::Replace).await
}

async fn put_one(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
    write: AnnotationWrite,
) -> Result<HttpResponse, ApiError> {
    let change = AnnotationBody::read(&request, payload, &state).await?.into_change()?;
    let written = state.seams.annotations.put_annotations(vec![change], write).await?;
    match written.first() {
        Some(annotation) => Ok(wire::json(&AnnotationView::from(annotation))),
        None => Err(ApiError::unavailable("the annotation was not written")),
    }
}

/// Removes one annotation; that it was not there is no error.
pub(crate) async fn delete(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    let sought = AnnotationBody::read(&request, payload, &state).await?.into_change()?;
    let range = TimeRange::inclusive(sought.start_ms(), sought.start_ms());
    let of = match &sought.tsuid {
        Some(tsuid) => AnnotationsOf::Series(std::slice::from_ref(tsuid)),
        None => AnnotationsOf::Everything,
    };
    state.seams.annotations.delete_annotations(of, range).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// The annotations about everything that begin in a window.
pub(crate) async fn everything(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, ApiError> {
    let query = QueryString::parse(request.query_string())?;
    let start = query.get("start_time").filter(|start| !start.is_empty()).ok_or_else(no_start_given)?;
    let range = window(&state, start, query.get("end_time"))?;
    let limit = state.options.limits.results;
    let found = state.seams.annotations.annotations(AnnotationsOf::Everything, range, limit).await?;
    Ok(wire::json(&views(&found)))
}

/// Merges many annotations into what is there.
pub(crate) async fn bulk_post(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    put_many(request, payload, state, AnnotationWrite::Merge).await
}

/// Writes many annotations whatever is there.
pub(crate) async fn bulk_put(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    put_many(request, payload, state, AnnotationWrite::Replace).await
}

async fn put_many(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
    write: AnnotationWrite,
) -> Result<HttpResponse, ApiError> {
    let bodies: Vec<AnnotationBody> = wire::read_long_json(&request, payload, &state).await?;
    if bodies.len() > BULK_MAX {
        let message = format!("{} annotations in one request, at most {BULK_MAX} are allowed", bodies.len());
        return Err(ApiError::too_large(message));
    }
    let changes = bodies.into_iter().map(AnnotationBody::into_change).collect::<Result<_, _>>()?;
    let written = state.seams.annotations.put_annotations(changes, write).await?;
    Ok(wire::json(&views(&written)))
}

/// Removes the annotations of a window, of series, of everything, or of both.
pub(crate) async fn bulk_delete(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    let wanted = BulkDelete::read(&request, payload, &state).await?;
    let text = |text: &Option<Text>| text.as_ref().map(|text| text.0.clone()).filter(|text| !text.is_empty());
    let start = text(&wanted.start_time).ok_or_else(|| ApiError::bad_request("Missing the start time value"))?;
    let range = window(&state, &start, text(&wanted.end_time).as_deref())?;
    let tsuids = wanted.tsuids.iter().flatten().map(|tsuid| parse_tsuid(tsuid)).collect::<Result<Vec<_>, _>>()?;
    if tsuids.is_empty() && !wanted.global.0 {
        return Err(ApiError::bad_request("Missing the TSUIDs or global annotations flag"));
    }
    let mut total_deleted = 0;
    if wanted.global.0 {
        total_deleted += state.seams.annotations.delete_annotations(AnnotationsOf::Everything, range).await?;
    }
    if !tsuids.is_empty() {
        total_deleted += state.seams.annotations.delete_annotations(AnnotationsOf::Series(&tsuids), range).await?;
    }
    let (start_time, end_time) = (range.start, range.end.saturating_sub(1));
    let (tsuids, global) = (wanted.tsuids, wanted.global.0);
    Ok(wire::json(&BulkDeleted { tsuids, global, start_time, end_time, total_deleted }))
}

fn views(annotations: &[Annotation]) -> Vec<AnnotationView<'_>> {
    annotations.iter().map(AnnotationView::from).collect()
}

/// The window with both ends inside; it ends now unless told otherwise.
fn window(state: &AppState, start: &str, end: Option<&str>) -> Result<TimeRange, ApiError> {
    let start = moment(state, start)?;
    let end = match end.filter(|end| !end.is_empty()) {
        Some(end) => moment(state, end)?,
        None => state.seams.clock.now_ms(),
    };
    Ok(TimeRange::inclusive(start, end))
}

/// A moment in milliseconds, in any form that a query may have it.
fn moment(state: &AppState, text: &str) -> Result<i64, ApiError> {
    let refused = |error: tidemark_query::ParseError| ApiError::bad_request(error.to_string());
    let zone = parse_time_zone(&state.options.opentsdb.timezone).map_err(refused)?;
    parse_time(text, state.seams.clock.now_ms(), zone).map_err(refused)
}

/// A body has none.
fn no_start() -> ApiError {
    let text = "The start timestamp has not been set";
    ApiError::bad_request(text).details(text)
}

/// A query string has none.
fn no_start_given() -> ApiError {
    ApiError::bad_request("Missing start time")
}

fn parse_tsuid(text: &str) -> Result<Tsuid, ApiError> {
    text.parse().map_err(|error: tidemark_model::TsuidError| ApiError::bad_request(error.to_string()))
}

impl AnnotationBody {
    /// From the body, or from the query string when there is none.
    async fn read(request: &HttpRequest, payload: Payload, state: &AppState) -> Result<Self, ApiError> {
        match wire::read_optional_json(request, payload, state).await? {
            Some(body) => Ok(body),
            None => Self::of_query_string(request, state),
        }
    }

    /// Times may have any form that a query may have them in.
    fn of_query_string(request: &HttpRequest, state: &AppState) -> Result<Self, ApiError> {
        let query = QueryString::parse(request.query_string())?;
        let text = |name: &str| query.get(name).filter(|text| !text.is_empty()).map(str::to_owned);
        let time = |name: &str| match text(name) {
            Some(text) if !text.bytes().all(|byte| byte.is_ascii_digit()) => {
                let millis = moment(state, &text)?;
                // In seconds, as most are written, unless that would be another moment.
                let time = if millis % 1000 == 0 { millis / 1000 } else { millis };
                Ok::<_, ApiError>(Some(Text(time.to_string())))
            }
            text => Ok(text.map(Text)),
        };
        Ok(Self {
            tsuid: text("tsuid"),
            start_time: Some(time("start_time")?.ok_or_else(no_start_given)?),
            end_time: time("end_time")?,
            description: query.get("description").map(str::to_owned),
            notes: query.get("notes").map(str::to_owned),
            custom: None,
        })
    }

    fn into_change(self) -> Result<AnnotationChange, ApiError> {
        let start_time = time("startTime", self.start_time)?.filter(|time| *time > 0).ok_or_else(no_start)?;
        if timestamp_ms(start_time) > TIMESTAMP_MAX {
            return Err(ApiError::bad_request(format!(
                "startTime {start_time} is not between 1 and {TIMESTAMP_MAX} ms"
            )));
        }
        let tsuid = self.tsuid.filter(|tsuid| !tsuid.is_empty());
        let custom = self.custom.map(|custom| custom.into_iter().map(|(name, Text(value))| (name, value)).collect());
        Ok(AnnotationChange {
            tsuid: tsuid.map(|tsuid| parse_tsuid(&tsuid)).transpose()?,
            start_time,
            end_time: time("endTime", self.end_time)?,
            description: self.description,
            notes: self.notes,
            custom,
        })
    }
}

impl BulkDelete {
    async fn read(request: &HttpRequest, payload: Payload, state: &AppState) -> Result<Self, ApiError> {
        if let Some(body) = wire::read_optional_json(request, payload, state).await? {
            return Ok(body);
        }
        let query = QueryString::parse(request.query_string())?;
        let tsuids: Vec<String> = query
            .all("tsuids")
            .flat_map(|list| list.split(','))
            .filter(|id| !id.is_empty())
            .map(str::to_owned)
            .collect();
        Ok(Self {
            tsuids: Some(tsuids).filter(|tsuids| !tsuids.is_empty()),
            global: wire::Flag(query.has("global")),
            start_time: Some(Text(query.required("start_time")?.to_owned())),
            end_time: query.get("end_time").map(|text| Text(text.to_owned())),
        })
    }
}

fn time(name: &str, text: Option<Text>) -> Result<Option<i64>, ApiError> {
    match text.filter(|text| !text.0.is_empty()) {
        None => Ok(None),
        Some(Text(text)) => text.parse().map(Some).map_err(|_| {
            let shown: String = text.chars().take(64).collect();
            ApiError::bad_request(format!("Invalid {name}: {shown}"))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(text: &str) -> Result<AnnotationChange, ApiError> {
        serde_json::from_str::<AnnotationBody>(text).unwrap().into_change()
    }

    #[test]
    fn what_is_not_said_stays_unsaid() {
        let full = change(
            r#"{"tsuid":"000001000001000001","startTime":"1356998460","endTime":1356998470,"description":"d","notes":"n",
                "custom":{"owner":"jdoe","ticket":17},"unknown":1}"#,
        )
        .unwrap();
        assert_eq!((full.start_time, full.end_time), (1_356_998_460, Some(1_356_998_470)));
        assert_eq!(full.custom.unwrap()["ticket"], "17");
        let bare = change(r#"{"tsuid":"","startTime":1356998460123,"custom":null}"#).unwrap();
        let expect = AnnotationChange { start_time: 1_356_998_460_123, ..AnnotationChange::default() };
        assert_eq!(bare, expect);
    }

    #[test]
    fn an_annotation_needs_a_beginning_and_a_real_series() {
        let check = |text: &str, expect: &str| {
            let error = change(text).unwrap_err();
            assert!(error.message().contains(expect), "{text}: {}", error.message());
        };
        check(r#"{"description":"x"}"#, "The start timestamp has not been set");
        check(r#"{"startTime":0}"#, "The start timestamp has not been set");
        check(r#"{"startTime":-5}"#, "The start timestamp has not been set");
        check(r#"{"startTime":99999999999999}"#, "is not between 1 and");
        check(r#"{"startTime":"soon"}"#, "Invalid startTime: soon");
        check(r#"{"startTime":1,"endTime":"x"}"#, "Invalid endTime: x");
        check(r#"{"startTime":1,"tsuid":"xyz"}"#, "is no series id");
    }
}
