//! `metadata`: what is known of metrics.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Payload},
};
use serde_json::{Map, Value, json};
use tidemark_model::{MetricMetadata, RateKind};

use super::{answer::success, error::PrometheusError, parameters::Parameters};
use crate::{error::ApiError, state::AppState};

pub(super) async fn get(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> Result<HttpResponse, PrometheusError> {
    let parameters = Parameters::read(&request, payload, &state).await?;
    // There is one entry for each metric, so that `limit_per_metric` leaves nothing out.
    parameters.limit("limit_per_metric")?;
    let most = state.options.limits.results;
    let limit = parameters.limit("limit")?.map_or(most, |limit| limit.min(most));
    let described = match parameters.get("metric") {
        Some(metric) => {
            state.seams.described.described_metric(metric).await.map_err(ApiError::from)?.into_iter().collect()
        }
        None => state.seams.described.described_metrics(None, limit).await.map_err(ApiError::from)?,
    };
    let entries = described.into_iter().map(|described| {
        let entry = entry(&described.metadata);
        (described.metadata.metric, json!([entry]))
    });
    Ok(success(entries.collect::<Map<String, Value>>(), &[]))
}

fn entry(metadata: &MetricMetadata) -> Value {
    let kind = match metadata.rate {
        Some(RateKind::Counter) => "counter",
        Some(RateKind::Gauge | RateKind::Rate) => "gauge",
        None => "unknown",
    };
    json!({ "type": kind, "help": metadata.description, "unit": metadata.unit })
}
