//! When a job whose worker was lost comes back.

use std::time::Duration;

use crate::{JobId, record_codec::millis};

/// At once after the first loss. Then at some moment within a lease: jobs that were lost together do not come back together,
/// so that one which takes its workers down does not take the same others down again and again, until they are counted as
/// poison with it.
pub(crate) fn rescue_delay(job: JobId, rescues: u32, lease: Duration) -> Duration {
    if rescues < 2 {
        return Duration::ZERO;
    }
    // The last eight bytes of an id are random; one multiplication makes them differ from loss to loss.
    let random = job.as_bytes().iter().skip(8).fold(u64::from(rescues), |mixed, byte| mixed << 8 ^ u64::from(*byte));
    let mixed = random.wrapping_add(u64::from(rescues)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 32;
    let lease_ms = millis(lease).max(1);
    Duration::from_millis(mixed % lease_ms)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidemark_model::ManualClock;

    use super::*;
    use crate::JobIdSource;

    #[test]
    fn jobs_that_were_lost_together_come_back_apart() {
        let ids = JobIdSource::new(Arc::new(ManualClock::new(5)), 1);
        let lease = Duration::from_secs(30);
        let delays = |rescues| (0..100).map(|_| rescue_delay(ids.next_id(), rescues, lease)).collect::<Vec<_>>();
        assert!(delays(1).iter().all(Duration::is_zero));
        let second = delays(2);
        assert!(second.iter().all(|delay| *delay < lease));
        let early = second.iter().filter(|delay| **delay < lease / 2).count();
        assert!((30..70).contains(&early), "{early}");
        let id = ids.next_id();
        assert_ne!(rescue_delay(id, 2, lease), rescue_delay(id, 3, lease));
    }
}
