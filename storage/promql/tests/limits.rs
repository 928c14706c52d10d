//! What bounds an evaluation: values held, points of the answer, somebody who ends it, and the stack.

#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

mod support;

use std::cell::Cell;

use support::{TestSeries, TestStore, key};
use tidemark_promql::{Answer, Control, LOOKBACK_DEFAULT_MS, Query, QueryError, Steps, parse};

/// Ten series of a hundred points each, a second apart.
fn store() -> TestStore {
    let points: Vec<(i64, f64)> = (0..100).map(|second| (second * 1_000, second as f64)).collect();
    let series = (0..10).map(|host| TestSeries { key: key(&format!("x{{host=h{host}}}")), points: points.clone() });
    TestStore { series: series.collect() }
}

/// The answer for each of a hundred seconds.
fn range(text: &str, control: &Control<'_>) -> Result<Answer, QueryError> {
    let query = Query::range(parse(text).unwrap(), Steps::new(0, 99_000, 1_000), LOOKBACK_DEFAULT_MS).unwrap();
    store().evaluate_within(&query, control)
}

#[test]
fn values_that_are_held_are_counted_and_let_go_of() {
    let within = |held_max| Control { held_max, ..Control::default() };
    // A column of a series, and the sum, its errors and whether it is there.
    assert!(range("sum(x)", &within(500)).is_ok());
    assert!(range("sum(x) + sum(x) + sum(x) + sum(x)", &within(900)).is_ok());
    assert_eq!(range("x", &within(999)).unwrap_err(), QueryError::TooManyHeld { held: 1_000, limit: 999 });
    assert!(range("x", &within(1_000)).is_ok());
    for text in ["max_over_time(vector(1)[1000y:1ms])", "absent(x)[1000y:1ms]", "count_values('v', x)"] {
        let time = Query::instant(parse(text).unwrap(), 0, LOOKBACK_DEFAULT_MS);
        let wide = format!("max_over_time(({text})[1h:1s])");
        let answer = if text.ends_with(']') {
            store().evaluate_within(&time, &within(10_000))
        } else {
            range(if text.starts_with("count") { &wide } else { text }, &within(10_000))
        };
        assert!(matches!(answer, Err(QueryError::TooManyHeld { limit: 10_000, .. })), "{text}: {answer:?}");
    }
}

#[test]
fn an_answer_has_so_many_points_at_most() {
    let within = |result_points_max| Control { result_points_max, ..Control::default() };
    assert!(range("x", &within(1_000)).is_ok());
    assert!(matches!(range("x", &within(999)), Err(QueryError::TooManyResultPoints { limit: 999, .. })));
    let points = Query::instant(parse("x[10m]").unwrap(), 99_000, LOOKBACK_DEFAULT_MS);
    assert!(store().evaluate_within(&points, &within(1_000)).is_ok());
    assert!(matches!(
        store().evaluate_within(&points, &within(999)),
        Err(QueryError::TooManyResultPoints { limit: 999, .. })
    ));
}

#[test]
fn an_evaluation_ends_soon_after_somebody_says_so() {
    let asked = Cell::new(0);
    let cancelled = || {
        asked.set(asked.get() + 1);
        asked.get() > 5
    };
    let control = Control { cancelled: &cancelled, ..Control::default() };
    assert_eq!(range("x", &control).unwrap_err(), QueryError::Cancelled);
    assert_eq!(asked.get(), 6);
    // Within a single series, too: a hundred million points are looked at.
    asked.set(0);
    let wide = range("sum_over_time((vector(1))[100d:1s])", &Control { held_max: u64::MAX, ..control });
    assert_eq!(wide.unwrap_err(), QueryError::Cancelled);
    assert_eq!(asked.get(), 6);
}

#[test]
fn the_highest_expressions_are_evaluated_on_a_small_stack() {
    let nested = |open: &str, depth: usize| format!("{}x{}", open.repeat(depth), ")".repeat(depth));
    let mut mixed = "x".to_owned();
    for _ in 0..18 {
        mixed = format!("abs(sum by (host) (-{mixed} + 1) > -1 or x)");
    }
    for text in [
        nested("abs(", 60),
        nested("sum by (host) (", 60),
        nested("(", 60),
        "x + on (host) ".repeat(190) + "x",
        "x or ".repeat(190) + "x",
        "1 + ".repeat(190) + "1",
        mixed,
    ] {
        let text = text.trim();
        let expression = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let query = Query::instant(expression, 99_000, LOOKBACK_DEFAULT_MS);
        let answer = std::thread::Builder::new()
            .stack_size(2 << 20)
            .spawn(move || store().evaluate(&query).map(|_| ()))
            .unwrap()
            .join()
            .unwrap();
        assert!(answer.is_ok(), "{text}: {answer:?}");
    }
}

#[test]
fn labels_that_are_made_are_bounded() {
    let error = |text: &str, control: &Control<'_>| range(text, control).unwrap_err().to_string();
    // Each `$1` is as long as what the inner call made.
    let long = format!(r#"label_replace(x, "a", "{}", "host", "(.*)")"#, "$1".repeat(10_000));
    let longer = format!(r#"label_replace({long}, "b", "{}", "a", "(.*)")"#, "$1".repeat(20_000));
    assert!(error(&longer, &Control::default()).contains("at most 65536 are allowed"));
    let joined = format!(r#"label_join({long}, "b", "" {})"#, r#", "a""#.repeat(200));
    assert!(error(&joined, &Control::default()).contains("at most 65536 are allowed"));
    // A thousand values of series and ten labels of some 40 KB.
    let within = |held_max| Control { held_max, ..Control::default() };
    assert!(error(&long, &within(2_000)).contains("`limits.query_group_points`"));
    assert!(range(&long, &within(100_000)).is_ok());
}

#[test]
fn numbers_without_series_are_cancelled_too() {
    let asked = Cell::new(0);
    let cancelled = || {
        asked.set(asked.get() + 1);
        true
    };
    let control = Control { cancelled: &cancelled, held_max: u64::MAX, ..Control::default() };
    let mut text = "time()".to_owned();
    for _ in 0..10 {
        text = format!("({text} + {text})");
    }
    assert_eq!(range(&format!("scalar(vector({text}))"), &control).unwrap_err(), QueryError::Cancelled);
    assert_eq!(asked.get(), 1);
}
