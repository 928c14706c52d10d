//! Notifications of an incident, and what became of them.

use std::fmt;

use serde::{Deserialize, Serialize};
use tidemark_model::TimestampMs;

use crate::{IncidentId, Status, incident::ActionKind};

/// The identity of one notification to one receiver: the same however often it is tried.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeliveryId(String);

impl DeliveryId {
    /// The id of an incident's delivery by its number.
    #[must_use]
    pub fn new(incident: IncidentId, number: u64) -> Self {
        Self(format!("{incident}-{number}"))
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// A notification that was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// Its identity.
    pub id: DeliveryId,
    /// The name of the notification.
    pub notification: String,
    /// Why.
    pub reason: NotifyReason,
    /// When it was asked for, in milliseconds since the epoch.
    pub requested_at: TimestampMs,
    /// What became of it.
    pub state: DeliveryState,
    /// How often it was tried.
    pub attempts: u32,
}

/// Why somebody is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotifyReason {
    /// The incident was opened, or its worst status rose to this one.
    Status(Status),
    /// Somebody did this.
    Action(ActionKind),
}

/// What became of a notification. Times are milliseconds since the epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum DeliveryState {
    /// Asked for; nobody has said yet that it is queued.
    Requested,
    /// A job carries it.
    Queued,
    /// An attempt failed, and there will be another.
    Retrying {
        /// When the attempt was.
        at: TimestampMs,
        /// Why it failed.
        reason: String,
    },
    /// The receiver took it.
    Delivered {
        /// When.
        at: TimestampMs,
    },
    /// It will not be tried again.
    Failed {
        /// When it was given up.
        at: TimestampMs,
        /// Why.
        reason: String,
    },
}

impl DeliveryState {
    /// Whether nothing will change any more.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Delivered { .. } | Self::Failed { .. })
    }
}
