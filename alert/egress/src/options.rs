//! How a client behaves.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use url::Url;

use crate::{Lookup, PrivateAddresses, Redacted, SystemLookup};

/// How a [`crate::Client`] behaves. The defaults suit web hooks.
#[derive(Clone)]
pub struct ClientOptions {
    /// Which addresses may be reached.
    pub private_addresses: PrivateAddresses,
    /// How long a connection may take, name lookup and TLS included. Default 10 s.
    pub connect_timeout: Duration,
    /// How long a request may take until the last byte of the answer. Default 30 s.
    pub total_timeout: Duration,
    /// How long a connection is kept for the next request; zero closes each after its answer, so that no request is
    /// sent on one that the server is about to close. Default 30 s.
    pub idle_timeout: Duration,
    /// Bytes of an answer's body that are read; the rest is left unread and the connection closed. Default 64 KiB.
    pub response_bytes_max: usize,
    /// What to do with answers that point elsewhere.
    pub redirects: Redirects,
    /// An HTTP or HTTPS proxy that all requests go through. User and password in its URL become
    /// `Proxy-Authorization`. Environment variables are not looked at.
    ///
    /// The proxy itself may have any address. It resolves the names, so with [`PrivateAddresses::Refuse`] literal
    /// addresses are checked here and names are the proxy's business.
    pub proxy: Option<Url>,
    /// A file of PEM certificates that are trusted besides the machine's own.
    pub extra_roots: Option<PathBuf>,
    /// What servers are told about us. Default `tidemark/VERSION`.
    pub user_agent: String,
    /// Where names are looked up.
    pub lookup: Arc<dyn Lookup>,
}

/// What to do with an answer that points elsewhere (301, 302, 303, 307, 308).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Redirects {
    /// Return it as it is.
    #[default]
    Return,
    /// Follow at most this many; every hop is checked like the first URL.
    FollowAtMost(usize),
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            private_addresses: PrivateAddresses::Refuse,
            connect_timeout: Duration::from_secs(10),
            total_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(30),
            response_bytes_max: 64 * 1024,
            redirects: Redirects::Return,
            proxy: None,
            extra_roots: None,
            user_agent: concat!("tidemark/", env!("CARGO_PKG_VERSION")).to_owned(),
            lookup: Arc::new(SystemLookup),
        }
    }
}

impl fmt::Debug for ClientOptions {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ClientOptions")
            .field("private_addresses", &self.private_addresses)
            .field("connect_timeout", &self.connect_timeout)
            .field("total_timeout", &self.total_timeout)
            .field("idle_timeout", &self.idle_timeout)
            .field("response_bytes_max", &self.response_bytes_max)
            .field("redirects", &self.redirects)
            .field("proxy", &self.proxy.as_ref().map(Redacted))
            .field("extra_roots", &self.extra_roots)
            .field("user_agent", &self.user_agent)
            .finish_non_exhaustive()
    }
}
