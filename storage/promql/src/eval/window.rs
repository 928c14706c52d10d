//! Points in a range before each step.

use super::selectors::Points;

/// The points of one range.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window<'p> {
    /// When, oldest first; there is one at least.
    pub(super) timestamps: &'p [i64],
    /// As many values.
    pub(super) values: &'p [f64],
    /// Positions in `values` of those that are smaller than the one before.
    pub(super) resets: Resets<'p>,
    /// The range has the points after `start` and until `end`.
    pub(super) start: i64,
    pub(super) end: i64,
    /// The step.
    pub(super) step: i64,
}

/// Where a counter began anew, by the position of the point in the whole series.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Resets<'p> {
    positions: &'p [usize],
    /// The position of the first point of the window.
    first: usize,
}

impl Resets<'_> {
    /// Positions in the window.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        self.positions.iter().map(|position| position - self.first)
    }

    pub(super) fn len(&self) -> usize {
        self.positions.len()
    }
}

/// Positions of values that are smaller than the one before.
pub(super) fn resets(values: &[f64]) -> Vec<usize> {
    let pairs = values.iter().zip(values.iter().skip(1)).enumerate();
    pairs.filter(|(_, (before, value))| value < before).map(|(position, _)| position + 1).collect()
}

/// Slides over the points of a series.
#[derive(Debug)]
pub(super) struct Windows<'p> {
    points: Points<'p>,
    resets: &'p [usize],
    from: usize,
    to: usize,
}

impl<'p> Windows<'p> {
    pub(super) fn new(points: Points<'p>, resets: &'p [usize]) -> Self {
        Self { points, resets, from: 0, to: 0 }
    }

    /// The points after `start` and until `end`, neither of which may be before those of the window before; `None` when
    /// there are none.
    pub(super) fn next(&mut self, start: i64, end: i64, step: i64) -> Option<Window<'p>> {
        let after = |from: usize, moment: i64| {
            let rest = self.points.timestamps.get(from..).unwrap_or_default();
            from + rest.iter().take_while(|timestamp| **timestamp <= moment).count()
        };
        let (from, to) = (after(self.from, start), after(self.to.max(self.from), end));
        (self.from, self.to) = (from, to);
        let timestamps = self.points.timestamps.get(from..to).filter(|timestamps| !timestamps.is_empty())?;
        let values = self.points.values.get(from..to)?;
        // The first point of a window is no reset, whatever was before it.
        let first_reset = self.resets.partition_point(|&position| position <= from);
        let after_last = self.resets.partition_point(|&position| position < to);
        let positions = self.resets.get(first_reset..after_last).unwrap_or_default();
        Some(Window { timestamps, values, resets: Resets { positions, first: from }, start, end, step })
    }
}
