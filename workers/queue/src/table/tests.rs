//! Random lives of jobs: the table keeps its promises, and what it says has to be written is enough to rebuild it.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::{
    Cancelled, Delivery, FetchRequest, JobFilter, JobKind, LeaseState, NewJob, Outcome, Page, Priority, Receipt,
    Settled, WorkerId, record_codec,
};

const LEASE: Duration = Duration::from_millis(100);

#[derive(Clone, Debug)]
enum Step {
    Push { count: u8, delay_ms: u16, key: Option<u8>, priority: u8, expires_ms: Option<u16> },
    Fetch { max: u8 },
    Complete { which: u8 },
    Fail { which: u8, delay_ms: u16 },
    Snooze { which: u8, delay_ms: u16 },
    Discard { which: u8 },
    Release { which: u8 },
    Extend { which: u8 },
    Cancel { which: u8 },
    RetryByHand { which: u8 },
    Advance { millis: u16 },
    Tick,
}

fn step() -> impl Strategy<Value = Step> {
    let key = || proptest::option::weighted(0.3, 0u8..4);
    prop_oneof![
        3 => (1u8..5, prop_oneof![Just(0u16), 0u16..300], key(), 0u8..3, proptest::option::weighted(0.1, 0u16..500))
            .prop_map(|(count, delay_ms, key, priority, expires_ms)| Step::Push { count, delay_ms, key, priority, expires_ms }),
        3 => (0u8..6).prop_map(|max| Step::Fetch { max }),
        3 => any::<u8>().prop_map(|which| Step::Complete { which }),
        1 => (any::<u8>(), 0u16..200).prop_map(|(which, delay_ms)| Step::Fail { which, delay_ms }),
        1 => (any::<u8>(), 0u16..200).prop_map(|(which, delay_ms)| Step::Snooze { which, delay_ms }),
        1 => any::<u8>().prop_map(|which| Step::Discard { which }),
        1 => any::<u8>().prop_map(|which| Step::Release { which }),
        1 => any::<u8>().prop_map(|which| Step::Extend { which }),
        1 => any::<u8>().prop_map(|which| Step::Cancel { which }),
        1 => any::<u8>().prop_map(|which| Step::RetryByHand { which }),
        2 => (0u16..150).prop_map(|millis| Step::Advance { millis }),
        2 => Just(Step::Tick),
    ]
}

/// What a file would hold after the changes so far.
#[derive(Default)]
struct Disk {
    jobs: BTreeMap<u64, (Vec<u8>, u32, u32, Option<i64>)>,
    leases: BTreeMap<u64, Vec<(u64, u32)>>,
    shelved: BTreeMap<(bool, u64), Arc<Finished>>,
}

impl Disk {
    fn write(&mut self, change: Change) {
        match change {
            Change::Insert { sequence, body, .. } => drop(self.jobs.insert(sequence, (body, 0, 0, None))),
            Change::Delete { sequence } => assert!(self.jobs.remove(&sequence).is_some(), "deleted twice"),
            Change::Update { sequence, attempts, rescues, run_at_ms, .. } => {
                let job = self.jobs.get_mut(&sequence).expect("an update is of a job that is there");
                (job.1, job.2, job.3) = (attempts, rescues, Some(run_at_ms));
            }
            Change::Lease { token, jobs, .. } => {
                assert!(self.leases.insert(token, jobs).is_none(), "a token came twice")
            }
            Change::LeaseLeft { token, jobs } => assert!(self.leases.insert(token, jobs).is_some(), "a lease is gone"),
            Change::Unlease { token } => drop(self.leases.remove(&token)),
            Change::Shelve(shelved) => {
                self.shelved.insert((shelved.shelf == ShelfKind::History, shelved.number), shelved.finished);
            }
            Change::Unshelve { shelf, number } => drop(self.shelved.remove(&(shelf == ShelfKind::History, number))),
            _ => {}
        }
    }
}

struct Run {
    table: JobTable,
    now: Now,
    disk: Disk,
    next_id: u64,
    ids: Vec<JobId>,
    held: Vec<Delivery>,
    finished: BTreeSet<JobId>,
}

impl Run {
    fn new() -> Self {
        let options = BrokerOptions { lease: LEASE, ..BrokerOptions::default() };
        Self {
            table: JobTable::new(options),
            now: Now { wall_ms: 1_000_000, monotonic: Duration::from_secs(1) },
            disk: Disk::default(),
            next_id: 1,
            ids: Vec::new(),
            held: Vec::new(),
            finished: BTreeSet::new(),
        }
    }

