//! One run of a program, from its start to its end.

use std::{process::ExitStatus, sync::Arc, time::Duration};

use tokio::time::{self, Instant};
use tokio_util::sync::CancellationToken;

use super::{ExternalOptions, line_reader::LineReader, output::Output, process::ProcessGroup};
use crate::context::Context;

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

/// How long the output of a program is read after its end: something it started may hold the pipe open.
const DRAIN: Duration = Duration::from_secs(1);

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
    RunReport { ending, last_message: output.into_last_message() }
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
            () = after(limits.silence.map(|silence| output.heard_at() + silence)) => {
                return Ending::Silent(limits.silence.unwrap_or_default());
            }
            () = after(exited.map(|(_, at)| at + DRAIN)) => {
                process.kill_rest();
                (lines_end, messages_end) = (true, true);
            }
            () = after(output.hand_on_at()) => output.hand_on().await,
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
