//! A rule is evaluated: every key gets a status.

use std::collections::BTreeMap;

use tidemark_model::{SeriesReader, TimestampMs};

use crate::{
    Status,
    excerpt::excerpt,
    expression::{EvaluateOptions, Evaluation, Expression, ExpressionLimits, Group, Item},
    incident::{Observation, Outcome, Step, TEXT_BYTES_MAX},
    rules::{NanPolicy, Rule},
};

/// Most steps kept with an observation.
const STEPS_MAX: usize = 16;

/// What one evaluation of a rule found out.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleEvaluation {
    /// When, in milliseconds since the epoch.
    pub at: TimestampMs,
    /// What each key is like; or why nothing is known.
    pub result: Result<BTreeMap<Group, Observation>, RuleFailure>,
}

/// Why a rule could not be evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleFailure {
    /// Which of `warn` and `crit`, where, and why.
    pub reason: String,
    /// Whether it may work the next time without anybody changing anything.
    pub is_transient: bool,
}

impl Rule {
    /// Evaluates `crit`, then `warn` for the keys that `crit` does not settle, at a moment.
    ///
    /// A failure of either means that nothing is known of any key, so that an incident is never moved by half a result.
    pub async fn evaluate(
        &self,
        reader: &dyn SeriesReader,
        at: TimestampMs,
        limits: ExpressionLimits,
    ) -> RuleEvaluation {
        let options =
            EvaluateOptions { now_ms: at, unjoined_ok: self.unjoined_ok, unknown_names: self.unknown_names, limits };
        let mut keys = BTreeMap::new();
        for (severity, expression) in [(Status::Critical, &self.crit), (Status::Warning, &self.warn)] {
            let Some(expression) = expression else { continue };
            match expression.evaluate(reader, options).await {
                Ok(evaluation) => self.add(&mut keys, severity, expression, evaluation, at),
                Err(error) => {
                    let field = if severity == Status::Critical { "crit" } else { "warn" };
                    let failure =
                        RuleFailure { reason: format!("`{field}`: {error}"), is_transient: error.is_transient() };
                    return RuleEvaluation { at, result: Err(failure) };
                }
            }
        }
        RuleEvaluation { at, result: Ok(keys) }
    }

    fn add(
        &self,
        keys: &mut BTreeMap<Group, Observation>,
        severity: Status,
        expression: &Expression,
        evaluation: Evaluation,
        at: TimestampMs,
    ) {
        for item in evaluation.items {
            let Some(value) = item.number() else { continue };
            let triggers = if value.is_nan() { self.nan == NanPolicy::Abnormal } else { value != 0.0 };
            let outcome = Outcome { value, expression: filled_in(expression, &item) };
            let observation = keys.entry(item.group.clone()).or_insert_with(|| Observation {
                at,
                status: Status::Normal,
                ..Observation::default()
            });
            if observation.status == Status::Critical && severity == Status::Warning {
                continue;
            }
            // Of several results for one group the worst counts.
            let slot = if severity == Status::Critical { &mut observation.crit } else { &mut observation.warn };
            if slot.is_none() || triggers {
                *slot = Some(outcome);
                observation.computations = steps(&item);
            }
            if triggers {
                observation.status = severity;
            }
        }
    }
}

/// The expression with the tags of the group, as the last step has it.
fn filled_in(expression: &Expression, item: &Item) -> String {
    let text = item.computations.last().map_or(expression.text(), |step| &step.text);
    excerpt(text, TEXT_BYTES_MAX)
}

fn steps(item: &Item) -> Vec<Step> {
    let steps = item.computations.iter().rev().take(STEPS_MAX).rev();
    steps.map(|step| Step { text: excerpt(&step.text, TEXT_BYTES_MAX), value: step.value }).collect()
}
