//! What a built-in collector is.

use std::io;

use thiserror::Error;

use crate::{gathering::Gathering, host_files::HostFiles};

/// One source of points on this host, built into the agent.
pub(crate) trait Collector: Send {
    /// Its name in the status and in `preview NAME`.
    fn name(&self) -> &'static str;

    /// It runs at every so-manieth interval of the agent.
    fn every(&self) -> u32 {
        1
    }

    /// Gathers. Points added before an error are kept. May block; runs on the blocking pool.
    fn collect(&mut self, files: &HostFiles, out: &mut Gathering<'_>) -> Result<(), CollectError>;
}

/// Why a run of a collector failed.
#[derive(Debug, Error)]
pub enum CollectError {
    /// A file of the kernel's could not be read.
    #[error("read `{path}`: {source}")]
    Read {
        /// Below the root.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A file of the kernel's is larger than any known kernel makes it.
    #[error("read `{path}`: it has more than {limit} bytes")]
    TooLarge {
        /// Below the root.
        path: String,
        /// The limit.
        limit: u64,
    },
    /// A file of the kernel's has an unknown shape.
    #[error("parse `{path}`: {problem}")]
    Parse {
        /// Below the root.
        path: &'static str,
        /// What is missing.
        problem: &'static str,
    },
}
