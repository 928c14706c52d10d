//! Queries that ended.

use std::{
    collections::VecDeque,
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use serde_json::{Value, json};

use super::query_entry::RunningQuery;

/// Ended queries that are kept.
const KEPT_MAX: usize = 250;
/// Bytes of their JSON that are kept.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// An ended query as it is shown.
#[derive(Debug)]
struct EndedQuery {
    /// Of who asked what: the same again is counted and replaces the one before.
    identity: u64,
    executed: u64,
    shown: Value,
    bytes: usize,
}

/// The newest queries that ended, bounded by number and bytes.
#[derive(Debug, Default)]
pub(super) struct EndedQueries {
    newest_last: VecDeque<EndedQuery>,
    bytes: usize,
}

impl EndedQueries {
    /// Takes a query in, and lets the oldest go that are too many.
    pub(super) fn add(&mut self, query: &RunningQuery, now_ms: i64, now: Duration) {
        let identity = identity(query);
        let same = self.newest_last.iter().position(|ended| ended.identity == identity);
        let before = same.and_then(|position| self.newest_last.remove(position));
        let executed = before.as_ref().map_or(0, |before| before.executed) + 1;
        self.bytes -= before.map_or(0, |before| before.bytes);
        let shown = show(query, executed, now_ms, now);
        let bytes = shown.to_string().len();
        self.bytes += bytes;
        self.newest_last.push_back(EndedQuery { identity, executed, shown, bytes });
        while self.newest_last.len() > KEPT_MAX || self.bytes > KEPT_BYTES_MAX {
            let Some(oldest) = self.newest_last.pop_front() else { break };
            self.bytes -= oldest.bytes;
        }
    }

    /// The newest first.
    pub(super) fn to_json(&self) -> Vec<Value> {
        self.newest_last.iter().rev().map(|ended| ended.shown.clone()).collect()
    }
}

fn identity(query: &RunningQuery) -> u64 {
    let mut hasher = DefaultHasher::new();
    (query.asked.endpoint, query.asked.client.to_string(), query.asked.query.to_string()).hash(&mut hasher);
    hasher.finish()
}

/// With the names of OpenTSDB, and ours. What is no error has the text `null` there as its exception.
fn show(query: &RunningQuery, executed: u64, now_ms: i64, now: Duration) -> Value {
    let progress = query.progress.lock();
    let figures = super::QueryFigures { total: now.saturating_sub(query.began), ..progress.figures };
    let (response, exception) = match &progress.outcome {
        Some((status, error)) => (
            json!({ "code": status.as_u16(), "reasonPhrase": status.canonical_reason() }),
            error.clone().unwrap_or_else(|| "null".to_owned()),
        ),
        None => (Value::Null, "the client went away".to_owned()),
    };
    json!({
        "id": query.id,
        "endpoint": query.asked.endpoint,
        "query": query.asked.query,
        "remote": query.asked.client.address.map(|address| address.to_string()),
        "user": query.asked.client.token,
        "requestHeaders": { "User-Agent": query.asked.client.program },
        "queryStartTimestamp": query.started_ms,
        "queryCompletedTimestamp": now_ms,
        "numRunningQueries": query.running,
        "executed": executed,
        "exception": exception,
        "httpResponse": response,
        "stats": figures.to_json(),
    })
}
