//! Jobs as JSON.

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde_json::{Value, json};
use tidemark_model::WriteOutcome;
use tidemark_queue::{AttemptNote, JobKind, JobView, LogLine, Progress};
use tidemark_workers::decode_write_receipt;

use super::payload_json::payload_json;

/// A job as lists show it.
pub(crate) fn job_json(job: &JobView) -> Value {
    json!({
        "id": job.id.to_string(),
        "kind": job.kind.to_string(),
        "queue": job.queue.to_string(),
        "priority": job.priority.name(),
        "state": job.state.name(),
        "attempt": job.attempt,
        "attempts_max": job.attempts_max,
        "rescues": job.rescues,
        "created_ms": job.created_ms,
        "not_before_ms": job.not_before_ms,
        "expires_ms": job.expires_ms,
        "started_ms": job.started_ms,
        "finished_ms": job.finished_ms,
        "worker": job.worker.as_ref().map(ToString::to_string),
        "progress": job.progress.as_ref().map(progress_json),
        "error": job.error,
        "unique_key": job.unique_key,
        "parent": job.parent.map(|id| id.to_string()),
        "workflow": job.workflow.map(|node| json!({"id": node.workflow.to_string(), "node": node.node.number()})),
        "trace": job.trace.map(|trace| trace.to_string()),
        "time_limit_ms": job.time_limit.as_millis() as u64,
        "soft_limit_ms": job.soft_limit.map(|limit| limit.as_millis() as u64),
        "payload_bytes": job.payload_bytes,
    })
}

/// A job with all that is known of it.
pub(super) fn full_job_json(job: &JobView) -> Value {
    let mut full = job_json(job);
    if let Some(fields) = full.as_object_mut() {
        fields.insert("payload".to_owned(), payload_json(job.kind, &job.payload));
        fields.insert("result".to_owned(), job.result.as_ref().map_or(Value::Null, |bytes| result_of(job.kind, bytes)));
        fields.insert("attempts".to_owned(), job.attempts.iter().map(attempt_json).collect());
        fields.insert("log".to_owned(), job.log.iter().map(line_json).collect());
    }
    full
}

fn progress_json(progress: &Progress) -> Value {
    json!({"done": progress.done, "total": progress.total, "message": progress.message})
}

fn attempt_json(attempt: &AttemptNote) -> Value {
    json!({
        "number": attempt.number,
        "worker": attempt.worker.as_ref().map(ToString::to_string),
        "started_ms": attempt.started_ms,
        "ended_ms": attempt.ended_ms,
        "error": attempt.error,
    })
}

fn line_json(line: &LogLine) -> Value {
    json!({"at_ms": line.at_ms, "text": line.text})
}

/// What a job made.
pub(crate) fn result_of(kind: JobKind, bytes: &Bytes) -> Value {
    if kind != JobKind::Write {
        return result_json(bytes);
    }
    match decode_write_receipt(bytes) {
        WriteOutcome::Done(receipt) => json!({"stored": receipt.stored, "refused": receipt.refused.len()}),
        WriteOutcome::Refused(refusal) => json!({"refused": refusal.message}),
        WriteOutcome::Unknown(reason) => json!({"unknown": reason}),
    }
}

/// A result: the JSON that it is, or else its text, or else its bytes in base64.
pub(super) fn result_json(bytes: &Bytes) -> Value {
    if let Ok(value) = serde_json::from_slice::<Value>(bytes) {
        return value;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::String(text.to_owned()),
        Err(_) => json!({"base64": BASE64_STANDARD.encode(bytes)}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_shown_as_what_it_is() {
        assert_eq!(result_json(&Bytes::from_static(b"{\"points\":3}")), json!({"points": 3}));
        assert_eq!(result_json(&Bytes::from_static(b"done.")), json!("done."));
        assert_eq!(result_json(&Bytes::from_static(&[0xFF, 0])), json!({"base64": "/wA="}));
        let unreadable = result_of(JobKind::Write, &Bytes::from_static(b"x"));
        assert!(unreadable["unknown"].is_string(), "{unreadable}");
    }
}
