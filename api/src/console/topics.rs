//! What a tab can subscribe to, and the parts of pages that belong to it.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use thiserror::Error;
use tidemark_dashboards::{Fragment, IncidentStateFilter};
use tidemark_queue::{JobId, WorkflowId};

use super::{Console, live::Fragments, routes::PageError, tasks::JobsWanted};

/// How long a rendered topic serves further tabs.
const FRESH: Duration = Duration::from_millis(1_500);
/// How long topics about hosts do while no incident changes: the interval of an agent.
const HOSTS_FRESH: Duration = Duration::from_secs(10);
/// Longest name of a worker in bytes.
const WORKER_BYTES_MAX: usize = 256;
/// Topics that are kept rendered; beyond that those that nobody asks for go first.
const TOPICS_MAX: usize = 1_000;

/// A thing to be kept up to date about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Topic {
    Overview,
    Hosts,
    Host(String),
    Incidents,
    Incident(u64),
    Tasks,
    Job(String),
    Worker(String),
    Workflow(String),
    Storage,
    Nav,
}

/// A text that names no topic.
#[derive(Debug, Error)]
#[error(
    "no such topic: `{0}`; there are overview, hosts, host:NAME, incidents, incident:ID, tasks, job:ID, worker:NAME, \
     workflow:ID, events, storage and nav"
)]
pub(super) struct TopicError(String);

impl FromStr for Topic {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        let unknown = || TopicError(text.chars().take(64).collect());
        match text.split_once(':') {
            None => match text {
                "overview" => Ok(Self::Overview),
                "hosts" => Ok(Self::Hosts),
                "incidents" => Ok(Self::Incidents),
                "tasks" => Ok(Self::Tasks),
                "storage" => Ok(Self::Storage),
                "nav" => Ok(Self::Nav),
                _ => Err(unknown()),
            },
            Some(("host", name)) if !name.is_empty() && name.len() <= tidemark_model::NAME_BYTES_MAX => {
                Ok(Self::Host(name.to_owned()))
            }
            Some(("incident", id)) => id.parse().map(Self::Incident).map_err(|_| unknown()),
            Some(("job", id)) => id.parse::<JobId>().map(|id| Self::Job(id.to_string())).map_err(|_| unknown()),
            Some(("workflow", id)) => {
                id.parse::<WorkflowId>().map(|id| Self::Workflow(id.to_string())).map_err(|_| unknown())
            }
            Some(("worker", name)) if !name.is_empty() && name.len() <= WORKER_BYTES_MAX => {
                Ok(Self::Worker(name.to_owned()))
            }
            Some(_) => Err(unknown()),
        }
    }
}

/// Topics as they were last rendered. Rendering one takes its lock, so that many tabs cause one rendering.
#[derive(Default)]
pub(super) struct TopicCache(Mutex<HashMap<Topic, Arc<Slot>>>);

#[derive(Default)]
struct Slot(tokio::sync::Mutex<Option<Rendered>>);

/// A topic as it was rendered.
struct Rendered {
    /// When, by the monotonic clock.
    at: Duration,
    /// What was open then; see [`Console::fingerprint`].
    fingerprint: u64,
    fragments: Fragments,
}

impl Console {
    /// The parts of pages that belong to a topic, rendered at most a moment ago.
    pub(super) async fn fragments(&self, topic: &Topic) -> Fragments {
        let slot = {
            let mut topics = self.topics.0.lock();
            if topics.len() >= TOPICS_MAX {
                topics.retain(|_, slot| Arc::strong_count(slot) > 1);
            }
            Arc::clone(topics.entry(topic.clone()).or_default())
        };
        let mut rendered = slot.0.lock().await;
        let now = self.seams.clock.monotonic();
        let young = |rendered: &&Rendered, fresh| now.saturating_sub(rendered.at) < fresh;
        if let Some(rendered) = rendered.as_ref().filter(|rendered| young(rendered, FRESH)) {
            return Arc::clone(&rendered.fragments);
        }
        let is_about_hosts = matches!(topic, Topic::Hosts | Topic::Host(_));
        let fingerprint = if is_about_hosts { self.fingerprint().await } else { 0 };
        if let Some(rendered) = rendered.as_ref().filter(|rendered| is_about_hosts && young(rendered, HOSTS_FRESH))
            && rendered.fingerprint == fingerprint
        {
            return Arc::clone(&rendered.fragments);
        }
        let fragments: Fragments = Arc::new(self.render(topic).await.map_err(|error| error.to_string()));
        *rendered = Some(Rendered { at: now, fingerprint, fragments: Arc::clone(&fragments) });
        fragments
    }

