//! Incidents and rules as pages, the API and notifications show them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidemark_model::TimestampMs;

use crate::{
    Incident, IncidentId, Status,
    expression::Group,
    incident::{Action, Delivery, IncidentEvent, Step},
};

/// An incident as others see it. All times are milliseconds since the epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IncidentView {
    /// Its number.
    pub id: IncidentId,
    /// The name of its rule.
    pub rule: String,
    /// The rule and the group, as `rule{key=value}`.
    pub key: String,
    /// The group.
    pub tags: Group,
    /// One line about it.
    pub subject: String,
    /// The status now.
    pub status: Status,
    /// The worst status so far.
    pub worst_status: Status,
    /// The newest status that was not normal.
    pub last_abnormal_status: Status,
    /// When that was.
    pub last_abnormal_at: TimestampMs,
    /// Whether it is open.
    pub open: bool,
    /// Whether nobody has acknowledged its worst status yet.
    pub needs_acknowledgement: bool,
    /// When it was opened.
    pub opened_at: TimestampMs,
    /// When it was closed.
    pub closed_at: Option<TimestampMs>,
    /// When the status changed last.
    pub last_change_at: TimestampMs,
    /// When the key was looked at last.
    pub checked_at: TimestampMs,
    /// The value that decided the newest status; `None` when there is none, NaN or not.
    pub value: Option<f64>,
    /// The expression of that value.
    pub expression: String,
    /// The steps that led to it.
    pub computations: Vec<Step>,
    /// The deadline of a delayed close that waits.
    pub closes_at: Option<TimestampMs>,
    /// Changes of status, oldest first.
    pub events: Vec<IncidentEvent>,
    /// What people did, oldest first.
    pub actions: Vec<Action>,
    /// Notifications, oldest first.
    pub deliveries: Vec<Delivery>,
    /// Earlier incidents of the same key, oldest first.
    pub previous: Vec<IncidentId>,
    /// The incident of the same key that came after this one.
    pub next: Option<IncidentId>,
}

impl IncidentView {
    /// The view of an incident.
    #[must_use]
    pub fn new(incident: &Incident) -> Self {
        let outcome = incident.observation.deciding();
        Self {
            id: incident.id,
            rule: incident.key.rule.clone(),
            key: incident.key.to_string(),
            tags: incident.key.group.clone(),
            subject: incident.subject.clone(),
            status: incident.current,
            worst_status: incident.worst,
            last_abnormal_status: incident.last_abnormal,
            last_abnormal_at: incident.last_abnormal_at,
            open: incident.is_open(),
            needs_acknowledgement: incident.needs_acknowledgement,
            opened_at: incident.opened_at,
            closed_at: incident.closed_at,
            last_change_at: incident.last_change_at(),
            checked_at: incident.observation.at,
            value: outcome.map(|outcome| outcome.value),
            expression: outcome.map(|outcome| outcome.expression.clone()).unwrap_or_default(),
            computations: incident.observation.computations.clone(),
            closes_at: incident.pending_close().and_then(|action| action.deadline),
            events: incident.events.clone(),
            actions: incident.actions.clone(),
            deliveries: incident.deliveries.clone(),
            previous: incident.previous.clone(),
            next: incident.next,
        }
    }
}

/// How a rule fares.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RuleStateView {
    /// Its name.
    pub rule: String,
    /// When it was evaluated last without an error, in milliseconds since the epoch.
    pub evaluated_at: Option<TimestampMs>,
    /// What has been wrong with it since then.
    pub failing: Option<RuleFailureView>,
    /// How many keys have each status: `normal`, `pending` (wrong, but not for long enough), `warning`, `critical`,
    /// `unknown`.
    pub keys: BTreeMap<String, usize>,
}

/// Why a rule cannot be evaluated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleFailureView {
    /// The newest reason.
    pub reason: String,
    /// Since when, in milliseconds since the epoch.
    pub since: TimestampMs,
    /// When it failed last.
    pub last_at: TimestampMs,
    /// How often it has failed since.
    pub count: u64,
}
