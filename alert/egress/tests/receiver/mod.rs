//! A server on loopback that does exactly what a test tells it, and remembers what it was sent.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// Listens until the process ends; every connection is handed to the behaviour after its head and body were read.
pub(crate) struct Receiver {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Receiver {
    /// A receiver that answers every request with this text and closes the connection.
    pub(crate) fn answering(answer: &str) -> Self {
        let answer = answer.to_owned();
        Self::behaving(move |stream| {
            let _ = stream.write_all(answer.as_bytes());
        })
    }

    /// A receiver that does this to every connection once it has read the request.
    pub(crate) fn behaving(behaviour: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let receiver = Self {
            address: listener.local_addr().expect("an address"),
            connections: Arc::default(),
            requests: Arc::default(),
        };
        let (connections, requests) = (Arc::clone(&receiver.connections), Arc::clone(&receiver.requests));
        let behaviour = Arc::new(behaviour);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                connections.fetch_add(1, Ordering::SeqCst);
                let (requests, behaviour) = (Arc::clone(&requests), Arc::clone(&behaviour));
                thread::spawn(move || serve(stream, &requests, &*behaviour));
            }
        });
        receiver
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self, path: &str) -> tidemark_egress::Url {
        tidemark_egress::Url::parse(&format!("http://{}{path}", self.address)).expect("a URL")
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("not poisoned").clone()
    }
}

fn serve(mut stream: TcpStream, requests: &Mutex<Vec<String>>, behaviour: &dyn Fn(&mut TcpStream)) {
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !is_complete(&request) {
        match stream.read(&mut buffer) {
            Ok(bytes) if bytes > 0 => request.extend_from_slice(&buffer[..bytes]),
            _ => return,
        }
    }
    requests.lock().expect("not poisoned").push(String::from_utf8_lossy(&request).into_owned());
    behaviour(&mut stream);
}

fn is_complete(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length =
        head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:").map(str::to_owned));
    body.len() >= length.map_or(0, |length| length.trim().parse().expect("a length"))
}
