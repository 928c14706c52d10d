//! Which incidents somebody wants to see.

use crate::{Incident, IncidentId, Status};

/// Which incidents to list, newest first. What is `None` does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IncidentFilter {
    /// Open or closed ones.
    pub open: Option<bool>,
    /// Of this rule.
    pub rule: Option<String>,
    /// With this status now.
    pub status: Option<Status>,
    /// Acknowledged or not.
    pub needs_acknowledgement: Option<bool>,
    /// With this tag.
    pub tag: Option<(String, String)>,
    /// Older than this one.
    pub before: Option<IncidentId>,
}

impl IncidentFilter {
    /// Whether somebody wants to see this incident.
    #[must_use]
    pub fn matches(&self, incident: &Incident) -> bool {
        self.open.is_none_or(|open| open == incident.is_open())
            && self.rule.as_ref().is_none_or(|rule| *rule == incident.key.rule)
            && self.status.is_none_or(|status| status == incident.current)
            && self.needs_acknowledgement.is_none_or(|needs| needs == incident.needs_acknowledgement)
            && self.tag.as_ref().is_none_or(|(key, value)| incident.group().get(key) == Some(value))
            && self.before.is_none_or(|before| incident.id < before)
    }
}
