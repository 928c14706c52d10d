//! Limits, cancellation, and results one by one.

use std::{cell::Cell, ops::ControlFlow};

use tidemark_model::{ReadLimits, Value, ValueColumn};
use tidemark_query::{EvaluationControl, EvaluationLimits, Query, QueryError, Source, SubQuery};

use crate::store::{MemoryStore, tsuid};

fn store() -> MemoryStore {
    let mut store = MemoryStore::default();
    for (host, first) in [("a", 1), ("b", 10), ("c", 100)] {
        for step in 0..10 {
            store.put("m", &[("host", host)], step * 1000, Value::Int(first * (step + 1)));
        }
    }
    store
}

fn query(text: &str) -> Query {
    Query::new(0, 9000, vec![SubQuery::parse(text).unwrap()])
}

fn control(limits: EvaluationLimits) -> EvaluationControl<'static> {
    EvaluationControl { limits, ..EvaluationControl::default() }
}

#[test]
fn results_beyond_the_limit_are_refused() {
    let limits = |result_points_max| control(EvaluationLimits { result_points_max, ..EvaluationLimits::default() });
    assert_eq!(store().evaluate_with(&query("none:m"), &limits(30)).unwrap().len(), 3);
    let refused = store().evaluate_with(&query("none:m"), &limits(29));
    assert_eq!(refused, Err(QueryError::TooManyResultPoints { limit: 29 }));
    let refused = store().evaluate_with(&query("sum:1s-avg-nan:m"), &limits(9));
    assert_eq!(refused, Err(QueryError::TooManyBuckets { found: 10, limit: 9 }));
    let year = Query::new(0, 365 * 86_400_000, query("sum:1ms-avg-nan:m").sub_queries);
    assert!(matches!(store().evaluate(&year), Err(QueryError::TooManyBuckets { .. })));
}

#[test]
fn a_group_beyond_the_limit_is_refused() {
    let limits = |group_points_max| control(EvaluationLimits { group_points_max, ..EvaluationLimits::default() });
    assert!(store().evaluate_with(&query("sum:m"), &limits(30)).is_ok());
    assert!(store().evaluate_with(&query("sum:m{host=*}"), &limits(10)).is_ok());
    let refused = store().evaluate_with(&query("sum:m"), &limits(29));
    assert_eq!(refused, Err(QueryError::TooManyGroupPoints { series: 3, limit: 29 }));
}

#[test]
fn a_cancelled_query_ends_at_the_next_series() {
    let asked = Cell::new(0);
    let cancelled = || {
        asked.set(asked.get() + 1);
        asked.get() > 2
    };
    let control = EvaluationControl { cancelled: &cancelled, ..EvaluationControl::default() };
    assert_eq!(store().evaluate_with(&query("none:m"), &control), Err(QueryError::Cancelled));
    assert_eq!(asked.get(), 3);
}

#[test]
fn whoever_takes_the_results_may_stop() {
    let plan = query("sum:m{host=*}").plan().unwrap().remove(0);
    let set = store().open(&plan.read_request(ReadLimits::default()));
    let mut hosts = Vec::new();
    let statistics = plan
        .evaluate(&set, &EvaluationControl::default(), |result| {
            hosts.push(result.tags[0].1.clone());
            if hosts.len() == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
    assert_eq!(hosts, ["a", "b"]);
    assert_eq!((statistics.series, statistics.points, statistics.groups, statistics.result_points), (2, 20, 2, 20));
}

#[test]
fn series_ids_are_one_group() {
    let source = Source::Tsuids(vec![tsuid(2), tsuid(0), tsuid(99)]);
    let sub_query = SubQuery { source, ..query("sum:m").sub_queries.remove(0) };
    let found = store().evaluate(&Query::new(0, 1000, vec![sub_query])).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].tsuids, [tsuid(0), tsuid(2)]);
    assert_eq!(found[0].aggregate_tags, ["host"]);
    assert_eq!(found[0].values, ValueColumn::Int(vec![101, 202]));
}

#[test]
fn sub_queries_are_answered_in_order() {
    let sub_queries = ["max:m", "min:m"].map(|text| SubQuery::parse(text).unwrap()).to_vec();
    let found = store().evaluate(&Query::new(0, 0, sub_queries)).unwrap();
    let values: Vec<_> = found.iter().map(|result| result.values.clone()).collect();
    assert_eq!(values, [ValueColumn::Int(vec![100]), ValueColumn::Int(vec![1])]);
}

#[test]
fn integers_that_outgrow_64_bits_become_doubles_where_they_do() {
    let mut store = MemoryStore::default();
    for host in ["a", "b"] {
        store.put("m", &[("host", host)], 0, Value::Int(i64::MAX));
        store.put("m", &[("host", host)], 1000, Value::Int(1));
    }
    let found = store.evaluate(&query("sum:m")).unwrap();
    let expect = ValueColumn::Mixed(vec![Value::Float(18_446_744_073_709_551_616.0), Value::Int(2)]);
    assert_eq!(found[0].values, expect);
}

#[test]
fn an_empty_window_has_no_results() {
    assert_eq!(store().evaluate(&query("sum:nothing")), Ok(Vec::new()));
    for text in ["sum:m", "sum:1m-avg:m", "sum:1m-avg-nan:m", "sum:1dc-avg-zero:m", "sum:0all-avg-nan:m", "sum:rate:m"]
    {
        let later = Query::new(100_000_000, 100_100_000, query(text).sub_queries);
        assert_eq!(store().evaluate(&later), Ok(Vec::new()), "{text}");
    }
    let backwards = Query::new(5, 4, query("sum:m").sub_queries);
    assert!(backwards.plan().is_err());
    assert!(Query::new(0, 1, Vec::new()).plan().is_err());
}

#[test]
fn filled_groups_beyond_the_limit_are_refused_before_the_first_is_handed_out() {
    let limits = EvaluationLimits { result_points_max: 29, ..EvaluationLimits::default() };
    let query = query("sum:1s-avg-zero:m{host=*}");
    let plan = query.plan().unwrap().remove(0);
    let set = store().open(&plan.read_request(ReadLimits::default()));
    let mut handed_out = 0;
    let refused = plan.evaluate(&set, &control(limits), |_| {
        handed_out += 1;
        ControlFlow::Continue(())
    });
    assert_eq!((refused, handed_out), (Err(QueryError::TooManyResultPoints { limit: 29 }), 0));
}
