//! What holds jobs back: the settings of queues, and rates that all processes share. When rates were last used is in memory
//! alone; after a restart each begins with its burst.

use std::time::Duration;

use foldhash::{HashMap, HashMapExt};

use super::{Change, JobTable, Now, PreparedJob, QueueState};
use crate::{BrokerError, QueueName, QueueSettings, RateClaim, rate::Turn};

/// Most shared rates that are remembered. A claim to another one has to wait for [`CROWDED_WAIT`].
const SHARED_MAX: usize = 100_000;
const CROWDED_WAIT: Duration = Duration::from_secs(1);
/// How often rates are forgotten that are as if they had never been used.
const FORGET_EVERY: Duration = Duration::from_secs(10);

/// Rates by name.
pub(super) struct SharedRates {
    turns: HashMap<String, Turn>,
    forget_at: Duration,
}

impl SharedRates {
    pub(super) fn new() -> Self {
        Self { turns: HashMap::new(), forget_at: Duration::ZERO }
    }

    /// Takes the turn of a job if all of its rates allow it; else says how long it has to wait.
    fn admit(&mut self, now: Duration, claim: &RateClaim) -> Duration {
        let turn = |name: &str| self.turns.get(name).copied();
        let news = claim.limits.iter().filter(|limit| turn(&limit.name).is_none()).count();
        if self.turns.len() + news > SHARED_MAX {
            return CROWDED_WAIT;
        }
        let waits = claim.limits.iter().map(|limit| turn(&limit.name).unwrap_or_default().wait(now, limit.rate));
        let wait = waits.max().unwrap_or_default();
        if wait.is_zero() {
            for limit in &claim.limits {
                self.turns.entry(limit.name.clone()).or_default().take(now, limit.rate);
            }
        }
        wait
    }

    fn forget_unused(&mut self, now: Duration) {
        if now >= self.forget_at {
            self.forget_at = now + FORGET_EVERY;
            self.turns.retain(|_, turn| !turn.is_over(now));
        }
    }
}

impl JobTable {
    pub(crate) fn set_queue(&mut self, queue: &QueueName, settings: QueueSettings) {
        // Whatever held jobs back may be gone.
        self.became_ready = true;
        self.changes.push(Change::SetQueue { queue: queue.clone(), settings: settings.clone() });
        self.queue_mut(queue).settings = settings;
    }

    pub(crate) fn set_paused(&mut self, queue: &QueueName, paused: bool) {
        let settings = QueueSettings { paused, ..self.queue_mut(queue).settings.clone() };
        self.set_queue(queue, settings);
    }

    /// How long until a queue gives a job that only its rate holds back; `None` when there is no such job.
    pub(crate) fn next_turn(&self, now: Now, queues: &[QueueName]) -> Option<Duration> {
        let states = queues.iter().filter_map(|queue| self.queues.get(queue));
        let held_back = states.filter(|state| state.ready > 0 && !state.is_stopped());
        held_back.map(|state| state.wait(now.monotonic)).filter(|wait| !wait.is_zero()).min()
    }

    pub(crate) fn admit(&mut self, now: Now, claims: &[RateClaim]) -> Vec<Duration> {
        claims.iter().map(|claim| self.shared_rates.admit(now.monotonic, claim)).collect()
    }

    pub(super) fn forget_unused_rates(&mut self, now: Now) {
        self.shared_rates.forget_unused(now.monotonic);
    }

    pub(super) fn check_room(&self, jobs: &[PreparedJob]) -> Result<(), BrokerError> {
        let mut added: std::collections::BTreeMap<&QueueName, (u64, u64)> = std::collections::BTreeMap::new();
        for job in jobs {
            let (count, bytes) = added.entry(&job.record.queue).or_default();
            *count += 1;
            *bytes += job.record.data_bytes() as u64;
        }
        added.into_iter().try_for_each(|(queue, (count, bytes))| self.check_room_of(queue, count, bytes))
    }

    /// Checks that a queue takes so many jobs and bytes more.
    pub(super) fn check_room_of(&self, queue: &QueueName, count: u64, bytes: u64) -> Result<(), BrokerError> {
        let state = self.queues.get(queue);
        let own = state.map(|state| &state.settings);
        if own.is_some_and(|settings| settings.draining) {
            return Err(BrokerError::Draining { queue: queue.clone() });
        }
        let (waiting, waiting_bytes) = state.map_or((0, 0), QueueState::waiting);
        let own_max = own.and_then(|settings| settings.jobs_max);
        let jobs_max = own_max.unwrap_or(self.options.queue_jobs_max);
        if waiting + count > jobs_max {
            return Err(full(queue, waiting, "jobs", jobs_max, own_max.is_some()));
        }
        let own_max = own.and_then(|settings| settings.bytes_max);
        let bytes_max = own_max.unwrap_or(self.options.queue_bytes_max);
        if waiting_bytes + bytes > bytes_max {
            return Err(full(queue, waiting_bytes, "payload bytes", bytes_max, own_max.is_some()));
        }
        Ok(())
    }
}

/// The error for a queue that is longer than its limit; its own one, or that of the options.
pub(crate) fn full(queue: &QueueName, waiting: u64, unit: &'static str, limit: u64, is_own: bool) -> BrokerError {
    let setting = match (unit, is_own) {
        ("jobs", false) => "queue.jobs_max",
        ("jobs", true) => "jobs_max of this queue",
        (_, false) => "queue.bytes_max",
        (_, true) => "bytes_max of this queue",
    };
    BrokerError::Full { queue: queue.clone(), waiting, limit, unit, setting }
}
