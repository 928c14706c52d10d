//! Aggregations: one series of each group, or some of each.

use std::collections::{HashMap, hash_map::Entry};

use super::{
    Evaluator, Series, Sink,
    aggregate_cells::Cells,
    column::{ABSENT, is_present, present},
    merge::merged,
    quantile::quantile,
};
use crate::{
    Labels, QueryError,
    labels::METRIC_NAME,
    steps::Steps,
    syntax::{Aggregate, AggregateOperator, Expression, Grouping},
    text::format_number,
};

impl Grouping {
    /// The labels of the group that a series belongs to.
    fn group(grouping: Option<&Self>, labels: &Labels) -> Labels {
        match grouping {
            None => Labels::default(),
            Some(Self { is_by, labels: named }) => labels.filtered(|name| {
                let is_named = named.iter().any(|label| label == name);
                if *is_by { is_named } else { !is_named && name != METRIC_NAME }
            }),
        }
    }
}

/// Something for each group, in the order in which the groups came.
struct Groups<T> {
    positions: HashMap<Labels, usize>,
    groups: Vec<(Labels, T)>,
}

impl<T> Groups<T> {
    fn new() -> Self {
        Self { positions: HashMap::new(), groups: Vec::new() }
    }

    fn of(&mut self, labels: Labels, new: impl FnOnce() -> Result<T, QueryError>) -> Result<&mut T, QueryError> {
        let position = match self.positions.entry(labels) {
            Entry::Occupied(occupied) => *occupied.get(),
            Entry::Vacant(vacant) => {
                self.groups.push((vacant.key().clone(), new()?));
                *vacant.insert(self.groups.len() - 1)
            }
        };
        let group = self.groups.get_mut(position).map(|(_, group)| group);
        group.ok_or_else(|| QueryError::execution("a group was lost"))
    }
}

