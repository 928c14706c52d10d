//! What an operator can set about reaching Redis.

use std::{fmt, path::PathBuf, time::Duration};

use super::address::{self, Address};

/// How to reach Redis.
#[derive(Clone, PartialEq)]
pub struct RedisOptions {
    /// `redis://[user:password@]host[:port][/database]`, `redis+sentinel://[user:password@]host[:port],…/master[/database]`,
    /// `redis+cluster://[user:password@]host[:port],…`, each with `rediss` in place of `redis` for TLS, or
    /// `unix:/path[?db=database]`.
    pub url: String,
    /// User of the servers when the address names none; without one the password is that of the default user.
    pub username: Option<String>,
    /// Password of the servers when the address has none.
    pub password: Option<String>,
    /// User of the sentinels, which know nothing of the users of the servers.
    pub sentinel_username: Option<String>,
    /// Password of the sentinels.
    pub sentinel_password: Option<String>,
    /// Whom to trust and who we are; only for addresses with TLS. Sentinels are reached the same way.
    pub tls: RedisTls,
    /// Begins the name of every key, so that several installations may share a server.
    pub prefix: String,
    /// Id of the store that the jobs of this process are for, when it has a store of its own. The first store to come
    /// claims the keys; another one is refused, since its workers would write points where nobody looks for them.
    pub store: Option<String>,
    /// Replicas that must have confirmed a push before it is acknowledged; 0: replication is not waited for.
    pub wait_replicas: u32,
    /// How long a connection may take to come up, without greetings.
    pub connect_timeout: Duration,
    /// How long the server may take to answer.
    pub response_timeout: Duration,
}

/// Files and names for TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedisTls {
    /// CA certificates in PEM form, one of which signed the server's; without them those of the machine.
    pub ca_file: Option<PathBuf>,
    /// Our certificate and those between it and its CA, in PEM form.
    pub cert_file: Option<PathBuf>,
    /// Its private key in PEM form.
    pub key_file: Option<PathBuf>,
    /// Name that the server's certificate must have, in place of the host in the address.
    pub server_name: Option<String>,
}

impl RedisOptions {
    /// The server at this address and the defaults.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            username: None,
            password: None,
            sentinel_username: None,
            sentinel_password: None,
            tls: RedisTls::default(),
            prefix: "tidemark".to_owned(),
            store: None,
            wait_replicas: 0,
            connect_timeout: Duration::from_millis(800),
            response_timeout: Duration::from_secs(5),
        }
    }

    /// Whether a text begins as an address of Redis does.
    #[must_use]
    pub fn is_address(text: &str) -> bool {
        address::is_address(text)
    }
}

impl fmt::Debug for RedisOptions {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.url.parse::<Address>().map_or("unreadable".to_owned(), |address| address.to_string());
        out.debug_struct("RedisOptions").field("url", &url).field("prefix", &self.prefix).finish_non_exhaustive()
    }
}
