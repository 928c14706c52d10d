//! What became of jobs, kept outside of the broker, so that it can be told which of them a broker lost.
//!
//! Each process writes down what it was told: that a push was acknowledged, that a job has ended. Events are gathered in
//! memory and written to the documents of the own store every two seconds, in pages; a process that dies takes at most so
//! much with it. Pages go after a day, or when there are too many. Events can be read in any order: processes do not
//! agree on a time. `docs/job-journal.md` has the format.
//!
//! Jobs of queues with many short jobs ([`is_listed`] says no) are not in it: a line for each would cost more than the job.
//! We turned down a journal file of each process: what one process pushed another ends, on another host.

mod known;
mod page;
mod seen;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tidemark_model::{Clock, DocumentError, DocumentStore, ExpectedVersion};

use crate::{JobId, JobIdSource, JobKind, QueueLoss, QueueName};
pub(crate) use known::Known;
pub(crate) use page::{Event, EventKind, rewrite as reread_page};
pub(crate) use seen::{Seen, SeenGeneration, rewrite as reread_seen};

/// How often events are written down.
const FLUSH_EVERY: Duration = Duration::from_secs(2);
/// Events of one page: it is written again with every flush until it is full.
const PAGE_EVENTS: usize = 500;
/// Pages that wait in memory while the store takes none.
const WAITING_PAGES_MAX: usize = 200;
/// How long pages are kept.
const PAGES_KEPT: Duration = Duration::from_secs(24 * 3_600);
/// Most pages of all processes.
const PAGES_MAX: usize = 2_000;
/// Most losses that are remembered.
const LOSSES_MAX: usize = 100;
/// How long the process that claimed a loss has to say what it came to: several times what it takes.
const CLAIM_KEPT: Duration = Duration::from_secs(120);
/// Documents of one look.
const LOOK: usize = 50;

/// Collection of the pages.
const PAGES: &str = "job_journal";
/// Collection of the losses.
const LOSSES: &str = "queue_losses";

/// Writes down what became of jobs; see the module's text.
pub struct JobJournal {
    documents: Arc<dyn DocumentStore>,
    clock: Arc<dyn Clock>,
    flush_every: Duration,
    /// Of ids of pages.
    ids: JobIdSource,
    waiting: Mutex<Waiting>,
    /// One flush at a time, or an older page would come over a newer one.
    flushing: tokio::sync::Mutex<()>,
}

/// What is not written yet.
#[derive(Default)]
struct Waiting {
    /// The last one is not full; it may have been written before.
    pages: VecDeque<OpenPage>,
    dropped: u64,
}

struct OpenPage {
    id: String,
    events: Vec<Event>,
    /// Events of it that are written.
    written: usize,
}

/// Who looks into a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// This process.
    Ours,
    /// Another process has.
    Theirs,
    /// Another process said that it would.
    Pending,
}

/// Whether the jobs of a queue are listed one by one: not those of the kinds that come by the hundred thousand a second.
#[must_use]
pub(crate) fn is_listed(queue: &QueueName) -> bool {
    !JobKind::ALL.into_iter().any(|kind| kind.is_framed() && kind.default_queue() == *queue)
}

impl JobJournal {
    /// A journal in these documents, which all processes of a broker share.
    #[must_use]
    pub fn new(documents: Arc<dyn DocumentStore>, clock: Arc<dyn Clock>) -> Self {
        Self {
            documents,
            flush_every: FLUSH_EVERY,
            ids: JobIdSource::random(Arc::clone(&clock)),
            clock,
            waiting: Mutex::default(),
            flushing: tokio::sync::Mutex::default(),
        }
    }

    /// Writes down more often or less often than every two seconds.
    #[must_use]
    pub fn flushing_every(mut self, every: Duration) -> Self {
        self.flush_every = every;
        self
    }

    pub(crate) const fn flush_every(&self) -> Duration {
        self.flush_every
    }

    /// Notes events, to be written down soon.
    pub(crate) fn note(&self, queue: &QueueName, kind: EventKind, jobs: impl IntoIterator<Item = JobId>) {
        let mut waiting = self.waiting.lock();
        for job in jobs {
            let event = Event { kind, queue: queue.clone(), job };
            match waiting.pages.back_mut().filter(|page| page.events.len() < PAGE_EVENTS) {
                Some(page) => page.events.push(event),
                None => {
                    let id = self.ids.next_id().to_string();
                    waiting.pages.push_back(OpenPage { id, events: vec![event], written: 0 });
                }
            }
        }
        while waiting.pages.len() > WAITING_PAGES_MAX {
            let dropped = waiting.pages.pop_front().map_or(0, |page| page.events.len() - page.written);
            waiting.dropped += dropped as u64;
        }
    }

