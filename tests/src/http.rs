//! A small HTTP/1.1 client: one connection for each request, so that a test sees exactly what it sent.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::Value;

/// Speaks to one server.
#[derive(Clone, Debug)]
pub struct Client {
    address: SocketAddr,
}

/// What the server said.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The header lines, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, with chunks joined.
    pub body: Vec<u8>,
}

impl Client {
    /// A client of the server at `address`.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    /// The server's address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `GET path`.
    ///
    /// # Panics
    /// When the server cannot be reached or breaks off.
    #[must_use]
    pub fn get(&self, path: &str) -> Response {
        self.request("GET", path, &[], b"").unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// `POST path` with a JSON body.
    ///
    /// # Panics
    /// When the server cannot be reached or breaks off.
    #[must_use]
    pub fn post(&self, path: &str, body: &Value) -> Response {
        self.post_text(path, &body.to_string())
    }

    /// `POST path` with a body of any text.
    ///
    /// # Panics
    /// When the server cannot be reached or breaks off.
    #[must_use]
    pub fn post_text(&self, path: &str, body: &str) -> Response {
        let headers = [("Content-Type", "application/json")];
        self.request("POST", path, &headers, body.as_bytes()).unwrap_or_else(|error| panic!("POST {path}: {error}"))
    }

    /// Any request; a connection that breaks is an error, since tests kill servers.
    ///
    /// # Errors
    /// When the server cannot be reached, breaks off, or answers no HTTP.
    pub fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<Response> {
        let mut stream = TcpStream::connect_timeout(&self.address, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        stream.set_write_timeout(Some(Duration::from_secs(60)))?;
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address);
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("transfer-encoding")) {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes())?;
        // A server that refuses a body closes early: what it said matters more than that it did not read on.
        let sent = stream.write_all(body);
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        match (Response::parse(&answer), sent, read) {
            (Some(response), _, _) => Ok(response),
            (None, Err(error), _) | (None, Ok(()), Err(error)) => Err(error),
            (None, Ok(()), Ok(_)) => Err(std::io::Error::other("the connection closed without a whole answer")),
        }
    }
}

impl Response {
    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.text()))
    }

    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(candidate, _)| candidate == name).map(|(_, value)| value.as_str())
    }

    fn parse(answer: &[u8]) -> Option<Self> {
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let body = &answer[end + 4..];
        let mut response = Self { status, headers, body: Vec::new() };
        if status == 100 {
            return Self::parse(body);
        }
        if response.header("transfer-encoding") == Some("chunked") {
            response.body = join_chunks(body)?;
        } else {
            let length = response.header("content-length").map_or(Some(body.len()), |length| length.parse().ok())?;
            response.body = body.get(..length)?.to_vec();
        }
        if response.header("content-encoding") == Some("gzip") {
            response.body = gunzip(&response.body)?;
        }
        Some(response)
    }
}

fn join_chunks(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?.trim(), 16).ok()?;
        rest = &rest[end + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}

#[expect(clippy::disallowed_methods, reason = "the test decodes what its own server sent")]
fn gunzip(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain).ok()?;
    Some(plain)
}
