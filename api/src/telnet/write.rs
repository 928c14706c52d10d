//! Writes the points of a telnet connection.
//!
//! The protocol has no acknowledgement, so a client cannot know that it should send points again. What the store does
//! not take now is therefore held and tried again, and meanwhile the connection is not read: the client's buffers fill,
//! and it waits or spools. Only after a deadline are the points given up, with a reply, and the connection is closed.

use std::{collections::HashSet, time::Duration};

use tidemark_model::{MetricSpace, PointBatch, RefusalReason, WriteOutcome, WriteReceipt, is_reserved};
use tidemark_queue::Origin;
use tracing::Instrument;

use crate::{
    metrics::{Protocol, RejectReason},
    put::known_names::{UnknownName, judge},
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
    let judged = judge(batch.clone(), state).await;
    let judged = judged.map_err(|error| (RejectReason::Unavailable, format!("names cannot be looked up: {error}")))?;
    let mut written = Written::default();
    let unknown = reply_unknown(&judged.unknown, batch, &mut written.reply);
    let batch = judged.batch;
    let outcome = match batch.is_empty() {
        true => WriteOutcome::Done(WriteReceipt::default()),
        false => state.seams.sink_telnet.write(batch.clone()).await,
    };
    match outcome {
        WriteOutcome::Done(receipt) => {
            // Histograms come in batches without points, and each is several values of its batch.
            let stored = match is_reserved(batch.series_text(0)) {
                true => batch.datapoint_starts().count().saturating_sub(receipt.refused.len()),
                false => receipt.stored,
            };
            counters.accept(Protocol::Telnet, stored);
            for (_, refusal) in &receipt.refused {
                counters.reject(Protocol::Telnet, refusal.reason.into(), 1);
                written.reply.push_str(&format!("put: illegal argument: {refusal}\n"));
            }
        }
        WriteOutcome::Refused(refusal) if refusal.reason == RefusalReason::Limit => {
            counters.reject(Protocol::Telnet, RejectReason::Limit, batch.len());
            written.reply.push_str(&format!("put: illegal argument: {} points: {refusal}\n", batch.len()));
        }
        WriteOutcome::Refused(refusal) => return Err((refusal.reason.into(), refusal.message)),
        WriteOutcome::Unknown(reason) => return Err((RejectReason::Unknown, reason)),
    }
    counters.reject(Protocol::Telnet, RejectReason::Invalid, unknown);
    Ok(written)
}

/// Adds a reply for each line with such a name; how many there are.
fn reply_unknown(unknown: &[(usize, UnknownName)], batch: &PointBatch, reply: &mut String) -> usize {
    if unknown.is_empty() {
        return 0;
    }
    // Each part of a histogram has its names.
    let lines: HashSet<usize> = batch.datapoint_starts().collect();
    let series: Vec<usize> = batch.points().map(|point| point.series).collect();
    let mut count = 0;
    for (position, name) in unknown.iter().filter(|(position, _)| lines.contains(position)) {
        let command = command_of(series.get(*position).map_or("", |series| batch.series_text(*series)));
        reply.push_str(&format!("{command}: {}\n", name.telnet_text()));
        count += 1;
    }
    count
}

/// The command that brought a series.
fn command_of(series: &str) -> &'static str {
    if series.starts_with(&MetricSpace::Histogram.stored_name("")) {
        "histogram"
    } else if is_reserved(series) {
        "rollup"
    } else {
        "put"
    }
}

fn given_up(points: usize, reason: RejectReason, message: &str, state: &AppState) -> Written {
    state.counters.points.reject(Protocol::Telnet, reason, points);
    tracing::warn!(points, message, "gave up on points of a telnet connection");
    let fate = if reason == RejectReason::Unknown { "may not be stored" } else { "were not stored" };
    Written { reply: format!("put: {points} points {fate}: {message}\n"), close: true }
}
