//! Expressions of functions: what has to be read for them, and what they make of it.

use std::{collections::HashMap, ops::ControlFlow};

use tidemark_model::{Value, ValueColumn};

use super::{
    ExpressionError, ShiftedSubQuery, alias,
    budget::PointBudget,
    combination::combine,
    function::{Argument, Function, FunctionCall},
    function_parser::parse,
    highest::highest,
    moving_average::moving_average,
    series::doubles,
};
use crate::{EvaluationControl, GroupResult, QueryError};

/// Arguments that a function like `sum` may have: OpenTSDB names them by the letters of the alphabet.
pub const SHARED_ARGUMENTS_MAX: usize = 26;

/// What `/api/query/gexp` asks.
#[derive(Clone, Debug, PartialEq)]
pub struct FunctionQuery {
    expressions: Vec<FunctionCall>,
    sources: Vec<ShiftedSubQuery>,
}

/// A result and the sub-query that it is shown with.
#[derive(Clone, Debug)]
pub(super) struct FunctionSeries {
    pub(super) group: GroupResult,
    pub(super) source: usize,
}

impl FunctionQuery {
    /// Reads expressions, of which each is a function: `scale`, `absolute`, `sum`, `difference`, `multiply`, `divide` (also
    /// `sumSeries`, `diffSeries`, `multiplySeries`, `divideSeries`), `highestMax`, `highestCurrent`, `movingAverage`, `alias`,
    /// `timeShift` (also `shift`) and `firstDiff`. A sub-query that is there twice is read once.
    ///
    /// # Errors
    /// Says what is wrong and at which byte of its expression.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, ExpressionError> {
        let mut expressions = texts.into_iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        let mut sources = Sources::default();
        expressions.iter_mut().for_each(|expression| sources.number(expression, 0));
        Ok(Self { expressions, sources: sources.found })
    }

    /// What to read, in the order in which [`Self::evaluate`] names it.
    #[must_use]
    pub fn sources(&self) -> &[ShiftedSubQuery] {
        &self.sources
    }

    /// Evaluates one expression after the other and hands out its results with the position of the sub-query that they
    /// are shown with.
    ///
    /// `source` gives the groups of the sub-query at that position of [`Self::sources`], maybe more than once. All results
    /// of a request together, with those in between, have at most as many points as one sub-query may hand out.
    ///
    /// # Errors
    /// What `source` says; [`QueryError::Cancelled`]; the limit of `control`. The results handed out before are right.
    pub fn evaluate(
        &self,
        control: &EvaluationControl<'_>,
        source: impl FnMut(usize) -> Result<Vec<GroupResult>, QueryError>,
        mut emit: impl FnMut(GroupResult, usize) -> ControlFlow<()>,
    ) -> Result<(), QueryError> {
        let mut evaluation = Evaluation { control, budget: PointBudget::new(control), source };
        for expression in &self.expressions {
            for series in evaluation.call(expression)? {
                if emit(series.group, series.source).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The expressions as they can be read again.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        self.expressions.iter().map(ToString::to_string).collect()
    }
}

/// The sub-queries of all expressions.
#[derive(Default)]
struct Sources {
    found: Vec<ShiftedSubQuery>,
    /// By text and shift.
    positions: HashMap<(String, i64), usize>,
}

impl Sources {
    /// Gives every sub-query its position among those that are read. What is shifted is read from an earlier window.
    fn number(&mut self, call: &mut FunctionCall, shift_ms: i64) {
        let own_ms = match &call.function {
            Function::TimeShift(interval) => interval.millis(),
            _ => 0,
        };
        let shift_ms = shift_ms.saturating_add(own_ms);
        for argument in &mut call.arguments {
            match argument {
                Argument::Call(inner) => self.number(inner, shift_ms),
                Argument::SubQuery { text, sub_query, source } => {
                    *source = *self.positions.entry((text.clone(), shift_ms)).or_insert_with(|| {
                        self.found.push(ShiftedSubQuery { sub_query: sub_query.as_ref().clone(), shift_ms });
                        self.found.len() - 1
                    });
                }
            }
        }
    }
}

struct Evaluation<'a, S> {
    control: &'a EvaluationControl<'a>,
    budget: PointBudget,
    source: S,
}