    /// Writes down what was noted.
    ///
    /// # Errors
    /// When the store does not take it: it is kept for the next time, up to a limit.
    pub(crate) async fn flush(&self) -> Result<(), DocumentError> {
        let _alone = self.flushing.lock().await;
        loop {
            let (id, bytes, events) = {
                let waiting = self.waiting.lock();
                let Some(page) = waiting.pages.iter().find(|page| page.written < page.events.len()) else {
                    return Ok(());
                };
                (page.id.clone(), page::encode(&page.events), page.events.len())
            };
            self.documents.put(PAGES, &id, ExpectedVersion::Any, bytes).await?;
            let mut waiting = self.waiting.lock();
            if let Some(page) = waiting.pages.iter_mut().find(|page| page.id == id) {
                page.written = page.written.max(events);
            }
            let is_done = |page: &OpenPage| page.events.len() >= PAGE_EVENTS && page.written == page.events.len();
            while waiting.pages.front().is_some_and(is_done) {
                waiting.pages.pop_front();
            }
        }
    }

    /// What all processes have written down.
    pub(crate) async fn read(&self) -> Result<Known, DocumentError> {
        self.flush().await?;
        let mut known = Known::default();
        known.is_incomplete |= self.waiting.lock().dropped > 0;
        let mut after: Option<String> = None;
        loop {
            let pages = self.documents.list(PAGES, after.as_deref(), LOOK).await?;
            for document in &pages {
                match page::decode(&document.bytes) {
                    Ok(events) => known.add(events),
                    Err(reason) => {
                        tracing::error!(page = document.id, reason, "a page of the job journal cannot be read");
                        known.is_incomplete = true;
                    }
                }
            }
            match pages.into_iter().next_back() {
                Some(last) => after = Some(last.id),
                None => return Ok(known),
            }
        }
    }

    /// Forgets pages and losses that are too old or too many.
    pub(crate) async fn prune(&self) -> Result<(), DocumentError> {
        let oldest_ms = self.clock.now_ms().saturating_sub(i64::try_from(PAGES_KEPT.as_millis()).unwrap_or(i64::MAX));
        let pages = self.ids_of(PAGES).await?;
        let too_many = pages.len().saturating_sub(PAGES_MAX);
        // The id of a page tells when it was begun, and sorts by it.
        let is_old = |id: &String| id.parse::<JobId>().map_or(true, |id| id.made_ms() < oldest_ms);
        for (_, id) in pages.iter().enumerate().filter(|(place, id)| *place < too_many || is_old(id)) {
            self.documents.delete(PAGES, id).await?;
        }
        let losses = self.ids_of(LOSSES).await?;
        for id in losses.iter().take(losses.len().saturating_sub(LOSSES_MAX)) {
            self.documents.delete(LOSSES, id).await?;
        }
        Ok(())
    }

    async fn ids_of(&self, collection: &str) -> Result<Vec<String>, DocumentError> {
        let mut ids: Vec<String> = Vec::new();
        loop {
            let found = self.documents.list(collection, ids.last().map(String::as_str), LOOK).await?;
            if found.is_empty() {
                return Ok(ids);
            }
            ids.extend(found.into_iter().map(|document| document.id));
        }
    }

    /// Makes a loss this process' to look into, unless another process was faster and has, or still may.
    pub(crate) async fn claim_loss(&self, loss: &QueueLoss) -> Result<Claim, DocumentError> {
        let id = loss.id();
        let claim =
            async |expected, loss: &QueueLoss| match self.documents.put(LOSSES, &id, expected, loss.encode()).await {
                Ok(_) => Ok(true),
                Err(DocumentError::Conflict { .. }) => Ok(false),
                Err(error) => Err(error),
            };
        if claim(ExpectedVersion::Absent, loss).await? {
            return Ok(Claim::Ours);
        }
        let Some(document) = self.documents.get(LOSSES, &id).await? else { return Ok(Claim::Pending) };
        let Some(known) = QueueLoss::decode(&document.bytes).ok().filter(|known| known.found.is_none()) else {
            return Ok(Claim::Theirs);
        };
        let now_ms = self.clock.now_ms();
        let age_ms = now_ms.saturating_sub(known.noticed_ms);
        if age_ms < i64::try_from(CLAIM_KEPT.as_millis()).unwrap_or(i64::MAX) {
            return Ok(Claim::Pending);
        }
        // Whoever claimed it has died.
        let again = QueueLoss { noticed_ms: now_ms, ..loss.clone() };
        Ok(if claim(ExpectedVersion::Exactly(document.version), &again).await? { Claim::Ours } else { Claim::Pending })
    }

    /// Writes down what a loss came to.
    pub(crate) async fn record_loss(&self, loss: &QueueLoss) -> Result<(), DocumentError> {
        self.documents.put(LOSSES, &loss.id(), ExpectedVersion::Any, loss.encode()).await.map(drop)
    }

