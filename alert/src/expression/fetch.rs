//! The queries of an expression are answered before it is evaluated.
//!
//! Reading is the only part that waits. Done first, the rest is plain code that runs on a blocking thread and needs no
//! future for every node of the tree. The price is that the arguments of a query cannot depend on another query.

use std::{collections::HashMap, ops::ControlFlow, sync::Arc};

use tidemark_model::{ReadError, SeriesReader, ValueColumn};
use tidemark_query::{EvaluationControl, GroupResult, Query, QueryError, SubQuery, SubQueryPlan, are_long_to_plan};
use tokio_util::sync::CancellationToken;

use crate::expression::{
    EvaluateOptions, Group, QueryRun, UnknownNames,
    error::EvaluateErrorKind,
    functions::{QueryPlan, QueryWindow},
    value::{Datum, Item, Series, Set},
};

/// Reads for one expression. Equal queries over equal windows are read once.
pub(crate) struct Fetcher<'a> {
    reader: &'a dyn SeriesReader,
    options: &'a EvaluateOptions,
    /// Fires when nobody waits for what is read.
    stop: &'a CancellationToken,
    seen: HashMap<(Arc<str>, QueryWindow), Set>,
    runs: Vec<QueryRun>,
}

impl<'a> Fetcher<'a> {
    pub(crate) fn new(reader: &'a dyn SeriesReader, options: &'a EvaluateOptions, stop: &'a CancellationToken) -> Self {
        Self { reader, options, stop, seen: HashMap::new(), runs: Vec::new() }
    }

    /// One set for each window of the plan.
    pub(crate) async fn fetch(&mut self, plan: &QueryPlan) -> Result<Vec<Set>, EvaluateErrorKind> {
        let mut sets = Vec::with_capacity(plan.windows.len());
        for window in &plan.windows {
            let key = (Arc::clone(&plan.text), *window);
            if !self.seen.contains_key(&key) {
                let set = self.run(plan, *window).await?;
                self.seen.insert(key.clone(), set);
            }
            sets.extend(self.seen.get(&key).cloned());
        }
        Ok(sets)
    }

    /// What was read.
    pub(crate) fn into_runs(self) -> Vec<QueryRun> {
        self.runs
    }

    async fn run(&mut self, plan: &QueryPlan, window: QueryWindow) -> Result<Set, EvaluateErrorKind> {
        let limit = self.options.limits.queries_max;
        if self.runs.len() >= limit {
            return Err(EvaluateErrorKind::Limit { what: "queries", field: "queries_max", limit: limit as u64 });
        }
        self.runs.push(QueryRun { text: Arc::clone(&plan.text), start: window.start, end: window.end });
        let explain = |reason| match reason {
            QueryError::Cancelled => EvaluateErrorKind::Interrupted,
            reason => EvaluateErrorKind::Query { text: plan.text.to_string(), reason },
        };
        let mut set = Set::default();
        let query = compile(&plan.query, window);
        let planned = match are_long_to_plan(std::slice::from_ref(&query)) {
            true => super::on_blocking_thread(move || query.plan()).await?,
            false => query.plan(),
        };
        for sub_query in planned.map_err(explain)? {
            let request = sub_query.read_request(self.options.limits.read);
            let opened = self.stop.run_until_cancelled(self.reader.open(request)).await;
            let series = match opened.ok_or(EvaluateErrorKind::Interrupted)? {
                Ok(series) => series,
                Err(ReadError::UnknownName { .. }) if self.options.unknown_names == UnknownNames::AreEmpty => continue,
                Err(reason) => return Err(explain(QueryError::Read(reason))),
            };
            let stop = self.stop.clone();
            let decoded = super::on_blocking_thread(move || evaluate(&sub_query, &*series, &stop)).await?;
            set.items.extend(decoded.map_err(explain)?);
        }
        Ok(set)
    }
}

fn compile(sub_query: &SubQuery, window: QueryWindow) -> Query {
    let mut query =
        Query::new(window.start.saturating_mul(1000), window.end.saturating_mul(1000), vec![sub_query.clone()]);
    query.ms_resolution = false;
    query
}

fn evaluate(
    plan: &SubQueryPlan,
    series: &dyn tidemark_model::SeriesSet,
    stop: &CancellationToken,
) -> Result<Vec<Item>, QueryError> {
    let keys: Vec<String> = plan.sub_query().group_keys().into_iter().map(str::to_owned).collect();
    let mut items = Vec::new();
    let control = EvaluationControl { cancelled: &|| stop.is_cancelled(), ..EvaluationControl::default() };
    plan.evaluate(series, &control, |result| {
        items.push(item(&keys, result));
        ControlFlow::Continue(())
    })?;
    Ok(items)
}

/// A result with the tags that the query asked for; others would keep groups from joining.
fn item(keys: &[String], result: GroupResult) -> Item {
    let group: Group = result.tags.into_iter().filter(|(key, _)| keys.binary_search(key).is_ok()).collect();
    let seconds = result.timestamps.iter().map(|timestamp| timestamp.div_euclid(1000));
    Item::new(group, Datum::Series(Series::new(seconds.zip(doubles(&result.values)).collect())))
}

fn doubles(values: &ValueColumn) -> impl Iterator<Item = f64> + '_ {
    values.iter().map(tidemark_model::Value::as_f64)
}
