//! Incidents in the store.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tidemark_model::{DocumentStore, TimestampMs};

use crate::{
    AlertKey, Incident, IncidentId, Status,
    book::{BookError, IncidentFilter, IncidentView, records::Records},
    excerpt::excerpt,
    expression::Group,
    incident::{
        ActionKind, ActionRequest, DeliveryState, Effect, IncidentPolicy, NotifyReason, Observation, SYSTEM_USER,
        TEXT_BYTES_MAX,
    },
    notification::{DeliveryOutcome, MessageContext, NotificationRequest},
    rules::{Rule, RuleSet, UnknownPolicy},
};

/// Earlier incidents of a key that are remembered.
const HISTORY_MAX: usize = 20;
/// Incidents that one listing looks at.
const SCANNED_MAX: usize = 20_000;
/// Documents read at once.
const PAGE: usize = 200;
/// What happens to incidents of a rule that is gone.
const ORPHAN_POLICY: IncidentPolicy = IncidentPolicy { close_grace: Duration::from_secs(120), close_after: None };

/// Incidents in the store.
#[derive(Clone)]
pub(crate) struct Incidents {
    incidents: Records,
    keys: Records,
    counters: Records,
}

/// What is stored of a key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct KeyRecord {
    key: AlertKey,
    /// Its newest incident.
    newest: IncidentId,
    /// Whether that one is closed and all its deliveries are queued. Not yet set is no harm: it is looked up then.
    settled: bool,
    /// The ones before, oldest first.
    history: Vec<IncidentId>,
}

/// A page of incidents.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct IncidentPage {
    /// Newest first.
    pub incidents: Vec<IncidentView>,
    /// The `before` of the next page; `None` at the end.
    pub next: Option<IncidentId>,
}

impl Incidents {
    pub(crate) fn new(store: &Arc<dyn DocumentStore>) -> Self {
        let records = |collection| Records::new(Arc::clone(store), collection);
        Self { incidents: records("alert.incidents"), keys: records("alert.keys"), counters: records("alert.counters") }
    }

    pub(crate) async fn get(&self, id: IncidentId) -> Result<Option<Incident>, BookError> {
        self.incidents.get(&id.document_id()).await
    }

    /// The incidents of a rule that are open, or closed with something left to tell.
    pub(crate) async fn unsettled_of(&self, rule: &str) -> Result<BTreeMap<Group, Incident>, BookError> {
        let mut found = BTreeMap::new();
        for (_, record) in self.keys.list_prefix::<KeyRecord>(&format!("{rule}/")).await? {
            if record.settled {
                continue;
            }
            // Without its incident, the record is a number whose incident is still to be opened.
            if let Some(incident) = self.get(record.newest).await? {
                self.settle(&incident).await?;
                found.insert(incident.key.group.clone(), incident);
            }
        }
        Ok(found)
    }

    /// The open incidents of all keys whose record's id begins with `prefix`.
    pub(crate) async fn open_of(&self, prefix: &str) -> Result<Vec<Incident>, BookError> {
        let mut open = Vec::new();
        for (_, record) in self.keys.list_prefix::<KeyRecord>(prefix).await? {
            if !record.settled {
                open.extend(self.get(record.newest).await?.filter(Incident::is_open));
            }
        }
        Ok(open)
    }

    /// Moves an open incident: by an observation, or by time alone.
    pub(crate) async fn advance(
        &self,
        rules: &RuleSet,
        rule: &Rule,
        id: IncidentId,
        observation: Option<Observation>,
        at: TimestampMs,
    ) -> Result<Option<Incident>, BookError> {
        let policy = rule.incident_policy();
        let advance = |before: Option<Incident>| {
            let Some(before) = before else { return Ok((None, None)) };
            let mut incident = before.clone();
            let effects = match &observation {
                Some(observation) => incident.observe(observation.clone(), &policy),
                None if rule.unknown == UnknownPolicy::Ignore && incident.current == Status::Unknown => {
                    incident.act(&system_close("silence is ignored"), at, &policy)?
                }
                None => incident.tick(at, &policy),
            };
            if incident.current.is_abnormal() {
                incident.subject = MessageContext::subject_of(&incident, rule, rules.options().public_url.as_ref());
            }
            request_deliveries(&mut incident, rules, Some(rule), &effects, at);
            // A quiet check of a quiet incident is not worth a write.
            let quiet = effects.is_empty() && !incident.current.is_abnormal() && incident.current == before.current;
            Ok(((!quiet && incident != before).then(|| incident.clone()), Some(incident)))
        };
        self.incidents.update(&id.document_id(), advance).await
    }

