//! What the process counted, under OpenTSDB's `/api/stats`, `/stats` and the telnet command.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde_json::json;

use super::wire;
use crate::{error::ApiError, http::query_string::QueryString, state::AppState};

/// One number about the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Statistic {
    pub(crate) metric: &'static str,
    pub(crate) value: u64,
    pub(crate) tags: Vec<(&'static str, String)>,
}

/// All of them, each with the host as its last tag.
pub(crate) fn statistics(state: &AppState) -> Vec<Statistic> {
    let mut all = counted(state);
    for statistic in &mut all {
        statistic.tags.push(("host", tag_value(&state.options.host)));
    }
    all
}

fn counted(state: &AppState) -> Vec<Statistic> {
    let counters = &state.counters;
    let mut all = vec![
        Statistic {
            metric: "tsd.connectionmgr.connections",
            value: counters.connections.get(),
            tags: vec![("type", "open".into())],
        },
        Statistic { metric: "tsd.query.running", value: counters.queries.get(), tags: Vec::new() },
    ];
    for (label, count) in counters.requests.snapshot() {
        let tags = vec![("endpoint", tag_value(&label.endpoint)), ("status", label.status.to_string())];
        all.push(Statistic { metric: "tsd.http.requests", value: count.requests, tags: tags.clone() });
        let millis = u64::try_from(count.time.as_millis()).unwrap_or(u64::MAX);
        all.push(Statistic { metric: "tsd.http.time_ms", value: millis, tags });
    }
    for counts in counters.points.snapshot() {
        let protocol = counts.protocol.as_str();
        let tags = vec![("type", "put".to_owned()), ("protocol", protocol.to_owned())];
        all.push(Statistic { metric: "tsd.datapoints.added", value: counts.accepted, tags });
        for (reason, rejected) in counts.rejected {
            let tags = vec![("type", reason.as_str().to_owned()), ("protocol", protocol.to_owned())];
            all.push(Statistic { metric: "tsd.rpc.errors", value: rejected, tags });
        }
    }
    all
}

/// A path as the value of a tag.
fn tag_value(path: &str) -> String {
    let legal = |character: char| {
        if tidemark_model::check_name(character.encode_utf8(&mut [0; 4])).is_ok() { character } else { '_' }
    };
    path.chars().map(legal).collect()
}

pub(crate) async fn api(state: Data<AppState>) -> HttpResponse {
    let seconds = state.seams.clock.now_ms() / 1000;
    let points: Vec<_> = statistics(&state)
        .into_iter()
        .map(|statistic| {
            let tags: serde_json::Map<_, _> =
                statistic.tags.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
            json!({
                "metric": statistic.metric,
                "timestamp": seconds,
                "value": statistic.value.to_string(),
                "tags": tags,
            })
        })
        .collect();
    wire::json(&points)
}

pub(crate) async fn legacy(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, ApiError> {
    let lines = lines(&state);
    if QueryString::parse(request.query_string())?.has("json") {
        return Ok(wire::json(&lines.lines().collect::<Vec<_>>()));
    }
    Ok(HttpResponse::Ok().content_type("text/plain; charset=UTF-8").body(lines))
}

/// The statistics as lines of `metric timestamp value tags`.
pub(crate) fn lines(state: &AppState) -> String {
    let seconds = state.seams.clock.now_ms() / 1000;
    let line = |statistic: &Statistic| {
        let tags = statistic.tags.iter().map(|(key, value)| format!(" {key}={value}"));
        format!("{} {seconds} {}{}\n", statistic.metric, statistic.value, tags.collect::<String>())
    };
    statistics(state).iter().map(line).collect()
}
