//! How long a job waits between two attempts.

use std::time::Duration;

/// Doubles from `base` with each failed attempt, up to `cap`; then a random part of the upper half is taken, so that
/// jobs which failed together do not come back together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Longest delay after the first failure.
    pub base: Duration,
    /// Longest delay ever.
    pub cap: Duration,
}

impl Backoff {
    /// The delay after failed attempt number `attempt` (the first is 1): between half and all of
    /// `min(cap, base * 2^(attempt - 1))`, chosen by `random`.
    #[must_use]
    pub fn delay(&self, attempt: u32, random: u64) -> Duration {
        let doublings = attempt.saturating_sub(1).min(32);
        let full = u64::try_from(self.base.as_millis()).unwrap_or(u64::MAX).saturating_mul(1 << doublings);
        let full = full.min(u64::try_from(self.cap.as_millis()).unwrap_or(u64::MAX));
        let half = full / 2;
        let jitter = u128::from(full - half) * u128::from(random >> 32) / u128::from(u32::MAX);
        Duration::from_millis(half + u64::try_from(jitter).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_delay_doubles_up_to_its_cap() {
        let backoff = Backoff { base: Duration::from_millis(100), cap: Duration::from_secs(1) };
        let longest = |attempt| backoff.delay(attempt, u64::MAX).as_millis();
        assert_eq!([1, 2, 3, 4, 5, 99].map(longest), [100, 200, 400, 800, 1000, 1000]);
        assert_eq!(backoff.delay(1, 0).as_millis(), 50);
    }

    proptest! {
        #[test]
        fn a_delay_is_in_the_upper_half_of_its_bound(attempt: u32, random: u64, base in 0u64..100_000, cap in 0u64..10_000_000) {
            let backoff = Backoff { base: Duration::from_millis(base), cap: Duration::from_millis(cap) };
            let bound = backoff.delay(attempt, u64::MAX);
            let delay = backoff.delay(attempt, random);
            prop_assert!(delay <= bound && delay >= (bound / 2).saturating_sub(Duration::from_millis(1)));
            prop_assert!(bound <= backoff.cap);
        }
    }
}
