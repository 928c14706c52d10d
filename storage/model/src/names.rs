//! Which names a metric, a tag key and a tag value may have.
//!
//! OpenTSDB allows ASCII letters, digits and `-_./` and any Unicode letter, and stores them as ISO-8859-1, which
//! mangles most of them. We take the same set and store UTF-8. More characters are allowed by whoever runs the server,
//! as by OpenTSDB's `tsd.core.tag.allow_specialchars`: see [`NameCharacters`].

use std::{fmt, sync::Arc};

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
    /// The name has a character outside letters, digits, `-_./` and those that are allowed in addition.
    #[error("illegal character: {0}")]
    IllegalCharacter(char),
    /// The name is longer than [`NAME_BYTES_MAX`].
    #[error("{bytes} bytes, at most {NAME_BYTES_MAX} are allowed")]
    TooLong {
        /// Bytes of the name.
        bytes: usize,
    },
}

/// The characters that names may have.
///
/// A table of ASCII answers for nearly every character, whatever is allowed, so that checking a name costs the same with
/// special characters as without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameCharacters {
    ascii: [bool; 128],
    others: Others,
}

/// Which characters outside ASCII are legal.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Others {
    Letters,
    /// And those of the text, which has the special characters of ASCII, too.
    LettersAnd(Arc<str>),
    Storable,
}

/// A character that no name can have, whoever allows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "`{}` can be in no name: control characters and line breaks cannot, nor any blank but the plain one",
    .0.escape_unicode()
)]
pub struct SpecialCharacterError(pub char);

impl NameCharacters {
    /// What OpenTSDB allows by default: letters, digits and `-_./`.
    pub const OPENTSDB: Self = Self { ascii: table(false), others: Others::Letters };

    /// What can be kept. For names that somebody checked already, perhaps when other characters were allowed.
    pub const STORABLE: Self = Self { ascii: table(true), others: Others::Storable };

    /// What OpenTSDB allows, and each character of `special`.
    ///
    /// # Errors
    /// Names the first character that can be in no name: NUL and other control characters, of which the store makes its
    /// own names and texts, and what breaks lines or cannot be told from a blank.
    pub fn with_special(special: &str) -> Result<Self, SpecialCharacterError> {
        let mut characters = Self::OPENTSDB;
        for character in special.chars() {
            if !is_storable(character) {
                return Err(SpecialCharacterError(character));
            }
            if let Some(legal) = usize::try_from(u32::from(character)).ok().and_then(|at| characters.ascii.get_mut(at))
            {
                *legal = true;
            }
        }
        if !special.is_empty() {
            characters.others = Others::LettersAnd(Arc::from(special));
        }
        Ok(characters)
    }

    /// What is allowed beside letters, digits and `-_./`, as it was given to [`Self::with_special`].
    #[must_use]
    pub fn special(&self) -> &str {
        match &self.others {
            Others::LettersAnd(special) => special,
            Others::Letters | Others::Storable => "",
        }
    }

    /// Checks a name of any kind.
    ///
    /// # Errors
    /// Says the first rule that the name breaks.
    pub fn check(&self, name: &str) -> Result<(), NameError> {
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() > NAME_BYTES_MAX {
            return Err(NameError::TooLong { bytes: name.len() });
        }
        if name.bytes().all(|byte| self.ascii.get(usize::from(byte)).copied().unwrap_or(false)) {
            return Ok(());
        }
        match name.chars().find(|&character| !self.has(character)) {
            Some(character) => Err(NameError::IllegalCharacter(character)),
            None => Ok(()),
        }
    }

    /// Whether a name may have the character.
    #[must_use]
    pub fn has(&self, character: char) -> bool {
        match u8::try_from(character) {
            Ok(byte) if byte.is_ascii() => self.ascii.get(usize::from(byte)).copied().unwrap_or(false),
            _ => match &self.others {
                Others::Letters => character.is_alphabetic(),
                Others::LettersAnd(special) => character.is_alphabetic() || special.contains(character),
                Others::Storable => is_storable(character),
            },
        }
    }
}

impl Default for NameCharacters {
    fn default() -> Self {
        Self::OPENTSDB
    }
}

/// Checks a name with the characters that OpenTSDB allows by default: of what is named in settings, and wherever special
/// characters have no place.
///
/// # Errors
/// Says the first rule that the name breaks.
pub fn check_name(name: &str) -> Result<(), NameError> {
    const { &NameCharacters::OPENTSDB }.check(name)
}

/// Whether the character can be kept in a name: it is none of those that separate names in the texts of the store, nor
/// one that breaks lines.
fn is_storable(character: char) -> bool {
    character == ' ' || (!character.is_control() && !character.is_whitespace())
}

#[expect(clippy::indexing_slicing, reason = "the loop ends before the array does, and the compiler evaluates it")]
const fn table(all_printable: bool) -> [bool; 128] {
    let mut legal = [false; 128];
    let mut byte = 0;
    while byte < 128 {
        let character = byte as u8;
        legal[byte] = character.is_ascii_alphanumeric()
            || matches!(character, b'-' | b'_' | b'.' | b'/')
            || (all_printable && matches!(character, b' '..=b'~'));
        byte += 1;
    }
    legal
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

    #[test]
    fn special_characters_are_allowed_and_no_others() {
        let characters = NameCharacters::with_special(" :=°").unwrap();
        let check = |name: &str, expect: Result<(), NameError>| assert_eq!(characters.check(name), expect, "{name:?}");
        check("a b:c=d", Ok(()));
        check("21°C", Ok(()));
        check("größe", Ok(()));
        check("a;b", Err(NameError::IllegalCharacter(';')));
        check("a€b", Err(NameError::IllegalCharacter('€')));
        check("", Err(NameError::Empty));
        assert_eq!(characters.special(), " :=°");
        assert_eq!(NameCharacters::with_special(""), Ok(NameCharacters::OPENTSDB));
        assert_eq!(NameCharacters::default().special(), "");
    }

    #[test]
    fn what_separates_names_and_lines_can_be_in_none() {
        for character in ['\0', '\u{1}', '\t', '\n', '\r', '\u{7f}', '\u{85}', '\u{a0}', '\u{2028}', '\u{3000}'] {
            let special = format!(":{character}");
            assert_eq!(NameCharacters::with_special(&special), Err(SpecialCharacterError(character)));
            let name = format!("a{character}b");
            assert_eq!(NameCharacters::STORABLE.check(&name), Err(NameError::IllegalCharacter(character)));
        }
        let error = SpecialCharacterError('\u{1}').to_string();
        assert!(error.starts_with("`\\u{1}` can be in no name"), "{error}");
        assert_eq!(NameCharacters::STORABLE.check("a b{\"c\"}\\,=*|€"), Ok(()));
        assert_eq!(NameCharacters::STORABLE.check(&"x".repeat(1025)), Err(NameError::TooLong { bytes: 1025 }));
    }
}
