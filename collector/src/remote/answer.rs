//! What the answer to a put says of its points.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
};

use serde::Deserialize;
use tidemark_egress::{EgressError, Response};
use tidemark_model::{RefusalReason, SeriesKey, TimestampMs, WriteOutcome, WriteRefusal, timestamp_ms};

use super::datapoints::Datapoints;

/// The meaning of an answer.
#[derive(Debug, PartialEq)]
pub(super) enum Answer {
    /// The points are stored, but for those listed.
    Stored(Vec<(usize, WriteRefusal)>),
    /// The request is larger than the server takes.
    TooLarge,
    /// The server refuses the request without saying which point is wrong.
    RefusedAsAWhole(String),
    /// Nothing is known to be stored; all of it has to be sent again.
    Failed(WriteOutcome),
}

/// OpenTSDB's report of a put with `details`.
#[derive(Deserialize)]
struct Report {
    failed: usize,
    #[serde(default)]
    errors: Vec<ReportedError>,
}

#[derive(Deserialize)]
struct ReportedError {
    datapoint: Option<ReportedPoint>,
    #[serde(default)]
    error: String,
}

#[derive(Deserialize)]
struct ReportedPoint {
    #[serde(default)]
    metric: String,
    timestamp: Option<serde_json::Number>,
    tags: Option<BTreeMap<String, String>>,
}

/// What the answer to the objects `sent` of `batch` says of their positions.
pub(super) fn of_put(response: &Response, batch: &Datapoints, sent: Range<usize>) -> Answer {
    let status = response.status.as_u16();
    let refused = |reason, text: &str| {
        Answer::Failed(WriteOutcome::Refused(WriteRefusal::new(reason, format!("{text} (status {status})"))))
    };
    match status {
        200..=299 => Answer::Stored(of_report(response, batch, sent).unwrap_or_default()),
        400 => match of_report(response, batch, sent) {
            Some(refused) => Answer::Stored(refused),
            None => Answer::RefusedAsAWhole(format!("the server refused the request: {}", excerpt(response))),
        },
        401 | 403 => refused(RefusalReason::Unavailable, "the server does not accept the agent's token"),
        404 | 405 => {
            let path = batch.kind.path();
            refused(RefusalReason::Unavailable, &format!("the server has no `/{path}`; is the URL right?"))
        }
        407 => refused(RefusalReason::Unavailable, "the proxy does not accept the agent's user and password"),
        413 => Answer::TooLarge,
        429 | 503 => refused(RefusalReason::Busy, &format!("the server is busy: {}", excerpt(response))),
        507 => refused(RefusalReason::DiskFull, "the disk of the server is full"),
        500..=599 => Answer::Failed(WriteOutcome::Unknown(format!(
            "the server failed with status {status}: {}",
            excerpt(response)
        ))),
        _ => refused(RefusalReason::Unavailable, "the server gave an answer that no store gives"),
    }
}

/// What it means that there is no answer.
pub(super) fn of_error(error: &EgressError) -> Answer {
    Answer::Failed(match error {
        EgressError::Refused(_) | EgressError::Lookup { .. } | EgressError::Connect { .. } => {
            WriteOutcome::Refused(WriteRefusal::new(RefusalReason::Unavailable, error.to_string()))
        }
        EgressError::Timeout { .. } | EgressError::Broken { .. } => WriteOutcome::Unknown(error.to_string()),
    })
}

/// What the report refuses; `None` when the body is no report, or one without the failures that it counts.
fn of_report(response: &Response, batch: &Datapoints, sent: Range<usize>) -> Option<Vec<(usize, WriteRefusal)>> {
    let report: Report = serde_json::from_slice(&response.body).ok()?;
    if report.failed == 0 {
        return (response.status.as_u16() < 300).then(Vec::new);
    }
    Some(positions(&report, batch, sent))
}

/// As many positions as the report counts failures. A failure that is not listed, or whose point was not sent,
/// is put on some point that is not listed either. Rollups of one series and moment are not told apart by reports.
fn positions(report: &Report, batch: &Datapoints, sent: Range<usize>) -> Vec<(usize, WriteRefusal)> {
    let mut by_point: HashMap<(SeriesKey, TimestampMs), Vec<usize>> = HashMap::new();
    batch.each(sent.clone(), |position, points| {
        if let Some(identity) = batch.identity(points) {
            by_point.entry(identity).or_default().push(position);
        }
        true
    });
    let mut refused: BTreeMap<usize, WriteRefusal> = BTreeMap::new();
    let mut reason = "the server did not say why";
    for error in &report.errors {
        let found =
            error.datapoint.as_ref().and_then(identity_of).and_then(|identity| by_point.get_mut(&identity)?.pop());
        reason = &error.error;
        if let Some(position) = found {
            refused.insert(position, WriteRefusal::new(RefusalReason::Limit, reason));
        }
    }
    let failed = report.failed.min(sent.len());
    for position in sent {
        if refused.len() >= failed {
            break;
        }
        refused.entry(position).or_insert_with(|| WriteRefusal::new(RefusalReason::Limit, reason));
    }
    refused.into_iter().collect()
}

