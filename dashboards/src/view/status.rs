//! How bad something is.

use serde::{Deserialize, Serialize};

/// How bad something is, worst last. Shown by letter and shape as well as by colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// All is well.
    #[default]
    Normal,
    /// Somebody should look.
    Warning,
    /// Somebody must look.
    Critical,
    /// No data.
    Unknown,
}
