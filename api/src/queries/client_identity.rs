//! Who asks.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use actix_web::{
    HttpRequest,
    http::header::{self, HeaderMap},
    web::Data,
};

use crate::{
    auth::{Network, Visitor},
    state::AppState,
};

/// Longest name of a program that is kept.
const PROGRAM_CHARACTERS_MAX: usize = 200;
/// For whom proxies ask, each of which adds whom it was asked by.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// Who asks: the name of a token where tokens are asked for, else an address. What comes through a proxy is one client,
/// unless the proxy is trusted to say for whom it asks: then each of those is one, also where they share a token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClientIdentity {
    /// The name of their token.
    pub(crate) token: Option<String>,
    pub(crate) address: Option<IpAddr>,
    /// Whether a trusted proxy gave the address.
    pub(crate) is_behind_proxy: bool,
    /// What the program calls itself, `User-Agent`.
    pub(crate) program: Option<String>,
}

impl ClientIdentity {
    pub(crate) fn of(request: &HttpRequest) -> Self {
        let program = request.headers().get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        let peer = request.peer_addr().map(|address| address.ip());
        let proxies = request.app_data::<Data<AppState>>().map(|state| state.options.trusted_proxies.as_slice());
        let behind = peer.and_then(|peer| behind_proxies(request.headers(), peer, proxies.unwrap_or_default()));
        Self {
            token: Visitor::of(request).map(|visitor| visitor.name),
            address: behind.or(peer),
            is_behind_proxy: behind.is_some(),
            program: program.map(|program| program.chars().take(PROGRAM_CHARACTERS_MAX).collect()),
        }
    }
}

/// For whom a trusted proxy asks: the last address of the header that is none of the proxies. What stands before it was
/// sent by that client, who may write anything.
fn behind_proxies(headers: &HeaderMap, peer: IpAddr, proxies: &[Network]) -> Option<IpAddr> {
    let is_trusted = |address: IpAddr| proxies.iter().any(|proxy| proxy.contains(address));
    if !is_trusted(peer) {
        return None;
    }
    let lines: Vec<&str> = headers.get_all(FORWARDED_FOR).map(|line| line.to_str().unwrap_or_default()).collect();
    let mut found = None;
    for hop in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
        let Some(address) = address_of(hop.trim()) else { break };
        found = Some(address);
        if !is_trusted(address) {
            break;
        }
    }
    found
}

/// An address, with or without a port; one of IPv6 may be in brackets.
fn address_of(hop: &str) -> Option<IpAddr> {
    let bare = hop.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(hop);
    let address = bare.parse().or_else(|_| hop.parse().map(|address: SocketAddr| address.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

/// As refusals and logs name them, and as they are counted.
impl fmt::Display for ClientIdentity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.token, self.address) {
            (Some(token), Some(address)) if self.is_behind_proxy => write!(out, "token `{token}` from {address}"),
            (Some(token), _) => write!(out, "token `{token}`"),
            (None, Some(address)) => write!(out, "{address}"),
            (None, None) => out.write_str("a client without an address"),
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn the_client_is_the_last_address_that_is_no_trusted_proxy() {
        let proxies: Vec<Network> = ["127.0.0.1", "10.0.0.0/8"].map(|network| network.parse().unwrap()).to_vec();
        let check = |peer: &str, lines: &[&str], expect: Option<&str>| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(HeaderName::from_static(FORWARDED_FOR), HeaderValue::from_str(line).unwrap());
            }
            let found = behind_proxies(&headers, peer.parse().unwrap(), &proxies);
            assert_eq!(found, expect.map(|address| address.parse().unwrap()), "{peer} {lines:?}");
        };
        check("127.0.0.1", &["192.0.2.7"], Some("192.0.2.7"));
        check("::ffff:127.0.0.1", &["192.0.2.7"], Some("192.0.2.7"));
        check("127.0.0.1", &["192.0.2.7, 198.51.100.1"], Some("198.51.100.1"));
        check("127.0.0.1", &["192.0.2.7, 10.1.1.1"], Some("192.0.2.7"));
        check("127.0.0.1", &["192.0.2.7", "10.1.1.1,10.1.1.2"], Some("192.0.2.7"));
        check("127.0.0.1", &["10.1.1.1"], Some("10.1.1.1"));
        check("127.0.0.1", &["[2001:db8::1]:443"], Some("2001:db8::1"));
        check("127.0.0.1", &["[2001:db8::1]"], Some("2001:db8::1"));
        check("127.0.0.1", &["192.0.2.7:1234"], Some("192.0.2.7"));
        check("127.0.0.1", &["[192.0.2.7"], None);
        check("127.0.0.1", &["192.0.2.7, "], None);
        check("127.0.0.1", &["192.0.2.7, unknown"], None);
        check("127.0.0.1", &["unknown, 10.1.1.1"], Some("10.1.1.1"));
        check("127.0.0.1", &[], None);
        check("192.0.2.1", &["192.0.2.7"], None);
    }

    #[test]
    fn clients_who_share_a_token_behind_a_proxy_are_told_apart() {
        let client = |is_behind_proxy| {
            let address = Some("192.0.2.7".parse().unwrap());
            ClientIdentity { token: Some("grafana".to_owned()), address, is_behind_proxy, program: None }.to_string()
        };
        assert_eq!((client(false), client(true)), ("token `grafana`".into(), "token `grafana` from 192.0.2.7".into()));
    }
}
