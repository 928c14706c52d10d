//! Who asks.

use std::{fmt, net::IpAddr};

use actix_web::{HttpRequest, http::header};

use crate::auth::Visitor;

/// Longest name of a program that is kept.
const PROGRAM_CHARACTERS_MAX: usize = 200;

/// Who asks: the name of a token where tokens are asked for, else an address. What comes through a proxy is one client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClientIdentity {
    /// The name of their token.
    pub(crate) token: Option<String>,
    pub(crate) address: Option<IpAddr>,
    /// What the program calls itself, `User-Agent`.
    pub(crate) program: Option<String>,
}

impl ClientIdentity {
    pub(crate) fn of(request: &HttpRequest) -> Self {
        let program = request.headers().get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        Self {
            token: Visitor::of(request).map(|visitor| visitor.name),
            address: request.peer_addr().map(|address| address.ip()),
            program: program.map(|program| program.chars().take(PROGRAM_CHARACTERS_MAX).collect()),
        }
    }
}

/// As refusals and logs name them, and as they are counted.
impl fmt::Display for ClientIdentity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.token, self.address) {
            (Some(token), _) => write!(out, "token `{token}`"),
            (None, Some(address)) => write!(out, "{address}"),
            (None, None) => out.write_str("a client without an address"),
        }
    }
}
