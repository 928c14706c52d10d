//! What goes out and what comes back.

use std::{fmt, time::Duration};

use bytes::Bytes;
use reqwest::{Method, StatusCode, header::HeaderMap};
use url::Url;

use crate::Redacted;

/// A request.
#[derive(Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Where to. User and password in it become basic authorisation.
    pub url: Url,
    /// Header fields.
    pub headers: HeaderMap,
    /// The body; empty for none.
    pub body: Bytes,
    /// A total time limit of its own instead of the client's.
    pub timeout: Option<Duration>,
}

impl Request {
    /// A request without header fields and body.
    #[must_use]
    pub fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: HeaderMap::new(), body: Bytes::new(), timeout: None }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Request")
            .field("method", &self.method)
            .field("url", &Redacted(&self.url))
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("body_bytes", &self.body.len())
            .field("timeout", &self.timeout)
            .finish()
    }
}

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// Header fields.
    pub headers: HeaderMap,
    /// The body, at most [`crate::ClientOptions::response_bytes_max`] bytes of it, never decompressed.
    pub body: Bytes,
    /// Whether there was more body than that.
    pub truncated: bool,
}
