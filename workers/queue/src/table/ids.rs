//! Which number the job of an id has, without a table of all jobs.
//!
//! Hardly anybody asks for a job by its id, but every job is entered and left out once, and in a hash table of a million
//! ids each of these is a miss of the processor's caches. Ids begin with their time, so the jobs of a moment are kept
//! together: one is entered at the end of a short list, and leaves by being counted off. A list is tidied up when more
//! than half of it are gone, and dropped with the last of its jobs.

use foldhash::{HashMap, HashMapExt};

use crate::JobId;

/// A moment is this many bits of milliseconds long: 16 ms.
const MOMENT_BITS: u32 = 4;
/// Places of jobs that are gone which are not worth tidying up.
const GONE_ALLOWED: usize = 32;

/// Last half of an id, and the number of the job.
type Place = (u64, u64);

#[derive(Default)]
struct Moment {
    live: usize,
    places: Vec<Place>,
}

pub(super) struct Ids {
    moments: HashMap<u64, Moment>,
}

/// The moment and the last half of an id.
fn halves(id: JobId) -> (u64, u64) {
    let bits = u128::from_be_bytes(*id.as_bytes());
    let millis = u64::try_from(bits >> 80).unwrap_or(0);
    (millis >> MOMENT_BITS, (bits & u128::from(u64::MAX)) as u64)
}

impl Ids {
    pub(super) fn new() -> Self {
        Self { moments: HashMap::new() }
    }

    /// Enters a job.
    pub(super) fn insert(&mut self, id: JobId, sequence: u64) {
        let (moment, tail) = halves(id);
        let moment = self.moments.entry(moment).or_default();
        moment.live += 1;
        moment.places.push((tail, sequence));
    }

    /// Leaves out a job that was entered. `is_there` says whether the job of a number is.
    pub(super) fn remove(&mut self, id: JobId, is_there: impl Fn(u64) -> bool) {
        let (number, _) = halves(id);
        let Some(moment) = self.moments.get_mut(&number) else { return };
        moment.live = moment.live.saturating_sub(1);
        if moment.live == 0 {
            self.moments.remove(&number);
        } else if moment.places.len() > 2 * moment.live + GONE_ALLOWED {
            // A job that left and came back has two places.
            moment.places.sort_unstable_by_key(|(_, sequence)| *sequence);
            moment.places.dedup();
            moment.places.retain(|(_, sequence)| is_there(*sequence));
            moment.places.shrink_to_fit();
        }
    }

    /// The numbers that the job of this id may have; those of jobs that are gone among them.
    pub(super) fn candidates(&self, id: JobId) -> impl Iterator<Item = u64> + '_ {
        let (moment, tail) = halves(id);
        let places = self.moments.get(&moment).map(|moment| moment.places.as_slice()).unwrap_or_default();
        places.iter().filter(move |place| place.0 == tail).map(|place| place.1)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.moments.values().map(|moment| moment.places.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn id(millis: u64, tail: u64) -> JobId {
        JobId::from_bytes(((u128::from(millis) << 80) | u128::from(tail)).to_be_bytes())
    }

    proptest! {
        #[test]
        fn every_job_that_is_there_is_found_and_no_other(steps in proptest::collection::vec((any::<bool>(), 0..60_u64), 0..2_000)) {
            let mut ids = Ids::new();
            let mut there: BTreeMap<u64, JobId> = BTreeMap::new();
            for (enters, sequence) in steps {
                let job = id(sequence / 7, sequence);
                if enters && !there.contains_key(&sequence) {
                    ids.insert(job, sequence);
                    there.insert(sequence, job);
                } else if there.remove(&sequence).is_some() {
                    ids.remove(job, |sequence| there.contains_key(&sequence));
                }
            }
            for sequence in 0..60 {
                let found = ids.candidates(id(sequence / 7, sequence)).find(|found| there.contains_key(found));
                prop_assert_eq!(found, there.contains_key(&sequence).then_some(sequence));
            }
            // Two places for each job and the allowance of each of the moments.
            prop_assert!(ids.len() <= 2 * there.len() + 2 * GONE_ALLOWED, "{} places of {} jobs", ids.len(), there.len());
        }
    }

    #[test]
    fn a_job_that_outlives_a_flood_keeps_a_short_list() {
        let mut ids = Ids::new();
        (0..10_000).for_each(|sequence| ids.insert(id(1, sequence), sequence));
        (1..10_000).for_each(|sequence| ids.remove(id(1, sequence), |other| other == 0 || other > sequence));
        assert_eq!(ids.candidates(id(1, 0)).collect::<Vec<_>>(), [0]);
        assert!(ids.len() <= GONE_ALLOWED + 3, "{}", ids.len());
        ids.remove(id(1, 0), |_| false);
        assert_eq!(ids.moments.len(), 0);
    }
}
