//! Why the book of incidents cannot do something.

use thiserror::Error;
use tidemark_model::DocumentError;

use crate::{IncidentId, incident::ActionError};

/// Why the book of incidents cannot do something.
#[derive(Debug, Error)]
pub enum BookError {
    /// The store refuses or cannot answer.
    #[error(transparent)]
    Store(#[from] DocumentError),
    /// A record cannot be read.
    #[error("a record of the incident book is damaged: {0}")]
    Damaged(String),
    /// There is no such incident.
    #[error("there is no incident {0}")]
    NoSuchIncident(IncidentId),
    /// The action makes no sense.
    #[error(transparent)]
    Action(#[from] ActionError),
    /// The rule has too many keys.
    #[error("rule `{rule}` has {keys} keys, at most {limit} are allowed; narrow its query")]
    TooManyKeys {
        /// The rule.
        rule: String,
        /// Its keys.
        keys: usize,
        /// The limit.
        limit: usize,
    },
    /// Others keep changing the same record.
    #[error("`{0}` is being changed by others all the time; try again")]
    Contended(String),
}

impl BookError {
    /// Whether the same may work later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Contended(_)
                | Self::Store(
                    DocumentError::Unavailable(_) | DocumentError::Unknown { .. } | DocumentError::Conflict { .. }
                )
        )
    }
}
