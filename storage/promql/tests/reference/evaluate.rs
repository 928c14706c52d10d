//! The value of an expression at one moment.

use std::collections::{BTreeMap, BTreeSet};

use tidemark_promql::{Aggregate, AggregateOperator, At, Binary, BinaryOperator, Expression, Grouping, Selector, When};

use crate::{
    functions::{self, Points},
    support::TestStore,
};

/// Labels with their values.
pub(crate) type Tags = BTreeMap<String, String>;
/// Series with a value each.
pub(crate) type Vector = Vec<(Tags, f64)>;

/// Series with points after the first moment and until the second.
type InRange = (Vec<(Tags, Points)>, (i64, i64));

/// How long a point is the newest one.
const LOOKBACK_MS: i64 = 300_000;

/// A value.
pub(crate) enum Outcome {
    Scalar(f64),
    Vector(Vector),
}

/// There is no value.
#[derive(Debug)]
pub(crate) struct Refused;

pub(crate) struct Reference<'s> {
    pub(crate) store: &'s TestStore,
    pub(crate) start: i64,
    pub(crate) end: i64,
}

/// No two series with the same labels.
fn distinct(vector: Vector) -> Result<Vector, Refused> {
    let labels: BTreeSet<&Tags> = vector.iter().map(|(tags, _)| tags).collect();
    if labels.len() == vector.len() { Ok(vector) } else { Err(Refused) }
}

fn nameless(mut tags: Tags) -> Tags {
    tags.remove("__name__");
    tags
}

