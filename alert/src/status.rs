//! How bad it is.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The status of an alert key. Compared numerically as in Bosun: unknown is the worst.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Never evaluated.
    #[default]
    None,
    /// Nothing wrong.
    Normal,
    /// `warn` is not zero.
    Warning,
    /// `crit` is not zero.
    Critical,
    /// The key fell silent.
    Unknown,
}

impl Status {
    /// Bosun's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Normal => "normal",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Unknown => "unknown",
        }
    }

    /// The status of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::None, Self::Normal, Self::Warning, Self::Critical, Self::Unknown]
            .into_iter()
            .find(|status| status.as_str() == name)
    }

    /// Whether something is wrong.
    #[must_use]
    pub fn is_abnormal(self) -> bool {
        self > Self::Normal
    }
}

impl fmt::Display for Status {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}
