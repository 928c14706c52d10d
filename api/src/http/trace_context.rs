//! Which trace a request belongs to, in the words of W3C Trace Context.

use std::{
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
};

use actix_web::http::header::{HeaderMap, HeaderName};
use tidemark_queue::TraceId;

/// Header of the standard, in requests and answers.
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The trace alone, for people who look for it in a log.
pub(crate) const TRACE_ID: HeaderName = HeaderName::from_static("x-trace-id");

/// Makes ids of traces and spans that nobody can guess.
#[derive(Debug, Default)]
pub(crate) struct TraceIds {
    random: RandomState,
    next: AtomicU64,
}

/// The trace of a request and our part in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceContext {
    pub(crate) trace: TraceId,
    span: u64,
    flags: u8,
}

impl TraceIds {
    /// The trace that a request names, or a new one.
    pub(crate) fn of(&self, headers: &HeaderMap) -> TraceContext {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let sent = headers.get(TRACEPARENT).and_then(|value| parse(value.to_str().ok()?));
        let (trace, flags) = sent.unwrap_or_else(|| (self.trace(number), 0));
        TraceContext { trace, span: self.random(number, 2), flags }
    }

    /// A new trace, for what comes without headers.
    pub(crate) fn begin(&self) -> TraceId {
        self.trace(self.next.fetch_add(1, Ordering::Relaxed))
    }

    fn trace(&self, number: u64) -> TraceId {
        TraceId(u128::from(self.random(number, 0)) << 64 | u128::from(self.random(number, 1)))
    }

    fn random(&self, number: u64, part: u8) -> u64 {
        // All zero means "none" to others.
        self.random.hash_one((number, part)).max(1)
    }
}

impl TraceContext {
    /// The value of [`TRACEPARENT`] in an answer.
    pub(crate) fn traceparent(self) -> String {
        format!("00-{}-{:016x}-{:02x}", self.trace, self.span, self.flags)
    }
}

/// `version-trace-parent-flags`, as the standard has it: what is not that is as good as no header. Later versions may have
/// more behind it.
fn parse(text: &str) -> Option<(TraceId, u8)> {
    let mut parts = text.trim().split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |part: &str, digits: usize| {
        part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'))
    };
    let sound = is_hex(version, 2) && is_hex(trace, 32) && is_hex(parent, 16) && is_hex(flags, 2);
    if !sound
        || version == "ff"
        || (version == "00" && parts.next().is_some())
        || parent.bytes().all(|byte| byte == b'0')
    {
        return None;
    }
    let trace = u128::from_str_radix(trace, 16).ok().filter(|trace| *trace != 0)?;
    Some((TraceId(trace), u8::from_str_radix(flags, 16).ok()? & 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_taken_over_only_from_a_sound_header() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let sound = format!("00-{trace}-00f067aa0ba902b7-01");
        assert_eq!(parse(&sound), Some((TraceId(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736), 1)));
        assert!(parse(&format!("01-{trace}-00f067aa0ba902b7-01-more")).is_some());
        for wrong in [
            "",
            "00",
            &format!("00-{trace}-00f067aa0ba902b7-01-more"),
            &format!("ff-{trace}-00f067aa0ba902b7-01"),
            &format!("00-{trace}-0000000000000000-01"),
            &format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            &sound.to_uppercase(),
            &format!("00-{trace}-00f067aa0ba902b-01"),
            &format!("00-{trace}-00f067aa0ba902b7-+1"),
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_request_without_a_trace_begins_one() {
        let ids = TraceIds::default();
        let (one, two) = (ids.of(&HeaderMap::new()), ids.of(&HeaderMap::new()));
        assert_ne!(one.trace, two.trace);
        assert_eq!(parse(&one.traceparent()), Some((one.trace, 0)));
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, one.traceparent().parse().unwrap());
        let taken = ids.of(&headers);
        assert_eq!(taken.trace, one.trace);
        assert_ne!(taken.span, one.span);
    }
}