impl Reference<'_> {
    pub(crate) fn evaluate(&self, expression: &Expression, time: i64) -> Result<Outcome, Refused> {
        Ok(match expression {
            Expression::Number(number) => Outcome::Scalar(*number),
            Expression::Group(inner) => self.evaluate(inner, time)?,
            Expression::Sign(is_minus, inner) => match self.evaluate(inner, time)? {
                Outcome::Scalar(value) => Outcome::Scalar(if *is_minus { -value } else { value }),
                Outcome::Vector(vector) if *is_minus => Outcome::Vector(distinct(
                    vector.into_iter().map(|(tags, value)| (nameless(tags), -value)).collect(),
                )?),
                vector => vector,
            },
            Expression::Selector(selector) => Outcome::Vector(self.newest(selector, time)),
            Expression::Call(function, arguments) => self.call(function.name, arguments, time)?,
            Expression::Aggregate(aggregate) => Outcome::Vector(self.aggregate(aggregate, time)?),
            Expression::Binary(binary) => self.binary(binary, time)?,
            other => panic!("no value by itself: {other}"),
        })
    }

    fn vector(&self, expression: &Expression, time: i64) -> Result<Vector, Refused> {
        match self.evaluate(expression, time)? {
            Outcome::Vector(vector) => distinct(vector),
            Outcome::Scalar(_) => panic!("no vector: {expression}"),
        }
    }

    fn scalar(&self, expression: &Expression, time: i64) -> Result<f64, Refused> {
        match self.evaluate(expression, time)? {
            Outcome::Scalar(value) => Ok(value),
            Outcome::Vector(_) => panic!("no scalar: {expression}"),
        }
    }

    fn moment(&self, when: When, time: i64) -> i64 {
        let time = match when.at {
            None => time,
            Some(At::Time(time)) => time,
            Some(At::Start) => self.start,
            Some(At::End) => self.end,
        };
        time - when.offset
    }

    /// The series of a selector with their points after `start` and until `end`.
    fn selected(&self, selector: &Selector, start: i64, end: i64) -> Vec<(Tags, Points)> {
        let mut selected = Vec::new();
        for series in &self.store.series {
            let mut tags: Tags = series.key.tags().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            tags.insert("__name__".to_owned(), series.key.metric().to_owned());
            let value = |name: &str| tags.get(name).map_or("", String::as_str);
            if selector.matchers.iter().all(|matcher| matcher.matches(value(&matcher.name))) {
                let points = series.points.iter().copied().filter(|(time, _)| start < *time && *time <= end);
                selected.push((tags, points.collect()));
            }
        }
        selected
    }

    fn newest(&self, selector: &Selector, time: i64) -> Vector {
        let at = self.moment(selector.when, time);
        let series = self.selected(selector, at - LOOKBACK_MS, at).into_iter();
        series.filter_map(|(tags, points)| Some((tags, points.last()?.1))).collect()
    }

    /// The points of a range, and from when to when it is.
    fn range(&self, expression: &Expression, time: i64) -> Result<InRange, Refused> {
        match expression.ungrouped() {
            Expression::Range(selector, range) => {
                let end = self.moment(selector.when, time);
                Ok((self.selected(selector, end - range, end), (end - range, end)))
            }
            Expression::Subquery(subquery) => {
                let end = self.moment(subquery.when, time);
                let start = end - subquery.range;
                let step = subquery.step.unwrap_or(60_000);
                let mut points: BTreeMap<Tags, Points> = BTreeMap::new();
                for at in (start..=end).filter(|at| *at > start && at.rem_euclid(step) == 0) {
                    for (tags, value) in self.vector(&subquery.expression, at)? {
                        points.entry(tags).or_default().push((at, value));
                    }
                }
                Ok((points.into_iter().collect(), (start, end)))
            }
            other => panic!("no range: {other}"),
        }
    }

    fn call(&self, name: &str, arguments: &[Expression], time: i64) -> Result<Outcome, Refused> {
        let seconds = time as f64 / 1000.0;
        Ok(match (name, arguments) {
            ("time", []) => Outcome::Scalar(seconds),
            ("pi", []) => Outcome::Scalar(std::f64::consts::PI),
            ("scalar", [vector]) => {
                let vector = self.vector(vector, time)?;
                Outcome::Scalar(if let [(_, value)] = vector.as_slice() { *value } else { f64::NAN })
            }
            ("absent", [vector]) => {
                let is_absent = self.vector(vector, time)?.is_empty();
                Outcome::Vector(if is_absent { vec![(labels_of(vector), 1.0)] } else { Vec::new() })
            }
            ("absent_over_time", [ranges]) => {
                let is_absent = self.range(ranges, time)?.0.iter().all(|(_, points)| points.is_empty());
                Outcome::Vector(if is_absent { vec![(labels_of(ranges), 1.0)] } else { Vec::new() })
            }
            ("timestamp", [vector]) => {
                let of_points = match vector.ungrouped() {
                    Expression::Selector(selector) => {
                        let at = self.moment(selector.when, time);
                        let series = self.selected(selector, at - LOOKBACK_MS, at).into_iter();
                        series.filter_map(|(tags, points)| Some((tags, points.last()?.0 as f64 / 1000.0))).collect()
                    }
                    _ => self.vector(vector, time)?.into_iter().map(|(tags, _)| (tags, seconds)).collect::<Vector>(),
                };
                mapped(of_points, |value| value)?
            }
            ("abs", [vector]) => mapped(self.vector(vector, time)?, f64::abs)?,
            ("ceil", [vector]) => mapped(self.vector(vector, time)?, f64::ceil)?,
            ("sqrt", [vector]) => mapped(self.vector(vector, time)?, f64::sqrt)?,
            ("round", [vector]) => mapped(self.vector(vector, time)?, |value| (value + 0.5).floor())?,
            ("hour", [vector]) => mapped(self.vector(vector, time)?, |value| {
                if value.is_finite() { (value.floor().rem_euclid(86_400.0) / 3_600.0).floor() } else { f64::NAN }
            })?,
            ("sgn", [vector]) => mapped(self.vector(vector, time)?, |value| match value {
                value if value > 0.0 => 1.0,
                value if value < 0.0 => -1.0,
                value => value,
            })?,
            (name, arguments) => {
                let is_ranges = |argument: &&Expression| {
                    matches!(argument.ungrouped(), Expression::Range(..) | Expression::Subquery(_))
                };
                let ranges = arguments.iter().find(is_ranges).unwrap();
                let number = arguments.iter().find(|argument| !is_ranges(argument));
                let number = number.map_or(Ok(f64::NAN), |number| self.scalar(number, time))?;
                let (series, range) = self.range(ranges, time)?;
                let keeps_name = matches!(name, "last_over_time" | "first_over_time");
                let values = series.into_iter().filter_map(|(tags, points)| {
                    let value = functions::of_range(name, &points, range, time, number)?;
                    Some((if keeps_name { tags } else { nameless(tags) }, value))
                });
                Outcome::Vector(distinct(values.collect())?)
            }
        })
    }

    fn aggregate(&self, aggregate: &Aggregate, time: i64) -> Result<Vector, Refused> {
        let number = aggregate.parameter.as_ref().map_or(Ok(f64::NAN), |number| self.scalar(number, time))?;
        let mut groups: BTreeMap<Tags, Vector> = BTreeMap::new();
        for (tags, value) in self.vector(&aggregate.expression, time)? {
            let mut group = tags.clone();
            match &aggregate.grouping {
                None => group.clear(),
                Some(Grouping { is_by, labels }) => {
                    group.retain(|name, _| labels.contains(name) == *is_by && (*is_by || name != "__name__"));
                }
            }
            groups.entry(group).or_default().push((tags, value));
        }
        if aggregate.operator == AggregateOperator::Limitk && number.is_nan() {
            return Err(Refused);
        }
        let mut result = Vector::new();
        for (group, series) in groups {
            let values: Vec<f64> = series.iter().map(|(_, value)| *value).collect();
            let count = values.len() as f64;
            let mean = values.iter().sum::<f64>() / count;
            let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
            let value = match aggregate.operator {
                AggregateOperator::Sum => values.iter().sum(),
                AggregateOperator::Avg => mean,
                AggregateOperator::Min => functions::extreme(&values, f64::min),
                AggregateOperator::Max => functions::extreme(&values, f64::max),
                AggregateOperator::Count => count,
                AggregateOperator::Group => 1.0,
                AggregateOperator::Stdvar => variance,
                AggregateOperator::Stddev => variance.sqrt(),
                AggregateOperator::Quantile => functions::quantile(number, values),
                AggregateOperator::Limitk => {
                    result.extend(series.into_iter().take(if number < 1.0 { 0 } else { number as usize }));
                    continue;
                }
                other => panic!("not generated: {other:?}"),
            };
            result.push((group, value));
        }
        distinct(result)
    }

    fn binary(&self, binary: &Binary, time: i64) -> Result<Outcome, Refused> {
        let (left, right) = (self.evaluate(&binary.left, time)?, self.evaluate(&binary.right, time)?);
        Ok(match (left, right) {
            (Outcome::Scalar(left), Outcome::Scalar(right)) => {
                Outcome::Scalar(apply(binary.operator, left, right, true, left).unwrap())
            }
            (Outcome::Vector(vector), Outcome::Scalar(number)) => {
                with_number(binary, distinct(vector)?, |value| (value, number))?
            }
            (Outcome::Scalar(number), Outcome::Vector(vector)) => {
                with_number(binary, distinct(vector)?, |value| (number, value))?
            }
            (Outcome::Vector(left), Outcome::Vector(right)) => {
                let (left, right) = (distinct(left)?, distinct(right)?);
                Outcome::Vector(distinct(if binary.operator.is_of_sets() {
                    sets(binary, left, right)
                } else {
                    joined(binary, left, right)?
                })?)
            }
        })
    }
}

