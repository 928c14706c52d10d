//! Writes the history.

use std::{future::poll_fn, task::Poll, time::Duration};

use anyhow::bail;
use tidemark_model::{BoxFuture, PointBatch, PointSink, RefusalReason, WriteOutcome, WriteReceipt};
use tokio::time::sleep;

use super::{Fleet, Progress};

/// Batches that are written at the same time: while one waits for the disk, the next are taken apart.
const IN_FLIGHT: usize = 8;
/// About a minute for one batch.
const PATIENCE: Patience =
    Patience { wait: Duration::from_millis(50), wait_max: Duration::from_secs(1), attempts_max: 60 };

/// How a batch is treated that is told to come again.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// It waits this long at first and twice as long each time.
    wait: Duration,
    wait_max: Duration,
    attempts_max: u32,
}

/// What became of the history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filled {
    /// Points that are stored.
    pub(crate) stored: u64,
    /// Points that were refused one by one, such as those of series over a limit.
    pub(crate) refused: u64,
    /// Why the first of them was.
    pub(crate) first_refusal: Option<String>,
}

/// Writes the history of `fleet`, several batches at a time. `progress` hears of each batch that is acknowledged.
///
/// # Errors
/// Says what the sink said: a full disk, a limit, a process that ends; or that it was busy, unavailable or lost track
/// for about a minute. What was written until then stays.
///
/// # Cancel safety
/// Dropping the future leaves the batches in flight written or not.
pub(crate) async fn fill(
    fleet: &mut Fleet,
    sink: &dyn PointSink,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> anyhow::Result<Filled> {
    fill_patiently(fleet, sink, progress, PATIENCE).await
}

async fn fill_patiently(
    fleet: &mut Fleet,
    sink: &dyn PointSink,
    progress: &mut (dyn FnMut(Progress) + Send),
    patience: Patience,
) -> anyhow::Result<Filled> {
    let mut history = fleet.history();
    let mut filled = Filled::default();
    let mut flight: Vec<BoxFuture<'_, anyhow::Result<Written>>> = Vec::with_capacity(IN_FLIGHT);
    let mut written = history.progress();
    progress(written);
    loop {
        while flight.len() < IN_FLIGHT
            && let Some(next) = history.next()
        {
            flight.push(Box::pin(write(sink, next?.0, patience)));
        }
        if flight.is_empty() {
            return Ok(filled);
        }
        let batch = first_of(&mut flight).await?;
        filled.count(&batch);
        written.done += batch.points;
        progress(written);
    }
}

impl Filled {
    fn count(&mut self, written: &Written) {
        self.stored += written.receipt.stored as u64;
        self.refused += written.receipt.refused.len() as u64;
        if self.first_refusal.is_none() {
            self.first_refusal = written.receipt.refused.first().map(|(_, refusal)| refusal.to_string());
        }
    }
}

/// A batch whose fate is known.
struct Written {
    points: u64,
    receipt: WriteReceipt,
}

async fn write(sink: &dyn PointSink, batch: PointBatch, patience: Patience) -> anyhow::Result<Written> {
    let points = batch.len() as u64;
    let (mut wait, mut reason) = (patience.wait, String::new());
    for _ in 0..patience.attempts_max {
        reason = match sink.write(batch.clone()).await {
            WriteOutcome::Done(receipt) => return Ok(Written { points, receipt }),
            WriteOutcome::Refused(refusal) => match refusal.reason {
                RefusalReason::Busy | RefusalReason::Unavailable => refusal.message,
                RefusalReason::DiskFull | RefusalReason::Limit | RefusalReason::ShuttingDown => {
                    bail!("write the history of the demo: {refusal}")
                }
            },
            // Writing it again is harmless, and the only way to know.
            WriteOutcome::Unknown(reason) => reason,
        };
        sleep(wait).await;
        wait = (wait * 2).min(patience.wait_max);
    }
    bail!("write the history of the demo: no success in {} attempts: {reason}", patience.attempts_max)
}

/// Waits for whichever is done first, and takes it out. There are few of them, so all are polled at each wake-up.
async fn first_of<T>(flight: &mut Vec<BoxFuture<'_, T>>) -> T {
    poll_fn(|context| {
        let done = flight.iter_mut().enumerate().find_map(|(position, future)| match future.as_mut().poll(context) {
            Poll::Ready(value) => Some((position, value)),
            Poll::Pending => None,
        });
        match done {
            Some((position, value)) => {
                drop(flight.swap_remove(position));
                Poll::Ready(value)
            }
            None => Poll::Pending,
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tidemark_model::WriteRefusal;

    use super::*;

    const NOW_MS: i64 = 1_767_225_678_901;

    /// Answers what it is told to, then that everything is stored.
    #[derive(Default)]
    struct Script {
        answers: Mutex<Vec<WriteOutcome>>,
        stored: Mutex<u64>,
    }

    impl Script {
        fn of(answers: Vec<WriteOutcome>) -> Self {
            Self { answers: Mutex::new(answers), stored: Mutex::default() }
        }
    }

    impl PointSink for Script {
        fn write(&self, batch: PointBatch) -> BoxFuture<'_, WriteOutcome> {
            Box::pin(async move {
                tokio::task::yield_now().await;
                if let Some(answer) = self.answers.lock().unwrap().pop() {
                    return answer;
                }
                *self.stored.lock().unwrap() += batch.len() as u64;
                WriteOutcome::Done(WriteReceipt { stored: batch.len(), refused: Vec::new() })
            })
        }
    }

    fn refused(reason: RefusalReason) -> WriteOutcome {
        WriteOutcome::Refused(WriteRefusal::new(reason, "no room"))
    }

    async fn fill_into(sink: &Script) -> (anyhow::Result<Filled>, Vec<Progress>) {
        let mut seen = Vec::new();
        let patience = Patience { wait: Duration::ZERO, wait_max: Duration::ZERO, ..PATIENCE };
        let mut fleet = Fleet::new(1, NOW_MS).since(NOW_MS - 3 * 3_600_000);
        let filled = fill_patiently(&mut fleet, sink, &mut |progress| seen.push(progress), patience).await;
        (filled, seen)
    }

    #[tokio::test]
    async fn a_sink_that_is_busy_or_lost_track_gets_every_point_all_the_same() {
        let sink = Script::of(vec![
            refused(RefusalReason::Busy),
            WriteOutcome::Unknown("lost track".to_owned()),
            refused(RefusalReason::Unavailable),
        ]);
        let (filled, seen) = fill_into(&sink).await;
        let last = *seen.last().unwrap();
        assert_eq!(last.done, last.total);
        assert_eq!(*sink.stored.lock().unwrap(), last.total);
        assert_eq!(filled.unwrap(), Filled { stored: last.total, refused: 0, first_refusal: None });
        assert!(seen.is_sorted_by_key(|progress| progress.done));
    }

    #[tokio::test]
    async fn a_full_disk_ends_the_filling_with_its_reason() {
        for reason in [RefusalReason::DiskFull, RefusalReason::Limit, RefusalReason::ShuttingDown] {
            let error = fill_into(&Script::of(vec![refused(reason)])).await.0.unwrap_err();
            assert_eq!(error.to_string(), "write the history of the demo: no room");
        }
    }

    #[tokio::test]
    async fn a_sink_that_stays_busy_is_given_up() {
        let error = fill_into(&Script::of(vec![refused(RefusalReason::Busy); 10_000])).await.0.unwrap_err();
        assert_eq!(error.to_string(), "write the history of the demo: no success in 60 attempts: no room");
    }

    #[tokio::test]
    async fn points_that_are_refused_one_by_one_are_counted() {
        let refusal = WriteRefusal::new(RefusalReason::Limit, "series limit reached");
        let receipt = WriteReceipt { stored: 7, refused: vec![(0, refusal.clone()), (3, refusal)] };
        let (filled, _) = fill_into(&Script::of(vec![WriteOutcome::Done(receipt)])).await;
        let filled = filled.unwrap();
        assert_eq!((filled.refused, filled.first_refusal.as_deref()), (2, Some("series limit reached")));
    }
}
