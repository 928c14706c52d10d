//! What is stored of a rule: when it was evaluated, whether it fails, how its keys are.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidemark_model::TimestampMs;

use crate::{
    AlertKey,
    book::{
        BookError, IncidentBook, RuleFailureView, RuleStateView,
        key_states::{KeyPage, millis, page_and_name},
    },
    excerpt::excerpt,
    incident::comes_after,
    rules::{Rule, RuleEvaluation, RuleFailure, RuleSet},
};

/// Bytes of a failure's reason that are kept.
const REASON_BYTES_MAX: usize = 2000;

/// A rule's record. Times are milliseconds since the epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct RuleRecord {
    /// The newest evaluation, failed or not.
    pub(crate) tried_at: TimestampMs,
    /// The newest evaluation that succeeded.
    pub(crate) evaluated_at: Option<TimestampMs>,
    /// When evaluations came back after a gap: silence before then says nothing about the keys.
    pub(crate) resumed_at: TimestampMs,
    pub(crate) failing: Option<FailureRecord>,
    pub(crate) keys: BTreeMap<String, usize>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct FailureRecord {
    pub(crate) reason: String,
    pub(crate) since: TimestampMs,
    pub(crate) last_at: TimestampMs,
    pub(crate) count: u64,
}

impl RuleRecord {
    /// Whether keys that are silent at `at` may be unknown: not right after a start or a gap in the evaluations, when
    /// everything has been silent because nobody listened.
    pub(crate) fn judges_silence(&self, rule: &Rule, at: TimestampMs) -> bool {
        let resumed_at = self.resumed_at_if_evaluated(rule, at);
        at.saturating_sub(resumed_at) >= millis(rule.unknown_after)
    }

    /// The moment since when evaluations have come without a gap, counting one at `at`.
    fn resumed_at_if_evaluated(&self, rule: &Rule, at: TimestampMs) -> TimestampMs {
        let gap_max = millis(rule.every).saturating_mul(3);
        match self.evaluated_at {
            Some(before) if (0..=gap_max).contains(&at.saturating_sub(before)) => self.resumed_at,
            _ => at,
        }
    }

    pub(crate) fn succeed(&mut self, rule: &Rule, at: TimestampMs, keys: BTreeMap<String, usize>) {
        self.resumed_at = self.resumed_at_if_evaluated(rule, at);
        self.tried_at = at;
        self.evaluated_at = Some(at);
        self.failing = None;
        self.keys = keys;
    }

    pub(crate) fn fail(&mut self, failure: &RuleFailure, at: TimestampMs) {
        self.tried_at = at;
        let reason = excerpt(&failure.reason, REASON_BYTES_MAX);
        let (since, count) = self.failing.as_ref().map_or((at, 0), |before| (before.since, before.count));
        self.failing = Some(FailureRecord { reason, since, last_at: at, count: count + 1 });
    }

    fn view(&self, rule: &str) -> RuleStateView {
        RuleStateView {
            rule: rule.to_owned(),
            evaluated_at: self.evaluated_at,
            failing: self.failing.as_ref().map(|failing| RuleFailureView {
                reason: failing.reason.clone(),
                since: failing.since,
                last_at: failing.last_at,
                count: failing.count,
            }),
            keys: self.keys.clone(),
        }
    }
}

impl IncidentBook {
    /// How the rules fare, in the order of their names. A rule that was never evaluated says so.
    ///
    /// # Errors
    /// The store fails.
    pub async fn rule_states(&self, rules: &RuleSet) -> Result<Vec<RuleStateView>, BookError> {
        let mut views = Vec::new();
        for rule in rules.rules() {
            views.push(self.rule_record(&rule.name).await?.view(&rule.name));
        }
        Ok(views)
    }

    pub(crate) async fn rule_record(&self, rule: &str) -> Result<RuleRecord, BookError> {
        Ok(self.states.get(rule).await?.unwrap_or_default())
    }

    /// Notes an evaluation, unless a newer one was noted meanwhile.
    pub(crate) async fn note_evaluation(
        &self,
        rule: &Rule,
        evaluation: &RuleEvaluation,
        keys: BTreeMap<String, usize>,
    ) -> Result<(), BookError> {
        let at = evaluation.at;
        let note = |before: Option<RuleRecord>| {
            let mut record = before.unwrap_or_default();
            if !comes_after(at, record.tried_at) {
                return Ok((None, ()));
            }
            match &evaluation.result {
                Ok(_) => record.succeed(rule, at, keys.clone()),
                Err(failure) => record.fail(failure, at),
            }
            Ok((Some(record), ()))
        };
        self.states.update(&rule.name, note).await
    }

    /// Drops what is remembered of a key, so that it cannot become unknown.
    pub(crate) async fn forget_key(&self, key: &AlertKey) -> Result<(), BookError> {
        let (page, name) = page_and_name(key);
        let forget = |before: Option<KeyPage>| {
            let mut page = before.unwrap_or_default();
            let changed = page.keys.remove(&name).is_some();
            Ok((changed.then_some(page), ()))
        };
        self.states.update(&page_id(&key.rule, page), forget).await
    }
}

/// The id of a page of a rule's keys.
pub(crate) fn page_id(rule: &str, page: usize) -> String {
    format!("{rule}/{page:02x}")
}
