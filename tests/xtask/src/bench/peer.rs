//! Whom to measure.

use std::path::PathBuf;

/// A server under load.
#[derive(Debug)]
pub(crate) enum Peer {
    /// The release build of this tree.
    Tidemark(PathBuf),
    /// Debian's `victoria-metrics`.
    VictoriaMetrics,
}

impl Peer {
    /// For the table.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Tidemark(_) => "tidemark",
            Self::VictoriaMetrics => "victoria-metrics",
        }
    }

    /// The generator's word for its query language.
    pub(crate) fn query_kind(&self) -> &'static str {
        match self {
            Self::Tidemark(_) => "tsdb",
            Self::VictoriaMetrics => "prom",
        }
    }
}
