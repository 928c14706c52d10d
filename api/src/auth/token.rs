//! One token.

use std::fmt;

use sha2::{Digest, Sha256};
use thiserror::Error;

use super::Role;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Characters of base 62 that hold more than 256 bits.
const RANDOM_CHARACTERS: usize = 43;
/// Characters of base 62 that hold 32 bits.
const CHECK_CHARACTERS: usize = 6;

/// A secret that lets its bearer in. It shows itself only when asked with [`Token::text`].
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// Why a text is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TokenError {
    /// It does not look like one.
    #[error("a token looks like `tdm_<kind>_<random>_<check>`")]
    Shape,
    /// Its check does not fit: it was cut or mistyped.
    #[error("the token is damaged: its check does not fit; was it cut or mistyped?")]
    Check,
}

impl Token {
    /// Makes a token whose kind is the strongest of `roles`.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn generate(roles: &[Role]) -> Result<Self, getrandom::Error> {
        let strongest = roles.iter().max_by_key(|role| **role as u8);
        let text = format!("tdm_{}_{}", strongest.copied().unwrap_or(Role::Read), random_text()?);
        let check = check_of(&text);
        Ok(Self(format!("{text}_{check}")))
    }

    /// Takes the text of a token.
    ///
    /// # Errors
    /// Says whether it is damaged or no token at all.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let (rest, check) = text.rsplit_once('_').ok_or(TokenError::Shape)?;
        if !rest.starts_with("tdm_") || text.len() > 256 {
            return Err(TokenError::Shape);
        }
        if check_of(rest) == check { Ok(Self(text.to_owned())) } else { Err(TokenError::Check) }
    }

    /// The secret itself.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Its SHA-256 in hexadecimal: what a server keeps.
    #[must_use]
    pub fn hash(&self) -> String {
        Sha256::digest(&self.0).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Token([redacted])")
    }
}

/// 256 random bits as characters of base 62: for tokens, and for whatever else must not be guessed.
///
/// # Errors
/// When the system gives no random bytes.
pub fn random_text() -> Result<String, getrandom::Error> {
    let mut text = String::with_capacity(RANDOM_CHARACTERS);
    while text.len() < RANDOM_CHARACTERS {
        let mut bytes = [0; 64];
        getrandom::fill(&mut bytes)?;
        // Bytes of 248 and more would make the first characters of the alphabet likelier than the others.
        let characters = bytes.iter().filter(|&&byte| byte < 248).map(|byte| digit(u32::from(*byte)));
        text.extend(characters.take(RANDOM_CHARACTERS - text.len()));
    }
    Ok(text)
}

/// CRC-32 of the text before the check, in base 62.
fn check_of(text: &str) -> String {
    let mut rest = crc32fast::hash(text.as_bytes());
    let mut check = String::with_capacity(CHECK_CHARACTERS);
    for _ in 0..CHECK_CHARACTERS {
        check.push(digit(rest));
        rest /= 62;
    }
    check
}

/// The digit of the lowest place of a number in base 62.
fn digit(number: u32) -> char {
    ALPHABET.get(number as usize % ALPHABET.len()).copied().map_or('0', char::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_its_text_and_notices_damage() {
        let token = Token::generate(&[Role::Write, Role::Read]).unwrap();
        assert!(token.text().starts_with("tdm_read_"), "{}", token.text());
        assert_eq!(Token::parse(token.text()).as_ref(), Ok(&token));
        assert_eq!(token.hash().len(), 64);
        assert_ne!(token, Token::generate(&[Role::Read]).unwrap());
        let cut = &token.text()[..token.text().len() - 1];
        assert_eq!(Token::parse(cut), Err(TokenError::Check));
        assert_eq!(Token::parse("secret"), Err(TokenError::Shape));
        assert!(!format!("{token:?}").contains(token.text()));
    }
}
