//! Series that have become the same.

use std::collections::{HashMap, hash_map::Entry};

use super::{Column, Evaluator, Series, column::is_present};
use crate::{
    Labels, QueryError,
    labels::METRIC_NAME,
    matcher::MatchKind,
    syntax::{AggregateOperator, Expression},
};

/// Two series of one step have the same labels.
pub(super) fn same_labels() -> QueryError {
    QueryError::execution("vector cannot contain metrics with the same labelset")
}

/// Puts the values of one series into another.
///
/// # Errors
/// When both have one at the same step.
fn put(into: &mut Column, from: &Column) -> Result<(), QueryError> {
    for (to, &value) in into.iter_mut().zip(from.iter()) {
        if is_present(value) {
            if is_present(*to) {
                return Err(same_labels());
            }
            *to = value;
        }
    }
    Ok(())
}

/// One series for each set of labels.
///
/// # Errors
/// When two with the same labels have a value at the same step.
pub(super) fn merged(all: Vec<Series>) -> Result<Vec<Series>, QueryError> {
    let mut positions: HashMap<Labels, usize> = HashMap::with_capacity(all.len());
    let mut merged: Vec<Series> = Vec::with_capacity(all.len());
    for series in all {
        match positions.entry(series.labels.clone()) {
            Entry::Vacant(vacant) => {
                vacant.insert(merged.len());
                merged.push(series);
            }
            Entry::Occupied(occupied) => {
                if let Some(before) = merged.get_mut(*occupied.get()) {
                    put(&mut before.values, &series.values)?;
                }
            }
        }
    }
    Ok(merged)
}

/// Whether series of an expression may differ by their metric alone, so that they become the same without it.
pub(super) fn has_several_metrics(expression: &Expression) -> bool {
    match expression {
        Expression::Selector(selector) | Expression::Range(selector, _) => {
            !selector.matchers.iter().any(|matcher| matcher.is_of_metric() && matcher.kind == MatchKind::Equal)
        }
        Expression::Subquery(subquery) => has_several_metrics(&subquery.expression),
        Expression::Group(inner) | Expression::Sign(_, inner) => has_several_metrics(inner),
        Expression::Aggregate(aggregate) => match aggregate.operator {
            AggregateOperator::Topk | AggregateOperator::Bottomk | AggregateOperator::Limitk => {
                has_several_metrics(&aggregate.expression)
            }
            AggregateOperator::CountValues => true,
            _ => aggregate
                .grouping
                .as_ref()
                .is_some_and(|grouping| grouping.is_by && grouping.labels.iter().any(|label| label == METRIC_NAME)),
        },
        Expression::Call(function, arguments) => match function.name {
            "label_replace" | "label_join" => true,
            "first_over_time" | "last_over_time" | "sort" | "sort_desc" | "sort_by_label" | "sort_by_label_desc" => {
                arguments.first().is_none_or(has_several_metrics)
            }
            _ => false,
        },
        Expression::Binary(binary) => {
            binary.operator.is_of_sets() || [&binary.left, &binary.right].into_iter().any(has_several_metrics)
        }
        Expression::Number(_) | Expression::Text(_) => false,
    }
}

impl Evaluator<'_> {
    /// Hands out series that lost their metric: one by one when it is sure that they differ, else merged.
    pub(super) fn nameless(
        &self,
        may_be_same: bool,
        sink: super::Sink<'_>,
        produce: impl FnOnce(super::Sink<'_>) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        if !may_be_same {
            return produce(sink);
        }
        let mut all = Vec::new();
        produce(&mut |series| {
            if series.has_values() {
                all.push(series);
            }
            Ok(())
        })?;
        merged(all)?.into_iter().try_for_each(sink)
    }
}
