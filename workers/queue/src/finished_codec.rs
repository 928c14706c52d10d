//! Finished jobs as bytes.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    JobState, JobView, WorkerId,
    attempt_note::{self, WireAttempt},
    job_note::{WireLine, WireProgress},
    record_codec,
    table::{Finished, view_of},
};

/// Version of the layout that [`encode`] writes. A finished job of version 1 ends with its record.
const VERSION: u8 = 2;

#[derive(Serialize, Deserialize)]
struct WireFinished<'a> {
    version: u8,
    state: &'a str,
    attempt: u32,
    rescues: u32,
    started_ms: Option<i64>,
    finished_ms: Option<i64>,
    worker: Option<&'a str>,
    error: Option<&'a str>,
    payload_bytes: u64,
    #[serde(with = "serde_bytes")]
    result: Option<&'a [u8]>,
    /// As `record_codec` has it.
    #[serde(with = "serde_bytes")]
    record: &'a [u8],
    #[serde(borrow, default)]
    attempts: Vec<WireAttempt<'a>>,
    #[serde(borrow, default)]
    progress: Option<WireProgress<'a>>,
    #[serde(borrow, default)]
    log: Vec<WireLine<'a>>,
}

pub(crate) fn encode(finished: &Finished) -> Vec<u8> {
    let view = &finished.view;
    let wire = WireFinished {
        version: VERSION,
        state: view.state.name(),
        attempt: view.attempt,
        rescues: view.rescues,
        started_ms: view.started_ms,
        finished_ms: view.finished_ms,
        worker: view.worker.as_ref().map(WorkerId::as_str),
        error: view.error.as_deref(),
        payload_bytes: view.payload_bytes as u64,
        result: view.result.as_deref(),
        record: &record_codec::encode(&finished.record),
        attempts: attempt_note::to_wire(&view.attempts),
        progress: view.progress.as_ref().map(Into::into),
        log: finished.log.iter().map(Into::into).collect(),
    };
    // A vector takes every byte, and the structure has nothing that MessagePack cannot express.
    rmp_serde::to_vec(&wire).unwrap_or_default()
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Finished, String> {
    let wire: WireFinished<'_> = rmp_serde::from_slice(bytes).map_err(|error| error.to_string())?;
    if !(1..=VERSION).contains(&wire.version) {
        return Err(format!("finished job has layout {}, this release reads 1 to {VERSION}", wire.version));
    }
    let record = Arc::new(record_codec::decode(wire.record)?);
    let state = JobState::from_name(wire.state).ok_or_else(|| format!("`{}` is no state of a job", wire.state))?;
    let view = JobView {
        rescues: wire.rescues,
        started_ms: wire.started_ms,
        finished_ms: wire.finished_ms,
        worker: wire.worker.map(WorkerId::new),
        error: wire.error.map(ToOwned::to_owned),
        payload_bytes: usize::try_from(wire.payload_bytes).unwrap_or(usize::MAX),
        result: wire.result.map(Bytes::copy_from_slice),
        attempts: attempt_note::from_wire(wire.attempts),
        progress: wire.progress.map(Into::into),
        ..view_of(&record, state, wire.attempt)
    };
    Ok(Finished { view, record, log: wire.log.into_iter().map(Into::into).collect() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{LogLine, Progress, attempt_note::tests::attempt, record_codec::tests::record};

    fn finished() -> impl Strategy<Value = Finished> {
        let states = prop_oneof![Just(JobState::Completed), Just(JobState::Cancelled), Just(JobState::Discarded)];
        let texts = (proptest::option::of(".{0,40}"), proptest::collection::vec(".{0,20}", 0..5));
        let bytes = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40));
        let counts = (any::<u32>(), any::<u32>(), any::<u64>());
        let attempts = proptest::collection::vec(attempt(), 0..5);
        (record(), states, counts, texts, bytes, attempts).prop_map(
            |(record, state, (attempt, rescues, done), (error, lines), result, attempts)| {
                let record = Arc::new(record);
                let view = JobView {
                    rescues,
                    started_ms: Some(5),
                    worker: Some(WorkerId::new("w")),
                    error,
                    result: result.map(Bytes::from),
                    attempts,
                    progress: (done > 7).then_some(Progress { done, total: 0, message: None }),
                    ..view_of(&record, state, attempt)
                };
                Finished { view, record, log: lines.into_iter().map(|text| LogLine { at_ms: 7, text }).collect() }
            },
        )
    }

    proptest! {
        #[test]
        fn a_finished_job_survives_its_bytes(finished in finished()) {
            let read = decode(&encode(&finished)).unwrap();
            prop_assert_eq!(read.full_view(), finished.full_view());
            prop_assert_eq!(read.record, finished.record);
        }

        #[test]
        fn no_bytes_make_the_reader_of_finished_jobs_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _outcome = decode(&bytes);
        }
    }
}
