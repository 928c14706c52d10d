//! Writes the points of a telnet connection.
//!
//! The protocol has no acknowledgement, so a client cannot know that it should send points again. What the store does
//! not take now is therefore held and tried again, and meanwhile the connection is not read: the client's buffers fill,
//! and it waits or spools. Only after a deadline are the points given up, with a reply, and the connection is closed.

use std::time::Duration;

use tidemark_model::{PointBatch, RefusalReason, WriteOutcome, is_reserved};
use tidemark_queue::Origin;
use tracing::Instrument;

use crate::{
    metrics::{Protocol, RejectReason},
    state::AppState,
};

const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// What became of a batch, for the connection.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// What to reply; empty when all is well.
    pub(crate) reply: String,
    /// Whether to close the connection then.
    pub(crate) close: bool,
}

/// Writes a batch, which begins a trace as a request does, trying again for as long as [`crate::ApiLimits::telnet_retry`]
/// when the store does not take it.
pub(crate) async fn write(batch: PointBatch, state: &AppState) -> Written {
    let trace = state.traces.begin();
    let caused = Origin { trace: Some(trace), job: None };
    let mut written =
        caused.scope(write_patiently(batch, state)).instrument(tracing::info_span!("telnet", trace = %trace)).await;
    if !state.options.opentsdb.telnet_errors {
        written.reply.clear();
    }
    written
}

async fn write_patiently(batch: PointBatch, state: &AppState) -> Written {
    let clock = &state.seams.clock;
    let give_up = clock.monotonic() + state.options.limits.telnet_retry;
    let mut wait = RETRY_FIRST;
    loop {
        let (reason, message) = match attempt(&batch, state).await {
            Ok(written) => return written,
            Err(failure) => failure,
        };
        if clock.monotonic() + wait >= give_up || state.shutdown.is_cancelled() {
            return given_up(batch.len(), reason, &message, state);
        }
        tracing::debug!(points = batch.len(), message, "the store takes no points now; trying again");
        tokio::select! {
            () = state.shutdown.cancelled() => {}
            () = tokio::time::sleep(wait) => {}
        }
        wait = (wait * 2).min(RETRY_MAX);
    }
}

/// # Errors
/// Why it is worth trying again.
async fn attempt(batch: &PointBatch, state: &AppState) -> Result<Written, (RejectReason, String)> {
    let counters = &state.counters.points;
    match state.seams.sink_telnet.write(batch.clone()).await {
        WriteOutcome::Done(receipt) => {
            // Histograms come in batches without points, and each is several values of its batch.
            let stored = match is_reserved(batch.series_text(0)) {
                true => batch.datapoint_starts().count().saturating_sub(receipt.refused.len()),
                false => receipt.stored,
            };
            counters.accept(Protocol::Telnet, stored);
            let mut written = Written::default();
            for (_, refusal) in &receipt.refused {
                counters.reject(Protocol::Telnet, refusal.reason.into(), 1);
                written.reply.push_str(&format!("put: illegal argument: {refusal}\n"));
            }
            Ok(written)
        }
        WriteOutcome::Refused(refusal) if refusal.reason == RefusalReason::Limit => {
            counters.reject(Protocol::Telnet, RejectReason::Limit, batch.len());
            Ok(Written { reply: format!("put: illegal argument: {} points: {refusal}\n", batch.len()), close: false })
        }
        WriteOutcome::Refused(refusal) => Err((refusal.reason.into(), refusal.message)),
        WriteOutcome::Unknown(reason) => Err((RejectReason::Unknown, reason)),
    }
}

fn given_up(points: usize, reason: RejectReason, message: &str, state: &AppState) -> Written {
    state.counters.points.reject(Protocol::Telnet, reason, points);
    tracing::warn!(points, message, "gave up on points of a telnet connection");
    let fate = if reason == RejectReason::Unknown { "may not be stored" } else { "were not stored" };
    Written { reply: format!("put: {points} points {fate}: {message}\n"), close: true }
}
