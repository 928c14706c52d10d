//! Where jobs wait.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use crate::JobKind;

/// The name of a queue: 1 to 64 of the characters `a-z`, `0-9`, `-`, `_` and `.`. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueName(Arc<str>);

impl QueueName {
    /// Longest name in bytes.
    pub const BYTES_MAX: usize = 64;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn of_kind(kind: JobKind) -> Self {
        use std::sync::LazyLock;
        static NAMES: LazyLock<[QueueName; 9]> =
            LazyLock::new(|| JobKind::ALL.map(|kind| QueueName(kind.name().into())));
        let place = JobKind::ALL.iter().position(|candidate| *candidate == kind);
        place.and_then(|place| NAMES.get(place).cloned()).unwrap_or_else(|| Self(kind.name().into()))
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
        Ok(Self(text.into()))
    }
}

impl Borrow<str> for QueueName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for QueueName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, out)
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
