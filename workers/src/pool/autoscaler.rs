//! Lets the number of attempts at one time follow the backlog: it doubles each second while all slots are taken and jobs wait,
//! and goes down by a quarter when half a minute did not need what there is.

/// Looks without need before the number goes down.
const QUIET_LOOKS: u32 = 30;

/// Decides for one queue; to be asked once a second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Autoscaler {
    min: usize,
    max: usize,
    /// Most slots taken at one time since the number last changed or was needed.
    peak: usize,
    quiet: u32,
}

/// What a look sees.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// Attempts that may run at one time.
    pub(super) limit: usize,
    /// Most that ran at one time since the last look.
    pub(super) peak: usize,
    /// Whether jobs wait for a slot.
    pub(super) jobs_wait: bool,
}

impl Autoscaler {
    pub(super) fn new(min: usize, max: usize) -> Self {
        Self { min, max, peak: 0, quiet: 0 }
    }

    /// How many attempts may run at one time from now on.
    pub(super) fn look(&mut self, load: Load) -> usize {
        let Load { limit, peak, jobs_wait } = load;
        if peak >= limit && jobs_wait {
            (self.peak, self.quiet) = (0, 0);
            return limit.saturating_mul(2).clamp(self.min, self.max);
        }
        self.peak = self.peak.max(peak);
        self.quiet += 1;
        if self.quiet < QUIET_LOOKS {
            return limit.clamp(self.min, self.max);
        }
        let fewer = (limit - limit.div_ceil(4)).max(self.peak).max(self.min);
        (self.peak, self.quiet) = (0, 0);
        fewer.min(limit).clamp(self.min, self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks so often at the same load; the number after each.
    fn looks(scaler: &mut Autoscaler, limit: &mut usize, count: usize, peak: usize, jobs_wait: bool) -> Vec<usize> {
        let look = |_| {
            *limit = scaler.look(Load { limit: *limit, peak: peak.min(*limit), jobs_wait });
            *limit
        };
        (0..count).map(look).collect()
    }

    #[test]
    fn the_number_goes_up_quickly_and_down_slowly_within_its_bounds() {
        let (mut scaler, mut limit) = (Autoscaler::new(2, 16), 2);
        assert_eq!(looks(&mut scaler, &mut limit, 4, 99, true), [4, 8, 16, 16]);
        // Busy, but nobody waits: it stays.
        assert_eq!(looks(&mut scaler, &mut limit, 90, 16, false), [16; 90]);
        let idle = looks(&mut scaler, &mut limit, 300, 1, false);
        assert_eq!((idle[28], idle[29], idle[59], idle[89]), (16, 12, 9, 6));
        assert_eq!(idle[299], 2);
        // No lower than what was needed lately.
        limit = 16;
        assert_eq!(looks(&mut scaler, &mut limit, 60, 14, false).last(), Some(&14));
    }

    #[test]
    fn a_number_out_of_bounds_comes_back() {
        let mut scaler = Autoscaler::new(2, 4);
        assert_eq!(scaler.look(Load { limit: 9, peak: 0, jobs_wait: false }), 4);
        assert_eq!(scaler.look(Load { limit: 1, peak: 0, jobs_wait: false }), 2);
    }
}
