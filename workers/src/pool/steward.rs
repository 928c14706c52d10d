//! Reports that the pool lives, does what it is told through the broker, and lets the number of attempts at one time follow
//! the backlog.

use std::{sync::Arc, time::Duration};

use tidemark_model::TimestampMs;
use tidemark_queue::{Broker, NumberedCommand, WorkerCommand, WorkerReport};
use tokio_util::sync::CancellationToken;

use super::{
    PoolHandle, PoolOptions, QueueOptions, WorkerPool,
    autoscaler::{Autoscaler, Load},
    backend::ReadyQueue,
};

pub(super) struct Steward {
    broker: Arc<dyn Broker>,
    options: PoolOptions,
    handle: PoolHandle,
    /// Of each queue: jobs that wait for a slot, and who follows the backlog if somebody does.
    queues: Vec<(Arc<ReadyQueue>, Option<Autoscaler>)>,
    started_ms: TimestampMs,
    /// Number of the last command that was done.
    last_command: u64,
}

impl Steward {
    pub(super) fn new(pool: &WorkerPool, ready: Vec<Arc<ReadyQueue>>) -> Self {
        let scaler = |queue: &QueueOptions| {
            let (min, max) = (queue.concurrency.max(1), queue.concurrency_max);
            (max > min).then(|| Autoscaler::new(min, max))
        };
        let queues = ready.into_iter().zip(&pool.options.queues).map(|(ready, queue)| (ready, scaler(queue)));
        Self {
            broker: pool.broker.clone(),
            queues: queues.collect(),
            options: pool.options.clone(),
            handle: pool.handle.clone(),
            started_ms: pool.clock.now_ms(),
            last_command: 0,
        }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut report_at = tokio::time::Instant::now();
        let mut scale_at = report_at + self.options.scale_every;
        let scales = self.queues.iter().any(|(_, scaler)| scaler.is_some());
        loop {
            let next = if scales { report_at.min(scale_at) } else { report_at };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep_until(next) => {}
            }
            if scales && next >= scale_at {
                self.scale();
                scale_at = next + self.options.scale_every;
            }
            if next >= report_at {
                let again_in = self.report().await;
                report_at = tokio::time::Instant::now() + again_in;
            }
        }
    }

    /// Reports, and does what the answer says; after how long to report again.
    async fn report(&mut self) -> Duration {
        let shown = self.options.queues.iter().zip(self.handle.slots.iter());
        let jobs = self.handle.in_hand.iter().flat_map(|in_hand| in_hand.some_jobs(WorkerReport::JOBS_MAX));
        let report = WorkerReport {
            worker: self.options.worker.to_string(),
            version: self.options.version.clone(),
            host: self.options.host.clone(),
            queues: shown
                .map(|(queue, slots)| (queue.queue.to_string(), u32::try_from(slots.limit()).unwrap_or(u32::MAX)))
                .collect(),
            running: u32::try_from(self.handle.in_hand()).unwrap_or(u32::MAX),
            attempts: self.handle.figures.attempts(),
            started_ms: self.started_ms,
            jobs: jobs.take(WorkerReport::JOBS_MAX).collect(),
            last_command: self.last_command,
        };
        match self.broker.heartbeat(report).await {
            Ok(commands) if commands.is_empty() => self.options.heartbeat_every,
            Ok(commands) => {
                commands.into_iter().for_each(|command| self.obey(command));
                // At once, so that whoever asked sees it.
                Duration::ZERO
            }
            Err(error) => {
                tracing::debug!(%error, "report to the broker");
                self.options.heartbeat_every
            }
        }
    }

    fn obey(&mut self, NumberedCommand { number, command }: NumberedCommand) {
        if number <= self.last_command {
            return;
        }
        self.last_command = number;
        match command {
            WorkerCommand::Stop => self.handle.told_to_stop.cancel(),
            WorkerCommand::Scale { queue, concurrency } => {
                let Some(place) = self.options.queues.iter().position(|options| options.queue.as_str() == queue) else {
                    tracing::warn!(queue, concurrency, "told to work on a queue that is none of this worker's");
                    return;
                };
                let most = self.options.queues.get(place).map_or(1, |options| options.scale_max);
                let wanted = usize::try_from(concurrency).unwrap_or(usize::MAX).min(most);
                tracing::info!(queue, wanted, "told how many attempts to run at one time");
                self.set_limit(place, wanted);
                if let Some((_, scaler)) = self.queues.get_mut(place) {
                    // Somebody has decided.
                    *scaler = None;
                }
            }
        }
    }

    fn scale(&mut self) {
        let queues = self.queues.iter_mut().zip(self.handle.slots.iter()).enumerate();
        let changed: Vec<(usize, usize)> = queues
            .filter_map(|(place, ((ready, scaler), slots))| {
                let limit = slots.limit();
                let load = Load { limit, peak: slots.take_peak(), jobs_wait: ready.len() > 0 };
                let wanted = scaler.as_mut()?.look(load);
                (wanted != limit).then_some((place, wanted))
            })
            .collect();
        for (place, wanted) in changed {
            self.set_limit(place, wanted);
        }
    }

    fn set_limit(&self, place: usize, limit: usize) {
        let (Some(slots), Some(in_hand)) = (self.handle.slots.get(place), self.handle.in_hand.get(place)) else {
            return;
        };
        slots.set_limit(limit);
        in_hand.room_has_changed();
    }
}
