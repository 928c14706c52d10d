//! Since when a host is silent: an agent may send every ten seconds or every five minutes.

use std::collections::{BTreeMap, HashMap};

use tidemark_model::TimestampMs;

use super::{
    Console,
    asking::{AskError, Window},
    hosts::hosts_filter,
};

/// Nobody who was heard of within this time is silent.
const SILENT_MIN_MS: i64 = 30_000;
/// Intervals that may pass without a point.
const INTERVALS: i64 = 3;
/// How far back points are looked at to tell a host's interval. Whoever was silent for longer is silent.
const LOOKED_BACK_MS: i64 = 20 * 60_000;
/// The metric whose points tell it.
const METRIC: &str = "os.cpu";

/// How long hosts usually wait between two points.
#[derive(Debug, Default)]
pub(super) struct Silence(HashMap<String, i64>);

impl Silence {
    /// Whether a host that has said nothing for so long says nothing any more.
    pub(super) fn is_silent(&self, host: &str, silent_ms: i64) -> bool {
        let usual_ms = self.0.get(host).copied().unwrap_or_default();
        silent_ms > SILENT_MIN_MS.max(INTERVALS * usual_ms)
    }
}

impl Console {
    /// The intervals of those hosts that may be silent; costs nothing while all speak.
    pub(super) async fn silence(
        &self,
        seen: &BTreeMap<String, TimestampMs>,
        now_ms: TimestampMs,
    ) -> Result<Silence, AskError> {
        let in_doubt = |last_ms: TimestampMs| (SILENT_MIN_MS..LOOKED_BACK_MS).contains(&(now_ms - last_ms));
        let hosts: Vec<&str> =
            seen.iter().filter(|&(_, &last_ms)| in_doubt(last_ms)).map(|(host, _)| host.as_str()).collect();
        if hosts.is_empty() {
            return Ok(Silence::default());
        }
        let window = Window { start_ms: now_ms - LOOKED_BACK_MS, end_ms: now_ms };
        let groups = self.asker.groups(&format!("sum:{METRIC}{{host={}}}", hosts_filter(&hosts)), window).await?;
        let intervals = groups.into_iter().filter_map(|group| {
            let host = group.tags.into_iter().find(|(key, _)| key == "host")?.1;
            Some((host, usual_gap_ms(&group.timestamps)?))
        });
        Ok(Silence(intervals.collect()))
    }
}

/// The median of the time between two points; nothing of fewer than three points.
fn usual_gap_ms(timestamps: &[TimestampMs]) -> Option<i64> {
    let mut gaps: Vec<i64> =
        timestamps.iter().zip(timestamps.iter().skip(1)).map(|(earlier, later)| later - earlier).collect();
    if gaps.len() < 2 {
        return None;
    }
    gaps.sort_unstable();
    gaps.get(gaps.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_silent_after_three_of_its_own_intervals() {
        let silence = Silence([("slow".to_owned(), 60_000)].into());
        assert!(!silence.is_silent("slow", 180_000));
        assert!(silence.is_silent("slow", 180_001));
        assert!(!silence.is_silent("unheard", 30_000));
        assert!(silence.is_silent("unheard", 30_001));
    }

    #[test]
    fn one_hole_does_not_make_the_interval_longer() {
        assert_eq!(usual_gap_ms(&[0, 60_000, 120_000, 600_000, 660_000]), Some(60_000));
        assert_eq!(usual_gap_ms(&[0, 60_000]), None);
    }
}
