//! Options of the commands about jobs, queues, workers and schedules of a running server.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{OutputOptions, ServerOptions};
use crate::usage::UsageError;

/// How to ask, and the form of the answer; of every command here.
#[derive(Debug, Args)]
pub(crate) struct AskOptions {
    #[command(flatten)]
    pub(crate) output: OutputOptions,
    #[command(flatten)]
    pub(crate) server: ServerOptions,
}

#[derive(Debug, Subcommand)]
pub(crate) enum JobsCommand {
    /// List jobs, the newest first.
    #[command(after_help = "Examples:\n  tidemark jobs ls --state discarded --kind notify\n  \
        tidemark jobs ls --since 1h-ago worker:w2 timeout")]
    Ls(JobsLsOptions),
    /// Show one job: what it carries, its attempts, progress, log lines and result.
    Show {
        /// The job.
        id: String,
        /// Wait so long for its end first, such as `10s`.
        #[arg(long, value_name = "DURATION")]
        wait: Option<String>,
        #[command(flatten)]
        ask: AskOptions,
    },
    /// Enqueue a job now.
    #[command(after_help = "Examples:\n  tidemark jobs run evaluate disk.full --wait 10s\n  \
        tidemark jobs run collect shop\n  tidemark jobs run rollup seal --not-before +10m\n  \
        tidemark jobs run rollup range --from 2026/11/01 --to 2026/11/08 --metric os.cpu\n  \
        tidemark jobs run import --file cpu.csv.gz --wait 30s\n  \
        tidemark jobs run export csv --series 'os.cpu{host=web*}' --from 1w-ago\n\
        With --wait the exit code is 1 unless the job is completed in time.")]
    Run(JobsRunOptions),
    /// Give discarded, cancelled or retryable jobs fresh attempts, or all discarded ones that fit.
    #[command(
        after_help = "Examples:\n  tidemark jobs retry 018f2c4e-…\n  tidemark jobs retry --all --kind notify --since 1d-ago"
    )]
    Retry {
        /// The jobs.
        #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "ID")]
        ids: Vec<String>,
        /// All discarded jobs that fit the options below.
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        which: DeadLetterOptions,
        #[command(flatten)]
        ask: AskOptions,
    },
    /// Forget single discarded jobs; needs a token with the role `admin` where tokens are asked for.
    Discard {
        /// The jobs.
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
        #[command(flatten)]
        ask: AskOptions,
    },
    /// Forget all discarded jobs that fit; needs a token with the role `admin` where tokens are asked for.
    #[command(after_help = "Example:\n  tidemark jobs purge --kind notify --until 1w-ago --yes")]
    Purge {
        #[command(flatten)]
        which: DeadLetterOptions,
        /// Do it: what is purged is gone.
        #[arg(long, required = true)]
        yes: bool,
        #[command(flatten)]
        ask: AskOptions,
    },
    /// Fetch the file that an `export` job made.
    Output {
        /// The job.
        id: String,
        /// The file to make, instead of standard output.
        #[arg(long, value_name = "FILE")]
        to_file: Option<PathBuf>,
        #[command(flatten)]
        server: ServerOptions,
    },
    /// Call jobs off.
    Cancel {
        /// The jobs.
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
        #[command(flatten)]
        ask: AskOptions,
    },
}

/// Which discarded jobs.
#[derive(Debug, Args)]
pub(crate) struct DeadLetterOptions {
    /// Only of this kind.
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Option<String>,
    /// Only of this queue.
    #[arg(long, value_name = "NAME")]
    pub(crate) queue: Option<String>,
    /// Only with this text in their unique key.
    #[arg(long, value_name = "TEXT")]
    pub(crate) key: Option<String>,
    /// Only with this text in their last error.
    #[arg(long, value_name = "TEXT")]
    pub(crate) text: Option<String>,
    /// Only enqueued at this time or later: `1h-ago`, `2026/11/25-09:00`.
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Only enqueued before this time.
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// At most so many, the oldest first [default: 10,000, which is the most].
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct JobsLsOptions {
    /// Words that id, kind, queue, error, unique key or worker contain; also `kind:notify`, `state:discarded`, `worker:w2`.
    pub(crate) search: Vec<String>,
    /// Only of this kind.
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Option<String>,
    /// Only of this queue.
    #[arg(long, value_name = "NAME")]
    pub(crate) queue: Option<String>,
    /// Only in this state: scheduled, available, running, retryable, completed, cancelled, discarded.
    #[arg(long, value_name = "STATE")]
    pub(crate) state: Option<String>,
    /// Only with this text in their unique key.
    #[arg(long, value_name = "TEXT")]
    pub(crate) key: Option<String>,
    /// Only enqueued at this time or later: `1h-ago`, `2026/11/25-09:00`.
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Only enqueued before this time.
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// Only older than this job: the next page of a list.
    #[arg(long, value_name = "ID")]
    pub(crate) before: Option<String>,
    /// How many, at most 1,000.
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) ask: AskOptions,
}

