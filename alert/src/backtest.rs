//! A rule over the past: what it would have said, evaluation by evaluation, without opening an incident or telling anybody.
//!
//! The same machinery as that of the book decides what an evaluation means, over what is remembered of keys in memory
//! alone: `for`, silence and gaps count as they would have. A backtest begins as a new rule does, knowing nothing: what was
//! wrong before its range is not seen until it has been wrong for long enough within it.

use std::{collections::BTreeMap, sync::Arc};

use tidemark_model::TimestampMs;

use crate::{
    AlertKey,
    book::{
        key_states::{KeyPage, KeyVerdict, PageCheck},
        rule_record::RuleRecord,
    },
    expression::Group,
    incident::Observation,
    rules::{Rule, RuleEvaluation},
};

/// Keys that a backtest remembers.
const KEYS_MAX: usize = 10_000;
/// What a key is until something is known of it.
const AT_FIRST: &str = "normal";
/// What is said of a key that fell silent and is not unknown for it.
const SILENT: &str = "silent";

/// A backtest under way.
#[derive(Debug)]
pub struct Backtest {
    rule: Arc<Rule>,
    record: RuleRecord,
    page: KeyPage,
    states: BTreeMap<Group, &'static str>,
    totals: BacktestTotals,
}

/// A key that changed its state.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyChange {
    /// At which evaluation, in milliseconds since the epoch.
    pub at: TimestampMs,
    /// The tags of the key.
    pub group: Group,
    /// What it was: `normal`, `pending`, `warning`, `critical` or `unknown`.
    pub before: &'static str,
    /// What it is from then on.
    pub state: &'static str,
    /// The value that decided it, where there was one.
    pub value: Option<f64>,
}

/// What a backtest has seen so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BacktestTotals {
    /// Evaluations, with those that failed.
    pub evaluations: u64,
    /// Evaluations that failed.
    pub failures: u64,
    /// Why the first of those did.
    pub first_failure: Option<String>,
    /// Changes of keys.
    pub changes: u64,
    /// How often a key came into each state.
    pub became: BTreeMap<&'static str, u64>,
    /// How often a key that nothing was wrong with became a warning, critical or unknown.
    pub opened: u64,
}

/// A rule has more keys than a backtest remembers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rule `{rule}` has {keys} keys, at most {KEYS_MAX} are allowed")]
pub struct TooManyKeys {
    rule: String,
    keys: usize,
}

impl Backtest {
    /// A backtest that has seen nothing yet.
    #[must_use]
    pub fn new(rule: Arc<Rule>) -> Self {
        Self {
            rule,
            record: RuleRecord::default(),
            page: KeyPage::default(),
            states: BTreeMap::new(),
            totals: BacktestTotals::default(),
        }
    }

    /// Takes the next evaluation, later than the one before; the keys whose state it changes, in order.
    ///
    /// # Errors
    /// The rule has more keys than a backtest remembers.
    pub fn observe(&mut self, evaluation: &RuleEvaluation) -> Result<Vec<KeyChange>, TooManyKeys> {
        let at = evaluation.at;
        self.totals.evaluations += 1;
        let keys = match &evaluation.result {
            Ok(keys) => keys,
            Err(failure) => {
                self.totals.failures += 1;
                self.totals.first_failure.get_or_insert_with(|| failure.reason.clone());
                self.record.fail(failure, at);
                return Ok(Vec::new());
            }
        };
        let seen: BTreeMap<String, (Group, Observation)> = keys
            .iter()
            .map(|(group, observation)| {
                let name = AlertKey::new(&self.rule.name, group.clone()).to_string();
                (name, (group.clone(), observation.clone()))
            })
            .collect();
        let check = PageCheck {
            rule: &self.rule,
            at,
            before: self.record.evaluated_at,
            judges_silence: self.record.judges_silence(&self.rule, at),
        };
        let verdicts = check.apply(&mut self.page, &seen);
        if self.page.keys.len() > KEYS_MAX {
            return Err(TooManyKeys { rule: self.rule.name.clone(), keys: self.page.keys.len() });
        }
        self.record.succeed(&self.rule, at, BTreeMap::new());
        Ok(verdicts.into_iter().filter_map(|verdict| self.change(at, verdict)).collect())
    }

    /// What has been seen so far.
    #[must_use]
    pub fn totals(&self) -> &BacktestTotals {
        &self.totals
    }

