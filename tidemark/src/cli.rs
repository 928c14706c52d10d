//! The command line.

mod work;

use std::{ffi::OsString, net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use tidemark_api::point_lines::LineFormat;
use tidemark_queue::JobKind;

pub(crate) use self::work::{
    AskOptions, BacktestOptions, DeadLetterOptions, JobsCommand, JobsLsOptions, JobsRunOptions, NamedOptions,
    QueriesCommand, QueriesLsOptions, QueuesCommand, QueuesSetOptions, RulesCommand, SchedulesCommand,
    SchedulesSetOptions, WorkKind, WorkOptions, WorkersCommand, WorkflowsCommand,
};
use crate::config::{LogFormat, Role, Sources};

/// Collects, queues, stores, queries, alerts on and shows time series.
#[derive(Debug, Parser)]
#[command(name = "tidemark", version, max_term_width = 100)]
#[command(after_help = "Settings can also come from variables (TIDEMARK_LISTEN, TIDEMARK_LIMITS__BODY_BYTES) or from \
    tidemark.toml; lists of tables ([[auth.tokens]], [[collect]]) only from tidemark.toml.\nExit codes: 0 ok, 1 failed, 2 wrong usage, 3 a check found problems.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) common: CommonOptions,
}

/// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct CommonOptions {
    /// Configuration file; `tidemark.toml` in the working folder when it is there.
    #[arg(long, global = true, value_name = "FILE", env = "TIDEMARK_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// What is logged to standard error, such as `debug` or `info,tidemark_api=debug`.
    #[arg(long, global = true, value_name = "LEVELS")]
    log_level: Option<String>,
    /// Form of a log line.
    #[arg(long, global = true, value_name = "FORM")]
    log_format: Option<LogFormat>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run everything in one process, or the roles that are named.
    #[command(
        after_help = "Examples:\n  tidemark serve\n  tidemark serve --listen 127.0.0.1:8080 --data /var/lib/tidemark\n  \
        tidemark serve --broker redis://127.0.0.1:6379"
    )]
    Serve(ServeOptions),
    /// Serve HTTP, telnet and the pages: one of several processes on a Redis broker and a FoundationDB store.
    #[command(
        after_help = "Example:\n  tidemark api --broker redis://10.0.0.5:6379 --store fdb:/etc/foundationdb/fdb.cluster"
    )]
    Api(RoleOptions),
    /// Run jobs: one of several processes on a Redis broker and a FoundationDB store.
    #[command(
        after_help = "Examples:\n  tidemark worker --queues write:4-32,rollup,collect --site ams1 --concurrency 8 \\\n    \
        --broker redis://10.0.0.5:6379 --store fdb:/etc/foundationdb/fdb.cluster\n  \
        tidemark worker --queues 'write*4,evaluate*2,notify' --total 8 --broker … --store …"
    )]
    Worker(WorkerOptions),
    /// Turn schedules into jobs; of several such processes one does, and another takes its place when it ends.
    Scheduler(RoleOptions),
    /// Collect this host's metrics and send them to a server.
    #[command(after_help = "Examples:\n  tidemark agent --to http://monitor:4242\n  tidemark agent list\n  \
        tidemark agent preview cpu")]
    Agent(AgentOptions),
    /// Write a point, or lines of points from standard input.
    #[command(after_help = "Examples:\n  tidemark put app.requests 17 host=web01\n  \
        echo 'app.requests 1767225600 17 host=web01' | tidemark put --stdin")]
    Put(PutOptions),
    /// Ask for points, or evaluate an expression.
    #[command(after_help = "Examples:\n  tidemark query 'sum:rate:os.cpu{host=*}' --from 1h-ago\n  \
        tidemark query 'avg(q(\"sum:os.cpu{host=*}\", \"5m\", \"\"))' --expr -o json")]
    Query(QueryOptions),
    /// Show which metrics, tag keys and tags have the most series, and what has grown lately.
    Cardinality(CardinalityOptions),
    /// Jobs of a server: list, show, enqueue, fetch what they made, retry, cancel, purge.
    #[command(subcommand)]
    Jobs(JobsCommand),
    /// Queries of a server: list those under way and the newest that ended, cancel.
    #[command(subcommand)]
    Queries(QueriesCommand),
    /// Queues of a server: list, pause, drain, resume, set limits.
    #[command(subcommand)]
    Queues(QueuesCommand),
    /// Workers of a server: list, show, stop, scale.
    #[command(subcommand)]
    Workers(WorkersCommand),
    /// Schedules of a server: list, show, write, remove, pause, resume, run.
    #[command(subcommand)]
    Schedules(SchedulesCommand),
    /// Workflows of a server, which are jobs that wait for each other: list, show, start, cancel.
    #[command(subcommand)]
    Workflows(WorkflowsCommand),
    /// Rules of a server: try one over the past.
    #[command(subcommand)]
    Rules(RulesCommand),
    /// Backups of the store: take one, also of a server that is writing, verify it, restore it.
    #[command(subcommand)]
    Backup(BackupCommand),
    /// Write points as lines: JSON, CSV, or OpenTSDB's import text. Histograms, and rollups and aggregates that others
    /// computed, have lines of JSON alone; where the form is another one it is said how much is left out.
    #[command(after_help = "Examples:\n  tidemark export 'os.cpu{host=web*}' --from 1w-ago --format csv > cpu.csv\n  \
        tidemark export --to-file all.jsonl --data /var/lib/tidemark")]
    Export(ExportOptions),
    /// Write the points of files: JSON lines (also histograms and rollups: objects of /api/put, /api/histogram and
    /// /api/rollup may be mixed), CSV, or the text of OpenTSDB's `tsdb scan --import`; also compressed by gzip.
    /// Lines with mistakes are named and left out; the exit code is then 1. To import a file again changes nothing.
    #[command(
        after_help = "Examples:\n  tidemark import cpu.csv\n  tsdb scan --import 1y-ago sum os.cpu | tidemark import -\n  \
        tidemark import dump.txt.gz --data /var/lib/tidemark --skip-lines 1000000"
    )]
    Import(ImportOptions),
    /// Look at every entry of a store that no server has open, or of a backup; exit code 3 when something is wrong.
    #[command(
        after_help = "Examples:\n  tidemark doctor --data /var/lib/tidemark\n  tidemark doctor --repair --compact\n  \
        tidemark doctor --backup monday.tdm -o json"
    )]
    Doctor(DoctorOptions),
    /// Measure a part of the product on this machine.
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Check the configuration and the rules; exit code 3 when there are problems.
    Check(CheckOptions),
    /// Tokens for those who come from elsewhere.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Show the version.
    Version(OutputOptions),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ServeOptions {
    /// Address for HTTP and telnet; port 0 takes a free one [default: 127.0.0.1:4242].
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Folder of the embedded store and queue [default: ./tidemark-data].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// What this process does, of api, worker, scheduler, agent [default: all].
    #[arg(long, value_name = "ROLES")]
    roles: Option<String>,
    /// Where jobs wait: `embedded`, `redis://HOST:PORT`, `rediss://` with TLS, `unix:/PATH`, or
    /// `redis+sentinel://HOST,HOST/MASTER` and `redis+cluster://HOST,HOST`; the rest is set in `[redis]`
    /// [default: embedded].
    #[arg(long, value_name = "URL")]
    broker: Option<String>,
    /// Where points are kept: `embedded` or `fdb:CLUSTER_FILE` [default: embedded].
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Fill a folder of its own (`./tidemark-demo`, emptied first) with a week of a made-up fleet, and keep that going.
    #[arg(long)]
    pub(crate) demo: bool,
}

