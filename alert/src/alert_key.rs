//! What an incident is about: a rule and a group.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::expression::Group;

/// A rule and one of its groups; shown as `rule{key=value}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AlertKey {
    /// The name of the rule.
    pub rule: String,
    /// The group.
    pub group: Group,
}

impl AlertKey {
    /// The key of a rule's group.
    #[must_use]
    pub fn new(rule: impl Into<String>, group: Group) -> Self {
        Self { rule: rule.into(), group }
    }

    /// The id of documents about this key: the rule's name, a slash and a hash of the group, so that it is short
    /// whatever the tags, and all keys of a rule lie side by side.
    pub(crate) fn document_id(&self) -> String {
        let hash = Sha256::digest(self.group.to_string().as_bytes());
        let hex: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        format!("{}/{hex}", self.rule)
    }
}

impl fmt::Display for AlertKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}{}", self.rule, self.group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_as_in_bosun() {
        let key = AlertKey::new("disk", Group::from_iter([("host", "a"), ("disk", "/")]));
        assert_eq!(key.to_string(), "disk{disk=/,host=a}");
        assert_eq!(AlertKey::new("x", Group::empty()).to_string(), "x{}");
        assert_eq!(key.document_id().len(), "disk/".len() + 32);
        assert_ne!(key.document_id(), AlertKey::new("disk", Group::empty()).document_id());
    }
}
