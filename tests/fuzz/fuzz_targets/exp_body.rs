//! Bodies of `/api/query/exp`, and the formulas in them: what is accepted can be planned, evaluated within its limits and
//! written as JSON.
#![no_main]

use std::ops::ControlFlow;

use libfuzzer_sys::fuzz_target;
use tidemark_api::bench::{read_expressions, write_tables};
use tidemark_fuzz::groups_of;
use tidemark_query::{EvaluationControl, EvaluationLimits, expression::Formula};

/// 2026-09-21, 00:00 UTC.
const NOW: i64 = 1_789_948_800_000;

fuzz_target!(|text: &str| {
    if let Ok(formula) = Formula::parse(text) {
        let again = Formula::parse(&formula.to_string()).expect("a formula is written as it can be read");
        for value in [0.0, 1.0, -2.5, f64::NAN] {
            let values = vec![value; formula.variables().len()];
            let (left, right) = (formula.evaluate(&values), again.evaluate(&values));
            assert!(left == right || left.is_nan() && right.is_nan(), "{text:?} is {left}, {again} is {right}");
        }
    }
    let Some((window, query, echo)) = read_expressions(text, NOW) else { return };
    for source in query.sources() {
        let _may_have_too_many_buckets = source.query(&window).plan();
    }
    let limits = EvaluationLimits { result_points_max: 20_000, ..EvaluationLimits::default() };
    let control = EvaluationControl { limits, ..EvaluationControl::default() };
    let checked = query.evaluate(
        &control,
        |source| Ok(groups_of(source)),
        |table| {
            assert!(table.timestamps.is_sorted_by(|before, after| before < after));
            assert!(table.columns.iter().all(|column| column.values.len() == table.timestamps.len()));
            ControlFlow::Continue(())
        },
    );
    if checked.is_ok() {
        let written = write_tables(&query, &control, groups_of, &echo);
        assert!(written.starts_with("{\"outputs\":[") && written.ends_with("}}"), "{written}");
    }
});
