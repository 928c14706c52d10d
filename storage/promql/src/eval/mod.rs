//! Evaluation: every expression over all steps at once.
//!
//! A part of an expression gives its series one after the other, each with a value for every step or none. So a series is
//! decoded once, windows slide over it, and what sums series up never holds them all. Prometheus evaluates functions
//! step by step; what it says of one step (which series exclude each other, what is dropped) is said here of each step of a
//! column.

mod absent;
mod aggregate;
mod aggregate_cells;
mod answer;
mod binary;
mod calls;
mod column;
mod elementwise;
mod histogram;
mod invariant;
mod label_functions;
mod merge;
mod operators;
mod quantile;
mod range_functions;
mod ranges;
mod regression;
mod selectors;
mod set_operators;
mod sums;
mod times;
mod window;

use std::cell::Cell;

use crate::{
    QueryError,
    control::{Control, Statistics},
    query::{Answer, Query},
    selected::SelectedSeries,
    steps::Steps,
    syntax::{Expression, ValueType},
};
use column::{Column, Ledger, Series};

/// Takes the series of a part of an expression.
type Sink<'s> = &'s mut dyn FnMut(Series) -> Result<(), QueryError>;

/// Points that are looked at before somebody is asked whether to go on.
const POINTS_PER_QUESTION: u64 = 1 << 16;

struct Evaluator<'a> {
    query: &'a Query,
    selected: &'a [SelectedSeries<'a>],
    control: &'a Control<'a>,
    ledger: Ledger,
    /// Points that were looked at since somebody was asked.
    looked_at: Cell<u64>,
    series: Cell<usize>,
    points: Cell<u64>,
}

pub(crate) fn evaluate(
    query: &Query,
    expression: &Expression,
    steps: Steps,
    selected: &[SelectedSeries<'_>],
    control: &Control<'_>,
) -> Result<(Answer, Statistics), QueryError> {
    let evaluator = Evaluator {
        query,
        selected,
        control,
        ledger: Ledger::new(control.held_max),
        looked_at: Cell::default(),
        series: Cell::default(),
        points: Cell::default(),
    };
    let answer = evaluator.answer(expression, steps)?;
    let mut statistics =
        Statistics { series: evaluator.series.get(), points: evaluator.points.get(), ..Statistics::default() };
    answer.count(&mut statistics);
    Ok((answer, statistics))
}

impl Evaluator<'_> {
    /// Counts points that are looked at, and ends the evaluation when nobody wants it.
    fn look_at(&self, points: usize) -> Result<(), QueryError> {
        let looked_at = self.looked_at.get() + points as u64;
        if looked_at < POINTS_PER_QUESTION {
            self.looked_at.set(looked_at);
            return Ok(());
        }
        self.looked_at.set(0);
        if (self.control.cancelled)() { Err(QueryError::Cancelled) } else { Ok(()) }
    }

    /// Hands out the series of an expression.
    fn each(&self, expression: &Expression, steps: Steps, sink: Sink<'_>) -> Result<(), QueryError> {
        if steps.count() > 1 && invariant::is_invariant(expression) {
            return self.repeated(expression, steps, sink);
        }
        match expression {
            Expression::Selector(selector) => self.each_selected(selector, steps, sink),
            Expression::Call(function, arguments) => self.each_of_call(function, arguments, steps, sink),
            Expression::Aggregate(aggregate) => self.aggregate(aggregate, steps, sink),
            Expression::Binary(binary) => self.binary(binary, steps, sink),
            Expression::Sign(is_minus, inner) => self.sign(*is_minus, inner, steps, sink),
            Expression::Group(inner) => self.each(inner, steps, sink),
            Expression::Number(_) | Expression::Text(_) | Expression::Range(..) | Expression::Subquery(_) => Ok(()),
        }
    }

    /// The series of an expression that is the same at all steps.
    fn repeated(&self, expression: &Expression, steps: Steps, sink: Sink<'_>) -> Result<(), QueryError> {
        self.each(expression, Steps::one(steps.start()), &mut |series| {
            let value = series.values.first().copied().unwrap_or(column::ABSENT);
            sink(Series { labels: series.labels, values: self.ledger.filled(steps.count(), value)? })
        })
    }

    /// All series of an expression.
    fn all(&self, expression: &Expression, steps: Steps) -> Result<Vec<Series>, QueryError> {
        let mut all = Vec::new();
        self.each(expression, steps, &mut |series| {
            if series.has_values() {
                all.push(series);
            }
            Ok(())
        })?;
        Ok(all)
    }

    /// The numbers of an expression that is one.
    fn scalar(&self, expression: &Expression, steps: Steps) -> Result<Column, QueryError> {
        self.look_at(steps.count())?;
        match expression {
            Expression::Number(number) => self.ledger.filled(steps.count(), *number),
            Expression::Group(inner) => self.scalar(inner, steps),
            Expression::Sign(is_minus, inner) => {
                let mut values = self.scalar(inner, steps)?;
                if *is_minus {
                    values.iter_mut().for_each(|value| *value = -*value);
                }
                Ok(values)
            }
            Expression::Binary(binary) => self.binary_of_scalars(binary, steps),
            Expression::Call(function, arguments) => self.scalar_of_call(function, arguments, steps),
            _ => self.ledger.filled(steps.count(), f64::NAN),
        }
    }

    fn sign(&self, is_minus: bool, inner: &Expression, steps: Steps, sink: Sink<'_>) -> Result<(), QueryError> {
        if !is_minus {
            return self.each(inner, steps, sink);
        }
        self.mapped(inner, steps, sink, |value, _| Some(-value))
    }

    fn is_scalar(expression: &Expression) -> bool {
        expression.value_type() == ValueType::Scalar
    }
}
