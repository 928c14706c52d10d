//! Jobs that contain a text: `kind:notify state:discarded queue:write worker:w2 key:x timeout`.

use tidemark_queue::{Broker, BrokerError, JobFilter, JobId, JobPage, JobState, JobView, Page};

/// Jobs that one search looks at; the rest is for the next page.
const LOOKED_AT_MAX: usize = 10_000;
/// Longest text of a search in bytes.
const TEXT_BYTES_MAX: usize = 1_024;

/// What is searched for.
#[derive(Clone, Debug, Default)]
pub(crate) struct JobSearch {
    /// What a broker can tell by itself.
    pub(crate) filter: JobFilter,
    /// Part of the worker's name; any when empty.
    worker: String,
    /// Each must be in id, kind, queue, error, unique key or worker of a job; in lower case.
    words: Vec<String>,
}

impl JobSearch {
    /// Reads a text, to be added to a filter: what the text says beside it is said by both.
    ///
    /// # Errors
    /// Names the kind, queue or state that there is not.
    pub(crate) fn parse(text: &str, mut filter: JobFilter) -> Result<Self, String> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(format!("the text of a search has at most {TEXT_BYTES_MAX} bytes"));
        }
        let (mut worker, mut words) = (String::new(), Vec::new());
        for word in text.split_whitespace() {
            match word.split_once(':') {
                Some(("kind", name)) => filter.kind = Some(name.parse().map_err(|error| format!("kind: {error}"))?),
                Some(("queue", name)) => filter.queue = Some(name.parse().map_err(|error| format!("queue: {error}"))?),
                Some(("state", name)) => filter.state = Some(parse_state(name)?),
                Some(("key", part)) => filter.key = Some(part.to_owned()),
                Some(("worker", name)) => name.clone_into(&mut worker),
                _ => words.push(word.to_lowercase()),
            }
        }
        Ok(Self { filter, worker, words })
    }

    /// Jobs of a worker.
    pub(crate) fn of_worker(name: &str, filter: JobFilter) -> Self {
        Self { filter, worker: name.to_owned(), words: Vec::new() }
    }

    fn matches(&self, job: &JobView) -> bool {
        let worker = job.worker.as_ref().map(ToString::to_string).unwrap_or_default();
        if !worker.contains(&self.worker) {
            return false;
        }
        self.words.iter().all(|word| {
            let texts = [job.id.to_string(), job.kind.to_string(), job.queue.to_string(), worker.clone()];
            let more = [&job.error, &job.unique_key].into_iter().flatten();
            texts.iter().chain(more).any(|text| text.to_lowercase().contains(word))
        })
    }

    /// The newest jobs before `before` that fit, at most `limit`.
    ///
    /// # Errors
    /// The broker's.
    pub(crate) async fn run(
        &self,
        broker: &dyn Broker,
        before: Option<JobId>,
        limit: usize,
    ) -> Result<JobPage, BrokerError> {
        let limit = limit.min(Page::LIMIT_MAX);
        if self.words.is_empty() && self.worker.is_empty() {
            return broker.jobs(self.filter.clone(), Page { before, limit }).await;
        }
        let mut found = JobPage { jobs: Vec::new(), next: before };
        for _ in 0..LOOKED_AT_MAX / Page::LIMIT_MAX {
            let page = Page { before: found.next, limit: Page::LIMIT_MAX };
            let looked_at = broker.jobs(self.filter.clone(), page).await?;
            for job in looked_at.jobs.into_iter().filter(|job| self.matches(job)) {
                let id = job.id;
                found.jobs.push(job);
                if found.jobs.len() >= limit {
                    return Ok(JobPage { next: Some(id), ..found });
                }
            }
            found.next = looked_at.next;
            if found.next.is_none() {
                break;
            }
        }
        Ok(found)
    }
}

/// The state of that name.
///
/// # Errors
/// Names those that there are.
pub(crate) fn parse_state(text: &str) -> Result<JobState, String> {
    JobState::from_name(text).ok_or_else(|| {
        let known: Vec<_> = JobState::ALL.into_iter().map(JobState::name).collect();
        let shown: String = text.chars().take(64).collect();
        format!("state: no such state: `{shown}`; there are {}", known.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use bytes::Bytes;
    use tidemark_model::ManualClock;
    use tidemark_queue::{BrokerOptions, JobKind, MemoryBroker, NewJob};

    use super::*;

    #[tokio::test]
    async fn words_and_fields_narrow_a_search_and_pages_go_on() {
        let clock = Arc::new(ManualClock::new(1_700_000_000_000));
        let broker = MemoryBroker::new(BrokerOptions::default(), clock.clone(), 1);
        let job =
            |kind, number: usize| NewJob::from_bytes(kind, Bytes::new()).unique_until_done(format!("Key-{number}"));
        let jobs = (0..30).map(|number| job(if number % 2 == 0 { JobKind::Notify } else { JobKind::Collect }, number));
        for job in jobs {
            // Ids of one millisecond are in any order.
            clock.advance(Duration::from_millis(1));
            broker.push(vec![job]).await.unwrap();
        }
        let keys = async |text: &str, before, limit| {
            let search = JobSearch::parse(text, JobFilter::default()).unwrap();
            let page = search.run(&broker, before, limit).await.unwrap();
            let keys: Vec<_> = page.jobs.into_iter().filter_map(|job| job.unique_key).collect();
            (keys, page.next)
        };
        let (newest, next) = keys("key-1 kind:notify", None, 2).await;
        assert_eq!(newest, ["Key-18", "Key-16"]);
        let (rest, next) = keys("key-1 kind:notify", next, 10).await;
        assert_eq!((rest, next), (vec!["Key-14".to_owned(), "Key-12".to_owned(), "Key-10".to_owned()], None));
        assert_eq!(keys("key-1 state:available key:-11", None, 10).await.0, ["Key-11"]);
        assert_eq!(keys("worker:w1", None, 10).await.0, Vec::<String>::new());
    }

    #[test]
    fn what_there_is_not_is_named() {
        let check = |text: &str, part: &str| {
            let error = JobSearch::parse(text, JobFilter::default()).unwrap_err();
            assert!(error.contains(part), "{error}");
        };
        check("state:dead", "there are scheduled");
        check("kind:mail", "kind: ");
        check("queue:A", "queue: ");
        check(&"x".repeat(2_000), "1024 bytes");
    }
}