    /// Keys that were ever seen.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.states.len()
    }

    fn change(&mut self, at: TimestampMs, verdict: KeyVerdict) -> Option<KeyChange> {
        let KeyVerdict { group, observation, count_as: state } = verdict;
        if state == SILENT {
            return None;
        }
        let before = self.states.insert(group.clone(), state).unwrap_or(AT_FIRST);
        if before == state {
            return None;
        }
        let is_wrong = |state: &str| matches!(state, "warning" | "critical" | "unknown");
        self.totals.changes += 1;
        self.totals.opened += u64::from(is_wrong(state) && !is_wrong(before));
        *self.totals.became.entry(state).or_default() += 1;
        let value = observation.as_ref().and_then(|seen| Some(seen.deciding()?.value));
        Some(KeyChange { at, group, before, state, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        RuleSet, Status,
        incident::Outcome,
        rules::{RuleFailure, RuleSetOptions},
    };

    const MINUTE: i64 = 60_000;

    fn rule(text: &str) -> Arc<Rule> {
        RuleSet::built_in(RuleSetOptions::default()).unwrap().read_rule(text, None).unwrap()
    }

    fn evaluation(minute: i64, keys: &[(&str, Status)]) -> RuleEvaluation {
        let at = minute * MINUTE;
        let observation = |status| {
            let crit = Some(Outcome { value: 7.0, expression: String::new() });
            Observation { at, status, crit, ..Observation::default() }
        };
        let keys = keys.iter().map(|(host, status)| {
            let mut group = Group::empty();
            group.insert("host", *host);
            (group, observation(*status))
        });
        RuleEvaluation { at, result: Ok(keys.collect()) }
    }

    #[test]
    fn a_backtest_sees_what_evaluations_would_have_seen() {
        let rule = rule(
            "[[rule]]\nname = \"queue\"\nevery = \"1m\"\nfor = \"2m\"\nunknown_after = \"5m\"\n\
             crit = 'avg(q(\"sum:depth{host=*}\", \"5m\", \"\")) > 5'\n",
        );
        let mut backtest = Backtest::new(rule);
        let mut changes = Vec::new();
        let mut see = |backtest: &mut Backtest, minute: i64, keys: &[(&str, Status)]| {
            let changed = backtest.observe(&evaluation(minute, keys)).unwrap();
            changes.extend(changed.into_iter().map(|change| (change.at / MINUTE, change.before, change.state)));
        };
        see(&mut backtest, 10, &[("a", Status::Normal)]);
        for minute in 11..15 {
            see(&mut backtest, minute, &[("a", Status::Critical)]);
        }
        see(&mut backtest, 15, &[("a", Status::Normal)]);
        for minute in 16..25 {
            see(&mut backtest, minute, &[]);
        }
        let expect = [
            (11, "normal", "pending"),
            (13, "pending", "critical"),
            (15, "critical", "normal"),
            (20, "normal", "unknown"),
        ];
        assert_eq!(changes, expect);
        let failure = RuleFailure { reason: "no".to_owned(), is_transient: false };
        let failed = RuleEvaluation { at: 26 * MINUTE, result: Err(failure) };
        assert_eq!(backtest.observe(&failed), Ok(Vec::new()));
        let totals = backtest.totals();
        assert_eq!((totals.evaluations, totals.failures, totals.changes, totals.opened), (16, 1, 4, 2));
        assert_eq!((totals.first_failure.as_deref(), backtest.keys()), (Some("no"), 1));
        assert_eq!(totals.became.get("critical"), Some(&1));
    }

    #[test]
    fn a_text_has_the_rule_that_is_asked_for() {
        let rules = RuleSet::built_in(RuleSetOptions::default()).unwrap();
        let one = |name: &str| format!("[[rule]]\nname = \"{name}\"\ncrit = 'avg(q(\"sum:depth\", \"5m\", \"\"))'\n");
        let two = format!("{}{}", one("first"), one("second"));
        assert_eq!(rules.read_rule(&one("first"), None).unwrap().name, "first");
        assert_eq!(rules.read_rule(&two, Some("second")).unwrap().name, "second");
        let refused = |text: &str, name| rules.read_rule(text, name).unwrap_err().to_string();
        assert!(refused(&two, None).contains("2 rules"), "{}", refused(&two, None));
        assert!(refused(&two, Some("third")).contains("no rule `third`"));
        assert!(refused("", None).contains("0 rules"));
        assert!(refused("[[rule]]\nname = \"x\"\ncrit = 'avg('\n", None).contains("`crit`"));
        assert!(refused(&format!("{}notify = [\"nobody\"]\n", one("x")), None).contains("no such notification"));
    }
}
