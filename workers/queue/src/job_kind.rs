//! What a job is, and what follows from that unless its producer says otherwise.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{Backoff, QueueName};

/// What a job does. The payload of each kind is a type that implements [`crate::Payload`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobKind {
    /// Store a batch of points.
    Write,
    /// Seal, merge, expire, or compute rollups of a range again.
    Rollup,
    /// Poll a remote target.
    Collect,
    /// Evaluate a rule and move its incidents.
    Evaluate,
    /// Deliver one notification.
    Notify,
    /// Forward an accepted batch to one remote cluster.
    Relay,
    /// Bring data in.
    Import,
    /// Run a rule over history.
    Backtest,
    /// Take data out.
    Export,
}

/// The queue of `rollup` jobs over a range of days, which take long: seals are not to wait for them.
pub const ROLLUP_RANGE_QUEUE: &str = "rollup.range";

/// What holds for the jobs of a kind unless their producer says otherwise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KindDefaults {
    /// Queue of that name.
    pub queue: &'static str,
    /// Attempts allowed.
    pub attempts_max: u32,
    /// How long one attempt may take.
    pub time_limit: Duration,
    /// After how long an attempt is told to come to an end; for kinds that can save what they have.
    pub soft_limit: Option<Duration>,
    /// How long to wait between attempts.
    pub backoff: Backoff,
}

impl JobKind {
    /// All kinds.
    pub const ALL: [Self; 9] = [
        Self::Write,
        Self::Rollup,
        Self::Collect,
        Self::Evaluate,
        Self::Notify,
        Self::Relay,
        Self::Import,
        Self::Backtest,
        Self::Export,
    ];

    /// The name of the kind, as it is stored, sent and shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Rollup => "rollup",
            Self::Collect => "collect",
            Self::Evaluate => "evaluate",
            Self::Notify => "notify",
            Self::Relay => "relay",
            Self::Import => "import",
            Self::Backtest => "backtest",
            Self::Export => "export",
        }
    }

    /// What holds for jobs of this kind unless their producer says otherwise. The queue has the name of the kind.
    #[must_use]
    pub const fn defaults(self) -> KindDefaults {
        let (attempts_max, time_limit_s, base_ms, cap_s) = match self {
            // Points must not be given up while the store is away for an hour: 200 ms doubling to a minute.
            Self::Write => (80, 30, 200, 60),
            Self::Rollup => (5, 1_800, 5_000, 300),
            // The next poll of the schedule comes anyhow.
            Self::Collect => (2, 60, 1_000, 10),
            Self::Evaluate => (3, 60, 500, 10),
            // About a day with the cap: a receiver that is down over night gets its notifications in the morning.
            Self::Notify => (40, 60, 2_000, 3_600),
            Self::Relay => (80, 60, 500, 300),
            Self::Import | Self::Export => (3, 6 * 3_600, 10_000, 600),
            Self::Backtest => (1, 3_600, 1_000, 60),
        };
        let soft_limit = match self {
            // A tenth of the time is for writing down how far it got.
            Self::Import | Self::Export | Self::Backtest => Some(Duration::from_secs(time_limit_s / 10 * 9)),
            _ => None,
        };
        KindDefaults {
            queue: self.name(),
            attempts_max,
            time_limit: Duration::from_secs(time_limit_s),
            soft_limit,
            backoff: Backoff { base: Duration::from_millis(base_ms), cap: Duration::from_secs(cap_s) },
        }
    }

    /// The queue in which jobs of this kind wait unless their producer says otherwise.
    #[must_use]
    pub fn default_queue(self) -> QueueName {
        QueueName::of_kind(self)
    }

    /// Whether several jobs may travel through a broker as one frame. Only for kinds whose jobs are short and many:
    /// a frame goes to one worker and is settled as a whole.
    #[must_use]
    pub const fn is_framed(self) -> bool {
        matches!(self, Self::Write | Self::Relay)
    }
}

impl fmt::Display for JobKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// A text names no kind of job.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no kind of job: the kinds are write, rollup, collect, evaluate, notify, relay, import, backtest and export"
)]
pub struct JobKindError(String);

impl FromStr for JobKind {
    type Err = JobKindError;

    fn from_str(text: &str) -> Result<Self, JobKindError> {
        let kind = Self::ALL.into_iter().find(|kind| kind.name() == text);
        kind.ok_or_else(|| JobKindError(text.chars().take(64).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_survives_its_name() {
        for kind in JobKind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
            assert!(kind.defaults().attempts_max > 0);
            assert_eq!(kind.default_queue().as_str(), kind.name());
        }
        assert!("Write".parse::<JobKind>().is_err());
    }
}
