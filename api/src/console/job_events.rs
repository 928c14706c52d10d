//! What happens to jobs, for those who subscribe to it: `enqueued`, `started`, `failed`, `completed`, `cancelled`,
//! `discarded`.
//!
//! Brokers tell nobody what they do, and a worker may be another process. So the newest jobs are looked at again and
//! again while somebody listens, and what is different since the last look becomes an event. That works the same for every
//! broker and costs nothing while nobody listens; the price is that a job which begins and ends between two looks is told
//! by its end only, and that the ends of some are not seen: of jobs behind a thousand newer ones, and of completed ones that
//! the history does not keep. Brokers count all ends, so it is known how many those are, and every listener is told. Events
//! sent by the workers were turned down: under the rates that queues are made for they would cost more than the jobs.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tidemark_queue::{Broker, BrokerError, JobFilter, JobId, JobState, JobView, Page, QueueStats};

/// Jobs that are looked at: the newest.
const JOBS_LOOKED_AT: usize = 1_000;
/// Events that are kept for those who listen.
const EVENTS_KEPT: usize = 2_000;
/// How long a look is good for.
const FRESH: Duration = Duration::from_millis(1_500);
/// After so long without a listener the first look tells nothing: what happened meanwhile is no news.
const GAP_MAX: Duration = Duration::from_secs(15);

/// Something that happened to a job.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct JobEvent {
    /// Counts up by one for each end of an attempt, and for each other event that is told: where numbers are missing, there
    /// were ends that nobody saw.
    pub(super) number: u64,
    /// What happened.
    pub(super) what: &'static str,
    /// The job as it was then.
    pub(super) job: JobView,
}

/// The events of the last looks, shared by all who listen.
#[derive(Default)]
pub(super) struct JobEvents(tokio::sync::Mutex<Feed>);

#[derive(Default)]
struct Feed {
    looked_at: Option<Duration>,
    known: HashMap<JobId, (JobState, u32)>,
    oldest: Option<JobId>,
    events: VecDeque<Arc<JobEvent>>,
    next_number: u64,
    /// Attempts that had ended at the last look, as the broker counts them.
    ended: u64,
    /// Ends that were told and are not in that count yet.
    told_ahead: u64,
}

/// Events that a listener has not had.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) events: Vec<Arc<JobEvent>>,
    /// How many more there were than were seen or are kept.
    pub(super) left_out: u64,
    /// To be handed in with the next question.
    pub(super) next_number: u64,
}

impl JobEvents {
    /// What happened since the event of this number; a listener that begins has none and gets none.
    ///
    /// # Errors
    /// The broker's.
    pub(super) async fn since(
        &self,
        from: Option<u64>,
        broker: &dyn Broker,
        now: Duration,
    ) -> Result<News, BrokerError> {
        let mut feed = self.0.lock().await;
        let age = feed.looked_at.map(|at| now.saturating_sub(at));
        if age.is_none_or(|age| age >= FRESH) {
            // IMPORTANT: the counts first, so that every end that is counted could be seen.
            let ended = broker.queues().await?.iter().map(ends_of).sum();
            let page = broker.jobs(JobFilter::default(), Page::first(JOBS_LOOKED_AT)).await?;
            feed.look(page.jobs, ended, age.is_some_and(|age| age <= GAP_MAX));
            feed.looked_at = Some(now);
        }
        Ok(feed.news(from))
    }
}

impl Feed {
    /// Compares jobs, the newest first, with those of the last look, and how many attempts have ended.
    fn look(&mut self, jobs: Vec<JobView>, ended: u64, tells: bool) {
        let mut told = 0;
        let oldest = jobs.last().map(|job| job.id);
        let known = jobs.iter().map(|job| (job.id, (job.state, job.attempt))).collect();
        if tells {
            for job in jobs.into_iter().rev() {
                told += u64::from(self.compare(job));
            }
        }
        self.account(ended, told, tells);
        self.known = known;
        self.oldest = oldest.or(self.oldest);
    }

    /// Counts the ends that were not seen; `told` were.
    fn account(&mut self, ended: u64, told: u64, tells: bool) {
        if !tells || ended < self.ended {
            // Nobody listened, or the broker lost its data and counts anew.
            self.told_ahead = 0;
        } else {
            let since = ended - self.ended;
            let known = self.told_ahead + told;
            self.next_number += since.saturating_sub(known);
            // What was told at the last look is counted now, or it never is: a job that failed and then was taken from a lost
            // worker is told as a failed one, and stands for no other end.
            self.told_ahead = known.saturating_sub(since).min(told);
        }
        self.ended = ended;
    }

    /// Tells what happened to a job, if anything did; whether that was the end of an attempt.
    fn compare(&mut self, job: JobView) -> bool {
        match self.known.get(&job.id) {
            Some(before) if *before == (job.state, job.attempt) => return false,
            Some(_) => {}
            // It was there before and has come into sight because others have gone.
            None if self.oldest.is_some_and(|oldest| job.id < oldest) => return false,
            None => {}
        }
        let what = match job.state {
            JobState::Scheduled | JobState::Available => "enqueued",
            JobState::Running => "started",
            JobState::Retryable => "failed",
            JobState::Completed => "completed",
            JobState::Cancelled => "cancelled",
            JobState::Discarded => "discarded",
        };
        let is_end = !matches!(job.state, JobState::Scheduled | JobState::Available | JobState::Running);
        if self.events.len() >= EVENTS_KEPT {
            self.events.pop_front();
        }
        self.events.push_back(Arc::new(JobEvent { number: self.next_number, what, job }));
        self.next_number += 1;
        is_end
    }

