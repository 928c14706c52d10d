//! What one check of a rule found out about one key.

use serde::{Deserialize, Serialize};
use tidemark_model::TimestampMs;

use crate::Status;

/// What one check found out about one key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// When, in milliseconds since the epoch.
    pub at: TimestampMs,
    /// The status that follows.
    pub status: Status,
    /// The value of `warn`; not evaluated where `crit` triggered.
    pub warn: Option<Outcome>,
    /// The value of `crit`.
    pub crit: Option<Outcome>,
    /// The steps that led to the value that counts.
    pub computations: Vec<Step>,
}

impl Observation {
    /// The outcome that the status comes from.
    #[must_use]
    pub fn deciding(&self) -> Option<&Outcome> {
        match self.status {
            Status::Critical => self.crit.as_ref(),
            _ => self.warn.as_ref().or(self.crit.as_ref()),
        }
    }
}

/// How far ahead of the clock a moment may lie before it counts as written while the clock was wrong.
const CLOCK_STEP_MS_MAX: i64 = 10 * 60 * 1000;

/// Whether something at `at` comes after what was noted at `before`.
///
/// A moment far in the future was noted while the clock was wrong. It must not hold everything up until the clock gets
/// there, so it counts as long past.
pub(crate) fn comes_after(at: TimestampMs, before: TimestampMs) -> bool {
    at > before || before.saturating_sub(at) > CLOCK_STEP_MS_MAX
}

/// The value of an expression.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The value; NaN is written as `null` in JSON.
    pub value: f64,
    /// The expression.
    pub expression: String,
}

/// A step of a computation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The part of the expression, with the tags of the group.
    pub text: String,
    /// Its value; NaN is written as `null` in JSON.
    pub value: f64,
}
