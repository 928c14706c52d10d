//! `tsd.mode`: whether a server takes points, answers questions about them, or both.
//!
//! What a mode leaves out is not there: its paths and commands are as unknown as those that nobody ever had, after
//! OpenTSDB 2.4, `RpcManager`. What tells of the process itself is always there.

use std::fmt;

use actix_web::{Resource, guard::GuardContext, web::Data};
use serde::{Deserialize, Serialize};

use crate::state::AppState;

/// What a server does with points, `opentsdb.mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OperationMode {
    /// It takes them and answers questions about them.
    #[default]
    #[serde(rename = "rw")]
    ReadWrite,
    /// It answers questions and takes nothing.
    #[serde(rename = "ro")]
    ReadOnly,
    /// It takes points and answers no questions.
    #[serde(rename = "wo")]
    WriteOnly,
}

impl OperationMode {
    /// Whether questions about points are answered.
    #[must_use]
    pub fn reads(self) -> bool {
        self != Self::WriteOnly
    }

    /// Whether points are taken, changed and deleted.
    #[must_use]
    pub fn writes(self) -> bool {
        self != Self::ReadOnly
    }
}

impl fmt::Display for OperationMode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::ReadWrite => "rw",
            Self::ReadOnly => "ro",
            Self::WriteOnly => "wo",
        })
    }
}

/// A resource that is there where questions are answered.
pub(crate) fn reading(resource: Resource) -> Resource {
    resource.guard(|request: &GuardContext<'_>| mode_of(request).reads())
}

/// A resource that is there where points are taken.
pub(crate) fn writing(resource: Resource) -> Resource {
    resource.guard(|request: &GuardContext<'_>| mode_of(request).writes())
}

fn mode_of(request: &GuardContext<'_>) -> OperationMode {
    request.app_data::<Data<AppState>>().map(|state| state.options.opentsdb.mode).unwrap_or_default()
}
