//! `query` and `query_range`.

use std::time::Duration;

use actix_web::{
    HttpRequest, HttpResponse, ResponseError,
    web::{Data, Payload},
};
use serde_json::json;
use tidemark_promql::{Expression, LOOKBACK_DEFAULT_MS, Query, Steps, parse};

use super::{
    error::PrometheusError,
    parameters::Parameters,
    placing::{Meant, meant},
    query_run::{Job, answer},
};
use crate::{
    error::ApiError,
    http::query_string::QueryString,
    opentsdb::{query_handler, wire},
    state::AppState,
};

/// Moments that a query may be about.
const STEPS_MAX: usize = 11_000;

pub(super) async fn instant(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> Result<HttpResponse, PrometheusError> {
    let parameters = Parameters::read(&request, payload, &state).await?;
    answer_instant(&request, &parameters, state).await
}

/// `/api/v1/query`, which Prometheus and OpenTSDB both have, without a parameter that says whose it is.
pub(super) async fn shared_without_body() -> HttpResponse {
    query_handler::meant_for_nobody().to_response()
}

/// `/api/v1/query` with a body that says whose it is.
pub(super) async fn shared(request: HttpRequest, payload: Payload, state: Data<AppState>) -> HttpResponse {
    match shared_answer(&request, payload, state).await {
        Ok(response) => response,
        Err(error) => error.to_response(),
    }
}

async fn shared_answer(
    request: &HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    let body = wire::read_short(request, payload, &state).await?;
    let text = body.text()?;
    if text.trim_start().starts_with('{') {
        return query_handler::post_body(request, text, state).await;
    }
    let form = QueryString::parse(text.trim())?;
    match meant(&form) {
        Meant::Prometheus => {
            let answered = async {
                let parameters = Parameters::of_form(request, text)?;
                answer_instant(request, &parameters, state).await
            };
            Ok(answered.await.unwrap_or_else(|error: PrometheusError| error.error_response()))
        }
        Meant::OpenTsdb => Err(ApiError::bad_request("OpenTSDB's `/api/query` takes no form")
            .details("send `start` and `m` in the query string of a GET, or a JSON body with `queries`")),
        Meant::Nobody => Err(query_handler::meant_for_nobody()),
    }
}

async fn answer_instant(
    request: &HttpRequest,
    parameters: &Parameters,
    state: Data<AppState>,
) -> Result<HttpResponse, PrometheusError> {
    let text = parameters.required("query")?;
    let time = parameters.time("time")?.unwrap_or_else(|| state.seams.clock.now_ms());
    let described = json!({ "query": text, "time": time });
    let query = Query::instant(expression(text)?, time, lookback(parameters)?);
    let (limit, timeout) = (parameters.limit("limit")?, timeout(parameters)?);
    let job = Job { query, time, limit, timeout, described };
    answer(request, &state, "/prometheus/api/v1/query", job).await
}

pub(super) async fn range(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> Result<HttpResponse, PrometheusError> {
    let parameters = Parameters::read(&request, payload, &state).await?;
    let text = parameters.required("query")?;
    let (start, end) = (parameters.required_time("start")?, parameters.required_time("end")?);
    if end < start {
        return Err(PrometheusError::parameter("end", "end timestamp must not be before start time"));
    }
    parameters.required("step")?;
    let step = parameters.duration("step")?.unwrap_or_default();
    if step <= 0 {
        let text = "zero or negative query resolution step widths are not accepted. Try a positive integer";
        return Err(PrometheusError::parameter("step", text));
    }
    let steps = Steps::new(start, end, step);
    if steps.count() > STEPS_MAX {
        return Err(PrometheusError::bad_data(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution \
             (?step=XX)",
        ));
    }
    let described = json!({ "query": text, "start": start, "end": end, "step": step });
    let query = Query::range(expression(text)?, steps, lookback(&parameters)?);
    let query = query.map_err(|error| PrometheusError::parameter("query", error))?;
    let (limit, timeout) = (parameters.limit("limit")?, timeout(&parameters)?);
    let job = Job { query, time: end, limit, timeout, described };
    answer(&request, &state, "/prometheus/api/v1/query_range", job).await
}

pub(super) fn expression(text: &str) -> Result<Expression, PrometheusError> {
    parse(text).map_err(|error| PrometheusError::parameter("query", error))
}

/// How long a point counts as the newest one.
fn lookback(parameters: &Parameters) -> Result<i64, PrometheusError> {
    match parameters.duration("lookback_delta")? {
        Some(lookback) if lookback <= 0 => Err(PrometheusError::parameter("lookback_delta", "it must be above 0")),
        lookback => Ok(lookback.unwrap_or(LOOKBACK_DEFAULT_MS)),
    }
}

fn timeout(parameters: &Parameters) -> Result<Option<Duration>, PrometheusError> {
    let timeout = parameters.duration("timeout")?;
    let positive = |timeout: i64| {
        let timeout = u64::try_from(timeout).ok().filter(|timeout| *timeout > 0);
        timeout.ok_or_else(|| PrometheusError::parameter("timeout", "it must be above 0"))
    };
    timeout.map(positive).transpose().map(|timeout| timeout.map(Duration::from_millis))
}
