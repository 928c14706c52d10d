//! The tokens that are let in.

use std::collections::HashMap;

use thiserror::Error;

use super::{Role, Token};

/// Who is let in, by hash of the token. Empty: everybody, which only a loopback listener may offer.
#[derive(Clone, Debug, Default)]
pub struct Tokens(HashMap<String, KnownToken>);

/// Somebody who is let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownToken {
    /// For the log.
    pub name: String,
    /// What they may do.
    pub roles: Vec<Role>,
}

/// A text that is no hash.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("token `{name}`: `sha256` must be 64 hexadecimal digits, as `tidemark token create` prints them")]
pub struct TokenHashError {
    name: String,
}

impl Tokens {
    /// Lets a token in.
    ///
    /// # Errors
    /// When the hash is none.
    pub fn insert(&mut self, hash: &str, token: KnownToken) -> Result<(), TokenHashError> {
        if hash.len() != 64 || !hash.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(TokenHashError { name: token.name });
        }
        self.0.insert(hash.to_ascii_lowercase(), token);
        Ok(())
    }

    /// Whether everybody is let in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whom a token belongs to.
    #[must_use]
    pub fn find(&self, token: &Token) -> Option<&KnownToken> {
        self.0.get(&token.hash())
    }
}

impl KnownToken {
    /// Whether they may do what `needed` allows.
    #[must_use]
    pub fn may(&self, needed: Role) -> bool {
        self.roles.iter().any(|role| role.includes(needed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_by_its_hash_alone() {
        let token = Token::generate(&[Role::Write]).unwrap();
        let mut tokens = Tokens::default();
        let known = KnownToken { name: "edge".to_owned(), roles: vec![Role::Write] };
        tokens.insert(&token.hash().to_uppercase(), known.clone()).unwrap();
        assert_eq!(tokens.find(&token), Some(&known));
        assert_eq!(tokens.find(&Token::generate(&[Role::Write]).unwrap()), None);
        assert!(known.may(Role::Write) && !known.may(Role::Read));
        assert!(tokens.insert("abc", known).is_err());
    }
}