fn mapped(vector: Vector, map: impl Fn(f64) -> f64) -> Result<Outcome, Refused> {
    Ok(Outcome::Vector(distinct(vector.into_iter().map(|(tags, value)| (nameless(tags), map(value))).collect())?))
}

/// The labels that a selector says with `=`; none of anything else.
fn labels_of(expression: &Expression) -> Tags {
    let (Expression::Selector(selector) | Expression::Range(selector, _)) = expression else { return Tags::new() };
    let is_said = |matcher: &&tidemark_promql::Matcher| {
        matcher.kind == tidemark_promql::MatchKind::Equal && matcher.name != "__name__" && !matcher.value.is_empty()
    };
    selector.matchers.iter().filter(is_said).map(|matcher| (matcher.name.clone(), matcher.value.clone())).collect()
}

fn apply(operator: BinaryOperator, left: f64, right: f64, returns_bool: bool, kept: f64) -> Option<f64> {
    let holds = match operator {
        BinaryOperator::Add => return Some(left + right),
        BinaryOperator::Subtract => return Some(left - right),
        BinaryOperator::Multiply => return Some(left * right),
        BinaryOperator::Divide => return Some(left / right),
        BinaryOperator::Modulo => return Some(left % right),
        BinaryOperator::Power => return Some(left.powf(right)),
        BinaryOperator::Atan2 => return Some(left.atan2(right)),
        BinaryOperator::Equal => left == right,
        BinaryOperator::NotEqual => left != right,
        BinaryOperator::Less => left < right,
        BinaryOperator::LessOrEqual => left <= right,
        BinaryOperator::Greater => left > right,
        BinaryOperator::GreaterOrEqual => left >= right,
        other => panic!("of sets: {other:?}"),
    };
    match (returns_bool, holds) {
        (true, holds) => Some(if holds { 1.0 } else { 0.0 }),
        (false, true) => Some(kept),
        (false, false) => None,
    }
}

