//! One run of a program, from its start to its end.

use std::{process::ExitStatus, sync::Arc, time::Duration};

use tokio::time::{self, Instant};
use tokio_util::sync::CancellationToken;

use super::{
    ExternalOptions,
    line::take_line,
    line_reader::{LineReader, RawLine},
    process::ProcessGroup,
};
use crate::{context::Context, gathering::Gathering};

/// When a run is ended from outside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// So long after its start.
    pub(crate) longest: Option<Duration>,
    /// When it printed nothing for so long.
    pub(crate) silence: Option<Duration>,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) enum Ending {
    /// By itself.
    Exited(ExitStatus),
    /// It was told to.
    Stopped,
    /// It took longer than [`Limits::longest`].
    TooLong(Duration),
    /// It was silent for [`Limits::silence`].
    Silent(Duration),
    /// It could not be started or watched.
    Failed(std::io::Error),
}

/// How a run ended, and what the program last wrote to its standard error.
#[derive(Debug)]
pub(crate) struct RunReport {
    pub(crate) ending: Ending,
    last_message: Option<String>,
}

impl RunReport {
    /// What went wrong, if anything did. That a program which runs all the time was silent or went on for long is no
    /// problem where it was to be looked at only.
    pub(crate) fn problem(&self, looked_at_only: bool) -> Option<String> {
        match &self.ending {
            Ending::Stopped => None,
            Ending::Exited(status) if status.success() => None,
            Ending::Exited(status) if self.has_nothing_to_do() => {
                Some(format!("there is nothing for it to do on this host ({status})"))
            }
            Ending::Exited(status) => Some(match &self.last_message {
                Some(message) => format!("it ended with {status}: {message}"),
                None => format!("it ended with {status}"),
            }),
            Ending::TooLong(_) | Ending::Silent(_) if looked_at_only => None,
            Ending::TooLong(limit) => {
                Some(format!("it was ended because it ran for longer than its interval of {limit:?}"))
            }
            Ending::Silent(limit) => Some(format!("it was ended because it printed nothing for {limit:?}")),
            Ending::Failed(error) => Some(format!("it could not be run: {error}")),
        }
    }

    pub(crate) fn has_nothing_to_do(&self) -> bool {
        matches!(&self.ending, Ending::Exited(status) if status.code() == Some(NOTHING_TO_DO))
    }
}

/// The exit status with which a program says that there is nothing for it to do on this host.
const NOTHING_TO_DO: i32 = 13;

/// Points are handed on when there are so many, or after [`HAND_ON_AFTER`].
const HAND_ON_POINTS: usize = 1000;
const HAND_ON_AFTER: Duration = Duration::from_millis(500);

/// How long the output of a program is read after its end: something it started may hold the pipe open.
const DRAIN: Duration = Duration::from_secs(1);

const MINUTE: Duration = Duration::from_secs(60);

/// Refused lines, and lines of messages, that are logged within a minute; all are counted.
const LOGGED_PER_MINUTE_MAX: u64 = 20;

/// Runs a program until it ends, or is ended because of a limit or `stop`.
pub(crate) async fn run(
    context: &Arc<Context>,
    options: &ExternalOptions,
    name: &str,
    path: &std::path::Path,
    limits: Limits,
    stop: &CancellationToken,
) -> RunReport {
    let (mut process, stdout, stderr) = match ProcessGroup::start(path, options) {
        Ok(started) => started,
        Err(error) => return RunReport { ending: Ending::Failed(error), last_message: None },
    };
    let mut output = Output::new(context, name, options.lines_per_minute_max);
    let ending = watch(&mut process, stdout, stderr, &mut output, limits, stop).await;
    if !matches!(ending, Ending::Exited(_)) {
        process.end(options.stop_grace).await;
    }
    output.hand_on().await;
    output.report_suppressed();
    RunReport { ending, last_message: output.last_message }
}

async fn watch(
    process: &mut ProcessGroup,
    stdout: tokio::process::ChildStdout,
    stderr: tokio::process::ChildStderr,
    output: &mut Output<'_>,
    limits: Limits,
    stop: &CancellationToken,
) -> Ending {
    let (mut lines, mut messages) = (LineReader::new(stdout), LineReader::new(stderr));
    let (mut lines_end, mut messages_end) = (false, false);
    let mut exited: Option<(ExitStatus, Instant)> = None;
    let started = Instant::now();
    loop {
        if let Some((status, _)) = exited
            && lines_end
            && messages_end
        {
            return Ending::Exited(status);
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ending::Stopped,
            () = after(limits.longest.map(|longest| started + longest)) => {
                return Ending::TooLong(limits.longest.unwrap_or_default());
            }
            () = after(limits.silence.map(|silence| output.heard_at + silence)) => {
                return Ending::Silent(limits.silence.unwrap_or_default());
            }
            () = after(exited.map(|(_, at)| at + DRAIN)) => {
                process.kill_rest();
                (lines_end, messages_end) = (true, true);
            }
            () = after(output.hand_on_at) => output.hand_on().await,
            () = after(output.throttled_until()) => output.begin_minute(),
            line = lines.next(), if !lines_end && output.throttled_until().is_none() => match line {
                Ok(Some(line)) => output.take(line).await,
                Ok(None) => lines_end = true,
                Err(error) => return Ending::Failed(error),
            },
            message = messages.next(), if !messages_end => match message {
                Ok(Some(message)) => output.log(message),
                Ok(None) => messages_end = true,
                Err(error) => return Ending::Failed(error),
            },
            status = process.wait(), if exited.is_none() => match status {
                Ok(status) => exited = Some((status, Instant::now())),
                Err(error) => return Ending::Failed(error),
            },
        }
    }
}

