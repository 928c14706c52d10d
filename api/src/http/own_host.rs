//! Whether the `Host` of a request is a name of ours.
//!
//! Where nobody is asked for a token, a page of another site must not get in by letting its own name resolve to
//! 127.0.0.1 (DNS rebinding): the browser would take us for that site. It cannot make our own names its own.

use std::net::IpAddr;

use actix_web::http::{
    StatusCode,
    header::{self, HeaderMap},
};

use crate::error::ApiError;

/// Lets requests through that name no host, as programs that speak HTTP/1.0 do, a loopback address, `localhost`, or one
/// of `hosts`; the port does not matter.
///
/// # Errors
/// 421 for any other host.
pub(crate) fn check(headers: &HeaderMap, hosts: &[String]) -> Result<(), ApiError> {
    let is_other = |value: &&header::HeaderValue| !is_own(value.to_str().unwrap_or_default(), hosts);
    let Some(other) = headers.get_all(header::HOST).find(is_other) else { return Ok(()) };
    let shown: String = String::from_utf8_lossy(other.as_bytes()).chars().take(64).collect();
    Err(ApiError::new(StatusCode::MISDIRECTED_REQUEST, format!("`{shown}` is not a name of this server"))
        .details("set `public_url` to the address that people use, or make tokens with `tidemark token create`"))
}

fn is_own(authority: &str, hosts: &[String]) -> bool {
    let host = without_brackets(without_port(authority));
    match host.parse::<IpAddr>() {
        Ok(address) if address.to_canonical().is_loopback() => true,
        _ => {
            host.eq_ignore_ascii_case("localhost")
                || hosts.iter().any(|own| without_brackets(own).eq_ignore_ascii_case(host))
        }
    }
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => host,
        _ => authority,
    }
}

fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    #[test]
    fn only_our_own_names_are_taken() {
        let hosts = ["tidemark.example".to_owned(), "[2001:db8::1]".to_owned()];
        let ours = ["localhost", "LocalHost:4242", "127.0.0.1:4242", "127.8.8.8", "[::1]:4242", "[::ffff:127.0.0.1]"];
        for host in ours.into_iter().chain(["Tidemark.example", "tidemark.example:80", "[2001:db8::1]:4242"]) {
            assert!(is_own(host, &hosts), "{host}");
        }
        for host in ["evil.example:4242", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "", ":4242"] {
            assert!(!is_own(host, &hosts), "{host}");
        }
    }

    #[test]
    fn a_request_without_a_host_is_taken_and_a_second_host_is_judged_too() {
        let mut headers = HeaderMap::new();
        assert_eq!(check(&headers, &[]), Ok(()));
        headers.append(header::HOST, HeaderValue::from_static("127.0.0.1:4242"));
        assert_eq!(check(&headers, &[]), Ok(()));
        headers.append(header::HOST, HeaderValue::from_static("evil.example"));
        let refused = check(&headers, &[]).unwrap_err();
        assert_eq!(refused.status(), StatusCode::MISDIRECTED_REQUEST);
        assert!(refused.to_json().contains("public_url"), "{refused}");
    }
}
