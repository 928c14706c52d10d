//! The broker in Redis 6.2 or later, or Valkey: streams with a consumer group, and Lua for every step that touches more than
//! one key. `docs/redis-layout.md` describes the keys.
//!
//! A stream entry is a *frame* of 1 to 64 jobs: entries are what costs in Redis, so frames are what makes it quick. A frame
//! goes to one worker; when all its jobs have been settled, one script acknowledges it and files what became of them. Only
//! kinds whose jobs are short travel in frames of several ([`crate::JobKind::is_framed`]).
//!
//! A lease is the idle time of a pending entry. Whoever takes a frame over files its jobs again, singly and under new
//! entries, in the same script that acknowledges the old entry: so an entry that is pending is pending with its first reader,
//! its id is the fencing token, and a settlement whose entry is gone is refused. This is also how one poisonous job does
//! not condemn the others of its frame.
//!
//! We turned down a list with a lease script, which needs two more writes a job, and single entries, which are three times
//! slower. Time is the server's: a producer or worker whose clock jumps changes no lease and no delay.

mod calls;
mod frame;
mod keys;
mod leases;
mod link;
mod listing;
mod notes;
mod push;
mod scripts;
mod steering;
mod sweep;
mod transition;
mod workflows;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use foldhash::{HashMap, HashMapExt};
use parking_lot::Mutex;
use tidemark_model::Clock;

use crate::{
    BrokerError, BrokerOptions, JobId, JobIdSource, JobNote, Outcome, QueueName, QueueTotals, WorkerId, WorkflowId,
    record_codec::millis,
};
use frame::Item;
use keys::Keys;
use link::Link;
use scripts::Scripts;

/// Version of the layout of the keys.
const LAYOUT_VERSION: &str = "2";

/// How long to believe that the server still has what we wrote down about ourselves. It may lose it under an open
/// connection: a flush, or a proxy that fails over.
const CHECK_EVERY: Duration = Duration::from_secs(10);

/// How to reach Redis.
#[derive(Clone, PartialEq)]
pub struct RedisOptions {
    /// `redis://[user:password@]host[:port][/database]` or `unix:/path`.
    pub url: String,
    /// Begins the name of every key, so that several installations may share a server.
    pub prefix: String,
    /// Id of the store that the jobs of this process are for, when it has a store of its own. The first store to come
    /// claims the keys; another one is refused, since its workers would write points where nobody looks for them.
    pub store: Option<String>,
    /// How long a connection may take to come up.
    pub connect_timeout: Duration,
    /// How long the server may take to answer.
    pub response_timeout: Duration,
}

impl RedisOptions {
    /// The server at this address and the defaults.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            prefix: "tidemark".to_owned(),
            store: None,
            connect_timeout: Duration::from_millis(800),
            response_timeout: Duration::from_secs(10),
        }
    }

    /// The address without user and password.
    fn shown(&self) -> String {
        match self.url.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?.1))) {
            Some((scheme, address)) => format!("{scheme}://{address}"),
            None => self.url.clone(),
        }
    }
}

