//! Every setting and what it means. `settings/defaults.rs` has what holds where nobody sets it.

mod defaults;

use std::{collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::bail;
use serde::{Deserialize, Serialize};
use tidemark_api::{ApiV1, OperationMode};
use tidemark_queue::{Rate, RedisOptions};

use super::{Bytes, Span, StoreUrl, masked};

/// Most jobs of one queue at one time.
pub(crate) const CONCURRENCY_MAX: usize = 10_000;

/// All settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// Address of the one listener for HTTP and telnet; port 0 takes a free one.
    pub(crate) listen: SocketAddr,
    /// Folder of the embedded store, the embedded queue and the spool.
    pub(crate) data: PathBuf,
    /// Where people reach this server, for links in notifications and commands to copy; empty for the address that it
    /// listens on.
    pub(crate) public_url: String,
    /// What this process does: `api`, `worker`, `scheduler`, `agent`.
    pub(crate) roles: Vec<Role>,
    /// What the series `tidemark.*` of this process have as their tag `process`, so that those of two processes on one host
    /// are kept apart; empty for its roles, or for no such tag in a process with the role `api`.
    pub(crate) name: String,
    /// `embedded`, or where Redis or Valkey is: `redis://[USER:PASSWORD@]HOST:PORT/DATABASE`, `rediss://…` with TLS,
    /// `unix:/PATH`, `redis+sentinel://HOST,HOST/MASTER`, `redis+cluster://HOST,HOST`. Each embedded store needs a
    /// database or a `redis.prefix` of its own.
    pub(crate) broker: BrokerUrl,
    /// `embedded`, or `fdb:CLUSTER_FILE` for a FoundationDB cluster that several processes use; behind a `?` come
    /// `prefix=` (what all keys begin with), `shards=` (of a new store, 8 by default) and `library=` (of the client).
    pub(crate) store: StoreUrl,
    pub(crate) redis: RedisSettings,
    pub(crate) log: LogSettings,
    pub(crate) opentsdb: OpentsdbSettings,
    pub(crate) http: HttpSettings,
    pub(crate) limits: LimitSettings,
    pub(crate) rollups: RollupSettings,
    pub(crate) retention: RetentionSettings,
    pub(crate) queue: QueueSettings,
    pub(crate) direct: DirectSettings,
    pub(crate) auth: AuthSettings,
    pub(crate) agent: AgentSettings,
    pub(crate) alert: AlertSettings,
    pub(crate) worker: WorkerSettings,
    pub(crate) jobs: JobFileSettings,
    /// Remote targets that workers poll.
    pub(crate) collect: Vec<CollectTarget>,
    pub(crate) shutdown: ShutdownSettings,
}

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Serves HTTP, telnet and the pages.
    Api,
    /// Runs jobs.
    Worker,
    /// Turns schedules into jobs.
    Scheduler,
    /// Collects this host's metrics.
    Agent,
}

/// Where jobs wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum BrokerUrl {
    /// A file in the data folder.
    Embedded,
    /// Redis or Valkey.
    Redis(String),
}

/// How Redis is reached, beside what `broker` says. Empty texts stand for none.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RedisSettings {
    /// Begins the names of all keys, so that several installations may share a database or a cluster.
    pub(crate) prefix: String,
    /// User, when `broker` names none.
    pub(crate) username: String,
    /// Password, when `broker` has none.
    pub(crate) password: String,
    /// File with the password, in place of `password`.
    pub(crate) password_file: PathBuf,
    /// User of the sentinels.
    pub(crate) sentinel_username: String,
    /// Password of the sentinels.
    pub(crate) sentinel_password: String,
    /// File with the password of the sentinels.
    pub(crate) sentinel_password_file: PathBuf,
    /// CA certificates (PEM) of which one signed the server's; empty for those of the machine. The files of TLS are read
    /// at the start.
    pub(crate) ca_file: PathBuf,
    /// Our certificate (PEM), if the server wants one.
    pub(crate) cert_file: PathBuf,
    /// Its private key (PEM).
    pub(crate) key_file: PathBuf,
    /// Name that the server's certificate must have, in place of the host; also those of sentinels and of all nodes of a
    /// cluster.
    pub(crate) server_name: String,
    /// Replicas that must have confirmed a job or the start of a workflow before its producer is told that it is queued;
    /// with too few the producer
    /// gets an error after 0.9 s.
    pub(crate) wait_replicas: u32,
}

/// How and what is logged, to standard error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LogSettings {
    /// `text` or `json`.
    pub(crate) format: LogFormat,
    /// A level, or levels by part: `info,tidemark_api=debug`.
    pub(crate) level: String,
}

