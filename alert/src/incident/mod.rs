//! An incident: one alert key, from the first time that something is wrong until somebody closes it.
//!
//! Bosun's model, with its central choice: an incident stays open when the status is normal again, because a problem
//! that went away by itself is still one that somebody should look at. [`Incident::observe`], [`Incident::act`] and
//! [`Incident::tick`] are the whole state machine; they do no input or output and are told the time.

mod action;
mod delivery;
mod id;
mod machine;
mod observation;
#[cfg(test)]
mod tests;

pub use action::{Action, ActionError, ActionKind, ActionRequest};
pub use delivery::{Delivery, DeliveryId, DeliveryState, NotifyReason};
pub use id::IncidentId;
pub(crate) use machine::SYSTEM_USER;
pub use machine::{Effect, IncidentPolicy};
pub(crate) use observation::comes_after;
pub use observation::{Observation, Outcome, Step};

use serde::{Deserialize, Serialize};
use tidemark_model::TimestampMs;

use crate::{AlertKey, Status, expression::Group};

/// Most events, actions and deliveries that an incident remembers; of more, the first and the newest stay. With the
/// limits on texts this keeps the record of an incident below the 100 kB that a document may have.
pub const HISTORY_MAX: usize = 40;
/// Bytes of an expression, a step or a reason that is remembered.
pub(crate) const TEXT_BYTES_MAX: usize = 400;
/// Bytes of what somebody says.
pub(crate) const MESSAGE_BYTES_MAX: usize = 500;
/// Bytes of the name of somebody.
pub(crate) const USER_BYTES_MAX: usize = 100;

/// An incident. All times are milliseconds since the epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// Its number.
    pub id: IncidentId,
    /// What it is about.
    pub key: AlertKey,
    /// When it was opened.
    pub opened_at: TimestampMs,
    /// When it was closed; `None` while it is open.
    pub closed_at: Option<TimestampMs>,
    /// Whether nobody has acknowledged its worst status yet.
    pub needs_acknowledgement: bool,
    /// The status now.
    pub current: Status,
    /// The worst status so far.
    pub worst: Status,
    /// The newest status that was not normal.
    pub last_abnormal: Status,
    /// When that was.
    pub last_abnormal_at: TimestampMs,
    /// One line about it, rendered at the newest check that was not normal.
    pub subject: String,
    /// The newest check: values and the steps that led to them.
    pub observation: Observation,
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
    /// How many deliveries there were, for their ids.
    pub(crate) deliveries_made: u64,
}

/// A change of status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IncidentEvent {
    /// When.
    pub at: TimestampMs,
    /// To what.
    pub status: Status,
    /// The value of `warn`, when it was evaluated.
    pub warn: Option<Outcome>,
    /// The value of `crit`, when it was evaluated.
    pub crit: Option<Outcome>,
}

impl Incident {
    /// Whether it is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.closed_at.is_none()
    }

    /// The tags that it is about.
    #[must_use]
    pub fn group(&self) -> &Group {
        &self.key.group
    }

    /// When the status changed last.
    #[must_use]
    pub fn last_change_at(&self) -> TimestampMs {
        self.events.last().map_or(self.opened_at, |event| event.at)
    }

    /// The delayed close that is waiting, if there is one.
    #[must_use]
    pub fn pending_close(&self) -> Option<&Action> {
        self.actions.iter().rev().find(|action| action.is_pending())
    }
}

/// Keeps a history short: its first entry and the newest.
fn push_capped<T>(history: &mut Vec<T>, entry: T) {
    if history.len() >= HISTORY_MAX {
        history.remove(1);
    }
    history.push(entry);
}