/// Options of a process of one role.
#[derive(Debug, Args)]
pub(crate) struct RoleOptions {
    /// Address for HTTP and telnet, of the role `api` only; port 0 takes a free one [default: 127.0.0.1:4242].
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Folder for what a process keeps for itself [default: ./tidemark-data].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where jobs wait: `redis://HOST:PORT`, `rediss://` with TLS, `unix:/PATH`, or
    /// `redis+sentinel://HOST,HOST/MASTER` and `redis+cluster://HOST,HOST`; the rest is set in `[redis]`.
    #[arg(long, value_name = "URL")]
    broker: Option<String>,
    /// Where points are kept: `fdb:CLUSTER_FILE`.
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Tag `process` of what this process says about itself, for two of one role on a host [default: the role].
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

/// Options of a worker.
#[derive(Debug, Args)]
pub(crate) struct WorkerOptions {
    #[command(flatten)]
    role: RoleOptions,
    /// Queues to work on; `name:n` allows `n` jobs of that queue at one time, and with `name:n-m` the number follows the
    /// backlog between `n` and `m`; `name*w` gives it the weight `w` in the sharing of --total [default: all].
    #[arg(long, value_name = "NAMES")]
    queues: Option<String>,
    /// Site that this worker stands at: it polls the targets of that site, in the place of those without one.
    #[arg(long, value_name = "NAME")]
    site: Option<String>,
    /// Jobs of each queue at one time [default: 16].
    #[arg(long, value_name = "JOBS")]
    concurrency: Option<usize>,
    /// Jobs of all queues at one time, which share them by weight while more wait [default: what the queues have together].
    #[arg(long, value_name = "JOBS")]
    total: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct AgentOptions {
    #[command(subcommand)]
    pub(crate) command: Option<AgentCommand>,
    /// Server to send to, such as `http://monitor:4242`.
    #[arg(long, value_name = "URL", global = true)]
    to: Option<String>,
    /// Folder of the spool [default: ./tidemark-data].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Folder of external collectors with one numeric folder for each interval in seconds.
    #[arg(long, value_name = "DIR", global = true)]
    collectors: Option<PathBuf>,
    /// Value of the tag `host` [default: the host's short name].
    #[arg(long, value_name = "NAME", global = true)]
    host: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AgentCommand {
    /// List the collectors.
    List(OutputOptions),
    /// Run one collector and print what it would send, with units.
    Preview {
        /// The collector.
        name: String,
        #[command(flatten)]
        output: OutputOptions,
    },
    /// Run one collector and send what it gathered.
    RunOnce {
        /// The collector.
        name: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct PutOptions {
    /// The metric.
    #[arg(required_unless_present = "stdin")]
    pub(crate) metric: Option<String>,
    /// The value: an integer, or a number with a fraction.
    #[arg(required_unless_present = "stdin", allow_negative_numbers = true)]
    pub(crate) value: Option<String>,
    /// Tags, as `key=value`.
    #[arg(value_name = "KEY=VALUE")]
    pub(crate) tags: Vec<String>,
    /// When: seconds or milliseconds since the epoch [default: now].
    #[arg(long, value_name = "TIME")]
    pub(crate) time: Option<i64>,
    /// Read lines `metric time value key=value …` from standard input.
    #[arg(long, conflicts_with_all = ["metric", "value", "tags", "time"])]
    pub(crate) stdin: bool,
    #[command(flatten)]
    pub(crate) server: ServerOptions,
}

#[derive(Debug, Args)]
pub(crate) struct QueryOptions {
    /// `aggregator[:downsample][:rate]:metric{tags}`, as in OpenTSDB's query strings; with --expr an expression.
    pub(crate) query: String,
    /// From when: `1h-ago`, `2026/11/25-09:00`, or seconds or milliseconds since the epoch.
    #[arg(long, value_name = "TIME", default_value = "1h-ago")]
    pub(crate) from: String,
    /// Until when.
    #[arg(long, value_name = "TIME", default_value = "now")]
    pub(crate) to: String,
    /// The query is an expression of the alert language.
    #[arg(long)]
    pub(crate) expr: bool,
    /// Form of the answer.
    #[arg(short, long, value_name = "FORM", default_value = "table")]
    pub(crate) output: QueryOutput,
    #[command(flatten)]
    pub(crate) server: ServerOptions,
}

#[derive(Debug, Args)]
pub(crate) struct CardinalityOptions {
    /// How many names of each kind, at most 10,000.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) top: u32,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
    #[command(flatten)]
    pub(crate) server: ServerOptions,
}

/// Form of a query's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum QueryOutput {
    /// Columns for people.
    Table,
    /// What the server said.
    Json,
    /// Comma-separated values.
    Csv,
    /// A line of block characters for each series.
    Graph,
}

/// Form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct OutputOptions {
    /// Form of the answer.
    #[arg(short, long, value_name = "FORM", default_value = "table")]
    pub(crate) output: Output,
}

/// Which server to ask.
#[derive(Debug, Args)]
pub(crate) struct ServerOptions {
    /// The server.
    #[arg(
        long,
        value_name = "URL",
        env = "TIDEMARK_URL",
        hide_env_values = true,
        default_value = "http://127.0.0.1:4242"
    )]
    pub(crate) url: String,
    /// A token for it.
    #[arg(long, value_name = "TOKEN", env = "TIDEMARK_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct CheckOptions {
    /// Rule files or folders of them; those of the configuration when none is named.
    pub(crate) paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BackupCommand {
    /// Take a backup of a server's store while it writes, or of a store that no server has open (--data, --store).
    /// Run the same command again to go on with one that was broken off.
    #[command(after_help = "Examples:\n  tidemark backup create --to monday.tdm --url http://monitor:4242\n  \
        tidemark backup create --to monday.tdm --data /var/lib/tidemark\n\
        Points, the index, documents and metadata are in it; jobs that wait in the embedded queue are not.")]
    Create(BackupCreateOptions),
    /// Read every byte of a backup and decode every point; exit code 3 when something is wrong.
    Verify(BackupVerifyOptions),
    /// Verify a backup and put it into an empty store. Run the same command again to go on with one that was broken off.
    #[command(after_help = "Example:\n  tidemark backup restore monday.tdm --data /var/lib/tidemark-new")]
    Restore(BackupRestoreOptions),
}

#[derive(Debug, Args)]
pub(crate) struct BackupCreateOptions {
    /// The file to make; `FILE.partial` until it is whole.
    #[arg(long, value_name = "FILE")]
    pub(crate) to: PathBuf,
    #[command(flatten)]
    pub(crate) source: SourceOptions,
}

#[derive(Debug, Args)]
pub(crate) struct BackupVerifyOptions {
    /// The backup.
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
}

#[derive(Debug, Args)]
pub(crate) struct BackupRestoreOptions {
    /// The backup.
    pub(crate) file: PathBuf,
    #[command(flatten)]
    store: OfflineOptions,
    /// Delete everything that is in the store first.
    #[arg(long)]
    pub(crate) overwrite: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExportOptions {
    /// Series, such as `os.cpu` or `os.cpu{host=web*}`; everything when none is named.
    pub(crate) series: Vec<String>,
    /// From when: `1h-ago`, `2026/11/25-09:00`, or seconds or milliseconds since the epoch [default: the first point].
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<String>,
    /// Until when; that moment itself is left out [default: the last point].
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<String>,
    /// Form of the lines: json, csv, opentsdb.
    #[arg(long, value_name = "FORM", default_value = "json")]
    pub(crate) format: LineFormat,
    /// The file to make, instead of standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) to_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) source: SourceOptions,
}

#[derive(Debug, Args)]
pub(crate) struct ImportOptions {
    /// The files; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Form of the lines: json, csv, opentsdb [default: what the first line of each file looks like].
    #[arg(long, value_name = "FORM")]
    pub(crate) format: Option<LineFormat>,
    /// Lines of the first file to leave out, to go on where an import ended.
    #[arg(long, value_name = "LINES", default_value = "0")]
    pub(crate) skip_lines: u64,
    #[command(flatten)]
    pub(crate) target: SourceOptions,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorOptions {
    #[command(flatten)]
    store: OfflineOptions,
    /// Look at a backup instead.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["data", "store", "repair", "compact"])]
    pub(crate) backup: Option<PathBuf>,
    /// Take away what nothing needs and nothing names. Everything else is left as it is.
    #[arg(long)]
    pub(crate) repair: bool,
    /// Give free pages of the store's file back to the file system; takes about as long as copying it.
    #[arg(long)]
    pub(crate) compact: bool,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
}

/// A store that no server has open.
#[derive(Debug, Args)]
pub(crate) struct OfflineOptions {
    /// Folder of the embedded store [default: ./tidemark-data].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The store: `embedded`, or `fdb:CLUSTER_FILE` [default: embedded].
    #[arg(long, value_name = "URL")]
    store: Option<String>,
}

/// A server, or a store that no server has open.
#[derive(Debug, Args)]
pub(crate) struct SourceOptions {
    #[command(flatten)]
    pub(crate) server: ServerOptions,
    #[command(flatten)]
    offline: OfflineOptions,
}

impl SourceOptions {
    /// Whether a store was named, which is then opened directly.
    pub(crate) fn is_offline(&self) -> bool {
        self.offline.data.is_some() || self.offline.store.is_some()
    }
}

impl OfflineOptions {
    fn flags(&self, flag: &mut impl FnMut(&'static str, Option<String>)) {
        flag("data", self.data.as_deref().map(shown));
        flag("store", self.store.clone());
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Push jobs that do nothing and run them. The last line is `both N jobs/s`: enqueue and execute at the same time.
    #[command(after_help = "Examples:\n  tidemark bench queue --data /var/lib/tidemark\n  \
        tidemark bench queue --broker redis://127.0.0.1:6379 --jobs 1000000\n\
        The embedded queue is measured in a folder of its own below --data, Redis under keys of its own \
        below redis.prefix (tidemark:bench:…).")]
    Queue(BenchQueueOptions),
}

#[derive(Debug, Args)]
pub(crate) struct BenchQueueOptions {
    /// Where jobs wait: `embedded` or an address of Redis [default: embedded].
    #[arg(long, value_name = "URL")]
    broker: Option<String>,
    /// Folder on the disk to measure [default: ./tidemark-data].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Jobs of each run, in steps of 4,000.
    #[arg(long, value_name = "JOBS", default_value_t = 300_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) jobs: u32,
    /// Bytes of a payload, at most 1,000,000.
    #[arg(long, value_name = "BYTES", default_value_t = 32, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub(crate) bytes: u32,
    /// Kind of job: those of `write` and `relay` share frames in Redis.
    #[arg(long, value_name = "KIND", default_value = "write")]
    pub(crate) kind: JobKind,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token and print it with the entry for `tidemark.toml` that lets it in.
    Create {
        /// For the log of the server.
        #[arg(long)]
        name: String,
        /// What it may do: write, read, operate, admin.
        #[arg(long = "role", value_name = "ROLE", required = true)]
        roles: Vec<String>,
    },
}

impl Cli {
    /// Where this command's settings come from.
    pub(crate) fn sources(&self) -> Sources {
        let mut flags = Vec::new();
        let mut flag = |name, text: Option<String>| flags.extend(text.map(|text| (name, text)));
        match &self.command {
            Command::Serve(options) => {
                flag("listen", options.listen.map(|address| address.to_string()));
                let demo = options.demo.then(|| "./tidemark-demo".to_owned());
                flag("data", options.data.as_deref().map(shown).or(demo));
                flag("roles", options.roles.clone());
                flag("broker", options.broker.clone());
                flag("store", options.store.clone());
            }
            Command::Api(options) => options.flags(Role::Api, &mut flag),
            Command::Worker(options) => {
                options.role.flags(Role::Worker, &mut flag);
                flag("worker.queues", options.queues.clone());
                flag("worker.site", options.site.clone());
                flag("worker.concurrency", options.concurrency.map(|jobs| jobs.to_string()));
                flag("worker.total", options.total.map(|jobs| jobs.to_string()));
            }
            Command::Scheduler(options) => options.flags(Role::Scheduler, &mut flag),
            Command::Bench(BenchCommand::Queue(options)) => {
                flag("broker", options.broker.clone());
                flag("data", options.data.as_deref().map(shown));
            }
            Command::Backup(BackupCommand::Create(options)) => options.source.offline.flags(&mut flag),
            Command::Backup(BackupCommand::Restore(options)) => options.store.flags(&mut flag),
            Command::Export(options) => options.source.offline.flags(&mut flag),
            Command::Import(options) => options.target.offline.flags(&mut flag),
            Command::Doctor(options) => options.store.flags(&mut flag),
            Command::Agent(options) => {
                flag("agent.to", options.to.clone());
                flag("data", options.data.as_deref().map(shown));
                flag("agent.collectors", options.collectors.as_deref().map(shown));
                flag("agent.host", options.host.clone());
            }
            _ => {}
        }
        flag("log.level", self.common.log_level.clone());
        let format = self.common.log_format.and_then(|format| format.to_possible_value());
        flag("log.format", format.map(|value| value.get_name().to_owned()));
        Sources { file: self.common.config.clone(), variables: variables(), flags }
    }
}

impl RoleOptions {
    fn flags(&self, role: Role, flag: &mut impl FnMut(&'static str, Option<String>)) {
        flag("roles", Some(role.name().to_owned()));
        flag("listen", self.listen.map(|address| address.to_string()));
        flag("data", self.data.as_deref().map(shown));
        flag("broker", self.broker.clone());
        flag("store", self.store.clone());
        flag("name", self.name.clone());
    }
}

fn shown(path: &std::path::Path) -> String {
    path.display().to_string()
}

/// The environment; variables that are no text cannot be settings.
fn variables() -> Vec<(String, String)> {
    let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    std::env::vars_os().filter_map(text).collect()
}
