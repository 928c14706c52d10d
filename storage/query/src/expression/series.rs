//! The series that a variable of an expression stands for.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use tidemark_model::{TimestampMs, ValueColumn};

use super::{Formula, formula_value::FormulaValue, join::JoinedSeries};
use crate::{EvaluationControl, GroupResult, QueryError};

/// A metric or an expression, as another expression sees it.
#[derive(Clone, Debug)]
pub(super) struct Variable {
    pub(super) series: Vec<VariableSeries>,
    /// Keys that filters name.
    pub(super) query_keys: BTreeSet<String>,
    /// What stands for a value that is not there or NaN in one of its series. A series that it lacks altogether is 0.
    pub(super) fill: f64,
}

/// One series of a variable.
#[derive(Clone, Debug)]
pub(super) struct VariableSeries {
    pub(super) metrics: BTreeSet<String>,
    /// Sorted by key.
    pub(super) tags: Vec<(String, String)>,
    /// Sorted.
    pub(super) aggregate_tags: Vec<String>,
    /// Strictly ascending; shared by series that have the same.
    pub(super) timestamps: Rc<Vec<TimestampMs>>,
    pub(super) values: Vec<f64>,
}

impl Variable {
    pub(super) fn new(groups: Vec<GroupResult>, query_keys: BTreeSet<String>, fill: f64) -> Self {
        let mut series: Vec<VariableSeries> = Vec::with_capacity(groups.len());
        for group in groups {
            let same = series.last().filter(|last| *last.timestamps == group.timestamps);
            let timestamps = same.map(|last| Rc::clone(&last.timestamps));
            series.push(VariableSeries {
                metrics: BTreeSet::from([group.metric]),
                tags: group.tags,
                aggregate_tags: group.aggregate_tags,
                timestamps: timestamps.unwrap_or_else(|| Rc::new(group.timestamps)),
                values: doubles(group.values),
            });
        }
        Self { series, query_keys, fill }
    }
}

pub(super) fn doubles(values: ValueColumn) -> Vec<f64> {
    match values {
        ValueColumn::Float(floats) => floats,
        ValueColumn::Int(ints) => ints.into_iter().map(|int| int as f64).collect(),
        ValueColumn::Mixed(_) => values.iter().map(tidemark_model::Value::as_f64).collect(),
    }
}

/// Every instant of any of these, once.
pub(super) fn union_of<'a>(mut timelines: impl Iterator<Item = &'a Rc<Vec<TimestampMs>>>) -> Rc<Vec<TimestampMs>> {
    let Some(first) = timelines.next() else { return Rc::default() };
    let others: Vec<_> = timelines.filter(|other| !Rc::ptr_eq(first, other) && first != *other).collect();
    if others.is_empty() {
        return Rc::clone(first);
    }
    let mut all: Vec<TimestampMs> =
        first.iter().chain(others.into_iter().flat_map(|other| other.iter())).copied().collect();
    all.sort_unstable();
    all.dedup();
    Rc::new(all)
}

/// Tags and aggregated keys of a series that was made of several: a tag that all have which have the key stays, a key with
/// several values was aggregated over. [`crate::common_tags`] has the same rule for the members of a group.
pub(super) fn joined_tags<'a>(
    members: impl Iterator<Item = (&'a [(String, String)], &'a [String])>,
) -> (Vec<(String, String)>, Vec<String>) {
    let mut common: BTreeMap<&str, Option<&str>> = BTreeMap::new();
    for (tags, aggregated) in members {
        for (key, value) in tags {
            let known = common.entry(key).or_insert(Some(value));
            if *known != Some(value.as_str()) {
                *known = None;
            }
        }
        for key in aggregated {
            common.insert(key, None);
        }
    }
    let (mut tags, mut aggregate_tags) = (Vec::new(), Vec::new());
    for (key, value) in common {
        match value {
            Some(value) => tags.push((key.to_owned(), value.to_owned())),
            None => aggregate_tags.push(key.to_owned()),
        }
    }
    (tags, aggregate_tags)
}

/// Steps of formulas between two looks at whether anybody still waits.
const STEPS_BETWEEN_LOOKS: usize = 1 << 20;

/// Evaluates a formula at every instant of `timeline`, which has all instants of the members. A variable without a member is
/// 0 whatever it is filled with, as in OpenTSDB 2.4 and 2.5.
pub(super) fn compute(
    formula: &Formula,
    variables: &[&Variable],
    members: &[JoinedSeries],
    timeline: &[TimestampMs],
    control: &EvaluationControl<'_>,
) -> Result<Vec<f64>, QueryError> {
    let mut inputs: Vec<Cursor<'_>> = variables.iter().map(|_| Cursor::ABSENT).collect();
    for &(position, index) in members {
        let Some(variable) = variables.get(position) else { continue };
        if let (Some(input), Some(series)) = (inputs.get_mut(position), variable.series.get(index)) {
            *input = Cursor { timestamps: &series.timestamps, values: &series.values, next: 0, fill: variable.fill };
        }
    }
    let (mut row, mut stack): (Vec<f64>, Vec<FormulaValue>) = (vec![0.0; inputs.len()], Vec::new());
    let steps_a_row = (formula.program.len() + inputs.len()).max(1);
    let mut values = Vec::with_capacity(timeline.len());
    for instants in timeline.chunks(STEPS_BETWEEN_LOOKS.div_ceil(steps_a_row)) {
        if (control.cancelled)() {
            return Err(QueryError::Cancelled);
        }
        for &instant in instants {
            row.iter_mut().zip(&mut inputs).for_each(|(value, input)| *value = input.at(instant));
            values.push(formula.run(&row, &mut stack));
        }
    }
    Ok(values)
}

