//! Random calls on every broker and on a plain model: what a job is and what a call answers must agree.
//!
//! Time does not matter here: delays are none or an hour, and leases do not run out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

mod support;

use std::{collections::BTreeMap, time::Duration};

use support::{Harness, Kind, cluster::RedisCluster, every_broker::Start, job, padded, text_of};
use tidemark_queue::{
    BrokerOptions, Cancelled, Delivery, JobId, JobState, LeaseState, NewJob, Outcome, Pushed, RedisOptions, Settled,
};

const HOUR: Duration = Duration::from_secs(3_600);
const ATTEMPTS_MAX: u32 = 3;

/// A job as it should be.
#[derive(Clone, Debug)]
struct Expected {
    state: JobState,
    /// Attempts that failed.
    failed: u32,
    key: Option<u64>,
    cancel_requested: bool,
    payload_bytes: usize,
}

struct Model {
    harness: Harness,
    jobs: BTreeMap<JobId, Expected>,
    held: Vec<Delivery>,
    random: u64,
    log: Vec<String>,
}

impl Model {
    /// Steele, Lea and Flood's SplitMix64.
    fn below(&mut self, bound: usize) -> usize {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % bound.max(1) as u64) as usize
    }

    fn holder_of(&self, key: u64) -> Option<JobId> {
        let holds = |job: &Expected| job.key == Some(key) && !job.state.is_final();
        self.jobs.iter().find(|(_, job)| holds(job)).map(|(id, _)| *id)
    }

    fn ready(&self) -> usize {
        self.jobs.values().filter(|job| job.state == JobState::Available).count()
    }

    async fn push(&mut self) {
        let key = (self.below(3) == 0).then(|| self.below(4) as u64);
        let is_delayed = self.below(5) == 0;
        let is_large = self.below(3) == 0;
        let new = if is_large { padded(job("x")) } else { job("x") };
        let mut new = NewJob { attempts_max: ATTEMPTS_MAX, ..new };
        let payload_bytes = new.payload.len();
        if let Some(key) = key {
            new = new.unique_until_done(key.to_string());
        }
        if is_delayed {
            new = new.not_before(self.harness.now_ms() + 3_600_000);
        }
        let holder = key.and_then(|key| self.holder_of(key));
        let pushed = self.harness.push(vec![new]).await[0];
        self.log.push(format!("push {key:?} -> {pushed:?}"));
        match holder {
            Some(holder) => assert_eq!(pushed, Pushed::Duplicate(holder)),
            None => {
                assert!(matches!(pushed, Pushed::Queued(_)));
                let state = if is_delayed { JobState::Scheduled } else { JobState::Available };
                let expected = Expected { state, failed: 0, key, cancel_requested: false, payload_bytes };
                self.jobs.insert(pushed.id(), expected);
            }
        }
    }

    async fn fetch(&mut self) {
        let wanted = 1 + self.below(4);
        let expected = wanted.min(self.ready());
        let deliveries = self.harness.fetch(wanted).await;
        self.log.push(format!("fetch {wanted} -> {}", deliveries.len()));
        assert_eq!(deliveries.len(), expected);
        for delivery in deliveries {
            let job = self.jobs.get_mut(&delivery.job.id).expect("a job that was pushed");
            assert_eq!((job.state, delivery.attempt), (JobState::Available, job.failed + 1));
            assert_eq!((text_of(&delivery), delivery.job.payload.len()), ("x".to_owned(), job.payload_bytes));
            job.state = JobState::Running;
            self.held.push(delivery);
        }
    }

    async fn settle(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let which = self.below(self.held.len());
        let delivery = self.held.swap_remove(which);
        let id = delivery.job.id;
        let Expected { failed, cancel_requested, .. } = self.jobs[&id].clone();
        let delay = if self.below(2) == 0 { Duration::ZERO } else { HOUR };
        let later = |state| if delay.is_zero() { JobState::Available } else { state };
        let retry = Outcome::Retry { reason: "no".to_owned(), delay };
        // What a broker makes of a job that was called off and comes back is its own matter.
        let choices = if cancel_requested { 3 } else { 6 };
        let (outcome, answer, state, fails) = match self.below(choices) {
            0 => (Outcome::Completed { result: None }, JobState::Completed, JobState::Completed, 0),
            1 => (Outcome::Cancelled { reason: "no".to_owned() }, JobState::Cancelled, JobState::Cancelled, 0),
            2 => (Outcome::Discard { reason: "no".to_owned() }, JobState::Discarded, JobState::Discarded, 0),
            3 if failed == 0 => (Outcome::Snooze { delay }, JobState::Scheduled, later(JobState::Scheduled), 0),
            _ if failed + 1 >= ATTEMPTS_MAX => (retry, JobState::Discarded, JobState::Discarded, 0),
            _ => (retry, JobState::Retryable, later(JobState::Retryable), 1),
        };
        self.log.push(format!("settle {id} {outcome:?}"));
        let settlement = vec![(delivery.receipt, outcome)];
        assert_eq!(self.harness.broker.settle(settlement.clone()).await.unwrap(), [Settled::Recorded(answer)]);
        assert_eq!(self.harness.broker.settle(settlement).await.unwrap(), [Settled::Stale]);
        self.harness.broker.tick().await.unwrap();
        let job = self.jobs.get_mut(&id).unwrap();
        job.state = state;
        job.failed += fails;
    }

    async fn release(&mut self) {
        let free = self.held.iter().position(|delivery| !self.jobs[&delivery.job.id].cancel_requested);
        let Some(which) = free else { return };
        let delivery = self.held.swap_remove(which);
        self.log.push(format!("release {}", delivery.job.id));
        self.harness.broker.release(vec![delivery.receipt.clone()]).await.unwrap();
        assert_eq!(self.harness.broker.extend(&[delivery.receipt]).await.unwrap(), [LeaseState::Lost]);
        self.jobs.get_mut(&delivery.job.id).unwrap().state = JobState::Available;
    }

    fn any_job(&mut self) -> Option<JobId> {
        let which = self.below(self.jobs.len());
        self.jobs.keys().nth(which).copied()
    }

    async fn cancel(&mut self) {
        let Some(id) = self.any_job() else { return };
        let job = self.jobs.get_mut(&id).unwrap();
        let expected = match job.state {
            JobState::Running => {
                job.cancel_requested = true;
                Cancelled::Requested
            }
            state if state.is_final() => Cancelled::TooLate(state),
            _ => {
                job.state = JobState::Cancelled;
                Cancelled::Now
            }
        };
        self.log.push(format!("cancel {id} -> {expected:?}"));
        assert_eq!(self.harness.broker.cancel(id).await.unwrap(), expected);
    }

    async fn retry(&mut self) {
        let Some(id) = self.any_job() else { return };
        let job = self.jobs[&id].clone();
        let is_free = job.key.is_none_or(|key| self.holder_of(key).is_none());
        let expected = match job.state {
            // Which of the finished jobs but the discarded ones come back is a broker's own matter.
            JobState::Cancelled => return,
            JobState::Discarded => is_free,
            JobState::Retryable => true,
            _ => false,
        };
        self.log.push(format!("retry {id} -> {expected}"));
        assert_eq!(self.harness.broker.retry(id).await.unwrap(), expected);
        if expected {
            let fresh = Expected { state: JobState::Available, failed: 0, cancel_requested: false, ..job };
            self.jobs.insert(id, fresh);
        }
    }

    async fn extend(&mut self) {
        let receipts: Vec<_> = self.held.iter().map(|delivery| delivery.receipt.clone()).collect();
        let requested = |delivery: &Delivery| self.jobs[&delivery.job.id].cancel_requested;
        let expected: Vec<LeaseState> = self
            .held
            .iter()
            .map(|delivery| if requested(delivery) { LeaseState::CancelRequested } else { LeaseState::Held })
            .collect();
        assert_eq!(self.harness.broker.extend(&receipts).await.unwrap(), expected);
    }

    async fn check(&self) {
        for (id, job) in &self.jobs {
            let view = self.harness.broker.job(*id).await.unwrap();
            let view = view.unwrap_or_else(|| panic!("job {id} is gone: {job:?}"));
            assert_eq!((view.state, view.payload_bytes), (job.state, job.payload_bytes), "job {id}");
            let is_kept = job.state != JobState::Completed;
            assert_eq!(view.payload.len(), if is_kept { job.payload_bytes } else { 0 }, "job {id}: {:?}", job.state);
        }
        let Some(stats) = self.harness.broker.queues().await.unwrap().into_iter().next() else { return };
        let count = |state| self.jobs.values().filter(|job| job.state == state).count() as u64;
        assert_eq!(
            [stats.ready, stats.running, stats.scheduled, stats.retryable, stats.discarded],
            [JobState::Available, JobState::Running, JobState::Scheduled, JobState::Retryable, JobState::Discarded]
                .map(count)
        );
    }

    async fn run(&mut self, steps: usize) {
        for step in 0..steps {
            match self.below(12) {
                0..=2 => self.push().await,
                3..=5 => self.fetch().await,
                6..=7 => self.settle().await,
                8 => self.release().await,
                9 => self.cancel().await,
                10 => self.retry().await,
                _ => self.extend().await,
            }
            if step % 8 == 7 {
                self.check().await;
            }
        }
        self.check().await;
    }
}

