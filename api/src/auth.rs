//! Who may do what: tokens and their roles.
//!
//! A token is `tdm_<kind>_<random>_<check>`: the start is what secret scanners look for, the check tells a mistyped
//! token from an unknown one without asking anybody. The server keeps SHA-256 hashes: 256 random bits need no slow
//! hash. Tokens are found by their hash, so no comparison of secrets takes place whose time could tell anything.

mod admission;
mod network;
mod role;
mod token;
mod tokens;

pub use admission::Visitor;
pub(crate) use admission::{admit, needed_role};
pub use network::{Network, NetworkError};
pub use role::{Role, RoleError};
pub use token::{Token, TokenError, random_text};
pub use tokens::{KnownToken, TokenHashError, Tokens};
