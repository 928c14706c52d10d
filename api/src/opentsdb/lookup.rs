//! `/api/search/lookup`: the series of a metric.

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Payload},
};
use serde::{Deserialize, Serialize, Serializer};
use tidemark_model::{CatalogError, ReadError, SeriesInfo, SeriesSelector, TagMatch, TagPredicate, Tags};
use tidemark_query::Filter;

use super::wire::{self, Text};
use crate::{
    error::{ApiError, kind_word},
    http::query_string::QueryString,
    state::AppState,
};

/// Series that are listed unless told otherwise.
const LIMIT_DEFAULT: u64 = 25;

/// What is looked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Lookup {
    metric: String,
    tags: Vec<LookupTag>,
    limit: u64,
    start_index: u64,
}

/// A tag that the series must have; an empty value or `*` stands for any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
struct LookupTag {
    #[serde(default)]
    key: String,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LookupBody {
    metric: Option<String>,
    tags: Option<Vec<LookupTag>>,
    limit: Option<Text>,
    start_index: Option<Text>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LookupAnswer<'a> {
    r#type: &'static str,
    metric: &'a str,
    tags: &'a [LookupTag],
    limit: u64,
    time: f64,
    results: Vec<LookupResult<'a>>,
    start_index: u64,
    total_results: usize,
}

#[derive(Serialize)]
struct LookupResult<'a> {
    tsuid: String,
    metric: &'a str,
    #[serde(serialize_with = "tag_map")]
    tags: Tags<'a>,
}

/// Writes tags as an object.
pub(super) fn tag_map<S: Serializer>(tags: &Tags<'_>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(tags.clone())
}

pub(crate) async fn get(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, ApiError> {
    let query = QueryString::parse(request.query_string())?;
    let (metric, tags) = parse_metric(query.required("m")?)?;
    let limit = query.number("limit")?.unwrap_or(LIMIT_DEFAULT);
    let start_index = query.number("startIndex")?.or(query.number("start_index")?).unwrap_or(0);
    lookup(&state, Lookup { metric, tags, limit, start_index }).await
}

pub(crate) async fn post(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    let body: LookupBody = wire::read_json(&request, payload, &state).await?;
    let number = |name: &str, text: Option<Text>, default| match text {
        None => Ok(default),
        Some(Text(text)) => text.parse().map_err(|_| ApiError::bad_request(format!("Invalid '{name}': {text}"))),
    };
    let sought = Lookup {
        metric: body.metric.unwrap_or_default(),
        tags: body.tags.unwrap_or_default(),
        limit: number("limit", body.limit, LIMIT_DEFAULT)?,
        start_index: number("startIndex", body.start_index, 0)?,
    };
    lookup(&state, sought).await
}

/// Splits `metric{key=value,key2=*}`.
fn parse_metric(text: &str) -> Result<(String, Vec<LookupTag>), ApiError> {
    let Some((metric, rest)) = text.split_once('{') else { return Ok((text.to_owned(), Vec::new())) };
    let inside = rest.strip_suffix('}').ok_or_else(|| {
        ApiError::bad_request(format!("Missing '}}' at the end of: {}", text.chars().take(200).collect::<String>()))
    })?;
    let pairs = inside.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    let tags = pairs.map(|pair| {
        let (key, value) = pair.split_once('=').ok_or_else(|| {
            ApiError::bad_request(format!("invalid tag: {}", pair.chars().take(200).collect::<String>()))
        })?;
        Ok(LookupTag { key: key.to_owned(), value: value.to_owned() })
    });
    Ok((metric.to_owned(), tags.collect::<Result<_, ApiError>>()?))
}

/// The selector that `metric{key=value,key2=*}` means.
///
/// # Errors
/// 400 for what is written in no such way, or is no condition on one key.
pub(super) fn selector_of_text(text: &str) -> Result<SeriesSelector, ApiError> {
    let (metric, tags) = parse_metric(text)?;
    selector(&metric, tags.into_iter().map(|tag| (tag.key, tag.value)))
}

/// The selector that the tags mean.
///
/// # Errors
/// 400 for a tag that is no condition on one key.
pub(super) fn selector(metric: &str, tags: impl Iterator<Item = (String, String)>) -> Result<SeriesSelector, ApiError> {
    let metric = Some(metric.to_owned()).filter(|metric| !metric.is_empty() && metric != "*");
    let predicates: Vec<TagPredicate> = tags
        .map(|(key, value)| match (key.as_str(), value.as_str()) {
            ("" | "*", _) => Err(ApiError::bad_request("a lookup by tag value alone is not supported")
                .details("name the tag key, as in `key=value` or `key=*`")),
            (_, "" | "*") => Ok(TagPredicate { key, matches: TagMatch::Any }),
            _ => Filter::from_tag_value(&key, &value, false)
                .map(|filter| filter.predicate())
                .map_err(|error| ApiError::bad_request(error.to_string())),
        })
        .collect::<Result<_, _>>()?;
    if metric.is_none() && predicates.is_empty() {
        return Err(ApiError::bad_request("Missing metric and tags. Please supply at least one value."));
    }
    Ok(SeriesSelector::Tags { metric, predicates, exact_keys: false })
}

async fn lookup(state: &AppState, sought: Lookup) -> Result<HttpResponse, ApiError> {
    let began = state.seams.clock.monotonic();
    let selector = selector(&sought.metric, sought.tags.iter().map(|tag| (tag.key.clone(), tag.value.clone())))?;
    let offset = usize::try_from(sought.start_index).unwrap_or(usize::MAX);
    let limit = usize::try_from(sought.limit).unwrap_or(usize::MAX).min(state.options.limits.results);
    let page = match state.seams.catalog.lookup(&selector, offset, limit).await {
        Ok(page) => page,
        Err(CatalogError(ReadError::UnknownName { kind, name })) => {
            return Err(ApiError::new(StatusCode::NOT_FOUND, "Unable to resolve one or more UIDs")
                .details(format!("No such name for '{}': '{name}'", kind_word(kind))));
        }
        Err(error) => return Err(error.into()),
    };
    let result = |info: &SeriesInfo| info.tsuid.to_string();
    let answer = LookupAnswer {
        r#type: "LOOKUP",
        metric: if sought.metric.is_empty() { "*" } else { &sought.metric },
        tags: &sought.tags,
        limit: sought.limit,
        time: state.seams.clock.monotonic().saturating_sub(began).as_secs_f64() * 1000.0,
        results: page
            .series
            .iter()
            .map(|info| LookupResult { tsuid: result(info), metric: info.key.metric(), tags: info.key.tags() })
            .collect(),
        start_index: sought.start_index,
        total_results: page.total,
    };
    Ok(wire::json(&answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_with_tags_are_read() {
        let (metric, tags) = parse_metric("sys.cpu{host=*,dc=lga}").unwrap();
        assert_eq!(metric, "sys.cpu");
        assert_eq!(tags.iter().map(|tag| tag.value.as_str()).collect::<Vec<_>>(), ["*", "lga"]);
        assert!(parse_metric("sys.cpu{host=*").is_err());
        assert!(parse_metric("sys.cpu{host}").is_err());
        assert!(selector("", std::iter::empty()).is_err());
    }
}