    fn push(&mut self, delay_ms: u16, key: Option<u8>, priority: u8, expires_ms: Option<u16>) {
        let mut bytes = [0; 16];
        bytes[8..].copy_from_slice(&self.next_id.to_be_bytes());
        self.next_id += 1;
        let id = JobId::from_bytes(bytes);
        let mut job = NewJob::from_bytes(JobKind::Notify, "payload".into());
        job.attempts_max = 3;
        job.priority = Priority::ALL[usize::from(priority)];
        if delay_ms > 0 {
            job = job.not_before(self.now.wall_ms + i64::from(delay_ms));
        }
        if let Some(key) = key {
            job = job.unique_until_done(key.to_string());
        }
        job.expires_ms = expires_ms.map(|after| self.now.wall_ms + i64::from(after));
        let record = Arc::new(job.into_record(id, self.now.wall_ms));
        let body = record_codec::encode(&record);
        match self.table.push(self.now, vec![PreparedJob { record, body }]).unwrap()[0] {
            Pushed::Queued(queued) => {
                assert_eq!(queued, id);
                self.ids.push(id);
            }
            Pushed::Duplicate(holder) => assert!(self.ids.contains(&holder) && !self.finished.contains(&holder)),
        }
    }

    fn fetch(&mut self, max: u8) {
        let request = FetchRequest {
            worker: WorkerId::new("w"),
            queues: vec![JobKind::Notify.default_queue()],
            max: usize::from(max),
            wait: Duration::ZERO,
        };
        for delivery in self.table.fetch(self.now, &request) {
            assert!(!self.finished.contains(&delivery.job.id), "a finished job was handed out");
            assert!(delivery.job.not_before_ms.is_none_or(|due_ms| due_ms <= self.now.wall_ms), "too early");
            assert!(delivery.job.expires_ms.is_none_or(|expires_ms| expires_ms > self.now.wall_ms), "too late");
            assert!((1..=3).contains(&delivery.attempt) && delivery.rescues < 3);
            self.held.push(delivery);
        }
    }

    fn settle(&mut self, which: u8, outcome: Outcome) {
        let Some(delivery) = self.take_held(which) else { return };
        let id = delivery.job.id;
        match self.table.settle(self.now, vec![(delivery.receipt.clone(), outcome.clone())])[0] {
            Settled::Recorded(_) => {
                // Of the receipts of one job one is good, and once.
                assert_eq!(self.table.settle(self.now, vec![(delivery.receipt, outcome)]), [Settled::Stale]);
            }
            Settled::Stale => {}
        }
        self.note_if_finished(id);
    }

    fn take_held(&mut self, which: u8) -> Option<Delivery> {
        (!self.held.is_empty()).then(|| self.held.swap_remove(usize::from(which) % self.held.len()))
    }

    fn note_if_finished(&mut self, id: JobId) {
        if self.table.view(id).is_some_and(|view| view.state.is_final()) {
            self.finished.insert(id);
        }
    }

    fn make(&mut self, step: Step) {
        let after = |delay_ms: u16| Duration::from_millis(u64::from(delay_ms));
        match step {
            Step::Push { count, delay_ms, key, priority, expires_ms } => {
                (0..count).for_each(|_| self.push(delay_ms, key, priority, expires_ms));
            }
            Step::Fetch { max } => self.fetch(max),
            Step::Complete { which } => self.settle(which, Outcome::Completed { result: None }),
            Step::Fail { which, delay_ms } => {
                self.settle(which, Outcome::Retry { reason: "no".to_owned(), delay: after(delay_ms) });
            }
            Step::Snooze { which, delay_ms } => self.settle(which, Outcome::Snooze { delay: after(delay_ms) }),
            Step::Discard { which } => self.settle(which, Outcome::Discard { reason: "no use".to_owned() }),
            Step::Release { which } => {
                if let Some(delivery) = self.take_held(which) {
                    self.table.release(self.now, &[delivery.receipt]);
                    self.note_if_finished(delivery.job.id);
                }
            }
            Step::Extend { which } => {
                if let Some(delivery) = self.held.get(usize::from(which) % self.held.len().max(1)) {
                    let receipts: [Receipt; 1] = [delivery.receipt.clone()];
                    assert!(matches!(
                        self.table.extend(self.now, &receipts)[0],
                        LeaseState::Held | LeaseState::Lost | LeaseState::CancelRequested
                    ));
                }
            }
            Step::Cancel { which } => {
                if let Some(id) = self.ids.get(usize::from(which) % self.ids.len().max(1)).copied() {
                    let cancelled = self.table.cancel(self.now, id);
                    assert_eq!(matches!(cancelled, Cancelled::TooLate(_)), self.finished.contains(&id));
                    self.note_if_finished(id);
                }
            }
            Step::RetryByHand { which } => {
                if let Some(id) = self.ids.get(usize::from(which) % self.ids.len().max(1)).copied()
                    && self.table.retry(self.now, id)
                {
                    self.finished.remove(&id);
                }
            }
            Step::Advance { millis } => {
                self.now.wall_ms += i64::from(millis);
                self.now.monotonic += Duration::from_millis(u64::from(millis));
            }
            Step::Tick => drop(self.table.tick(self.now)),
        }
        for id in self.ids.clone() {
            self.note_if_finished(id);
        }
        for change in self.table.take_changes() {
            self.disk.write(change);
        }
    }

