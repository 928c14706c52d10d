//! Calls of `transition.lua`: where jobs leave, and what follows from it.

use std::time::Duration;

use bytes::Bytes;

use super::{
    Fate, HeldFrame, RedisBroker,
    frame::{self, Item},
    keys::QueueKeys,
    workflows::outbox_entry,
};
use crate::{
    BrokerError, JobId, JobNote, JobRecord, JobResult, JobState, NodeRef, Outcome, QueueName, RESULT_BYTES_MAX,
    WorkerId, finished_codec,
    job_journal::EventKind,
    record_codec::millis,
    table::{Finished, view_of},
    text::shorten,
};

/// Frames that nobody could read which are kept for a look.
const UNREADABLE_MAX: usize = 1_000;
/// How long the payloads of their jobs are kept.
const UNREADABLE_PAYLOAD_KEPT: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Where jobs are taken from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// A pending frame, idle for at least so long if that is not 0.
    Pending { level: u8, entry: (u64, u64), jobs: usize, min_idle_ms: u64 },
    /// A frame that nobody has.
    Queued { level: u8, entry: (u64, u64), jobs: usize },
    /// A delayed job.
    Delayed { id: JobId, state: JobState },
    /// A discarded job.
    Discarded { id: JobId },
}

/// Gathers moves for one call.
pub(super) struct Transition<'a> {
    broker: &'a RedisBroker,
    queue: QueueName,
    keys: QueueKeys,
    extra_keys: Vec<String>,
    moves: Vec<Move>,
}

struct Move {
    source: [Vec<u8>; 5],
    effects: Vec<[Vec<u8>; 5]>,
    /// Jobs that it ends.
    ended: Vec<JobId>,
    /// The job that had ended and is queued again.
    reopened: Option<JobId>,
    discarded: Option<JobId>,
}

fn text(value: impl ToString) -> Vec<u8> {
    value.to_string().into_bytes()
}

pub(super) fn entry_text(entry: (u64, u64)) -> String {
    format!("{}-{}", entry.0, entry.1)
}

impl<'a> Transition<'a> {
    pub(super) fn new(broker: &'a RedisBroker, queue: &QueueName) -> Self {
        let keys = broker.shared.keys.queue(queue);
        Self { broker, queue: queue.clone(), keys, extra_keys: Vec::new(), moves: Vec::new() }
    }

    /// Begins a move; the effects that follow happen if it is made.
    pub(super) fn take(&mut self, source: &Source) {
        let discarded = match source {
            Source::Discarded { id } => Some(*id),
            _ => None,
        };
        let source = match source {
            Source::Pending { level, entry, jobs, min_idle_ms } => {
                [text("p"), text(level), text(entry_text(*entry)), text(jobs), text(min_idle_ms)]
            }
            Source::Queued { level, entry, jobs } => {
                [text("q"), text(level), text(entry_text(*entry)), text(jobs), text(0)]
            }
            Source::Delayed { id, state } => {
                let retryable = u8::from(*state == JobState::Retryable);
                [text("z"), id.as_bytes().to_vec(), text(retryable), text(0), text(0)]
            }
            Source::Discarded { id } => [text("d"), id.as_bytes().to_vec(), text(0), text(0), text(0)],
        };
        self.moves.push(Move { source, effects: Vec::new(), ended: Vec::new(), reopened: None, discarded });
    }

    fn effect(&mut self, kind: &str, arguments: [Vec<u8>; 4]) {
        let [a, b, c, d] = arguments;
        if let Some(last) = self.moves.last_mut() {
            last.effects.push([text(kind), a, b, c, d]);
        }
    }

    fn extra_key(&mut self, key: String) -> Vec<u8> {
        self.extra_keys.push(key);
        text(self.extra_keys.len())
    }

    pub(super) fn count(&mut self, counter: &str, by: i64) {
        if by != 0 {
            self.effect("c", [text(counter), text(by), Vec::new(), Vec::new()]);
        }
    }

