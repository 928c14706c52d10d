//! Incidents as the pages show them.

use tidemark_alert::{
    IncidentId,
    book::{BookError, IncidentFilter, IncidentView},
    incident::{ActionKind, Delivery, DeliveryState, NotifyReason},
};
use tidemark_dashboards::{
    Computation, IncidentDetail, IncidentEvent, IncidentList, IncidentPage, IncidentStateFilter, IncidentSummary,
    IncidentTimeline, ProblemCount, Status, Tag,
};

use super::Console;

/// Incidents of one page.
const LISTED_MAX: usize = 200;
/// Closed incidents that are looked through for a page.
const SEARCHED_MAX: usize = 1_000;
/// Earlier and related incidents of one page.
const BESIDE_MAX: usize = 10;

impl Console {
    /// The open incidents, worst first; none when they cannot be read, which is logged: other parts of a page are still
    /// worth showing.
    pub(crate) async fn open_incidents(&self) -> Vec<IncidentSummary> {
        match self.open().await {
            Ok(open) => worst_first(open.iter().map(summary).collect()),
            Err(error) => {
                tracing::warn!(%error, "open incidents cannot be read");
                Vec::new()
            }
        }
    }

    pub(crate) async fn open(&self) -> Result<Vec<IncidentView>, BookError> {
        self.seams.incidents.open().await
    }

    /// The count in the navigation.
    pub(crate) async fn problem_count(&self) -> ProblemCount {
        let open = self.open_incidents().await;
        let count = |status| {
            u32::try_from(open.iter().filter(|incident| incident.current == status).count()).unwrap_or(u32::MAX)
        };
        ProblemCount {
            critical: count(Status::Critical),
            warning: count(Status::Warning),
            unknown: count(Status::Unknown),
        }
    }

    /// The tabs and the list of `/incidents`.
    pub(crate) async fn incident_list(
        &self,
        state: IncidentStateFilter,
        search: &str,
    ) -> Result<IncidentList, BookError> {
        let open = self.open().await?;
        let needs_ack = open.iter().filter(|incident| incident.needs_acknowledgement).count();
        // All but these two states only ask whether there ever was one.
        let shows_closed = matches!(state, IncidentStateFilter::Closed | IncidentStateFilter::All);
        let looked_through = if shows_closed { SEARCHED_MAX } else { 1 };
        let filter = IncidentFilter { open: Some(false), ..IncidentFilter::default() };
        let closed = self.seams.incidents.list(&filter, looked_through).await?;
        let any_ever = !open.is_empty() || !closed.incidents.is_empty();
        let (open_count, acknowledged) = (open.len(), open.len() - needs_ack);
        let mut listed: Vec<IncidentView> = match state {
            IncidentStateFilter::NeedsAck => {
                open.into_iter().filter(|incident| incident.needs_acknowledgement).collect()
            }
            IncidentStateFilter::Open => open,
            IncidentStateFilter::Acknowledged => {
                open.into_iter().filter(|incident| !incident.needs_acknowledgement).collect()
            }
            IncidentStateFilter::Closed => closed.incidents,
            IncidentStateFilter::All => open.into_iter().chain(closed.incidents).collect(),
        };
        listed.retain(|incident| incident.subject.contains(search) || incident.key.contains(search));
        let left_out = listed.len().saturating_sub(LISTED_MAX);
        let mut incidents: Vec<_> = listed.iter().map(summary).collect();
        if state != IncidentStateFilter::Closed {
            incidents = worst_first(incidents);
        }
        incidents.truncate(LISTED_MAX);
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Ok(IncidentList {
            state,
            search: search.to_owned(),
            needs_ack_count: count(needs_ack),
            open_count: count(open_count),
            acknowledged_count: count(acknowledged),
            incidents,
            left_out: count(left_out),
            any_ever,
        })
    }

    /// The page of one incident, if there is such an incident.
    pub(crate) async fn incident_page(&self, id: u64) -> Result<Option<IncidentPage>, BookError> {
        let Some(incident) = self.seams.incidents.get(IncidentId(id)).await? else { return Ok(None) };
        let mut earlier = Vec::new();
        for id in incident.previous.iter().rev().take(BESIDE_MAX) {
            earlier.extend(self.seams.incidents.get(*id).await?.as_ref().map(summary));
        }
        let shares_a_tag = |other: &&IncidentView| {
            other.id != incident.id && incident.tags.iter().any(|(key, value)| other.tags.get(key) == Some(value))
        };
        let related = self.open().await?.iter().filter(shares_a_tag).take(BESIDE_MAX).map(summary).collect();
        Ok(Some(IncidentPage {
            detail: detail(&incident),
            timeline: IncidentTimeline { events: events(&incident) },
            graph: self.incident_graph(&incident).await,
            message: String::new(),
            earlier,
            related,
        }))
    }
}

