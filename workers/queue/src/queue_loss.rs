//! Jobs that a broker lost, and jobs that it has again although they had ended.

use serde::{Deserialize, Serialize};
use tidemark_model::TimestampMs;

use crate::{JobId, QueueName, job_journal::is_listed};

/// Version of the stored layout.
const VERSION: u8 = 1;

/// A queue of which the broker lost data: it was emptied, or went back to an earlier state.
///
/// A job is *lost* when its push was acknowledged, its end was not filed, and it is not in the broker any more; that
/// includes jobs that ran at that moment, whose workers cannot file their end. A job was *resurrected* when its end was
/// filed and it waits or runs again. A job whose end was sent and not answered is neither.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueLoss {
    /// The queue.
    pub queue: QueueName,
    /// What happened to it.
    pub kind: LossKind,
    /// Id of the data that came after.
    pub generation: String,
    /// When it was noticed.
    pub noticed_ms: TimestampMs,
    /// Jobs in the queue when it was last looked at before.
    pub jobs_before: u64,
    /// Jobs in it when the loss was noticed.
    pub jobs_after: u64,
    /// What was found; `None` while it is being looked for.
    pub found: Option<LossFound>,
}

/// What became of the jobs of a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossFound {
    /// Lost jobs, the oldest first, at most [`LossFound::LISTED_MAX`].
    pub lost: Vec<JobId>,
    /// How many were lost.
    pub lost_jobs: u64,
    /// Resurrected jobs, the oldest first, at most [`LossFound::LISTED_MAX`].
    pub resurrected: Vec<JobId>,
    /// How many were resurrected.
    pub resurrected_jobs: u64,
    /// Whether the jobs were only counted, as in queues of very many short jobs: then there are no lists, and the number of
    /// lost jobs is that of the last look before, at most ten seconds earlier, less those that are there.
    pub is_counted: bool,
    /// Whether the journal of jobs has gaps, so that the lists may be short.
    pub is_incomplete: bool,
}

impl LossFound {
    /// Most jobs that are named of either list.
    pub const LISTED_MAX: usize = 2_000;
}

/// What happened to a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossKind {
    /// All its data were gone.
    Emptied,
    /// It went on from an earlier state.
    WentBack,
}

impl LossKind {
    /// As a sentence about Redis ends.
    #[must_use]
    pub const fn told(self) -> &'static str {
        match self {
            Self::Emptied => "was emptied",
            Self::WentBack => "went back to an earlier state",
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Wire {
    queue: String,
    kind: LossKind,
    generation: String,
    noticed_ms: i64,
    jobs_before: u64,
    jobs_after: u64,
    found: Option<LossFound>,
}

impl QueueLoss {
    /// The same for everybody who notices it. Sorts by time.
    pub(crate) fn id(&self) -> String {
        format!("{}-{}", self.generation, self.queue)
    }

    /// Whether jobs of the queue are named.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        is_listed(&self.queue)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let wire = Wire {
            queue: self.queue.to_string(),
            kind: self.kind,
            generation: self.generation.clone(),
            noticed_ms: self.noticed_ms,
            jobs_before: self.jobs_before,
            jobs_after: self.jobs_after,
            found: self.found.clone(),
        };
        let mut bytes = vec![VERSION];
        // A vector takes every byte, and the structure has nothing that MessagePack cannot express.
        bytes.extend(rmp_serde::to_vec_named(&wire).unwrap_or_default());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let (version, rest) = bytes.split_first().ok_or("it is empty")?;
        if *version != VERSION {
            return Err(format!("it has layout {version}, this release reads {VERSION}"));
        }
        let wire: Wire = rmp_serde::from_slice(rest).map_err(|error| error.to_string())?;
        Ok(Self {
            queue: wire.queue.parse().map_err(|error| format!("{error}"))?,
            kind: wire.kind,
            generation: wire.generation,
            noticed_ms: wire.noticed_ms,
            jobs_before: wire.jobs_before,
            jobs_after: wire.jobs_after,
            found: wire.found,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_comes_back_as_it_was_and_fits_into_a_document() {
        let jobs: Vec<JobId> = (0..LossFound::LISTED_MAX).map(|_| JobId::from_bytes([0xff; 16])).collect();
        let found = LossFound {
            lost: jobs.clone(),
            lost_jobs: u64::MAX,
            resurrected: jobs,
            resurrected_jobs: 2_000,
            ..LossFound::default()
        };
        let loss = QueueLoss {
            queue: "notify".parse().unwrap(),
            kind: LossKind::WentBack,
            generation: "g".to_owned(),
            noticed_ms: 5,
            jobs_before: 7,
            jobs_after: 1,
            found: Some(found),
        };
        let bytes = loss.encode();
        assert!(bytes.len() < 90_000, "{}", bytes.len());
        assert_eq!(QueueLoss::decode(&bytes), Ok(loss));
        assert!(QueueLoss::decode(&[9]).is_err() && QueueLoss::decode(&[]).is_err());
    }
}
