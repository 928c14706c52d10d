//! `series`, `labels` and `label/…/values`: what there is, from the index alone.
//!
//! The index knows which series have points, and not when. So `start` and `end` are checked and narrow nothing: Prometheus,
//! too, may show series of a little before.

use std::{collections::BTreeSet, sync::Arc};

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path, Payload},
};
use serde_json::{Value, json};
use tidemark_model::{CatalogError, NameKind, ReadError, SeriesInfo, TimeRange};
use tidemark_promql::{Labels, METRIC_NAME, MatchKind, Matcher, SeriesRead};
use tidemark_query::EvaluationStatistics;

use super::{
    answer::{TRUNCATED, success},
    error::PrometheusError,
    parameters::Parameters,
    query_run::metrics,
};
use crate::{
    error::ApiError,
    opentsdb::query_run::Turn,
    queries::{Asked, ClientIdentity},
    state::AppState,
};

/// Series that the index is asked for at once.
const SERIES_LISTED: usize = 20_000;

pub(super) async fn series(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> Result<HttpResponse, PrometheusError> {
    let listing = Listing::read(&request, payload, &state).await?;
    if listing.reads.is_empty() {
        return Err(PrometheusError::bad_data("no match[] parameter provided"));
    }
    let state = state.into_inner();
    let turn = listing.turn(&request, &state, "/prometheus/api/v1/series").await?;
    let most = listing.most(&state);
    let listed = async {
        let mut found = BTreeSet::new();
        each_series(&state, &listing.reads, &mut |series| {
            found.insert(Labels::of_series(&series.key));
            found.len() < most
        })
        .await?;
        listing.check(&state, found.len(), "series")?;
        Ok(found)
    };
    let found = turn.in_time(listed).await?;
    let shown = |labels: &Labels| labels.iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    Ok(listing.answer(&turn, found.iter().map(|labels| Value::Object(shown(labels)))))
}

pub(super) async fn label_names(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> Result<HttpResponse, PrometheusError> {
    let listing = Listing::read(&request, payload, &state).await?;
    let state = state.into_inner();
    let turn = listing.turn(&request, &state, "/prometheus/api/v1/labels").await?;
    let most = listing.most(&state);
    let listed = async {
        let mut found = BTreeSet::new();
        if listing.reads.is_empty() {
            found.extend(state.seams.catalog.suggest(NameKind::TagKey, "", most).await?);
            if !found.is_empty() {
                found.insert(METRIC_NAME.to_owned());
            }
        }
        each_series(&state, &listing.reads, &mut |series| {
            for key in series.key.tags().map(|(key, _)| key).chain([METRIC_NAME]) {
                if !found.contains(key) {
                    found.insert(key.to_owned());
                }
            }
            found.len() < most
        })
        .await?;
        listing.check(&state, found.len(), "labels")?;
        Ok(found)
    };
    let found = turn.in_time(listed).await?;
    Ok(listing.answer(&turn, found.into_iter().map(Value::from)))
}

pub(super) async fn label_values(
    request: HttpRequest,
    path: Path<String>,
    payload: Payload,
    state: Data<AppState>,
) -> Result<HttpResponse, PrometheusError> {
    let name = unescaped(&path);
    if name.is_empty() {
        return Err(PrometheusError::bad_data("a label without a name has no values"));
    }
    let mut listing = Listing::read(&request, payload, &state).await?;
    let state = state.into_inner();
    let turn = listing.turn(&request, &state, "/prometheus/api/v1/label/…/values").await?;
    let most = listing.most(&state);
    let are_all_metrics = name == METRIC_NAME && listing.reads.is_empty();
    if listing.reads.is_empty() && !are_all_metrics {
        listing.reads.push(SeriesRead::new(Vec::new(), TimeRange::ALL));
    }
    if name != METRIC_NAME {
        // Series without the label need not be looked at.
        let has_label = Matcher::new(name.as_str(), MatchKind::NotEqual, "").map_err(PrometheusError::bad_data)?;
        listing.reads.iter_mut().for_each(|read| read.matchers.push(has_label.clone()));
    }
    let listed = async {
        let mut found = BTreeSet::new();
        if are_all_metrics {
            found.extend(state.seams.catalog.suggest(NameKind::Metric, "", most).await?);
        }
        each_series(&state, &listing.reads, &mut |series| {
            let value = if name == METRIC_NAME { Some(series.key.metric()) } else { series.key.tag(&name) };
            if let Some(value) = value.filter(|value| !found.contains(*value)) {
                found.insert(value.to_owned());
            }
            found.len() < most
        })
        .await?;
        listing.check(&state, found.len(), "values")?;
        Ok(found)
    };
    let found = turn.in_time(listed).await?;
    Ok(listing.answer(&turn, found.into_iter().map(Value::from)))
}

/// What a listing is about.
struct Listing {
    reads: Vec<SeriesRead>,
    /// How many are shown.
    limit: Option<usize>,
}

impl Listing {
    async fn read(request: &HttpRequest, payload: Payload, state: &AppState) -> Result<Self, PrometheusError> {
        let parameters = Parameters::read(request, payload, state).await?;
        let (start, end) = (parameters.time("start")?, parameters.time("end")?);
        if start.zip(end).is_some_and(|(start, end)| end < start) {
            return Err(PrometheusError::parameter("end", "end timestamp must not be before start time"));
        }
        let selectors = parameters.selectors(state.options.limits.query_parts)?.into_iter();
        let reads = selectors.map(|matchers| SeriesRead::new(matchers, TimeRange::ALL)).collect();
        Ok(Self { reads, limit: parameters.limit("limit")? })
    }

    /// How many are collected: one more than are shown, to tell that there are more.
    fn most(&self, state: &AppState) -> usize {
        let most = state.options.limits.results;
        self.limit.map_or(most, |limit| limit.min(most)).saturating_add(1)
    }

    /// Waits for a turn, as every query does.
    async fn turn(
        &self,
        request: &HttpRequest,
        state: &Arc<AppState>,
        endpoint: &'static str,
    ) -> Result<Turn, PrometheusError> {
        let shown = |read: &SeriesRead| read.matchers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let selectors: Vec<String> = self.reads.iter().map(|read| format!("{{{}}}", shown(read))).collect();
        let described = json!({ "query": selectors.join(" ") });
        Ok(Turn::wait(state, Asked::new(ClientIdentity::of(request), endpoint, described)).await?)
    }

    /// Whether so many may be shown.
    fn check(&self, state: &AppState, found: usize, what: &str) -> Result<(), ApiError> {
        let most = state.options.limits.results;
        if found <= most || self.limit.is_some_and(|limit| limit <= most) {
            return Ok(());
        }
        Err(ApiError::too_large(format!(
            "there are more than {most} {what}; give a narrower `match[]` or a `limit`, or raise `limits.results`"
        )))
    }

    fn answer(&self, turn: &Turn, found: impl ExactSizeIterator<Item = Value>) -> HttpResponse {
        let limit = self.limit.unwrap_or(usize::MAX);
        let warnings: &[&str] = if found.len() > limit { &[TRUNCATED] } else { &[] };
        let shown: Vec<Value> = found.take(limit).collect();
        turn.answered(EvaluationStatistics { groups: shown.len(), ..EvaluationStatistics::default() });
        success(shown, warnings)
    }
}

/// Takes the series of all selectors, some of them twice, until `take` wants no more.
async fn each_series(
    state: &AppState,
    reads: &[SeriesRead],
    take: &mut impl FnMut(&SeriesInfo) -> bool,
) -> Result<(), ApiError> {
    let limit = state.options.limits.query_reads.series_max;
    let mut looked_at = 0;
    for read in reads {
        for metric in metrics(state, read).await? {
            let check_total = |found: usize| {
                let found = looked_at + found;
                if found > limit { Err(ReadError::TooManySeries { found, limit }.into()) } else { Ok(()) }
            };
            match each_of_metric(state, read, metric, check_total, take).await? {
                Some(found) => looked_at += found,
                None => return Ok(()),
            }
        }
    }
    Ok(())
}

/// Takes the series of one metric, or of all, that fulfil the conditions of a read; how many were looked at, or `None` when
/// `take` wants no more. `check_total` is told how many the index has, and may refuse them.
pub(super) async fn each_of_metric(
    state: &AppState,
    read: &SeriesRead,
    metric: Option<String>,
    check_total: impl Fn(usize) -> Result<(), ApiError>,
    take: &mut impl FnMut(&SeriesInfo) -> bool,
) -> Result<Option<usize>, ApiError> {
    let selector = read.selector(metric);
    let mut offset = 0;
    loop {
        let page = match state.seams.catalog.lookup(&selector, offset, SERIES_LISTED).await {
            Err(CatalogError(ReadError::UnknownName { .. })) => return Ok(Some(offset)),
            page => page?,
        };
        check_total(page.total)?;
        offset += page.series.len();
        let mut accepted = page.series.iter().filter(|series| read.accepts(&series.key));
        if !accepted.all(&mut *take) {
            return Ok(None);
        }
        if page.series.is_empty() || offset >= page.total {
            return Ok(Some(offset));
        }
    }
}

/// A name as Prometheus' clients may spell it in a path: after `U__` an underscore is `__` and any other character `_HEX_`.
fn unescaped(path: &str) -> String {
    let Some(mut rest) = path.strip_prefix("U__") else { return path.to_owned() };
    let mut name = String::new();
    while let Some((before, after)) = rest.split_once('_') {
        name.push_str(before);
        if let Some(after) = after.strip_prefix('_') {
            name.push('_');
            rest = after;
            continue;
        }
        let character = after
            .split_once('_')
            .and_then(|(code, after)| Some((char::from_u32(u32::from_str_radix(code, 16).ok()?)?, after)));
        let Some((character, after)) = character else { return path.to_owned() };
        name.push(character);
        rest = after;
    }
    name + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_paths_may_be_escaped() {
        let check = |path: &str, expect: &str| assert_eq!(unescaped(path), expect, "{path}");
        check("host", "host");
        check("os.type", "os.type");
        check("U__os_2e_type", "os.type");
        check("U__a__b_2f_c", "a_b/c");
        check("U__a_zz_b", "U__a_zz_b");
        check("U__a_2e", "U__a_2e");
    }
}
