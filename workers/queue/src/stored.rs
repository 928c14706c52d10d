//! What brokers store, read and written again: for tools that look for bytes which a reader cannot take.

use crate::{
    QueueLoss, attempt_note, finished_codec,
    job_journal::reread_page,
    job_note, record_codec,
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
}

impl Stored {
    /// Everything.
    pub const ALL: [Self; 12] = [
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
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record_codec::tests::record;

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
}
