//! `/api/uid/tsmeta`: what is known of a series, and what people noted about it. A series has such an object as soon as it
//! exists; OpenTSDB has it only where it was told to keep one.

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Payload},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tidemark_model::{NameKind, SeriesInfo, SeriesSelector, Tsuid};

use super::{
    name_meta::KnownName,
    note::{Note, NoteChange},
    noted::{Noted, object, of_flags},
    notes::Collection,
};
use crate::{
    error::{ApiError, kind_word},
    http::query_string::QueryString,
    opentsdb::{lookup, wire},
    state::AppState,
};

/// Series of one answer: each needs a look at its newest point.
const SERIES_MAX: usize = 1_000;

#[derive(Deserialize)]
struct SeriesMetaBody {
    #[serde(default, deserialize_with = "wire::text")]
    tsuid: Option<String>,
    #[serde(flatten)]
    change: NoteChange,
}

/// One object for `tsuid`, an array of them for `m`.
pub(crate) async fn get(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, ApiError> {
    let query = QueryString::parse(request.query_string())?;
    if let Some(tsuid) = query.get("tsuid").filter(|tsuid| !tsuid.is_empty()) {
        let series = find(&state, tsuid).await?;
        return Ok(wire::json(&object(&state, &series).await?));
    }
    let text = query.get("m").filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| ApiError::bad_request("Missing parameter <code>tsuid</code> or <code>m</code>"))?;
    let page = state.seams.catalog.lookup(&lookup::selector_of_text(text)?, 0, SERIES_MAX).await.map_err(unknown)?;
    if page.total > SERIES_MAX {
        return Err(ApiError::too_large(format!(
            "{} series, at most {SERIES_MAX} are shown at once; name more tags, or use `/api/search/lookup`",
            page.total
        )));
    }
    let mut all = Vec::with_capacity(page.series.len());
    for series in &page.series {
        all.push(object(&state, series).await?);
    }
    Ok(wire::json(&all))
}

async fn find(state: &AppState, text: &str) -> Result<SeriesInfo, ApiError> {
    let tsuid: Tsuid =
        text.parse().map_err(|error: tidemark_model::TsuidError| ApiError::bad_request(error.to_string()))?;
    let page = state.seams.catalog.lookup(&SeriesSelector::Tsuids(vec![tsuid]), 0, 1).await.map_err(unknown)?;
    page.series.into_iter().next().ok_or_else(not_found)
}

fn not_found() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "Could not find Timeseries meta data")
}

/// A name that is unknown is a series that is unknown.
fn unknown(error: tidemark_model::CatalogError) -> ApiError {
    match error.0 {
        tidemark_model::ReadError::UnknownName { kind, name } => {
            ApiError::new(StatusCode::NOT_FOUND, "Unable to find one of the UIDs")
                .details(format!("No such name for '{}': '{name}'", kind_word(kind)))
        }
        other => other.into(),
    }
}

impl Noted for SeriesInfo {
    const COLLECTION: Collection = Collection::Series;

    /// In the query string `m` names all tags of one series.
    async fn read(request: &HttpRequest, payload: Payload, state: &AppState) -> Result<(Self, NoteChange), ApiError> {
        let query = QueryString::parse(request.query_string())?;
        let (tsuid, change) = match wire::read_optional_json::<SeriesMetaBody>(request, payload, state).await? {
            Some(body) => (body.tsuid, body.change),
            None => (query.get("tsuid").map(str::to_owned), of_flags(&query)),
        };
        if let Some(tsuid) = tsuid.filter(|tsuid| !tsuid.is_empty()) {
            return Ok((find(state, &tsuid).await?, change));
        }
        let text = query.get("m").filter(|text| !text.is_empty());
        let text = text.ok_or_else(|| ApiError::bad_request("Missing TSUID"))?;
        let page = state.seams.catalog.lookup(&lookup::selector_of_text(text)?, 0, 2).await.map_err(unknown)?;
        match page.series.as_slice() {
            [series] if page.total == 1 => Ok((series.clone(), change)),
            [] => Err(not_found()),
            _ => Err(ApiError::bad_request(format!("{} series have these tags; name all tags of one", page.total))),
        }
    }

    fn note_id(&self) -> String {
        self.tsuid.to_string()
    }

    async fn to_json(&self, state: &AppState, note: &Note) -> Result<Value, ApiError> {
        let mut ids = self.tsuid.name_ids();
        let metric = ids.next().unwrap_or_default();
        let known = |kind, id, name: &str| KnownName { kind, id, name: name.to_owned() };
        let metric = object(state, &known(NameKind::Metric, metric, self.key.metric())).await?;
        let mut tags = Vec::new();
        let ids: Vec<u32> = ids.collect();
        for pair in ids.chunks_exact(2) {
            for (kind, &id) in [NameKind::TagKey, NameKind::TagValue].into_iter().zip(pair) {
                let name = state.seams.names.name(kind, id).await?.unwrap_or_default();
                tags.push(object(state, &known(kind, id, &name)).await?);
            }
        }
        let selector = SeriesSelector::Tsuids(vec![self.tsuid.clone()]);
        let last = state.seams.catalog.last(&selector, 0).await.map_err(unknown)?;
        let received = last.first().map_or(0, |last| last.point.timestamp.div_euclid(1000));
        let number = |number: Option<f64>| number.map_or_else(|| Value::from("NaN"), Value::from);
        Ok(json!({
            "tsuid": self.note_id(),
            "metric": metric,
            "tags": tags,
            "description": note.description,
            "notes": note.notes,
            "created": note.created,
            "units": note.units,
            "retention": note.retention,
            "max": number(note.max),
            "min": number(note.min),
            "displayName": note.display_name,
            "dataType": note.data_type,
            "lastReceived": received,
            "totalDatapoints": 0,
            "custom": note.custom,
        }))
    }
}
