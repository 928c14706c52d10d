//! Operations of the series of two sides that belong together.

use std::collections::HashMap;

use super::{
    Column, Evaluator, Series, Sink,
    column::{is_present, present},
    merge::merged,
    operators,
};
use crate::{
    Labels, QueryError,
    labels::METRIC_NAME,
    steps::Steps,
    syntax::{Binary, Matching},
};

/// The series of one side, of which there may be one for each signature at a step.
struct OneSide {
    series: Vec<Series>,
    by_signature: HashMap<Labels, Vec<usize>>,
}

/// At which steps there is a result, so that no two are the same. The keys are a signature and, where one side has many
/// series, the labels of the result.
type Taken = HashMap<(Labels, Option<Labels>), Column>;

impl Evaluator<'_> {
    pub(super) fn binary(&self, binary: &Binary, steps: Steps, sink: Sink<'_>) -> Result<(), QueryError> {
        if Self::is_scalar(&binary.left) || Self::is_scalar(&binary.right) {
            return self.binary_with_scalar(binary, steps, sink);
        }
        if binary.operator.is_of_sets() {
            return self.sets(binary, steps, sink);
        }
        self.joined(binary, steps, sink)
    }

    fn joined(&self, binary: &Binary, steps: Steps, sink: Sink<'_>) -> Result<(), QueryError> {
        let matching = &binary.matching;
        let many_is_left = matching.many.as_ref().is_none_or(|many| many.is_left);
        let (many, one) = if many_is_left { (&binary.left, &binary.right) } else { (&binary.right, &binary.left) };
        let many = self.all(many, steps)?;
        let one = OneSide::new(self.all(one, steps)?, matching);
        one.check(self, &many, if many_is_left { "right" } else { "left" }, matching)?;
        let mut taken = Taken::new();
        let mut results = Vec::new();
        for series in &many {
            let signature = matching.signature(&series.labels);
            for partner in one.partners(&signature) {
                self.look_at(steps.count())?;
                let mut values = self.ledger.column(steps.count())?;
                let mut has_values = false;
                for ((value, &of_many), &of_one) in
                    values.iter_mut().zip(series.values.iter()).zip(partner.values.iter())
                {
                    let (Some(of_many), Some(of_one)) = (present(of_many), present(of_one)) else { continue };
                    let (left, right) = if many_is_left { (of_many, of_one) } else { (of_one, of_many) };
                    if let Some(result) = operators::result(binary.operator, left, right, binary.returns_bool, left) {
                        *value = result;
                        has_values = true;
                    }
                }
                if !has_values {
                    continue;
                }
                let labels = result_labels(binary, &series.labels, &partner.labels);
                self.take(&mut taken, &signature, matching.many.as_ref().map(|_| &labels), &values)?;
                results.push(Series { labels, values });
            }
        }
        drop((many, one, taken));
        merged(results)?.into_iter().try_for_each(sink)
    }

    /// Notes at which steps there is a result.
    ///
    /// # Errors
    /// When there is one already.
    fn take(
        &self,
        taken: &mut Taken,
        signature: &Labels,
        labels: Option<&Labels>,
        values: &Column,
    ) -> Result<(), QueryError> {
        let key = (signature.clone(), labels.cloned());
        if !taken.contains_key(&key) {
            taken.insert(key.clone(), self.ledger.column(values.len())?);
        }
        let Some(before) = taken.get_mut(&key) else { return Ok(()) };
        for (before, &value) in before.iter_mut().zip(values.iter()).filter(|(_, value)| is_present(**value)) {
            if is_present(*before) {
                let text = if labels.is_some() {
                    "multiple matches for labels: grouping labels must ensure unique matches"
                } else {
                    "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
                };
                return Err(QueryError::execution(text));
            }
            *before = value;
        }
        Ok(())
    }
}

impl OneSide {
    fn new(series: Vec<Series>, matching: &Matching) -> Self {
        let mut by_signature: HashMap<Labels, Vec<usize>> = HashMap::new();
        for (position, one) in series.iter().enumerate() {
            by_signature.entry(matching.signature(&one.labels)).or_default().push(position);
        }
        Self { series, by_signature }
    }

    fn partners<'s>(&'s self, signature: &Labels) -> impl Iterator<Item = &'s Series> {
        let positions = self.by_signature.get(signature).map_or(&[][..], Vec::as_slice);
        positions.iter().filter_map(|&position| self.series.get(position))
    }

    /// That no two series of one signature have a value at the same step, where the other side has any.
    fn check(
        &self,
        evaluator: &Evaluator<'_>,
        many: &[Series],
        side: &str,
        matching: &Matching,
    ) -> Result<(), QueryError> {
        let steps = self.series.first().map_or(0, |first| first.values.len());
        let mut any_of_many = vec![false; steps];
        for series in many {
            evaluator.look_at(steps)?;
            any_of_many.iter_mut().zip(series.values.iter()).for_each(|(any, &value)| *any |= is_present(value));
        }
        for (signature, positions) in self.by_signature.iter().filter(|(_, positions)| positions.len() > 1) {
            let partners: Vec<&Series> = positions.iter().filter_map(|&position| self.series.get(position)).collect();
            for (step, _) in any_of_many.iter().enumerate().filter(|(_, any)| **any) {
                evaluator.look_at(partners.len())?;
                let has_value = |series: &Series| series.values.get(step).is_some_and(|&value| is_present(value));
                let mut there = partners.iter().copied().filter(|&series| has_value(series));
                if let (Some(first), Some(second)) = (there.next(), there.next()) {
                    let group = if matching.is_on { signature.clone() } else { signature.without_metric() };
                    return Err(QueryError::execution(format!(
                        "found duplicate series for the match group {group} on the {side} hand-side of the operation: \
                         [{}, {}];many-to-many matching not allowed: matching labels must be unique on one side",
                        second.labels, first.labels
                    )));
                }
            }
        }
        Ok(())
    }
}

/// The labels of a result: those of the side with many series, as far as they are left by the matching.
fn result_labels(binary: &Binary, many: &Labels, one: &Labels) -> Labels {
    let Matching { is_on, labels, many: side } = &binary.matching;
    let drops_name = !binary.operator.is_comparison() || binary.returns_bool;
    let is_named = |name: &str| labels.iter().any(|label| label == name);
    let is_one_to_one = side.is_none();
    let mut result = many.filtered(|name| {
        let is_kept = !is_one_to_one || is_named(name) == *is_on;
        is_kept && !(drops_name && name == METRIC_NAME)
    });
    for label in side.iter().flat_map(|side| &side.include) {
        result = result.with(label, one.get(label));
    }
    result
}
