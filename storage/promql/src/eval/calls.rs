//! Which function does what.

use super::{
    Column, Evaluator, Series, Sink, column::is_present, elementwise::function_of_number,
    range_functions::RangeFunction, times::part_of_time,
};
use crate::{Labels, QueryError, functions::Function, steps::Steps, syntax::Expression};

impl Evaluator<'_> {
    /// The series of a function.
    pub(super) fn each_of_call(
        &self,
        function: &Function,
        arguments: &[Expression],
        steps: Steps,
        sink: Sink<'_>,
    ) -> Result<(), QueryError> {
        if let Some(of_range) = RangeFunction::of_name(function.name) {
            return self.call_of_range(of_range, arguments, steps, sink);
        }
        match (function.name, arguments) {
            ("absent", [vector]) => self.absent(vector, steps, sink),
            ("absent_over_time", [ranges]) => self.absent_over_time(ranges, steps, sink),
            ("sort" | "sort_desc" | "sort_by_label" | "sort_by_label_desc", [vector, ..]) => {
                self.each(vector, steps, sink)
            }
            ("vector", [number]) => {
                let values = self.scalar(number, steps)?;
                sink(Series { labels: Labels::default(), values })
            }
            ("timestamp", [vector]) => self.timestamp(vector, steps, sink),
            ("label_replace", arguments) => self.label_replace(arguments, steps, sink),
            ("label_join", arguments) => self.label_join(arguments, steps, sink),
            ("histogram_quantile", [q, vector]) => self.histogram_quantile(q, vector, steps, sink),
            ("histogram_fraction", [lower, upper, vector]) => {
                self.histogram_fraction([lower, upper], vector, steps, sink)
            }
            ("clamp" | "clamp_min" | "clamp_max", [vector, bounds @ ..]) => {
                self.clamp(function.name, vector, bounds, steps, sink)
            }
            ("round", [vector, to @ ..]) => self.round(vector, to.first(), steps, sink),
            (name, [vector]) => {
                let of_number = function_of_number(name).or_else(|| part_of_time(name));
                let Some(of_number) = of_number else { return Err(unknown(name)) };
                self.mapped(vector, steps, sink, |value, _| Some(of_number(value)))
            }
            // Parts of the time of the step.
            (name, []) => {
                let Some(part) = part_of_time(name) else { return Err(unknown(name)) };
                let mut values = self.step_times(steps)?;
                values.iter_mut().for_each(|value| *value = part(*value));
                sink(Series { labels: Labels::default(), values })
            }
            (name, _) => Err(unknown(name)),
        }
    }

    /// The numbers of a function that gives one for each step.
    pub(super) fn scalar_of_call(
        &self,
        function: &Function,
        arguments: &[Expression],
        steps: Steps,
    ) -> Result<Column, QueryError> {
        match (function.name, arguments) {
            ("pi", _) => self.ledger.filled(steps.count(), std::f64::consts::PI),
            ("time", _) => self.step_times(steps),
            ("scalar", [vector]) => self.only_value(vector, steps),
            (name, _) => Err(unknown(name)),
        }
    }

    /// The value of a vector that has a single series, and NaN for all others.
    fn only_value(&self, vector: &Expression, steps: Steps) -> Result<Column, QueryError> {
        let mut values = self.ledger.column(steps.count())?;
        self.each(vector, steps, &mut |series| {
            for (value, &found) in values.iter_mut().zip(series.values.iter()).filter(|(_, found)| is_present(**found))
            {
                *value = if is_present(*value) { f64::NAN } else { found };
            }
            Ok(())
        })?;
        values.iter_mut().filter(|value| !is_present(**value)).for_each(|value| *value = f64::NAN);
        Ok(values)
    }

    fn step_times(&self, steps: Steps) -> Result<Column, QueryError> {
        let mut values = self.ledger.column(steps.count())?;
        values.iter_mut().zip(steps.times()).for_each(|(value, time)| *value = time as f64 / 1000.0);
        Ok(values)
    }

    fn call_of_range(
        &self,
        function: RangeFunction,
        arguments: &[Expression],
        steps: Steps,
        sink: Sink<'_>,
    ) -> Result<(), QueryError> {
        let none: &[f64] = &[];
        let is_ranges = |argument: &&Expression| Self::range_of(argument).is_some();
        let Some(ranges) = arguments.iter().find(is_ranges) else { return Ok(()) };
        let numbers = arguments.iter().filter(|argument| Self::is_scalar(argument));
        let numbers = numbers.map(|number| self.scalar(number, steps)).collect::<Result<Vec<_>, _>>()?;
        let number = |position: usize| numbers.get(position).map_or(none, |column| column);
        self.each_of_ranges(function, ranges, steps, [number(0), number(1)], sink)
    }

    /// The time of the point itself where the argument is a selector, else that of the step.
    fn timestamp(&self, vector: &Expression, steps: Steps, sink: Sink<'_>) -> Result<(), QueryError> {
        if let Expression::Selector(selector) = vector.ungrouped() {
            return self.each_timestamp(selector, steps, sink);
        }
        let times = self.step_times(steps)?;
        self.mapped(vector, steps, sink, |_, position| times.get(position).copied())
    }

    fn clamp(
        &self,
        name: &str,
        vector: &Expression,
        bounds: &[Expression],
        steps: Steps,
        sink: Sink<'_>,
    ) -> Result<(), QueryError> {
        let bounds = bounds.iter().map(|bound| self.scalar(bound, steps)).collect::<Result<Vec<_>, _>>()?;
        let at = |bound: usize, position: usize| {
            bounds.get(bound).and_then(|column| column.get(position)).copied().unwrap_or(f64::NAN)
        };
        self.mapped(vector, steps, sink, |value, position| {
            let first = at(0, position);
            let (least, most) = match name {
                "clamp_min" => (first, f64::INFINITY),
                "clamp_max" => (f64::NEG_INFINITY, first),
                _ => (first, at(1, position)),
            };
            if least.is_nan() || most.is_nan() || value.is_nan() {
                return if most < least { None } else { Some(f64::NAN) };
            }
            (least <= most).then(|| value.max(least).min(most))
        })
    }

    /// To the nearest multiple; halves go up.
    fn round(
        &self,
        vector: &Expression,
        to: Option<&Expression>,
        steps: Steps,
        sink: Sink<'_>,
    ) -> Result<(), QueryError> {
        let to = match to {
            Some(to) => self.scalar(to, steps)?,
            None => self.ledger.filled(steps.count(), 1.0)?,
        };
        self.mapped(vector, steps, sink, |value, position| {
            // Times the inverse and not by the multiple: 0.1 is no double, and its inverse is.
            let inverse = 1.0 / to.get(position).copied().unwrap_or(f64::NAN);
            Some((value * inverse + 0.5).floor() / inverse)
        })
    }
}

fn unknown(name: &str) -> QueryError {
    QueryError::execution(format!("function `{name}` cannot be evaluated"))
}
