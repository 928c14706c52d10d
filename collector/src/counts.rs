//! What became of the points: nothing is lost without being counted here.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use tidemark_model::TimestampMs;

/// Counts since the agent was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AgentCounts {
    /// Points that collectors gathered.
    pub gathered: u64,
    /// Points that the sink acknowledged.
    pub sent: u64,
    /// Points that were written to the spool because the sink did not take them.
    pub spooled: u64,
    /// Points that the sink refused for good.
    pub refused: u64,
    /// Points that were dropped, oldest first, because the backlog or the spool was full, or when the agent ended.
    pub dropped: u64,
    /// Frames of the spool that were damaged on disk and could not be read back.
    pub spool_frames_damaged: u64,
    /// Failed attempts to hand points to the sink.
    pub send_errors: u64,
    /// Failed attempts to send metadata.
    pub metadata_errors: u64,
    /// Points that wait in memory.
    pub backlog_points: u64,
    /// Bytes of the spool's files.
    pub spool_bytes: u64,
    /// When the sink last acknowledged points; `None` before the first time.
    pub last_success: Option<TimestampMs>,
}

/// The same while they change.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) gathered: Counter,
    pub(crate) sent: Counter,
    pub(crate) spooled: Counter,
    pub(crate) refused: Counter,
    pub(crate) dropped: Counter,
    pub(crate) spool_frames_damaged: Counter,
    pub(crate) send_errors: Counter,
    pub(crate) metadata_errors: Counter,
    pub(crate) backlog_points: Counter,
    pub(crate) spool_bytes: Counter,
    last_success: AtomicI64,
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, level: u64) {
        self.0.store(level, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(crate) fn succeeded(&self, now: TimestampMs) {
        self.last_success.store(now, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> AgentCounts {
        let last_success = self.last_success.load(Ordering::Relaxed);
        AgentCounts {
            gathered: self.gathered.get(),
            sent: self.sent.get(),
            spooled: self.spooled.get(),
            refused: self.refused.get(),
            dropped: self.dropped.get(),
            spool_frames_damaged: self.spool_frames_damaged.get(),
            send_errors: self.send_errors.get(),
            metadata_errors: self.metadata_errors.get(),
            backlog_points: self.backlog_points.get(),
            spool_bytes: self.spool_bytes.get(),
            last_success: (last_success != 0).then_some(last_success),
        }
    }
}
