//! The state machine of an incident: pure functions of the incident, what happened and when.
//!
//! Everything can happen twice, since jobs can: an observation that is not newer than the one before changes nothing.

use std::time::Duration;

use tidemark_model::TimestampMs;

use crate::{
    AlertKey, Incident, IncidentId, Status,
    excerpt::excerpt,
    incident::{
        Action, ActionError, ActionKind, ActionRequest, Delivery, DeliveryId, DeliveryState, IncidentEvent,
        MESSAGE_BYTES_MAX, NotifyReason, Observation, USER_BYTES_MAX, comes_after, push_capped,
    },
};

/// Who acts when nobody does.
pub(crate) const SYSTEM_USER: &str = "tidemark";

/// What a rule says about the life of its incidents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncidentPolicy {
    /// How long a close of an active incident waits for the status to become normal, unless told otherwise.
    pub close_grace: Duration,
    /// After how long of being normal an incident closes by itself; never when `None`, as in Bosun.
    pub close_after: Option<Duration>,
}

/// What somebody else has to do after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Tell those whom the rule names.
    Notify(NotifyReason),
    /// The key has no open incident any more.
    Closed,
    /// Drop the incident and what is known of the key.
    Removed,
}

impl Incident {
    /// Opens an incident with its first observation, which is not normal. Somebody has to be told.
    #[must_use]
    pub fn open(id: IncidentId, key: AlertKey, observation: Observation, previous: Vec<IncidentId>) -> Self {
        let (at, status) = (observation.at, observation.status);
        Self {
            id,
            key,
            opened_at: at,
            closed_at: None,
            needs_acknowledgement: true,
            current: status,
            worst: status,
            last_abnormal: status,
            last_abnormal_at: at,
            subject: String::new(),
            events: vec![event(&observation)],
            observation,
            actions: Vec::new(),
            deliveries: Vec::new(),
            previous,
            next: None,
            deliveries_made: 0,
        }
    }

    /// Takes the next observation of an open incident.
    ///
    /// A change of status becomes an event. When the worst status rises, acknowledgement is needed again, a delayed
    /// close is dropped, and somebody has to be told. Normal does not close the incident.
    pub fn observe(&mut self, observation: Observation, policy: &IncidentPolicy) -> Vec<Effect> {
        if !self.is_open() || !comes_after(observation.at, self.observation.at) {
            return Vec::new();
        }
        let (at, status) = (observation.at, observation.status);
        let mut effects = Vec::new();
        if status != self.current {
            push_capped(&mut self.events, event(&observation));
            self.current = status;
        }
        if status.is_abnormal() {
            self.last_abnormal = status;
            self.last_abnormal_at = at;
        }
        if status > self.worst {
            self.worst = status;
            self.needs_acknowledgement = true;
            if self.settle_pending_close(Settled::Cancelled) {
                self.record(ActionKind::CancelClose, SYSTEM_USER, "the status became worse", at);
            }
            effects.push(Effect::Notify(NotifyReason::Status(status)));
        }
        self.observation = observation;
        effects.extend(self.tick(at, policy));
        effects
    }

    /// Lets time pass: delayed closes come due, and an incident that has been normal long enough closes by itself.
    pub fn tick(&mut self, at: TimestampMs, policy: &IncidentPolicy) -> Vec<Effect> {
        if !self.is_open() {
            return Vec::new();
        }
        let deadline = self.pending_close().map(|action| action.deadline.unwrap_or(at));
        match deadline {
            Some(_) if !self.current.is_abnormal() => {
                self.settle_pending_close(Settled::Fulfilled);
                return self.finish(ActionKind::Close, SYSTEM_USER, "delayed close: the status is normal", at);
            }
            Some(deadline) if deadline <= at => {
                self.settle_pending_close(Settled::Fulfilled);
                return self.finish(ActionKind::ForceClose, SYSTEM_USER, "delayed close: the deadline has passed", at);
            }
            _ => {}
        }
        match policy.close_after {
            Some(after) if !self.current.is_abnormal() && self.last_change_at() + millis(after) <= at => {
                self.finish(ActionKind::Close, SYSTEM_USER, "the status has been normal long enough", at)
            }
            _ => Vec::new(),
        }
    }

