//! Starts and ends the runners as programs come and go.

use std::{collections::HashMap, sync::Arc};

use tokio::{task::JoinHandle, time};
use tokio_util::sync::CancellationToken;

use super::{ExternalOptions, Found, Scan, runner::Runner, scan};
use crate::{context::Context, status::CollectorSource};

pub(crate) struct Supervisor {
    context: Arc<Context>,
    options: Arc<ExternalOptions>,
    running: HashMap<String, Running>,
    /// Those that were reported already.
    problems: Vec<String>,
}

struct Running {
    found: Found,
    stop: CancellationToken,
    ended: JoinHandle<()>,
}

impl Supervisor {
    pub(crate) fn new(context: Arc<Context>, options: ExternalOptions) -> Self {
        Self { context, options: Arc::new(options), running: HashMap::new(), problems: Vec::new() }
    }

    /// Until `stop`; the runners end with it.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            let directory = self.options.directory.clone();
            match self.context.tracker.spawn_blocking(move || scan(&directory)).await {
                Ok(Ok(scan)) => self.reconcile(scan, &stop),
                Ok(Err(error)) => {
                    let directory = self.options.directory.display();
                    self.report(vec![format!("read the directory of external collectors `{directory}`: {error}")]);
                }
                Err(error) => self.report(vec![format!("read the directory of external collectors: {error}")]),
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = time::sleep(self.options.rescan_every) => {}
            }
        }
    }

    fn reconcile(&mut self, scan: Scan, stop: &CancellationToken) {
        self.report(scan.problems);
        let gone: Vec<String> = self.running.keys().filter(|name| !scan.found.contains_key(*name)).cloned().collect();
        for name in gone {
            tracing::info!(collector = name, "an external collector was removed");
            if let Some(running) = self.running.remove(&name) {
                running.stop.cancel();
            }
            self.context.board.forget(&name);
            self.context.triggers.forget(&name);
        }
        for (name, found) in scan.found {
            match self.running.get_mut(&name) {
                Some(running) if !needs_restart(&running.found, &found) => running.found = found,
                _ => self.start(name, found, stop),
            }
        }
    }

    /// Starts a runner after the one before it, if any, has ended.
    fn start(&mut self, name: String, found: Found, stop: &CancellationToken) {
        let before = self.running.remove(&name).map(|before| {
            tracing::info!(collector = name, "an external collector was changed");
            before.stop.cancel();
            before.ended
        });
        self.context.board.register(&name, CollectorSource::External(found.path.clone()), found.interval);
        let runner = Runner {
            context: Arc::clone(&self.context),
            options: Arc::clone(&self.options),
            name: name.clone(),
            found: found.clone(),
        };
        let stop = stop.child_token();
        let stop_runner = stop.clone();
        let ended = self.context.tracker.spawn(async move {
            if let Some(before) = before
                && let Err(error) = before.await
            {
                tracing::error!(%error, "the runner of an external collector failed");
            }
            runner.run(stop_runner).await;
        });
        self.running.insert(name, Running { found, stop, ended });
    }

    fn report(&mut self, problems: Vec<String>) {
        for problem in problems.iter().filter(|problem| !self.problems.contains(problem)) {
            tracing::error!("{problem}");
        }
        self.problems = problems;
    }
}

/// A periodic program is read anew at its next run anyhow; one that runs all the time is started again.
fn needs_restart(running: &Found, found: &Found) -> bool {
    let changed = running.modified != found.modified && found.interval.is_none();
    changed || running.interval != found.interval || running.path != found.path
}
