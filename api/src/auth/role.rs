//! Roles.

use std::{fmt, str::FromStr};

use thiserror::Error;

/// What somebody may do. Higher roles include lower ones as [`Role::includes`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Send points and metadata, and nothing else.
    Write,
    /// See everything but secrets.
    Read,
    /// See, acknowledge and close incidents, steer jobs and queues.
    Operate,
    /// Everything.
    Admin,
}

/// A word that names no role.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("no such role: `{0}`; there are `write`, `read`, `operate` and `admin`")]
pub struct RoleError(String);

impl Role {
    /// Whether somebody with this role may do what `needed` allows.
    #[must_use]
    pub fn includes(self, needed: Self) -> bool {
        match self {
            Self::Admin => true,
            Self::Operate => matches!(needed, Self::Operate | Self::Read),
            Self::Write | Self::Read => self == needed,
        }
    }

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(word: &str) -> Result<Self, RoleError> {
        let roles = [Self::Write, Self::Read, Self::Operate, Self::Admin];
        roles.into_iter().find(|role| role.as_str() == word).ok_or_else(|| RoleError(word.chars().take(64).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agents_token_cannot_read_and_a_readers_cannot_write() {
        let check = |role: Role, may: [bool; 4]| {
            let needed = [Role::Write, Role::Read, Role::Operate, Role::Admin];
            assert_eq!(needed.map(|needed| role.includes(needed)), may, "{role}");
        };
        check(Role::Write, [true, false, false, false]);
        check(Role::Read, [false, true, false, false]);
        check(Role::Operate, [false, true, true, false]);
        check(Role::Admin, [true, true, true, true]);
    }
}