impl std::fmt::Debug for RedisOptions {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("RedisOptions")
            .field("url", &self.shown())
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// The broker in Redis; see the module's text. Cheap to clone.
#[derive(Clone)]
pub struct RedisBroker {
    shared: Arc<Shared>,
}

struct Shared {
    options: BrokerOptions,
    redis: RedisOptions,
    keys: Keys,
    link: Link,
    scripts: Scripts,
    clock: Arc<dyn Clock>,
    ids: JobIdSource,
    closed: std::sync::atomic::AtomicBool,
    /// The last connection on which layout and store were found to be ours; the first is 1. Each connection is checked:
    /// behind a new one, the server may have other data.
    checked: std::sync::atomic::AtomicU64,
    /// When to check again on the same connection, in milliseconds of the monotonic clock.
    check_again_ms: std::sync::atomic::AtomicU64,
    /// Picks between the priorities, see [`crate::Priority`].
    picks: std::sync::atomic::AtomicU64,
    state: Mutex<State>,
}

/// What this process knows.
struct State {
    /// Frames that this process has fetched and not settled.
    frames: HashMap<FrameKey, HeldFrame>,
    /// Queues that this process put into the set of queues, and puts there again with every check.
    queues: std::collections::BTreeSet<QueueName>,
    /// Where jobs with a result wait that this process pushed, for those who await them.
    awaited: HashMap<JobId, QueueName>,
    /// Counters of each queue some time ago, for rates.
    samples: HashMap<QueueName, VecDeque<(Duration, QueueTotals)>>,
    /// Workflows that this process moved on last.
    workflows: HashMap<WorkflowId, workflows::KnownRun>,
    /// A second, and how many completed jobs of it may still enter the history.
    history_second: (u64, u32),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct FrameKey {
    queue: QueueName,
    level: u8,
    entry: (u64, u64),
}

struct HeldFrame {
    items: Vec<Item>,
    outcomes: Vec<Option<Fate>>,
    /// What was told about its jobs, by position, as far as this process knows.
    told: HashMap<usize, JobNote>,
    worker: WorkerId,
    started_ms: i64,
}

/// What becomes of a job of a frame.
#[derive(Clone, Debug)]
enum Fate {
    Settled(Outcome),
    Released,
}

impl RedisBroker {
    /// A broker that connects when it is first used: a server that is down now may be up later.
    ///
    /// # Errors
    /// [`BrokerError::Invalid`] when the address cannot be read or the prefix is illegal.
    pub fn new(redis: RedisOptions, options: BrokerOptions, clock: Arc<dyn Clock>) -> Result<Self, BrokerError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b':' | b'.');
        if redis.prefix.is_empty() || !redis.prefix.bytes().all(is_plain) {
            let prefix = &redis.prefix;
            return Err(BrokerError::Invalid(format!("`{prefix}` is no key prefix: letters, digits and `-_:.` are")));
        }
        let client = redis::Client::open(redis.url.as_str())
            .map_err(|error| BrokerError::Invalid(format!("read the broker's address: {error}")))?;
        let link = Link::new(client, redis.clone(), clock.clone());
        let history_per_second_max = options.history_per_second_max;
        let shared = Shared {
            options,
            keys: Keys::new(&redis.prefix),
            redis,
            link,
            scripts: Scripts::new(),
            ids: JobIdSource::random(clock.clone()),
            clock,
            closed: std::sync::atomic::AtomicBool::new(false),
            checked: std::sync::atomic::AtomicU64::new(0),
            check_again_ms: std::sync::atomic::AtomicU64::new(0),
            picks: std::sync::atomic::AtomicU64::new(0),
            state: Mutex::new(State {
                frames: HashMap::new(),
                queues: std::collections::BTreeSet::new(),
                awaited: HashMap::new(),
                samples: HashMap::new(),
                workflows: HashMap::new(),
                history_second: (0, history_per_second_max),
            }),
        };
        Ok(Self { shared: Arc::new(shared) })
    }
}

impl Shared {
    fn check_open(&self) -> Result<(), BrokerError> {
        if self.closed.load(std::sync::atomic::Ordering::Acquire) { Err(BrokerError::Closed) } else { Ok(()) }
    }

    /// Runs a prepared command or script.
    async fn run<T: redis::FromRedisValue>(&self, command: impl Command) -> Result<T, BrokerError> {
        self.check_open()?;
        let mut lent = self.link.connection().await?;
        self.check_owner(&mut lent).await?;
        let value = command.run(&mut lent.connection).await.map_err(|error| self.link.failed(&lent, &error))?;
        redis::from_redis_value(value)
            .map_err(|error| BrokerError::Corrupt(format!("redis gave an unexpected answer: {error}")))
    }