impl Evaluator<'_> {
    pub(super) fn aggregate(&self, aggregate: &Aggregate, steps: Steps, sink: Sink<'_>) -> Result<(), QueryError> {
        match aggregate.operator {
            AggregateOperator::Topk | AggregateOperator::Bottomk | AggregateOperator::Limitk => {
                self.some_of_groups(aggregate, steps, sink)
            }
            AggregateOperator::Quantile => self.quantiles(aggregate, steps, sink),
            AggregateOperator::CountValues => self.counted_values(aggregate, steps, sink),
            _ => self.folded(aggregate, steps, sink),
        }
    }

    fn folded(&self, aggregate: &Aggregate, steps: Steps, sink: Sink<'_>) -> Result<(), QueryError> {
        let mut groups = Groups::new();
        self.each(&aggregate.expression, steps, &mut |series| {
            let group = Grouping::group(aggregate.grouping.as_ref(), &series.labels);
            let new = || Cells::new(aggregate.operator, steps.count(), &self.ledger);
            if let Some(cells) = groups.of(group, new)? {
                cells.add(&series.values);
            }
            self.look_at(steps.count())
        })?;
        for (labels, cells) in groups.groups {
            if let Some(cells) = cells {
                sink(Series { labels, values: cells.finish(&self.ledger)? })?;
            }
        }
        Ok(())
    }

    /// The series of each group.
    fn grouped(&self, aggregate: &Aggregate, steps: Steps) -> Result<Groups<Vec<Series>>, QueryError> {
        let mut groups = Groups::new();
        self.each(&aggregate.expression, steps, &mut |series| {
            let group = Grouping::group(aggregate.grouping.as_ref(), &series.labels);
            groups.of(group, || Ok(Vec::new()))?.push(series);
            Ok(())
        })?;
        Ok(groups)
    }

    fn parameter(&self, aggregate: &Aggregate, steps: Steps) -> Result<super::Column, QueryError> {
        match &aggregate.parameter {
            Some(parameter) => self.scalar(parameter, steps),
            None => self.ledger.filled(steps.count(), f64::NAN),
        }
    }

    fn quantiles(&self, aggregate: &Aggregate, steps: Steps, sink: Sink<'_>) -> Result<(), QueryError> {
        let parameter = self.parameter(aggregate, steps)?;
        let mut of_step = Vec::new();
        for (labels, series) in self.grouped(aggregate, steps)?.groups {
            let mut values = self.ledger.column(steps.count())?;
            for (step, (value, &q)) in values.iter_mut().zip(parameter.iter()).enumerate() {
                self.look_at(series.len())?;
                of_step.clear();
                of_step.extend(series.iter().filter_map(|series| present(*series.values.get(step)?)));
                if !of_step.is_empty() {
                    *value = quantile(q, &mut of_step);
                }
            }
            sink(Series { labels, values })?;
        }
        Ok(())
    }

    fn counted_values(&self, aggregate: &Aggregate, steps: Steps, sink: Sink<'_>) -> Result<(), QueryError> {
        let Some(Expression::Text(label)) = aggregate.parameter.as_ref().map(Expression::ungrouped) else {
            return Ok(());
        };
        if label.is_empty() {
            return Err(QueryError::execution(format!("invalid label name {label:?} for count_values")));
        }
        let mut counts = Groups::new();
        self.each(&aggregate.expression, steps, &mut |series| {
            let group = Grouping::group(aggregate.grouping.as_ref(), &series.labels);
            self.look_at(steps.count())?;
            for (step, &value) in series.values.iter().enumerate().filter(|(_, value)| is_present(**value)) {
                let shown = format_number(value);
                let counts = counts.of(group.with(label, &shown), || {
                    self.ledger.keep(shown.len().div_ceil(size_of::<f64>()))?;
                    self.ledger.column(steps.count())
                })?;
                if let Some(count) = counts.get_mut(step) {
                    *count = if is_present(*count) { *count + 1.0 } else { 1.0 };
                }
            }
            Ok(())
        })?;
        counts.groups.into_iter().try_for_each(|(labels, values)| sink(Series { labels, values }))
    }

    /// At each step the largest, smallest or first series of each group, with all their labels.
    fn some_of_groups(&self, aggregate: &Aggregate, steps: Steps, sink: Sink<'_>) -> Result<(), QueryError> {
        let parameter = self.parameter(aggregate, steps)?;
        let groups = self.grouped(aggregate, steps)?.groups;
        if !parameter.iter().any(|wanted| wanted.is_nan() || *wanted >= 1.0) {
            return Ok(());
        }
        check_counts(&parameter)?;
        let mut all = Vec::new();
        for (_, mut series) in groups {
            let mut ranked: Vec<(f64, usize)> = Vec::new();
            let mut is_taken = vec![false; series.len()];
            for (step, &wanted) in parameter.iter().enumerate() {
                self.look_at(series.len())?;
                ranked.clear();
                let there = series.iter().enumerate();
                ranked.extend(
                    there.filter_map(|(position, series)| Some((present(*series.values.get(step)?)?, position))),
                );
                if ranked.is_empty() {
                    continue;
                }
                let count = if wanted < 1.0 { 0 } else { (wanted as usize).min(ranked.len()) };
                rank(aggregate.operator, &mut ranked);
                is_taken.fill(false);
                for (_, position) in ranked.iter().take(count) {
                    if let Some(taken) = is_taken.get_mut(*position) {
                        *taken = true;
                    }
                }
                for (series, _) in series.iter_mut().zip(&is_taken).filter(|(_, taken)| !**taken) {
                    if let Some(value) = series.values.get_mut(step) {
                        *value = ABSENT;
                    }
                }
            }
            all.extend(series.into_iter().filter(Series::has_values));
        }
        merged(all)?.into_iter().try_for_each(sink)
    }
}

/// The largest, smallest or first in front; NaN comes last.
fn rank(operator: AggregateOperator, ranked: &mut [(f64, usize)]) {
    let by = |descending: bool| {
        move |left: &(f64, usize), right: &(f64, usize)| {
            let ascending = left.0.partial_cmp(&right.0);
            let ordered = ascending.map(|order| if descending { order.reverse() } else { order });
            ordered.unwrap_or_else(|| left.0.is_nan().cmp(&right.0.is_nan()))
        }
    };
    match operator {
        AggregateOperator::Topk => ranked.sort_by(by(true)),
        AggregateOperator::Bottomk => ranked.sort_by(by(false)),
        _ => {}
    }
}

/// Whether at all steps a number of series is wanted that there may be.
fn check_counts(wanted: &[f64]) -> Result<(), QueryError> {
    const COUNT_MAX: f64 = 9_223_372_036_854_775_807.0;
    if wanted.iter().any(|wanted| wanted.is_nan()) {
        return Err(QueryError::execution("Parameter value is NaN"));
    }
    match wanted.iter().find(|wanted| wanted.abs() >= COUNT_MAX) {
        Some(wanted) => {
            let side = if *wanted < 0.0 { "underflows" } else { "overflows" };
            Err(QueryError::execution(format!("Scalar value {} {side} int64", format_number(*wanted))))
        }
        None => Ok(()),
    }
}