/// Form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What OpenTSDB's clients may do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct OpentsdbSettings {
    /// What OpenTSDB's and Bosun's endpoints and telnet do: `rw`; `ro`, answer questions about points; or `wo`, take points.
    /// Endpoints and commands for the other are not there.
    pub(crate) mode: OperationMode,
    /// Whether `DELETE /api/query` and queries with `"delete": true` delete what they match.
    pub(crate) allow_delete: bool,
    /// Most tags of a point.
    pub(crate) max_tags: usize,
    /// Characters that metrics, tag keys and tag values may have beside letters, digits and `-_./`, such as `:+%`. Of the
    /// agent's names, too. Where many programs write into one store, set them alike.
    pub(crate) allow_specialchars: String,
    /// Whether points may bring metrics that were never written nor assigned (`/api/uid/assign`); OpenTSDB's default is
    /// that they may not. Of puts over HTTP and telnet, agents elsewhere among them; imports, the server's own series
    /// `tidemark.*` and its own agent make the names they need.
    pub(crate) auto_create_metrics: bool,
    /// The same of tag keys.
    pub(crate) auto_create_tagks: bool,
    /// The same of tag values.
    pub(crate) auto_create_tagvs: bool,
    /// Origins of pages that may call the API from a browser; `*` stands for all.
    pub(crate) cors_domains: Vec<String>,
    /// Request headers that such pages may send.
    pub(crate) cors_headers: String,
    /// Request header with a tag, `key=value`, that all points of the request get; empty for none.
    pub(crate) header_tag: String,
    /// Whether telnet clients are told what is wrong with their points.
    pub(crate) telnet_errors: bool,
    /// Time zone of formatted dates without one.
    pub(crate) timezone: String,
    /// Day on which the weeks of the calendar start (`1wc`), such as `monday`; OpenTSDB's start on `sunday`.
    pub(crate) week_start: String,
    /// Whether queries aggregate series where their buckets are, and interpolate nothing between them, unless they say
    /// otherwise (`alignFirst`).
    pub(crate) align_first: bool,
    /// Whether queries take rates of points and downsample them then, unless they say otherwise (`preDownsample`).
    pub(crate) rate_before_downsample: bool,
    /// Whether metrics, tag keys and tag values that nobody has written match nothing, with a warning, in place of an
    /// error 400, unless a query says otherwise (`skipUnresolved`).
    pub(crate) skip_unresolved: bool,
    /// Whether NaN is `null` in objects, too, as it always is in arrays, unless a query says otherwise (`nanAsNull`).
    pub(crate) nan_as_null: bool,
    /// Intervals for which values that stand for all points of an interval may be written to `/api/rollup`, at most 8.
    pub(crate) rollups: Vec<String>,
}

/// Whose paths are whose.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct HttpSettings {
    /// Whose the paths below `/api/v1` are, a version that OpenTSDB's paths may have and Prometheus' always have: of whoever
    /// has the path, and `/api/v1/query` as its request says (`auto`); all of `opentsdb`; or of `prometheus`, as far as it
    /// has them. Prometheus' API is under `/prometheus/api/v1` in any case.
    pub(crate) api_v1: ApiV1,
}

/// What is computed ahead of queries over days that are past.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RollupSettings {
    /// Intervals for which each series gets a count, sum, minimum, maximum, first and last value: whole minutes that
    /// divide a day, at most 8. None: every query reads points. Queries use them where the answer is the same.
    pub(crate) intervals: Vec<Span>,
}

/// How long points are kept: until they are older than this, and for the length of a bucket at most longer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RetentionSettings {
    /// For metrics that no rule matches; for ever when it is not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) keep: Option<Span>,
    /// How long rollups answer queries in place of points that are gone; not longer than the points when it is not set.
    /// A day of a metric that is larger than `limits.merge_bytes` has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) keep_rollups: Option<Span>,
    /// The first rule that matches the name of a metric decides.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) rules: Vec<RetentionRuleSettings>,
}

/// How long points of some metrics are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RetentionRuleSettings {
    /// Names of metrics: `*` stands for any characters.
    pub(crate) metric: String,
    /// For ever when it is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) keep: Option<Span>,
    /// For their rollups; as long as `keep` when it is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) keep_rollups: Option<Span>,
}

