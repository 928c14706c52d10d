//! A rule: when something is wrong, how long it must be, and who is told.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    Status,
    expression::{Expression, UnknownNames},
    incident::IncidentPolicy,
    rules::Variables,
    template::Template,
};

/// A rule that is known to be well-formed.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name: letters, digits, `_`, `-` and `.`.
    pub name: String,
    /// A sentence for people; may be empty.
    pub description: String,
    /// Where it is written.
    pub origin: RuleOrigin,
    /// A rule that is switched off keeps its incidents and is not evaluated.
    pub enabled: bool,
    /// Not zero is a warning.
    pub warn: Option<Expression>,
    /// Not zero is critical.
    pub crit: Option<Expression>,
    /// The texts that were put in place of `$name`, for templates.
    pub variables: Variables,
    /// Tags for people and for routing, not part of the key.
    pub labels: BTreeMap<String, String>,
    /// How often it is evaluated.
    pub every: Duration,
    /// How long a key must be wrong without a break before that counts (`for`).
    pub hold: Duration,
    /// How long a key must be silent to be unknown.
    pub unknown_after: Duration,
    /// What silence means.
    pub unknown: UnknownPolicy,
    /// What NaN means.
    pub nan: NanPolicy,
    /// Whether members of sets without a partner vanish, instead of standing beside NaN.
    pub unjoined_ok: bool,
    /// What a metric or tag that was never written is.
    pub unknown_names: UnknownNames,
    /// After how long of being normal an incident closes by itself.
    pub close_after: Option<Duration>,
    /// Who is told.
    pub notify: Routes,
    /// One line about an incident.
    pub subject: Template,
    /// More about an incident.
    pub body: Option<Template>,
}

/// Where a rule is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleOrigin {
    /// In a file.
    File {
        /// The file.
        file: String,
        /// The line where it begins.
        line: usize,
    },
    /// In the program.
    BuiltIn,
}

/// What it means that a key falls silent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownPolicy {
    /// Its status is unknown, which opens or worsens an incident.
    #[default]
    Incident,
    /// Its status is normal (`unknownIsNormal`).
    Normal,
    /// Nothing; an open unknown incident closes (`ignoreUnknown`).
    Ignore,
}

/// What a result of NaN means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NanPolicy {
    /// Something is wrong, as in Bosun: often a member of a set found no partner.
    #[default]
    Abnormal,
    /// Nothing.
    Normal,
}

/// Names of notifications by severity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    /// For warnings.
    pub warning: Vec<String>,
    /// For critical incidents.
    pub critical: Vec<String>,
    /// For unknown ones.
    pub unknown: Vec<String>,
}

impl Routes {
    /// Who is told of a status.
    #[must_use]
    pub fn of(&self, status: Status) -> &[String] {
        match status {
            Status::Unknown => &self.unknown,
            Status::Critical => &self.critical,
            Status::Warning | Status::Normal | Status::None => &self.warning,
        }
    }
}

impl Rule {
    /// What it says about the life of its incidents. A close of an active incident waits two evaluations, as in Bosun.
    #[must_use]
    pub fn incident_policy(&self) -> IncidentPolicy {
        IncidentPolicy { close_grace: self.every.saturating_mul(2), close_after: self.close_after }
    }
}
