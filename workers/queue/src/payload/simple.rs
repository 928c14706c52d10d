//! Payloads that are a few plain fields.

use serde::{Deserialize, Serialize};

use super::Payload;
use crate::JobKind;

/// Turn what the log holds into blocks, and tidy blocks up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollupPayload {
    /// What to do.
    pub step: RollupStep,
}

/// What a `rollup` job does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RollupStep {
    /// Seal the open epoch of every shard, or go on with a seal that was broken off.
    Seal,
    /// The same for one shard, so that a store of many shards seals them one after the other over the whole period.
    SealShard(u16),
    /// Compact every day that is over, whether or not points still come in for it, and take away what is too old.
    Compact,
    /// Seal what is in memory, then compact the days of a range and make their rollups again.
    Range(RollupRange),
}

/// Whose rollups to make again, and of when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollupRange {
    /// Every day that has a moment of it.
    pub window: TimeWindow,
    /// Name of the metric; `None` for all.
    pub metric: Option<String>,
}

/// A range of time as somebody wrote it: `1d-ago`, `2026/11/25-09:00`, `1767225600`. What is relative counts from the
/// moment at which the job was enqueued, so that each job of a schedule has a window of its own, and every attempt at a job
/// the same one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeWindow {
    /// Its first moment; `None` for the first of all.
    pub from: Option<String>,
    /// The first moment after it; `None` for the end of all time.
    pub to: Option<String>,
}

/// Poll a remote target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectPayload {
    /// Value of the tag `target`.
    pub target: String,
    /// What to fetch.
    pub url: String,
    /// How long the answer may take, in milliseconds.
    pub timeout_ms: u64,
}

/// Evaluate a rule and move its incidents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvaluatePayload {
    /// Name of the rule.
    pub rule: String,
}

/// Deliver one notification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotifyPayload {
    /// The notification as the alert part encodes it, with a version of its own.
    #[serde(with = "serde_bytes")]
    pub notification: Vec<u8>,
}

impl Payload for RollupPayload {
    const KIND: JobKind = JobKind::Rollup;
    const VERSION: u16 = 1;
}

impl Payload for CollectPayload {
    const KIND: JobKind = JobKind::Collect;
    const VERSION: u16 = 1;

    fn rate_key(&self) -> Option<String> {
        Some(self.target.clone())
    }
}

impl Payload for EvaluatePayload {
    const KIND: JobKind = JobKind::Evaluate;
    const VERSION: u16 = 1;
}

impl Payload for NotifyPayload {
    const KIND: JobKind = JobKind::Notify;
    const VERSION: u16 = 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_survive_their_bytes() {
        let window = TimeWindow { from: Some("1d-ago".into()), to: None };
        let range = RollupStep::Range(RollupRange { window, metric: Some("os.cpu".into()) });
        for step in [RollupStep::Seal, RollupStep::SealShard(63), RollupStep::Compact, range] {
            let rollup = RollupPayload { step };
            assert_eq!(RollupPayload::decode(&rollup.encode().unwrap()).unwrap(), rollup);
        }
        let collect = CollectPayload { target: "shop".into(), url: "http://shop/".into(), timeout_ms: 10_000 };
        assert_eq!(CollectPayload::decode(&collect.encode().unwrap()).unwrap(), collect);
        let evaluate = EvaluatePayload { rule: "disk.full".into() };
        assert_eq!(EvaluatePayload::decode(&evaluate.encode().unwrap()).unwrap(), evaluate);
        let notify = NotifyPayload { notification: vec![1, 0, 255] };
        assert_eq!(NotifyPayload::decode(&notify.encode().unwrap()).unwrap(), notify);
    }
}
