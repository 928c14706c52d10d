//! The jobs of one queue that this process holds, from fetch to settlement.

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt};
use parking_lot::Mutex;
use tidemark_model::Clock;
use tidemark_queue::{Delivery, JobId, LeaseState, Outcome, Receipt, WorkerId};
use tokio::sync::Notify;

use super::{HeldJob, note_book::NoteBook};

/// What the broker is to hear of a job.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ended {
    /// This became of it.
    Settle(Outcome),
    /// It was ended early; why, [`InHand`] knows.
    CalledOff,
    /// It was not started, or not finished: somebody else may have it.
    Release,
}

/// Why an attempt was told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopReason {
    /// Somebody called the job off.
    Requested,
    /// Somebody else has the job now.
    LeaseLost,
    /// The process ends.
    Shutdown,
}

#[derive(Debug)]
pub(crate) struct InHand {
    state: Mutex<State>,
    notes: Arc<NoteBook>,
    /// Fired when jobs ended.
    ended: Notify,
    /// Fired when jobs left, and when none is left that has not ended.
    room: Notify,
}

#[derive(Debug)]
struct State {
    next_token: u64,
    jobs: HashMap<u64, Hand>,
    ended: Vec<(u64, Ended)>,
    /// Jobs that have not ended.
    live: usize,
}

#[derive(Debug)]
struct Hand {
    job: HeldJob,
    stop: Option<StopReason>,
    has_ended: bool,
}

/// What to tell the broker, and the tokens to forget once it has heard.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) settlements: Vec<(Receipt, Outcome)>,
    pub(super) releases: Vec<Receipt>,
}

