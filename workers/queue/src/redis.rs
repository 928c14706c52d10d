//! The broker in Redis 6.2 or later, or Valkey: streams with a consumer group, and Lua for every step that touches more than
//! one key. `docs/redis-layout.md` describes the keys.
//!
//! A stream entry is a *frame* of 1 to 64 jobs: entries are what costs in Redis, so frames are what makes it quick. A frame
//! goes to one worker; when all its jobs have been settled, one script acknowledges it and files what became of them. Only
//! kinds whose jobs are short travel in frames of several ([`crate::JobKind::is_framed`]).
//!
//! Payloads of 4 KiB and more go around the scripts: `redis/payloads.rs`.
//!
//! A lease is the idle time of a pending entry. Whoever takes a frame over files its jobs again, singly and under new
//! entries, in the same script that acknowledges the old entry: so an entry that is pending is pending with its first reader,
//! its id is the fencing token, and a settlement whose entry is gone is refused. This is also how one poisonous job does
//! not condemn the others of its frame.
//!
//! We turned down a list with a lease script, which needs two more writes a job, and single entries, which are three times
//! slower. Time is the server's: a producer or worker whose clock jumps changes no lease and no delay.

mod address;
mod bulk;
mod calls;
mod cluster;
mod command;
mod data_loss;
mod dial;
mod frame;
mod health;
mod keys;
mod leases;
mod limits;
mod link;
mod listing;
mod lost_nodes;
mod notes;
mod options;
mod ownership;
mod payloads;
mod push;
mod reconcile;
mod scripts;
mod sentinels;
mod server_time;
mod servers;
mod slot;
mod steering;
mod sweep;
mod tls;
mod transition;
mod trouble;
mod unreadable;
mod unwanted;
mod workflows;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use foldhash::{HashMap, HashMapExt};
use parking_lot::Mutex;
use tidemark_model::Clock;

use crate::job_journal::is_listed;
use crate::{
    BrokerError, BrokerOptions, JobId, JobIdSource, JobJournal, JobNote, Outcome, QueueName, QueueTotals, WorkerId,
    WorkflowId,
};
use address::Address;
use command::Command;
use data_loss::DataWatch;
use frame::Item;
pub(crate) use frame::rewrite as reread_frame;
use keys::Keys;
pub use options::{RedisOptions, RedisTls};
use scripts::Scripts;
use server_time::ServerTime;
use servers::Servers;

/// Version of the layout of the keys.
const LAYOUT_VERSION: &str = "3";
/// The layout before it, whose data this release reads.
const LAYOUT_BEFORE: &str = "2";

/// The broker in Redis; see the module's text. Cheap to clone.
#[derive(Clone)]
pub struct RedisBroker {
    shared: Arc<Shared>,
}

struct Shared {
    options: BrokerOptions,
    redis: RedisOptions,
    address: Address,
    keys: Keys,
    servers: Servers,
    scripts: Scripts,
    clock: Arc<dyn Clock>,
    ids: JobIdSource,
    closed: std::sync::atomic::AtomicBool,
    /// How many connections there had been when layout and store were found to be ours. After each new one they are
    /// looked at again: behind it, the server may have other data.
    checked: std::sync::atomic::AtomicU64,
    /// When to check again on the same connection, in milliseconds of the monotonic clock.
    check_again_ms: std::sync::atomic::AtomicU64,
    /// Whether processes that know only the layout before may still be at work.
    layout_is_new: std::sync::atomic::AtomicBool,
    /// Picks between the priorities, see [`crate::Priority`].
    picks: std::sync::atomic::AtomicU64,
    state: Mutex<State>,
    watch: Mutex<DataWatch>,
    server_time: ServerTime,
    /// Where it is written down what became of jobs.
    journal: Option<JobJournal>,
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
    lost_nodes: lost_nodes::LostNodesLook,
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
    /// [`BrokerError::Invalid`] when the address or a file cannot be read, the prefix is illegal, or the options do not fit
    /// each other.
    pub fn new(redis: RedisOptions, options: BrokerOptions, clock: Arc<dyn Clock>) -> Result<Self, BrokerError> {
        Self::build(redis, options, clock, None)
    }

