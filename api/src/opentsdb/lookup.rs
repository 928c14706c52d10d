//! `/api/search/lookup`: the series of a metric, of tags, or of a tag value.

use std::collections::BTreeMap;

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Payload},
};
use serde::{Deserialize, Serialize, Serializer};
use tidemark_model::{
    CatalogError, NameKind, ReadError, SeriesInfo, SeriesPage, SeriesSelector, TagMatch, TagPredicate, Tags,
};
use tidemark_query::Filter;

use super::wire::{self, Text};
use crate::{
    error::{ApiError, kind_word},
    http::query_string::QueryString,
    state::AppState,
};

/// Most tag keys under which a value without a key is looked for.
const KEYS_MAX: usize = 1_000;
/// Most series with such a value where more than one key has it.
const SERIES_OF_SEVERAL_KEYS_MAX: usize = 10_000;
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

/// A tag that the series must have; an empty text or `*` stands for any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
struct LookupTag {
    key: String,
    value: String,
}

impl LookupTag {
    /// Whether every series has it.
    fn is_any(&self) -> bool {
        is_any(&self.key) && is_any(&self.value)
    }
}

fn is_any(text: &str) -> bool {
    matches!(text, "" | "*")
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct LookupTagBody {
    #[serde(default, deserialize_with = "wire::text")]
    key: Option<String>,
    #[serde(default, deserialize_with = "wire::text")]
    value: Option<String>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
#[serde(rename_all = "camelCase")]
struct LookupBody {
    #[serde(default, deserialize_with = "wire::text")]
    metric: Option<String>,
    tags: Option<Vec<LookupTagBody>>,
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
    let tag = |tag: LookupTagBody| LookupTag { key: tag.key.unwrap_or_default(), value: tag.value.unwrap_or_default() };
    let sought = Lookup {
        metric: body.metric.unwrap_or_default(),
        tags: body.tags.unwrap_or_default().into_iter().map(tag).collect(),
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
pub(super) fn selector(
    metric: &str,
    tags: impl IntoIterator<Item = (String, String)>,
) -> Result<SeriesSelector, ApiError> {
    let metric = Some(metric.to_owned()).filter(|metric| !metric.is_empty() && metric != "*");
    let predicates: Vec<TagPredicate> = tags
        .into_iter()
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

/// A page of the series with a tag value under whatever key, in the order of their names.
///
/// The index is by keys, so each key is asked. Nearly always one of them has the value, and the page is one of its series;
/// of several keys all series are gathered, since one may have the value twice.
///
/// # Errors
/// 404 when nobody has written the value, 413 for more keys, or more series under several keys, than are looked at.
async fn page_by_value(
    state: &AppState,
    metric: &str,
    named: &[(String, String)],
    value: &str,
    (offset, limit): (usize, usize),
) -> Result<SeriesPage, ApiError> {
    let catalog = &state.seams.catalog;
    let too_many = |what: String| ApiError::too_large(what).details("name the tag key, as in `key=value`");
    let keys = catalog.suggest(NameKind::TagKey, "", KEYS_MAX + 1).await?;
    if keys.len() > KEYS_MAX {
        return Err(too_many(format!("there are more than {KEYS_MAX} tag keys")));
    }
    let (mut having, mut total) = (Vec::new(), 0);
    for key in keys {
        let selector = selector(metric, named.iter().cloned().chain([(key, value.to_owned())]))?;
        let found = catalog.lookup(&selector, 0, 0).await.map_err(unresolved)?.total;
        if found > 0 {
            total += found;
            having.push(selector);
        }
    }
    if let [selector] = having.as_slice() {
        return catalog.lookup(selector, offset, limit).await.map_err(unresolved);
    }
    if total > SERIES_OF_SEVERAL_KEYS_MAX {
        return Err(too_many(format!(
            "{} tag keys have the value on {total} series, at most {SERIES_OF_SEVERAL_KEYS_MAX} are looked at",
            having.len()
        )));
    }
    let mut found = BTreeMap::new();
    for selector in &having {
        let page = catalog.lookup(selector, 0, SERIES_OF_SEVERAL_KEYS_MAX).await.map_err(unresolved)?;
        found.extend(page.series.into_iter().map(|info| (info.key.clone(), info)));
    }
    Ok(SeriesPage { total: found.len(), series: found.into_values().skip(offset).take(limit).collect() })
}

/// 404 for a name that nobody has written.
fn unresolved(error: CatalogError) -> ApiError {
    match error {
        CatalogError(ReadError::UnknownName { kind, name }) => {
            ApiError::new(StatusCode::NOT_FOUND, "Unable to resolve one or more UIDs")
                .details(format!("No such name for '{}': '{name}'", kind_word(kind)))
        }
        error => error.into(),
    }
}

async fn lookup(state: &AppState, sought: Lookup) -> Result<HttpResponse, ApiError> {
    let began = state.seams.clock.monotonic();
    let offset = usize::try_from(sought.start_index).unwrap_or(usize::MAX);
    let limit = usize::try_from(sought.limit).unwrap_or(usize::MAX).min(state.options.limits.results);
    let (named, keyless): (Vec<&LookupTag>, Vec<&LookupTag>) =
        sought.tags.iter().filter(|tag| !tag.is_any()).partition(|tag| !is_any(&tag.key));
    let named: Vec<(String, String)> = named.into_iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect();
    let page = match keyless.as_slice() {
        [] => state.seams.catalog.lookup(&selector(&sought.metric, named)?, offset, limit).await.map_err(unresolved)?,
        [tag] => page_by_value(state, &sought.metric, &named, &tag.value, (offset, limit)).await?,
        _ => {
            return Err(ApiError::bad_request("only one tag value can be looked up without its key")
                .details("name the keys of the others, as in `key=value`"));
        }
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
