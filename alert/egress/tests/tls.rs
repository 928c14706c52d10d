//! Servers are trusted by their certificates, and by extra roots when the operator names a file of them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed")]

use std::{path::Path, sync::Arc, time::Duration};

use tidemark_egress::{
    Client, ClientOptions, EgressError, Looking, Lookup, Method, PrivateAddresses, Request, Response,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

fn acceptor() -> TlsAcceptor {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certificates");
    let chain = vec![CertificateDer::from_pem_file(folder.join("server.pem")).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).expect("a key");
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).expect("a pair");
    TlsAcceptor::from(Arc::new(config))
}

/// Every name is this machine.
struct Loopback;

impl Lookup for Loopback {
    fn lookup(&self, _: &str) -> Looking {
        Box::pin(async { Ok(vec![std::net::Ipv4Addr::LOCALHOST.into()]) })
    }
}

/// Asks a server on loopback that has the test certificate.
async fn ask(options: ClientOptions, host: &str) -> Result<Response, EgressError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{host}:{}/", listener.local_addr().unwrap().port()).parse().unwrap();
    let client = Client::new(ClientOptions {
        private_addresses: PrivateAddresses::Allow,
        lookup: Arc::new(Loopback),
        ..options
    })
    .unwrap();
    let serve = async {
        let (stream, _) = listener.accept().await.unwrap();
        // A client that does not trust us hangs up, and then there is nobody to serve.
        let Ok(mut stream) = acceptor().accept(stream).await else { return };
        stream.read_buf(&mut Vec::with_capacity(4096)).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").await.unwrap();
        stream.shutdown().await.ok();
    };
    let both = async { tokio::join!(serve, client.send(Request::new(Method::GET, url))) };
    tokio::time::timeout(Duration::from_secs(20), both).await.expect("an exchange").1
}

fn with_root() -> ClientOptions {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certificates/ca.pem");
    ClientOptions { extra_roots: Some(root), ..ClientOptions::default() }
}

#[tokio::test]
async fn a_server_with_an_extra_root_is_trusted() {
    for host in ["localhost", "127.0.0.1"] {
        let answer = ask(with_root(), host).await.unwrap();
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"ok"[..]), "{host}");
    }
}

#[tokio::test]
async fn a_server_that_nobody_vouches_for_is_refused() {
    let error = ask(ClientOptions::default(), "localhost").await.unwrap_err();
    assert!(matches!(&error, EgressError::Connect { reason, .. } if reason.contains("certificate")), "{error}");
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let error = ask(with_root(), "elsewhere.example.com").await.unwrap_err();
    assert!(matches!(&error, EgressError::Connect { reason, .. } if reason.contains("certificate")), "{error}");
}