/// Limits; every error about one names it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LimitSettings {
    /// Open connections.
    pub(crate) connections: usize,
    /// How long a connection may be silent before its first byte.
    pub(crate) first_byte_timeout: Span,
    /// How long the head of a request may take.
    pub(crate) head_timeout: Span,
    /// How long a body may make no progress.
    pub(crate) body_timeout: Span,
    /// Bytes a second below which a body counts as stalled.
    pub(crate) body_rate: Bytes,
    /// How long a body may take in all.
    pub(crate) body_total_timeout: Span,
    /// Bytes of a body as sent.
    pub(crate) body_bytes: Bytes,
    /// Bytes of a body after decompression.
    pub(crate) body_bytes_decoded: Bytes,
    /// Bytes of all bodies that are held at once.
    pub(crate) body_bytes_in_flight: Bytes,
    /// How long a client may leave an answer unread.
    pub(crate) response_timeout: Span,
    /// How long an idle connection is kept.
    pub(crate) keep_alive: Span,
    /// Batches of one telnet connection that are written at once.
    pub(crate) telnet_writes_in_flight: usize,
    /// How long a telnet connection holds a batch that the store does not take.
    pub(crate) telnet_retry: Span,
    /// Series in the store.
    pub(crate) series: usize,
    /// Series of one metric.
    pub(crate) series_per_metric: usize,
    /// New series a minute, in each process; 0 for any number. Points of a series that exists are never refused.
    pub(crate) new_series_per_minute: usize,
    /// How far ahead of the clock of the server a point may be.
    pub(crate) future: Span,
    /// Points that are held in memory until they are sealed.
    pub(crate) head_points: u64,
    /// Deletions that wait until the blocks are rewritten without what they hide.
    pub(crate) tombstones: usize,
    /// Points that wait for a flush.
    pub(crate) queued_points: usize,
    /// Bytes of blocks that one merge or compaction may hold; it takes twice as much memory.
    pub(crate) merge_bytes: Bytes,
    /// Queries that are evaluated at once.
    pub(crate) queries: usize,
    /// Queries that one client, a token or else an address, may have under way or waiting.
    pub(crate) queries_per_client: usize,
    /// How long a query may wait for its turn.
    pub(crate) query_wait: Span,
    /// How long a query may be evaluated.
    pub(crate) query_time: Span,
    /// Sub-queries of one request; metrics, expressions and outputs of one with expressions.
    pub(crate) query_parts: usize,
    /// Series of one sub-query.
    pub(crate) query_series: usize,
    /// Points decoded for one sub-query.
    pub(crate) query_points: u64,
    /// Bytes of blocks held for one sub-query.
    pub(crate) query_bytes: Bytes,
    /// Points in all results of a sub-query.
    pub(crate) query_result_points: u64,
    /// Points of one group after downsampling.
    pub(crate) query_group_points: u64,
    /// Names, series or results of one listing.
    pub(crate) results: usize,
}

/// The queues of the broker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct QueueSettings {
    /// Jobs that wait in one queue.
    pub(crate) jobs_max: u64,
    /// Bytes of payload that wait in one queue.
    pub(crate) bytes_max: Bytes,
    /// Workflows that run at a time.
    pub(crate) workflows_max: usize,
    /// How long a worker holds a job without a sign of life.
    pub(crate) lease: Span,
}

/// Writes that go straight to the store of this process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DirectSettings {
    /// Batches that wait or are being written.
    pub(crate) jobs_max: usize,
    /// Bytes of those batches.
    pub(crate) bytes_max: Bytes,
}

/// Who may do what. Without tokens only the loopback interface can be listened on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AuthSettings {
    /// Who may come in; `tidemark token create` prints an entry.
    pub(crate) tokens: Vec<TokenSettings>,
    /// Networks, such as `10.0.0.0/8`, whose telnet lines are taken without a token; with tokens, nobody else's are.
    pub(crate) telnet_from: Vec<String>,
    /// Networks of proxies that are believed when they say for whom they ask (`X-Forwarded-For`). The clients of any other
    /// proxy count as one.
    pub(crate) trusted_proxies: Vec<String>,
}

/// One token, as its hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenSettings {
    /// For the log.
    pub(crate) name: String,
    /// SHA-256 of the token in hexadecimal.
    pub(crate) sha256: String,
    /// `write`, `read`, `operate`, `admin`.
    pub(crate) roles: Vec<String>,
}

/// The agent of this host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AgentSettings {
    /// Value of the tag `host`; empty for the host's short name.
    pub(crate) host: String,
    /// Further tags of every point.
    pub(crate) tags: BTreeMap<String, String>,
    /// How often the built-in collectors run.
    pub(crate) interval: Span,
    /// Folder of external collectors, with one numeric folder for each interval in seconds; empty for none.
    pub(crate) collectors: PathBuf,
    /// Server to send to. Only for `tidemark agent`, like the next three: the agent in `serve` writes into its own store.
    pub(crate) to: String,
    /// Token for that server. Only for `tidemark agent`.
    pub(crate) token: String,
    /// Proxy to send through, with user and password if it wants them. Only for `tidemark agent`.
    pub(crate) proxy: String,
    /// Most bytes of the spool on disk. Only for `tidemark agent`.
    pub(crate) spool: Bytes,
}

/// Rules and their evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AlertSettings {
    /// Folder of rule files (`*.toml`); empty for none.
    pub(crate) rules: PathBuf,
}