/// Work that can be enqueued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WorkKind {
    /// Poll a target of `[[collect]]`.
    Collect,
    /// Evaluate a rule.
    Evaluate,
    /// `seal` the log into blocks, `compact` days, or make the rollups of a `range` again.
    Rollup,
    /// Write the points of a file that `--file` brings to the server, or that is there already.
    Import,
    /// Write points into a file of the server, as `json`, `csv` or `opentsdb`; `jobs output` fetches it.
    Export,
    /// Evaluate a rule over the past; `rules backtest` also waits for it.
    Backtest,
}

/// What to do, for a job or a schedule.
#[derive(Debug, Args)]
pub(crate) struct WorkOptions {
    /// What to do.
    pub(crate) kind: WorkKind,
    /// The target, the rule, the file on the server, the form of lines, or `seal`, `compact` or `range`.
    pub(crate) subject: Option<String>,
    /// First moment of a range, an export or a backtest: `1w-ago`, `2026/11/25`.
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<String>,
    /// First moment after it [default: now; of an export, the last point].
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<String>,
    /// Series of an export, such as `os.cpu{host=web*}`; may be given several times [default: all].
    #[arg(long, value_name = "SERIES")]
    pub(crate) series: Vec<String>,
    /// Form of the lines of an import: json, csv, opentsdb [default: what the first line looks like].
    #[arg(long, value_name = "FORM")]
    pub(crate) format: Option<String>,
    /// How often a backtest evaluates [default: as the rule says].
    #[arg(long, value_name = "DURATION")]
    pub(crate) evaluate_every: Option<String>,
    /// The metric of a range [default: all].
    #[arg(long, value_name = "NAME")]
    pub(crate) metric: Option<String>,
    /// Which of the waiting go first: high, normal, low.
    #[arg(long, value_name = "LEVEL")]
    pub(crate) priority: Option<String>,
    /// How long one attempt may take, such as `30s`.
    #[arg(long, value_name = "DURATION")]
    pub(crate) time_limit: Option<String>,
}

impl WorkOptions {
    /// What it is about.
    ///
    /// # Errors
    /// When nobody said.
    pub(crate) fn subject(&self) -> Result<&str, UsageError> {
        let missing = match self.kind {
            WorkKind::Collect => "which target is to be polled: `collect TARGET`",
            WorkKind::Evaluate => "which rule is to be evaluated: `evaluate RULE`",
            WorkKind::Rollup => "what is to be done: `rollup seal`, `rollup compact` or `rollup range`",
            WorkKind::Import => {
                "which file is to be read: `import NAME` on the server, or `jobs run import --file FILE`"
            }
            WorkKind::Export => "which form lines are to have: `export json`, `export csv` or `export opentsdb`",
            WorkKind::Backtest => "which rule is to be tried: `backtest RULE`",
        };
        self.subject.as_deref().ok_or_else(|| UsageError(format!("say {missing}")))
    }
}

