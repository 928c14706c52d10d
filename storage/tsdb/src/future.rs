//! Points that are too far ahead of the clock.

use std::time::Duration;

use tidemark_model::{PointBatch, RefusalReason, TimestampMs, WriteReceipt, WriteRefusal};

/// A clock before this moment, the start of 2020, is wrong itself, as on a machine without a battery for it: points are
/// not refused on its word.
const CLOCK_SET_AFTER: TimestampMs = 1_577_836_800_000;

/// The points that were taken out of a batch.
#[derive(Debug, Default)]
pub(crate) struct EarlyPoints {
    refused: Vec<(usize, WriteRefusal)>,
    /// Where each point that is left was; empty when none was taken out.
    positions: Vec<usize>,
}

impl EarlyPoints {
    /// Takes out the points that are more than `future_max` ahead of `now`.
    pub(crate) fn take_out(batch: PointBatch, now: TimestampMs, future_max: Duration) -> (PointBatch, Self) {
        let span = i64::try_from(future_max.as_millis()).unwrap_or(i64::MAX);
        let latest = if now < CLOCK_SET_AFTER { TimestampMs::MAX } else { now.saturating_add(span) };
        if batch.columns().all(|(_, timestamp, ..)| timestamp <= latest) {
            return (batch, Self::default());
        }
        let hours = future_max.as_secs() / 3_600;
        let message = format!(
            "timestamp is more than {hours} hours ahead of the clock of the server, which says {now} ms; see `limits.future`"
        );
        let refusal = WriteRefusal::new(RefusalReason::Limit, message);
        let timestamps = batch.columns().map(|(_, timestamp, ..)| timestamp).enumerate();
        let refused = timestamps.filter(|(_, at)| *at > latest).map(|(point, _)| (point, refusal.clone())).collect();
        let (batch, positions) = batch.filter(|point| point.timestamp <= latest);
        (batch, Self { refused, positions })
    }

    /// The receipt for the whole batch, from that for the points that were left.
    pub(crate) fn add_to(self, rest: WriteReceipt) -> WriteReceipt {
        let Self { mut refused, positions } = self;
        if refused.is_empty() {
            return rest;
        }
        let place = |point: usize| positions.get(point).copied().unwrap_or(point);
        refused.extend(rest.refused.into_iter().map(|(point, refusal)| (place(point), refusal)));
        refused.sort_unstable_by_key(|(point, _)| *point);
        WriteReceipt { stored: rest.stored, refused }
    }
}

#[cfg(test)]
mod tests {
    use tidemark_model::{PointBatchBuilder, Value};

    use super::*;

    const NOW: TimestampMs = 1_789_948_800_000;
    const HOUR: Duration = Duration::from_secs(3_600);

    fn batch(points: &[(&str, TimestampMs)]) -> PointBatch {
        let mut builder = PointBatchBuilder::default();
        for (host, timestamp) in points {
            builder.push("cpu", &mut [("host", *host)], *timestamp, Value::Int(1)).unwrap();
        }
        builder.finish()
    }

    #[test]
    fn points_keep_their_place_in_the_receipt() {
        let points = [("a", NOW), ("b", NOW + 3_600_001), ("c", NOW + 3_600_000), ("b", 9_999_999_999_999), ("d", 5)];
        let (left, early) = EarlyPoints::take_out(batch(&points), NOW, HOUR);
        assert_eq!(left, batch(&[points[0], points[2], points[4]]));
        let other = WriteRefusal::new(RefusalReason::Unavailable, "other");
        let receipt = early.add_to(WriteReceipt { stored: 2, refused: vec![(1, other)] });
        assert_eq!(receipt.stored, 2);
        assert_eq!(receipt.refused.iter().map(|(point, _)| *point).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(receipt.refused[1].1.message, "other");
        assert!(receipt.refused[0].1.message.contains("`limits.future`"));
    }

    #[test]
    fn nothing_is_refused_on_the_word_of_a_clock_that_nobody_set() {
        let points = batch(&[("a", NOW)]);
        let (left, early) = EarlyPoints::take_out(points.clone(), 86_400_000, HOUR);
        assert_eq!(left, points);
        assert_eq!(early.add_to(WriteReceipt { stored: 1, refused: Vec::new() }).stored, 1);
    }
}
