//! What brokers store, read and written again: for tools that look for bytes which a reader cannot take.

use crate::{
    JobKind, QueueLoss, attempt_note, finished_codec,
    job_journal::{reread_page, reread_seen},
    job_note, payload, record_codec,
    redis::reread_frame,
    workflow::{
        decode_definition, decode_event, decode_finished, decode_inputs, encode_definition, encode_event,
        encode_finished, encode_inputs,
    },
};

/// What is stored as bytes; `docs/embedded-layout.md` and `docs/redis-layout.md` say how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// A job as its producer made it.
    JobRecord,
    /// A job that has ended.
    FinishedJob,
    /// Jobs that travel together through Redis.
    Frame,
    /// What is remembered of the attempts at a job.
    Attempts,
    /// How far a job is.
    Progress,
    /// What a handler said.
    LogLine,
    /// What the nodes before a node hand on.
    Inputs,
    /// A workflow.
    Workflow,
    /// What happened to a workflow.
    WorkflowEvent,
    /// A workflow that has ended.
    FinishedWorkflow,
    /// A page of the journal of jobs.
    JournalPage,
    /// A loss of jobs.
    QueueLoss,
    /// What was seen last of the queues of a broker.
    SeenGenerations,
    /// What a job carries, behind a byte that is the place of its kind in [`JobKind::ALL`].
    Payload,
}

impl Stored {
    /// Everything.
    pub const ALL: [Self; 14] = [
        Self::JobRecord,
        Self::FinishedJob,
        Self::Frame,
        Self::Attempts,
        Self::Progress,
        Self::LogLine,
        Self::Inputs,
        Self::Workflow,
        Self::WorkflowEvent,
        Self::FinishedWorkflow,
        Self::JournalPage,
        Self::QueueLoss,
        Self::SeenGenerations,
        Self::Payload,
    ];

    /// Reads bytes and writes what they say; what was written by this release comes out as it went in.
    ///
    /// # Errors
    /// Says what is wrong with them.
    pub fn rewrite(self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let damaged = || "damaged".to_owned();
        match self {
            Self::JobRecord => record_codec::decode(bytes).map(|record| record_codec::encode(&record)),
            Self::FinishedJob => finished_codec::decode(bytes).map(|finished| finished_codec::encode(&finished)),
            Self::Frame => reread_frame(bytes),
            Self::Attempts => attempt_note::decode(bytes).map(|attempts| attempt_note::encode(&attempts)),
            Self::Progress => job_note::decode_progress(bytes)
                .map(|progress| job_note::encode_progress(&progress))
                .ok_or_else(damaged),
            Self::LogLine => job_note::decode_line(bytes).map(|line| job_note::encode_line(&line)).ok_or_else(damaged),
            Self::Inputs => decode_inputs(bytes).map(|inputs| encode_inputs(&inputs).to_vec()),
            Self::Workflow => decode_definition(bytes).map(|definition| encode_definition(&definition)),
            Self::WorkflowEvent => decode_event(bytes).map(|event| encode_event(&event)),
            Self::FinishedWorkflow => decode_finished(bytes).map(|finished| encode_finished(&finished)),
            Self::JournalPage => reread_page(bytes),
            Self::QueueLoss => QueueLoss::decode(bytes).map(|loss| loss.encode()),
            Self::SeenGenerations => reread_seen(bytes),
            Self::Payload => rewrite_payload(bytes),
        }
    }
}

