//! Series as they were read, and the newest point of each at a step.

use std::borrow::Cow;

use tidemark_model::{PointColumns, Value, ValueColumn};

use super::{Evaluator, Series, Sink};
use crate::{
    Labels, QueryError,
    steps::Steps,
    syntax::{Expression, Selector, When},
};

/// Points of a series, oldest first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Points<'p> {
    pub(super) timestamps: &'p [i64],
    pub(super) values: &'p [f64],
}

impl Evaluator<'_> {
    /// When something is looked at that is evaluated at a step.
    pub(super) fn shift(&self, when: When, step: i64) -> i64 {
        when.at.map_or(step, |at| self.query.moment(at)).saturating_sub(when.offset)
    }

    /// Reads each series of a selector.
    pub(super) fn each_read(
        &self,
        selector: &Selector,
        take: &mut dyn FnMut(Labels, Points<'_>) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        let Some(selected) = self.selected.get(selector.id) else { return Ok(()) };
        let mut columns = PointColumns::default();
        for (labels, set, index) in selected.iter() {
            let wanted = || !(self.control.cancelled)();
            if !wanted() || !set.read_while(index, &mut columns, &wanted)? {
                return Err(QueryError::Cancelled);
            }
            self.series.set(self.series.get() + 1);
            self.points.set(self.points.get() + columns.len() as u64);
            if columns.is_empty() {
                continue;
            }
            let values = floats(&columns.values);
            take(labels, Points { timestamps: &columns.timestamps, values: &values })?;
        }
        Ok(())
    }

    /// The newest point of each series at each step, when it is not too old.
    pub(super) fn each_selected(&self, selector: &Selector, steps: Steps, sink: Sink<'_>) -> Result<(), QueryError> {
        self.each_newest(selector, steps, sink, |_, value| value)
    }

    /// The time of the newest point in place of its value.
    pub(super) fn each_timestamp(&self, selector: &Selector, steps: Steps, sink: Sink<'_>) -> Result<(), QueryError> {
        let may_be_same = super::merge::has_several_metrics(&Expression::Selector(selector.clone()));
        self.nameless(may_be_same, sink, |sink| {
            self.each_newest(
                selector,
                steps,
                &mut |series| sink(Series { labels: series.labels.without_metric(), values: series.values }),
                |timestamp, _| timestamp as f64 / 1000.0,
            )
        })
    }

    fn each_newest(
        &self,
        selector: &Selector,
        steps: Steps,
        sink: Sink<'_>,
        of: impl Fn(i64, f64) -> f64,
    ) -> Result<(), QueryError> {
        let lookback = self.query.lookback();
        self.each_read(selector, &mut |labels, points| {
            self.look_at(points.timestamps.len() + steps.count())?;
            let mut values = self.ledger.column(steps.count())?;
            let mut rest = points.timestamps.iter().zip(points.values).peekable();
            let (mut newest, mut has_values) = (None, false);
            for (value, step) in values.iter_mut().zip(steps.times()) {
                let moment = self.shift(selector.when, step);
                while let Some(point) = rest.next_if(|(timestamp, _)| **timestamp <= moment) {
                    newest = Some(point);
                }
                if let Some((&timestamp, &found)) = newest
                    && timestamp > moment.saturating_sub(lookback)
                {
                    *value = of(timestamp, found);
                    has_values = true;
                }
            }
            if has_values { sink(Series { labels, values }) } else { Ok(()) }
        })
    }
}

/// All values as doubles.
fn floats(values: &ValueColumn) -> Cow<'_, [f64]> {
    match values {
        ValueColumn::Float(floats) => Cow::Borrowed(floats),
        ValueColumn::Int(ints) => ints.iter().map(|&int| int as f64).collect(),
        ValueColumn::Mixed(values) => {
            let float = |value: &Value| match *value {
                Value::Int(int) => int as f64,
                Value::Float(float) => float,
            };
            values.iter().map(float).collect()
        }
    }
}