/// Goes through the points of one series as time goes on.
struct Cursor<'a> {
    timestamps: &'a [TimestampMs],
    values: &'a [f64],
    next: usize,
    fill: f64,
}

impl Cursor<'_> {
    const ABSENT: Self = Self { timestamps: &[], values: &[], next: 0, fill: 0.0 };

    /// The value at an instant, or what stands for it. Instants are ascending and leave no point out.
    fn at(&mut self, instant: TimestampMs) -> f64 {
        if self.timestamps.get(self.next) != Some(&instant) {
            return self.fill;
        }
        let value = self.values.get(self.next).copied().unwrap_or(f64::NAN);
        self.next += 1;
        if value.is_nan() { self.fill } else { value }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A variable whose series have these tags, such as `dc=x,host=a`, and one point each.
    pub(in crate::expression) fn variable(query_keys: &[&str], series: &[&str], aggregated: &[&str]) -> Variable {
        let pair = |text: &str| text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
        let series = series.iter().map(|tags| VariableSeries {
            metrics: BTreeSet::from(["m".to_owned()]),
            tags: tags.split(',').filter_map(pair).collect(),
            aggregate_tags: aggregated.iter().map(|&key| key.to_owned()).collect(),
            timestamps: Rc::new(vec![0]),
            values: vec![1.0],
        });
        Variable {
            series: series.collect(),
            query_keys: query_keys.iter().map(|&key| key.to_owned()).collect(),
            fill: 0.0,
        }
    }

    /// A group with these tags and points.
    pub(in crate::expression) fn group(metric: &str, tags: &str, points: &[(TimestampMs, i64)]) -> GroupResult {
        let mut variable = variable(&[], &[tags], &[]);
        GroupResult {
            metric: metric.to_owned(),
            tags: variable.series.remove(0).tags,
            aggregate_tags: Vec::new(),
            tsuids: Vec::new(),
            timestamps: points.iter().map(|(timestamp, _)| *timestamp).collect(),
            values: ValueColumn::Int(points.iter().map(|(_, value)| *value).collect()),
            fill: crate::Fill::None,
        }
    }

    #[test]
    fn instants_of_all_series_come_once() {
        let lines: Vec<_> = [vec![1, 3], vec![1, 3], vec![2, 3, 9]].into_iter().map(Rc::new).collect();
        assert_eq!(*union_of(lines.iter()), [1, 2, 3, 9]);
        let same = union_of(lines.iter().take(2));
        assert!(Rc::ptr_eq(&same, &lines[0]));
        assert!(union_of(std::iter::empty()).is_empty());
    }

    #[test]
    fn a_tag_with_two_values_was_aggregated_over() {
        let (left, right) = (variable(&[], &["dc=x,host=a"], &["disk"]), variable(&[], &["dc=y,host=a,rack=1"], &[]));
        fn of(variable: &Variable) -> impl Iterator<Item = (&[(String, String)], &[String])> {
            variable.series.iter().map(|series| (series.tags.as_slice(), series.aggregate_tags.as_slice()))
        }
        let (tags, aggregated) = joined_tags(of(&left).chain(of(&right)));
        assert_eq!(tags, [("host".to_owned(), "a".to_owned()), ("rack".to_owned(), "1".to_owned())]);
        assert_eq!(aggregated, ["dc", "disk"]);
    }

    #[test]
    fn points_that_are_not_there_are_filled_and_series_are_zero() {
        let mut left = variable(&[], &[""], &[]);
        left.series[0].timestamps = Rc::new(vec![1, 2, 3]);
        left.series[0].values = vec![1.0, f64::NAN, 3.0];
        let mut right = variable(&[], &[""], &[]);
        right.fill = 100.0;
        right.series[0].timestamps = Rc::new(vec![2, 4]);
        right.series[0].values = vec![20.0, 40.0];
        let (formula, control) = (Formula::parse("a + b").unwrap(), EvaluationControl::default());
        let both = compute(&formula, &[&left, &right], &[(0, 0), (1, 0)], &[1, 2, 3, 4], &control);
        assert_eq!(both, Ok(vec![101.0, 20.0, 103.0, 40.0]));
        let alone = compute(&formula, &[&left, &right], &[(0, 0)], &[1, 2, 3], &control);
        assert_eq!(alone, Ok(vec![1.0, 0.0, 3.0]));
    }

    #[test]
    fn nobody_computes_for_somebody_who_is_gone() {
        let left = variable(&[], &[""], &[]);
        let control = EvaluationControl { cancelled: &|| true, ..EvaluationControl::default() };
        let formula = Formula::parse("a").unwrap();
        assert_eq!(compute(&formula, &[&left], &[(0, 0)], &[0], &control), Err(QueryError::Cancelled));
    }
}