fn rewrite_payload(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let (place, payload) = bytes.split_first().ok_or("it is empty")?;
    let kind = JobKind::ALL.get(usize::from(*place)).ok_or_else(|| format!("there is no kind {place}"))?;
    let written = payload::rewrite(*kind, payload).map_err(|error| error.to_string())?;
    Ok([&[*place][..], &written].concat())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        BacktestPayload, ExportPayload, ImportPayload, Payload as _, RollupPayload, RollupRange, RollupStep,
        TimeWindow, WritePayload, record_codec::tests::record,
    };

    proptest! {
        #[test]
        fn what_was_written_comes_out_as_it_went_in(record in record()) {
            let bytes = record_codec::encode(&record);
            prop_assert_eq!(Stored::JobRecord.rewrite(&bytes), Ok(bytes));
        }

        #[test]
        fn what_can_be_read_is_written_the_same_way_ever_after(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            for stored in Stored::ALL {
                if let Ok(written) = stored.rewrite(&bytes) {
                    prop_assert_eq!(stored.rewrite(&written), Ok(written));
                }
            }
        }
    }

    /// Seeds of the fuzz target `stored_jobs`, which mutations would hardly find: their names and what is in them. The first
    /// byte is the place in [`Stored::ALL`].
    fn seeds() -> Vec<(&'static str, Stored, Vec<u8>)> {
        use proptest::{strategy::ValueTree, test_runner::TestRunner};
        use serde_bytes::ByteBuf;

        let record = record().new_tree(&mut TestRunner::deterministic()).unwrap().current();
        let record = ByteBuf::from(record_codec::encode(&record));
        let none: Vec<u8> = Vec::new();
        let item = rmp_serde::to_vec(&(&record, 1_u32, 2_u32, 5_i64, Some("lost"), &none)).unwrap();
        let frame_of = |item: Vec<u8>| [&u32::try_from(item.len()).unwrap().to_le_bytes()[..], &item].concat();
        let frame = frame_of(item);
        let bare = crate::JobRecord { payload: bytes::Bytes::new(), ..record_codec::decode(&record).unwrap() };
        let bare = ByteBuf::from(record_codec::encode(&bare));
        let apart = rmp_serde::to_vec(&(&bare, 1_u32, 2_u32, 5_i64, Some("lost"), &none, 5_000_u32)).unwrap();
        let (times, result) = ((Some(1_i64), Some(2_i64)), Some(ByteBuf::from(vec![7])));
        let finished = rmp_serde::to_vec(&(
            (2_u8, "completed", 1_u32, 0_u32, times.0, times.1, Some("w"), None::<&str>, 3_u64, result, &record),
            (&none, None::<u8>, &none),
        ));
        // Arrays of 11 and 3 elements in an array become one of 14.
        let finished = finished.unwrap();
        let split = finished.len() - 4;
        let finished = [&[0x9e][..], &finished[2..split], &finished[split + 1..]].concat();
        let job = crate::JobId::from_bytes([3; 16]);
        let page = [&[1, 1, 6][..], b"notify", job.as_bytes(), &[2, 6], b"notify", job.as_bytes()].concat();
        let found = crate::LossFound { lost: vec![job], lost_jobs: 1, ..crate::LossFound::default() };
        let loss = QueueLoss {
            queue: "notify".parse().unwrap(),
            kind: crate::LossKind::WentBack,
            generation: job.to_string(),
            noticed_ms: 1,
            jobs_before: 2,
            jobs_after: 3,
            found: Some(found),
        };
        let window = || TimeWindow { from: Some("1d-ago".to_owned()), to: None };
        let import = ImportPayload { file: "cpu.csv.gz".to_owned(), format: Some("csv".to_owned()) };
        let export =
            ExportPayload { series: vec!["os.cpu{host=*}".to_owned()], window: window(), format: "json".to_owned() };
        let backtest = BacktestPayload {
            rule: Some("disk.full".to_owned()),
            text: None,
            window: window(),
            every_ms: Some(60_000),
        };
        let range = RollupRange { window: window(), metric: Some("os.cpu".to_owned()) };
        let rollup = RollupPayload { step: RollupStep::Range(range) };
        let mut batch = tidemark_model::PointBatchBuilder::default();
        batch.push("os.cpu", &mut [("host", "a")], 1_000, tidemark_model::Value::Int(7)).unwrap();
        batch.push("os.cpu", &mut [("host", "b")], 2_000, tidemark_model::Value::Float(1.5)).unwrap();
        let write = WritePayload::from_batch(&batch.finish());
        let payload = |kind: JobKind, payload: Result<Vec<u8>, _>| {
            let place = JobKind::ALL.iter().position(|one| *one == kind).unwrap();
            [&[u8::try_from(place).unwrap()][..], &payload.unwrap()].concat()
        };
        vec![
            ("payload_import", Stored::Payload, payload(JobKind::Import, import.encode())),
            ("payload_export", Stored::Payload, payload(JobKind::Export, export.encode())),
            ("payload_backtest", Stored::Payload, payload(JobKind::Backtest, backtest.encode())),
            ("payload_rollup", Stored::Payload, payload(JobKind::Rollup, rollup.encode())),
            ("payload_write", Stored::Payload, payload(JobKind::Write, write.encode())),
            ("job_record", Stored::JobRecord, record.to_vec()),
            ("frame", Stored::Frame, frame),
            ("frame_apart", Stored::Frame, frame_of(apart)),
            ("finished_job", Stored::FinishedJob, finished),
            ("journal_page", Stored::JournalPage, page),
            ("queue_loss", Stored::QueueLoss, loss.encode()),
            ("seen_generations", Stored::SeenGenerations, b"\x01\x81\xa6notify\x93\xa1x\x07\x03".to_vec()),
        ]
    }

    fn seed_folder() -> std::path::PathBuf {
        [env!("CARGO_MANIFEST_DIR"), "..", "..", "tests", "fuzz", "seeds", "stored_jobs"].iter().collect()
    }

    #[test]
    #[ignore = "writes the seeds of the fuzz target"]
    fn write_the_seeds() {
        std::fs::create_dir_all(seed_folder()).unwrap();
        for (name, stored, bytes) in seeds() {
            let place = Stored::ALL.iter().position(|one| *one == stored).unwrap();
            let seed = [&[u8::try_from(place).unwrap()][..], &bytes].concat();
            std::fs::write(seed_folder().join(name), seed).unwrap();
        }
    }

    #[test]
    fn every_seed_of_the_fuzz_target_can_be_read() {
        for (name, stored, bytes) in seeds() {
            assert!(stored.rewrite(&bytes).is_ok(), "{name}: {:?}", stored.rewrite(&bytes));
            let seed = std::fs::read(seed_folder().join(name)).unwrap();
            assert!(Stored::ALL[usize::from(seed[0])].rewrite(&seed[1..]).is_ok(), "{name}");
        }
    }
}
