//! Means over the last so many points, or over the last so much time.
//!
//! The mean of a window that is not complete is 0, as in OpenTSDB. NaN does not count. Sums are kept by the method of two
//! stacks: nothing is ever subtracted, so that a large value leaves nothing behind in the means after it.

use tidemark_model::TimestampMs;

/// How far back a mean looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Window {
    /// So many points that are numbers, at least 1.
    Points(usize),
    /// Less than so many milliseconds, at least 1; complete once there is a point as far back as that.
    Time(i64),
}

/// The mean for each point.
pub(super) fn moving_average(timestamps: &[TimestampMs], values: &[f64], window: Window) -> Vec<f64> {
    match window {
        Window::Points(count) => over_points(values, count),
        Window::Time(span_ms) => over_time(timestamps, values, span_ms),
    }
}

fn over_points(values: &[f64], count: usize) -> Vec<f64> {
    let mut sums = SlidingSum::default();
    let mean = |&value: &f64| {
        if !value.is_nan() {
            if sums.len() == count {
                sums.drop_oldest();
            }
            sums.push(value);
        }
        if sums.len() == count { sums.sum() / count as f64 } else { 0.0 }
    };
    values.iter().map(mean).collect()
}

fn over_time(timestamps: &[TimestampMs], values: &[f64], span_ms: i64) -> Vec<f64> {
    let mut sums = SlidingSum::default();
    let mut oldest = timestamps.iter().zip(values).peekable();
    let mut is_complete = false;
    let mut mean = |(&now, &value): (&TimestampMs, &f64)| {
        let has_left = |then: TimestampMs| now.saturating_sub(then) >= span_ms;
        while let Some((_, left)) = oldest.next_if(|(then, _)| has_left(**then)) {
            is_complete = true;
            if !left.is_nan() {
                sums.drop_oldest();
            }
        }
        if !value.is_nan() {
            sums.push(value);
        }
        if is_complete && sums.len() > 0 { sums.sum() / sums.len() as f64 } else { 0.0 }
    };
    timestamps.iter().zip(values).map(&mut mean).collect()
}

/// The sum of a queue of numbers.
#[derive(Default)]
struct SlidingSum {
    /// The older numbers, the oldest at the end, each with the sum of it and of all that are younger among these.
    older: Vec<(f64, f64)>,
    /// The younger numbers, oldest first.
    younger: Vec<f64>,
    younger_sum: f64,
}

impl SlidingSum {
    fn len(&self) -> usize {
        self.older.len() + self.younger.len()
    }

    fn sum(&self) -> f64 {
        self.younger_sum + self.older.last().map_or(0.0, |(_, sum)| *sum)
    }

    fn push(&mut self, number: f64) {
        self.younger.push(number);
        self.younger_sum += number;
    }

    fn drop_oldest(&mut self) {
        if self.older.is_empty() {
            let mut sum = 0.0;
            for number in self.younger.drain(..).rev() {
                sum += number;
                self.older.push((number, sum));
            }
            self.younger_sum = 0.0;
        }
        self.older.pop();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAN: f64 = f64::NAN;

    #[test]
    fn a_window_of_points_is_complete_when_it_is_full() {
        let check = |values: &[f64], count, expect: &[f64]| {
            assert_eq!(moving_average(&[], values, Window::Points(count)), expect);
        };
        check(&[1.0, 2.0, 3.0, 4.0, 5.0], 3, &[0.0, 0.0, 2.0, 3.0, 4.0]);
        check(&[1.0, 2.0], 1, &[1.0, 2.0]);
        check(&[1.0, 2.0], 3, &[0.0, 0.0]);
        check(&[1.0, NAN, 3.0, NAN, 5.0], 2, &[0.0, 0.0, 2.0, 2.0, 4.0]);
        check(&[1e300, 1.0, 2.0], 2, &[0.0, 5e299, 1.5]);
        check(&[f64::INFINITY, 1.0, 2.0], 2, &[0.0, f64::INFINITY, 1.5]);
    }

    #[test]
    fn a_window_of_time_is_complete_when_a_point_lies_before_it() {
        let check = |timestamps: &[i64], values: &[f64], expect: &[f64]| {
            assert_eq!(moving_average(timestamps, values, Window::Time(120)), expect);
        };
        check(&[0, 60, 120, 180], &[1.0, 2.0, 3.0, 4.0], &[0.0, 0.0, 2.5, 3.5]);
        check(&[0, 60, 500], &[1.0, 2.0, 3.0], &[0.0, 0.0, 3.0]);
        check(&[0, 60, 120, 180], &[NAN, 2.0, NAN, NAN], &[0.0, 0.0, 2.0, 0.0]);
    }

    proptest! {
        #[test]
        fn the_mean_is_that_of_the_values_in_the_window(
            steps in prop::collection::vec((1..50_i64, prop_oneof![4 => (-1000..1000_i32).prop_map(f64::from), 1 => Just(NAN)]), 0..60),
            count in 1..12_usize,
            span in 1..200_i64,
        ) {
            let mut now = 0;
            let timestamps: Vec<i64> = steps.iter().map(|(step, _)| { now += step; now }).collect();
            let values: Vec<f64> = steps.iter().map(|(_, value)| *value).collect();
            let by_points = moving_average(&timestamps, &values, Window::Points(count));
            let by_time = moving_average(&timestamps, &values, Window::Time(span));
            for index in 0..values.len() {
                let numbers: Vec<f64> = values[..=index].iter().copied().filter(|value| !value.is_nan()).collect();
                let last = &numbers[numbers.len().saturating_sub(count)..];
                let expect = if last.len() == count { last.iter().sum::<f64>() / count as f64 } else { 0.0 };
                prop_assert_eq!(by_points[index], expect);
                let since = timestamps[index] - span;
                let inside: Vec<f64> = (0..=index).filter(|&other| timestamps[other] > since).map(|other| values[other]).filter(|value| !value.is_nan()).collect();
                let is_complete = timestamps[0] <= since && !inside.is_empty();
                let expect = if is_complete { inside.iter().sum::<f64>() / inside.len() as f64 } else { 0.0 };
                prop_assert_eq!(by_time[index], expect);
            }
        }
    }
}
