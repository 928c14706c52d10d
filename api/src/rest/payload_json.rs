//! What a job carries, as JSON for people.

use serde_json::{Value, json};
use tidemark_alert::notification::NotificationRequest;
use tidemark_queue::{
    BacktestPayload, CollectPayload, EvaluatePayload, ExportPayload, ImportPayload, JobKind, NotifyPayload, Payload,
    RollupPayload, WritePayload,
};

/// Points of a batch that are shown.
const POINTS_SHOWN: usize = 100;
/// Largest batch that is looked into, in bytes.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// The payload of a job; `null` when it is not kept. What cannot be read says why. Passwords in addresses are left out.
pub(crate) fn payload_json(kind: JobKind, bytes: &[u8]) -> Value {
    if bytes.is_empty() {
        return Value::Null;
    }
    let read = match kind {
        JobKind::Write => write(bytes),
        JobKind::Rollup => shown::<RollupPayload>(bytes),
        JobKind::Collect => CollectPayload::decode(bytes)
            .map(|payload| json!(CollectPayload { url: without_password(&payload.url), ..payload }))
            .map_err(|error| error.to_string()),
        JobKind::Evaluate => shown::<EvaluatePayload>(bytes),
        JobKind::Notify => notify(bytes),
        JobKind::Import => shown::<ImportPayload>(bytes),
        JobKind::Export => shown::<ExportPayload>(bytes),
        JobKind::Backtest => shown::<BacktestPayload>(bytes),
        JobKind::Relay => Err(format!("this release does not read the payload of {kind} jobs")),
    };
    read.unwrap_or_else(|reason| json!({"unreadable": reason, "bytes": bytes.len()}))
}

/// A payload whose fields may all be seen.
fn shown<P: Payload>(bytes: &[u8]) -> Result<Value, String> {
    P::decode(bytes).map(|payload| json!(payload)).map_err(|error| error.to_string())
}

fn write(bytes: &[u8]) -> Result<Value, String> {
    if bytes.len() > BATCH_BYTES_MAX {
        return Err(format!("a batch of more than {BATCH_BYTES_MAX} bytes is not looked into"));
    }
    let payload = WritePayload::decode(bytes).map_err(|error| error.to_string())?;
    let batch = payload.into_batch().map_err(|error| error.to_string())?;
    let points = batch.points().take(POINTS_SHOWN).map(|point| {
        let key = batch.series_key(point.series);
        let tags: serde_json::Map<_, _> = key.tags().map(|(name, value)| (name.to_owned(), value.into())).collect();
        json!({"metric": key.metric(), "timestamp": point.timestamp, "value": point.value.to_string(), "tags": tags})
    });
    Ok(json!({"points": batch.len(), "first": points.collect::<Vec<_>>()}))
}

fn notify(bytes: &[u8]) -> Result<Value, String> {
    let payload = NotifyPayload::decode(bytes).map_err(|error| error.to_string())?;
    let request = NotificationRequest::decode(&payload.notification).map_err(|error| error.to_string())?;
    serde_json::to_value(request).map_err(|error| error.to_string())
}

/// An address as it may be shown. Works on texts that are no sound URL, too. Shows rather too little than too much, so what
/// stands before the last `@` is never shown, wherever that is.
#[must_use]
pub fn without_password(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    match rest.rsplit_once('@') {
        Some((_, address)) if scheme.is_empty() || scheme.contains('@') => format!("***@{address}"),
        Some((_, address)) => format!("{scheme}://***@{address}"),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use tidemark_model::{PointBatchBuilder, Value as PointValue};

    use super::*;

    #[test]
    fn payloads_are_shown_without_passwords() {
        let collect = CollectPayload { target: "shop".into(), url: "http://me:pw@shop/".into(), timeout_ms: 5 };
        let shown = payload_json(JobKind::Collect, &collect.encode().unwrap());
        assert_eq!(shown, json!({"target": "shop", "url": "http://***@shop/", "timeout_ms": 5}));
        assert_eq!(without_password("me:pw@h"), "***@h");
        assert_eq!(without_password("a@b://pw@h"), "***@h");
        assert_eq!(without_password("http://h/x"), "http://h/x");
    }

    #[test]
    fn a_batch_shows_its_first_points() {
        let mut builder = PointBatchBuilder::default();
        for second in 1..=200 {
            builder.push("os.cpu", &mut [("host", "a")], second * 1_000, PointValue::Int(second)).unwrap();
        }
        let bytes = WritePayload::from_batch(&builder.finish()).encode().unwrap();
        let shown = payload_json(JobKind::Write, &bytes);
        assert_eq!((&shown["points"], shown["first"].as_array().unwrap().len()), (&json!(200), 100));
        assert_eq!(shown["first"][0]["tags"]["host"], "a");
    }

    #[test]
    fn what_cannot_be_read_says_so() {
        for kind in JobKind::ALL {
            let shown = payload_json(kind, &[0x92, 0x01, 0xC1]);
            assert!(shown["unreadable"].is_string(), "{kind}: {shown}");
        }
        assert_eq!(payload_json(JobKind::Write, &[]), Value::Null);
    }
}