impl InHand {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let state = State { next_token: 1, jobs: HashMap::new(), ended: Vec::new(), live: 0 };
        let notes = Arc::new(NoteBook::new(clock));
        Self { state: Mutex::new(state), notes, ended: Notify::new(), room: Notify::new() }
    }

    /// What the handlers of these jobs tell.
    pub(super) fn notes(&self) -> &NoteBook {
        &self.notes
    }

    /// The receipt of a job of whose end the broker has not heard.
    pub(super) fn receipt(&self, token: u64) -> Option<Receipt> {
        self.state.lock().jobs.get(&token).map(|hand| hand.job.receipt().clone())
    }

    pub(crate) fn len(&self) -> usize {
        self.state.lock().jobs.len()
    }

    /// Takes fetched jobs in hand.
    pub(super) fn take(&self, deliveries: Vec<Delivery>, worker: &WorkerId) -> Vec<HeldJob> {
        let mut state = self.state.lock();
        let take = |delivery| {
            let token = state.next_token;
            state.next_token += 1;
            state.live += 1;
            let job = HeldJob::new(token, delivery, worker.clone(), self.notes.clone());
            state.jobs.insert(token, Hand { job: job.clone(), stop: None, has_ended: false });
            job
        };
        deliveries.into_iter().map(take).collect()
    }

    /// Notes how a job ended, for the settler. A job ends once; what comes later does not count.
    pub(crate) fn ended(&self, token: u64, how: Ended) {
        let mut state = self.state.lock();
        let Some(hand) = state.jobs.get_mut(&token).filter(|hand| !hand.has_ended) else { return };
        hand.has_ended = true;
        state.live -= 1;
        let all_ended = state.live == 0;
        state.ended.push((token, how));
        let is_first = state.ended.len() == 1;
        drop(state);
        if is_first {
            self.ended.notify_one();
        }
        if all_ended {
            self.room.notify_waiters();
        }
    }

    /// Waits until some job has ended and takes at most `max` of them; empty when `until` is over first.
    pub(super) async fn take_ended(&self, max: usize, until: impl Future<Output = ()>) -> Vec<(u64, Ended)> {
        tokio::pin!(until);
        loop {
            let ended = self.ended.notified();
            let taken = self.take_ended_now(max);
            if !taken.is_empty() {
                return taken;
            }
            tokio::select! {
                () = ended => {}
                () = &mut until => return self.take_ended_now(max),
            }
        }
    }

    fn take_ended_now(&self, max: usize) -> Vec<(u64, Ended)> {
        let mut state = self.state.lock();
        let count = state.ended.len().min(max);
        let rest = state.ended.split_off(count);
        let taken = std::mem::replace(&mut state.ended, rest);
        if !state.ended.is_empty() {
            self.ended.notify_one();
        }
        taken
    }

    /// What to tell the broker about these.
    pub(super) fn report(&self, ended: &[(u64, Ended)]) -> Report {
        let state = self.state.lock();
        let mut report = Report::default();
        for (token, how) in ended {
            let Some(hand) = state.jobs.get(token) else { continue };
            let receipt = hand.job.receipt().clone();
            let reason = |text: &str| Outcome::Cancelled { reason: text.to_owned() };
            match (how, hand.stop) {
                (Ended::Settle(outcome), _) => report.settlements.push((receipt, outcome.clone())),
                (Ended::Release, _) | (Ended::CalledOff, Some(StopReason::Shutdown)) => report.releases.push(receipt),
                (Ended::CalledOff, Some(StopReason::LeaseLost)) => {}
                (Ended::CalledOff, Some(StopReason::Requested)) => {
                    report.settlements.push((receipt, reason("cancelled while it ran")));
                }
                (Ended::CalledOff, None) => report.settlements.push((receipt, reason("its handler gave it up"))),
            }
        }
        report
    }

    /// Forgets jobs of which the broker has heard.
    pub(super) fn forget(&self, ended: &[(u64, Ended)]) {
        let mut state = self.state.lock();
        for (token, _) in ended {
            state.jobs.remove(token);
        }
        drop(state);
        self.room.notify_waiters();
    }

    /// Receipts of all jobs that have not ended.
    pub(super) fn receipts(&self) -> Vec<(u64, Receipt)> {
        let state = self.state.lock();
        let live = state.jobs.iter().filter(|(_, hand)| !hand.has_ended);
        live.map(|(token, hand)| (*token, hand.job.receipt().clone())).collect()
    }

    /// Takes note of what the broker said about a lease.
    pub(super) fn note_lease(&self, token: u64, lease: LeaseState) {
        match lease {
            LeaseState::Held => {}
            LeaseState::CancelRequested => self.stop(token, StopReason::Requested),
            LeaseState::Lost => self.stop(token, StopReason::LeaseLost),
        }
    }

    fn stop(&self, token: u64, reason: StopReason) {
        let mut state = self.state.lock();
        let Some(hand) = state.jobs.get_mut(&token).filter(|hand| hand.stop.is_none() && !hand.has_ended) else {
            return;
        };
        hand.stop = Some(reason);
        hand.job.cancel_token().cancel();
    }

    /// Tells all attempts to stop; how many there were.
    pub(super) fn stop_all(&self, reason: StopReason) -> usize {
        let tokens: Vec<u64> = self.receipts().into_iter().map(|(token, _)| token).collect();
        tokens.iter().for_each(|token| self.stop(*token, reason));
        tokens.len()
    }

    /// Gives back all jobs that have not ended.
    pub(super) fn end_the_rest(&self) {
        for (token, _) in self.receipts() {
            self.ended(token, Ended::Release);
        }
    }

    /// Waits until all jobs have ended.
    pub(super) async fn all_ended(&self) {
        self.wait_until(|state| state.live == 0).await;
    }

    /// Waits until so many jobs are in hand that there is room for another; how many there are.
    pub(super) async fn wait_for_room(&self, has_room: impl Fn(usize) -> bool) -> usize {
        self.wait_until(|state| has_room(state.jobs.len())).await
    }

    /// Lets those look again who wait for room: there may be more.
    pub(super) fn room_has_changed(&self) {
        self.room.notify_waiters();
    }

    /// Some of the jobs that have not ended, at most `max`.
    pub(super) fn some_jobs(&self, max: usize) -> Vec<JobId> {
        let state = self.state.lock();
        state.jobs.values().filter(|hand| !hand.has_ended).take(max).map(|hand| hand.job.id()).collect()
    }

    async fn wait_until(&self, is_so: impl Fn(&State) -> bool) -> usize {
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            // IMPORTANT: listen before looking, or what happens in between is missed.
            room.as_mut().enable();
            {
                let state = self.state.lock();
                if is_so(&state) {
                    return state.jobs.len();
                }
            }
            room.await;
        }
    }
}
