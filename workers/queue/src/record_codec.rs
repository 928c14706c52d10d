//! Job records as bytes, for SQLite rows and Redis frames.
//!
//! A record is a MessagePack array whose first element is the version of the layout; `docs/redis-layout.md` lists the
//! elements. Elements that version 1 did not have come last and are absent in its records.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{JobId, JobKind, JobRecord, NodeRef, Priority, TraceId, UniqueKey, UniqueMode};

/// Version of the layout that [`encode`] writes. A record of version 1 ends with its payload.
const VERSION: u8 = 2;

/// The elements of a record in the order in which they are stored.
#[derive(Serialize, Deserialize)]
struct WireRecord<'a> {
    version: u8,
    #[serde(with = "serde_bytes")]
    id: [u8; 16],
    kind: &'a str,
    queue: &'a str,
    priority: u8,
    created_ms: i64,
    not_before_ms: Option<i64>,
    expires_ms: Option<i64>,
    time_limit_ms: u64,
    attempts_max: u32,
    unique_key: Option<&'a str>,
    /// 0: until done; else the period in ms.
    unique_ms: u64,
    parent: Option<&'a serde_bytes::Bytes>,
    trace: Option<&'a serde_bytes::Bytes>,
    result_ttl_ms: Option<u64>,
    #[serde(with = "serde_bytes")]
    payload: &'a [u8],
    #[serde(default)]
    soft_limit_ms: Option<u64>,
    /// Sixteen bytes of the workflow, four of the node.
    #[serde(default, borrow)]
    workflow: Option<&'a serde_bytes::Bytes>,
    #[serde(default, borrow)]
    inputs: Option<&'a serde_bytes::Bytes>,
    #[serde(default, borrow)]
    rate_key: Option<&'a str>,
}

/// The bytes of a record.
pub(crate) fn encode(record: &JobRecord) -> Vec<u8> {
    encode_with(record, &record.payload)
}

/// The bytes of a record whose payload is elsewhere.
pub(crate) fn encode_without_payload(record: &JobRecord) -> Vec<u8> {
    encode_with(record, &[])
}

fn encode_with(record: &JobRecord, payload: &[u8]) -> Vec<u8> {
    let trace = record.trace.map(|trace| trace.0.to_be_bytes());
    let workflow = record.workflow.map(NodeRef::to_bytes);
    let wire = WireRecord {
        version: VERSION,
        id: *record.id.as_bytes(),
        kind: record.kind.name(),
        queue: record.queue.as_str(),
        priority: u8::try_from(record.priority.level()).unwrap_or(u8::MAX),
        created_ms: record.created_ms,
        not_before_ms: record.not_before_ms,
        expires_ms: record.expires_ms,
        time_limit_ms: millis(record.time_limit),
        attempts_max: record.attempts_max,
        unique_key: record.unique.as_ref().map(|unique| unique.key.as_str()),
        unique_ms: match record.unique.as_ref().map(|unique| unique.mode) {
            Some(UniqueMode::For(period)) => millis(period).max(1),
            Some(UniqueMode::UntilDone) | None => 0,
        },
        parent: record.parent.as_ref().map(|parent| serde_bytes::Bytes::new(parent.as_bytes())),
        trace: trace.as_ref().map(|trace| serde_bytes::Bytes::new(trace)),
        result_ttl_ms: record.result_ttl.map(millis),
        payload,
        soft_limit_ms: record.soft_limit.map(millis),
        workflow: workflow.as_ref().map(|node| serde_bytes::Bytes::new(node)),
        inputs: (!record.inputs.is_empty()).then(|| serde_bytes::Bytes::new(&record.inputs)),
        rate_key: record.rate_key.as_deref(),
    };
    let mut bytes = Vec::with_capacity(payload.len() + record.inputs.len() + 136);
    // A vector takes every byte, and the structure has nothing that MessagePack cannot express.
    match rmp_serde::encode::write(&mut bytes, &wire) {
        Ok(()) => bytes,
        Err(_impossible) => Vec::new(),
    }
}

