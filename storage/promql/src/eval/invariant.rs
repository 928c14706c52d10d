//! Expressions that are the same at all steps, since each of their times is fixed by `@`.

use crate::syntax::Expression;

/// Functions that look at the step itself.
const OF_THE_STEP: [&str; 11] = [
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "days_in_month",
    "hour",
    "minute",
    "month",
    "predict_linear",
    "time",
    "timestamp",
    "year",
];

pub(super) fn is_invariant(expression: &Expression) -> bool {
    match expression {
        Expression::Selector(selector) | Expression::Range(selector, _) => selector.when.at.is_some(),
        Expression::Subquery(subquery) => subquery.when.at.is_some(),
        Expression::Call(function, _) if OF_THE_STEP.contains(&function.name) => false,
        other => other.children().into_iter().all(is_invariant),
    }
}
