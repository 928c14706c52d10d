//! A server that says what a test tells it to.

use std::{collections::HashMap, io::Read, net::SocketAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What a client sent.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: HashMap<String, String>,
    /// Decompressed.
    pub(crate) body: String,
}

impl Received {
    pub(crate) fn points(&self) -> Vec<serde_json::Value> {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// What it is told.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// A status and a body.
    Answer(u16, String),
    /// Nothing until the client gives up.
    Silence,
    /// The connection is closed.
    HangUp,
}

type Script = dyn Fn(&Received) -> Reply + Send + Sync;

/// Listens on a free port of this machine until it is dropped.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    stop: CancellationToken,
}

impl TestServer {
    pub(crate) async fn start(script: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), script).await
    }

    pub(crate) async fn start_at(
        address: SocketAddr,
        script: impl Fn(&Received) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (received, stop) = (Arc::<Mutex<Vec<Received>>>::default(), CancellationToken::new());
        let (log, stopped, script): (_, _, Arc<Script>) = (Arc::clone(&received), stop.clone(), Arc::new(script));
        let tracker = TaskTracker::new();
        let connections = tracker.clone();
        tracker.spawn(async move {
            while let Some(Ok((stream, _))) = stopped.run_until_cancelled(listener.accept()).await {
                let (log, script, stopped) = (Arc::clone(&log), Arc::clone(&script), stopped.clone());
                connections.spawn(async move { stopped.run_until_cancelled(serve(stream, &log, &*script)).await });
            }
        });
        Self { address, received, stop }
    }

    pub(crate) fn url(&self) -> tidemark_egress::Url {
        format!("http://{}", self.address).parse().unwrap()
    }

    /// Everything that was received so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().clone()
    }

    /// Waits until what was received is as wanted.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&[Received]) -> bool) {
        let waited = tokio::time::timeout(super::PATIENCE, async {
            let mut looks = tokio::time::interval(Duration::from_millis(2));
            while !wanted(&self.received.lock()) {
                looks.tick().await;
            }
        });
        assert!(waited.await.is_ok(), "{what} did not happen");
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn serve(mut stream: TcpStream, log: &Mutex<Vec<Received>>, script: &Script) {
    let mut buffer = Vec::new();
    while let Some(received) = read_request(&mut stream, &mut buffer).await {
        let reply = script(&received);
        log.lock().push(received);
        match reply {
            Reply::Answer(status, body) => {
                let head = format!("HTTP/1.1 {status} Said\r\ncontent-length: {}\r\n\r\n", body.len());
                if stream.write_all(format!("{head}{body}").as_bytes()).await.is_err() {
                    return;
                }
            }
            Reply::Silence => std::future::pending().await,
            Reply::HangUp => return,
        }
    }
}

async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Received> {
    let head_end = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(buffer[..head_end].to_vec()).unwrap();
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    while buffer.len() < head_end + length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let body = buffer[head_end..head_end + length].to_vec();
    buffer.drain(..head_end + length);
    let gzip = headers.get("content-encoding").is_some_and(|encoding| encoding == "gzip");
    Some(Received {
        method,
        target,
        headers,
        body: if gzip { gunzip(&body) } else { String::from_utf8(body).unwrap() },
    })
}

#[expect(clippy::disallowed_methods, reason = "the body is one that the test itself had sent")]
fn gunzip(body: &[u8]) -> String {
    let mut text = String::new();
    flate2::read::GzDecoder::new(body).take(100_000_000).read_to_string(&mut text).unwrap();
    text
}