impl<S: FnMut(usize) -> Result<Vec<GroupResult>, QueryError>> Evaluation<'_, S> {
    fn call(&mut self, call: &FunctionCall) -> Result<Vec<FunctionSeries>, QueryError> {
        let mut arguments = Vec::with_capacity(call.arguments.len());
        for argument in &call.arguments {
            arguments.push(self.argument(argument)?);
        }
        if (self.control.cancelled)() {
            return Err(QueryError::Cancelled);
        }
        if let Function::Combine(operator) = call.function {
            return combine(operator, arguments, &mut self.budget, self.control);
        }
        let mut series: Vec<FunctionSeries> = arguments.into_iter().flatten().collect();
        if let Function::Highest(rank, count) = call.function {
            return Ok(highest(series, |series| &series.group, rank, count));
        }
        for FunctionSeries { group, .. } in &mut series {
            if (self.control.cancelled)() {
                return Err(QueryError::Cancelled);
            }
            apply(&call.function, group);
        }
        Ok(series)
    }

    fn argument(&mut self, argument: &Argument) -> Result<Vec<FunctionSeries>, QueryError> {
        match argument {
            Argument::Call(call) => self.call(call),
            Argument::SubQuery { source, .. } => {
                let groups = (self.source)(*source)?;
                for group in &groups {
                    self.budget.take(group.timestamps.len(), 1)?;
                }
                Ok(groups.into_iter().map(|group| FunctionSeries { group, source: *source }).collect())
            }
        }
    }
}

/// Applies a function that looks at one series alone.
fn apply(function: &Function, group: &mut GroupResult) {
    let values = std::mem::take(&mut group.values);
    group.values = match function {
        Function::Scale(factor) => scale(&values, *factor),
        Function::Absolute => absolute(&values),
        Function::MovingAverage(window, _) => {
            ValueColumn::Float(moving_average(&group.timestamps, &doubles(values), *window))
        }
        Function::FirstDifference => ValueColumn::Float(first_difference(&doubles(values))),
        Function::Alias(template) => {
            group.metric = alias::fill_in(template, &group.tags);
            (group.tags, group.aggregate_tags) = (Vec::new(), Vec::new());
            values
        }
        // The others do not change values of a series: what is shifted was read from another window.
        Function::TimeShift(_) | Function::Combine(_) | Function::Highest(..) => values,
    };
}

/// Integers stay integers when the factor is one and the product fits.
fn scale(values: &ValueColumn, factor: f64) -> ValueColumn {
    // Doubles from 2^63 on are no `i64`.
    let whole = (factor.fract() == 0.0 && factor.abs() < 9_223_372_036_854_775_808.0).then_some(factor as i64);
    map(values, |value| match (value, whole) {
        (Value::Int(int), Some(factor_int)) => {
            int.checked_mul(factor_int).map_or(Value::Float(int as f64 * factor), Value::Int)
        }
        _ => Value::Float(value.as_f64() * factor),
    })
}

fn absolute(values: &ValueColumn) -> ValueColumn {
    map(values, |value| match value {
        Value::Int(int) => int.checked_abs().map_or(Value::Float((int as f64).abs()), Value::Int),
        Value::Float(float) => Value::Float(float.abs()),
    })
}

fn map(values: &ValueColumn, change: impl Fn(Value) -> Value) -> ValueColumn {
    let mut column = ValueColumn::default();
    values.iter().for_each(|value| column.push(change(value)));
    column
}

