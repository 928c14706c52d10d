//! A client that writes bytes and reads bytes, so that it can be as rude as a test needs.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

/// Longest that a test waits for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection.
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends what a server that has closed may not take.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Another end to write to.
    pub(crate) fn writer(&self) -> TcpStream {
        self.stream.try_clone().unwrap()
    }

    pub(crate) fn half_close(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Whether the server closed the connection without a word.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.read_to_end().is_empty()
    }

    pub(crate) fn read_to_end(&mut self) -> String {
        let mut rest = std::mem::take(&mut self.buffer);
        // A connection that is closed with bytes unread is reset, which is as good as closed.
        if let Err(error) = self.stream.read_to_end(&mut rest) {
            assert!(error.kind() == std::io::ErrorKind::ConnectionReset, "{error}");
        }
        String::from_utf8(rest).unwrap()
    }

    /// Reads until `end` was read.
    pub(crate) fn read_until(&mut self, end: &str) -> String {
        let found = self.find(end.as_bytes());
        let taken: Vec<u8> = self.buffer.drain(..found + end.len()).collect();
        String::from_utf8(taken).unwrap()
    }

    pub(crate) fn answer(&mut self) -> Answer {
        let head = self.read_until("\r\n\r\n");
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        let headers: Vec<_> = lines.filter_map(header).collect();
        let mut answer = Answer { status, headers, body: Vec::new() };
        if answer.header("transfer-encoding") == Some("chunked") {
            loop {
                let size = self.read_until("\r\n");
                let size = usize::from_str_radix(size.trim(), 16).unwrap();
                answer.body.extend(self.take(size));
                self.take(2);
                if size == 0 {
                    break;
                }
            }
        } else if let Some(length) = answer.header("content-length") {
            let length = length.parse().unwrap();
            answer.body = self.take(length);
        }
        answer
    }

    pub(crate) fn request(&mut self, method: &str, path: &str, headers: &str, body: impl AsRef<[u8]>) -> Answer {
        let body = body.as_ref();
        let length = body.len();
        self.send(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{headers}\r\n"));
        self.send(body);
        self.answer()
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        self.answer()
    }

    pub(crate) fn post(&mut self, path: &str, body: &str) -> Answer {
        self.request("POST", path, "Content-Type: application/json\r\n", body)
    }

    fn find(&mut self, end: &[u8]) -> usize {
        loop {
            if let Some(found) = self.buffer.windows(end.len()).position(|window| window == end) {
                return found;
            }
            self.fill();
        }
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count {
            self.fill();
        }
        self.buffer.drain(..count).collect()
    }

    fn fill(&mut self) {
        let mut chunk = [0; 64 << 10];
        let count = self.stream.read(&mut chunk).unwrap();
        assert!(count > 0, "the server closed the connection after {:?}", String::from_utf8_lossy(&self.buffer));
        self.buffer.extend_from_slice(&chunk[..count]);
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(candidate, _)| candidate == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// Status and body as JSON at once.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16, body: serde_json::Value) {
        assert_eq!((self.status, self.json()), (status, body));
    }

    #[track_caller]
    pub(crate) fn expect_error(&self, status: u16, message: &str) {
        assert_eq!((self.status, self.json()["error"]["message"].as_str().unwrap_or_default()), (status, message));
        assert_eq!(self.json()["error"]["code"], status);
    }
}
