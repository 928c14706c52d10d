//! Alerting: what is wrong, who is told, and until when.
//!
//! An [`expression`] turns stored points into numbers for groups of tags.

pub mod expression;
mod suggestion;