/// The record in these bytes.
///
/// # Errors
/// Says what is wrong: an unknown layout, an unknown kind, an illegal name or damage.
pub(crate) fn decode(bytes: &[u8]) -> Result<JobRecord, String> {
    let wire: WireRecord<'_> = rmp_serde::from_slice(bytes).map_err(|error| format!("job record: {error}"))?;
    if !(1..=VERSION).contains(&wire.version) {
        return Err(format!("job record has layout {}, this release reads 1 to {VERSION}", wire.version));
    }
    let kind: JobKind = wire.kind.parse().map_err(|error: crate::JobKindError| error.to_string())?;
    let queue = match wire.queue == kind.name() {
        true => kind.default_queue(),
        false => wire.queue.parse().map_err(|error: crate::QueueNameError| error.to_string())?,
    };
    let priority = Priority::ALL.get(usize::from(wire.priority)).copied();
    let mode = match wire.unique_ms {
        0 => UniqueMode::UntilDone,
        period => UniqueMode::For(Duration::from_millis(period)),
    };
    let trace: Option<[u8; 16]> = wire.trace.and_then(|bytes| <[u8; 16]>::try_from(&**bytes).ok());
    Ok(JobRecord {
        id: JobId::from_bytes(wire.id),
        kind,
        queue,
        priority: priority.ok_or_else(|| format!("job record has priority {}, the lowest is 2", wire.priority))?,
        payload: Bytes::copy_from_slice(wire.payload),
        created_ms: wire.created_ms,
        not_before_ms: wire.not_before_ms,
        expires_ms: wire.expires_ms,
        time_limit: Duration::from_millis(wire.time_limit_ms),
        soft_limit: wire.soft_limit_ms.map(Duration::from_millis),
        attempts_max: wire.attempts_max.max(1),
        unique: wire.unique_key.map(|key| UniqueKey { key: key.to_owned(), mode }),
        parent: wire.parent.and_then(|bytes| JobId::from_slice(bytes)),
        trace: trace.map(|bytes| TraceId(u128::from_be_bytes(bytes))),
        result_ttl: wire.result_ttl_ms.map(Duration::from_millis),
        workflow: wire.workflow.and_then(|bytes| NodeRef::from_slice(bytes)),
        inputs: wire.inputs.map(|bytes| Bytes::copy_from_slice(bytes)).unwrap_or_default(),
        rate_key: wire.rate_key.map(str::to_owned),
    })
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::NewJob;

    pub(crate) fn record() -> impl Strategy<Value = JobRecord> {
        let ids = (any::<[u8; 16]>(), proptest::option::of(any::<[u8; 16]>()), proptest::option::of(any::<u128>()));
        let names = (0usize..9, proptest::option::of("[a-z0-9._-]{1,64}"), 0usize..3);
        let times = (any::<i64>(), proptest::option::of(any::<i64>()), proptest::option::of(any::<i64>()));
        let millis = || proptest::option::of(0u64..1 << 40);
        let limits = (0u64..1 << 40, 1u32.., millis(), millis());
        let unique = proptest::option::of((".{0,40}", 0u64..1 << 40));
        let bytes = |max| proptest::collection::vec(any::<u8>(), 0..max);
        let workflow =
            (proptest::option::of((any::<[u8; 16]>(), any::<u32>())), bytes(50), proptest::option::of(".{0,20}"));
        (ids, names, times, limits, unique, bytes(200), workflow).prop_map(
            |(
                (id, parent, trace),
                (kind, queue, priority),
                times,
                limits,
                unique,
                payload,
                (node, inputs, rate_key),
            )| {
                JobRecord {
                    id: JobId::from_bytes(id),
                    kind: JobKind::ALL[kind],
                    queue: queue.map_or(JobKind::ALL[kind].default_queue(), |name| name.parse().unwrap()),
                    priority: Priority::ALL[priority],
                    payload: payload.into(),
                    created_ms: times.0,
                    not_before_ms: times.1,
                    expires_ms: times.2,
                    time_limit: Duration::from_millis(limits.0),
                    attempts_max: limits.1,
                    unique: unique.map(|(key, period)| UniqueKey {
                        key,
                        mode: match period {
                            0 => UniqueMode::UntilDone,
                            period => UniqueMode::For(Duration::from_millis(period)),
                        },
                    }),
                    parent: parent.map(JobId::from_bytes),
                    trace: trace.map(TraceId),
                    result_ttl: limits.2.map(Duration::from_millis),
                    soft_limit: limits.3.map(Duration::from_millis),
                    workflow: node.map(|(workflow, node)| NodeRef {
                        workflow: crate::WorkflowId::new(JobId::from_bytes(workflow)),
                        node: crate::NodeId::new(node),
                    }),
                    inputs: inputs.into(),
                    rate_key,
                }
            },
        )
    }

    #[test]
    fn a_record_of_version_1_is_read() {
        // Fifteen elements and a payload, written by the release before.
        let record = NewJob::from_bytes(JobKind::Notify, "old".into()).into_record(JobId::from_bytes([7; 16]), 5);
        let mut bytes = encode(&record);
        assert_eq!(bytes.split_off(bytes.len() - 4), [0xC0; 4]);
        assert_eq!(bytes[..4], [0xDC, 0, 20, 2]);
        bytes.splice(..4, [0xDC, 0, 16, 1]);
        assert_eq!(decode(&bytes), Ok(record));
        bytes[3] = 9;
        assert_eq!(decode(&bytes), Err("job record has layout 9, this release reads 1 to 2".to_owned()));
    }

    proptest! {
        #[test]
        fn a_record_survives_its_bytes(record in record()) {
            prop_assert_eq!(decode(&encode(&record)), Ok(record));
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _outcome = decode(&bytes);
        }
    }
}