    /// Likewise; what becomes of jobs is written down in a journal, which somebody has to keep by
    /// [`RedisBroker::keep_journal`], so that jobs that Redis loses can be named.
    ///
    /// # Errors
    /// Those of [`RedisBroker::new`].
    pub fn with_journal(
        redis: RedisOptions,
        options: BrokerOptions,
        clock: Arc<dyn Clock>,
        journal: JobJournal,
    ) -> Result<Self, BrokerError> {
        Self::build(redis, options, clock, Some(journal))
    }

    fn build(
        redis: RedisOptions,
        options: BrokerOptions,
        clock: Arc<dyn Clock>,
        journal: Option<JobJournal>,
    ) -> Result<Self, BrokerError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b':' | b'.');
        if redis.prefix.is_empty() || !redis.prefix.bytes().all(is_plain) {
            let prefix = &redis.prefix;
            return Err(BrokerError::Invalid(format!("`{prefix}` is no key prefix: letters, digits and `-_:.` are")));
        }
        let address: Address =
            redis.url.parse().map_err(|reason| BrokerError::Invalid(format!("read the broker's address: {reason}")))?;
        let servers = Servers::new(&redis, &address, &clock)?;
        let history_per_second_max = options.history_per_second_max;
        let shared = Shared {
            options,
            keys: Keys::new(&redis.prefix),
            redis,
            address,
            servers,
            scripts: Scripts::new(),
            ids: JobIdSource::random(clock.clone()),
            clock,
            closed: std::sync::atomic::AtomicBool::new(false),
            checked: std::sync::atomic::AtomicU64::new(ownership::NEVER),
            check_again_ms: std::sync::atomic::AtomicU64::new(0),
            layout_is_new: std::sync::atomic::AtomicBool::new(false),
            picks: std::sync::atomic::AtomicU64::new(0),
            state: Mutex::new(State {
                frames: HashMap::new(),
                queues: std::collections::BTreeSet::new(),
                awaited: HashMap::new(),
                samples: HashMap::new(),
                workflows: HashMap::new(),
                lost_nodes: lost_nodes::LostNodesLook::default(),
                history_second: (0, history_per_second_max),
            }),
            watch: Mutex::new(DataWatch::default()),
            server_time: ServerTime::default(),
            journal,
        };
        Ok(Self { shared: Arc::new(shared) })
    }
}

impl Shared {
    /// The journal, if there is one and the jobs of this queue are in it.
    fn journal_of(&self, queue: &QueueName) -> Option<&JobJournal> {
        self.journal.as_ref().filter(|_| is_listed(queue))
    }

    fn check_open(&self) -> Result<(), BrokerError> {
        if self.closed.load(std::sync::atomic::Ordering::Acquire) { Err(BrokerError::Closed) } else { Ok(()) }
    }

    /// What time it is on the server, as far as this process knows.
    fn server_now_ms(&self) -> i64 {
        self.server_time.now_ms(self.clock.as_ref())
    }

    /// Runs a prepared command or script.
    async fn run<T: redis::FromRedisValue>(&self, command: impl Command) -> Result<T, BrokerError> {
        self.check_open()?;
        self.check_owner().await?;
        read(self.servers.run(&command).await?)
    }

    /// Runs what must be on as many replicas as the options say before it counts.
    async fn run_replicated<T: redis::FromRedisValue>(&self, command: impl Command) -> Result<T, BrokerError> {
        self.check_open()?;
        self.check_owner().await?;
        read(self.servers.run_replicated(&command).await?)
    }
}

fn read<T: redis::FromRedisValue>(value: redis::Value) -> Result<T, BrokerError> {
    redis::from_redis_value(value)
        .map_err(|error| BrokerError::Corrupt(format!("redis gave an unexpected answer: {error}")))
}
