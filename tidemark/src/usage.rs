//! What is wrong with a command line.

use thiserror::Error;

/// Somebody used the command wrongly: exit code 2. As the context of an error, or alone.
#[derive(Debug, Error)]
#[error("{0}")]
pub(crate) struct UsageError(pub(crate) String);
