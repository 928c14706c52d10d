//! Levels.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// A level that is set. Nothing is reported before it is set for the first time, or set to something that is no finite
/// number. Cheap to clone; clones share their level.
#[derive(Clone, Debug)]
pub struct Gauge(Arc<AtomicU64>);

impl Default for Gauge {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(f64::NAN.to_bits())))
    }
}

impl Gauge {
    /// Sets the level.
    pub fn set(&self, level: f64) {
        self.0.store(level.to_bits(), Ordering::Relaxed);
    }

    /// The level, if it was set to a finite number.
    #[must_use]
    pub fn level(&self) -> Option<f64> {
        Some(f64::from_bits(self.0.load(Ordering::Relaxed))).filter(|level| level.is_finite())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_that_was_not_set_has_no_level() {
        let gauge = Gauge::default();
        assert_eq!(gauge.level(), None);
        gauge.clone().set(2.5);
        assert_eq!(gauge.level(), Some(2.5));
        gauge.set(f64::INFINITY);
        assert_eq!(gauge.level(), None);
    }
}
