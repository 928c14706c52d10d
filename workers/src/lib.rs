//! The worker pool and the handlers of our kinds of jobs.
//!
//! A [`WorkerPool`] runs jobs from a [`tidemark_queue::Broker`]; a [`DirectQueue`] runs work that lives and dies with a
//! request of this process, such as the writes of `tidemark serve`, under the same limits and in the same figures.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use tidemark_model::{PointSink, SystemClock};
//! # use tidemark_queue::{Broker, JobKind, WorkerId};
//! # use tidemark_workers::*;
//! # async fn example(broker: Arc<dyn Broker>, store: Arc<dyn PointSink>, stop: tokio_util::sync::CancellationToken) {
//! let (figures, clock) = (Arc::new(WorkFigures::new()), Arc::new(SystemClock::new()));
//! let write = WriteHandler::new(store, figures.clone(), clock.clone());
//! let handlers = Handlers::new().with(JobKind::Write, Arc::new(write));
//! let options = PoolOptions::new(WorkerId::new("ams1-worker-1"))
//!     .with_queue(QueueOptions::new(JobKind::Write.default_queue(), 8));
//! let pool = WorkerPool::new(options, broker, clock, handlers, figures);
//! let report = pool.run(stop).await;
//! # }
//! ```

mod direct;
mod figures;
mod handler;
mod handlers;
mod histogram;
mod job_files;
mod layers;
mod measure;
mod pool;
mod shared_rates;

pub use direct::{DirectError, DirectOptions, DirectQueue, DirectWorker};
pub use figures::{AttemptEnd, KindFigures, QueueFigures, WorkFigures, WorkSnapshot};
pub use handler::{Attempted, Handler, Handlers, JobContext, JobError, JobOutput};
pub use handlers::backtest::{BACKTEST_STEPS_MAX, BacktestHandler, backtest_steps};
pub use handlers::collect::CollectHandler;
pub use handlers::evaluate::{EvaluateHandler, NotificationQueue, NotificationQueueError};
pub use handlers::notify::NotifyHandler;
pub use handlers::rollup::RollupHandler;
pub use handlers::time_window::range_at;
pub use handlers::write::{BrokerPointSink, DirectPointSink, WriteAnswer, WriteHandler, direct_writes};
pub use handlers::write_receipt::decode as decode_write_receipt;
pub use histogram::{DurationHistogram, HistogramSnapshot};
pub use job_files::{
    FILE_NAME_BYTES_MAX, JobFileEntry, JobFileError, JobFileKind, JobFileOptions, JobFiles, UnfinishedFile,
};
pub use measure::{QueueMeasure, QueueRates};
pub use pool::{PoolHandle, PoolOptions, QueueOptions, StopReport, WorkerPool};
pub use shared_rates::{RateScope, RateScopeError, SharedRate, SharedRates};
