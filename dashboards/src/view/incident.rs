//! Incidents.

use serde::{Deserialize, Serialize};

use super::{graph::Graph, status::Status};
use crate::units::Unit;

/// A tag as it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tag {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// One incident as a row.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct IncidentSummary {
    /// Its number.
    pub id: u64,
    /// The rule that opened it.
    pub rule: String,
    /// The subject that the rule's template gave, or nothing.
    pub subject: String,
    /// What it is about.
    pub tags: Vec<Tag>,
    /// The status now.
    pub current: Status,
    /// The worst status it ever had.
    pub worst: Status,
    /// Whether it is open.
    pub open: bool,
    /// Who acknowledged it, if anybody did.
    pub acknowledged_by: Option<String>,
    /// Whether a silence covers it.
    pub silenced: bool,
    /// When it opened.
    pub opened_ms: i64,
    /// When it closed.
    pub closed_ms: Option<i64>,
    /// The value of the rule's expression when last evaluated.
    pub value: Option<f64>,
    /// What that value counts.
    pub unit: Unit,
    /// The last values, oldest first, for the small line; empty draws none.
    pub recent_values: Vec<Option<f64>>,
}

/// Which incidents `/incidents` lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IncidentStateFilter {
    /// Open, and nobody has acknowledged them.
    NeedsAck,
    /// Open, whoever acknowledged them.
    #[default]
    Open,
    /// Open and acknowledged.
    Acknowledged,
    /// Closed, newest first.
    Closed,
    /// All.
    All,
}

/// The page `/incidents?state=…&q=…`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct IncidentsPage {
    /// What it lists.
    pub list: IncidentList,
}

/// The fragment `incident-list`: the tabs and the list.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct IncidentList {
    /// The tab that is chosen.
    pub state: IncidentStateFilter,
    /// The text that subject, rule or tags must contain; empty for all.
    pub search: String,
    /// How many incidents need an acknowledgement.
    pub needs_ack_count: u32,
    /// How many are open.
    pub open_count: u32,
    /// How many are open and acknowledged.
    pub acknowledged_count: u32,
    /// Worst first; closed ones newest first.
    pub incidents: Vec<IncidentSummary>,
    /// How many more there are than are listed.
    pub left_out: u32,
    /// Whether any incident exists at all, in any state: decides what an empty list says.
    pub any_ever: bool,
}

/// The page `/incidents/{id}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct IncidentPage {
    /// What changes at the top.
    pub detail: IncidentDetail,
    /// What happened.
    pub timeline: IncidentTimeline,
    /// The rule's expression over the time around the incident, if its queries can be drawn.
    pub graph: Option<Graph>,
    /// The body that the rule's template gave, as text.
    pub message: String,
    /// Earlier incidents of the same rule and tags, newest first.
    pub earlier: Vec<IncidentSummary>,
    /// Other open incidents that share a tag.
    pub related: Vec<IncidentSummary>,
}

/// The fragment `incident-detail`: the head of an incident and why it is in its state.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct IncidentDetail {
    /// The incident.
    pub incident: IncidentSummary,
    /// When its status last changed.
    pub changed_ms: i64,
    /// The rule's expression as written, for the level that it reached.
    pub expression: String,
    /// The steps of the last evaluation.
    pub computations: Vec<Computation>,
}

/// One step of an evaluation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Computation {
    /// The part of the expression.
    pub expression: String,
    /// What it gave, as text.
    pub value: String,
}

/// The fragment `incident-timeline`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct IncidentTimeline {
    /// Newest first.
    pub events: Vec<IncidentEvent>,
}

/// Something that happened to an incident.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct IncidentEvent {
    /// When.
    pub at_ms: i64,
    /// What, in a word or two: `opened`, `status`, `acknowledged`, `note`, `notified`, `closed`.
    pub kind: String,
    /// The status after it, where the event has one.
    pub status: Option<Status>,
    /// Who did it; empty when nobody did.
    pub who: String,
    /// What they wrote, or a sentence about it.
    pub text: String,
}