    /// Does what somebody asks for.
    ///
    /// A close of an incident that is still active becomes a delayed close, which acknowledges it; another one
    /// replaces the deadline.
    ///
    /// # Errors
    /// The action makes no sense in this state; nothing has changed.
    pub fn act(
        &mut self,
        request: &ActionRequest,
        at: TimestampMs,
        policy: &IncidentPolicy,
    ) -> Result<Vec<Effect>, ActionError> {
        let (user, message) = (request.user.as_str(), request.message.as_str());
        match request.kind {
            ActionKind::Note => {
                self.record(ActionKind::Note, user, message, at);
                Ok(vec![Effect::Notify(NotifyReason::Action(ActionKind::Note))])
            }
            ActionKind::Forget if self.last_abnormal != Status::Unknown => {
                Err(ActionError::NotUnknown(self.last_abnormal))
            }
            ActionKind::Forget | ActionKind::Purge => Ok(vec![Effect::Removed]),
            kind if !self.is_open() => Err(ActionError::Closed(kind)),
            ActionKind::Acknowledge if !self.needs_acknowledgement => Err(ActionError::AlreadyAcknowledged),
            ActionKind::Acknowledge => {
                self.needs_acknowledgement = false;
                self.record(ActionKind::Acknowledge, user, message, at);
                Ok(vec![Effect::Notify(NotifyReason::Action(ActionKind::Acknowledge))])
            }
            ActionKind::ForceClose => Ok(self.finish(ActionKind::ForceClose, user, message, at)),
            ActionKind::Close | ActionKind::DelayedClose if !self.current.is_abnormal() => {
                Ok(self.finish(ActionKind::Close, user, message, at))
            }
            ActionKind::Close | ActionKind::DelayedClose => self.close_later(request, at, policy),
            ActionKind::CancelClose if !self.settle_pending_close(Settled::Cancelled) => {
                Err(ActionError::NoPendingClose)
            }
            ActionKind::CancelClose => {
                self.record(ActionKind::CancelClose, user, message, at);
                Ok(vec![Effect::Notify(NotifyReason::Action(ActionKind::CancelClose))])
            }
        }
    }

    /// Notes a delivery that somebody has to make.
    pub(crate) fn request_delivery(&mut self, notification: &str, reason: NotifyReason, at: TimestampMs) -> DeliveryId {
        self.deliveries_made += 1;
        let id = DeliveryId::new(self.id, self.deliveries_made);
        let delivery = Delivery {
            id: id.clone(),
            notification: notification.to_owned(),
            reason,
            requested_at: at,
            state: DeliveryState::Requested,
            attempts: 0,
        };
        push_capped(&mut self.deliveries, delivery);
        id
    }

    fn close_later(
        &mut self,
        request: &ActionRequest,
        at: TimestampMs,
        policy: &IncidentPolicy,
    ) -> Result<Vec<Effect>, ActionError> {
        let deadline = request.deadline.unwrap_or_else(|| at.saturating_add(millis(policy.close_grace)));
        if deadline <= at {
            return Err(ActionError::DeadlinePassed);
        }
        self.settle_pending_close(Settled::Cancelled);
        self.needs_acknowledgement = false;
        self.record(ActionKind::DelayedClose, &request.user, &request.message, at);
        if let Some(action) = self.actions.last_mut() {
            action.deadline = Some(deadline);
        }
        Ok(vec![Effect::Notify(NotifyReason::Action(ActionKind::DelayedClose))])
    }

    fn finish(&mut self, kind: ActionKind, user: &str, message: &str, at: TimestampMs) -> Vec<Effect> {
        self.settle_pending_close(Settled::Fulfilled);
        self.needs_acknowledgement = false;
        self.closed_at = Some(at);
        self.record(kind, user, message, at);
        vec![Effect::Notify(NotifyReason::Action(kind)), Effect::Closed]
    }

    fn record(&mut self, kind: ActionKind, user: &str, message: &str, at: TimestampMs) {
        let action = Action {
            kind,
            user: excerpt(user, USER_BYTES_MAX),
            message: excerpt(message, MESSAGE_BYTES_MAX),
            at,
            deadline: None,
            fulfilled: false,
            cancelled: false,
        };
        push_capped(&mut self.actions, action);
    }

    /// Marks the delayed close that waits, if there is one.
    fn settle_pending_close(&mut self, how: Settled) -> bool {
        let Some(action) = self.actions.iter_mut().rev().find(|action| action.is_pending()) else {
            return false;
        };
        match how {
            Settled::Fulfilled => action.fulfilled = true,
            Settled::Cancelled => action.cancelled = true,
        }
        true
    }
}

#[derive(Clone, Copy)]
enum Settled {
    Fulfilled,
    Cancelled,
}

fn event(observation: &Observation) -> IncidentEvent {
    IncidentEvent {
        at: observation.at,
        status: observation.status,
        warn: observation.warn.clone(),
        crit: observation.crit.clone(),
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}
