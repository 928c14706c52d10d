//! Alerting: what is wrong, who is told, and until when.
//!
//! A [`rules::Rule`] has two [`expression`]s over stored points. Each evaluation gives every group of tags a status, and
//! the [`book::IncidentBook`] moves [`incident`]s by it: they open, become worse, and stay open until somebody closes
//! them. What somebody has to be told becomes a [`notification::NotificationRequest`], which a [`notification::Notifier`]
//! delivers by HTTP. Nothing here knows the server, the queue or the store: points come through
//! [`tidemark_model::SeriesReader`], records go through [`tidemark_model::DocumentStore`], and the time is an argument.

mod alert_key;
mod backtest;
pub mod book;
mod excerpt;
pub mod expression;
pub mod incident;
pub mod notification;
pub mod rules;
mod status;
mod suggestion;
pub mod template;

pub use alert_key::AlertKey;
pub use backtest::{Backtest, BacktestTotals, KeyChange, TooManyKeys};
pub use book::{BookError, IncidentBook};
pub use incident::{Incident, IncidentId};
pub use notification::Notifier;
pub use rules::RuleSet;
pub use status::Status;