    /// Losses that are remembered, the newest first.
    pub(crate) async fn losses(&self) -> Result<Vec<QueueLoss>, DocumentError> {
        let mut losses = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let found = self.documents.list(LOSSES, after.as_deref(), LOOK).await?;
            let Some(last) = found.last().map(|document| document.id.clone()) else { break };
            after = Some(last);
            for document in found {
                match QueueLoss::decode(&document.bytes) {
                    Ok(loss) => losses.push(loss),
                    Err(reason) => tracing::error!(loss = document.id, reason, "a loss of jobs cannot be read"),
                }
            }
        }
        losses.reverse();
        Ok(losses)
    }
}

impl std::fmt::Debug for JobJournal {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("JobJournal").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tidemark_model::ManualClock;

    use super::*;
    use crate::test_documents::Documents;

    fn journal(documents: &Arc<Documents>, clock: &Arc<ManualClock>) -> JobJournal {
        JobJournal::new(documents.clone(), clock.clone())
    }

    #[tokio::test]
    async fn what_one_process_pushed_and_another_ended_is_closed_for_everybody() {
        let (documents, clock) = (Arc::new(Documents::default()), Arc::new(ManualClock::new(1_000)));
        let (producer, worker) = (journal(&documents, &clock), journal(&documents, &clock));
        let queue = JobKind::Notify.default_queue();
        let jobs: Vec<JobId> = (0..1_200).map(|_| producer.ids.next_id()).collect();
        // The end is written down first.
        worker.note(&queue, EventKind::Ended, jobs[..1_199].iter().copied());
        worker.flush().await.unwrap();
        producer.note(&queue, EventKind::Pushed, jobs.iter().copied());
        let known = producer.read().await.unwrap();
        assert_eq!(known.open(&queue), std::collections::BTreeSet::from([jobs[1_199]]));
        assert_eq!(known.closed(&queue).len(), 1_199);
        assert_eq!(documents.len(PAGES), 6);
        // A page that is full is not kept in memory.
        assert_eq!(producer.waiting.lock().pages.len(), 1);
    }

    #[tokio::test]
    async fn what_the_store_does_not_take_waits_and_too_much_of_it_makes_the_journal_incomplete() {
        let (documents, clock) = (Arc::new(Documents::default()), Arc::new(ManualClock::new(1_000)));
        let journal = journal(&documents, &clock);
        let queue = JobKind::Notify.default_queue();
        let job = journal.ids.next_id();
        documents.refuse(true);
        journal.note(&queue, EventKind::Pushed, [job]);
        assert!(journal.flush().await.is_err());
        documents.refuse(false);
        assert!(journal.read().await.unwrap().open(&queue).contains(&job));
        assert!(!journal.read().await.unwrap().is_incomplete);
        documents.refuse(true);
        journal.note(&queue, EventKind::Pushed, (0..PAGE_EVENTS * (WAITING_PAGES_MAX + 1)).map(|_| job));
        assert_eq!(journal.waiting.lock().pages.len(), WAITING_PAGES_MAX);
        documents.refuse(false);
        assert!(journal.read().await.unwrap().is_incomplete);
    }

    #[tokio::test]
    async fn old_pages_go() {
        let (documents, clock) = (Arc::new(Documents::default()), Arc::new(ManualClock::new(1_000)));
        let journal = journal(&documents, &clock);
        let queue = JobKind::Notify.default_queue();
        let old = journal.ids.next_id();
        journal.note(&queue, EventKind::Pushed, (0..PAGE_EVENTS).map(|_| old));
        journal.flush().await.unwrap();
        clock.advance(PAGES_KEPT + Duration::from_millis(1));
        let new = journal.ids.next_id();
        journal.note(&queue, EventKind::Pushed, [new]);
        journal.flush().await.unwrap();
        journal.prune().await.unwrap();
        assert_eq!(journal.read().await.unwrap().open(&queue), std::collections::BTreeSet::from([new]));
    }

    #[tokio::test]
    async fn a_loss_whose_finder_died_is_looked_into_by_another() {
        let (documents, clock) = (Arc::new(Documents::default()), Arc::new(ManualClock::new(1_000)));
        let [dies, lives, late] = [(); 3].map(|()| journal(&documents, &clock));
        let loss = QueueLoss {
            queue: JobKind::Notify.default_queue(),
            kind: crate::LossKind::Emptied,
            generation: "g".to_owned(),
            noticed_ms: 1_000,
            jobs_before: 1,
            jobs_after: 0,
            found: None,
        };
        let claim = async |journal: &JobJournal| journal.claim_loss(&loss).await.unwrap();
        assert_eq!((claim(&dies).await, claim(&lives).await), (Claim::Ours, Claim::Pending));
        clock.advance(CLAIM_KEPT);
        assert_eq!((claim(&lives).await, claim(&late).await), (Claim::Ours, Claim::Pending));
        let found = QueueLoss { found: Some(crate::LossFound::default()), ..loss.clone() };
        lives.record_loss(&found).await.unwrap();
        clock.advance(CLAIM_KEPT);
        assert_eq!(claim(&late).await, Claim::Theirs);
    }
}
