//! Where Redis is: what the setting `broker` says.
//!
//! ```text
//! redis://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE]                     one server; 6379 when no port is named
//! redis+sentinel://[USER[:PASSWORD]@]HOST[:PORT],…/MASTER[/DATABASE]   a master that sentinels know; 26379
//! redis+cluster://[USER[:PASSWORD]@]HOST[:PORT],…                      a cluster, by some of its nodes; 6379
//! unix:/PATH[?db=DATABASE]                                             a socket of this machine
//! ```
//!
//! `rediss` in place of `redis` means TLS, `valkey` and `valkeys` mean the same as `redis` and `rediss`. User and password
//! are for the servers and written percent-encoded where they have `%`; everything before the last `@` belongs to them.
//! One grammar of our own, since a list of hosts is no URL to the `url` crate, and so that an error can never show a
//! password.

use std::{fmt, path::PathBuf, str::FromStr};

use percent_encoding::percent_decode_str;

const SERVER_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;
/// Highest number of a database that Redis can be set to have.
const DATABASE_MAX: u32 = 1 << 24;
/// Most hosts of an address.
const HOSTS_MAX: usize = 64;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Endpoint {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

/// How the servers belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Arrangement {
    One(Endpoint),
    Sentinel { sentinels: Vec<Endpoint>, master: String },
    Cluster { seeds: Vec<Endpoint> },
}

/// An address that was read. Shown without user and password.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) arrangement: Arrangement,
    pub(super) tls: bool,
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    pub(super) database: u32,
}

/// Whether a text begins as an address of Redis does.
pub(super) fn is_address(text: &str) -> bool {
    unix_path(text).is_some() || text.split_once("://").is_some_and(|(scheme, _)| scheme_of(scheme).is_some())
}

/// What the hosts of an address are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hosts {
    Server,
    Sentinels,
    Nodes,
}

fn scheme_of(scheme: &str) -> Option<(bool, Hosts)> {
    let (base, hosts) = match scheme.split_once('+') {
        None => (scheme, Hosts::Server),
        Some((base, "sentinel")) => (base, Hosts::Sentinels),
        Some((base, "cluster")) => (base, Hosts::Nodes),
        Some(_) => return None,
    };
    match base {
        "redis" | "valkey" => Some((false, hosts)),
        "rediss" | "valkeys" => Some((true, hosts)),
        _ => None,
    }
}

fn unix_path(text: &str) -> Option<&str> {
    let path = ["redis+unix:", "valkey+unix:", "unix:"].iter().find_map(|scheme| text.strip_prefix(scheme))?;
    Some(path.strip_prefix("//").unwrap_or(path))
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = unix_path(text) {
            return of_socket(path);
        }
        let known = text.split_once("://").and_then(|(scheme, rest)| Some((scheme_of(scheme)?, rest)));
        let Some(((tls, kind), rest)) = known else {
            return Err(
                "expected `redis://`, `rediss://`, `redis+sentinel://`, `redis+cluster://` or `unix:/PATH`".into()
            );
        };
        let (login, rest) = match rest.rsplit_once('@') {
            Some((login, rest)) => (login, rest),
            None => ("", rest),
        };
        let (username, password) = match login.split_once(':') {
            Some((username, password)) => (decoded(username)?, decoded(password)?),
            None => (decoded(login)?, None),
        };
        if rest.contains(['?', '#']) {
            return Err(format!("`{rest}` has a `?` or `#`: what else there is to set is in `[redis]`"));
        }
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let port = if kind == Hosts::Sentinels { SENTINEL_PORT } else { SERVER_PORT };
        let mut endpoints = hosts.split(',').map(|host| endpoint(host, port)).collect::<Result<Vec<_>, _>>()?;
        if endpoints.len() > HOSTS_MAX {
            return Err(format!("{} hosts are too many, at most {HOSTS_MAX}", endpoints.len()));
        }
        let (arrangement, database) = match kind {
            Hosts::Server => {
                let first = endpoints.swap_remove(0);
                if !endpoints.is_empty() {
                    return Err("several hosts need `redis+sentinel://` or `redis+cluster://`".into());
                }
                (Arrangement::One(first), database(path)?)
            }
            Hosts::Sentinels => {
                let (master, number) = path.split_once('/').unwrap_or((path, ""));
                if master.is_empty() || master.contains(char::is_whitespace) {
                    return Err("the name of the master is missing: `redis+sentinel://HOST,HOST/MASTER`".into());
                }
                (Arrangement::Sentinel { sentinels: endpoints, master: master.to_owned() }, database(number)?)
            }
            Hosts::Nodes => {
                if database(path)? != 0 {
                    return Err(
                        "a cluster has database 0 only; what keeps installations apart is `redis.prefix`".into()
                    );
                }
                (Arrangement::Cluster { seeds: endpoints }, 0)
            }
        };
        Ok(Self { arrangement, tls, username, password, database })
    }
}

fn of_socket(path: &str) -> Result<Address, String> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    if !path.starts_with('/') {
        return Err("a socket has a path from the root: `unix:/run/redis/redis.sock`".into());
    }
    let number = match query.strip_prefix("db=") {
        Some(number) => number,
        None if query.is_empty() => "",
        // What it is may be a password.
        None => {
            return Err("behind the path of a socket comes `?db=NUMBER` and nothing else; user and password are \
                            set by `redis.username` and `redis.password_file`"
                .into());
        }
    };
    let arrangement = Arrangement::One(Endpoint::Unix(path.into()));
    Ok(Address { arrangement, tls: false, username: None, password: None, database: database(number)? })
}