    /// Lines a job up at the front level: it has waited before.
    pub(super) fn requeue(&mut self, item: &Item) {
        let mut frame = Vec::new();
        frame::append(&mut frame, item);
        self.moves.last_mut().into_iter().for_each(|one| one.reopened = one.discarded);
        let id = |is_wanted: bool| if is_wanted { item.id().as_bytes().to_vec() } else { Vec::new() };
        self.effect("a", [text(0), frame, id(item.record.workflow.is_some()), id(item.apart.is_some())]);
        self.count("bytes", i64::try_from(item.data_bytes()).unwrap_or(0));
    }

    pub(super) fn delay(&mut self, item: &Item, state: JobState) {
        let retryable = u8::from(state == JobState::Retryable);
        let id = item.id().as_bytes().to_vec();
        self.effect("z", [id, text(item.available_ms), text(retryable), item.encode_delayed(state)]);
        self.count("bytes", i64::try_from(item.data_bytes()).unwrap_or(0));
    }

    /// Gives the payload of a job that is queued again a key of its own, if it is large.
    pub(super) fn keep_payload_apart(&mut self, item: &mut Item) {
        self.broker.shared.keep_apart(item);
        if item.apart.is_some() {
            let key = self.extra_key(self.keys.payload(item.id()));
            self.effect("s", [key, item.record.payload.to_vec(), Vec::new(), Vec::new()]);
        }
    }

    pub(super) fn claim_key(&mut self, record: &JobRecord) {
        use crate::UniqueMode;
        let Some(unique) = &record.unique else { return };
        let period_ms = match unique.mode {
            UniqueMode::UntilDone => 0,
            UniqueMode::For(period) => millis(period).max(1),
        };
        let key = self.extra_key(self.keys.unique(&unique.key));
        self.effect("k", [key, record.id.as_bytes().to_vec(), text(period_ms), Vec::new()]);
    }

    /// Ends a job, whose payload is read if it is to be kept.
    pub(super) fn finish(&mut self, item: &Item, end: &End) {
        let record = &item.record;
        self.moves.last_mut().into_iter().for_each(|one| one.ended.push(record.id));
        if let Some(unique) = &record.unique {
            let key = self.extra_key(self.keys.unique(&unique.key));
            self.effect("u", [key, record.id.as_bytes().to_vec(), Vec::new(), Vec::new()]);
        }
        if item.apart.is_some() {
            let key = self.extra_key(self.keys.payload(record.id));
            self.effect("t", [key, Vec::new(), Vec::new(), Vec::new()]);
        }
        if let Some(node) = record.workflow {
            let end = JobResult { state: end.state, result: end.result.clone(), error: end.error.clone() };
            self.tell_workflow(node, record.id, &end);
        }
        let result = end.result.as_ref().filter(|result| result.len() <= RESULT_BYTES_MAX);
        let result = result.filter(|_| record.result_ttl.is_some()).cloned();
        if end.told.is_some() {
            let key = self.extra_key(self.keys.told(record.id));
            self.effect("t", [key, Vec::new(), Vec::new(), Vec::new()]);
        }
        let asked_for = record.result_ttl.is_some() || end.state != JobState::Completed || item.attempts > 0;
        if asked_for || self.broker.history_allowed() {
            self.keep(item, end, result);
        }
    }

    /// Tells a workflow that the job of a node has ended.
    pub(super) fn tell_workflow(&mut self, node: NodeRef, job: JobId, end: &JobResult) {
        let key = self.extra_key(self.keys.outbox.clone());
        self.effect("o", [key, outbox_entry(node, end), job.as_bytes().to_vec(), Vec::new()]);
    }

    /// Keeps a frame that cannot be read, for a look, and for some days the payloads of its jobs that have keys of their own.
    pub(super) fn set_aside(&mut self, frame: &[u8], apart: &[JobId]) {
        let key = self.extra_key(self.keys.unreadable.clone());
        self.effect("b", [key, frame.to_vec(), text(UNREADABLE_MAX), Vec::new()]);
        for job in apart {
            let key = self.extra_key(self.keys.payload(*job));
            self.effect("e", [key, text(millis(UNREADABLE_PAYLOAD_KEPT)), Vec::new(), Vec::new()]);
        }
    }