    /// Counters agree with the jobs, every job is somewhere, and the file holds the jobs that have not ended.
    fn check(&self) {
        let page = self.table.list(&JobFilter::default(), &Page::first(Page::LIMIT_MAX));
        let listed: BTreeSet<JobId> = page.jobs.iter().map(|view| view.id).collect();
        assert_eq!(listed, self.ids.iter().copied().collect(), "every job is somewhere, once");
        let count = |state: JobState| page.jobs.iter().filter(|view| view.state == state).count() as u64;
        if let Some(stats) = self.table.queue_stats(self.now).first() {
            let counted = [stats.scheduled, stats.ready, stats.running, stats.retryable, stats.discarded];
            let states =
                [JobState::Scheduled, JobState::Available, JobState::Running, JobState::Retryable, JobState::Discarded];
            assert_eq!(counted, states.map(count));
        }
        let unfinished: BTreeMap<JobId, u32> = self
            .disk
            .jobs
            .values()
            .map(|(body, attempts, ..)| (record_codec::decode(body).unwrap().id, *attempts))
            .collect();
        let expect: BTreeMap<JobId, u32> =
            self.table.entries.values().map(|entry| (entry.record.id, entry.attempts)).collect();
        assert_eq!(unfinished, expect, "the file holds the jobs that have not ended");
        let leased: u64 = self.table.batches.len() as u64;
        assert_eq!(leased, self.disk.leases.len() as u64, "the file holds the leases");
    }

    /// The process ends here and another one reads the file.
    fn restart(self) -> (BTreeSet<JobId>, JobTable) {
        let live: BTreeSet<JobId> = self.table.entries.values().map(|entry| entry.record.id).collect();
        let mut table = JobTable::new(self.table.options.clone());
        for (sequence, (body, attempts, rescues, run_at_ms)) in self.disk.jobs {
            let record = record_codec::decode(&body).unwrap();
            let run_at_ms = run_at_ms.or(record.not_before_ms).unwrap_or(record.created_ms);
            let stored =
                StoredJob { sequence, record, attempts, rescues, run_at_ms, error: None, attempts_made: Vec::new() };
            table.restore_job(self.now, stored);
        }
        for (token, jobs) in self.disk.leases {
            table.restore_lease(self.now, &StoredLease { token, jobs, worker: None, started_ms: None });
        }
        (live, table)
    }
}

proptest! {
    #[test]
    fn jobs_live_as_promised_whatever_happens(steps in proptest::collection::vec(step(), 1..120)) {
        let mut run = Run::new();
        for step in steps {
            run.make(step);
            run.check();
        }
        let running: BTreeSet<JobId> = run.table.entries.values()
            .filter(|entry| entry.state == JobState::Running).map(|entry| entry.record.id).collect();
        let (live, table) = run.restart();
        let restored: BTreeSet<JobId> = table.entries.values().map(|entry| entry.record.id).collect();
        // What was running may have been rescued once too often, and is discarded then.
        prop_assert!(live.difference(&restored).all(|id| running.contains(id) && table.discarded.get(*id).is_some()));
        prop_assert!(restored.is_subset(&live));
        prop_assert!(table.entries.values().all(|entry| entry.state != JobState::Running));
        let rescued = table.entries.values().filter(|entry| running.contains(&entry.record.id));
        prop_assert!(rescued.clone().all(|entry| entry.rescues > 0), "{:?}", rescued.collect::<Vec<_>>());
    }
}
