//! A connection that is kept: for clients that reuse it, pipeline on it, speak telnet over it, or are rude to it.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

use crate::Response;

/// Longest that a read or write may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection and what was read of it but not asked for yet.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Connection {
    /// Connects; each write is sent at once.
    ///
    /// # Panics
    /// When nobody listens.
    #[must_use]
    pub fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, unread: Vec::new() }
    }

    /// Sends bytes.
    ///
    /// # Panics
    /// When the server does not take them.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).unwrap();
    }

    /// Sends bytes that a server may refuse by closing.
    ///
    /// # Errors
    /// When it does.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Says that nothing more will be sent.
    ///
    /// # Panics
    /// When the connection is gone.
    pub fn finish_sending(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Reads through the next end of a line, which is left out.
    ///
    /// # Panics
    /// When the connection ends before.
    pub fn line(&mut self) -> String {
        let line = self.through(b"\n");
        String::from_utf8(line).unwrap().trim_end().to_owned()
    }

    /// Reads the next answer, an interim one such as `100 Continue` too. Its body is not decompressed.
    ///
    /// # Panics
    /// When the connection ends before.
    pub fn answer(&mut self) -> Response {
        let head = String::from_utf8(self.through(b"\r\n\r\n")).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status: u16 = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header =
            |line: &str| line.split_once(':').map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
        let mut answer = Response { status, headers: lines.filter_map(header).collect(), body: Vec::new() };
        answer.body = match (status, answer.header("transfer-encoding"), answer.header("content-length")) {
            (100..=199 | 204 | 304, ..) => Vec::new(),
            (_, Some(_), _) => self.chunks(),
            (_, None, Some(length)) => self.exactly(length.parse().unwrap()),
            (_, None, None) => self.rest(),
        };
        answer
    }

    /// Reads until the server closes; a reset is an end, too.
    ///
    /// # Panics
    /// When it does not close.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.unread);
        if let Err(error) = self.stream.read_to_end(&mut rest) {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
        }
        rest
    }

    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let size = usize::from_str_radix(&self.line(), 16).unwrap();
            body.extend(self.exactly(size));
            assert_eq!(self.exactly(2), b"\r\n");
            if size == 0 {
                return body;
            }
        }
    }

    fn through(&mut self, end: &[u8]) -> Vec<u8> {
        loop {
            if let Some(found) = self.unread.windows(end.len()).position(|window| window == end) {
                return self.exactly(found + end.len());
            }
            self.fill();
        }
    }

    fn exactly(&mut self, bytes: usize) -> Vec<u8> {
        while self.unread.len() < bytes {
            self.fill();
        }
        self.unread.drain(..bytes).collect()
    }

    fn fill(&mut self) {
        let mut piece = [0; 64 << 10];
        let bytes = self.stream.read(&mut piece).unwrap();
        assert!(bytes > 0, "the server closed the connection after {:?}", String::from_utf8_lossy(&self.unread));
        self.unread.extend_from_slice(&piece[..bytes]);
    }
}