async fn agrees_with_the_model(start: impl Fn(u64) -> Start, runs: u64, steps: usize) {
    for seed in 0..runs {
        let Some(harness) = start(seed).harness(BrokerOptions::default()).await else { return };
        let mut model =
            Model { harness, jobs: BTreeMap::new(), held: Vec::new(), random: seed, log: vec![format!("seed {seed}")] };
        let outcome = futures_catch(model.run(steps)).await;
        if let Err(panic) = outcome {
            eprintln!("{}", model.log.join("\n"));
            std::panic::resume_unwind(panic);
        }
    }
}

/// Runs a future; what it panicked with.
async fn futures_catch(future: impl Future<Output = ()>) -> std::thread::Result<()> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|context| {
        let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| future.as_mut().poll(context)));
        match polled {
            Ok(std::task::Poll::Ready(())) => std::task::Poll::Ready(Ok(())),
            Ok(std::task::Poll::Pending) => std::task::Poll::Pending,
            Err(panic) => std::task::Poll::Ready(Err(panic)),
        }
    })
    .await
}

#[tokio::test]
async fn the_broker_in_memory_agrees_with_the_model() {
    agrees_with_the_model(|_| Start::own(Kind::Memory), 200, 150).await;
}

#[tokio::test]
async fn the_embedded_broker_agrees_with_the_model() {
    agrees_with_the_model(|_| Start::own(Kind::Embedded), 10, 100).await;
}

#[tokio::test]
async fn the_broker_in_redis_agrees_with_the_model() {
    agrees_with_the_model(|_| Start::own(Kind::Redis), 10, 100).await;
}

#[tokio::test]
async fn the_broker_in_a_cluster_agrees_with_the_model() {
    let Some(cluster) = RedisCluster::start(0).await else { return };
    let prefixed = |seed| RedisOptions { prefix: format!("tidemark:{seed}"), ..cluster.options() };
    agrees_with_the_model(|seed| Start::reaching(prefixed(seed)), 10, 100).await;
}
