//! What is remembered of every key of a rule between evaluations: since when it has been wrong, since when silent.
//!
//! The keys of a rule are spread over 64 pages by a hash, and a page is written only when something about one of
//! its keys changed. Of a key that was there at the newest evaluation nothing is said, so a quiet rule writes one small
//! record per evaluation however many keys it has.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use tidemark_model::TimestampMs;

use crate::{
    AlertKey, Status,
    expression::Group,
    incident::Observation,
    rules::{Rule, UnknownPolicy},
};

/// Pages of a rule.
pub(crate) const PAGES: usize = 64;
/// After how long of silence a key without an incident is forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(7 * 86_400);

/// One page of keys.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeyPage {
    pub(crate) keys: BTreeMap<String, KeyState>,
}

/// What is remembered of one key. Times are milliseconds since the epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeyState {
    pub(crate) group: Group,
    /// When the key was last there; `None` when it was at the newest evaluation.
    pub(crate) silent_since: Option<TimestampMs>,
    /// Since when it has been a warning or worse without a break.
    pub(crate) abnormal_since: Option<TimestampMs>,
    /// Since when it has been critical without a break.
    pub(crate) critical_since: Option<TimestampMs>,
}

/// The page of a key, and its name there.
pub(crate) fn page_and_name(key: &AlertKey) -> (usize, String) {
    let id = key.document_id();
    let name = id.rsplit('/').next().unwrap_or_default().to_owned();
    let hash = name.get(..2).and_then(|digits| usize::from_str_radix(digits, 16).ok()).unwrap_or_default();
    (hash % PAGES, name)
}

/// What an evaluation says about the keys of one page.
pub(crate) struct PageCheck<'a> {
    pub(crate) rule: &'a Rule,
    /// The moment of the evaluation.
    pub(crate) at: TimestampMs,
    /// The moment of the one before, as far as it succeeded.
    pub(crate) before: Option<TimestampMs>,
    /// Whether silence may mean anything yet.
    pub(crate) judges_silence: bool,
}

/// A key after an evaluation.
#[derive(Debug)]
pub(crate) struct KeyVerdict {
    pub(crate) group: Group,
    /// What the incident sees; `None` when nothing is to be said.
    pub(crate) observation: Option<Observation>,
    /// How it is counted.
    pub(crate) count_as: &'static str,
}

impl PageCheck<'_> {
    /// Brings a page up to date with what was seen, and says what that means for each of its keys.
    pub(crate) fn apply(&self, page: &mut KeyPage, seen: &BTreeMap<String, (Group, Observation)>) -> Vec<KeyVerdict> {
        let mut verdicts = Vec::with_capacity(page.keys.len().max(seen.len()));
        for (name, (group, observation)) in seen {
            let state = page.keys.entry(name.clone()).or_default();
            state.group.clone_from(group);
            verdicts.push(self.seen(state, observation));
        }
        page.keys.retain(|name, state| {
            if seen.contains_key(name) {
                return true;
            }
            let since = state.silent_since.or(self.before).unwrap_or(self.at).min(self.at);
            state.silent_since = Some(since);
            let silence = self.at.saturating_sub(since);
            verdicts.push(self.silent(state, silence));
            silence < millis(FORGET_AFTER)
        });
        verdicts
    }

    fn seen(&self, state: &mut KeyState, observation: &Observation) -> KeyVerdict {
        state.silent_since = None;
        since(&mut state.abnormal_since, observation.status.is_abnormal(), self.at);
        since(&mut state.critical_since, observation.status == Status::Critical, self.at);
        let held = |since: Option<TimestampMs>| {
            since.is_some_and(|since| self.at.saturating_sub(since) >= millis(self.rule.hold))
        };
        let status = if held(state.critical_since) {
            Status::Critical
        } else if held(state.abnormal_since) {
            Status::Warning
        } else {
            Status::Normal
        };
        let pending = status == Status::Normal && observation.status.is_abnormal();
        KeyVerdict {
            group: state.group.clone(),
            observation: Some(Observation { status, ..observation.clone() }),
            count_as: if pending { "pending" } else { status.as_str() },
        }
    }

    fn silent(&self, state: &KeyState, silence: i64) -> KeyVerdict {
        let group = state.group.clone();
        if !self.judges_silence || silence < millis(self.rule.unknown_after) {
            return KeyVerdict { group, observation: None, count_as: "silent" };
        }
        let observe = |status| Some(Observation { at: self.at, status, ..Observation::default() });
        let (observation, count_as) = match self.rule.unknown {
            UnknownPolicy::Incident => (observe(Status::Unknown), "unknown"),
            UnknownPolicy::Normal => (observe(Status::Normal), "normal"),
            UnknownPolicy::Ignore => (None, "silent"),
        };
        KeyVerdict { group, observation, count_as }
    }
}

/// Starts or ends a span of time.
fn since(span: &mut Option<TimestampMs>, holds: bool, at: TimestampMs) {
    *span = if holds { Some(span.unwrap_or(at).min(at)) } else { None };
}

pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