fn decoded(text: &str) -> Result<Option<String>, String> {
    let text = percent_decode_str(text).decode_utf8().map_err(|_| "user or password is not UTF-8".to_owned())?;
    Ok((!text.is_empty()).then(|| text.into_owned()))
}

fn database(text: &str) -> Result<u32, String> {
    if text.is_empty() {
        return Ok(0);
    }
    let number = text.parse().ok().filter(|number| *number <= DATABASE_MAX);
    number.ok_or_else(|| format!("`{text}` is no number of a database"))
}

/// Reads `HOST[:PORT]`; an IPv6 address is in brackets when a port follows.
pub(super) fn endpoint(text: &str, default_port: u16) -> Result<Endpoint, String> {
    let (host, port) = match text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, port)) => (host, Some(port.strip_prefix(':').ok_or_else(|| format!("`{text}` is no host"))?)),
        // An IPv6 address without brackets.
        None if text.matches(':').count() > 1 => (text, None),
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    if host.is_empty() || host.contains(|letter: char| letter.is_whitespace() || letter.is_control()) {
        return Err(format!("`{}` names no host", text.escape_debug()));
    }
    let port = match port {
        None => default_port,
        Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or_else(|| format!("`{port}` is no port"))?,
    };
    Ok(Endpoint::Tcp { host: host.to_owned(), port })
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(out, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(out, "{host}:{port}"),
            Self::Unix(path) => write!(out, "{}", path.display()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base = if self.tls { "rediss" } else { "redis" };
        let list = |endpoints: &[Endpoint]| endpoints.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        match &self.arrangement {
            Arrangement::One(Endpoint::Unix(path)) if self.database == 0 => write!(out, "unix:{}", path.display()),
            Arrangement::One(Endpoint::Unix(path)) => write!(out, "unix:{}?db={}", path.display(), self.database),
            Arrangement::One(endpoint) => write!(out, "{base}://{endpoint}{}", Database(self.database)),
            Arrangement::Sentinel { sentinels, master } => {
                write!(out, "{base}+sentinel://{}/{master}{}", list(sentinels), Database(self.database))
            }
            Arrangement::Cluster { seeds } => write!(out, "{base}+cluster://{}", list(seeds)),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self}")
    }
}

struct Database(u32);

impl fmt::Display for Database {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 { Ok(()) } else { write!(out, "/{}", self.0) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, shown: &str, login: (Option<&str>, Option<&str>)) {
        let address: Address = text.parse().unwrap();
        assert_eq!(address.to_string(), shown, "{text}");
        assert_eq!((address.username.as_deref(), address.password.as_deref()), login, "{text}");
        assert!(is_address(text));
    }

    #[test]
    fn addresses_are_read_and_shown_without_their_secrets() {
        check("redis://10.0.0.5", "redis://10.0.0.5:6379", (None, None));
        check("redis://h:1/2", "redis://h:1/2", (None, None));
        check("rediss://:pw@h", "rediss://h:6379", (None, Some("pw")));
        check("valkeys://me:p%40w@h:1", "rediss://h:1", (Some("me"), Some("p@w")));
        check("redis://me:p/w@d@h:1", "redis://h:1", (Some("me"), Some("p/w@d")));
        check("redis://me@[::1]:7/0", "redis://[::1]:7", (Some("me"), None));
        check("redis://::1", "redis://[::1]:6379", (None, None));
        check("unix:/run/redis.sock", "unix:/run/redis.sock", (None, None));
        check("redis+unix:///run/redis.sock?db=3", "unix:/run/redis.sock?db=3", (None, None));
        check("redis+sentinel://a,b:5/main", "redis+sentinel://a:26379,b:5/main", (None, None));
        check("rediss+sentinel://u:p@a/main/4", "rediss+sentinel://a:26379/main/4", (Some("u"), Some("p")));
        check("redis+cluster://a,b:7001", "redis+cluster://a:6379,b:7001", (None, None));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        let check = |text: &str, expect: &str| {
            let error = text.parse::<Address>().unwrap_err();
            assert!(error.contains(expect) && !error.contains("hunter2"), "{text}: {error}");
        };
        check("amqp://me:hunter2@h", "expected `redis://`");
        check("redis://me:hunter2@", "names no host");
        check("redis://me:hunter2@h:0", "`0` is no port");
        check("redis://me:hunter2@h:123456", "`123456` is no port");
        check("redis://me:hunter2@h/x", "`x` is no number of a database");
        check("redis://:hunter2@h,i", "redis+sentinel://");
        check("redis://:hunter2@h?protocol=resp3", "[redis]");
        check("redis+sentinel://:hunter2@h", "name of the master");
        check("redis+cluster://:hunter2@h/1", "redis.prefix");
        check("unix:/run/redis.sock?pass=hunter2", "redis.password_file");
        check("unix:redis.sock", "from the root");
        check("redis://%ff:hunter2@h", "not UTF-8");
        assert!(!is_address("embedded") && !is_address("amqp://h") && !is_address("redis+x://h"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "(redis|rediss|unix|redis\\+sentinel|redis\\+cluster)?(://|:)?.{0,40}") {
            if let Ok(address) = text.parse::<Address>() {
                // What is shown names the same servers.
                let again: Address = address.to_string().parse().unwrap();
                prop_assert_eq!(again.arrangement, address.arrangement);
            }
        }
    }
}
