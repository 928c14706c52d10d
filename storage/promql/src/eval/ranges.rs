//! Points in ranges: those of selectors, and the values of subqueries.

use super::{
    Evaluator, Series, Sink,
    column::{is_present, present},
    merge,
    range_functions::RangeFunction,
    selectors::Points,
    window::{Windows, resets},
};
use crate::{
    Labels, QueryError,
    query::Query,
    steps::Steps,
    syntax::{Expression, Subquery, When},
};

impl Evaluator<'_> {
    /// The points of each series of an expression that has some in ranges, for all steps.
    pub(super) fn each_points(
        &self,
        expression: &Expression,
        steps: Steps,
        take: &mut dyn FnMut(Labels, Points<'_>) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        match expression {
            Expression::Group(inner) => self.each_points(inner, steps, take),
            Expression::Range(selector, _) => self.each_read(selector, take),
            Expression::Subquery(subquery) => {
                let inner = self.inner_steps(subquery, steps);
                // The times of the points are held, too.
                let _held = self.ledger.hold(inner.count().saturating_mul(2))?;
                let (mut timestamps, mut values) = (Vec::new(), Vec::new());
                self.each(&subquery.expression, inner, &mut |series| {
                    timestamps.clear();
                    values.clear();
                    for (step, &value) in inner.times().zip(series.values.iter()) {
                        if is_present(value) {
                            timestamps.push(step);
                            values.push(value);
                        }
                    }
                    if timestamps.is_empty() {
                        return Ok(());
                    }
                    take(series.labels, Points { timestamps: &timestamps, values: &values })
                })
            }
            _ => Ok(()),
        }
    }

    /// The steps of a subquery: multiples of its step, whatever the steps around it are.
    fn inner_steps(&self, subquery: &Subquery, steps: Steps) -> Steps {
        let step = Query::subquery_step(subquery.step);
        let (first, last) = (self.shift(subquery.when, steps.start()), self.shift(subquery.when, steps.last()));
        let after = first.saturating_sub(subquery.range);
        let start = after.div_euclid(step).saturating_add(1).saturating_mul(step);
        Steps::new(start, last, step)
    }

    /// The range and the time of an expression that has points in ranges.
    pub(super) fn range_of(expression: &Expression) -> Option<(i64, When)> {
        match expression.ungrouped() {
            Expression::Range(selector, range) => Some((*range, selector.when)),
            Expression::Subquery(subquery) => Some((subquery.range, subquery.when)),
            _ => None,
        }
    }

    /// A function of the points in a range before each step.
    pub(super) fn each_of_ranges(
        &self,
        function: RangeFunction,
        expression: &Expression,
        steps: Steps,
        parameters: [&[f64]; 2],
        sink: Sink<'_>,
    ) -> Result<(), QueryError> {
        let Some((range, when)) = Self::range_of(expression) else { return Ok(()) };
        let drops_name = !function.keeps_name();
        let may_be_same = drops_name && merge::has_several_metrics(expression);
        let mut scratch = Vec::new();
        self.nameless(may_be_same, sink, |sink| {
            self.each_points(expression, steps, &mut |labels, points| {
                let mut values = self.ledger.column(steps.count())?;
                let resets = if function.needs_resets() { resets(points.values) } else { Vec::new() };
                let mut windows = Windows::new(points, &resets);
                let mut has_values = false;
                let parameters =
                    parameters.map(|parameter| parameter.iter().copied().chain(std::iter::repeat(f64::NAN)));
                let [first, second] = parameters;
                for (((value, step), first), second) in values.iter_mut().zip(steps.times()).zip(first).zip(second) {
                    let end = self.shift(when, step);
                    let Some(window) = windows.next(end.saturating_sub(range), end, step) else {
                        self.look_at(1)?;
                        continue;
                    };
                    self.look_at(if function.looks_at_all() { window.values.len() } else { 1 })?;
                    if let Some(found) = function.of(&window, [first, second], &mut scratch)? {
                        *value = found;
                        has_values = true;
                    }
                }
                if !has_values {
                    return Ok(());
                }
                let labels = if drops_name { labels.without_metric() } else { labels };
                sink(Series { labels, values })
            })
        })
    }

    /// Whether any series has a point in the range before each step.
    pub(super) fn any_in_ranges(&self, expression: &Expression, steps: Steps) -> Result<Vec<bool>, QueryError> {
        let mut any = vec![false; steps.count()];
        let one: &[f64] = &[];
        self.each_of_ranges(RangeFunction::Last, expression, steps, [one, one], &mut |series| {
            let present = series.values.iter().map(|&value| present(value).is_some());
            any.iter_mut().zip(present).for_each(|(any, present)| *any |= present);
            Ok(())
        })?;
        Ok(any)
    }
}
