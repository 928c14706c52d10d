//! Carries batches from the backlog to the sink.

use std::{sync::Arc, time::Duration};

use tidemark_model::{Clock, PointSink, RefusalReason, WriteOutcome, WriteReceipt, WriteRefusal};
use tokio::time;
use tokio_util::sync::CancellationToken;

use crate::{
    backlog::{Backlog, Next},
    backoff::Backoff,
    counts::Counters,
};

/// One batch at a time, oldest first; what the sink does not take now is tried again with growing delays.
pub(crate) struct Courier {
    pub(crate) sink: Arc<dyn PointSink>,
    pub(crate) backlog: Arc<Backlog>,
    pub(crate) backoff: Backoff,
    pub(crate) counters: Arc<Counters>,
    pub(crate) clock: Arc<dyn Clock>,
    /// How long the last batches may take once the agent is told to stop and all of them are there.
    pub(crate) farewell: Duration,
    /// The batch whose fate is not known yet.
    pub(crate) in_flight: Option<Next>,
}

/// What to do with a batch after an attempt.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Settled,
    Retry(String),
}

impl Courier {
    /// Runs until the backlog is closed and empty. After `stop` one failure, or the time for the farewell, ends it;
    /// the rest goes to the spool or is counted as dropped.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let (farewell, backlog) = (self.farewell, Arc::clone(&self.backlog));
        let deadline = async {
            stop.cancelled().await;
            backlog.closed().await;
            time::sleep(farewell).await;
        };
        tokio::select! {
            () = self.carry(&stop) => {}
            () = deadline => {}
        }
        if let Some(next) = self.in_flight.take() {
            self.backlog.give_back(next).await;
        }
        self.backlog.closed().await;
        let dropped = self.backlog.finish().await;
        if dropped > 0 {
            tracing::warn!(points = dropped, "the agent ended before the sink took its last points; they are lost");
        }
    }

    async fn carry(&mut self, stop: &CancellationToken) {
        while let Some(next) = self.backlog.next().await {
            let batch = next.batch().clone();
            let points = batch.len();
            self.in_flight = Some(next);
            let outcome = self.sink.write(batch).await;
            let fate = self.judge(&outcome, points);
            let Some(next) = self.in_flight.take() else { return };
            match fate {
                Fate::Settled => {
                    self.backoff.after_success();
                    self.backlog.settle(next).await;
                }
                Fate::Retry(reason) => {
                    self.retry_later(next, &reason, stop).await;
                    if stop.is_cancelled() {
                        return;
                    }
                }
            }
        }
    }

    async fn retry_later(&mut self, next: Next, reason: &str, stop: &CancellationToken) {
        let points = next.batch().len();
        self.counters.send_errors.add(1);
        self.backlog.give_back(next).await;
        let delay = self.backoff.after_failure();
        tracing::warn!(points, reason, retry_in = ?delay, "the sink took no points");
        tokio::select! {
            () = stop.cancelled() => {}
            () = time::sleep(delay) => {}
        }
    }

    fn judge(&self, outcome: &WriteOutcome, points: usize) -> Fate {
        match outcome {
            WriteOutcome::Done(receipt) => {
                self.count_receipt(receipt);
                Fate::Settled
            }
            WriteOutcome::Refused(refusal) => match refusal.reason {
                RefusalReason::Busy
                | RefusalReason::Unavailable
                | RefusalReason::DiskFull
                | RefusalReason::ShuttingDown => Fate::Retry(refusal.message.clone()),
                RefusalReason::Limit => {
                    self.count_refused(points, refusal);
                    Fate::Settled
                }
            },
            // Sending it again is harmless: the last write of one (series, timestamp) wins.
            WriteOutcome::Unknown(reason) => Fate::Retry(reason.clone()),
        }
    }

    fn count_receipt(&self, receipt: &WriteReceipt) {
        self.counters.sent.add(receipt.stored as u64);
        self.counters.succeeded(self.clock.now_ms());
        if let Some((_, first)) = receipt.refused.first() {
            self.count_refused(receipt.refused.len(), first);
        }
    }

    fn count_refused(&self, points: usize, first: &WriteRefusal) {
        self.counters.refused.add(points as u64);
        tracing::warn!(points, reason = %first, "the sink refused points for good");
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use tidemark_model::{BoxFuture, ManualClock, PointBatch, PointBatchBuilder, Value};
    use tokio_util::task::TaskTracker;

    use super::*;

    /// Answers with what it was told, then with success.
    #[derive(Default)]
    struct ScriptedSink {
        answers: Mutex<Vec<WriteOutcome>>,
        seen: Mutex<Vec<PointBatch>>,
    }

    impl PointSink for ScriptedSink {
        fn write(&self, batch: PointBatch) -> BoxFuture<'_, WriteOutcome> {
            let stored = batch.len();
            self.seen.lock().push(batch);
            let answer = self.answers.lock().pop();
            Box::pin(async move { answer.unwrap_or(WriteOutcome::Done(WriteReceipt { stored, refused: Vec::new() })) })
        }
    }

    fn batch(first: i64) -> PointBatch {
        let mut builder = PointBatchBuilder::default();
        for at in first..first + 10 {
            builder.push("m", &mut [("host", "h")], at, Value::Int(at)).unwrap();
        }
        builder.finish()
    }

    async fn carry(answers: Vec<WriteOutcome>, stopped: bool) -> (Arc<ScriptedSink>, crate::AgentCounts) {
        let sink = Arc::new(ScriptedSink { answers: Mutex::new(answers), ..Default::default() });
        let counters = Arc::<Counters>::default();
        let backlog = Arc::new(Backlog::new(1_000_000, None, Arc::clone(&counters), TaskTracker::new()));
        backlog.push(batch(1)).await;
        backlog.push(batch(11)).await;
        backlog.close();
        let courier = Courier {
            sink: Arc::clone(&sink) as Arc<dyn PointSink>,
            backlog,
            backoff: Backoff::new(Duration::from_millis(1), Duration::from_millis(1), 7),
            counters: Arc::clone(&counters),
            clock: Arc::new(ManualClock::new(5_000)),
            farewell: Duration::from_secs(5),
            in_flight: None,
        };
        let stop = CancellationToken::new();
        if stopped {
            stop.cancel();
        }
        courier.run(stop).await;
        (sink, counters.snapshot())
    }

    fn refused(reason: RefusalReason) -> WriteOutcome {
        WriteOutcome::Refused(WriteRefusal::new(reason, "no"))
    }

    #[tokio::test]
    async fn what_may_succeed_later_is_sent_again_in_order() {
        let transient = vec![
            WriteOutcome::Unknown("lost".into()),
            refused(RefusalReason::Busy),
            refused(RefusalReason::Unavailable),
            refused(RefusalReason::DiskFull),
            refused(RefusalReason::ShuttingDown),
        ];
        let (sink, counts) = carry(transient, false).await;
        assert_eq!(sink.seen.lock()[5..], [batch(1), batch(11)]);
        assert_eq!((counts.sent, counts.send_errors, counts.refused, counts.dropped), (20, 5, 0, 0));
        assert_eq!(counts.last_success, Some(5_000));
    }

    #[tokio::test]
    async fn what_is_refused_for_good_is_counted_and_not_sent_again() {
        let (sink, counts) = carry(vec![refused(RefusalReason::Limit)], false).await;
        assert_eq!(*sink.seen.lock(), [batch(1), batch(11)]);
        assert_eq!((counts.sent, counts.refused), (10, 10));
    }

    #[tokio::test]
    async fn points_refused_one_by_one_are_counted() {
        let refusal = WriteRefusal::new(RefusalReason::Limit, "too many series");
        let partly = WriteOutcome::Done(WriteReceipt { stored: 9, refused: vec![(3, refusal)] });
        let (_, counts) = carry(vec![partly], false).await;
        assert_eq!((counts.sent, counts.refused), (19, 1));
    }

    #[tokio::test]
    async fn after_the_stop_one_failure_ends_the_attempts_and_the_rest_is_counted() {
        let (sink, counts) = carry(vec![refused(RefusalReason::Busy)], true).await;
        assert_eq!(sink.seen.lock().len(), 1);
        assert_eq!((counts.sent, counts.dropped), (0, 20));
    }
}