    fn keep(&mut self, item: &Item, end: &End, result: Option<Bytes>) {
        let record = match end.state {
            JobState::Completed => item.record.without_data(),
            _ => (*item.record).clone(),
        };
        let mut view = view_of(&item.record, end.state, item.attempts + u32::from(end.ran));
        view.payload_bytes = item.payload_len();
        view.rescues = item.rescues;
        view.worker.clone_from(&end.worker);
        view.started_ms = end.started_ms;
        view.finished_ms = Some(self.broker.shared.clock.now_ms());
        view.error = end.error.clone().map(shorten).or_else(|| item.error.clone());
        view.result = result;
        view.attempts = if end.ran {
            let now_ms = self.broker.shared.clock.now_ms();
            item.attempts_ended(end.worker.clone(), end.started_ms, now_ms, end.error.as_deref())
        } else {
            item.attempts_made.clone()
        };
        let told = end.told.clone().unwrap_or_default();
        view.progress = told.progress;
        let blob = finished_codec::encode(&Finished { view, record: record.into(), log: told.lines.into() });
        let id = item.id();
        if let Some(ttl) = item.record.result_ttl {
            let key = self.extra_key(self.keys.result(id));
            self.effect("r", [key, text(millis(ttl).max(1)), blob.clone(), Vec::new()]);
        }
        if end.state == JobState::Discarded {
            self.effect("d", [id.as_bytes().to_vec(), blob, Vec::new(), Vec::new()]);
        } else {
            self.effect("h", [blob, Vec::new(), Vec::new(), Vec::new()]);
        }
    }

    pub(super) fn forget_cancel(&mut self, id: JobId) {
        self.effect("x", [id.as_bytes().to_vec(), Vec::new(), Vec::new(), Vec::new()]);
    }

    /// Makes the moves; which of them were made.
    pub(super) async fn commit(self) -> Result<Vec<bool>, BrokerError> {
        if self.moves.is_empty() {
            return Ok(Vec::new());
        }
        let shared = &self.broker.shared;
        let mut call = shared.scripts.transition.prepare_invoke();
        let keys = &self.keys;
        keys.streams.iter().for_each(|stream| {
            call.key(stream);
        });
        call.key(&keys.delayed).key(&keys.delayed_items).key(&keys.counters).key(&keys.signal).key(&keys.running);
        call.key(&keys.cancelled).key(&keys.discarded).key(&keys.discarded_items).key(&keys.history).key(&keys.nodes);
        self.extra_keys.iter().for_each(|key| {
            call.key(key);
        });
        call.arg(shared.options.discarded_jobs_max.max(1)).arg(shared.options.history_jobs_max.max(1));
        for one in &self.moves {
            one.source.iter().for_each(|argument| {
                call.arg(argument);
            });
            call.arg(one.effects.len());
            one.effects.iter().flatten().for_each(|argument| {
                call.arg(argument);
            });
        }
        let answer = shared.run::<Vec<i64>>(&call).await;
        let made = answer.map(|made| made.into_iter().map(|made| made == 1).collect::<Vec<bool>>());
        self.enter(&made);
        made
    }

    /// Enters ends into the journal.
    fn enter(&self, made: &Result<Vec<bool>, BrokerError>) {
        let Some(journal) = self.broker.shared.journal_of(&self.queue) else { return };
        match made {
            Ok(made) => {
                let done = || self.moves.iter().zip(made).filter(|(_, made)| **made).map(|(one, _)| one);
                journal.note(&self.queue, EventKind::Ended, done().flat_map(|one| one.ended.iter().copied()));
                journal.note(&self.queue, EventKind::Reopened, done().filter_map(|one| one.reopened));
            }
            Err(BrokerError::Unknown(_)) => {
                let sent = self.moves.iter().flat_map(|one| one.ended.iter().copied());
                journal.note(&self.queue, EventKind::PerhapsEnded, sent);
            }
            Err(_) => {}
        }
    }
}

