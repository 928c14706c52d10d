//! Expressions of `/api/query/gexp`: any text is one or an error with a place in it; one is written as it is read, and can
//! be planned and evaluated within its limits.
#![no_main]

use std::ops::ControlFlow;

use libfuzzer_sys::fuzz_target;
use tidemark_fuzz::groups_of;
use tidemark_query::{
    EvaluationControl, EvaluationLimits, Query,
    expression::{ExpressionError, FunctionQuery},
};

fuzz_target!(|text: &str| {
    let query = match FunctionQuery::parse(text.split('\n')) {
        Ok(query) => query,
        Err(
            ExpressionError::Syntax { position, .. }
            | ExpressionError::SubQuery { position, .. }
            | ExpressionError::UnknownFunction { position, .. }
            | ExpressionError::Arguments { position, .. },
        ) => {
            assert!(text.split('\n').any(|line| line.is_char_boundary(position)));
            return;
        }
        Err(_) => return,
    };
    let texts = query.texts();
    assert_eq!(FunctionQuery::parse(texts.iter().map(String::as_str)).as_ref(), Ok(&query));
    for source in query.sources() {
        assert!(source.shift_ms >= 0);
        let _may_have_too_many_buckets = source.query(&Query::new(0, 3_600_000, Vec::new())).plan();
    }
    let limits = EvaluationLimits { result_points_max: 20_000, ..EvaluationLimits::default() };
    let control = EvaluationControl { limits, ..EvaluationControl::default() };
    let mut points = 0;
    let evaluated = query.evaluate(
        &control,
        |source| Ok(groups_of(source)),
        |mut group, source| {
            assert!(source < query.sources().len());
            assert_eq!(group.timestamps.len(), group.values.len());
            assert!(group.timestamps.is_sorted_by(|before, after| before < after));
            group.truncate_to_seconds();
            points += group.timestamps.len();
            ControlFlow::Continue(())
        },
    );
    assert!(evaluated.is_err() || points <= 20_000);
});
