//! Totals.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

/// A total that only grows. Cheap to clone; clones count together.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicI64>);

impl Counter {
    /// Counts `more`. A total beyond 2^63 stays there.
    pub fn add(&self, more: u32) {
        let more = i64::from(more);
        if self.0.fetch_add(more, Ordering::Relaxed).checked_add(more).is_none() {
            self.0.store(i64::MAX, Ordering::Relaxed);
        }
    }

    /// The total since the start of the process.
    #[must_use]
    pub fn total(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_count_together() {
        let counter = Counter::default();
        counter.clone().add(3);
        counter.add(4);
        assert_eq!(counter.total(), 7);
    }

    #[test]
    fn a_total_never_turns_negative() {
        let counter = Counter(Arc::new(AtomicI64::new(i64::MAX - 1)));
        counter.add(5);
        assert_eq!(counter.total(), i64::MAX);
    }
}
