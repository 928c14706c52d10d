//! Which names a metric, a tag key and a tag value may have.
//!
//! OpenTSDB allows ASCII letters, digits and `-_./` and any Unicode letter, and stores them as ISO-8859-1, which
//! mangles most of them. We take the same set and store UTF-8.

use std::fmt;

use thiserror::Error;

/// Longest name in bytes of UTF-8; the key space and the caches are sized for it.
pub const NAME_BYTES_MAX: usize = 1024;

/// What a name names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NameKind {
    /// A metric.
    Metric,
    /// A tag key.
    TagKey,
    /// A tag value.
    TagValue,
}

impl fmt::Display for NameKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Metric => "metric",
            Self::TagKey => "tag key",
            Self::TagValue => "tag value",
        })
    }
}

/// Why a name is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// The name has no character.
    #[error("empty string")]
    Empty,
    /// The name has a character outside letters, digits and `-_./`.
    #[error("illegal character: {0}")]
    IllegalCharacter(char),
    /// The name is longer than [`NAME_BYTES_MAX`].
    #[error("{bytes} bytes, at most {NAME_BYTES_MAX} are allowed")]
    TooLong {
        /// Bytes of the name.
        bytes: usize,
    },
}

#[expect(clippy::indexing_slicing, reason = "the loop ends before the array does, and the compiler evaluates it")]
const LEGAL_ASCII: [bool; 128] = {
    let mut legal = [false; 128];
    let mut byte = 0;
    while byte < 128 {
        let character = byte as u8;
        legal[byte] = character.is_ascii_alphanumeric() || matches!(character, b'-' | b'_' | b'.' | b'/');
        byte += 1;
    }
    legal
};

/// Checks a name of any kind.
///
/// # Errors
/// Says the first rule that the name breaks.
pub fn check_name(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong { bytes: name.len() });
    }
    if name.bytes().all(|byte| LEGAL_ASCII.get(usize::from(byte)).copied().unwrap_or(false)) {
        return Ok(());
    }
    match name.chars().find(|&character| !is_legal(character)) {
        Some(character) => Err(NameError::IllegalCharacter(character)),
        None => Ok(()),
    }
}

fn is_legal(character: char) -> bool {
    match u8::try_from(character) {
        Ok(byte) if byte.is_ascii() => LEGAL_ASCII.get(usize::from(byte)).copied().unwrap_or(false),
        _ => character.is_alphabetic(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_opentsdb() {
        let check = |name: &str, expect: Result<(), NameError>| assert_eq!(check_name(name), expect, "{name:?}");
        check("sys.cpu-user_1/x", Ok(()));
        check("straße.größe", Ok(()));
        check("温度", Ok(()));
        check("", Err(NameError::Empty));
        check("bad:metric", Err(NameError::IllegalCharacter(':')));
        check("größe!", Err(NameError::IllegalCharacter('!')));
        check("a b", Err(NameError::IllegalCharacter(' ')));
        check("a\0b", Err(NameError::IllegalCharacter('\0')));
        check(&"x".repeat(1025), Err(NameError::TooLong { bytes: 1025 }));
    }
}
