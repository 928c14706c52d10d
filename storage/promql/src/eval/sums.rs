//! Sums that lose no small values among large ones (Kahan's method, as Neumaier improved it), and means that do not outgrow
//! a double where their values do not.

/// A sum under way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    total: f64,
    lost: f64,
}

impl Sum {
    pub(super) fn add(&mut self, value: f64) {
        let total = self.total + value;
        if total.is_infinite() {
            self.lost = 0.0;
        } else if self.total.abs() >= value.abs() {
            self.lost += (self.total - total) + value;
        } else {
            self.lost += (value - total) + self.total;
        }
        self.total = total;
    }

    pub(super) fn value(self) -> f64 {
        if self.total.is_infinite() { self.total } else { self.total + self.lost }
    }
}

/// A mean under way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mean {
    sum: Sum,
    /// The mean itself, once the sum has outgrown a double.
    mean: Option<f64>,
    count: f64,
}

impl Mean {
    pub(super) fn add(&mut self, value: f64) {
        self.count += 1.0;
        if self.mean.is_none() {
            let mut sum = self.sum;
            sum.add(value);
            let outgrown = sum.total.is_infinite() && self.sum.total.is_finite() && value.is_finite();
            if !outgrown {
                self.sum = sum;
                return;
            }
            self.mean = Some(self.sum.value() / (self.count - 1.0));
        }
        let mean = self.mean.unwrap_or_default();
        // Infinite means stay what they are: the difference of two would be NaN.
        if mean.is_infinite() && (value.is_finite() || value == mean) {
            return;
        }
        self.mean = Some(mean + (value / self.count - mean / self.count));
    }

    pub(super) fn value(self) -> f64 {
        self.mean.unwrap_or_else(|| self.sum.value() / self.count)
    }
}

/// A variance under way (Welford's method), of a whole population.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Variance {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Variance {
    pub(super) fn add(&mut self, value: f64) {
        self.count += 1.0;
        let delta = value - self.mean;
        self.mean += delta / self.count;
        self.squares += delta * (value - self.mean);
    }

    pub(super) fn value(self) -> f64 {
        self.squares / self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(values: &[f64]) -> f64 {
        let mut mean = Mean::default();
        values.iter().for_each(|&value| mean.add(value));
        mean.value()
    }

    #[test]
    fn small_values_are_not_lost_among_large_ones() {
        let mut sum = Sum::default();
        [1.0, 1e100, 1.0, -1e100].into_iter().for_each(|value| sum.add(value));
        assert_eq!(sum.value(), 2.0);
        let mut sum = Sum::default();
        [f64::INFINITY, 1.0].into_iter().for_each(|value| sum.add(value));
        assert_eq!(sum.value(), f64::INFINITY);
        sum.add(f64::NEG_INFINITY);
        assert!(sum.value().is_nan());
    }

    #[test]
    fn means_do_not_outgrow_their_values() {
        assert_eq!(mean(&[1.0, 2.0, 6.0]), 3.0);
        assert!((mean(&[f64::MAX, f64::MAX, f64::MAX]) - f64::MAX).abs() <= f64::MAX * 1e-15);
        assert_eq!(mean(&[f64::INFINITY, 1.0]), f64::INFINITY);
        assert!(mean(&[f64::INFINITY, f64::NEG_INFINITY]).is_nan());
    }

    #[test]
    fn variances_are_of_the_whole_population() {
        let mut variance = Variance::default();
        [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0].into_iter().for_each(|value| variance.add(value));
        assert_eq!(variance.value(), 4.0);
    }
}
