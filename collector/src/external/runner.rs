//! Runs one program again and again.

use std::{sync::Arc, time::Duration};

use tokio::time;
use tokio_util::sync::CancellationToken;

use super::{
    ExternalOptions, Found,
    run::{Ending, Limits, RunReport, run},
};
use crate::{backoff::Backoff, context::Context, status::Activity};

pub(super) struct Runner {
    pub(super) context: Arc<Context>,
    pub(super) options: Arc<ExternalOptions>,
    pub(super) name: String,
    pub(super) found: Found,
}

/// What comes after a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pause {
    activity: Activity,
    wait: Duration,
}

impl Runner {
    /// Until `stop`; then the program is ended.
    pub(super) async fn run(self, stop: CancellationToken) {
        let trigger = self.context.triggers.register(&self.name);
        let mut backoff = Backoff::new(self.options.failure_first, self.options.rest, self.context.seed);
        let limits = match self.found.interval {
            Some(interval) => Limits { longest: Some(interval), silence: None },
            None => Limits { longest: None, silence: Some(self.options.silence_max) },
        };
        while !stop.is_cancelled() {
            let started = self.context.clock.monotonic();
            self.context.board.started(&self.name, self.context.clock.now_ms());
            tracing::info!(collector = self.name, path = %self.found.path.display(), "an external collector starts");
            let report = run(&self.context, &self.options, &self.name, &self.found.path, limits, &stop).await;
            let took = self.context.clock.monotonic().saturating_sub(started);
            self.context.board.finished(&self.name, took);
            let Some(pause) = self.judge(&report, took, &mut backoff) else { return };
            let next = i64::try_from(pause.wait.as_millis()).unwrap_or(i64::MAX);
            self.context.board.waits(&self.name, pause.activity, self.context.clock.now_ms().saturating_add(next));
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = trigger.notified() => {}
                () = time::sleep(pause.wait) => {}
            }
        }
    }

    /// How long to wait before the next run; `None` when the program was told to end.
    fn judge(&self, report: &RunReport, took: Duration, backoff: &mut Backoff) -> Option<Pause> {
        if matches!(report.ending, Ending::Stopped) {
            return None;
        }
        if report.has_nothing_to_do() {
            tracing::info!(collector = self.name, "there is nothing for an external collector to do on this host");
            return Some(Pause { activity: Activity::NothingToDo, wait: self.options.rest });
        }
        let Some(problem) = report.problem(false) else {
            backoff.after_success();
            return Some(Pause { activity: Activity::Waiting, wait: self.until_next(took) });
        };
        self.context.fail(&self.name, &problem);
        let wait = backoff.after_failure().max(self.until_next(took));
        Some(Pause { activity: Activity::BackingOff, wait })
    }

    fn until_next(&self, took: Duration) -> Duration {
        match self.found.interval {
            Some(interval) => interval.saturating_sub(took),
            None => self.options.rescan_every,
        }
    }
}
