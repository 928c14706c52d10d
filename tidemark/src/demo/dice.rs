//! Chance that can be replayed.

/// A stream of numbers that a seed determines: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014, figure 16).
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    /// The stream of one host: neighbouring seeds and hosts have nothing in common.
    pub(super) fn new(seed: u64, host: u64) -> Self {
        let mut dice = Self(seed);
        let seed = dice.throw();
        Self(seed ^ host.wrapping_mul(0xD6E8_FEB8_6659_FD93))
    }

    fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to 1, 1 excluded, all alike.
    pub(super) fn share(&mut self) -> f64 {
        (self.throw() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number around 0 with variance 1, never beyond 3.5: four even numbers of 16 bits are nearly a bell curve.
    pub(super) fn deviation(&mut self) -> f64 {
        let throw = self.throw();
        let sum: u64 = [0, 16, 32, 48].iter().map(|shift| throw >> shift & 0xFFFF).sum();
        (sum as f64 / 65_535.0 - 2.0) * 3.0_f64.sqrt()
    }

    /// A factor around 1 that is off by `spread` on average.
    pub(super) fn factor(&mut self, spread: f64) -> f64 {
        (1.0 + spread * self.deviation()).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deviations_have_mean_0_and_variance_1() {
        let mut dice = Dice::new(7, 3);
        let deviations: Vec<f64> = (0..100_000).map(|_| dice.deviation()).collect();
        let mean = deviations.iter().sum::<f64>() / 100_000.0;
        let variance = deviations.iter().map(|deviation| deviation * deviation).sum::<f64>() / 100_000.0;
        assert!(mean.abs() < 0.02, "{mean}");
        assert!((variance - 1.0).abs() < 0.02, "{variance}");
    }

    #[test]
    fn a_seed_determines_the_stream_and_hosts_differ() {
        let stream = |seed, host| {
            let mut dice = Dice::new(seed, host);
            [dice.share(), dice.share(), dice.share()]
        };
        assert_eq!(stream(1, 2), stream(1, 2));
        assert_ne!(stream(1, 2), stream(1, 3));
        assert_ne!(stream(1, 2), stream(2, 2));
        assert!(stream(1, 2).iter().all(|share| (0.0..1.0).contains(share)));
    }
}
