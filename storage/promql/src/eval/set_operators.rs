//! `and`, `or`, `unless`: which series there are.

use std::collections::HashMap;

use super::{
    Evaluator, Series, Sink,
    column::{ABSENT, is_present},
    merge::merged,
};
use crate::{
    Labels, QueryError,
    labels::METRIC_NAME,
    steps::Steps,
    syntax::{Binary, BinaryOperator, Matching},
};

impl Matching {
    /// The labels by which a series finds those of the other side.
    pub(super) fn signature(&self, labels: &Labels) -> Labels {
        let is_named = |name: &str| self.labels.iter().any(|label| label == name);
        if self.is_on {
            labels.filtered(is_named)
        } else {
            labels.filtered(|name| name != METRIC_NAME && !is_named(name))
        }
    }
}

/// At which steps there is a series, by signature.
type Presence = HashMap<Labels, Vec<bool>>;

impl Evaluator<'_> {
    pub(super) fn sets(&self, binary: &Binary, steps: Steps, sink: Sink<'_>) -> Result<(), QueryError> {
        let matching = &binary.matching;
        let is_or = binary.operator == BinaryOperator::Or;
        // What the series of this side are kept or left out by.
        let (deciding, decided) = if is_or { (&binary.left, &binary.right) } else { (&binary.right, &binary.left) };
        let (mut presence, mut lefts, mut held) = (Presence::new(), Vec::new(), Vec::new());
        self.each(deciding, steps, &mut |series| {
            let signature = matching.signature(&series.labels);
            if !presence.contains_key(&signature) {
                held.push(self.ledger.hold(steps.count() / 8 + 1)?);
            }
            let at_steps = presence.entry(signature).or_insert_with(|| vec![false; steps.count()]);
            at_steps.iter_mut().zip(series.values.iter()).for_each(|(there, &value)| *there |= is_present(value));
            if is_or {
                lefts.push(series);
            }
            Ok(())
        })?;
        let keep = |mut series: Series, sink: Sink<'_>| {
            let at_steps = presence.get(&matching.signature(&series.labels));
            let wanted = binary.operator == BinaryOperator::And;
            for (position, value) in series.values.iter_mut().enumerate() {
                let is_there = at_steps.and_then(|at_steps| at_steps.get(position)).copied().unwrap_or_default();
                if is_there != wanted {
                    *value = ABSENT;
                }
            }
            if series.has_values() { sink(series) } else { Ok(()) }
        };
        if !is_or {
            return self.each(decided, steps, &mut |series| keep(series, sink));
        }
        let mut all = lefts;
        self.each(decided, steps, &mut |series| {
            keep(series, &mut |series| {
                all.push(series);
                Ok(())
            })
        })?;
        merged(all)?.into_iter().try_for_each(sink)
    }
}
