//! Compresses answers on their way out, and wraps them in a function call for `jsonp`.

use std::{
    io::{self, Write},
    pin::Pin,
    task::{Context, Poll, ready},
};

use actix_web::{
    body::{BodySize, BoxBody, MessageBody},
    http::header::{self, HeaderMap, HeaderValue},
};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};

/// Smaller answers are not worth it.
const BYTES_MIN: u64 = 1024;
/// Compressed bytes that are sent at once.
const CHUNK: usize = 8 << 10;

/// Whether a client takes gzip.
pub(crate) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let Some(accepted) = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    accepted.split(',').any(|item| {
        let mut parts = item.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let refused = parts.any(|part| matches!(part.to_ascii_lowercase().as_str(), "q=0" | "q=0.0" | "q=0.00"));
        (name.eq_ignore_ascii_case("gzip") || name == "*") && !refused
    })
}

/// Whether an answer with these headers and this size is text that gets smaller.
pub(crate) fn is_worth_it(headers: &HeaderMap, size: BodySize) -> bool {
    let large = match size {
        BodySize::None => false,
        BodySize::Sized(bytes) => bytes >= BYTES_MIN,
        BodySize::Stream => true,
    };
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let text = matches!(kind, "application/json" | "application/javascript" | "text/javascript" | "image/svg+xml")
        || matches!(kind, "text/html" | "text/css" | "text/plain");
    large && text && !headers.contains_key(header::CONTENT_ENCODING)
}

/// Says in the headers that the body is compressed.
pub(crate) fn mark(headers: &mut HeaderMap) {
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
}

/// A body that is compressed as it is sent.
pub(crate) struct GzipBody {
    inner: BoxBody,
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl GzipBody {
    pub(crate) fn new(inner: BoxBody) -> Self {
        Self { inner, encoder: Some(GzEncoder::new(Vec::with_capacity(2 * CHUNK), Compression::fast())) }
    }

    fn finish(&mut self) -> Option<io::Result<Bytes>> {
        let encoder = self.encoder.take()?;
        Some(encoder.finish().map(Bytes::from))
    }
}

impl MessageBody for GzipBody {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        loop {
            let this = &mut *self;
            let Some(encoder) = this.encoder.as_mut() else { return Poll::Ready(None) };
            match ready!(Pin::new(&mut this.inner).poll_next(context)) {
                Some(Ok(bytes)) => {
                    if let Err(error) = encoder.write_all(&bytes) {
                        return Poll::Ready(Some(Err(error.into())));
                    }
                    if encoder.get_ref().len() >= CHUNK {
                        let full = std::mem::replace(encoder.get_mut(), Vec::with_capacity(2 * CHUNK));
                        return Poll::Ready(Some(Ok(full.into())));
                    }
                }
                Some(Err(error)) => {
                    this.encoder = None;
                    return Poll::Ready(Some(Err(error)));
                }
                None => return Poll::Ready(this.finish().map(|last| last.map_err(Into::into))),
            }
        }
    }
}

/// A body between two texts.
pub(crate) struct WrappedBody {
    before: Option<Bytes>,
    inner: Option<BoxBody>,
    after: Option<Bytes>,
}

impl WrappedBody {
    /// The body as the argument of a function.
    pub(crate) fn call(function: &str, inner: BoxBody) -> Self {
        Self { before: Some(format!("{function}(").into()), inner: Some(inner), after: Some(Bytes::from_static(b")")) }
    }
}

impl MessageBody for WrappedBody {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        if let Some(before) = self.before.take() {
            return Poll::Ready(Some(Ok(before)));
        }
        if let Some(inner) = self.inner.as_mut() {
            match ready!(Pin::new(inner).poll_next(context)) {
                Some(item) => return Poll::Ready(Some(item)),
                None => self.inner = None,
            }
        }
        Poll::Ready(self.after.take().map(Ok))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static(value));
        headers
    }

    #[test]
    fn clients_say_whether_they_take_gzip() {
        let check = |value: &'static str| accepts_gzip(&headers(header::ACCEPT_ENCODING, value));
        assert!(check("gzip"));
        assert!(check("deflate, gzip;q=0.8"));
        assert!(check("*"));
        assert!(!check("gzip;q=0"));
        assert!(!check("br"));
        assert!(!accepts_gzip(&HeaderMap::new()));
    }

    #[test]
    fn only_large_texts_are_compressed() {
        let json = headers(header::CONTENT_TYPE, "application/json; charset=UTF-8");
        assert!(is_worth_it(&json, BodySize::Stream));
        assert!(is_worth_it(&json, BodySize::Sized(2000)));
        assert!(!is_worth_it(&json, BodySize::Sized(100)));
        assert!(!is_worth_it(&headers(header::CONTENT_TYPE, "image/png"), BodySize::Stream));
    }
}
