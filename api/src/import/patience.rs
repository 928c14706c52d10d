//! Writing a batch that is told to come again.

use std::time::Duration;

use tidemark_model::{PointBatch, PointSink, RefusalReason, WriteOutcome, WriteReceipt};

/// How long to wait before the second attempt; twice as long each time, up to [`WAIT_MAX`].
const WAIT_FIRST: Duration = Duration::from_millis(50);
const WAIT_MAX: Duration = Duration::from_secs(5);
/// About five minutes.
const ATTEMPTS_MAX: u32 = 66;

/// Writes a batch and, when the sink is busy, out of reach or lost track, writes it again.
///
/// # Errors
/// Why it could not be written: a full disk, a process that ends, or no success in about five minutes.
pub async fn write_patiently(sink: &dyn PointSink, batch: &PointBatch) -> Result<WriteReceipt, String> {
    write_waiting(sink, batch, WAIT_FIRST).await
}

async fn write_waiting(sink: &dyn PointSink, batch: &PointBatch, first: Duration) -> Result<WriteReceipt, String> {
    let (mut wait, mut reason) = (first, String::new());
    for _ in 0..ATTEMPTS_MAX {
        reason = match sink.write(batch.clone()).await {
            WriteOutcome::Done(receipt) => return Ok(receipt),
            WriteOutcome::Refused(refusal) => match refusal.reason {
                RefusalReason::Busy | RefusalReason::Unavailable => refusal.message,
                RefusalReason::DiskFull | RefusalReason::Limit | RefusalReason::ShuttingDown => {
                    return Err(refusal.message);
                }
            },
            // Writing it again is harmless, and the only way to know.
            WriteOutcome::Unknown(reason) => reason,
        };
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(WAIT_MAX);
    }
    Err(format!("no success in {ATTEMPTS_MAX} attempts: {reason}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tidemark_model::{BoxFuture, WriteRefusal};

    use super::*;

    /// Answers what it is told to, the last first, and then that everything is stored.
    struct Script(Mutex<Vec<WriteOutcome>>);

    impl PointSink for Script {
        fn write(&self, batch: PointBatch) -> BoxFuture<'_, WriteOutcome> {
            let stored = WriteOutcome::Done(WriteReceipt { stored: batch.len(), refused: Vec::new() });
            let answer = self.0.lock().unwrap().pop().unwrap_or(stored);
            Box::pin(std::future::ready(answer))
        }
    }

    fn refused(reason: RefusalReason) -> WriteOutcome {
        WriteOutcome::Refused(WriteRefusal::new(reason, "no room"))
    }

    async fn write_to(answers: Vec<WriteOutcome>) -> Result<WriteReceipt, String> {
        write_waiting(&Script(Mutex::new(answers)), &PointBatch::default(), Duration::ZERO).await
    }

    #[tokio::test]
    async fn a_sink_that_is_busy_or_lost_track_gets_the_batch_again_and_a_full_disk_does_not() {
        let busy = [
            refused(RefusalReason::Busy),
            WriteOutcome::Unknown("lost".to_owned()),
            refused(RefusalReason::Unavailable),
        ];
        assert!(write_to(busy.to_vec()).await.is_ok());
        assert_eq!(write_to(vec![refused(RefusalReason::DiskFull)]).await, Err("no room".to_owned()));
        let never = write_to(vec![refused(RefusalReason::Busy); 100]).await.unwrap_err();
        assert_eq!(never, "no success in 66 attempts: no room");
    }
}
