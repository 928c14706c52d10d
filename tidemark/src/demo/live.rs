//! The fleet goes on living while the server runs.

use std::{sync::Arc, time::Duration};

use tidemark_model::{Clock, PointSink, WriteOutcome};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{Fleet, history::Moments};

/// The interval of the agent.
const EVERY: Duration = Duration::from_millis(Moments::INTERVAL_MS.unsigned_abs());

/// Continues the series of `fleet` every 10 s until `stop` fires. A round that the store does not take is left out:
/// the next one comes soon, and the totals go on as if it had been taken.
pub(crate) async fn live(mut fleet: Fleet, sink: Arc<dyn PointSink>, clock: Arc<dyn Clock>, stop: CancellationToken) {
    live_by(interval(EVERY), &mut fleet, sink.as_ref(), clock.as_ref(), stop).await;
}

async fn live_by(
    mut ticks: Interval,
    fleet: &mut Fleet,
    sink: &dyn PointSink,
    clock: &dyn Clock,
    stop: CancellationToken,
) {
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let batch = match fleet.moment(clock.now_ms()) {
            Ok(batch) if batch.is_empty() => continue,
            Ok(batch) => batch,
            Err(error) => {
                tracing::warn!(%error, "the demo has a series that is none and ends");
                return;
            }
        };
        let outcome = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            outcome = sink.write(batch) => outcome,
        };
        match outcome {
            WriteOutcome::Done(receipt) => tracing::trace!(stored = receipt.stored, "the demo goes on"),
            WriteOutcome::Refused(refusal) => tracing::debug!(%refusal, "points of the demo were not stored"),
            WriteOutcome::Unknown(reason) => {
                tracing::debug!(reason, "whether points of the demo were stored is unknown")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tidemark_model::{BoxFuture, ManualClock, PointBatch, WriteReceipt};
    use tokio::sync::mpsc;

    use super::*;

    struct Channel(mpsc::Sender<PointBatch>);

    impl PointSink for Channel {
        fn write(&self, batch: PointBatch) -> BoxFuture<'_, WriteOutcome> {
            Box::pin(async move {
                let stored = batch.len();
                self.0.send(batch).await.unwrap();
                WriteOutcome::Done(WriteReceipt { stored, refused: Vec::new() })
            })
        }
    }

    #[tokio::test]
    async fn every_round_has_one_point_of_every_series_until_it_is_stopped() {
        let start_ms = 1_767_225_678_901;
        let mut fleet = Fleet::new(1, start_ms).since(start_ms - 60_000);
        fleet.history().for_each(|batch| drop(batch.unwrap()));
        let series = fleet.series_count();
        let clock = ManualClock::new(start_ms);
        let (sender, mut batches) = mpsc::channel(1);
        let stop = CancellationToken::new();
        let (sink, ticks) = (Channel(sender), interval(Duration::from_millis(1)));
        let living = live_by(ticks, &mut fleet, &sink, &clock, stop.clone());
        // The clock moves when a round was received, so a tick that comes too early has nothing to say.
        let watching = async {
            for round in 0..3 {
                let batch = batches.recv().await.unwrap();
                assert_eq!(batch.len(), series);
                assert!(batch.points().all(|point| point.timestamp == start_ms + round * 10_000));
                clock.advance(EVERY);
            }
            stop.cancel();
        };
        tokio::join!(living, watching);
    }
}
