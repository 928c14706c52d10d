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
use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};

/// Smaller answers are not worth it.
const BYTES_MIN: u64 = 1024;
/// Compressed bytes that are sent at once.
const CHUNK: usize = 8 << 10;

/// How an answer is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    /// The format of zlib, which is what HTTP calls `deflate`.
    Deflate,
}

impl Coding {
    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }
}

/// What a client likes best of what there is, gzip of two that it likes equally; `None` when it wants the answer as it is.
pub(crate) fn wanted_coding(headers: &HeaderMap) -> Option<Coding> {
    let (mut gzip, mut deflate, mut identity, mut others) = (None, None, None, None);
    let accepted = headers.get_all(header::ACCEPT_ENCODING).filter_map(|value| value.to_str().ok());
    for item in accepted.flat_map(|value| value.split(',')) {
        let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
        let weight = Some(weight(parameters));
        match name.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => gzip = weight,
            "deflate" => deflate = weight,
            "identity" => identity = weight,
            "*" => others = weight,
            _ => {}
        }
    }
    let (gzip, deflate) = (gzip.or(others).unwrap_or(0), deflate.or(others).unwrap_or(0));
    let (coding, best) = if deflate > gzip { (Coding::Deflate, deflate) } else { (Coding::Gzip, gzip) };
    (best > 0 && identity.is_none_or(|identity| identity <= best)).then_some(coding)
}

/// How much a client likes something, in thousandths: `q=0.5` is 500. What is no weight refuses.
fn weight(parameters: &str) -> u16 {
    let mut parameters = parameters.split(';').map(str::trim);
    let Some(weight) = parameters.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="))) else {
        return 1000;
    };
    match weight.trim().parse::<f32>() {
        Ok(weight) if (0.0..=1.0).contains(&weight) => (weight * 1000.0).round() as u16,
        _ => 0,
    }
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

/// Says in the headers how the body is compressed.
pub(crate) fn mark(headers: &mut HeaderMap, coding: Coding) {
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    let mut said =
        headers.get_all(header::VARY).filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let is_said = said.any(|name| name.trim().eq_ignore_ascii_case(header::ACCEPT_ENCODING.as_str()));
    if !is_said {
        headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}

/// A body that is compressed as it is sent.
pub(crate) struct CompressedBody {
    inner: BoxBody,
    encoder: Option<Encoder>,
}

enum Encoder {
    Gzip(GzEncoder<Vec<u8>>),
    Deflate(ZlibEncoder<Vec<u8>>),
}

impl Encoder {
    fn new(coding: Coding) -> Self {
        match coding {
            Coding::Gzip => Self::Gzip(GzEncoder::new(buffer(), Compression::fast())),
            Coding::Deflate => Self::Deflate(ZlibEncoder::new(buffer(), Compression::fast())),
        }
    }

    /// Takes a piece of the body, and gives a piece of what it became when there is enough of that.
    fn take(&mut self, bytes: &[u8]) -> io::Result<Option<Bytes>> {
        let out = match self {
            Self::Gzip(encoder) => {
                encoder.write_all(bytes)?;
                encoder.get_mut()
            }
            Self::Deflate(encoder) => {
                encoder.write_all(bytes)?;
                encoder.get_mut()
            }
        };
        Ok((out.len() >= CHUNK).then(|| std::mem::replace(out, buffer()).into()))
    }

    fn finish(self) -> io::Result<Bytes> {
        let out = match self {
            Self::Gzip(encoder) => encoder.finish(),
            Self::Deflate(encoder) => encoder.finish(),
        };
        out.map(Bytes::from)
    }
}

fn buffer() -> Vec<u8> {
    Vec::with_capacity(2 * CHUNK)
}

impl CompressedBody {
    pub(crate) fn new(inner: BoxBody, coding: Coding) -> Self {
        Self { inner, encoder: Some(Encoder::new(coding)) }
    }
}

impl MessageBody for CompressedBody {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        loop {
            let this = &mut *self;
            let Some(encoder) = this.encoder.as_mut() else { return Poll::Ready(None) };
            match ready!(Pin::new(&mut this.inner).poll_next(context)) {
                Some(Ok(bytes)) => match encoder.take(&bytes) {
                    Ok(None) => {}
                    Ok(Some(full)) => return Poll::Ready(Some(Ok(full))),
                    Err(error) => return Poll::Ready(Some(Err(error.into()))),
                },
                Some(Err(error)) => {
                    this.encoder = None;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    let last = this.encoder.take().map(|encoder| encoder.finish().map_err(Into::into));
                    return Poll::Ready(last);
                }
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
    fn clients_say_what_they_take_and_like_best() {
        use Coding::{Deflate, Gzip};
        let check = |value: &'static str, expect: Option<Coding>| {
            assert_eq!(wanted_coding(&headers(header::ACCEPT_ENCODING, value)), expect, "{value}");
        };
        check("gzip", Some(Gzip));
        check("X-GZIP", Some(Gzip));
        check("deflate", Some(Deflate));
        check("gzip, deflate, br", Some(Gzip));
        check("deflate, gzip;q=0.8", Some(Deflate));
        check("deflate;q=0.5,gzip; q=0.8", Some(Gzip));
        check("gzip;q=0, deflate;q=0.001", Some(Deflate));
        check("*", Some(Gzip));
        check("gzip;q=0.000, *;q=0.1", Some(Deflate));
        check("deflate, *;q=0", Some(Deflate));
        check("identity, gzip;q=0.5", None);
        check("identity;q=0.5, gzip;Q=0.5", Some(Gzip));
        check("gzip;q=0", None);
        check("gzip;q=2", None);
        check("gzip;q=", None);
        check("br", None);
        check("identity", None);
        check("", None);
        check(",;=,", None);
        assert_eq!(wanted_coding(&HeaderMap::new()), None);
        let mut two = headers(header::ACCEPT_ENCODING, "gzip;q=0.1");
        two.append(header::ACCEPT_ENCODING, HeaderValue::from_static("deflate"));
        assert_eq!(wanted_coding(&two), Some(Deflate));
    }

    #[test]
    fn what_an_answer_depends_on_is_said_once() {
        let vary_of = |mut headers: HeaderMap| {
            mark(&mut headers, Coding::Deflate);
            assert_eq!(headers.get(header::CONTENT_ENCODING).unwrap(), "deflate");
            headers.get_all(header::VARY).map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(vary_of(HeaderMap::new()), ["Accept-Encoding"]);
        assert_eq!(vary_of(headers(header::VARY, "Origin")), ["Origin", "Accept-Encoding"]);
        assert_eq!(vary_of(headers(header::VARY, "Origin, accept-encoding")), ["Origin, accept-encoding"]);
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
