//! A range, window by window.

use tidemark_model::TimeRange;

/// Milliseconds of a day.
const DAY_MS: i64 = 24 * 3_600_000;
/// Points of a window below which the next one is longer.
const POINTS_FEW: u64 = 1_000_000;

/// Windows of a range, the oldest first: the whole of what is left, then as long as what was in them allows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Windows {
    start: i64,
    end: i64,
    length: i64,
}

impl Windows {
    pub(super) fn of(range: TimeRange) -> Self {
        Self { start: range.start, end: range.end, length: range.end.saturating_sub(range.start) }
    }

    /// The window that is to be read; `None` after the last.
    pub(super) fn current(&self) -> Option<TimeRange> {
        (self.start < self.end).then(|| TimeRange::new(self.start, self.window_end()))
    }

    /// What is left, that window included.
    pub(super) fn rest(&self) -> TimeRange {
        TimeRange::new(self.start, self.end)
    }

    /// Goes on behind a window that had so many points.
    pub(super) fn advance(&mut self, points: u64) {
        self.start = self.window_end();
        if points < POINTS_FEW {
            self.length = self.length.saturating_mul(2);
        }
    }

    /// Whether a window of half the length would have less in it: blocks of a day count as a whole.
    pub(super) fn is_long(&self) -> bool {
        self.window_end() - self.start > DAY_MS
    }

    /// Makes the window half as long; `false` when it cannot be shorter.
    pub(super) fn halve(&mut self) -> bool {
        let length = self.window_end() - self.start;
        self.length = length / 2;
        length > 1
    }

    fn window_end(&self) -> i64 {
        self.start.saturating_add(self.length).min(self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_get_shorter_and_longer_and_leave_nothing_out() {
        let mut windows = Windows::of(TimeRange::new(0, 8 * DAY_MS));
        assert!(windows.is_long() && windows.halve() && windows.halve());
        assert_eq!(windows.current(), Some(TimeRange::new(0, 2 * DAY_MS)));
        windows.advance(POINTS_FEW);
        assert_eq!(windows.current(), Some(TimeRange::new(2 * DAY_MS, 4 * DAY_MS)));
        windows.advance(0);
        assert_eq!((windows.current(), windows.rest().start), (Some(windows.rest()), 4 * DAY_MS));
        windows.advance(0);
        assert_eq!(windows.current(), None);
        let mut short = Windows::of(TimeRange::new(5, 7));
        assert!(!short.is_long() && short.halve() && !short.halve());
    }
}
