//! The moments at which an expression is evaluated.

/// Moments from `start` on, `step` milliseconds apart, until `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    start: i64,
    end: i64,
    step: i64,
    count: usize,
}

impl Steps {
    /// A single moment.
    #[must_use]
    pub fn one(time: i64) -> Self {
        Self { start: time, end: time, step: 1, count: 1 }
    }

    /// Moments from `start` to `end`, both in milliseconds since the epoch; none when `end` is before `start` or the step is
    /// not positive.
    #[must_use]
    pub fn new(start: i64, end: i64, step: i64) -> Self {
        let count = match end.checked_sub(start) {
            Some(length) if length >= 0 && step > 0 => usize::try_from(length / step).unwrap_or(usize::MAX - 1) + 1,
            _ => 0,
        };
        Self { start, end, step: step.max(1), count }
    }

    /// How many.
    #[must_use]
    pub fn count(self) -> usize {
        self.count
    }

    /// The first.
    #[must_use]
    pub fn start(self) -> i64 {
        self.start
    }

    /// When they end, at or after the last.
    #[must_use]
    pub fn end(self) -> i64 {
        self.end
    }

    /// The last; the first when there is none.
    #[must_use]
    pub fn last(self) -> i64 {
        let steps = i64::try_from(self.count.saturating_sub(1)).unwrap_or(i64::MAX);
        self.start.saturating_add(self.step.saturating_mul(steps))
    }

    /// All of them.
    pub fn times(self) -> impl ExactSizeIterator<Item = i64> + Clone {
        let Self { start, step, count, .. } = self;
        (0..count).map(move |index| start + step * index as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_step_is_not_after_the_end() {
        let check = |start, end, step, expect: &[i64]| {
            let steps = Steps::new(start, end, step);
            assert_eq!(steps.times().collect::<Vec<_>>(), expect);
            assert_eq!(steps.last(), expect.last().copied().unwrap_or(start));
        };
        check(0, 10, 5, &[0, 5, 10]);
        check(0, 9, 5, &[0, 5]);
        check(3, 3, 5, &[3]);
        check(3, 2, 5, &[]);
        check(0, 5, 0, &[]);
        check(i64::MIN, i64::MAX, 1, &[]);
        assert_eq!(Steps::one(7).times().collect::<Vec<_>>(), [7]);
    }
}