    /// Opens an incident, unless somebody did so meanwhile: then that one is moved. `closed` is the newest incident of
    /// the key as far as the caller knows, if it is not settled.
    pub(crate) async fn open(
        &self,
        rules: &RuleSet,
        rule: &Rule,
        key: AlertKey,
        observation: Observation,
        closed: Option<IncidentId>,
    ) -> Result<Incident, BookError> {
        let (id, previous) = self.claim(&key, closed).await?;
        let policy = rule.incident_policy();
        let open = |before: Option<Incident>| {
            let (mut incident, effects) = match before.clone() {
                Some(mut incident) => {
                    let effects = incident.observe(observation.clone(), &policy);
                    (incident, effects)
                }
                None => {
                    let incident = Incident::open(id, key.clone(), observation.clone(), previous.clone());
                    (incident, vec![Effect::Notify(NotifyReason::Status(observation.status))])
                }
            };
            incident.subject = MessageContext::subject_of(&incident, rule, rules.options().public_url.as_ref());
            request_deliveries(&mut incident, rules, Some(rule), &effects, observation.at);
            Ok(((before.as_ref() != Some(&incident)).then(|| incident.clone()), incident))
        };
        let incident = self.incidents.update(&id.document_id(), open).await?;
        if let Some(before) = incident.previous.last() {
            let link = |before: Option<Incident>| {
                let linked = before.filter(|before| before.next != Some(id));
                Ok((linked.map(|before| Incident { next: Some(id), ..before }), ()))
            };
            self.incidents.update(&before.document_id(), link).await?;
        }
        Ok(incident)
    }

    pub(crate) async fn act(
        &self,
        rules: &RuleSet,
        id: IncidentId,
        request: &ActionRequest,
        at: TimestampMs,
    ) -> Result<(Vec<NotificationRequest>, Option<Incident>, Option<AlertKey>), BookError> {
        let act = |before: Option<Incident>| {
            let mut incident = before.ok_or(BookError::NoSuchIncident(id))?;
            let rule = rules.rule(&incident.key.rule).map(|rule| &**rule);
            let policy = rule.map_or(ORPHAN_POLICY, Rule::incident_policy);
            let effects = incident.act(request, at, &policy)?;
            request_deliveries(&mut incident, rules, rule, &effects, at);
            let removed = effects.contains(&Effect::Removed);
            Ok(((!removed).then(|| incident.clone()), (incident, removed)))
        };
        let (incident, removed) = self.incidents.update(&id.document_id(), act).await?;
        if removed {
            self.remove(&incident.key).await?;
            return Ok((Vec::new(), None, Some(incident.key)));
        }
        self.settle(&incident).await?;
        Ok((NotificationRequest::left_over(&incident), Some(incident), None))
    }

    pub(crate) async fn mark_queued(&self, requests: &[NotificationRequest]) -> Result<(), BookError> {
        for request in requests {
            self.change_delivery(request, |state, _| {
                if *state == DeliveryState::Requested {
                    *state = DeliveryState::Queued;
                }
            })
            .await?;
        }
        Ok(())
    }

    pub(crate) async fn record_delivery(
        &self,
        request: &NotificationRequest,
        outcome: &DeliveryOutcome,
        is_last: bool,
        at: TimestampMs,
    ) -> Result<(), BookError> {
        self.change_delivery(request, |state, attempts| {
            if state.is_final() {
                return;
            }
            *attempts += 1;
            let short = |reason: &str| excerpt(reason, TEXT_BYTES_MAX);
            *state = match outcome {
                DeliveryOutcome::Delivered => DeliveryState::Delivered { at },
                DeliveryOutcome::Retry { reason, .. } if !is_last => {
                    DeliveryState::Retrying { at, reason: short(reason) }
                }
                DeliveryOutcome::Retry { reason, .. } | DeliveryOutcome::Failed { reason } => {
                    DeliveryState::Failed { at, reason: short(reason) }
                }
            };
        })
        .await
    }

    pub(crate) async fn list(&self, filter: &IncidentFilter, limit: usize) -> Result<IncidentPage, BookError> {
        let mut page = IncidentPage::default();
        let mut after = filter.before.map(IncidentId::document_id);
        let mut scanned = 0;
        while scanned < SCANNED_MAX {
            let batch = self.incidents.list::<Incident>(after.as_deref(), PAGE).await?;
            let is_last = batch.len() < PAGE;
            for (document_id, incident) in batch {
                if page.incidents.len() >= limit {
                    page.next = page.incidents.last().map(|incident| incident.id);
                    return Ok(page);
                }
                if filter.matches(&incident) {
                    page.incidents.push(IncidentView::new(&incident));
                }
                page.next = Some(incident.id);
                after = Some(document_id);
                scanned += 1;
            }
            if is_last {
                page.next = None;
                break;
            }
        }
        Ok(page)
    }

