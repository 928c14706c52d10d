//! All queries of the process.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    fmt,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tidemark_model::Clock;
use tokio_util::sync::CancellationToken;

use super::{
    QueryFigures,
    ended_query::EndedQueries,
    query_entry::{Asked, Phase, Progress, QueryEntry, RunningQuery},
};
use crate::error::ApiError;

/// All queries of the process.
pub(crate) struct QueryRegistry {
    clock: Arc<dyn Clock>,
    /// Queries that one client may have under way.
    per_client_max: usize,
    queries: Mutex<Queries>,
}

#[derive(Debug, Default)]
struct Queries {
    entered: u64,
    running: BTreeMap<u64, Arc<RunningQuery>>,
    /// How many of the running ones each client has.
    by_client: HashMap<String, usize>,
    ended: EndedQueries,
}

impl QueryRegistry {
    pub(crate) fn new(clock: Arc<dyn Clock>, per_client_max: usize) -> Self {
        Self { clock, per_client_max, queries: Mutex::default() }
    }

    /// Enters a query.
    ///
    /// # Errors
    /// 503 when its client has too many under way already.
    pub(crate) fn enter(self: &Arc<Self>, asked: Asked) -> Result<QueryEntry, ApiError> {
        let (started_ms, began) = (self.clock.now_ms(), self.now());
        let mut queries = self.queries.lock();
        let client = asked.client.to_string();
        let of_client = queries.by_client.entry(client.clone()).or_default();
        if *of_client >= self.per_client_max {
            return Err(ApiError::unavailable(format!(
                "{client} has {of_client} queries under way, at most {} are allowed; see `limits.queries_per_client`",
                self.per_client_max
            )));
        }
        *of_client += 1;
        queries.entered += 1;
        let query = Arc::new(RunningQuery {
            id: queries.entered,
            asked,
            started_ms,
            began,
            running: queries.running.len() + 1,
            cancelled: CancellationToken::new(),
            progress: Mutex::new(Progress {
                phase: Phase::Waits,
                figures: QueryFigures::default(),
                outcome: None,
                cancelled_by: None,
            }),
        });
        queries.running.insert(query.id, Arc::clone(&query));
        Ok(QueryEntry::new(Arc::clone(self), query))
    }

    /// Ends a query; false when there is none of this number.
    pub(crate) fn cancel(&self, id: u64, by: String) -> bool {
        let Some(query) = self.queries.lock().running.get(&id).cloned() else { return false };
        query.progress.lock().cancelled_by.get_or_insert(by);
        query.cancelled.cancel();
        true
    }

    /// Those under way, the oldest first, and those that ended, the newest first.
    pub(crate) fn to_json(&self) -> Value {
        let now = self.now();
        let queries = self.queries.lock();
        let running: Vec<Value> = queries.running.values().map(|query| query.to_json(now)).collect();
        json!({ "running": running, "completed": queries.ended.to_json() })
    }

    pub(super) fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    pub(super) fn leave(&self, query: &RunningQuery) {
        let (now_ms, now) = (self.clock.now_ms(), self.now());
        let mut queries = self.queries.lock();
        if queries.running.remove(&query.id).is_none() {
            return;
        }
        if let Entry::Occupied(mut of_client) = queries.by_client.entry(query.asked.client.to_string()) {
            *of_client.get_mut() -= 1;
            if *of_client.get() == 0 {
                of_client.remove();
            }
        }
        queries.ended.add(query, now_ms, now);
    }
}

impl fmt::Debug for QueryRegistry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("QueryRegistry").field("per_client_max", &self.per_client_max).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tidemark_model::ManualClock;

    use super::*;
    use crate::queries::ClientIdentity;

    fn registry(per_client_max: usize) -> Arc<QueryRegistry> {
        Arc::new(QueryRegistry::new(Arc::new(ManualClock::new(1_000)), per_client_max))
    }

    fn asked(token: &str, query: &str) -> Asked {
        let client = ClientIdentity { token: Some(token.to_owned()), ..ClientIdentity::default() };
        Asked::new(client, "/api/query", query.into())
    }

    #[test]
    fn a_client_may_have_so_many_queries_under_way_and_others_as_well() {
        let registry = registry(2);
        let first = registry.enter(asked("a", "1")).unwrap();
        let _second = registry.enter(asked("a", "2")).unwrap();
        let refused = registry.enter(asked("a", "3")).unwrap_err();
        assert_eq!(refused.status(), 503);
        assert_eq!(
            refused.message(),
            "token `a` has 2 queries under way, at most 2 are allowed; see `limits.queries_per_client`"
        );
        let _of_another = registry.enter(asked("b", "1")).unwrap();
        drop(first);
        let _third = registry.enter(asked("a", "3")).unwrap();
    }

    #[test]
    fn an_ended_query_says_how_it_ended_and_how_often_it_ran() {
        let registry = registry(10);
        for _ in 0..2 {
            let entry = registry.enter(asked("a", "same")).unwrap();
            entry.update(|figures| figures.answer_bytes += 7);
            entry.answered();
        }
        drop(registry.enter(asked("a", "left alone")).unwrap());
        let entry = registry.enter(asked("b", "wrong")).unwrap();
        assert_eq!(entry.failed(ApiError::bad_request("no")), ApiError::bad_request("no"));
        drop(entry);
        let shown = registry.to_json();
        let of = |index: usize, name: &str| shown["completed"][index][name].clone();
        assert_eq!((of(0, "exception"), of(0, "httpResponse")["code"].clone()), (json!("400 no"), json!(400)));
        assert_eq!((of(1, "exception"), of(1, "httpResponse")), (json!("the client went away"), Value::Null));
        assert_eq!((of(2, "executed"), of(2, "exception")), (json!(2), json!("null")));
        assert_eq!(of(2, "stats")["answerBytes"], 7);
        assert_eq!((shown["completed"].as_array().unwrap().len(), &shown["running"]), (3, &json!([])));
    }

    #[test]
    fn a_cancelled_query_names_who_did_it() {
        let registry = registry(10);
        let entry = registry.enter(asked("a", "x")).unwrap();
        assert!(!registry.cancel(17, "nobody".to_owned()));
        assert!(registry.cancel(1, "token `ops`".to_owned()) && entry.cancelled().is_cancelled());
        assert_eq!(entry.cancellation().message(), "query 1 was cancelled by token `ops`");
        assert_eq!(registry.to_json()["running"][0]["isCancelled"], true);
    }

    #[test]
    fn what_is_kept_is_bounded_by_number_and_bytes() {
        let registry = registry(10);
        for number in 0..300 {
            drop(registry.enter(asked("a", &number.to_string())).unwrap());
        }
        assert_eq!(registry.to_json()["completed"].as_array().unwrap().len(), 250);
        for number in 0..300 {
            drop(registry.enter(asked("a", &format!("{number}{}", "x".repeat(10_000)))).unwrap());
        }
        let shown = registry.to_json()["completed"].to_string().len();
        assert!(shown <= 1 << 20, "{shown}");
        let long = asked("a", &"x".repeat(70_000));
        assert_eq!(long.query, "70002 bytes, more than the 65536 that are kept");
    }
}