/// Servers repeat the timestamp that was sent, or tell seconds where it has no milliseconds.
fn identity_of(point: &ReportedPoint) -> Option<(SeriesKey, TimestampMs)> {
    let tags: Vec<(&str, &str)> =
        point.tags.iter().flatten().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    Some((SeriesKey::new(&point.metric, &tags), timestamp_ms(point.timestamp.as_ref()?.as_i64()?)))
}

/// The beginning of a body, for a text.
pub(super) fn excerpt(response: &Response) -> String {
    let text = String::from_utf8_lossy(&response.body);
    text.chars().take(200).map(|character| if character.is_control() { ' ' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tidemark_egress::{HeaderMap, StatusCode};
    use tidemark_model::{PointBatchBuilder, Value};

    use super::*;

    fn batch(points: i64) -> Datapoints {
        let mut builder = PointBatchBuilder::default();
        for at in 0..points {
            builder.push("m", &mut [("host", "h")], 1_795_343_205_000 + at, Value::Int(at)).unwrap();
        }
        Datapoints::of(builder.finish()).remove(0)
    }

    fn answer(status: u16, body: &str, sent: Range<usize>) -> Answer {
        let response = Response {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::copy_from_slice(body.as_bytes()),
            truncated: false,
        };
        of_put(&response, &batch(10), sent)
    }

    fn error_of(at: i64) -> String {
        format!(
            r#"{{"datapoint":{{"metric":"m","timestamp":{},"value":"1","tags":{{"host":"h"}}}},"error":"no {at}"}}"#,
            1_795_343_205_000 + at
        )
    }

    fn refused(answer: Answer) -> Vec<(usize, String)> {
        let Answer::Stored(refused) = answer else { panic!("{answer:?}") };
        refused.into_iter().map(|(at, refusal)| (at, refusal.message)).collect()
    }

    #[test]
    fn success_stores_everything() {
        assert_eq!(refused(answer(204, "", 2..10)), []);
        assert_eq!(refused(answer(200, r#"{"success":8,"failed":0,"errors":[]}"#, 2..10)), []);
        assert_eq!(refused(answer(200, "<html>", 2..10)), []);
    }

    #[test]
    fn refused_points_are_found_by_series_and_timestamp() {
        let body = format!(r#"{{"success":6,"failed":2,"errors":[{},{}]}}"#, error_of(7), error_of(3));
        assert_eq!(refused(answer(400, &body, 2..10)), [(3, "no 3".into()), (7, "no 7".into())]);
    }

    #[test]
    fn refused_points_are_found_where_the_report_tells_seconds() {
        let batch = || {
            let mut builder = PointBatchBuilder::default();
            for at in 0..10 {
                builder.push("m", &mut [("host", "h")], 1_795_343_205_000 + at * 1000, Value::Int(at)).unwrap();
            }
            Datapoints::of(builder.finish()).remove(0)
        };
        let body = r#"{"failed":1,"errors":[{"datapoint":{"metric":"m","timestamp":1795343209,"tags":{"host":"h"}},"error":"no"}]}"#;
        let response = Response {
            status: StatusCode::BAD_REQUEST,
            headers: HeaderMap::new(),
            body: Bytes::from_static(body.as_bytes()),
            truncated: false,
        };
        assert_eq!(refused(of_put(&response, &batch(), 0..10)), [(4, "no".into())]);
    }

    #[test]
    fn failures_that_are_not_listed_are_counted_all_the_same() {
        let body = format!(r#"{{"success":5,"failed":3,"errors":[{}]}}"#, error_of(7));
        assert_eq!(refused(answer(400, &body, 2..10)).len(), 3);
        let body = r#"{"success":0,"failed":99,"errors":[{"error":"x"},{"datapoint":null,"error":"y"}]}"#;
        assert_eq!(refused(answer(400, body, 2..10)).len(), 8);
    }

    #[test]
    fn what_may_succeed_later_is_told_from_what_is_lost() {
        let reason = |status: u16| match answer(status, "why", 0..10) {
            Answer::Failed(WriteOutcome::Refused(refusal)) => Some(refusal.reason),
            Answer::Failed(WriteOutcome::Unknown(_)) => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(reason(503), Some(RefusalReason::Busy));
        assert_eq!(reason(429), Some(RefusalReason::Busy));
        assert_eq!(reason(507), Some(RefusalReason::DiskFull));
        for status in [301, 401, 403, 404, 405, 407, 418] {
            assert_eq!(reason(status), Some(RefusalReason::Unavailable), "{status}");
        }
        for status in [500, 502, 504] {
            assert_eq!(reason(status), None, "{status}");
        }
        assert_eq!(answer(413, "", 0..10), Answer::TooLarge);
        let whole = answer(400, "Unable to parse\nthe given JSON", 0..10);
        assert_eq!(
            whole,
            Answer::RefusedAsAWhole("the server refused the request: Unable to parse the given JSON".into())
        );
        assert!(matches!(answer(400, r#"{"success":0,"failed":0}"#, 0..10), Answer::RefusedAsAWhole(_)));
    }
}
