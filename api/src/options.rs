//! Limits and switches of the server, parsed and checked by the binary.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use tidemark_model::{NameKind, PointRules, ReadLimits};
use tidemark_query::{EvaluationLimits, RollupIntervals, Weekday};

use crate::{
    auth::{Network, Tokens},
    log_book::LogBook,
    opentsdb::OperationMode,
    prometheus::ApiV1,
};

/// How the server listens, what it allows and how much of everything it takes.
#[derive(Clone, Debug)]
pub struct ApiOptions {
    /// Threads that serve connections.
    pub workers: NonZeroUsize,
    /// Limits of connections and requests.
    pub limits: ApiLimits,
    /// What OpenTSDB's configuration decides.
    pub opentsdb: OpenTsdbOptions,
    /// Whose paths those below `/api/v1` are, `http.api_v1`.
    pub api_v1: ApiV1,
    /// What `/api/version` says.
    pub build: BuildInfo,
    /// The name of this host, the tag `host` of what `/api/stats` tells.
    pub host: String,
    /// Requests that take longer are logged at `info` instead of `debug`.
    pub slow_request: Duration,
    /// Who is let in; everybody when there is no token.
    pub tokens: Tokens,
    /// Where telnet lines may come from although there are tokens, `auth.telnet_from`: lines cannot carry one.
    pub telnet_from: Vec<Network>,
    /// Proxies that are believed when they say for whom they ask, `auth.trusted_proxies`.
    pub trusted_proxies: Vec<Network>,
    /// Names, without ports, by which people reach the server beside `localhost` and loopback addresses: the host of
    /// `public_url`. As long as there is no token, requests to other names are refused.
    pub hosts: Vec<String>,
    /// The newest log lines, for `/logs`.
    pub logs: Option<Arc<dyn LogBook>>,
}

/// Limits of connections and requests. Each refusal names its limit.
#[derive(Clone, Copy, Debug)]
pub struct ApiLimits {
    /// Open connections of both protocols, `limits.connections`; further ones wait in the kernel's queue.
    pub connections: usize,
    /// How long a connection may be silent before its first byte, `limits.first_byte_timeout`.
    pub first_byte_timeout: Duration,
    /// How long the head of a request may take, `limits.head_timeout`.
    pub head_timeout: Duration,
    /// How long a body may make no progress, `limits.body_timeout`; within any such span at least
    /// [`ApiLimits::body_rate_min`] bytes a second must come.
    pub body_timeout: Duration,
    /// Bytes a second below which a body counts as stalled, `limits.body_rate`.
    pub body_rate_min: u64,
    /// How long a body may take in all, `limits.body_total_timeout`.
    pub body_total_timeout: Duration,
    /// Bytes of a body as sent, `limits.body_bytes`.
    pub body_bytes: usize,
    /// Bytes of a body after decompression, `limits.body_bytes_decoded`.
    pub body_bytes_decoded: usize,
    /// Bytes of all bodies that are held at once, `limits.body_bytes_in_flight`.
    pub body_bytes_in_flight: usize,
    /// How long a client may leave an answer unread, `limits.response_timeout`.
    pub response_timeout: Duration,
    /// How long an idle connection is kept, `limits.keep_alive`.
    pub keep_alive: Duration,
    /// How long open requests may take to finish after the server was told to stop.
    pub shutdown_timeout: Duration,
    /// Batches of one telnet connection that are written at once, `limits.telnet_writes_in_flight`.
    pub telnet_writes_in_flight: usize,
    /// How long a telnet connection holds a batch that the store does not take, `limits.telnet_retry`.
    pub telnet_retry: Duration,
    /// Queries that are evaluated at once, `limits.queries`.
    pub queries: usize,
    /// Queries that one client may have under way or waiting, `limits.queries_per_client`.
    pub queries_per_client: usize,
    /// How long a query may wait for its turn, `limits.query_wait`.
    pub query_wait: Duration,
    /// How long a query may be evaluated, `limits.query_time`.
    pub query_time: Duration,
    /// Sub-queries of one request, `limits.query_parts`.
    pub query_parts: usize,
    /// Series, points and bytes that all sub-queries of a request may read together.
    pub query_reads: ReadLimits,
    /// Points that one sub-query may hold and return.
    pub query_evaluation: EvaluationLimits,
    /// Most names, series or results that one listing returns, `limits.results`.
    pub results: usize,
}

impl Default for ApiLimits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            first_byte_timeout: Duration::from_secs(300),
            head_timeout: Duration::from_secs(5),
            body_timeout: Duration::from_secs(15),
            body_rate_min: 1024,
            body_total_timeout: Duration::from_secs(600),
            body_bytes: 64 << 20,
            body_bytes_decoded: 64 << 20,
            body_bytes_in_flight: 256 << 20,
            response_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(75),
            shutdown_timeout: Duration::from_secs(10),
            telnet_writes_in_flight: 4,
            telnet_retry: Duration::from_secs(60),
            queries: 16,
            queries_per_client: 100,
            query_wait: Duration::from_secs(10),
            query_time: Duration::from_secs(60),
            query_parts: 100,
            query_reads: ReadLimits::default(),
            query_evaluation: EvaluationLimits::default(),
            results: 1_000_000,
        }
    }
}

