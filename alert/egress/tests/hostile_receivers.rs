//! Servers that do everything but answer properly. No request outlives its limit, and no answer is read without end.
#![allow(
    clippy::let_underscore_must_use,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

#[allow(dead_code, reason = "each test file uses its part")]
mod receiver;

use std::{io::Write, net::Shutdown, time::Duration};

use receiver::Receiver;
use tidemark_egress::{
    Client, ClientOptions, EgressError, Method, PrivateAddresses, Redirects, Request, Response, UploadBody,
};

fn options() -> ClientOptions {
    ClientOptions {
        private_addresses: PrivateAddresses::Allow,
        total_timeout: Duration::from_millis(600),
        // The receivers close every connection after one answer.
        idle_timeout: Duration::ZERO,
        ..ClientOptions::default()
    }
}

async fn post(receiver: &Receiver, options: ClientOptions) -> Result<Response, EgressError> {
    let mut request = Request::new(Method::POST, receiver.url("/hook/secret-key"));
    request.body = "disk almost full".into();
    Client::new(options).expect("a client").send(request).await
}

/// Uploads a body that is said to have so many bytes.
async fn upload(receiver: &Receiver, bytes: u64, pieces: &[&'static str]) -> Result<Response, EgressError> {
    let (sender, body) = tokio::sync::mpsc::channel(pieces.len());
    for piece in pieces {
        sender.send((*piece).into()).await.unwrap();
    }
    drop(sender);
    let request = Request::new(Method::PUT, receiver.url("/uploads/a"));
    Client::new(options()).unwrap().upload(request, UploadBody::new(bytes, body)).await
}

#[tokio::test]
async fn an_upload_is_whole_or_an_error() {
    let receiver = Receiver::answering("HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok");
    let answer = upload(&receiver, 8, &["disk", "full"]).await.unwrap();
    assert_eq!((answer.status.as_u16(), &answer.body[..]), (201, &b"ok"[..]));
    assert!(receiver.requests()[0].ends_with("\r\n\r\ndiskfull"), "{:?}", receiver.requests());
    for (bytes, pieces) in [(9, ["disk", "full"]), (7, ["disk", "full"])] {
        let error = upload(&receiver, bytes, &pieces).await.unwrap_err();
        assert!(matches!(error, EgressError::Broken { .. }), "{bytes}: {error:?}");
    }
    assert_eq!(receiver.requests().len(), 1);
}

#[tokio::test]
async fn a_receiver_of_an_upload_that_does_not_go_on_is_given_up_in_time() {
    let silent = Receiver::behaving(|_| std::thread::park_timeout(Duration::from_secs(20)));
    assert!(matches!(upload(&silent, 4, &["disk"]).await, Err(EgressError::Timeout { .. })));
    let begins = Receiver::behaving(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
        std::thread::park_timeout(Duration::from_secs(20));
    });
    let uploaded = tokio::time::timeout(Duration::from_secs(10), upload(&begins, 4, &["disk"])).await;
    assert!(matches!(uploaded, Ok(Err(EgressError::Timeout { .. }))), "{uploaded:?}");
}

#[tokio::test]
async fn an_exchange_carries_method_headers_and_body_both_ways() {
    let receiver = Receiver::answering("HTTP/1.1 202 Accepted\r\nX-Id: 7\r\nContent-Length: 6\r\n\r\nthanks");
    let mut request = Request::new(Method::POST, receiver.url("/hook?x=1"));
    request.headers.insert("X-Delivery", "d1".parse().unwrap());
    request.body = "disk almost full".into();
    let answer = Client::new(options()).unwrap().send(request).await.unwrap();
    assert_eq!((answer.status.as_u16(), &answer.body[..], answer.truncated), (202, &b"thanks"[..], false));
    assert_eq!(answer.headers["x-id"], "7");
    let sent = receiver.requests().remove(0);
    assert!(sent.starts_with("POST /hook?x=1 HTTP/1.1\r\n"), "{sent}");
    assert!(sent.contains("x-delivery: d1\r\n"), "{sent}");
    assert!(sent.contains("user-agent: tidemark/"), "{sent}");
    assert!(sent.ends_with("\r\n\r\ndisk almost full"), "{sent}");
}

