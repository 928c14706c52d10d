//! Gathers what collectors send into batches.

use std::{sync::Arc, time::Duration};

use tidemark_model::{PointBatch, PointBatchBuilder, PointRules};
use tokio::{sync::mpsc, time};

use crate::{backlog::Backlog, gathering::Gathered, metadata_book::MetadataBook};

/// One batch per `points_max` points or `flush_after`, whichever comes first.
pub(crate) struct Batcher {
    pub(crate) points_max: usize,
    pub(crate) flush_after: Duration,
    pub(crate) backlog: Arc<Backlog>,
    pub(crate) book: Arc<MetadataBook>,
}

impl Batcher {
    /// Runs until every sender of `gathered` is gone, then closes the backlog.
    pub(crate) async fn run(self, mut gathered: mpsc::Receiver<Gathered>) {
        let mut builder = empty();
        let mut flush_at = time::Instant::now();
        loop {
            let timer = time::sleep_until(flush_at);
            tokio::select! {
                biased;
                received = gathered.recv() => match received {
                    Some(gathered) => {
                        if builder.is_empty() {
                            flush_at = time::Instant::now() + self.flush_after;
                        }
                        self.book.learn(gathered.metadata);
                        self.append(&mut builder, &gathered.batch).await;
                    }
                    None => break,
                },
                () = timer, if !builder.is_empty() => self.flush(&mut builder).await,
            }
        }
        self.flush(&mut builder).await;
        self.backlog.close();
    }

    async fn append(&self, builder: &mut PointBatchBuilder, batch: &PointBatch) {
        for point in batch.points() {
            let key = batch.series_key(point.series);
            let mut tags: Vec<(&str, &str)> = key.tags().collect();
            // It was valid in its own batch, and a batch of this size cannot fill a dictionary of 4 GiB.
            if let Err(error) = builder.push(key.metric(), &mut tags, point.timestamp, point.value) {
                tracing::error!(%error, series = %key, "a point that was valid is not any more");
            }
            if builder.len() >= self.points_max {
                self.flush(builder).await;
            }
        }
    }

    async fn flush(&self, builder: &mut PointBatchBuilder) {
        self.backlog.push(std::mem::replace(builder, empty()).finish()).await;
    }
}

/// For points that were checked by the rules of whoever gathered them.
fn empty() -> PointBatchBuilder {
    PointBatchBuilder::with_rules(PointRules::LOOSE)
}

#[cfg(test)]
mod tests {
    use tidemark_model::Value;
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::backlog::Next;

    fn gathered(first: i64, points: i64) -> Gathered {
        let mut builder = empty();
        for at in first..first + points {
            builder.push("m:", &mut [("host", "h"), ("at", &at.to_string())], at, Value::Int(at)).unwrap();
        }
        Gathered { batch: builder.finish(), ..Gathered::default() }
    }

    #[tokio::test]
    async fn batches_are_full_or_a_moment_old_and_none_is_lost_at_the_end() {
        let backlog = Arc::new(Backlog::new(1_000_000, None, Arc::default(), TaskTracker::new()));
        let batcher = Batcher {
            points_max: 10,
            flush_after: Duration::from_millis(1),
            backlog: Arc::clone(&backlog),
            book: Arc::default(),
        };
        let (sender, receiver) = mpsc::channel(4);
        let running = batcher.run(receiver);
        let feeding = async {
            sender.send(gathered(1, 12)).await.unwrap();
            let mut lengths = Vec::new();
            for _ in 0..2 {
                lengths.push(backlog.next().await.unwrap().batch().len());
            }
            sender.send(gathered(13, 3)).await.unwrap();
            drop(sender);
            while let Some(Next::Memory(batch)) = backlog.next().await {
                lengths.push(batch.len());
            }
            lengths
        };
        let ((), lengths) = tokio::join!(running, feeding);
        assert_eq!(lengths, [10, 2, 3]);
    }
}
