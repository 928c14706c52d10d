//! How many series may be created a minute.
//!
//! A bucket that holds what a minute allows and fills evenly: a window that starts anew each minute would let twice as
//! many through around its edge.

use std::time::Duration;

/// What one series takes out of the bucket: with this, whole milliseconds fill it by whole numbers.
const COST: u64 = 60_000;

/// Counts new series against a limit a minute.
#[derive(Debug)]
pub(crate) struct CreationRate {
    /// Series a minute; 0 for any number.
    per_minute: u64,
    credit: u64,
    at: Duration,
}

impl CreationRate {
    /// A full bucket.
    pub(crate) fn new(per_minute: usize, monotonic: Duration) -> Self {
        let per_minute = per_minute as u64;
        Self { per_minute, credit: per_minute.saturating_mul(COST), at: monotonic }
    }

    /// How many series may be created now.
    pub(crate) fn available(&mut self, monotonic: Duration) -> usize {
        if self.per_minute == 0 {
            return usize::MAX;
        }
        let elapsed = monotonic.saturating_sub(self.at).as_millis();
        let filled = u64::try_from(elapsed).unwrap_or(u64::MAX).saturating_mul(self.per_minute);
        self.credit = self.credit.saturating_add(filled).min(self.per_minute.saturating_mul(COST));
        self.at += Duration::from_millis(u64::try_from(elapsed).unwrap_or(u64::MAX));
        usize::try_from(self.credit / COST).unwrap_or(usize::MAX)
    }

    /// Series were created.
    pub(crate) fn take(&mut self, series: usize) {
        self.credit = self.credit.saturating_sub((series as u64).saturating_mul(COST));
    }

    /// The limit.
    pub(crate) fn per_minute(&self) -> u64 {
        self.per_minute
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_minute_allows_comes_back_evenly() {
        let mut rate = CreationRate::new(120, Duration::ZERO);
        assert_eq!(rate.available(Duration::ZERO), 120);
        rate.take(120);
        assert_eq!(rate.available(Duration::ZERO), 0);
        assert_eq!(rate.available(Duration::from_millis(499)), 0);
        assert_eq!(rate.available(Duration::from_millis(500)), 1);
        assert_eq!(rate.available(Duration::from_secs(30)), 60);
        rate.take(60);
        assert_eq!(rate.available(Duration::from_secs(3_600)), 120);
    }

    #[test]
    fn zero_is_no_limit() {
        let mut rate = CreationRate::new(0, Duration::ZERO);
        rate.take(usize::MAX);
        assert_eq!(rate.available(Duration::ZERO), usize::MAX);
    }
}
