//! No more points than the picture can show.

/// Reduces a series to what `pixels` columns between `start_ms` and `end_ms` can show: the lowest and the highest value
/// of each column, in order of time, so that spikes stay, and both ends of every run. `None` and values that are not finite are gaps; a gap ends a
/// run, and runs are returned apart. Timestamps must ascend; those outside the range are left out.
///
/// Returns runs of (timestamp, value). No run is empty, and there are at most 2 points for each column and 4 for each run.
#[must_use]
pub fn reduce_to_pixels(
    times_ms: &[i64],
    values: &[Option<f64>],
    start_ms: i64,
    end_ms: i64,
    pixels: u32,
) -> Vec<Vec<(i64, f64)>> {
    let columns = Columns { start_ms, end_ms, pixels: pixels.max(1) };
    let mut runs = Vec::new();
    let mut run = Run::default();
    for (&time_ms, value) in times_ms.iter().zip(values) {
        let Some(column) = columns.of(time_ms) else { continue };
        match value.filter(|value| value.is_finite()) {
            Some(value) => run.push(column, (time_ms, value)),
            None => runs.extend(run.finish()),
        }
    }
    runs.extend(run.finish());
    runs
}

struct Columns {
    start_ms: i64,
    end_ms: i64,
    pixels: u32,
}

impl Columns {
    fn of(&self, time_ms: i64) -> Option<u64> {
        if time_ms < self.start_ms || time_ms > self.end_ms {
            return None;
        }
        let offset = u128::from(time_ms.abs_diff(self.start_ms));
        let width = u128::from(self.end_ms.abs_diff(self.start_ms)) + 1;
        u64::try_from(offset * u128::from(self.pixels) / width).ok()
    }
}

type Sample = (i64, f64);

/// Points without a gap between them, the last column still open.
#[derive(Default)]
struct Run {
    points: Vec<Sample>,
    open: Option<Column>,
    last: Option<Sample>,
}

struct Column {
    number: u64,
    lowest: Sample,
    highest: Sample,
}

impl Run {
    fn push(&mut self, number: u64, sample: Sample) {
        if self.last.is_none() {
            self.points.push(sample);
        }
        self.last = Some(sample);
        match &mut self.open {
            Some(column) if column.number == number => column.widen(sample),
            _ => {
                self.close_column();
                self.open = Some(Column { number, lowest: sample, highest: sample });
            }
        }
    }

    fn close_column(&mut self) {
        let Some(Column { lowest, highest, .. }) = self.open.take() else { return };
        let (first, second) = if lowest.0 <= highest.0 { (lowest, highest) } else { (highest, lowest) };
        self.keep(first);
        self.keep(second);
    }

    /// Adds a point unless it is the one that was added last.
    fn keep(&mut self, sample: Sample) {
        if self.points.last() != Some(&sample) {
            self.points.push(sample);
        }
    }

    fn finish(&mut self) -> Option<Vec<Sample>> {
        self.close_column();
        if let Some(last) = self.last.take() {
            self.keep(last);
        }
        let points = std::mem::take(&mut self.points);
        (!points.is_empty()).then_some(points)
    }
}

impl Column {
    fn widen(&mut self, sample: Sample) {
        if sample.1 < self.lowest.1 {
            self.lowest = sample;
        }
        if sample.1 > self.highest.1 {
            self.highest = sample;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_spike_between_many_points_stays() {
        let times: Vec<i64> = (0..1000).collect();
        let values: Vec<_> = (0..1000).map(|at| Some(if at == 503 { 99.0 } else { 1.0 })).collect();
        let runs = reduce_to_pixels(&times, &values, 0, 1000, 10);
        assert!(runs.concat().contains(&(503, 99.0)));
        assert!(runs.concat().len() <= 24);
    }

    #[test]
    fn a_gap_parts_two_runs_even_inside_one_column() {
        let runs = reduce_to_pixels(&[0, 1, 2], &[Some(1.0), None, Some(2.0)], 0, 100, 1);
        assert_eq!(runs, vec![vec![(0, 1.0)], vec![(2, 2.0)]]);
    }

    #[test]
    fn points_outside_the_range_are_left_out() {
        assert_eq!(reduce_to_pixels(&[-5, 5, 15], &[Some(1.0); 3], 0, 10, 100), vec![vec![(5, 1.0)]]);
    }

    #[test]
    fn the_widest_range_does_not_overflow() {
        let times = [i64::MIN, 0, i64::MAX];
        assert_eq!(reduce_to_pixels(&times, &[Some(1.0); 3], i64::MIN, i64::MAX, u32::MAX).concat().len(), 3);
    }

    proptest! {
        #[test]
        fn reduction_keeps_extremes_order_and_gaps(
            steps in prop::collection::vec((1i64..50, prop::option::weighted(0.9, -1e6f64..1e6)), 1..300),
            pixels in 1u32..60,
        ) {
            let mut now = 0;
            let times: Vec<i64> = steps.iter().map(|(step, _)| { now += step; now }).collect();
            let values: Vec<Option<f64>> = steps.iter().map(|(_, value)| *value).collect();
            let runs = reduce_to_pixels(&times, &values, 0, now, pixels);
            let flat = runs.concat();
            let given: Vec<(i64, f64)> = times.iter().zip(&values).filter_map(|(&t, v)| v.map(|v| (t, v))).collect();

            // Only points that were given, in their order.
            prop_assert!(flat.iter().all(|point| given.contains(point)));
            prop_assert!(flat.windows(2).all(|pair| pair[0].0 < pair[1].0));
            // The lowest and the highest stay.
            let lowest = |points: &[(i64, f64)]| points.iter().map(|p| p.1).fold(f64::INFINITY, f64::min);
            let highest = |points: &[(i64, f64)]| points.iter().map(|p| p.1).fold(f64::NEG_INFINITY, f64::max);
            prop_assert_eq!(lowest(&flat), lowest(&given));
            prop_assert_eq!(highest(&flat), highest(&given));
            // Gaps stay: one run for each stretch of values.
            let stretches = values.split(Option::is_none).filter(|stretch| !stretch.is_empty()).count();
            prop_assert_eq!(runs.len(), stretches);
            // Both ends of each run stay.
            let ends = |run: &[(i64, f64)]| (run[0], run[run.len() - 1]);
            let given_runs = times.iter().copied().zip(values).collect::<Vec<_>>();
            let given_runs = given_runs.split(|(_, value)| value.is_none()).filter(|run| !run.is_empty());
            for (run, given) in runs.iter().zip(given_runs) {
                let given: Vec<_> = given.iter().map(|(time, value)| (*time, value.unwrap())).collect();
                prop_assert_eq!(ends(run), ends(&given));
            }
            // Small enough.
            prop_assert!(flat.len() <= 2 * pixels as usize + 4 * stretches);
        }
    }
}
