//! The identity of a job.

use std::{
    fmt,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::{Deserialize, Serialize};
use tidemark_model::Clock;
use uuid::Uuid;

/// Identifies a job for ever: a UUID of version 7, so that ids sort by the time at which the jobs were made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(Uuid);

impl JobId {
    /// The id with these 16 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The 16 bytes of the id, in the order of its text.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// When the job was made, in milliseconds since the Unix epoch, by the clock of who made it.
    #[must_use]
    pub fn made_ms(&self) -> tidemark_model::TimestampMs {
        self.as_bytes().iter().take(6).fold(0_i64, |millis, byte| millis << 8 | i64::from(*byte))
    }

    /// The id in 16 bytes; `None` when there are more or less.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        Uuid::from_slice(bytes).ok().map(Self)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(out)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(out)
    }
}

impl FromStr for JobId {
    type Err = JobIdError;

    fn from_str(text: &str) -> Result<Self, JobIdError> {
        Uuid::try_parse(text).map(Self).map_err(|_| JobIdError(text.chars().take(64).collect()))
    }
}

/// A text is no job id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no job id: an id is a UUID such as 01939b5e-8e4f-7000-8000-000000000000")]
pub struct JobIdError(String);

/// Makes job ids: the time from a clock, the rest from a seeded generator, so that a test can replay a run.
pub struct JobIdSource {
    clock: Arc<dyn Clock>,
    state: AtomicU64,
}

impl JobIdSource {
    /// Ids by this clock. Sources with different seeds make different ids.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, seed: u64) -> Self {
        Self { clock, state: AtomicU64::new(seed) }
    }

    /// A source whose ids differ from those of every other process.
    #[must_use]
    pub fn random(clock: Arc<dyn Clock>) -> Self {
        Self::new(clock, random_seed())
    }

    /// The next id.
    pub fn next_id(&self) -> JobId {
        let mut random = [0; 10];
        let (high, low) = (self.next_random(), self.next_random());
        let bytes = high.to_le_bytes().into_iter().chain(low.to_le_bytes());
        random.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
        let millis = u64::try_from(self.clock.now_ms()).unwrap_or(0);
        JobId(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }

    /// A number that looks random: Steele, Lea and Flood's SplitMix64, one addition and a mix.
    pub fn next_random(&self) -> u64 {
        const GOLDEN_GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut mixed = self.state.fetch_add(GOLDEN_GAMMA, Ordering::Relaxed).wrapping_add(GOLDEN_GAMMA);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

impl fmt::Debug for JobIdSource {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("JobIdSource").finish_non_exhaustive()
    }
}

/// A seed from the operating system's entropy, as the standard library takes it for its hash maps.
pub(crate) fn random_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, time::Duration};

    use tidemark_model::ManualClock;

    use super::*;

    #[test]
    fn ids_sort_by_time_and_do_not_repeat() {
        let clock = Arc::new(ManualClock::new(1_000));
        let ids = JobIdSource::new(clock.clone(), 7);
        let first: HashSet<JobId> = (0..10_000).map(|_| ids.next_id()).collect();
        assert_eq!(first.len(), 10_000);
        clock.advance(Duration::from_millis(1));
        let later = ids.next_id();
        assert!(first.iter().all(|id| *id < later));
    }

    #[test]
    fn an_id_survives_its_text_and_its_bytes() {
        let id = JobIdSource::new(Arc::new(ManualClock::new(1_764_076_000_000)), 1).next_id();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(JobId::from_slice(id.as_bytes()), Some(id));
        assert_eq!(JobId::from_slice(b"short"), None);
        assert!("nonsense".parse::<JobId>().is_err());
    }
}
