//! Percentiles over values, by the three estimations that OpenTSDB offers.
//!
//! `pNN` is the estimation that Apache Commons Math calls LEGACY; are Hyndman and Fan's types 3 and 7
//! ("Sample Quantiles in Statistical Packages", 1996). OpenTSDB ignores the type for doubles; we honour it.

/// Which value below which so many per mille of the values lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Percentile {
    /// The rank: 990 for the 99th percentile.
    pub per_mille: u16,
    /// How to estimate between two values.
    pub estimation: Estimation,
}

/// How a percentile is estimated between two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Estimation {
    /// Position `p (n + 1)`.
    Legacy,
    /// The nearest position to `p n`, the even one of two; never between values.
    R3,
    /// Position `1 + p (n - 1)`.
    R7,
}

impl Percentile {
    /// The percentile of values sorted in ascending order; `None` without values.
    #[must_use]
    pub fn of_sorted(self, sorted: &[f64]) -> Option<f64> {
        let (&smallest, &largest) = (sorted.first()?, sorted.last()?);
        let count = sorted.len() as f64;
        let rank = f64::from(self.per_mille);
        // Multiplied before divided, so that whole positions come out whole.
        let position = match self.estimation {
            Estimation::Legacy => rank * (count + 1.0) / 1000.0,
            Estimation::R3 => (rank * count / 1000.0).round_ties_even(),
            Estimation::R7 => 1.0 + rank * (count - 1.0) / 1000.0,
        };
        if position < 1.0 {
            return Some(smallest);
        }
        let below = position.floor();
        // The position is counted from 1 and lies below `count` when the pair exists.
        let index = below as usize;
        match (sorted.get(index.saturating_sub(1)), sorted.get(index)) {
            (Some(&lower), Some(&upper)) => Some(lower + (position - below) * (upper - lower)),
            _ => Some(largest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimations_differ_as_their_definitions_do() {
        let values: Vec<f64> = (1..=10).map(f64::from).collect();
        let check = |per_mille, estimation, expect: f64| {
            let found = Percentile { per_mille, estimation }.of_sorted(&values).unwrap();
            assert!((found - expect).abs() < 1e-12, "{per_mille} {estimation:?}: {found} instead of {expect}");
        };
        check(500, Estimation::Legacy, 5.5);
        check(750, Estimation::Legacy, 8.25);
        check(990, Estimation::Legacy, 10.0);
        check(500, Estimation::R3, 5.0);
        check(750, Estimation::R3, 8.0);
        check(999, Estimation::R3, 10.0);
        check(500, Estimation::R7, 5.5);
        check(900, Estimation::R7, 9.1);
    }

    #[test]
    fn one_value_is_every_percentile() {
        for estimation in [Estimation::Legacy, Estimation::R3, Estimation::R7] {
            assert_eq!(Percentile { per_mille: 500, estimation }.of_sorted(&[7.0]), Some(7.0));
            assert_eq!(Percentile { per_mille: 500, estimation }.of_sorted(&[]), None);
        }
    }
}