/// The worst first, and of those the newest.
fn worst_first(mut incidents: Vec<IncidentSummary>) -> Vec<IncidentSummary> {
    incidents.sort_by_key(|incident| std::cmp::Reverse((incident.current, incident.opened_ms)));
    incidents
}

fn status(status: tidemark_alert::Status) -> Status {
    match status {
        tidemark_alert::Status::None | tidemark_alert::Status::Normal => Status::Normal,
        tidemark_alert::Status::Warning => Status::Warning,
        tidemark_alert::Status::Critical => Status::Critical,
        tidemark_alert::Status::Unknown => Status::Unknown,
    }
}

pub(super) fn summary(incident: &IncidentView) -> IncidentSummary {
    let acknowledged = incident.actions.iter().rev().find(|action| action.kind == ActionKind::Acknowledge);
    IncidentSummary {
        id: incident.id.0,
        rule: incident.rule.clone(),
        subject: incident.subject.clone(),
        tags: incident.tags.iter().map(|(key, value)| Tag { key: key.to_owned(), value: value.to_owned() }).collect(),
        current: status(incident.status),
        worst: status(incident.worst_status),
        open: incident.open,
        acknowledged_by: acknowledged.filter(|_| !incident.needs_acknowledgement).map(|action| action.user.clone()),
        silenced: false,
        opened_ms: incident.opened_at,
        closed_ms: incident.closed_at,
        value: measured(incident).filter(|value| value.is_finite()),
        ..IncidentSummary::default()
    }
}

/// The number that a person wants to see: of `min(q(…)) > 1000` not the 1 that it comes to, but what was compared.
fn measured(incident: &IncidentView) -> Option<f64> {
    incident.computations.first().map(|step| step.value).or(incident.value)
}

fn detail(incident: &IncidentView) -> IncidentDetail {
    let computation = |step: &tidemark_alert::incident::Step| Computation {
        expression: step.text.clone(),
        value: step.value.to_string(),
    };
    IncidentDetail {
        incident: summary(incident),
        changed_ms: incident.last_change_at,
        expression: incident.expression.clone(),
        computations: incident.computations.iter().map(computation).collect(),
    }
}

/// What happened to an incident, newest first.
pub(super) fn events(incident: &IncidentView) -> Vec<IncidentEvent> {
    let mut events: Vec<IncidentEvent> = Vec::new();
    for (number, event) in incident.events.iter().enumerate() {
        let value = event.crit.as_ref().or(event.warn.as_ref()).map(|outcome| outcome.value);
        events.push(IncidentEvent {
            at_ms: event.at,
            kind: if number == 0 { "opened" } else { "status" }.to_owned(),
            status: Some(status(event.status)),
            who: String::new(),
            text: value.map(|value| format!("value {value}")).unwrap_or_default(),
        });
    }
    for action in &incident.actions {
        events.push(IncidentEvent {
            at_ms: action.at,
            kind: words(action.kind).to_owned(),
            status: None,
            who: action.user.clone(),
            text: action.message.clone(),
        });
    }
    events.extend(incident.deliveries.iter().map(delivered));
    events.sort_by_key(|event| std::cmp::Reverse(event.at_ms));
    events
}

fn words(kind: ActionKind) -> &'static str {
    match kind {
        ActionKind::Acknowledge => "acknowledged",
        ActionKind::Close => "closed",
        ActionKind::ForceClose => "force closed",
        ActionKind::DelayedClose => "closes when normal",
        ActionKind::CancelClose => "close cancelled",
        ActionKind::Forget => "forgotten",
        ActionKind::Purge => "purged",
        ActionKind::Note => "note",
    }
}

fn delivered(delivery: &Delivery) -> IncidentEvent {
    let about = match delivery.reason {
        NotifyReason::Status(status) => status.as_str(),
        NotifyReason::Action(kind) => words(kind),
    };
    let (at_ms, became) = match &delivery.state {
        DeliveryState::Requested | DeliveryState::Queued => (delivery.requested_at, "is on its way".to_owned()),
        DeliveryState::Retrying { at, reason } => (*at, format!("failed, to be tried again: {reason}")),
        DeliveryState::Delivered { at } => (*at, "was delivered".to_owned()),
        DeliveryState::Failed { at, reason } => (*at, format!("was given up: {reason}")),
    };
    IncidentEvent {
        at_ms,
        kind: "notified".to_owned(),
        status: None,
        who: delivery.notification.clone(),
        text: format!("the message about `{about}` {became}"),
    }
}
