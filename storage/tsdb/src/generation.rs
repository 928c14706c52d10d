//! Which of two blocks of one series and bucket is the newer.

use std::fmt;

/// Bits that count the merges.
const MERGE_BITS: u32 = 16;
const MERGES_MAX: u64 = (1 << MERGE_BITS) - 1;

/// The epoch whose seal wrote a block and how often it was merged since. Of two points at one timestamp that of the
/// greater generation wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Generation(pub(crate) u64);

impl Generation {
    /// What the seal of an epoch writes.
    pub(crate) fn of_epoch(epoch: u64) -> Self {
        Self(epoch << MERGE_BITS)
    }

    /// The newest epoch that is in it.
    pub(crate) const fn epoch(self) -> u64 {
        self.0 >> MERGE_BITS
    }

    /// What a merge writes of which this is the newest; older than the next epoch. `None` when it cannot be merged again.
    pub(crate) fn merged(self) -> Option<Self> {
        (self.0 & MERGES_MAX < MERGES_MAX).then_some(Self(self.0 + 1))
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.epoch(), self.0 & MERGES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merge_is_newer_than_what_it_merged_and_older_than_the_next_epoch() {
        let sealed = Generation::of_epoch(7);
        let merged = sealed.merged().unwrap();
        assert!(sealed < merged && merged < Generation::of_epoch(8));
        assert_eq!((merged.epoch(), merged.to_string()), (7, "7.1".to_owned()));
        assert_eq!(Generation(Generation::of_epoch(8).0 - 1).merged(), None);
    }
}