    /// Another number whenever incidents open, close or change.
    async fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for incident in self.open_incidents().await {
            (incident.id, incident.current as u8, incident.acknowledged_by.is_some()).hash(&mut hasher);
        }
        hasher.finish()
    }

    async fn render(&self, topic: &Topic) -> Result<Vec<(&'static str, String)>, PageError> {
        match topic {
            Topic::Overview => {
                let beside = self.beside_hosts().await?;
                let mut fragments = self.html(&[&beside.attention, &beside.events, &beside.ingest])?;
                // The same table for both topics. It waits for the hosts' lock, and whoever has that waits for no other.
                match Box::pin(self.fragments(&Topic::Hosts)).await.as_ref() {
                    Ok(hosts) => fragments.extend(hosts.iter().cloned()),
                    Err(error) => return Err(PageError::Part(error.clone())),
                }
                Ok(fragments)
            }
            Topic::Hosts => self.html(&[&self.host_table("").await?]),
            Topic::Host(host) => {
                let Some(facts) = self.host_facts(host).await? else { return Ok(Vec::new()) };
                self.html(&[&facts, &self.host_incidents(host).await, &self.host_volumes(host).await?])
            }
            Topic::Incidents => self.html(&[&self.incident_list(IncidentStateFilter::Open, "").await?]),
            Topic::Incident(id) => match self.incident_page(*id).await? {
                Some(page) => self.html(&[&page.detail, &page.timeline]),
                None => Ok(Vec::new()),
            },
            Topic::Tasks => {
                let page = self.tasks_page(JobsWanted::default()).await?;
                self.html(&[&page.queues, &page.jobs, &page.workflows, &page.workers, &page.schedules])
            }
            Topic::Job(id) => match self.task_page(id).await? {
                Some(page) => self.html(&[&page.detail]),
                None => Ok(Vec::new()),
            },
            Topic::Worker(name) => match self.worker_page(name).await? {
                Some(page) => self.html(&[&page.detail]),
                None => Ok(Vec::new()),
            },
            Topic::Workflow(id) => match self.workflow_page(id).await? {
                Some(page) => self.html(&[&page.detail]),
                None => Ok(Vec::new()),
            },
            Topic::Storage => {
                let page = self.storage_page().await?;
                self.html(&[&page.space, &page.work, &page.cardinality, &page.figures])
            }
            Topic::Nav => self.html(&[&self.problem_count().await]),
        }
    }

    fn html(&self, fragments: &[&dyn Fragment]) -> Result<Vec<(&'static str, String)>, PageError> {
        let now_ms = self.seams.clock.now_ms();
        let render = |fragment: &&dyn Fragment| Ok((fragment.name(), self.pages.fragment(now_ms, *fragment)?));
        fragments.iter().map(render).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_has_a_name_and_perhaps_a_subject() {
        assert_eq!("overview".parse::<Topic>().unwrap(), Topic::Overview);
        assert_eq!("host:web:01".parse::<Topic>().unwrap(), Topic::Host("web:01".to_owned()));
        assert_eq!("incident:7".parse::<Topic>().unwrap(), Topic::Incident(7));
        let job = "018bcfe5-6800-7000-8000-000000000000";
        assert_eq!(format!("job:{job}").parse::<Topic>().unwrap(), Topic::Job(job.to_owned()));
        assert_eq!("worker:db03-1".parse::<Topic>().unwrap(), Topic::Worker("db03-1".to_owned()));
        for text in ["", "host:", "incident:x", "secrets", "nav:1", "job:1", "worker:", "workflow:x"] {
            assert!(text.parse::<Topic>().is_err(), "{text}");
        }
    }
}
