//! What can go wrong on the way out.

use std::{error::Error, net::IpAddr, path::PathBuf, time::Duration};

use thiserror::Error;

use crate::AddressKind;

/// Why a request may not go where its URL says.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TargetError {
    /// Neither `http` nor `https`.
    #[error("scheme `{scheme}` is not supported, expected `http` or `https`")]
    Scheme {
        /// The scheme.
        scheme: String,
    },
    /// A URL without a host.
    #[error("the URL has no host")]
    NoHost,
    /// A literal address, or the answer of a name server, that is not public.
    #[error("host `{host}` is the {kind} address {address}, and only public addresses may be reached")]
    PrivateAddress {
        /// The host of the URL.
        host: String,
        /// The address.
        address: IpAddr,
        /// Why it is not public.
        kind: AddressKind,
    },
    /// A name that always means the own host.
    #[error("host `{host}` always means this machine, and only public addresses may be reached")]
    OwnHost {
        /// The host of the URL.
        host: String,
    },
    /// A port of a service that speaks no HTTP.
    #[error("port {port} of `{url}` belongs to a service that does not speak HTTP")]
    Port {
        /// The URL without its secrets.
        url: String,
        /// The port.
        port: u16,
    },
}

/// Why a request got no answer. Texts name the host and never show a path, a query or a password.
#[derive(Debug, Error)]
pub enum EgressError {
    /// The URL, a redirect, or the address behind a name is not allowed; nothing was sent there. Trying again is no use.
    #[error("refuse to connect: {0}")]
    Refused(TargetError),
    /// No address for the name.
    #[error("look up host `{host}`: {reason}")]
    Lookup {
        /// The host.
        host: String,
        /// What the resolver said.
        reason: String,
    },
    /// No connection: refused, unreachable, or TLS failed.
    #[error("connect to `{host}`: {reason}")]
    Connect {
        /// The host and port.
        host: String,
        /// The innermost cause.
        reason: String,
    },
    /// The server took too long.
    #[error("`{host}` did not {waiting_for} within {limit:?}")]
    Timeout {
        /// The host and port.
        host: String,
        /// What was outstanding: "accept the connection" or "answer".
        waiting_for: &'static str,
        /// The limit.
        limit: Duration,
    },
    /// The connection broke, or the answer is no HTTP. The server may have acted on the request.
    #[error("exchange with `{host}` broke off: {reason}")]
    Broken {
        /// The host and port.
        host: String,
        /// The innermost cause.
        reason: String,
    },
}

impl EgressError {
    /// Whether the same request may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        !matches!(self, Self::Refused(_))
    }
}

/// Why there is no client with these options.
#[derive(Debug, Error)]
pub enum OptionsError {
    /// The file of root certificates could not be read.
    #[error("read root certificates from `{path}`")]
    RootsUnreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file holds no certificate in PEM form.
    #[error("root certificates in `{path}`: {reason}")]
    RootsInvalid {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The proxy's URL cannot be used.
    #[error("proxy `{url}`: {reason}")]
    Proxy {
        /// The URL without its secrets.
        url: String,
        /// Why.
        reason: String,
    },
    /// The client could not be set up.
    #[error("set up the HTTP client: {0}")]
    Setup(String),
}

/// The innermost cause: the outer layers of an HTTP client only repeat each other.
pub(crate) fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// The cause of this type, if there is one.
pub(crate) fn find_cause<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}
