//! How an agent behaves.

use std::{io, path::PathBuf, time::Duration};

use thiserror::Error;

use crate::{DeliveryOptions, ExternalOptions, HostTags, SpoolError, SpoolOptions};

/// How an agent behaves.
#[derive(Clone, Debug)]
pub struct AgentOptions {
    /// Tags of every point.
    pub host_tags: HostTags,
    /// How often built-in collectors run; some run at every third or sixth time. Default 10 s, at least 10 ms.
    pub interval: Duration,
    /// Names of built-in collectors that do not run.
    pub disabled: Vec<String>,
    /// Programs that are collectors, too; `None` for none.
    pub external: Option<ExternalOptions>,
    /// Most points of one batch. Default 10 000.
    pub batch_points_max: usize,
    /// How long points wait for others before they are sent. Default 1 s.
    pub flush_after: Duration,
    /// Bytes of points that wait in memory for the sink; beyond that they go to the spool, or the oldest are dropped
    /// and counted. Default 16 MiB.
    pub backlog_bytes_max: usize,
    /// Where points go that the sink does not take; `None` keeps them in memory only.
    pub spool: Option<SpoolOptions>,
    /// How long to wait after the first failure of the sink; doubled after each further one. Default 1 s.
    pub retry_first: Duration,
    /// The longest such wait. Default 60 s.
    pub retry_longest: Duration,
    /// After what time metadata are sent again. Default 1 h.
    pub metadata_repeat_after: Duration,
    /// How long the last points may take to be sent once the collectors have ended. Default 5 s.
    pub farewell: Duration,
    /// Spreads the agents of a fleet over time. The binary passes a random one.
    pub seed: u64,
}

impl AgentOptions {
    /// The defaults, for points with these tags.
    #[must_use]
    pub fn new(host_tags: HostTags) -> Self {
        let delivery = DeliveryOptions::default();
        Self {
            host_tags,
            interval: Duration::from_secs(10),
            disabled: Vec::new(),
            external: None,
            batch_points_max: delivery.batch_points_max,
            flush_after: delivery.flush_after,
            backlog_bytes_max: delivery.backlog_bytes_max,
            spool: delivery.spool,
            retry_first: delivery.retry_first,
            retry_longest: delivery.retry_longest,
            metadata_repeat_after: delivery.metadata_repeat_after,
            farewell: delivery.farewell,
            seed: delivery.seed,
        }
    }

    /// Refuses options with which no agent can work.
    pub(crate) fn check(&self) -> Result<(), AgentError> {
        if self.interval < INTERVAL_MIN {
            return Err(AgentError::Interval(self.interval));
        }
        if self.batch_points_max == 0 {
            return Err(AgentError::BatchPoints);
        }
        let known: Vec<&str> = crate::listing::builtin_names();
        match self.disabled.iter().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(AgentError::UnknownCollector { name: name.clone(), known: known.join(", ") }),
            None => Ok(()),
        }
    }

    pub(crate) fn delivery(&self) -> DeliveryOptions {
        DeliveryOptions {
            batch_points_max: self.batch_points_max,
            flush_after: self.flush_after,
            backlog_bytes_max: self.backlog_bytes_max,
            spool: self.spool.clone(),
            retry_first: self.retry_first,
            retry_longest: self.retry_longest,
            metadata_repeat_after: self.metadata_repeat_after,
            farewell: self.farewell,
            seed: self.seed,
        }
    }

    pub(crate) fn is_enabled(&self, name: &str) -> bool {
        !self.disabled.iter().any(|disabled| disabled == name)
    }
}

const INTERVAL_MIN: Duration = Duration::from_millis(10);

/// Why there is no agent with these options.
#[derive(Debug, Error)]
pub enum AgentError {
    /// Collectors would run without a pause.
    #[error("set up the agent: the interval must be at least {INTERVAL_MIN:?}, got {0:?}")]
    Interval(Duration),
    /// No batch could hold a point.
    #[error("set up the agent: a batch must hold at least one point")]
    BatchPoints,
    /// There is no such collector.
    #[error("find collector `{name}`: the collectors are {known}")]
    UnknownCollector {
        /// The name.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// The directory of external collectors cannot be read.
    #[error("read the directory of external collectors `{directory}`: {source}")]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The spool cannot be used.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}
