//! Where jobs wait.

use std::{
    borrow::Borrow,
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
    sync::Arc,
};

use crate::JobKind;

/// The name of a queue: 1 to 64 of the characters `a-z`, `0-9`, `-`, `_` and `.`. Cloning is cheap.
#[derive(Clone)]
pub struct QueueName(Name);

/// The queues of the kinds have names of the program: a counter of references that all threads change with every job
/// would cost more than the rest of the receipt.
#[derive(Clone)]
enum Name {
    OfKind(&'static str),
    Other(Arc<str>),
}

impl QueueName {
    /// Longest name in bytes.
    pub const BYTES_MAX: usize = 64;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Name::OfKind(name) => name,
            Name::Other(name) => name,
        }
    }

    pub(crate) const fn of_kind(kind: JobKind) -> Self {
        Self(Name::OfKind(kind.name()))
    }
}

/// A text is no name of a queue.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no queue name: 1 to 64 of the characters a-z, 0-9, `-`, `_` and `.` are")]
pub struct QueueNameError(String);

impl FromStr for QueueName {
    type Err = QueueNameError;

    fn from_str(text: &str) -> Result<Self, QueueNameError> {
        let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.');
        if text.is_empty() || text.len() > Self::BYTES_MAX || !text.bytes().all(legal) {
            return Err(QueueNameError(text.chars().take(80).collect()));
        }
        // So that a name that was read costs as little as one of the program.
        let of_kind = JobKind::ALL.into_iter().find(|kind| kind.name() == text);
        Ok(of_kind.map_or_else(|| Self(Name::Other(text.into())), Self::of_kind))
    }
}

impl PartialEq for QueueName {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for QueueName {}

impl PartialOrd for QueueName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for QueueName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

/// As the text does, which [`Borrow`] promises.
impl Hash for QueueName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl Borrow<str> for QueueName {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl fmt::Debug for QueueName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queue_names_are_short_and_plain() {
        for legal in ["write", "collect.ams1", "a-b_c"] {
            assert_eq!(legal.parse::<QueueName>().unwrap().as_str(), legal);
        }
        for illegal in ["", "Write", "a b", "{x}", &"x".repeat(65)] {
            assert!(illegal.parse::<QueueName>().is_err(), "{illegal}");
        }
    }
}