    fn news(&self, from: Option<u64>) -> News {
        let next_number = self.next_number;
        let Some(from) = from else { return News { next_number, ..News::default() } };
        let events: Vec<_> = self.events.iter().filter(|event| event.number >= from).cloned().collect();
        let left_out = next_number.saturating_sub(from).saturating_sub(events.len() as u64);
        News { events, left_out, next_number }
    }
}

/// Attempts that ended, those included that never began.
fn ends_of(queue: &QueueStats) -> u64 {
    let totals = &queue.totals;
    totals.completed + totals.retried + totals.cancelled + totals.discarded
}

#[cfg(test)]
mod tests {
    use tidemark_model::ManualClock;
    use tidemark_queue::{BrokerOptions, FetchRequest, JobKind, MemoryBroker, NewJob, Outcome, WorkerId};

    use super::*;

    fn told(news: &News) -> Vec<&'static str> {
        news.events.iter().map(|event| event.what).collect()
    }

    #[tokio::test]
    async fn a_listener_hears_what_happens_to_a_job_and_nothing_from_before() {
        let broker = MemoryBroker::new(BrokerOptions::default(), Arc::new(ManualClock::new(1_700_000_000_000)), 1);
        let events = JobEvents::default();
        let push = async || {
            let job = NewJob::from_bytes(JobKind::Notify, bytes::Bytes::new());
            broker.push(vec![job]).await.unwrap();
        };
        let mut now = Duration::from_secs(100);
        let mut listen = async |from| {
            now += Duration::from_secs(2);
            events.since(from, &broker, now).await.unwrap()
        };
        push().await;
        let began = listen(None).await;
        assert!(told(&began).is_empty());
        let quiet = listen(Some(began.next_number)).await;
        assert!(told(&quiet).is_empty(), "{quiet:?}");
        push().await;
        let news = listen(Some(quiet.next_number)).await;
        assert_eq!(told(&news), ["enqueued"]);
        let request = FetchRequest {
            worker: WorkerId::new("w"),
            queues: vec![JobKind::Notify.default_queue()],
            max: 1,
            wait: Duration::ZERO,
        };
        let delivery = broker.fetch(request).await.unwrap().remove(0);
        let news = listen(Some(news.next_number)).await;
        assert_eq!((told(&news), news.events[0].job.id), (vec!["started"], delivery.job.id));
        broker.settle(vec![(delivery.receipt, Outcome::Discard { reason: "no".to_owned() })]).await.unwrap();
        let news = listen(Some(news.next_number)).await;
        assert_eq!((told(&news), news.left_out), (vec!["discarded"], 0));
        // Somebody else who listened all the time has heard the same.
        assert_eq!(told(&events.since(Some(began.next_number), &broker, now).await.unwrap()).len(), 3);
    }

    #[test]
    fn what_is_not_kept_any_more_is_counted() {
        let mut feed = Feed { next_number: 7, ..Feed::default() };
        assert_eq!(feed.news(Some(4)).left_out, 3);
        feed.next_number = 4;
        assert_eq!(feed.news(Some(4)).left_out, 0);
    }

    #[tokio::test]
    async fn the_ends_of_jobs_that_nobody_saw_are_counted() {
        // Of two completed jobs a second the history keeps one.
        let options = BrokerOptions { history_per_second_max: 1, ..BrokerOptions::default() };
        let broker = MemoryBroker::new(options, Arc::new(ManualClock::new(1_700_000_000_000)), 1);
        let events = JobEvents::default();
        let mut now = Duration::from_secs(100);
        let mut listen = async |from| {
            now += Duration::from_secs(2);
            events.since(from, &broker, now).await.unwrap()
        };
        let request = FetchRequest {
            worker: WorkerId::new("w"),
            queues: vec![JobKind::Notify.default_queue()],
            max: 3,
            wait: Duration::ZERO,
        };
        let mut from = listen(None).await.next_number;
        for _ in 0..2 {
            let jobs = (0..3).map(|_| NewJob::from_bytes(JobKind::Notify, bytes::Bytes::new())).collect();
            broker.push(jobs).await.unwrap();
            let deliveries = broker.fetch(request.clone()).await.unwrap();
            let done = |outcome: Outcome| move |delivery: tidemark_queue::Delivery| (delivery.receipt, outcome.clone());
            let settlements = deliveries.into_iter().map(done(Outcome::Completed { result: None })).collect();
            broker.settle(settlements).await.unwrap();
            let news = listen(Some(from)).await;
            // The clock stands still: the second time the history keeps none.
            let kept = usize::from(from == 0);
            assert_eq!((news.events.len(), news.left_out), (kept, 3 - kept as u64));
            assert!(told(&news).iter().all(|what| *what == "completed"));
            from = news.next_number;
        }
        assert_eq!((listen(Some(from)).await.left_out, from), (0, 6));
    }

    #[test]
    fn an_end_that_is_told_before_it_is_counted_is_not_left_out() {
        let mut feed = Feed::default();
        feed.account(1, 2, true);
        assert_eq!((feed.next_number, feed.told_ahead), (0, 1));
        feed.account(4, 0, true);
        assert_eq!((feed.next_number, feed.told_ahead), (2, 0));
        // The broker was emptied.
        feed.account(1, 0, true);
        assert_eq!(feed.next_number, 2);
    }

    #[test]
    fn what_is_told_and_never_counted_hides_no_other_end() {
        let mut feed = Feed::default();
        feed.account(0, 1, true);
        feed.account(0, 0, true);
        feed.account(1, 0, true);
        assert_eq!((feed.next_number, feed.told_ahead), (1, 0));
    }
}