#[derive(Debug, Args)]
pub(crate) struct JobsRunOptions {
    #[command(flatten)]
    pub(crate) work: WorkOptions,
    /// With `import`: bring this file to the server first, under its own name or the one given.
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Earliest start: `+10m`, `2026/11/25-09:00`.
    #[arg(long, value_name = "TIME")]
    pub(crate) not_before: Option<String>,
    /// Discard it if it has not started by then.
    #[arg(long, value_name = "TIME")]
    pub(crate) expires: Option<String>,
    /// The same key gives the same job for a day, so that asking again does no harm.
    #[arg(long, value_name = "TEXT")]
    pub(crate) idempotency_key: Option<String>,
    /// Wait so long for its end, such as `10s`, at most a minute.
    #[arg(long, value_name = "DURATION")]
    pub(crate) wait: Option<String>,
    #[command(flatten)]
    pub(crate) ask: AskOptions,
}

#[derive(Debug, Subcommand)]
pub(crate) enum QueriesCommand {
    /// List queries that wait or run, with what each cost so far.
    Ls(QueriesLsOptions),
    /// End a query; its client is told so.
    #[command(after_help = "Example:\n  tidemark queries cancel 1274")]
    Cancel(NamedOptions),
}

#[derive(Debug, Args)]
pub(crate) struct QueriesLsOptions {
    /// Also the newest that ended.
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) ask: AskOptions,
}

#[derive(Debug, Subcommand)]
pub(crate) enum QueuesCommand {
    /// List queues.
    Ls(AskOptions),
    /// List the jobs that the broker lost, as when Redis was emptied, and those that came again although they had ended.
    Losses(AskOptions),
    /// Let workers get nothing from a queue; jobs may still be enqueued.
    Pause(NamedOptions),
    /// Let a queue take no new jobs; workers go on until it is empty.
    Drain(NamedOptions),
    /// Undo pause and drain.
    Resume(NamedOptions),
    /// Set limits of a queue; what is not named stays as it is.
    #[command(
        after_help = "Examples:\n  tidemark queues set notify --rate 60/m\n  tidemark queues set collect --running-max 20 --rate none"
    )]
    Set(QueuesSetOptions),
}

#[derive(Debug, Args)]
pub(crate) struct QueuesSetOptions {
    /// Its name.
    pub(crate) name: String,
    /// So many jobs are handed out in a time, over all workers: `100/s`, `60/m`, or `none`.
    #[arg(long, value_name = "RATE")]
    pub(crate) rate: Option<String>,
    /// So many jobs run at one time, over all workers, or `none`.
    #[arg(long, value_name = "JOBS")]
    pub(crate) running_max: Option<String>,
    /// Most jobs that wait, or `none` for the setting of the server.
    #[arg(long, value_name = "JOBS")]
    pub(crate) jobs_max: Option<String>,
    /// Most bytes of payload that wait, or `none` for the setting of the server.
    #[arg(long, value_name = "BYTES")]
    pub(crate) bytes_max: Option<String>,
    #[command(flatten)]
    pub(crate) ask: AskOptions,
}

