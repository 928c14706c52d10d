//! Requests through a proxy that wants to know who asks.
#![allow(
    clippy::let_underscore_must_use,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

#[allow(dead_code, reason = "each test file uses its part")]
mod receiver;

use std::io::Write;

use receiver::Receiver;
use tidemark_egress::{Client, ClientOptions, Method, OptionsError, Request, Url};

fn through(proxy: &Receiver) -> Client {
    let mut url = proxy.url("/");
    url.set_username("agent").unwrap();
    url.set_password(Some("pa ss")).unwrap();
    Client::new(ClientOptions { proxy: Some(url), ..ClientOptions::default() }).unwrap()
}

#[tokio::test]
async fn plain_requests_carry_the_proxys_credentials() {
    let proxy = Receiver::answering("HTTP/1.1 204 No Content\r\n\r\n");
    let client = through(&proxy);
    let answer = client.send(Request::new(Method::GET, Url::parse("http://example.com/x").unwrap())).await.unwrap();
    assert_eq!(answer.status, 204);
    let sent = proxy.requests().remove(0);
    assert!(sent.starts_with("GET http://example.com/x HTTP/1.1\r\n"), "{sent}");
    // base64 of `agent:pa ss`
    assert!(sent.contains("proxy-authorization: Basic YWdlbnQ6cGEgc3M=\r\n"), "{sent}");
    let shown = format!("{client:?}");
    assert!(!shown.contains("pa%20ss") && !shown.contains("YWdl"), "{shown}");
}

#[tokio::test]
async fn tunnels_for_https_carry_the_proxys_credentials() {
    let proxy = Receiver::behaving(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n");
    });
    let request = Request::new(Method::GET, Url::parse("https://example.com/x").unwrap());
    let error = through(&proxy).send(request).await.unwrap_err();
    assert!(error.to_string().starts_with("connect to `example.com`: "), "{error}");
    let sent = proxy.requests().remove(0);
    assert!(sent.starts_with("CONNECT example.com:443 HTTP/1.1\r\n"), "{sent}");
    assert!(sent.to_lowercase().contains("proxy-authorization: basic ywdlbnq6cgegc3m=\r\n"), "{sent}");
}

#[test]
fn a_proxy_that_is_no_http_proxy_is_refused_at_once() {
    let options = ClientOptions { proxy: Some("socks5://me:pw@10.0.0.1:1080/".parse().unwrap()), ..Default::default() };
    let error = Client::new(options).unwrap_err();
    assert!(matches!(error, OptionsError::Proxy { .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        "proxy `socks5://10.0.0.1:1080/`: scheme `socks5` is not supported, expected `http` or `https`"
    );
}

#[test]
fn a_file_of_roots_must_be_there_and_hold_a_certificate() {
    let with_roots = |path: std::path::PathBuf| {
        Client::new(ClientOptions { extra_roots: Some(path), ..ClientOptions::default() }).map(|_| ())
    };
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(with_roots(folder.path().join("none.pem")), Err(OptionsError::RootsUnreadable { .. })));
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "no certificate here\n").unwrap();
    assert!(matches!(with_roots(empty), Err(OptionsError::RootsInvalid { .. })));
}
