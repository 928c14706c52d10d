//! From whoever has points to the sink: batches, backlog, spool, retries, metadata.

use std::{fmt, sync::Arc, time::Duration};

use tidemark_model::{Clock, MetadataStore, MetricMetadata, PointBatch, PointSink};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    AgentCounts, SpoolError, SpoolOptions,
    backlog::Backlog,
    backoff::Backoff,
    batcher::Batcher,
    counts::Counters,
    courier::Courier,
    gathering::Gathered,
    metadata_book::{MetadataBook, MetadataCourier},
    spool::Spool,
};

/// How points are delivered. The fields mean what those of [`crate::AgentOptions`] with the same names do.
#[derive(Clone, Debug)]
pub struct DeliveryOptions {
    /// Most points of one batch. Default 10 000.
    pub batch_points_max: usize,
    /// How long points wait for others before they are sent. Default 1 s.
    pub flush_after: Duration,
    /// Bytes of points that wait in memory for the sink. Default 16 MiB.
    pub backlog_bytes_max: usize,
    /// Where points go that the sink does not take. Default `None`.
    pub spool: Option<SpoolOptions>,
    /// How long to wait after the first failure of the sink; doubled after each further one. Default 1 s.
    pub retry_first: Duration,
    /// The longest such wait. Default 60 s.
    pub retry_longest: Duration,
    /// After what time metadata are sent again. Default 1 h.
    pub metadata_repeat_after: Duration,
    /// How long the last points may take to be sent once no more can come. Default 5 s.
    pub farewell: Duration,
    /// Spreads the retries of many senders over time.
    pub seed: u64,
}

impl Default for DeliveryOptions {
    fn default() -> Self {
        Self {
            batch_points_max: 10_000,
            flush_after: Duration::from_secs(1),
            backlog_bytes_max: 16 * 1024 * 1024,
            spool: None,
            retry_first: Duration::from_secs(1),
            retry_longest: Duration::from_secs(60),
            metadata_repeat_after: Duration::from_secs(3600),
            farewell: Duration::from_secs(5),
            seed: 0,
        }
    }
}

/// Sendings that wait for the batcher; one of an agent is at most a few thousand points.
const GATHERED_MAX: usize = 64;

/// Delivers until it is told to stop and every sender is gone.
pub struct Delivery {
    options: DeliveryOptions,
    clock: Arc<dyn Clock>,
    sink: Arc<dyn PointSink>,
    metadata: Arc<dyn MetadataStore>,
    backlog: Arc<Backlog>,
    book: Arc<MetadataBook>,
    counters: Arc<Counters>,
    gathered: mpsc::Receiver<Gathered>,
}

/// Looks at a [`Delivery`] without keeping it alive. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DeliveryWatch {
    counters: Arc<Counters>,
}

impl DeliveryWatch {
    /// What became of the points.
    #[must_use]
    pub fn counts(&self) -> AgentCounts {
        self.counters.snapshot()
    }
}

/// Hands points to a [`Delivery`]. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DeliveryHandle {
    gathered: mpsc::Sender<Gathered>,
    book: Arc<MetadataBook>,
    counters: Arc<Counters>,
}

impl Delivery {
    /// A delivery to `sink`, which tells `metadata` what the metrics mean. Opens the spool, which blocks for as long as
    /// it takes to read the headers of its frames.
    ///
    /// # Errors
    /// The spool cannot be used.
    pub fn new(
        options: DeliveryOptions,
        clock: Arc<dyn Clock>,
        sink: Arc<dyn PointSink>,
        metadata: Arc<dyn MetadataStore>,
    ) -> Result<(Self, DeliveryHandle), SpoolError> {
        let spool = options.spool.clone().map(Spool::open).transpose()?;
        if let Some(waiting) = spool.as_ref().map(Spool::points).filter(|&points| points > 0) {
            tracing::info!(points = waiting, "the spool has points of an earlier run, which will be sent first");
        }
        let (counters, book) = (Arc::<Counters>::default(), Arc::<MetadataBook>::default());
        let backlog = Backlog::new(options.backlog_bytes_max, spool, Arc::clone(&counters), TaskTracker::new());
        let (sender, gathered) = mpsc::channel(GATHERED_MAX);
        let handle = DeliveryHandle { gathered: sender, book: Arc::clone(&book), counters: Arc::clone(&counters) };
        let backlog = Arc::new(backlog);
        Ok((Self { options, clock, sink, metadata, backlog, book, counters, gathered }, handle))
    }

    /// Runs until `stop` fired and every [`DeliveryHandle`] is dropped; what is left then is delivered within
    /// [`DeliveryOptions::farewell`], or goes to the spool, or is counted and lost without one.
    pub async fn run(self, stop: CancellationToken) {
        let options = self.options;
        let backoff =
            |seed: u64| Backoff::new(options.retry_first, options.retry_longest, options.seed.wrapping_add(seed));
        let batcher = Batcher {
            points_max: options.batch_points_max.max(1),
            flush_after: options.flush_after,
            backlog: Arc::clone(&self.backlog),
            book: Arc::clone(&self.book),
        };
        let courier = Courier {
            sink: self.sink,
            backlog: self.backlog,
            backoff: backoff(0),
            counters: Arc::clone(&self.counters),
            clock: self.clock,
            farewell: options.farewell,
            in_flight: None,
        };
        let metadata_courier = MetadataCourier {
            book: self.book,
            store: self.metadata,
            repeat_after: options.metadata_repeat_after,
            backoff: backoff(1),
            counters: self.counters,
        };
        tokio::join!(batcher.run(self.gathered), courier.run(stop.clone()), metadata_courier.run(stop));
    }
}

impl DeliveryHandle {
    /// Hands over points and what their metrics mean; waits while the delivery is behind.
    ///
    /// # Cancel safety
    /// Dropping the future before it is ready drops the points.
    pub async fn send(&self, batch: PointBatch, metadata: Vec<MetricMetadata>) {
        self.send_gathered(Gathered { batch, metadata, ..Gathered::default() }).await;
    }

    /// For looking at the delivery after this handle is gone.
    #[must_use]
    pub fn watch(&self) -> DeliveryWatch {
        DeliveryWatch { counters: Arc::clone(&self.counters) }
    }

    /// A handle whose points come out of a channel of this length instead of being delivered.
    pub(crate) fn to_channel(length: usize) -> (Self, mpsc::Receiver<Gathered>) {
        let (gathered, receiver) = mpsc::channel(length);
        (Self { gathered, book: Arc::default(), counters: Arc::default() }, receiver)
    }

    pub(crate) async fn send_gathered(&self, gathered: Gathered) {
        let points = gathered.batch.len() as u64;
        self.counters.gathered.add(points);
        if self.gathered.send(gathered).await.is_err() {
            // The delivery is gone before its sender, which only a panic can bring about.
            self.counters.dropped.add(points);
        }
    }

    pub(crate) fn book(&self) -> Arc<MetadataBook> {
        Arc::clone(&self.book)
    }

    pub(crate) fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Delivery").field("options", &self.options).finish_non_exhaustive()
    }
}