/// Sleeps until then; for ever without one.
async fn after(moment: Option<Instant>) {
    match moment {
        Some(moment) => time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// What a program prints, on its way to the backlog.
struct Output<'a> {
    context: &'a Arc<Context>,
    name: &'a str,
    gathering: Gathering<'a>,
    hand_on_at: Option<Instant>,
    /// When the latest line came.
    heard_at: Instant,
    minute: Instant,
    lines_in_minute: u64,
    lines_per_minute_max: u64,
    logged_in_minute: u64,
    suppressed: u64,
    last_message: Option<String>,
}

impl<'a> Output<'a> {
    fn new(context: &'a Arc<Context>, name: &'a str, lines_per_minute_max: u64) -> Self {
        let now = Instant::now();
        Self {
            context,
            name,
            gathering: Gathering::new(&context.host_tags, 0),
            hand_on_at: None,
            heard_at: now,
            minute: now,
            lines_in_minute: 0,
            lines_per_minute_max: lines_per_minute_max.max(1),
            logged_in_minute: 0,
            suppressed: 0,
            last_message: None,
        }
    }

    async fn take(&mut self, line: RawLine) {
        self.heard_at = Instant::now();
        if self.heard_at.duration_since(self.minute) >= MINUTE {
            self.begin_minute();
        }
        self.lines_in_minute += 1;
        match line {
            RawLine::Text(text) if text.trim().is_empty() => {}
            RawLine::Text(text) => {
                if let Err(error) = take_line(&text, &mut self.gathering) {
                    self.refuse(&format!("refused line `{}`: {error}", shorten(&text)));
                }
            }
            RawLine::TooLong(bytes) => self.refuse(&format!("refused a line of {bytes} bytes")),
            RawLine::NotUtf8 => self.refuse("refused a line that is no UTF-8"),
        }
        if self.gathering.len() >= HAND_ON_POINTS {
            self.hand_on().await;
        } else if self.hand_on_at.is_none() && !self.gathering.is_empty() {
            self.hand_on_at = Some(self.heard_at + HAND_ON_AFTER);
        }
    }

    async fn hand_on(&mut self) {
        self.hand_on_at = None;
        let gathering = std::mem::replace(&mut self.gathering, Gathering::new(&self.context.host_tags, 0));
        if !gathering.is_empty() {
            self.context.hand_on(self.name, gathering.finish()).await;
        }
    }

    fn log(&mut self, message: RawLine) {
        let text = match message {
            RawLine::Text(text) => text,
            RawLine::TooLong(bytes) => format!("a message of {bytes} bytes"),
            RawLine::NotUtf8 => "a message that is no UTF-8".to_owned(),
        };
        let message = shorten(&text);
        if self.may_log() {
            tracing::warn!(collector = self.name, message, "a collector wrote to its standard error");
        }
        if !message.is_empty() {
            self.last_message = Some(message);
        }
    }

    fn refuse(&mut self, error: &str) {
        self.context.board.failed(self.name, self.context.clock.now_ms(), error);
        if self.may_log() {
            tracing::warn!(collector = self.name, error, "a collector printed something that is no point");
        }
    }

    fn may_log(&mut self) -> bool {
        self.logged_in_minute += 1;
        let may = self.logged_in_minute <= LOGGED_PER_MINUTE_MAX;
        self.suppressed += u64::from(!may);
        may
    }

    /// Until when nothing is read because the program printed too much.
    fn throttled_until(&self) -> Option<Instant> {
        (self.lines_in_minute >= self.lines_per_minute_max).then(|| self.minute + MINUTE)
    }

    fn begin_minute(&mut self) {
        self.report_suppressed();
        self.minute = Instant::now();
        self.lines_in_minute = 0;
        self.logged_in_minute = 0;
    }

    fn report_suppressed(&mut self) {
        let lines = std::mem::take(&mut self.suppressed);
        if lines > 0 {
            tracing::warn!(collector = self.name, lines, "further messages and refused lines were not logged");
        }
    }
}

/// A line as it is shown.
fn shorten(text: &str) -> String {
    text.trim().chars().take(200).collect()
}