#[derive(Debug, Subcommand)]
pub(crate) enum WorkersCommand {
    /// List workers that were heard of lately.
    Ls(AskOptions),
    /// Show one worker.
    Show(NamedOptions),
    /// Let a worker finish what it runs, and end.
    Stop(NamedOptions),
    /// Let a worker run so many jobs of a queue at one time.
    #[command(after_help = "Example:\n  tidemark workers scale db03-4711 write 16")]
    Scale {
        /// Its name.
        name: String,
        /// One of its queues.
        queue: String,
        /// How many, at most 10,000.
        concurrency: u32,
        #[command(flatten)]
        ask: AskOptions,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum WorkflowsCommand {
    /// List workflows, the newest first.
    Ls {
        /// Only older than this workflow: the next page of a list.
        #[arg(long, value_name = "ID")]
        before: Option<String>,
        /// How many, at most 1,000.
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: u32,
        #[command(flatten)]
        ask: AskOptions,
    },
    /// Show one workflow with its jobs.
    Show {
        /// The workflow.
        id: String,
        /// Wait so long for its end first, such as `10s`.
        #[arg(long, value_name = "DURATION")]
        wait: Option<String>,
        #[command(flatten)]
        ask: AskOptions,
    },
    /// Start the workflow of a JSON file: `{"nodes": [{"job": {"kind": …}}, {"job": {…}, "after": [0]}]}`.
    #[command(
        after_help = "A chain is nodes of which each is `after` the one before, a group nodes without `after`, and a \
        chord one more node `after` all of a group. Each `job` is as for POST /api/tidemark/v1/jobs."
    )]
    Start {
        /// The file; `-` is standard input.
        file: PathBuf,
        #[command(flatten)]
        ask: AskOptions,
    },
    /// Call workflows off, with all of their jobs that have not ended.
    Cancel {
        /// The workflows.
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
        #[command(flatten)]
        ask: AskOptions,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum RulesCommand {
    /// Evaluate a rule over the past, and show when it would have said something. Opens no incident and tells nobody.
    #[command(after_help = "Examples:\n  tidemark rules backtest disk.full --from 1w-ago\n  \
        tidemark rules backtest disk.full --from 1d-ago --every 5m --file changed.toml -o json\n\
        It is a job of the server, at most 20,000 evaluations, and can be called off (Ctrl-C leaves it running).")]
    Backtest(BacktestOptions),
}

#[derive(Debug, Args)]
pub(crate) struct BacktestOptions {
    /// Name of the rule.
    pub(crate) name: String,
    /// The first evaluation: `1w-ago`, `2026/11/25-09:00`.
    #[arg(long, value_name = "TIME")]
    pub(crate) from: String,
    /// No evaluation from this moment on [default: now].
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<String>,
    /// How often to evaluate [default: as the rule says].
    #[arg(long, value_name = "DURATION")]
    pub(crate) every: Option<String>,
    /// Try the rule of this file in the place of the one that is in force.
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) ask: AskOptions,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SchedulesCommand {
    /// List schedules with their next time.
    Ls(AskOptions),
    /// Show one schedule with its next five times.
    Show(NamedOptions),
    /// Write a schedule, or change the one of that name.
    #[command(
        after_help = "Examples:\n  tidemark schedules set nightly --cron '30 2 * * *' --time-zone Europe/Amsterdam rollup compact\n  \
        tidemark schedules set disks --every 5m evaluate disk.full"
    )]
    Set(Box<SchedulesSetOptions>),
    /// Remove a schedule; needs a token with the role `admin` where tokens are asked for.
    Rm(NamedOptions),
    /// Let the slots of a schedule pass.
    Pause(NamedOptions),
    /// Let a schedule enqueue jobs again.
    Resume(NamedOptions),
    /// Enqueue the job of a schedule now, beside its slots.
    Run(NamedOptions),
}

/// One thing by its name.
#[derive(Debug, Args)]
pub(crate) struct NamedOptions {
    /// Its name.
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) ask: AskOptions,
}

#[derive(Debug, Args)]
pub(crate) struct SchedulesSetOptions {
    /// Its name.
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) work: WorkOptions,
    /// Each full multiple of this duration, such as `60s`.
    #[arg(long, value_name = "DURATION", required_unless_present_any = ["cron", "once"], conflicts_with_all = ["cron", "once"])]
    pub(crate) every: Option<String>,
    /// A cron line of five fields, or six with seconds first.
    #[arg(long, value_name = "LINE", conflicts_with = "once")]
    pub(crate) cron: Option<String>,
    /// Time zone of the cron line [default: UTC].
    #[arg(long, value_name = "ZONE", requires = "cron")]
    pub(crate) time_zone: Option<String>,
    /// Once, at this time: `+10m`, `2026/11/25-09:00`.
    #[arg(long, value_name = "TIME")]
    pub(crate) once: Option<String>,
    /// What to do about slots that passed while no scheduler ran: skip, one, all [default: skip].
    #[arg(long, value_name = "POLICY")]
    pub(crate) catch_up: Option<String>,
    /// Start each job up to this much later, by a part that depends on the name.
    #[arg(long, value_name = "DURATION")]
    pub(crate) splay: Option<String>,
    /// Discard a job that has not started so long after its slot.
    #[arg(long, value_name = "DURATION")]
    pub(crate) expires_after: Option<String>,
    /// Write it paused.
    #[arg(long)]
    pub(crate) paused: bool,
    /// Only if there is none of that name yet.
    #[arg(long)]
    pub(crate) new: bool,
    #[command(flatten)]
    pub(crate) ask: AskOptions,
}