    /// Refuses to work on keys of another layout or another store; writes ours down when there is none, and our queues.
    async fn check_owner(&self, lent: &mut link::Lent) -> Result<(), BrokerError> {
        let now = self.clock.monotonic();
        if self.checked.load(std::sync::atomic::Ordering::Relaxed) == lent.generation
            && millis(now) < self.check_again_ms.load(std::sync::atomic::Ordering::Relaxed)
        {
            return Ok(());
        }
        let found = self.claim(lent, &self.keys.layout(), LAYOUT_VERSION).await?;
        if found != LAYOUT_VERSION {
            return Err(BrokerError::Corrupt(format!(
                "the keys of `{}` have layout {found}, this release reads {LAYOUT_VERSION}",
                self.redis.prefix
            )));
        }
        if let Some(ours) = &self.redis.store {
            let key = self.keys.store();
            let found = self.claim(lent, &key, ours).await?;
            if found != *ours {
                return Err(BrokerError::OtherStore(format!(
                    "the queues at {} belong to store {found}, and this process has store {ours}: points would be \
                     split over both. Give each embedded store a Redis database of its own, such as \
                     redis://HOST:PORT/1; if the other store is gone for good, delete the key `{key}`",
                    self.redis.shown()
                )));
            }
        }
        self.list_own_queues(lent).await?;
        self.check_again_ms.store(millis(now + CHECK_EVERY), std::sync::atomic::Ordering::Relaxed);
        self.checked.store(lent.generation, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    }

    /// Puts the queues of this process into the set of queues again: it is empty once the server has lost its data, and
    /// what is not in it is neither swept nor shown.
    async fn list_own_queues(&self, lent: &mut link::Lent) -> Result<(), BrokerError> {
        let own = self.own_queues();
        if own.is_empty() {
            return Ok(());
        }
        let command = self.listing_of(&own);
        let added: usize =
            command.query_async(&mut lent.connection).await.map_err(|error| self.link.failed(lent, &error))?;
        if added > 0 {
            tracing::warn!(queues = added, "the broker had lost queues; they are listed again, their jobs may be gone");
        }
        Ok(())
    }

    fn own_queues(&self) -> Vec<QueueName> {
        self.state.lock().queues.iter().cloned().collect()
    }

    fn listing_of(&self, queues: &[QueueName]) -> redis::Cmd {
        let mut command = redis::cmd("SADD");
        command.arg(self.keys.queues());
        queues.iter().for_each(|queue| {
            command.arg(queue.as_str());
        });
        command
    }

    /// All queues to sweep. When one of ours is not listed, the next command checks everything.
    async fn queues_to_sweep(&self) -> Result<Vec<QueueName>, BrokerError> {
        // Ours first: a queue that is noted meanwhile is not missed.
        let own = self.own_queues();
        let mut queues: std::collections::BTreeSet<QueueName> = self.queue_names().await?.into_iter().collect();
        let listed = queues.len();
        queues.extend(own);
        if queues.len() > listed {
            self.check_again_ms.store(0, std::sync::atomic::Ordering::Relaxed);
        }
        Ok(queues.into_iter().collect())
    }

    /// Sets a key unless it is there; what it holds then.
    async fn claim(&self, lent: &mut link::Lent, key: &str, value: &str) -> Result<String, BrokerError> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("SET").arg(key).arg(value).arg("NX").ignore().cmd("GET").arg(key);
        let (found,): (String,) =
            pipeline.query_async(&mut lent.connection).await.map_err(|error| self.link.failed(lent, &error))?;
        Ok(found)
    }

    /// All queues that ever had a job.
    async fn queue_names(&self) -> Result<Vec<QueueName>, BrokerError> {
        let names: Vec<String> = self.run(redis::cmd("SMEMBERS").arg(self.keys.queues())).await?;
        let mut names: Vec<QueueName> = names.iter().filter_map(|name| name.parse().ok()).collect();
        names.sort();
        Ok(names)
    }

    /// Makes sure that queues are in the set of queues.
    async fn note_queues(&self, queues: impl Iterator<Item = &QueueName>) -> Result<(), BrokerError> {
        let unknown: Vec<QueueName> = {
            let state = self.state.lock();
            queues.filter(|queue| !state.queues.contains(*queue)).cloned().collect()
        };
        if unknown.is_empty() {
            return Ok(());
        }
        let _added: i64 = self.run(&self.listing_of(&unknown)).await?;
        self.state.lock().queues.extend(unknown);
        Ok(())
    }
}

/// Something that a connection can run.
trait Command {
    fn run(
        &self,
        connection: &mut redis::aio::MultiplexedConnection,
    ) -> impl Future<Output = redis::RedisResult<redis::Value>> + Send;
}

impl Command for &redis::Cmd {
    async fn run(&self, connection: &mut redis::aio::MultiplexedConnection) -> redis::RedisResult<redis::Value> {
        self.query_async(connection).await
    }
}

impl Command for &mut redis::Cmd {
    async fn run(&self, connection: &mut redis::aio::MultiplexedConnection) -> redis::RedisResult<redis::Value> {
        self.query_async(connection).await
    }
}

impl Command for &redis::Pipeline {
    async fn run(&self, connection: &mut redis::aio::MultiplexedConnection) -> redis::RedisResult<redis::Value> {
        self.query_async(connection).await
    }
}

impl Command for &redis::ScriptInvocation<'_> {
    async fn run(&self, connection: &mut redis::aio::MultiplexedConnection) -> redis::RedisResult<redis::Value> {
        self.invoke_async(connection).await
    }
}
