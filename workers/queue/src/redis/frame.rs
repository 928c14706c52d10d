//! Frames: what an entry of a stream holds. `docs/redis-layout.md` has the byte map.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidemark_model::TimestampMs;

use crate::{
    AttemptNote, JobId, JobRecord, JobState, WorkerId,
    attempt_note::{self, WireAttempt, remember},
    length_prefixed, record_codec,
};

/// Most jobs of a frame.
pub(super) const FRAME_JOBS_MAX: usize = 64;
/// A frame that has reached this many bytes takes no further job.
pub(super) const FRAME_BYTES_MAX: usize = 64 * 1024;

/// A job and what its attempts left behind.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Item {
    pub(super) record: Arc<JobRecord>,
    /// Attempts that ended in failure.
    pub(super) attempts: u32,
    pub(super) rescues: u32,
    /// Since when it could start, or when it starts.
    pub(super) available_ms: TimestampMs,
    pub(super) error: Option<String>,
    /// Attempts that are over.
    pub(super) attempts_made: Vec<AttemptNote>,
    /// Bytes of its payload, when that has a key of its own; the record has it only once it was read.
    pub(super) apart: Option<u32>,
}

#[derive(Serialize, Deserialize)]
struct WireItem<'a> {
    #[serde(with = "serde_bytes")]
    record: &'a [u8],
    attempts: u32,
    rescues: u32,
    available_ms: i64,
    error: Option<&'a str>,
    #[serde(borrow, default)]
    attempts_made: Vec<WireAttempt<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    apart: Option<u32>,
}

impl Item {
    pub(super) fn new(record: JobRecord) -> Self {
        let available_ms = record.due_ms();
        Self {
            record: Arc::new(record),
            attempts: 0,
            rescues: 0,
            available_ms,
            error: None,
            attempts_made: Vec::new(),
            apart: None,
        }
    }

    pub(super) fn id(&self) -> JobId {
        self.record.id
    }

    /// Bytes of its payload, wherever that is.
    pub(super) fn payload_len(&self) -> usize {
        self.apart.map_or(self.record.payload.len(), |bytes| bytes as usize)
    }

    /// Bytes of its payload and of what the nodes before it hand on.
    pub(super) fn data_bytes(&self) -> usize {
        self.payload_len() + self.record.inputs.len()
    }

    /// Whether its payload is not here.
    pub(super) fn lacks_payload(&self) -> bool {
        self.apart.is_some_and(|bytes| self.record.payload.len() != bytes as usize)
    }

    pub(super) fn set_payload(&mut self, payload: Bytes) {
        Arc::make_mut(&mut self.record).payload = payload;
    }

    /// The attempts that are over and the one that runs.
    pub(super) fn attempts_with_running(&self, worker: Option<WorkerId>, started_ms: Option<i64>) -> Vec<AttemptNote> {
        let mut attempts = self.attempts_made.clone();
        let number = self.attempts + 1;
        remember(&mut attempts, AttemptNote { number, worker, started_ms, ended_ms: None, error: None });
        attempts
    }

    /// The attempts that are over, when the one that ran is, too.
    pub(super) fn attempts_ended(
        &self,
        worker: Option<WorkerId>,
        started_ms: Option<i64>,
        now_ms: i64,
        error: Option<&str>,
    ) -> Vec<AttemptNote> {
        let mut attempts = self.attempts_with_running(worker, started_ms);
        attempts.last_mut().into_iter().for_each(|last| last.end(now_ms, error));
        attempts
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let record = match self.apart {
            Some(_) => record_codec::encode_without_payload(&self.record),
            None => record_codec::encode(&self.record),
        };
        let wire = WireItem {
            record: &record,
            attempts: self.attempts,
            rescues: self.rescues,
            available_ms: self.available_ms,
            error: self.error.as_deref(),
            attempts_made: attempt_note::to_wire(&self.attempts_made),
            apart: self.apart,
        };
        // A vector takes every byte, and the structure has nothing that MessagePack cannot express.
        rmp_serde::to_vec(&wire).unwrap_or_default()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let wire: WireItem<'_> = rmp_serde::from_slice(bytes).map_err(|error| error.to_string())?;
        let record = record_codec::decode(wire.record)?;
        if wire.apart.is_some() && !record.payload.is_empty() {
            return Err("a job has a payload of which it says that it has a key of its own".to_owned());
        }
        Ok(Self {
            record: Arc::new(record),
            attempts: wire.attempts,
            rescues: wire.rescues,
            available_ms: wire.available_ms,
            error: wire.error.map(ToOwned::to_owned),
            attempts_made: attempt_note::from_wire(wire.attempts_made),
            apart: wire.apart,
        })
    }

    /// The item as it waits for its time: level, scheduled or retryable, in capitals when its payload has a key of its own,
    /// item.
    pub(super) fn encode_delayed(&self, state: JobState) -> Vec<u8> {
        let level = b'0' + u8::try_from(self.record.priority.level()).unwrap_or(1);
        let state = if state == JobState::Retryable { b'r' } else { b's' };
        let state = if self.apart.is_some() { state.to_ascii_uppercase() } else { state };
        let mut bytes = vec![level, state];
        bytes.extend(self.encode());
        bytes
    }

