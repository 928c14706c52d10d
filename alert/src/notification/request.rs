//! One notification to one receiver, as a `notify` job carries it.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tidemark_model::TimestampMs;

use crate::{
    Incident,
    book::IncidentView,
    incident::{DeliveryId, DeliveryState, NotifyReason},
};

/// Version of [`NotificationRequest::encode`]'s bytes, which are this byte and a MessagePack map.
const VERSION: u8 = 1;

/// Somebody is to be told of an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NotificationRequest {
    /// Its identity: the same on every attempt, and the unique key of its job.
    pub delivery: DeliveryId,
    /// The name of the notification.
    pub notification: String,
    /// Why.
    pub reason: NotifyReason,
    /// When it became due, in milliseconds since the epoch.
    pub at: TimestampMs,
    /// Who acted; empty when the status changed.
    pub user: String,
    /// In their words.
    pub message: String,
    /// The incident at that time.
    pub incident: IncidentView,
}

/// Why bytes are no request.
#[derive(Debug, Error)]
pub enum RequestError {
    /// An unknown version.
    #[error("a notification of version {found} cannot be read, only {VERSION}")]
    Version {
        /// The version.
        found: u8,
    },
    /// Not what [`NotificationRequest::encode`] writes.
    #[error("a notification is damaged: {0}")]
    Damaged(String),
}

impl NotificationRequest {
    /// The bytes for the job.
    ///
    /// # Errors
    /// [`RequestError::Damaged`] if it cannot be written, which no request of ours is.
    pub fn encode(&self) -> Result<Vec<u8>, RequestError> {
        let body = rmp_serde::to_vec_named(self).map_err(|error| RequestError::Damaged(error.to_string()))?;
        Ok([&[VERSION], body.as_slice()].concat())
    }

    /// The request in the bytes of a job.
    ///
    /// # Errors
    /// Another version, or damage.
    pub fn decode(bytes: &[u8]) -> Result<Self, RequestError> {
        match bytes.split_first() {
            Some((&VERSION, body)) => {
                rmp_serde::from_slice(body).map_err(|error| RequestError::Damaged(error.to_string()))
            }
            Some((&found, _)) => Err(RequestError::Version { found }),
            None => Err(RequestError::Damaged("it is empty".to_owned())),
        }
    }
}

impl NotificationRequest {
    /// The deliveries of an incident that nobody has queued yet.
    pub(crate) fn left_over(incident: &Incident) -> Vec<Self> {
        let view = IncidentView::new(incident);
        let requested = incident.deliveries.iter().filter(|delivery| delivery.state == DeliveryState::Requested);
        requested
            .map(|delivery| {
                let action = incident.actions.iter().find(|action| {
                    NotifyReason::Action(action.kind) == delivery.reason && action.at == delivery.requested_at
                });
                Self {
                    delivery: delivery.id.clone(),
                    notification: delivery.notification.clone(),
                    reason: delivery.reason,
                    at: delivery.requested_at,
                    user: action.map(|action| action.user.clone()).unwrap_or_default(),
                    message: action.map(|action| action.message.clone()).unwrap_or_default(),
                    incident: view.clone(),
                }
            })
            .collect()
    }

    /// Whether there is such a delivery.
    pub(crate) fn any_left_over(incident: &Incident) -> bool {
        incident.deliveries.iter().any(|delivery| delivery.state == DeliveryState::Requested)
    }
}