fn keeps_name(binary: &Binary) -> bool {
    binary.operator.is_comparison() && !binary.returns_bool
}

fn with_number(binary: &Binary, vector: Vector, sides: impl Fn(f64) -> (f64, f64)) -> Result<Outcome, Refused> {
    let mut result = Vector::new();
    for (tags, value) in vector {
        let (left, right) = sides(value);
        if let Some(outcome) = apply(binary.operator, left, right, binary.returns_bool, value) {
            result.push((if keeps_name(binary) { tags } else { nameless(tags) }, outcome));
        }
    }
    Ok(Outcome::Vector(distinct(result)?))
}

/// The labels by which series find each other.
fn signature(binary: &Binary, tags: &Tags) -> Tags {
    let matching = &binary.matching;
    let mut signature = tags.clone();
    signature
        .retain(|name, _| matching.labels.contains(name) == matching.is_on && (matching.is_on || name != "__name__"));
    signature
}

fn sets(binary: &Binary, left: Vector, right: Vector) -> Vector {
    let signatures = |vector: &Vector| vector.iter().map(|(tags, _)| signature(binary, tags)).collect::<BTreeSet<_>>();
    let (of_left, of_right) = (signatures(&left), signatures(&right));
    let is_in = |set: &BTreeSet<Tags>, tags: &Tags| set.contains(&signature(binary, tags));
    match binary.operator {
        BinaryOperator::And => left.into_iter().filter(|(tags, _)| is_in(&of_right, tags)).collect(),
        BinaryOperator::Unless => left.into_iter().filter(|(tags, _)| !is_in(&of_right, tags)).collect(),
        _ => left.into_iter().chain(right.into_iter().filter(|(tags, _)| !is_in(&of_left, tags))).collect(),
    }
}

fn joined(binary: &Binary, left: Vector, right: Vector) -> Result<Vector, Refused> {
    if left.is_empty() || right.is_empty() {
        return Ok(Vector::new());
    }
    let is_right_many = binary.matching.many.as_ref().is_some_and(|many| !many.is_left);
    let (many, one) = if is_right_many { (right, left) } else { (left, right) };
    let signatures: BTreeSet<Tags> = one.iter().map(|(tags, _)| signature(binary, tags)).collect();
    if signatures.len() < one.len() {
        return Err(Refused);
    }
    let (mut result, mut taken) = (Vector::new(), BTreeSet::new());
    for (many_tags, of_many) in &many {
        let own = signature(binary, many_tags);
        for (one_tags, of_one) in one.iter().filter(|(tags, _)| signature(binary, tags) == own) {
            let (left, right) = if is_right_many { (*of_one, *of_many) } else { (*of_many, *of_one) };
            let Some(value) = apply(binary.operator, left, right, binary.returns_bool, left) else { continue };
            let mut tags = many_tags.clone();
            if !keeps_name(binary) {
                tags.remove("__name__");
            }
            match &binary.matching.many {
                None => tags.retain(|name, _| binary.matching.labels.contains(name) == binary.matching.is_on),
                Some(many) => {
                    for label in &many.include {
                        match one_tags.get(label) {
                            Some(value) => tags.insert(label.clone(), value.clone()),
                            None => tags.remove(label),
                        };
                    }
                }
            }
            let key = (own.clone(), binary.matching.many.as_ref().map(|_| tags.clone()));
            if !taken.insert(key) {
                return Err(Refused);
            }
            result.push((tags, value));
        }
    }
    Ok(result)
}
