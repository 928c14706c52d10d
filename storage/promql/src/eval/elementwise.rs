//! Functions and operations that take each value by itself.

use super::{
    Column, Evaluator, Series, Sink,
    column::{ABSENT, is_present},
    merge::has_several_metrics,
    operators,
};
use crate::{
    QueryError,
    steps::Steps,
    syntax::{Binary, Expression},
};

impl Evaluator<'_> {
    /// Takes every value, and the position of its step, through a function, and drops the metric.
    pub(super) fn mapped(
        &self,
        expression: &Expression,
        steps: Steps,
        sink: Sink<'_>,
        map: impl Fn(f64, usize) -> Option<f64>,
    ) -> Result<(), QueryError> {
        self.nameless(has_several_metrics(expression), sink, |sink| {
            self.each(expression, steps, &mut |mut series| {
                self.look_at(steps.count())?;
                map_values(&mut series.values, &map);
                sink(Series { labels: series.labels.without_metric(), values: series.values })
            })
        })
    }

    /// An operation of series and a number.
    pub(super) fn binary_with_scalar(&self, binary: &Binary, steps: Steps, sink: Sink<'_>) -> Result<(), QueryError> {
        let is_left = Self::is_scalar(&binary.left);
        let (number, vector) = if is_left { (&binary.left, &binary.right) } else { (&binary.right, &binary.left) };
        let numbers = self.scalar(number, steps)?;
        let map = |value: f64, position: usize| {
            let number = numbers.get(position).copied().unwrap_or(f64::NAN);
            let (left, right) = if is_left { (number, value) } else { (value, number) };
            operators::result(binary.operator, left, right, binary.returns_bool, value)
        };
        if binary.operator.is_comparison() && !binary.returns_bool {
            return self.each(vector, steps, &mut |mut series| {
                self.look_at(steps.count())?;
                map_values(&mut series.values, map);
                sink(series)
            });
        }
        self.mapped(vector, steps, sink, map)
    }

    pub(super) fn binary_of_scalars(&self, binary: &Binary, steps: Steps) -> Result<Column, QueryError> {
        let mut left = self.scalar(&binary.left, steps)?;
        let right = self.scalar(&binary.right, steps)?;
        for (left, &right) in left.iter_mut().zip(right.iter()) {
            *left = operators::result(binary.operator, *left, right, true, *left).unwrap_or(f64::NAN);
        }
        Ok(left)
    }
}

fn map_values(values: &mut Column, map: impl Fn(f64, usize) -> Option<f64>) {
    for (position, value) in values.iter_mut().enumerate() {
        if is_present(*value) {
            *value = map(*value, position).unwrap_or(ABSENT);
        }
    }
}

/// A function of a number.
pub(super) fn function_of_number(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "abs" => f64::abs,
        "acos" => f64::acos,
        "acosh" => f64::acosh,
        "asin" => f64::asin,
        "asinh" => f64::asinh,
        "atan" => f64::atan,
        "atanh" => f64::atanh,
        "ceil" => f64::ceil,
        "cos" => f64::cos,
        "cosh" => f64::cosh,
        "deg" => f64::to_degrees,
        "exp" => f64::exp,
        "floor" => f64::floor,
        "ln" => f64::ln,
        "log10" => f64::log10,
        "log2" => f64::log2,
        "rad" => f64::to_radians,
        "sgn" => |value| if value == 0.0 || value.is_nan() { value } else { value.signum() },
        "sin" => f64::sin,
        "sinh" => f64::sinh,
        "sqrt" => f64::sqrt,
        "tan" => f64::tan,
        "tanh" => f64::tanh,
        _ => return None,
    })
}
