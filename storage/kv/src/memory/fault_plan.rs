//! What goes wrong, how often, and from which seed.

use std::time::Duration;

/// How often a [`super::MemoryKv`] misbehaves: chances in a thousand, drawn from a seed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultPlan {
    /// Where the draws start; the same seed and the same calls fail in the same places.
    pub seed: u64,
    /// Commits that end as [`crate::CommitOutcome::Unknown`]; half of them, drawn again, really were committed.
    pub unknown_per_mille: u32,
    /// Commits that are refused as if a key had changed.
    pub conflict_per_mille: u32,
    /// Reads that find their snapshot too old.
    pub too_old_per_mille: u32,
    /// Commits that are refused for a full disk.
    pub full_per_mille: u32,
    /// Commits that are refused as if they were too large.
    pub too_large_per_mille: u32,
    /// Commits that take [`FaultPlan::slow`] before they begin.
    pub slow_per_mille: u32,
    /// How long a slow commit waits.
    pub slow: Duration,
}

/// What becomes of one commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CommitFault {
    None,
    /// The outcome is reported as unknown.
    Unknown {
        /// Whether it is committed all the same.
        committed: bool,
    },
    Conflict,
    Full,
    TooLarge,
}

/// Draws from a [`FaultPlan`].
#[derive(Debug)]
pub(super) struct FaultDice {
    plan: FaultPlan,
    state: u64,
}

impl FaultDice {
    pub(super) fn new(plan: FaultPlan) -> Self {
        Self { plan, state: plan.seed }
    }

    pub(super) fn commit_fault(&mut self) -> CommitFault {
        if self.draw(self.plan.unknown_per_mille) {
            CommitFault::Unknown { committed: self.draw(500) }
        } else if self.draw(self.plan.conflict_per_mille) {
            CommitFault::Conflict
        } else if self.draw(self.plan.full_per_mille) {
            CommitFault::Full
        } else if self.draw(self.plan.too_large_per_mille) {
            CommitFault::TooLarge
        } else {
            CommitFault::None
        }
    }

    pub(super) fn delay(&mut self) -> Option<Duration> {
        self.draw(self.plan.slow_per_mille).then_some(self.plan.slow)
    }

    pub(super) fn snapshot_is_too_old(&mut self) -> bool {
        self.draw(self.plan.too_old_per_mille)
    }

    /// True in `per_mille` of a thousand draws. A chance of zero draws nothing, so that adding a fault to a plan does
    /// not move the others.
    fn draw(&mut self, per_mille: u32) -> bool {
        per_mille > 0 && self.next() % 1000 < u64::from(per_mille)
    }

    /// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(seed: u64) -> Vec<CommitFault> {
        let plan = FaultPlan { seed, unknown_per_mille: 100, conflict_per_mille: 50, ..FaultPlan::default() };
        let mut dice = FaultDice::new(plan);
        (0..2000).map(|_| dice.commit_fault()).collect()
    }

    #[test]
    fn the_same_seed_fails_in_the_same_places_and_another_elsewhere() {
        assert_eq!(faults(7), faults(7));
        assert_ne!(faults(7), faults(8));
    }

    #[test]
    fn faults_come_about_as_often_as_planned_and_half_of_the_unknown_are_committed() {
        let drawn = faults(1);
        let count = |wanted: CommitFault| drawn.iter().filter(|&&fault| fault == wanted).count();
        assert!((70..130).contains(&count(CommitFault::Unknown { committed: true })));
        assert!((70..130).contains(&count(CommitFault::Unknown { committed: false })));
        assert!((60..130).contains(&count(CommitFault::Conflict)));
        assert_eq!(count(CommitFault::Full), 0);
    }
}
