//! What is remembered of the attempts at a job.

use serde::{Deserialize, Serialize};
use tidemark_model::TimestampMs;

use crate::{WorkerId, text::shorten_to};

/// Attempts of a job that are remembered: the last ones.
pub const ATTEMPTS_KEPT_MAX: usize = 16;
/// Longest error of an attempt that is remembered, in bytes.
const ERROR_BYTES_MAX: usize = 256;

/// One attempt at a job: made, lost with its worker, or under way. An attempt that was put off or given back does not
/// count and is not noted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptNote {
    /// Its number; the first is 1. An attempt whose worker was lost is made again under the same number.
    pub number: u32,
    /// Who made it, if that is known.
    pub worker: Option<WorkerId>,
    /// When it began, in ms since the epoch, if that is known.
    pub started_ms: Option<TimestampMs>,
    /// When it ended or was found lost, in ms since the epoch; `None` while it runs.
    pub ended_ms: Option<TimestampMs>,
    /// Why it failed, in at most 256 bytes.
    pub error: Option<String>,
}

impl AttemptNote {
    pub(crate) fn end(&mut self, ended_ms: TimestampMs, error: Option<&str>) {
        self.ended_ms = Some(ended_ms);
        self.error = error.map(|error| shorten_to(error.to_owned(), ERROR_BYTES_MAX));
    }
}

/// Adds an attempt to those that are remembered, and forgets the oldest beyond the limit.
pub(crate) fn remember(attempts: &mut Vec<AttemptNote>, attempt: AttemptNote) {
    let excess = (attempts.len() + 1).saturating_sub(ATTEMPTS_KEPT_MAX);
    attempts.drain(..excess);
    attempts.push(attempt);
}

/// An attempt as it is stored: a MessagePack array.
#[derive(Serialize, Deserialize)]
pub(crate) struct WireAttempt<'a> {
    number: u32,
    #[serde(borrow)]
    worker: Option<&'a str>,
    started_ms: Option<i64>,
    ended_ms: Option<i64>,
    #[serde(borrow)]
    error: Option<&'a str>,
}

impl<'a> From<&'a AttemptNote> for WireAttempt<'a> {
    fn from(attempt: &'a AttemptNote) -> Self {
        Self {
            number: attempt.number,
            worker: attempt.worker.as_ref().map(WorkerId::as_str),
            started_ms: attempt.started_ms,
            ended_ms: attempt.ended_ms,
            error: attempt.error.as_deref(),
        }
    }
}

pub(crate) fn to_wire(attempts: &[AttemptNote]) -> Vec<WireAttempt<'_>> {
    attempts.iter().map(Into::into).collect()
}

pub(crate) fn from_wire(wire: Vec<WireAttempt<'_>>) -> Vec<AttemptNote> {
    let note = |wire: WireAttempt<'_>| AttemptNote {
        number: wire.number,
        worker: wire.worker.map(WorkerId::new),
        started_ms: wire.started_ms,
        ended_ms: wire.ended_ms,
        error: wire.error.map(ToOwned::to_owned),
    };
    wire.into_iter().map(note).collect()
}

/// The attempts as bytes; none for none.
pub(crate) fn encode(attempts: &[AttemptNote]) -> Vec<u8> {
    if attempts.is_empty() {
        return Vec::new();
    }
    // A vector takes every byte, and the structure has nothing that MessagePack cannot express.
    rmp_serde::to_vec(&to_wire(attempts)).unwrap_or_default()
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<AttemptNote>, String> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    rmp_serde::from_slice(bytes).map(from_wire).map_err(|error| format!("attempts of a job: {error}"))
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn attempt() -> impl Strategy<Value = AttemptNote> {
        let times = (proptest::option::of(any::<i64>()), proptest::option::of(any::<i64>()));
        let texts = (proptest::option::of("[a-z0-9]{1,12}"), proptest::option::of(".{0,40}"));
        (any::<u32>(), times, texts).prop_map(|(number, (started_ms, ended_ms), (worker, error))| AttemptNote {
            number,
            worker: worker.as_deref().map(WorkerId::new),
            started_ms,
            ended_ms,
            error,
        })
    }

    #[test]
    fn the_last_sixteen_attempts_are_remembered() {
        let mut attempts = Vec::new();
        for number in 1..=40 {
            let note = AttemptNote { number, worker: None, started_ms: None, ended_ms: None, error: None };
            remember(&mut attempts, note);
        }
        assert_eq!(attempts.iter().map(|note| note.number).collect::<Vec<_>>(), (25..=40).collect::<Vec<_>>());
    }

    #[test]
    fn a_long_error_is_shortened() {
        let mut note = AttemptNote { number: 1, worker: None, started_ms: None, ended_ms: None, error: None };
        note.end(5, Some(&"é".repeat(500)));
        let error = note.error.unwrap();
        assert!(error.len() <= 256 && error.ends_with("é..."), "{error}");
    }

    proptest! {
        #[test]
        fn attempts_survive_their_bytes(attempts in proptest::collection::vec(attempt(), 0..16)) {
            prop_assert_eq!(decode(&encode(&attempts)), Ok(attempts));
        }

        #[test]
        fn no_bytes_make_the_reader_of_attempts_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _outcome = decode(&bytes);
        }
    }
}
