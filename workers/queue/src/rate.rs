//! How many jobs in a time, and who may go next.
//!
//! The generic cell rate algorithm (ITU-T I.371): all there is to keep of a rate is the time at which the next job would be
//! due if they came evenly. A job may be early by as much as a burst.

use std::{fmt, num::NonZeroU32, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// So many jobs in a time, also as a burst. As text `JOBS/PERIOD`, such as `100/s`, `60/m` or `5/10s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rate {
    /// So many, also as a burst.
    pub jobs: NonZeroU32,
    /// In this time, from a millisecond to a day, and at most one job in a microsecond.
    pub period: Duration,
}

/// Longest time of a rate.
const PERIOD_MAX: Duration = Duration::from_secs(24 * 3_600);

/// A text is no rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no rate: a rate is jobs in a time of at most a day, such as `100/s`, `60/m`, `10/h` or `5/10s`, \
     and at most 1000 in a millisecond"
)]
pub struct RateError(String);

impl Rate {
    /// The rate, if there can be one.
    #[must_use]
    pub fn new(jobs: u32, period: Duration) -> Option<Self> {
        let jobs = NonZeroU32::new(jobs)?;
        let is_whole = period.subsec_nanos().is_multiple_of(1_000_000);
        let is_slow = u128::from(jobs.get()) <= period.as_micros();
        (is_whole && is_slow && period <= PERIOD_MAX).then_some(Self { jobs, period })
    }

    /// The time between two jobs.
    pub(crate) fn step(self) -> Duration {
        self.period / self.jobs.get()
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let jobs = self.jobs;
        match self.period.as_millis() {
            1_000 => write!(out, "{jobs}/s"),
            60_000 => write!(out, "{jobs}/m"),
            3_600_000 => write!(out, "{jobs}/h"),
            86_400_000 => write!(out, "{jobs}/d"),
            millis if millis % 1_000 == 0 => write!(out, "{jobs}/{}s", millis / 1_000),
            millis => write!(out, "{jobs}/{millis}ms"),
        }
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let parsed = || {
            let (jobs, period) = text.split_once('/')?;
            let unit_at = period.find(|character: char| !character.is_ascii_digit())?;
            let (count, unit) = period.split_at(unit_at);
            let count: u64 = if count.is_empty() { 1 } else { count.parse().ok()? };
            let unit_ms = match unit {
                "ms" => 1,
                "s" => 1_000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return None,
            };
            Self::new(jobs.trim().parse().ok()?, Duration::from_millis(count.checked_mul(unit_ms)?))
        };
        parsed().ok_or_else(|| RateError(text.chars().take(64).collect()))
    }
}

impl TryFrom<String> for Rate {
    type Error = RateError;

    fn try_from(text: String) -> Result<Self, RateError> {
        text.parse()
    }
}

impl From<Rate> for String {
    fn from(rate: Rate) -> Self {
        rate.to_string()
    }
}

/// When the next job of a rate would be due if they came evenly, by the monotonic clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Turn(Duration);

impl Turn {
    /// How long the next job has to wait; zero when it may go.
    pub(crate) fn wait(self, now: Duration, rate: Rate) -> Duration {
        (self.0.max(now) + rate.step()).saturating_sub(rate.period).saturating_sub(now)
    }

    /// Notes that a job goes.
    pub(crate) fn take(&mut self, now: Duration, rate: Rate) {
        self.0 = self.0.max(now) + rate.step();
    }

    /// Whether there is nothing to remember any more.
    pub(crate) fn is_over(self, now: Duration) -> bool {
        self.0 <= now
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(text: &str) -> Rate {
        text.parse().unwrap()
    }

    #[test]
    fn a_rate_is_read_and_shown() {
        for text in ["100/s", "60/m", "10/h", "1/d", "5/10s", "3/1500ms"] {
            assert_eq!(rate(text).to_string(), text);
        }
        assert_eq!(rate("7/60s").to_string(), "7/m");
        assert_eq!(rate("1000/ms").period, Duration::from_millis(1));
        for wrong in ["", "100", "/s", "0/s", "-1/s", "1/", "1/x", "1/0s", "1/2d", "1001/ms", "1/99999999999999999999s"]
        {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_burst_is_let_through_and_then_jobs_go_evenly() {
        let (rate, mut turn) = (rate("4/s"), Turn::default());
        let start = Duration::from_secs(100);
        for _ in 0..4 {
            assert_eq!(turn.wait(start, rate), Duration::ZERO);
            turn.take(start, rate);
        }
        assert_eq!(turn.wait(start, rate), Duration::from_millis(250));
        let later = start + Duration::from_millis(250);
        assert_eq!(turn.wait(later, rate), Duration::ZERO);
        turn.take(later, rate);
        assert_eq!(turn.wait(later, rate), Duration::from_millis(250));
        assert!(!turn.is_over(later) && turn.is_over(later + Duration::from_secs(1)));
    }

    proptest! {
        #[test]
        fn in_no_time_more_jobs_go_than_the_rate_and_one_burst(
            jobs in 1u32..20, period_ms in 1u64..5_000, gaps in proptest::collection::vec(0u64..400, 1..200),
        ) {
            let Some(rate) = Rate::new(jobs, Duration::from_millis(period_ms)) else { return Ok(()) };
            let (mut turn, mut now, mut went) = (Turn::default(), Duration::from_secs(9), 0u128);
            let start = now;
            for gap in gaps {
                now += Duration::from_millis(gap);
                if turn.wait(now, rate).is_zero() {
                    turn.take(now, rate);
                    went += 1;
                }
            }
            let even = (now - start).as_nanos() / rate.step().as_nanos().max(1);
            prop_assert!(went <= even + u128::from(jobs) + 1, "{went} of {even}");
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,40}") {
            let _outcome = text.parse::<Rate>();
        }
    }
}