#[tokio::test]
async fn a_receiver_that_never_answers_is_given_up_in_time() {
    let receiver = Receiver::behaving(|_| std::thread::park_timeout(Duration::from_secs(20)));
    let error = post(&receiver, options()).await.unwrap_err();
    assert!(matches!(error, EgressError::Timeout { waiting_for: "answer", .. }), "{error:?}");
    assert_eq!(error.to_string(), format!("`{}` did not answer within 600ms", receiver.address()));
}

#[tokio::test]
async fn a_body_that_drips_is_given_up_in_time() {
    let receiver = Receiver::behaving(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
        while stream.write_all(b"x").is_ok() {
            std::thread::park_timeout(Duration::from_millis(50));
        }
    });
    assert!(matches!(post(&receiver, options()).await, Err(EgressError::Timeout { .. })));
}

#[tokio::test]
async fn an_endless_body_is_cut_at_the_cap() {
    let receiver = Receiver::behaving(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b'x'; 8192]).is_ok() {}
    });
    let answer = post(&receiver, options()).await.unwrap();
    assert_eq!((answer.body.len(), answer.truncated), (64 * 1024, true));
}

#[tokio::test]
async fn a_body_of_exactly_the_cap_is_whole() {
    let receiver = Receiver::answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12345");
    let answer = post(&receiver, ClientOptions { response_bytes_max: 5, ..options() }).await.unwrap();
    assert_eq!((&answer.body[..], answer.truncated), (&b"12345"[..], false));
    let answer = post(&receiver, ClientOptions { response_bytes_max: 4, ..options() }).await.unwrap();
    assert_eq!((&answer.body[..], answer.truncated), (&b"1234"[..], true));
}

#[tokio::test]
async fn a_compressed_answer_is_not_unpacked() {
    let receiver = Receiver::answering("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nbomb");
    let answer = post(&receiver, options()).await.unwrap();
    assert_eq!(&answer.body[..], b"bomb");
    assert!(!receiver.requests()[0].to_lowercase().contains("accept-encoding: gzip"));
}

#[tokio::test]
async fn headers_without_end_break_the_exchange() {
    let receiver = Receiver::behaving(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        while stream.write_all(format!("X-Filler: {}\r\n", "x".repeat(8000)).as_bytes()).is_ok() {}
    });
    let error = post(&receiver, options()).await.unwrap_err();
    assert!(matches!(error, EgressError::Broken { .. }), "{error:?}");
}

#[tokio::test]
async fn a_connection_that_is_closed_without_an_answer_is_an_error_without_secrets() {
    let receiver = Receiver::behaving(|stream| {
        let _ = stream.shutdown(Shutdown::Both);
    });
    let error = post(&receiver, options()).await.unwrap_err();
    assert!(matches!(error, EgressError::Broken { .. }), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("secret-key"), "{error:?}");
    assert!(error.is_transient());
}

#[tokio::test]
async fn garbage_is_no_answer() {
    let receiver = Receiver::answering("-ERR unknown command\r\n");
    assert!(matches!(post(&receiver, options()).await, Err(EgressError::Broken { .. })));
}

#[tokio::test]
async fn a_closed_port_is_a_connection_refused() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{port}/").parse().unwrap();
    let error = Client::new(options()).unwrap().send(Request::new(Method::GET, url)).await.unwrap_err();
    assert!(matches!(error, EgressError::Connect { .. }), "{error:?}");
    assert!(error.to_string().starts_with(&format!("connect to `{port}`: Connection refused")), "{error}");
}

#[tokio::test]
async fn a_redirect_is_returned_unless_asked_for_and_followed_only_so_often() {
    let receiver = Receiver::answering("HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(post(&receiver, options()).await.unwrap().status, 302);
    assert_eq!(receiver.requests().len(), 1);
    let following = ClientOptions { redirects: Redirects::FollowAtMost(3), ..options() };
    assert_eq!(post(&receiver, following).await.unwrap().status, 302);
    assert_eq!(receiver.requests().len(), 1 + 4);
}

#[tokio::test]
async fn a_request_may_have_a_limit_of_its_own() {
    let receiver = Receiver::behaving(|_| std::thread::park_timeout(Duration::from_secs(20)));
    let mut request = Request::new(Method::GET, receiver.url("/"));
    request.timeout = Some(Duration::from_millis(100));
    let client = Client::new(ClientOptions { total_timeout: Duration::from_secs(60), ..options() }).unwrap();
    let error = client.send(request).await.unwrap_err();
    assert!(error.to_string().ends_with("did not answer within 100ms"), "{error}");
}