/// What OpenTSDB's configuration decides.
#[derive(Clone, Debug)]
pub struct OpenTsdbOptions {
    /// Whether points are taken, asked about, or both, `opentsdb.mode`.
    pub mode: OperationMode,
    /// Whether queries may delete what they match, `opentsdb.allow_delete`.
    pub allow_delete: bool,
    /// How many tags a point may have, `opentsdb.max_tags`, and which characters names, `opentsdb.allow_specialchars`.
    pub point_rules: PointRules,
    /// Which names points may bring that nobody has written or assigned, `opentsdb.auto_create_metrics` and so on.
    pub auto_create: AutoCreate,
    /// Origins of pages that may call the API from a browser, `opentsdb.cors_domains`; `*` stands for all.
    pub cors_domains: Vec<String>,
    /// Request headers that such pages may send, `opentsdb.cors_headers`.
    pub cors_headers: String,
    /// The request header with a tag, `key=value`, for all points of a request, `opentsdb.header_tag`; empty for none.
    pub header_tag: String,
    /// Whether telnet clients are told what is wrong with their points, `opentsdb.telnet_errors`.
    pub telnet_errors: bool,
    /// The time zone of formatted dates without one, `opentsdb.timezone`.
    pub timezone: String,
    /// First day of the weeks that calendar buckets are, `opentsdb.week_start`.
    pub week_start: Weekday,
    /// What queries do differently from OpenTSDB unless they say otherwise.
    pub extras: QueryExtras,
    /// For which intervals values may be written that stand for all points of an interval, `opentsdb.rollups`.
    pub rollups: RollupIntervals,
}

/// Which names points may bring that nobody has written or assigned. Points with others are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AutoCreate {
    /// Metrics, `opentsdb.auto_create_metrics`.
    pub metrics: bool,
    /// Tag keys, `opentsdb.auto_create_tagks`.
    pub tagks: bool,
    /// Tag values, `opentsdb.auto_create_tagvs`.
    pub tagvs: bool,
}

impl AutoCreate {
    /// Whether points may bring names of this kind.
    #[must_use]
    pub fn allows(self, kind: NameKind) -> bool {
        match kind {
            NameKind::Metric => self.metrics,
            NameKind::TagKey => self.tagks,
            NameKind::TagValue => self.tagvs,
        }
    }
}

impl Default for AutoCreate {
    fn default() -> Self {
        Self { metrics: true, tagks: true, tagvs: true }
    }
}

/// What a query may ask for that OpenTSDB does not have. These are the defaults of queries that do not ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueryExtras {
    /// Series are aggregated where their buckets are, and nothing is interpolated between them, `opentsdb.align_first`.
    pub align_first: bool,
    /// Rates are taken of points and then downsampled, `opentsdb.rate_before_downsample`.
    pub rate_before_downsample: bool,
    /// Metrics, tag keys and tag values that nobody has written match nothing, with a warning,
    /// `opentsdb.skip_unresolved`.
    pub skip_unresolved: bool,
    /// What is no number is `null` in objects, too, as it always is in arrays, `opentsdb.nan_as_null`.
    pub nan_as_null: bool,
}

impl Default for OpenTsdbOptions {
    fn default() -> Self {
        Self {
            mode: OperationMode::default(),
            allow_delete: false,
            point_rules: PointRules::default(),
            auto_create: AutoCreate::default(),
            cors_domains: Vec::new(),
            cors_headers: "Authorization, Content-Type, Accept, Origin, User-Agent, DNT, Cache-Control, \
                           X-Mx-ReqToken, Keep-Alive, X-Requested-With, If-Modified-Since"
                .to_owned(),
            header_tag: String::new(),
            telnet_errors: true,
            timezone: "UTC".to_owned(),
            week_start: Weekday::Sun,
            extras: QueryExtras::default(),
            rollups: RollupIntervals::default(),
        }
    }
}

/// What this program is, as `/api/version` tells it.
#[derive(Clone, Debug)]
pub struct BuildInfo {
    /// The version, such as `0.1.0`.
    pub version: String,
    /// The commit it was built from, in full; empty when unknown.
    pub revision: String,
    /// The branch of that commit; empty when unknown.
    pub branch: String,
    /// `MINT` when it is that commit, else `MODIFIED`.
    pub status: String,
    /// When it was built, in seconds since the epoch; 0 when unknown.
    pub built_at: i64,
}

/// Of a program of which nothing is known.
impl Default for BuildInfo {
    fn default() -> Self {
        Self {
            version: String::new(),
            revision: String::new(),
            branch: String::new(),
            status: "MODIFIED".to_owned(),
            built_at: 0,
        }
    }
}

impl Default for ApiOptions {
    fn default() -> Self {
        Self {
            workers: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            limits: ApiLimits::default(),
            opentsdb: OpenTsdbOptions::default(),
            api_v1: ApiV1::default(),
            build: BuildInfo { version: env!("CARGO_PKG_VERSION").to_owned(), ..BuildInfo::default() },
            host: "localhost".to_owned(),
            slow_request: Duration::from_secs(1),
            tokens: Tokens::default(),
            telnet_from: Vec::new(),
            trusted_proxies: Vec::new(),
            hosts: Vec::new(),
            logs: None,
        }
    }
}
