//! What an error of Redis means to whoever called.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::address::{Endpoint, endpoint};
use crate::BrokerError;

/// Where a node of a cluster sends us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Redirect {
    /// The slot is there now.
    Moved(Endpoint),
    /// The slot is on its way; this once, ask there.
    Ask(Endpoint),
}

/// Where else to run what failed, without any effect, because its slot is elsewhere.
pub(super) fn redirect_of(error: &RedisError, from: &Endpoint) -> Option<Redirect> {
    let errors = error.clone().into_server_errors()?;
    let (kind, detail) = errors.iter().find_map(|(_, error)| match error.kind() {
        Some(kind @ (ServerErrorKind::Moved | ServerErrorKind::Ask)) => Some((kind, error.details()?.to_owned())),
        _ => None,
    })?;
    let place = detail.split_ascii_whitespace().nth(1)?;
    // Without a host it means the same host with another port.
    let port_alone = place.strip_prefix(':').and_then(|port| port.parse().ok());
    let place = match (port_alone, from) {
        (Some(port), Endpoint::Tcp { host, .. }) => Endpoint::Tcp { host: host.clone(), port },
        _ => endpoint_of(place)?,
    };
    Some(if kind == ServerErrorKind::Moved { Redirect::Moved(place) } else { Redirect::Ask(place) })
}

/// `HOST:PORT`, where Redis writes IPv6 addresses without brackets.
fn endpoint_of(text: &str) -> Option<Endpoint> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok()?;
    endpoint(host, port).ok().map(|_| Endpoint::Tcp { host: host.to_owned(), port })
}

/// Whether the connection is of no use any more.
pub(super) fn is_broken(error: &RedisError) -> bool {
    error.is_io_error() || error.is_connection_dropped() || error.is_unrecoverable_error()
}

/// Whether the server is not, or no longer, the one to write to.
pub(super) fn is_demoted(error: &RedisError) -> bool {
    codes_of(error).iter().any(|code| matches!(&code[..], "READONLY" | "MASTERDOWN"))
}

/// What the server calls its errors: one, or those of the commands of a pipeline or transaction.
fn codes_of(error: &RedisError) -> Vec<String> {
    let errors = error.clone().into_server_errors();
    errors.iter().flat_map(|errors| errors.iter()).map(|(_, error)| error.code().to_owned()).collect()
}

/// Whether a failed command had no effect, or may have had one; and what to do about it.
pub(super) fn meaning_of(error: &RedisError, endpoint: &Endpoint) -> BrokerError {
    let text = format!("redis at {endpoint}: {error}{}", advice(error));
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::ResponseError) => BrokerError::Corrupt(text),
        _ if codes_of(error).iter().any(|code| code == "MISCONF") => BrokerError::DiskFull(text),
        ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::AuthenticationFailed => BrokerError::Unavailable(text),
        _ if error.is_connection_refusal() => BrokerError::Unavailable(text),
        _ => BrokerError::Unknown(text),
    }
}

fn advice(error: &RedisError) -> &'static str {
    let of_code = |code: &String| match &code[..] {
        "NOPERM" => Some("; `workers/queue/docs/redis-layout.md` says what the user must be allowed"),
        "MOVED" | "CLUSTERDOWN" | "CROSSSLOT" => Some("; nodes of a cluster are named by `redis+cluster://`"),
        "READONLY" => Some("; this is a replica: name the master, or the sentinels with `redis+sentinel://`"),
        "OOM" => Some("; raise `maxmemory` of redis, or let workers catch up"),
        "NOAUTH" => Some("; set `redis.username` and `redis.password_file`"),
        "NOREPLICAS" => Some("; too few replicas are connected for `min-replicas-to-write` of redis"),
        "MISCONF" => Some("; redis cannot write to its disk"),
        _ => None,
    };
    codes_of(error).iter().find_map(of_code).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use redis::make_extension_error;

    use super::*;

    fn server() -> Endpoint {
        endpoint("10.0.0.5", 6379).unwrap()
    }

    fn error(line: &str) -> RedisError {
        let value = redis::parse_redis_value(line.as_bytes()).unwrap();
        value.extract_error().unwrap_err()
    }

    #[test]
    fn redirects_are_read() {
        let check = |line: &str, expect: Option<Redirect>| assert_eq!(redirect_of(&error(line), &server()), expect);
        let at = |host: &str, port| Endpoint::Tcp { host: host.to_owned(), port };
        check("-MOVED 3999 127.0.0.1:6381\r\n", Some(Redirect::Moved(at("127.0.0.1", 6381))));
        check("-ASK 3999 node.example:6381\r\n", Some(Redirect::Ask(at("node.example", 6381))));
        check("-MOVED 3999 ::1:6381\r\n", Some(Redirect::Moved(at("::1", 6381))));
        check("-MOVED 3999 :6381\r\n", Some(Redirect::Moved(at("10.0.0.5", 6381))));
        check("-MOVED 3999\r\n", None);
        check("-TRYAGAIN multiple keys\r\n", None);
        check("-ERR no\r\n", None);
    }

    #[test]
    fn an_error_says_whether_it_had_an_effect_and_what_to_do() {
        let check = |line: &str, expect: &str| {
            let meaning = meaning_of(&error(line), &server());
            assert!(matches!(meaning, BrokerError::Unavailable(_)), "{line}: {meaning:?}");
            assert!(meaning.to_string().contains(expect), "{meaning}");
        };
        check("-READONLY You can't write\r\n", "redis+sentinel://");
        check("-MOVED 1 h:1\r\n", "redis+cluster://");
        check("-NOPERM no\r\n", "redis-layout.md");
        check("-LOADING wait\r\n", "10.0.0.5:6379");
        let check = |code: &str, expect: &str| {
            let meaning = meaning_of(&make_extension_error(code.to_owned(), None), &server());
            assert!(meaning.to_string().contains(expect), "{meaning}");
        };
        check("OOM", "maxmemory");
        check("NOAUTH", "redis.password_file");
        check("NOREPLICAS", "min-replicas-to-write");
        check("MISCONF", "disk is full");
        let lost = RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
        assert!(matches!(meaning_of(&lost, &server()), BrokerError::Unknown(_)));
        assert!(is_broken(&lost) && !is_broken(&error("-LOADING wait\r\n")));
        assert!(is_demoted(&error("-READONLY no\r\n")) && !is_demoted(&error("-ERR no\r\n")));
    }
}
