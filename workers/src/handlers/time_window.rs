//! The range of time that a job is about.

use tidemark_model::{TIMESTAMP_MAX, TimeRange, TimestampMs};
use tidemark_query::{Tz, parse_time};
use tidemark_queue::TimeWindow;

use crate::handler::{JobContext, JobError};

/// The range of a window in a job: what is relative counts from the moment at which the job was enqueued.
pub(super) fn range_of(job: &JobContext, window: &TimeWindow) -> Result<TimeRange, JobError> {
    range_at(window, job.job.created_ms).map_err(JobError::Discard)
}

/// The range of a window at a moment. Dates are those of UTC.
///
/// # Errors
/// Says which of the two is no time, or that there is nothing between them.
pub fn range_at(window: &TimeWindow, now_ms: TimestampMs) -> Result<TimeRange, String> {
    let time = |field: &str, text: &Option<String>, otherwise| match text {
        Some(text) => parse_time(text, now_ms, Tz::UTC).map_err(|error| format!("{field}: {error}")),
        None => Ok(otherwise),
    };
    let from = time("from", &window.from, 0)?;
    let to = time("to", &window.to, TIMESTAMP_MAX + 1)?;
    if from >= to {
        return Err(format!("to: must be later than `from`; from {from} to {to} there is nothing"));
    }
    Ok(TimeRange::new(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_767_225_600_000;

    #[test]
    fn a_window_is_relative_to_a_moment_and_open_where_nothing_is_said() {
        let window = |from: &str, to: &str| {
            let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
            range_at(&TimeWindow { from: some(from), to: some(to) }, NOW_MS)
        };
        assert_eq!(window("1d-ago", "now"), Ok(TimeRange::new(NOW_MS - 86_400_000, NOW_MS)));
        assert_eq!(window("", ""), Ok(TimeRange::new(0, TIMESTAMP_MAX + 1)));
        assert_eq!(window("2026/01/01", "1767229200"), Ok(TimeRange::new(NOW_MS, NOW_MS + 3_600_000)));
        assert!(window("yesterday-ish", "").unwrap_err().starts_with("from: "));
        assert!(window("", "later").unwrap_err().starts_with("to: "));
        assert!(window("now", "1h-ago").unwrap_err().contains("must be later"));
    }
}