/// The first point has no predecessor and is 0.
fn first_difference(values: &[f64]) -> Vec<f64> {
    let steps = values.iter().zip(values.iter().skip(1)).map(|(before, value)| value - before);
    std::iter::once(0.0).take(values.len()).chain(steps).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fill, expression::series::tests::group};

    /// Evaluates over the groups that each sub-query has, named by its metric.
    fn evaluate(texts: &[&str], groups: &[GroupResult]) -> Vec<GroupResult> {
        let query = FunctionQuery::parse(texts.iter().copied()).unwrap();
        let mut found = Vec::new();
        let source = |index: usize| {
            let crate::Source::Metric { name, .. } = &query.sources()[index].sub_query.source else {
                panic!("a metric")
            };
            Ok(groups.iter().filter(|group| group.metric == *name).cloned().collect())
        };
        let emit = |group: GroupResult, _| {
            found.push(group);
            ControlFlow::Continue(())
        };
        query.evaluate(&EvaluationControl::default(), source, emit).unwrap();
        found
    }

    fn ints(values: &[i64]) -> ValueColumn {
        ValueColumn::Int(values.to_vec())
    }

    fn floats(values: &[f64]) -> ValueColumn {
        ValueColumn::Float(values.to_vec())
    }

    #[test]
    fn a_whole_factor_keeps_integers() {
        let groups = [group("m", "host=a", &[(0, 1), (1, -2), (2, i64::MAX)])];
        let check =
            |text: &str, expect: ValueColumn| assert_eq!(evaluate(&[text], &groups)[0].values, expect, "{text}");
        let big = i64::MAX as f64;
        check("scale(sum:m,10)", ValueColumn::Mixed(vec![Value::Int(10), Value::Int(-20), Value::Float(big * 10.0)]));
        check("scale(sum:m,0.5)", floats(&[0.5, -1.0, big * 0.5]));
        check("scale(sum:m,1e300)", floats(&[1e300, -2e300, big * 1e300]));
        check("absolute(sum:m)", ints(&[1, 2, i64::MAX]));
        check("absolute(scale(sum:m,-0.5))", floats(&[0.5, 1.0, big * 0.5]));
        check("firstDiff(sum:m)", floats(&[0.0, -3.0, big]));
        check("movingAverage(absolute(sum:m),2)", floats(&[0.0, 1.5, (big + 2.0) / 2.0]));
    }

    #[test]
    fn series_with_equal_tags_are_combined_in_the_order_of_the_arguments() {
        let groups = [
            group("a", "host=a", &[(0, 1), (1, 2)]),
            group("a", "host=b", &[(0, 10)]),
            group("b", "host=a", &[(0, 100), (2, 300)]),
            group("c", "host=a", &[(0, 4)]),
            group("d", "host=c", &[(0, 5)]),
        ];
        let check = |text: &str, expect: &[(&str, &[i64], &[f64])]| {
            let found = evaluate(&[text], &groups);
            assert_eq!(found.len(), expect.len(), "{text}");
            for (group, (host, timestamps, values)) in found.iter().zip(expect) {
                assert_eq!(group.tags, [("host".to_owned(), (*host).to_owned())], "{text}");
                assert_eq!((&group.timestamps[..], &group.values), (*timestamps, &floats(values)), "{text}");
            }
        };
        check("sum(sum:a,sum:b)", &[("a", &[0, 1, 2], &[101.0, 2.0, 300.0]), ("b", &[0], &[10.0])]);
        check("difference(sum:b,sum:a)", &[("a", &[0, 1, 2], &[99.0, -2.0, 300.0]), ("b", &[0], &[-10.0])]);
        check("divide(sum:b,sum:a)", &[("a", &[0, 1, 2], &[100.0, 0.0, 0.0]), ("b", &[0], &[0.0])]);
        check("multiply(sum:a,sum:b)", &[("a", &[0, 1, 2], &[100.0, 0.0, 0.0]), ("b", &[0], &[0.0])]);
        check("difference(sum:b,sum:c,sum:c)", &[("a", &[0, 2], &[92.0, 300.0])]);
        check("sum(sum:a,sum:d)", &[("a", &[0, 1], &[1.0, 2.0]), ("b", &[0], &[10.0]), ("c", &[0], &[5.0])]);
        assert_eq!(evaluate(&["sum(sum:a,sum:b)"], &groups)[0].metric, "a");
    }

    #[test]
    fn an_alias_replaces_the_name_and_takes_the_tags_away() {
        let groups = [group("m", "dc=lga,host=a", &[(0, -1)])];
        let found = evaluate(&["alias(sum:m,cpu_@host, @dc)"], &groups);
        assert_eq!((found[0].metric.as_str(), found[0].tags.len()), ("cpu_a,lga", 0));
        assert_eq!(found[0].values, ints(&[-1]));
    }

    #[test]
    fn every_expression_has_its_results_and_equal_sub_queries_are_read_once() {
        let groups = [group("m", "host=a", &[(0, 1)]), group("m", "host=b", &[(0, 5)])];
        assert_eq!(evaluate(&["absolute(sum:m)", "highestMax(sum:m,1)"], &groups).len(), 3);
        let query = FunctionQuery::parse(["sum(sum:m,timeShift(sum:m,'1h'))", "shift(shift(sum:m,'30m'),'30m')"]);
        let shifts: Vec<_> = query.unwrap().sources().iter().map(|source| source.shift_ms).collect();
        assert_eq!(shifts, [0, 3_600_000]);
    }

    #[test]
    fn points_are_limited_over_all_arguments() {
        let query = FunctionQuery::parse(["sum(sum:m,sum:m)"]).unwrap();
        let limits = crate::EvaluationLimits { result_points_max: 5, ..Default::default() };
        let control = EvaluationControl { limits, ..EvaluationControl::default() };
        let evaluate = |points: &[(i64, i64)]| {
            query.evaluate(&control, |_| Ok(vec![group("m", "", points)]), |_, _| ControlFlow::Continue(()))
        };
        assert_eq!(evaluate(&[(0, 1)]), Ok(()));
        let too_many = Err(QueryError::TooManyResultPoints { limit: 5 });
        assert_eq!(evaluate(&[(0, 1), (1, 2)]), too_many);
        assert_eq!(evaluate(&[(0, 1), (1, 2), (2, 3)]), too_many);
    }

    #[test]
    fn the_fill_of_the_first_argument_decides_how_nan_is_written() {
        let groups = [GroupResult { fill: Fill::Null, ..group("a", "", &[(0, 1)]) }, group("b", "", &[(0, 1)])];
        assert_eq!(evaluate(&["sum(sum:a,sum:b)"], &groups)[0].fill, Fill::Null);
    }
}
