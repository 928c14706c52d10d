//! The whole expression.

use std::{cmp::Ordering, collections::HashSet};

use super::{Evaluator, Series, column::present, merge::merged};
use crate::{
    Labels, QueryError,
    control::Statistics,
    query::{Answer, PointSeries},
    steps::Steps,
    syntax::{AggregateOperator, Expression, ValueType},
};

impl Answer {
    pub(super) fn count(&self, statistics: &mut Statistics) {
        let (series, points) = match self {
            Self::Scalar(_) | Self::Text(_) => (1, 1),
            Self::Vector(vector) => (vector.len(), vector.len()),
            Self::Matrix(series) => (series.len(), series.iter().map(|series| series.points.len()).sum()),
        };
        statistics.result_series = series;
        statistics.result_points = points as u64;
    }
}

impl Evaluator<'_> {
    pub(super) fn answer(&self, expression: &Expression, steps: Steps) -> Result<Answer, QueryError> {
        let is_range = self.query.is_range();
        match (expression.value_type(), is_range) {
            (ValueType::Text, _) => Ok(Answer::Text(text_of(expression))),
            (ValueType::Matrix, _) => self.points(expression, steps).map(Answer::Matrix),
            (ValueType::Scalar, true) => {
                let series = Series { labels: Labels::default(), values: self.scalar(expression, steps)? };
                self.matrix(vec![series], steps)
            }
            (ValueType::Scalar, false) => {
                Ok(Answer::Scalar(self.scalar(expression, steps)?.first().copied().unwrap_or(f64::NAN)))
            }
            (ValueType::Vector, true) => self.matrix(self.all_of_answer(expression, steps)?, steps),
            (ValueType::Vector, false) => {
                let all = self.all_of_answer(expression, steps)?;
                let first = |series: Series| Some((series.labels, present(*series.values.first()?)?));
                let mut vector: Vec<(Labels, f64)> = all.into_iter().filter_map(first).collect();
                put_in_order(expression, &mut vector);
                Ok(Answer::Vector(vector))
            }
        }
    }

    /// All series, as long as they may all be in an answer.
    fn all_of_answer(&self, expression: &Expression, steps: Steps) -> Result<Vec<Series>, QueryError> {
        let (mut all, mut points) = (Vec::new(), 0);
        self.each(expression, steps, &mut |series| {
            let of_series = series.values.iter().filter(|&&value| present(value).is_some()).count();
            if of_series > 0 {
                points += of_series as u64;
                self.check_points(points)?;
                all.push(series);
            }
            Ok(())
        })?;
        merged(all)
    }

    fn check_points(&self, found: u64) -> Result<(), QueryError> {
        let limit = self.control.result_points_max;
        if found > limit { Err(QueryError::TooManyResultPoints { found, limit }) } else { Ok(()) }
    }

    fn matrix(&self, all: Vec<Series>, steps: Steps) -> Result<Answer, QueryError> {
        let mut matrix = Vec::with_capacity(all.len());
        for Series { labels, values } in all {
            let points = steps.times().zip(values.iter());
            let points = points.filter_map(|(time, &value)| Some((time, present(value)?))).collect();
            matrix.push(PointSeries { labels, points });
        }
        matrix.sort_by(|left, right| left.labels.cmp(&right.labels));
        Ok(Answer::Matrix(matrix))
    }

    /// The points themselves of an expression that has some in a range.
    fn points(&self, expression: &Expression, steps: Steps) -> Result<Vec<PointSeries>, QueryError> {
        let Some((range, when)) = Self::range_of(expression) else { return Ok(Vec::new()) };
        let end = self.shift(when, steps.start());
        let start = end.saturating_sub(range);
        let (mut all, mut found) = (Vec::new(), 0);
        self.each_points(expression, steps, &mut |labels, points| {
            let points = points.timestamps.iter().zip(points.values);
            let points = points.filter(|(time, _)| (start + 1..=end).contains(*time));
            let points: Vec<(i64, f64)> = points.map(|(&time, &value)| (time, value)).collect();
            found += points.len() as u64;
            self.check_points(found)?;
            if !points.is_empty() {
                all.push(PointSeries { labels, points });
            }
            Ok(())
        })?;
        all.sort_by(|left, right| left.labels.cmp(&right.labels));
        Ok(all)
    }
}

fn text_of(expression: &Expression) -> String {
    match expression.ungrouped() {
        Expression::Text(text) => text.clone(),
        _ => String::new(),
    }
}

/// An order that the expression asks for, else that of the labels.
fn put_in_order(expression: &Expression, vector: &mut [(Labels, f64)]) {
    vector.sort_by(|left, right| left.0.cmp(&right.0));
    match expression.ungrouped() {
        Expression::Call(function, arguments) => match function.name {
            "sort" => by_value(vector, false),
            "sort_desc" => by_value(vector, true),
            "sort_by_label" => by_labels(vector, arguments, false),
            "sort_by_label_desc" => by_labels(vector, arguments, true),
            _ => {}
        },
        Expression::Aggregate(aggregate) => match aggregate.operator {
            AggregateOperator::Topk => by_value(vector, true),
            AggregateOperator::Bottomk => by_value(vector, false),
            _ => {}
        },
        _ => {}
    }
}

/// NaN comes last in both orders.
fn by_value(vector: &mut [(Labels, f64)], descending: bool) {
    vector.sort_by(|(_, left), (_, right)| {
        let ascending = left.partial_cmp(right);
        let ordered = ascending.map(|order| if descending { order.reverse() } else { order });
        ordered.unwrap_or_else(|| left.is_nan().cmp(&right.is_nan()))
    });
}

/// Numbers within values count as numbers.
fn by_labels(vector: &mut [(Labels, f64)], arguments: &[Expression], descending: bool) {
    // Labels that no series has decide nothing.
    let known: HashSet<&str> = vector.iter().flat_map(|(labels, _)| labels.iter().map(|(name, _)| name)).collect();
    let mut names: Vec<String> = arguments.iter().skip(1).map(text_of).collect();
    names.retain(|name| known.contains(name.as_str()));
    vector.sort_by(|(left, _), (right, _)| {
        let mut by_names = names.iter().map(|name| natural(left.get(name), right.get(name)));
        let order = by_names.find(|order| order.is_ne()).unwrap_or(Ordering::Equal).then_with(|| left.cmp(right));
        if descending { order.reverse() } else { order }
    });
}

/// `a2` comes before `a10`.
fn natural(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left, right);
    loop {
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let (of_left, of_right) = (digits(left), digits(right));
        if of_left > 0 && of_right > 0 {
            let ((first, left_rest), (second, right_rest)) = (left.split_at(of_left), right.split_at(of_right));
            let (first, second) = (first.trim_start_matches('0'), second.trim_start_matches('0'));
            let order = first.len().cmp(&second.len()).then_with(|| first.cmp(second));
            if order != Ordering::Equal {
                return order;
            }
            (left, right) = (left_rest, right_rest);
            continue;
        }
        let (mut of_left, mut of_right) = (left.chars(), right.chars());
        match (of_left.next(), of_right.next()) {
            (None, None) => return Ordering::Equal,
            (first, second) if first != second => return first.cmp(&second),
            _ => (left, right) = (of_left.as_str(), of_right.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_within_texts_are_ordered_as_numbers() {
        let mut texts = ["b1", "a10", "a2", "a", "a02b", "", "a2a"];
        texts.sort_by(|left, right| natural(left, right));
        assert_eq!(texts, ["", "a", "a2", "a2a", "a02b", "a10", "b1"]);
    }
}