    pub(super) fn decode_delayed(bytes: &[u8]) -> Result<(JobState, Self), String> {
        match bytes {
            [_level, b'r' | b'R', item @ ..] => Ok((JobState::Retryable, Self::decode(item)?)),
            [_level, b's' | b'S', item @ ..] => Ok((JobState::Scheduled, Self::decode(item)?)),
            _ => Err("a delayed job begins with its level and its state".to_owned()),
        }
    }
}

/// Adds an item to a frame.
pub(super) fn append(frame: &mut Vec<u8>, item: &Item) {
    length_prefixed::put(frame, &item.encode());
}

/// The items of a frame.
pub(super) fn split(mut frame: &[u8]) -> Result<Vec<Item>, String> {
    let mut items = Vec::new();
    while let Some(item) = length_prefixed::take(&mut frame) {
        items.push(Item::decode(item.ok_or("a frame ends in the middle of a job")?)?);
    }
    if !frame.is_empty() || items.is_empty() {
        return Err(format!("{} bytes are left over in a frame of {} jobs", frame.len(), items.len()));
    }
    Ok(items)
}

/// Reads a frame and writes what it says.
pub(crate) fn rewrite(frame: &[u8]) -> Result<Vec<u8>, String> {
    let mut written = Vec::new();
    split(frame)?.iter().for_each(|item| append(&mut written, item));
    Ok(written)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{JobIdSource, JobKind, NewJob};

    fn item(payload: Vec<u8>, attempts: u32, error: Option<String>) -> Item {
        let note = |number| AttemptNote {
            number,
            worker: Some(WorkerId::new("w")),
            started_ms: Some(5),
            ended_ms: Some(7),
            error: error.clone(),
        };
        let attempts_made = (0..attempts % 4).map(note).collect();
        let clock = Arc::new(tidemark_model::ManualClock::new(1_764_000_000_000));
        let id = JobIdSource::new(clock, u64::from(attempts)).next_id();
        let record = NewJob::from_bytes(JobKind::Write, payload.into()).into_record(id, 5);
        Item { attempts, error, attempts_made, ..Item::new(record) }
    }

    proptest! {
        #[test]
        fn jobs_survive_their_frame(jobs in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..50), any::<u32>(), proptest::option::of(".{0,20}")), 1..70)) {
            let items: Vec<Item> = jobs.into_iter().map(|(payload, attempts, error)| item(payload, attempts, error)).collect();
            let mut frame = Vec::new();
            items.iter().for_each(|item| append(&mut frame, item));
            prop_assert_eq!(split(&frame), Ok(items));
        }

        #[test]
        fn no_bytes_make_the_frame_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _outcome = split(&bytes);
            let _outcome = Item::decode_delayed(&bytes);
        }
    }

    /// As layout 2 has it, in which all payloads are in their items.
    #[test]
    fn an_item_that_has_its_payload_is_written_as_in_the_layout_before() {
        let item = item(vec![7; 5_000], 0, None);
        let record = serde_bytes::ByteBuf::from(record_codec::encode(&item.record));
        let before = rmp_serde::to_vec(&(&record, 0_u32, 0_u32, 5_i64, None::<&str>, [0_u8; 0])).unwrap();
        assert_eq!(item.encode(), before);
        assert_eq!(Item::decode(&before), Ok(item));
    }

    #[test]
    fn an_item_whose_payload_has_a_key_of_its_own_has_its_length_alone() {
        let whole = Item { apart: Some(5_000), ..item(vec![7; 5_000], 2, None) };
        let bytes = whole.encode();
        assert!(bytes.len() < 300, "{}", bytes.len());
        let mut read = Item::decode(&bytes).unwrap();
        assert_eq!((read.payload_len(), read.data_bytes(), read.lacks_payload()), (5_000, 5_000, true));
        // It moves on without its payload, and with it.
        assert_eq!(read.encode(), bytes);
        read.set_payload(vec![7; 5_000].into());
        assert!(!read.lacks_payload());
        assert_eq!(read, whole);
        assert_eq!(read.encode(), bytes);
        for (state, begins) in [(JobState::Scheduled, b"1S"), (JobState::Retryable, b"1R")] {
            let delayed = whole.encode_delayed(state);
            assert!(delayed.starts_with(begins), "{delayed:?}");
            assert_eq!(
                Item::decode_delayed(&delayed).map(|(state, item)| (state, item.apart)),
                Ok((state, Some(5_000)))
            );
        }
        let record = serde_bytes::ByteBuf::from(record_codec::encode(&whole.record));
        let both = rmp_serde::to_vec(&(&record, 0_u32, 0_u32, 5_i64, None::<&str>, [0_u8; 0], 5_000_u32)).unwrap();
        assert!(Item::decode(&both).unwrap_err().contains("a key of its own"));
    }

    #[test]
    fn a_delayed_job_keeps_its_state() {
        let item = item(b"x".to_vec(), 3, None);
        let bytes = item.encode_delayed(JobState::Retryable);
        assert_eq!(Item::decode_delayed(&bytes), Ok((JobState::Retryable, item)));
    }
}