/// How a job ended.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) state: JobState,
    pub(super) result: Option<Bytes>,
    pub(super) error: Option<String>,
    pub(super) worker: Option<WorkerId>,
    pub(super) started_ms: Option<i64>,
    /// Whether the attempt that ended is to be counted beside those that failed before.
    pub(super) ran: bool,
    /// What the handlers told, if this process heard of it.
    pub(super) told: Option<JobNote>,
}

impl End {
    /// The end of a job that did not run.
    pub(super) fn unstarted(state: JobState, error: &str) -> Self {
        let error = Some(error.to_owned());
        Self { state, result: None, error, worker: None, started_ms: None, ran: false, told: None }
    }
}

impl HeldFrame {
    /// Adds what became of the frame's jobs to a transition; the state in which each of them is then.
    pub(super) fn add_to(&self, transition: &mut Transition<'_>, now_ms: i64) -> Vec<JobState> {
        let (mut completed, mut retried, mut discarded, mut cancelled, mut bytes) = (0, 0, 0, 0, 0);
        let mut states = Vec::with_capacity(self.items.len());
        for (position, (item, fate)) in self.items.iter().zip(&self.outcomes).enumerate() {
            bytes += i64::try_from(item.data_bytes()).unwrap_or(0);
            let told = self.told.get(&position);
            let state = self.add_one(transition, item, fate.as_ref(), told, now_ms);
            match state {
                JobState::Completed => completed += 1,
                JobState::Retryable => retried += 1,
                JobState::Discarded => discarded += 1,
                JobState::Cancelled => cancelled += 1,
                _ => {}
            }
            states.push(state);
        }
        transition.count("completed", completed);
        transition.count("retried", retried);
        transition.count("discarded", discarded);
        transition.count("cancelled", cancelled);
        transition.count("bytes", -bytes);
        states
    }

    fn add_one(
        &self,
        transition: &mut Transition<'_>,
        item: &Item,
        fate: Option<&Fate>,
        told: Option<&JobNote>,
        now_ms: i64,
    ) -> JobState {
        let end = |state, result, error| End {
            state,
            result,
            error,
            worker: Some(self.worker.clone()),
            started_ms: Some(self.started_ms),
            ran: true,
            told: told.cloned(),
        };
        let later = |delay| now_ms.saturating_add(i64::try_from(millis(delay)).unwrap_or(i64::MAX));
        let (state, result, error) = match fate {
            Some(Fate::Settled(Outcome::Completed { result })) => (JobState::Completed, result.clone(), None),
            Some(Fate::Settled(Outcome::Discard { reason })) => (JobState::Discarded, None, Some(reason.clone())),
            Some(Fate::Settled(Outcome::Cancelled { reason })) => {
                transition.forget_cancel(item.id());
                (JobState::Cancelled, None, Some(reason.clone()))
            }
            Some(Fate::Settled(Outcome::Retry { reason, .. })) if item.attempts + 1 >= item.record.attempts_max => {
                (JobState::Discarded, None, Some(reason.clone()))
            }
            Some(Fate::Settled(Outcome::Retry { reason, delay })) => {
                let worker = Some(self.worker.clone());
                let attempts_made = item.attempts_ended(worker, Some(self.started_ms), now_ms, Some(reason));
                let next = Item {
                    attempts: item.attempts + 1,
                    available_ms: later(*delay),
                    error: Some(shorten(reason.clone())),
                    attempts_made,
                    ..item.clone()
                };
                transition.delay(&next, JobState::Retryable);
                return JobState::Retryable;
            }
            Some(Fate::Settled(Outcome::Snooze { delay })) => {
                transition.delay(&Item { available_ms: later(*delay), ..item.clone() }, JobState::Scheduled);
                return JobState::Scheduled;
            }
            Some(Fate::Released) | None => {
                transition.requeue(item);
                return JobState::Available;
            }
        };
        transition.finish(item, &end(state, result, error));
        state
    }
}
