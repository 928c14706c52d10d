//! Finished jobs as bytes.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    JobState, JobView, WorkerId, record_codec,
    table::{Finished, view_of},
};

/// Version of the layout that [`encode`] writes.
const VERSION: u8 = 1;

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
    };
    // A vector takes every byte, and the structure has nothing that MessagePack cannot express.
    rmp_serde::to_vec(&wire).unwrap_or_default()
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Finished, String> {
    let wire: WireFinished<'_> = rmp_serde::from_slice(bytes).map_err(|error| error.to_string())?;
    if wire.version != VERSION {
        return Err(format!("finished job has layout {}, this release reads {VERSION}", wire.version));
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
        ..view_of(&record, state, wire.attempt)
    };
    Ok(Finished { view, record })
}
