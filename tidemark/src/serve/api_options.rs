//! The settings as the API wants them.

use std::sync::Arc;

use anyhow::Context;
use tidemark_api::{
    ApiLimits, ApiOptions, AutoCreate, LogBook, OpenTsdbOptions, QueryExtras, auth::Tokens, import::LineRules,
};
use tidemark_egress::Url;
use tidemark_model::{NameCharacters, PointRules, ReadLimits};
use tidemark_query::{EvaluationLimits, RollupIntervals, Weekday};

use crate::{
    build_info::build_info,
    config::{Bytes, LimitSettings, Settings},
};

/// Options of the server.
pub(crate) fn api_options(
    settings: &Settings,
    tokens: Tokens,
    logs: Option<Arc<dyn LogBook>>,
) -> anyhow::Result<ApiOptions> {
    let opentsdb = settings.opentsdb.clone();
    Ok(ApiOptions {
        limits: api_limits(settings),
        opentsdb: OpenTsdbOptions {
            mode: opentsdb.mode,
            allow_delete: opentsdb.allow_delete,
            point_rules: point_rules(settings)?,
            auto_create: AutoCreate {
                metrics: opentsdb.auto_create_metrics,
                tagks: opentsdb.auto_create_tagks,
                tagvs: opentsdb.auto_create_tagvs,
            },
            cors_domains: opentsdb.cors_domains,
            cors_headers: opentsdb.cors_headers,
            header_tag: opentsdb.header_tag,
            telnet_errors: opentsdb.telnet_errors,
            timezone: opentsdb.timezone,
            // The settings are checked already.
            week_start: opentsdb.week_start.parse().unwrap_or(Weekday::Sun),
            extras: QueryExtras {
                align_first: opentsdb.align_first,
                rate_before_downsample: opentsdb.rate_before_downsample,
                skip_unresolved: opentsdb.skip_unresolved,
                nan_as_null: opentsdb.nan_as_null,
            },
            rollups: rollup_intervals(settings),
        },
        api_v1: settings.http.api_v1,
        build: build_info(),
        tokens,
        logs,
        hosts: public_host(settings).into_iter().collect(),
        ..ApiOptions::default()
    })
}

/// What points must be to be taken.
pub(crate) fn point_rules(settings: &Settings) -> anyhow::Result<PointRules> {
    let characters = NameCharacters::with_special(&settings.opentsdb.allow_specialchars);
    let characters = characters.context("setting opentsdb.allow_specialchars")?;
    Ok(PointRules { tags_max: settings.opentsdb.max_tags, characters })
}

/// What the lines of an import may hold.
pub(crate) fn line_rules(settings: &Settings) -> anyhow::Result<LineRules> {
    Ok(LineRules { points: point_rules(settings)?, rollups: Some(rollup_intervals(settings)) })
}

/// For which intervals rollups may be written; the settings are checked already.
pub(crate) fn rollup_intervals(settings: &Settings) -> RollupIntervals {
    RollupIntervals::parse(settings.opentsdb.rollups.iter().map(String::as_str)).unwrap_or_default()
}

/// The name by which people reach this server, if somebody said so.
fn public_host(settings: &Settings) -> Option<String> {
    Url::parse(&settings.public_url).ok()?.host_str().map(str::to_owned)
}

/// What one query may read.
pub(crate) fn read_limits(limits: &LimitSettings) -> ReadLimits {
    ReadLimits { series_max: limits.query_series, points_max: limits.query_points, bytes_max: limits.query_bytes.0 }
}

fn api_limits(settings: &Settings) -> ApiLimits {
    let limits = &settings.limits;
    let size = |bytes: Bytes| usize::try_from(bytes.0).unwrap_or(usize::MAX);
    ApiLimits {
        connections: limits.connections,
        first_byte_timeout: limits.first_byte_timeout.0,
        head_timeout: limits.head_timeout.0,
        body_timeout: limits.body_timeout.0,
        body_rate_min: limits.body_rate.0,
        body_total_timeout: limits.body_total_timeout.0,
        body_bytes: size(limits.body_bytes),
        body_bytes_decoded: size(limits.body_bytes_decoded),
        body_bytes_in_flight: size(limits.body_bytes_in_flight),
        response_timeout: limits.response_timeout.0,
        keep_alive: limits.keep_alive.0,
        shutdown_timeout: settings.shutdown.requests.0,
        telnet_writes_in_flight: limits.telnet_writes_in_flight,
        telnet_retry: limits.telnet_retry.0,
        queries: limits.queries,
        queries_per_client: limits.queries_per_client,
        query_wait: limits.query_wait.0,
        query_time: limits.query_time.0,
        query_parts: limits.query_parts,
        query_reads: read_limits(limits),
        query_evaluation: EvaluationLimits {
            result_points_max: limits.query_result_points,
            group_points_max: limits.query_group_points,
        },
        results: limits.results,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_the_public_address_is_let_in() {
        let hosts = |public_url: &str| {
            let settings = Settings { public_url: public_url.to_owned(), ..Settings::default() };
            api_options(&settings, Tokens::default(), None).unwrap().hosts
        };
        assert_eq!(hosts("https://Monitor.example.org:8443/x"), ["monitor.example.org"]);
        assert!(hosts("").is_empty());
    }
}