    pub(crate) async fn close_orphans(&self, rules: &RuleSet, at: TimestampMs) -> Result<usize, BookError> {
        let mut closed = 0;
        for incident in self.open_of("").await? {
            if rules.rule(&incident.key.rule).is_none() {
                self.act(rules, incident.id, &system_close("its rule no longer exists"), at).await?;
                closed += 1;
            }
        }
        Ok(closed)
    }

    /// The number that the key's incident has, and the incidents before. Whoever writes the key's record first decides.
    async fn claim(
        &self,
        key: &AlertKey,
        closed: Option<IncidentId>,
    ) -> Result<(IncidentId, Vec<IncidentId>), BookError> {
        let fresh = self.next_id().await?;
        let claim = |before: Option<KeyRecord>| {
            let (newest, mut history) = match before {
                Some(record) if !record.settled && Some(record.newest) != closed => {
                    return Ok((None, (record.newest, record.history)));
                }
                Some(record) => (Some(record.newest), record.history),
                None => (None, Vec::new()),
            };
            history.extend(newest);
            history.drain(..history.len().saturating_sub(HISTORY_MAX));
            let record = KeyRecord { key: key.clone(), newest: fresh, settled: false, history: history.clone() };
            Ok((Some(record), (fresh, history)))
        };
        self.keys.update(&key.document_id(), claim).await
    }

    async fn next_id(&self) -> Result<IncidentId, BookError> {
        let count = |before: Option<u64>| {
            let next = before.unwrap_or_default() + 1;
            Ok((Some(next), IncidentId(next)))
        };
        self.counters.update("incident", count).await
    }

    /// Notes on the key's record that its incident needs no further attention, if that is so.
    async fn settle(&self, incident: &Incident) -> Result<(), BookError> {
        if incident.is_open() || NotificationRequest::any_left_over(incident) {
            return Ok(());
        }
        let settle = |before: Option<KeyRecord>| {
            let unsettled = before.filter(|record| record.newest == incident.id && !record.settled);
            Ok((unsettled.map(|record| KeyRecord { settled: true, ..record }), ()))
        };
        self.keys.update(&incident.key.document_id(), settle).await
    }

    /// Drops everything about a key.
    async fn remove(&self, key: &AlertKey) -> Result<(), BookError> {
        let id = key.document_id();
        if let Some(record) = self.keys.get::<KeyRecord>(&id).await? {
            for incident in record.history.iter().chain([&record.newest]) {
                self.incidents.delete(&incident.document_id()).await?;
            }
        }
        self.keys.delete(&id).await
    }

    async fn change_delivery(
        &self,
        request: &NotificationRequest,
        change: impl Fn(&mut DeliveryState, &mut u32),
    ) -> Result<(), BookError> {
        let change = |before: Option<Incident>| {
            let Some(before) = before else { return Ok((None, None)) };
            let mut incident = before.clone();
            if let Some(delivery) = incident.deliveries.iter_mut().find(|delivery| delivery.id == request.delivery) {
                change(&mut delivery.state, &mut delivery.attempts);
            }
            Ok(((incident != before).then(|| incident.clone()), Some(incident)))
        };
        let incident = self.incidents.update(&request.incident.id.document_id(), change).await?;
        match incident {
            Some(incident) => self.settle(&incident).await,
            None => Ok(()),
        }
    }
}

fn system_close(message: &str) -> ActionRequest {
    ActionRequest {
        kind: ActionKind::ForceClose,
        user: SYSTEM_USER.to_owned(),
        message: message.to_owned(),
        deadline: None,
    }
}

/// Asks for a delivery to everybody whom the rule names for what happened.
fn request_deliveries(
    incident: &mut Incident,
    rules: &RuleSet,
    rule: Option<&Rule>,
    effects: &[Effect],
    at: TimestampMs,
) {
    let Some(rule) = rule else { return };
    for effect in effects {
        let Effect::Notify(reason) = *effect else { continue };
        let severity = match reason {
            NotifyReason::Status(status) => status,
            NotifyReason::Action(_) => incident.worst,
        };
        for name in rule.notify.of(severity) {
            if rules.notification(name).is_some_and(|notification| notification.tells_of(reason)) {
                incident.request_delivery(name, reason, at);
            }
        }
    }
}
