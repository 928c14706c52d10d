//! Nothing inside is ever connected to on behalf of a URL that must be public: canaries listen and hear nothing.
#![allow(
    clippy::let_underscore_must_use,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

#[allow(dead_code, reason = "each test file uses its part")]
mod receiver;

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use receiver::Receiver;
use tidemark_egress::{
    Client, ClientOptions, EgressError, Looking, Lookup, Method, PrivateAddresses, Redirects, Request, TargetError, Url,
};

/// Answers every name with the same addresses and counts how often it is asked.
struct Answers(Vec<IpAddr>, AtomicUsize);

impl Answers {
    fn new(addresses: &[&str]) -> Arc<Self> {
        Arc::new(Self(addresses.iter().map(|text| text.parse().unwrap()).collect(), AtomicUsize::new(0)))
    }
}

impl Lookup for Answers {
    fn lookup(&self, _: &str) -> Looking {
        self.1.fetch_add(1, Ordering::SeqCst);
        let addresses = self.0.clone();
        Box::pin(async move { Ok(addresses) })
    }
}

async fn get(options: ClientOptions, url: &str) -> Result<u16, EgressError> {
    let request = Request::new(Method::GET, Url::parse(url).unwrap());
    Client::new(options).unwrap().send(request).await.map(|answer| answer.status.as_u16())
}

#[tokio::test]
async fn a_name_that_leads_inside_is_refused_before_any_connection() {
    let canary = Receiver::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let port = canary.address().port();
    for addresses in [&["127.0.0.1"][..], &["::1"], &["::ffff:127.0.0.1"], &["10.0.0.8", "127.0.0.1"]] {
        let lookup = Answers::new(addresses);
        let options = ClientOptions { lookup: lookup.clone(), ..ClientOptions::default() };
        let error = get(options, &format!("http://hooks.example.com:{port}/x")).await.unwrap_err();
        assert!(matches!(&error, EgressError::Refused(TargetError::PrivateAddress { .. })), "{error:?}");
        assert!(!error.is_transient());
        assert_eq!(lookup.1.load(Ordering::SeqCst), 1);
    }
    assert_eq!(canary.connections(), 0);
}

#[tokio::test]
async fn the_same_name_is_reached_when_private_addresses_are_allowed() {
    let server = Receiver::answering("HTTP/1.1 204 No Content\r\n\r\n");
    let options = ClientOptions {
        lookup: Answers::new(&["127.0.0.1"]),
        private_addresses: PrivateAddresses::Allow,
        ..ClientOptions::default()
    };
    let url = format!("http://hooks.example.com:{}/x", server.address().port());
    assert_eq!(get(options, &url).await.unwrap(), 204);
}

#[tokio::test]
async fn literal_addresses_are_refused_before_any_connection() {
    let canary = Receiver::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let port = canary.address().port();
    for host in ["127.0.0.1", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]", "localhost", "me:pw@127.0.0.1"] {
        let error = get(ClientOptions::default(), &format!("http://{host}:{port}/")).await.unwrap_err();
        assert!(matches!(error, EgressError::Refused(_)), "{host}: {error:?}");
    }
    assert_eq!(canary.connections(), 0);
}

#[tokio::test]
async fn a_redirect_that_leads_inside_is_refused() {
    let canary = Receiver::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let answer =
        format!("HTTP/1.1 307 Temporary Redirect\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", canary.url("/"));
    let proxy = Receiver::answering(&answer);
    let options = ClientOptions {
        proxy: Some(proxy.url("/")),
        redirects: Redirects::FollowAtMost(5),
        ..ClientOptions::default()
    };
    let error = get(options, "http://hooks.example.com/x").await.unwrap_err();
    assert!(matches!(error, EgressError::Refused(TargetError::PrivateAddress { .. })), "{error:?}");
    assert_eq!((proxy.requests().len(), canary.connections()), (1, 0));
}

#[tokio::test]
async fn a_name_without_an_address_says_so() {
    let options = ClientOptions { lookup: Answers::new(&[]), ..ClientOptions::default() };
    let error = get(options, "http://nobody.example.com/x").await.unwrap_err();
    assert_eq!(error.to_string(), "look up host `nobody.example.com`: the name has no address");
}
