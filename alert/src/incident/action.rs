//! What people do to an incident.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tidemark_model::TimestampMs;

use crate::Status;

/// The kinds of action, as in Bosun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionKind {
    /// Somebody looks after it.
    Acknowledge,
    /// It is over.
    Close,
    /// It is over whatever the status: a key that is still abnormal opens a new incident at its next check.
    ForceClose,
    /// It is to be closed as soon as the status is normal, or when the deadline has passed.
    DelayedClose,
    /// A delayed close is dropped.
    CancelClose,
    /// The key will never be heard of again: drop the incident and the memory of the key.
    Forget,
    /// Drop the incident and the memory of the key, whatever the status.
    Purge,
    /// A comment.
    Note,
}

impl ActionKind {
    /// Every kind, with its name in the API.
    pub const ALL: [(&'static str, Self); 8] = [
        ("acknowledge", Self::Acknowledge),
        ("close", Self::Close),
        ("force_close", Self::ForceClose),
        ("delayed_close", Self::DelayedClose),
        ("cancel_close", Self::CancelClose),
        ("forget", Self::Forget),
        ("purge", Self::Purge),
        ("note", Self::Note),
    ];

    /// Its name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    /// The kind of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(candidate, _)| *candidate == name).map(|(_, kind)| *kind)
    }
}

/// What somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionRequest {
    /// What.
    pub kind: ActionKind,
    /// Who.
    pub user: String,
    /// In their words; may be empty.
    pub message: String,
    /// When a close of an incident that is still active shall happen at the latest, in milliseconds since the epoch.
    pub deadline: Option<TimestampMs>,
}

/// What somebody did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Action {
    /// What.
    pub kind: ActionKind,
    /// Who.
    pub user: String,
    /// In their words.
    pub message: String,
    /// When, in milliseconds since the epoch.
    pub at: TimestampMs,
    /// The latest moment of a delayed close.
    pub deadline: Option<TimestampMs>,
    /// Whether a delayed close has happened.
    pub fulfilled: bool,
    /// Whether a delayed close was dropped.
    pub cancelled: bool,
}

impl Action {
    /// Whether this is a delayed close that still waits.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.kind == ActionKind::DelayedClose && !self.fulfilled && !self.cancelled
    }
}

/// Why an action is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ActionError {
    /// It was acknowledged before.
    #[error("the incident is acknowledged already")]
    AlreadyAcknowledged,
    /// It is closed.
    #[error("the incident is closed, so {} it is not possible", verb(*.0))]
    Closed(ActionKind),
    /// Only what is silent can be forgotten.
    #[error("only an unknown incident can be forgotten; this one was last {0}")]
    NotUnknown(Status),
    /// There is no delayed close.
    #[error("no delayed close is waiting")]
    NoPendingClose,
    /// The deadline has passed already.
    #[error("the deadline lies in the past")]
    DeadlinePassed,
}

fn verb(kind: ActionKind) -> &'static str {
    match kind {
        ActionKind::Acknowledge => "acknowledging",
        ActionKind::CancelClose => "keeping",
        _ => "closing",
    }
}