/// The worker pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct WorkerSettings {
    /// Jobs of each queue at one time, where `queues` names no number. Of `rollup` there is always one: a seal takes
    /// memory and a core.
    pub(crate) concurrency: usize,
    /// Jobs of all queues at one time; 0 for no other limit than those of the queues. While more wait, each place that comes
    /// free goes to the queue whose turn it is by weight.
    pub(crate) total: usize,
    /// Queues to work on; empty for all. `name:n` allows `n` jobs of that queue at one time, 1 to 10,000; with `name:n-m`
    /// the number follows the backlog between `n` and `m`. `name*w`, also before a colon, gives the queue a weight of 1 to
    /// 1,000 in the sharing of `total`, in place of 1.
    pub(crate) queues: Vec<String>,
    /// Site that this worker stands at: it polls the targets of that site, in the place of those without one.
    pub(crate) site: String,
    /// Jobs that start in a time, over all workers, such as `100/s`: of a kind (`notify`), of each target, receiver or other
    /// key of it (`notify:*`), or of one key (`notify:KEY`). To hold everywhere, set them alike everywhere.
    pub(crate) rates: BTreeMap<String, Rate>,
    /// Jobs of a kind that this process starts in a time.
    pub(crate) local_rates: BTreeMap<String, Rate>,
    /// Jobs of a kind that this process runs at one time, over all queues.
    pub(crate) kind_concurrency: BTreeMap<String, usize>,
}

/// Files that jobs read and write: what is uploaded for `import`, and what `export` makes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct JobFileSettings {
    /// Their folder; empty for `job-files` in the data folder. Workers and servers on several hosts need one that all of
    /// them see.
    pub(crate) folder: PathBuf,
    /// Most bytes of all files.
    pub(crate) folder_bytes: Bytes,
    /// After how long a file goes.
    pub(crate) keep: Span,
}

/// A remote target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CollectTarget {
    /// Value of the tag `target`.
    pub(crate) name: String,
    /// What to fetch.
    pub(crate) url: String,
    /// How often.
    #[serde(default = "minute")]
    pub(crate) every: Span,
    /// How long an answer may take.
    #[serde(default = "ten_seconds")]
    pub(crate) timeout: Span,
    /// Site whose workers poll it; empty for those without a site.
    #[serde(default)]
    pub(crate) site: String,
}

/// Deadlines of an orderly end. With the defaults it takes at most 43 s: what holds a request or job may need some time
/// more to give it up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ShutdownSettings {
    /// For open requests, and once more for the work that they left behind.
    pub(crate) requests: Span,
    /// For running jobs, before they are cancelled and their leases released.
    pub(crate) jobs: Span,
    /// For flushing the store.
    pub(crate) flush: Span,
}

impl Settings {
    /// Whether this process keeps anything in its data folder.
    pub(crate) fn uses_data_folder(&self) -> bool {
        self.store == StoreUrl::Embedded || self.broker == BrokerUrl::Embedded
    }

    /// The tag `process` of what this process says about itself. It stays the same over restarts.
    pub(crate) fn process(&self) -> Option<String> {
        if !self.name.is_empty() {
            return Some(self.name.clone());
        }
        let names: Vec<&str> = self.roles.iter().map(|role| role.name()).collect();
        (!self.roles.contains(&Role::Api)).then(|| names.join("-"))
    }
}

impl Role {
    /// As settings write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Worker => "worker",
            Self::Scheduler => "scheduler",
            Self::Agent => "agent",
        }
    }
}

impl fmt::Debug for RedisSettings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("RedisSettings").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

fn minute() -> Span {
    Span(Duration::from_secs(60))
}

fn ten_seconds() -> Span {
    Span(Duration::from_secs(10))
}

impl TryFrom<String> for BrokerUrl {
    type Error = anyhow::Error;

    fn try_from(text: String) -> anyhow::Result<Self> {
        match text.as_str() {
            "embedded" => Ok(Self::Embedded),
            url if RedisOptions::is_address(url) => Ok(Self::Redis(text)),
            _ => bail!("expected `embedded` or an address such as `redis://HOST:PORT`, got `{}`", masked(&text)),
        }
    }
}

impl From<BrokerUrl> for String {
    fn from(url: BrokerUrl) -> Self {
        match url {
            BrokerUrl::Embedded => "embedded".to_owned(),
            BrokerUrl::Redis(url) => url,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_apart_by_its_name_or_its_roles() {
        let check = |name: &str, roles: &[Role], expect: Option<&str>| {
            let settings = Settings { name: name.to_owned(), roles: roles.to_vec(), ..Settings::default() };
            assert_eq!(settings.process().as_deref(), expect);
        };
        check("", &[Role::Api, Role::Worker], None);
        check("", &[Role::Worker], Some("worker"));
        check("", &[Role::Worker, Role::Scheduler], Some("worker-scheduler"));
        check("w2", &[Role::Worker], Some("w2"));
        check("second", &[Role::Api], Some("second"));
    }
}
