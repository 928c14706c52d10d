//! How a cluster is used.

use std::time::Duration;

use super::KeyPrefix;

/// Options of [`super::FdbKv::open`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FdbOptions {
    /// What every key begins with; `tidemark/`.
    pub key_prefix: KeyPrefix,
    /// How long a snapshot, a read or the reads of a commit may take before they fail with
    /// [`crate::KvError::Unavailable`]; 5 s. The writing part of a commit has no limit: see the [module](super).
    pub read_timeout: Duration,
}

impl Default for FdbOptions {
    fn default() -> Self {
        Self { key_prefix: KeyPrefix::default(), read_timeout: Duration::from_secs(5) }
    }
}
