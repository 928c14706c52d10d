//! How many a second, lately.

use std::time::Duration;

const SECONDS: usize = 64;
/// Full seconds that a rate looks back.
const WINDOW: u64 = 60;

/// Counts by second, for the last minute.
#[derive(Clone, Debug)]
pub(crate) struct RateWindow {
    counts: [(u64, u64); SECONDS],
}

impl Default for RateWindow {
    fn default() -> Self {
        Self { counts: [(0, 0); SECONDS] }
    }
}

impl RateWindow {
    pub(crate) fn add(&mut self, now: Duration, count: u64) {
        let second = now.as_secs();
        let place = usize::try_from(second % SECONDS as u64).unwrap_or(0);
        if let Some((at, counted)) = self.counts.get_mut(place) {
            if *at != second {
                (*at, *counted) = (second, 0);
            }
            *counted += count;
        }
    }

    pub(crate) fn per_second(&self, now: Duration) -> f64 {
        let newest = now.as_secs();
        let recent = self.counts.iter().filter(|(at, _)| *at < newest && *at + WINDOW >= newest);
        recent.map(|(_, counted)| *counted).sum::<u64>() as f64 / WINDOW as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_of_the_last_minute_of_full_seconds() {
        let mut window = RateWindow::default();
        for second in 1..=90 {
            window.add(Duration::from_secs(second), 5);
        }
        assert_eq!(window.per_second(Duration::from_secs(91)), 5.0);
        assert_eq!(window.per_second(Duration::from_secs(121)), 2.5);
        assert_eq!(window.per_second(Duration::from_secs(300)), 0.0);
    }
}
