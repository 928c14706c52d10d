//! How long to wait after failures.

use std::time::Duration;

/// Doubling delays between `first` and `longest`, each shortened by up to a half at random, so that agents which lost
/// their server together do not come back together.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
    random: u64,
}

impl Backoff {
    pub(crate) fn new(first: Duration, longest: Duration, seed: u64) -> Self {
        Self { first, longest, failures: 0, random: seed }
    }

    /// How long to wait after one more failure.
    pub(crate) fn after_failure(&mut self) -> Duration {
        let doubled = self.first.saturating_mul(1 << self.failures.min(20)).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        doubled.mul_f64(0.5 + self.fraction() / 2.0)
    }

    pub(crate) fn after_success(&mut self) {
        self.failures = 0;
    }

    /// Evenly spread in `0..1` (SplitMix64, Steele et al. 2014).
    fn fraction(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.random ^ self.random >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ mixed >> 31) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest_and_begin_anew_after_success() {
        let (first, longest) = (Duration::from_secs(1), Duration::from_secs(60));
        let mut backoff = Backoff::new(first, longest, 7);
        for expect in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
            let delay = backoff.after_failure();
            let full = Duration::from_secs(expect);
            assert!(full / 2 <= delay && delay <= full, "{delay:?} of {full:?}");
        }
        backoff.after_success();
        assert!(backoff.after_failure() <= first);
    }

    #[test]
    fn agents_with_other_seeds_wait_for_other_times() {
        let delay = |seed| Backoff::new(Duration::from_secs(60), Duration::from_secs(60), seed).after_failure();
        assert_ne!(delay(1), delay(2));
        assert_eq!(delay(1), delay(1));
    }
}
