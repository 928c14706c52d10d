//! The book of incidents: what is stored of rules and incidents, and how it changes.
//!
//! Four collections of records, each changed by compare-and-set alone:
//!
//! | collection | id | holds |
//! |---|---|---|
//! | `alert.incidents` | incident, newest first | [`Incident`] |
//! | `alert.keys` | rule `/` hash of the group | the newest incident of the key, and the ones before |
//! | `alert.states` | rule, and rule `/` page | when the rule was evaluated and failed; what is remembered of its keys |
//! | `alert.counters` | `incident` | the newest number of an incident |
//!
//! There is no transaction over several records. The order makes up for it: the number of the incident that a key has
//! open is settled first, by compare-and-set on the key's record, so two evaluators can never open two. A crash after
//! that leaves a number without an incident, and the next evaluation opens it under that number.
//!
//! Deliveries are asked for in the incident itself, in the same write as the change that they tell of, and stay
//! `Requested` until somebody says that a job carries them ([`IncidentBook::mark_queued`]). Every evaluation returns
//! those that are left over, so none is lost and the unique key of the job keeps them from doubling.

mod apply;
mod codec;
mod error;
mod filter;
mod incidents;
pub(crate) mod key_states;
mod records;
pub(crate) mod rule_record;
mod view;

use std::sync::Arc;

use tidemark_model::{DocumentStore, TimestampMs};

pub use error::BookError;
pub use filter::IncidentFilter;
pub use incidents::IncidentPage;
pub use view::{IncidentView, RuleFailureView, RuleStateView};

use crate::{
    IncidentId,
    incident::ActionRequest,
    notification::NotificationRequest,
    rules::{RuleEvaluation, RuleSet},
};
use incidents::Incidents;
use records::Records;

/// Keeps incidents and what is known of rules. Cheap to clone; any number of processes may use one store.
#[derive(Clone)]
pub struct IncidentBook {
    incidents: Incidents,
    states: Records,
}

impl IncidentBook {
    /// The book in a store.
    #[must_use]
    pub fn new(store: Arc<dyn DocumentStore>) -> Self {
        Self { incidents: Incidents::new(&store), states: Records::new(store, "alert.states") }
    }

    /// Moves the incidents of a rule by what an evaluation found out, and returns whom to tell.
    ///
    /// An evaluation that is not newer than the one before changes nothing, so a job may run twice; what is still to
    /// be queued is returned again. A failed evaluation moves no incident; only deadlines of delayed closes come due.
    ///
    /// # Errors
    /// The store fails, or the rule has too many keys. Incidents that were moved stay moved; applying the same
    /// evaluation again moves the rest.
    pub async fn apply(
        &self,
        rules: &RuleSet,
        rule: &str,
        evaluation: &RuleEvaluation,
    ) -> Result<Vec<NotificationRequest>, BookError> {
        match rules.rule(rule) {
            Some(rule) => self.apply_rule(rules, rule, evaluation).await,
            None => Ok(Vec::new()),
        }
    }

    /// Notes that jobs carry these requests.
    ///
    /// # Errors
    /// The store fails; the requests are then returned once more by the next evaluation.
    pub async fn mark_queued(&self, requests: &[NotificationRequest]) -> Result<(), BookError> {
        self.incidents.mark_queued(requests).await
    }

    /// Notes what became of an attempt to deliver. `is_last` says that a failed attempt will not be repeated.
    ///
    /// # Errors
    /// The store fails. An incident that is gone is no error.
    pub async fn record_delivery(
        &self,
        request: &NotificationRequest,
        outcome: &crate::notification::DeliveryOutcome,
        is_last: bool,
        at: TimestampMs,
    ) -> Result<(), BookError> {
        self.incidents.record_delivery(request, outcome, is_last, at).await
    }

    /// Does what somebody asks for, and returns whom to tell and the incident as it is then; `None` once it is gone.
    ///
    /// # Errors
    /// [`BookError::NoSuchIncident`]; [`BookError::Action`] when it makes no sense; or the store fails.
    pub async fn act(
        &self,
        rules: &RuleSet,
        id: IncidentId,
        request: &ActionRequest,
        at: TimestampMs,
    ) -> Result<(Vec<NotificationRequest>, Option<IncidentView>), BookError> {
        let (requests, incident, removed) = self.incidents.act(rules, id, request, at).await?;
        if let Some(key) = removed {
            self.forget_key(&key).await?;
        }
        Ok((requests, incident.as_ref().map(IncidentView::new)))
    }

    /// An incident.
    ///
    /// # Errors
    /// The store fails.
    pub async fn get(&self, id: IncidentId) -> Result<Option<IncidentView>, BookError> {
        Ok(self.incidents.get(id).await?.as_ref().map(IncidentView::new))
    }

    /// The open incidents, newest first.
    ///
    /// # Errors
    /// The store fails.
    pub async fn open(&self) -> Result<Vec<IncidentView>, BookError> {
        let mut open = self.incidents.open_of("").await?;
        open.sort_unstable_by_key(|incident| std::cmp::Reverse(incident.id));
        Ok(open.iter().map(IncidentView::new).collect())
    }

    /// At most `limit` incidents that a filter matches, newest first.
    ///
    /// # Errors
    /// The store fails.
    pub async fn list(&self, filter: &IncidentFilter, limit: usize) -> Result<IncidentPage, BookError> {
        self.incidents.list(filter, limit).await
    }

    /// Closes open incidents whose rule no longer exists, and returns how many.
    ///
    /// # Errors
    /// The store fails.
    pub async fn close_orphans(&self, rules: &RuleSet, at: TimestampMs) -> Result<usize, BookError> {
        self.incidents.close_orphans(rules, at).await
    }
}
