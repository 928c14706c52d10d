//! The reporter as a service.

use std::{fmt, sync::Arc, time::Duration};

use tidemark_collector::{AgentCounts, Delivery, DeliveryHandle, DeliveryWatch, SpoolError};
use tidemark_model::{Clock, MetadataStore, PointSink, RateKind};
use tokio::time::{self, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::{
    About, Aggregate, Counter, Events, Gauge, RegisterError, ReporterOptions, Statistic,
    registry::{Function, Instrument, Registry},
};

/// Takes snapshots and delivers them until it is told to stop.
pub struct Reporter {
    registry: Arc<Registry>,
    clock: Arc<dyn Clock>,
    snapshot_every: Duration,
    delivery: Delivery,
    out: DeliveryHandle,
}

/// Registers instruments. Cheap to clone.
#[derive(Clone)]
pub struct ReporterHandle {
    registry: Arc<Registry>,
    clock: Arc<dyn Clock>,
    events_max: usize,
    watch: DeliveryWatch,
}

impl Reporter {
    /// A reporter to `sink`, such as a [`tidemark_collector::RemoteSink`]. Opens the spool, if one is asked for.
    ///
    /// # Errors
    /// The spool cannot be used.
    pub fn new(
        options: ReporterOptions,
        clock: Arc<dyn Clock>,
        sink: Arc<dyn PointSink>,
        metadata: Arc<dyn MetadataStore>,
    ) -> Result<(Self, ReporterHandle), SpoolError> {
        let registry = Arc::new(Registry::new(options.host_tags, options.series_max));
        let (delivery, out) = Delivery::new(options.delivery, Arc::clone(&clock), sink, metadata)?;
        let handle = ReporterHandle {
            registry: Arc::clone(&registry),
            clock: Arc::clone(&clock),
            events_max: options.events_max,
            watch: out.watch(),
        };
        let snapshot_every = options.snapshot_every.max(Duration::from_millis(1));
        Ok((Self { registry, clock, snapshot_every, delivery, out }, handle))
    }

    /// Runs until `stop` fires; then a last snapshot is taken and delivered within the delivery's farewell.
    pub async fn run(self, stop: CancellationToken) {
        let Self { registry, clock, snapshot_every, delivery, out } = self;
        let reporting = async {
            let mut ticks = time::interval(snapshot_every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            // The first tick is at once, when nothing has happened yet.
            ticks.tick().await;
            loop {
                let stopped = stop.run_until_cancelled(ticks.tick()).await.is_none();
                let (batch, metadata) = registry.snapshot(clock.now_ms());
                out.send(batch, metadata).await;
                if stopped {
                    break;
                }
            }
            drop(out);
        };
        tokio::join!(reporting, delivery.run(stop.clone()));
    }
}

impl ReporterHandle {
    /// A total. The same metric and tags give the same counter.
    ///
    /// # Errors
    /// The name is illegal or belongs to an instrument of another kind, or there are too many series.
    pub fn counter(&self, metric: &str, tags: &[(&str, &str)], about: About) -> Result<Counter, RegisterError> {
        match self.registry.register(metric, tags, &about, Instrument::Counter(Counter::default()))? {
            (_, Instrument::Counter(counter)) => Ok(counter),
            (key, _) => Err(RegisterError::OtherKind(key)),
        }
    }

    /// A level that is set. The same metric and tags give the same gauge.
    ///
    /// # Errors
    /// As [`ReporterHandle::counter`].
    pub fn gauge(&self, metric: &str, tags: &[(&str, &str)], about: About) -> Result<Gauge, RegisterError> {
        match self.registry.register(metric, tags, &about, Instrument::Gauge(Gauge::default()))? {
            (_, Instrument::Gauge(gauge)) => Ok(gauge),
            (key, _) => Err(RegisterError::OtherKind(key)),
        }
    }

    /// Statistics of many values; [`Statistic::DEFAULT`] are the usual ones. The same metric and tags give the same
    /// aggregate, with the statistics that it was registered with first.
    ///
    /// # Errors
    /// As [`ReporterHandle::counter`].
    pub fn aggregate(
        &self,
        metric: &str,
        tags: &[(&str, &str)],
        statistics: &[Statistic],
        about: About,
    ) -> Result<Aggregate, RegisterError> {
        let made = Instrument::Aggregate(Aggregate::default(), Arc::from(statistics));
        match self.registry.register(metric, tags, &about, made)? {
            (_, Instrument::Aggregate(aggregate, _)) => Ok(aggregate),
            (key, _) => Err(RegisterError::OtherKind(key)),
        }
    }

    /// Values that each become a point. The same metric and tags give the same events.
    ///
    /// # Errors
    /// As [`ReporterHandle::counter`].
    pub fn events(&self, metric: &str, tags: &[(&str, &str)], about: About) -> Result<Events, RegisterError> {
        let made = Instrument::Events(Events::new(Arc::clone(&self.clock), self.events_max));
        match self.registry.register(metric, tags, &about, made)? {
            (_, Instrument::Events(events)) => Ok(events),
            (key, _) => Err(RegisterError::OtherKind(key)),
        }
    }

    /// A level that is asked for at every snapshot; `None` skips one. The function must not block.
    ///
    /// # Errors
    /// As [`ReporterHandle::counter`], and when there is a function under this name.
    pub fn snapshot_gauge(
        &self,
        metric: &str,
        tags: &[(&str, &str)],
        about: About,
        level: impl Fn() -> Option<f64> + Send + Sync + 'static,
    ) -> Result<(), RegisterError> {
        self.function(metric, tags, &about, Arc::new(level), RateKind::Gauge)
    }

    /// A total that is asked for at every snapshot; `None` skips one. The function must not block.
    ///
    /// # Errors
    /// As [`ReporterHandle::snapshot_gauge`].
    pub fn snapshot_counter(
        &self,
        metric: &str,
        tags: &[(&str, &str)],
        about: About,
        total: impl Fn() -> Option<f64> + Send + Sync + 'static,
    ) -> Result<(), RegisterError> {
        self.function(metric, tags, &about, Arc::new(total), RateKind::Counter)
    }

    /// What became of the points.
    #[must_use]
    pub fn counts(&self) -> AgentCounts {
        self.watch.counts()
    }

    fn function(
        &self,
        metric: &str,
        tags: &[(&str, &str)],
        about: &About,
        function: Function,
        rate: RateKind,
    ) -> Result<(), RegisterError> {
        let made = Instrument::Function(Arc::clone(&function), rate);
        match self.registry.register(metric, tags, about, made)? {
            (_, Instrument::Function(registered, _)) if Arc::ptr_eq(&registered, &function) => Ok(()),
            (key, Instrument::Function(..)) => Err(RegisterError::Taken(key)),
            (key, _) => Err(RegisterError::OtherKind(key)),
        }
    }
}

impl fmt::Debug for Reporter {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Reporter").field("snapshot_every", &self.snapshot_every).finish_non_exhaustive()
    }
}

impl fmt::Debug for ReporterHandle {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ReporterHandle").field("counts", &self.counts()).finish_non_exhaustive()
    }
}
