//! The tags that every point of this agent gets.

use thiserror::Error;
use tidemark_model::{NameCharacters, NameError, NameKind, PointRules, check_name};

/// Tags that are added to every point that does not have them itself, always with `host`; and the characters that these
/// and all other names of the agent may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostTags {
    tags: Vec<(String, String)>,
    characters: NameCharacters,
}

/// Why tags are refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HostTagsError {
    /// A name breaks a rule.
    #[error("{kind} `{name}` of the agent: {reason}")]
    Name {
        /// What the name names.
        kind: NameKind,
        /// The name.
        name: String,
        /// The rule.
        reason: NameError,
    },
    /// One key has two values.
    #[error("tag key `{0}` of the agent has two values")]
    Duplicate(String),
    /// With these the points of the agent would exceed what the store takes by default.
    #[error("{tags} tags of the agent, at most {limit} are allowed: collectors add their own")]
    TooMany {
        /// Tags given.
        tags: usize,
        /// The limit.
        limit: usize,
    },
}

/// Leaves room for the tags of the collectors below the store's default of 8.
const TAGS_MAX: usize = 6;

impl HostTags {
    /// The tag `host` and others; `host` among the others wins over `host` the argument.
    ///
    /// # Errors
    /// Says which name is illegal or given twice, or that there are too many.
    pub fn new(host: &str, others: &[(String, String)]) -> Result<Self, HostTagsError> {
        Self::with_characters(host, others, NameCharacters::OPENTSDB)
    }

    /// The same, where names may have these characters. The server that gets the points must allow them, too.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_characters(
        host: &str,
        others: &[(String, String)],
        characters: NameCharacters,
    ) -> Result<Self, HostTagsError> {
        let mut tags: Vec<(String, String)> = Vec::with_capacity(others.len() + 1);
        if !others.iter().any(|(key, _)| key == "host") {
            tags.push(("host".to_owned(), host.to_owned()));
        }
        tags.extend(others.iter().cloned());
        if tags.len() > TAGS_MAX {
            return Err(HostTagsError::TooMany { tags: tags.len(), limit: TAGS_MAX });
        }
        for (position, (key, value)) in tags.iter().enumerate() {
            check(&characters, NameKind::TagKey, key)?;
            check(&characters, NameKind::TagValue, value)?;
            if tags.iter().skip(position + 1).any(|(other, _)| other == key) {
                return Err(HostTagsError::Duplicate(key.clone()));
            }
        }
        Ok(Self { tags, characters })
    }

    /// The short, lower-case name of this host, as the kernel has it: `Web07.example.org` is `web07`.
    #[must_use]
    pub fn short_hostname() -> String {
        shorten(&rustix::system::uname().nodename().to_string_lossy())
    }

    /// The tags, as pairs of key and value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.tags.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The characters that names may have.
    #[must_use]
    pub fn characters(&self) -> &NameCharacters {
        &self.characters
    }

    /// What points must be to be sent.
    #[must_use]
    pub fn point_rules(&self) -> PointRules {
        PointRules { characters: self.characters.clone(), ..PointRules::default() }
    }

    /// The value of the tag `host`.
    #[must_use]
    pub fn host(&self) -> &str {
        self.iter().find(|(key, _)| *key == "host").map_or("", |(_, value)| value)
    }
}

fn check(characters: &NameCharacters, kind: NameKind, name: &str) -> Result<(), HostTagsError> {
    characters.check(name).map_err(|reason| HostTagsError::Name { kind, name: name.to_owned(), reason })
}

fn shorten(nodename: &str) -> String {
    let short = nodename.split('.').next().unwrap_or_default().to_lowercase();
    if check_name(&short).is_ok() { short } else { "localhost".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn the_host_tag_is_short_lower_case_and_never_empty() {
        assert_eq!(shorten("Web07.example.org"), "web07");
        assert_eq!(shorten("(none)"), "localhost");
        assert_eq!(shorten(""), "localhost");
    }

    #[test]
    fn a_host_among_the_extra_tags_wins() {
        let tags = HostTags::new("web07", &[pair("dc", "ams"), pair("host", "db01")]).unwrap();
        assert_eq!(tags.iter().collect::<Vec<_>>(), [("dc", "ams"), ("host", "db01")]);
        assert_eq!(tags.host(), "db01");
    }

    #[test]
    fn tags_that_no_point_could_have_are_refused_at_start() {
        assert!(HostTags::new("we b", &[]).is_err());
        assert!(HostTags::new("web", &[pair("d c", "ams")]).is_err());
        let blank = NameCharacters::with_special(" ").unwrap();
        assert!(HostTags::with_characters("we b", &[pair("d c", "ams")], blank.clone()).is_ok());
        assert!(HostTags::with_characters("we:b", &[], blank).is_err());
        assert!(HostTags::new("web", &[pair("dc", "ams"), pair("dc", "fra")]).is_err());
        let many: Vec<_> = (0..6).map(|tag| pair(&format!("k{tag}"), "v")).collect();
        assert_eq!(HostTags::new("web", &many), Err(HostTagsError::TooMany { tags: 7, limit: 6 }));
    }
}
