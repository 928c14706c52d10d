//! An evaluation moves incidents.

use std::collections::BTreeMap;

use crate::{
    AlertKey, Incident,
    book::{
        BookError, IncidentBook,
        key_states::{KeyPage, KeyVerdict, PAGES, PageCheck, page_and_name},
        rule_record::{RuleRecord, page_id},
    },
    expression::Group,
    incident::{Observation, comes_after},
    notification::NotificationRequest,
    rules::{Rule, RuleEvaluation, RuleSet},
};

/// Keys that a rule may have.
const KEYS_MAX: usize = 10_000;

/// Observations of one page, by the name of the key there.
type Seen = BTreeMap<String, (Group, Observation)>;

impl IncidentBook {
    pub(crate) async fn apply_rule(
        &self,
        rules: &RuleSet,
        rule: &Rule,
        evaluation: &RuleEvaluation,
    ) -> Result<Vec<NotificationRequest>, BookError> {
        let record = self.rule_record(&rule.name).await?;
        let unsettled = self.incidents.unsettled_of(&rule.name).await?;
        let (mut open, closed): (BTreeMap<_, _>, BTreeMap<_, _>) =
            unsettled.into_iter().partition(|(_, incident)| incident.is_open());
        if comes_after(evaluation.at, record.tried_at) {
            let verdicts = match &evaluation.result {
                Ok(keys) => self.update_keys(rule, &record, evaluation, keys).await?,
                Err(_) => Vec::new(),
            };
            let counts = count(&verdicts);
            self.move_incidents(rules, rule, evaluation, verdicts, &mut open, &closed).await?;
            self.note_evaluation(rule, evaluation, counts).await?;
        }
        Ok(closed.values().chain(open.values()).flat_map(NotificationRequest::left_over).collect())
    }

    /// Brings the pages of keys up to date.
    async fn update_keys(
        &self,
        rule: &Rule,
        record: &RuleRecord,
        evaluation: &RuleEvaluation,
        keys: &BTreeMap<Group, Observation>,
    ) -> Result<Vec<KeyVerdict>, BookError> {
        if keys.len() > KEYS_MAX {
            return Err(BookError::TooManyKeys { rule: rule.name.clone(), keys: keys.len(), limit: KEYS_MAX });
        }
        let mut pages = self.pages_with_keys(rule).await?;
        for (group, observation) in keys {
            let (page, name) = page_and_name(&AlertKey::new(&rule.name, group.clone()));
            if let Some(page) = pages.get_mut(page) {
                page.get_or_insert_default().insert(name, (group.clone(), observation.clone()));
            }
        }
        let check = PageCheck {
            rule,
            at: evaluation.at,
            before: record.evaluated_at,
            judges_silence: record.judges_silence(rule, evaluation.at),
        };
        let mut verdicts = Vec::with_capacity(keys.len());
        for (number, seen) in pages.into_iter().enumerate() {
            let Some(seen) = seen else { continue };
            let bring_up_to_date = |before: Option<KeyPage>| {
                let mut page = before.clone().unwrap_or_default();
                let verdicts = check.apply(&mut page, &seen);
                Ok(((before.as_ref() != Some(&page)).then_some(page), verdicts))
            };
            verdicts.extend(self.states.update(&page_id(&rule.name, number), bring_up_to_date).await?);
        }
        Ok(verdicts)
    }

    /// An empty set of observations for every page that exists.
    async fn pages_with_keys(&self, rule: &Rule) -> Result<Vec<Option<Seen>>, BookError> {
        let mut pages: Vec<Option<Seen>> = vec![None; PAGES];
        for (name, _) in self.states.list_prefix::<KeyPage>(&format!("{}/", rule.name)).await? {
            let page = usize::from_str_radix(&name, 16).ok().and_then(|number| pages.get_mut(number));
            if let Some(page) = page {
                *page = Some(Seen::new());
            }
        }
        Ok(pages)
    }

    /// Moves, opens and closes incidents; `open` ends with all that somebody may have to be told of.
    async fn move_incidents(
        &self,
        rules: &RuleSet,
        rule: &Rule,
        evaluation: &RuleEvaluation,
        verdicts: Vec<KeyVerdict>,
        open: &mut BTreeMap<Group, Incident>,
        closed: &BTreeMap<Group, Incident>,
    ) -> Result<(), BookError> {
        let mut observed = BTreeMap::new();
        for verdict in verdicts {
            observed.insert(verdict.group, verdict.observation);
        }
        for (group, incident) in open.iter_mut() {
            let observation = observed.remove(group).flatten();
            let moved = self.incidents.advance(rules, rule, incident.id, observation, evaluation.at).await?;
            if let Some(moved) = moved {
                *incident = moved;
            }
        }
        for (group, observation) in observed {
            let Some(observation) = observation.filter(|observation| observation.status.is_abnormal()) else {
                continue;
            };
            let key = AlertKey::new(&rule.name, group.clone());
            let before = closed.get(&group).map(|incident| incident.id);
            let opened = self.incidents.open(rules, rule, key, observation, before).await?;
            open.insert(group, opened);
        }
        Ok(())
    }
}

fn count(verdicts: &[KeyVerdict]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for verdict in verdicts {
        *counts.entry(verdict.count_as.to_owned()).or_default() += 1;
    }
    counts
}
