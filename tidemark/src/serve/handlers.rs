//! What the workers of this process do.

use std::sync::Arc;

use anyhow::{Context, bail};
use tidemark_alert::{
    IncidentBook, Notifier, RuleSet, expression::ExpressionLimits, notification::NotifierOptions, rules::RuleSetOptions,
};
use tidemark_api::{export::ExportHandler, import::ImportHandler};
use tidemark_collector::Probe;
use tidemark_egress::{Client, ClientOptions, PrivateAddresses, Url};
use tidemark_model::Clock;
use tidemark_queue::{Broker, JobKind};
use tidemark_tsdb::Store;
use tidemark_workers::{
    BacktestHandler, CollectHandler, EvaluateHandler, Handlers, NotificationQueue, NotifyHandler, RollupHandler,
    WorkFigures, WriteHandler,
};

use super::{
    api_options::{line_rules, read_limits},
    jobs::Jobs,
    readers::space_reader,
};
use crate::config::{Role, Settings, masked};

/// Rules, incidents and how people are told.
pub(crate) struct Alerting {
    pub(crate) rules: RuleSet,
    pub(crate) book: IncidentBook,
    pub(crate) notifications: NotificationQueue,
    notifier: Notifier,
}

impl Alerting {
    /// Reads the rules; a rule file with a mistake keeps the process from starting, with every mistake named.
    pub(crate) async fn open(
        settings: &Settings,
        store: &Store,
        broker: &Arc<dyn Broker>,
        clock: &Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let folder = settings.alert.rules.clone();
        let limits = ExpressionLimits { read: read_limits(&settings.limits), ..ExpressionLimits::default() };
        let options = RuleSetOptions { limits, public_url: public_url(settings)? };
        let loaded = tokio::task::spawn_blocking(move || match folder.as_os_str().is_empty() {
            true => RuleSet::built_in(options),
            false => RuleSet::load(&folder, options),
        });
        let rules = match loaded.await? {
            Ok(rules) => rules,
            Err(errors) => bail!("the rules have mistakes:\n{errors}"),
        };
        let book = IncidentBook::new(Arc::new(store.clone()));
        // Of several processes, the one that schedules evaluations says which rules there are.
        if settings.roles.contains(&Role::Scheduler) {
            let orphans = book.close_orphans(&rules, clock.now_ms()).await;
            let orphans = orphans.context("close incidents of rules that are gone")?;
            if orphans > 0 {
                tracing::info!(orphans, "closed incidents whose rule is gone");
            }
        }
        Ok(Self {
            rules,
            book,
            notifications: NotificationQueue::new(Arc::clone(broker)),
            notifier: Notifier::new(&NotifierOptions::default()).context("set up notifications")?,
        })
    }
}

/// Where people reach this server, if somebody said so.
fn public_url(settings: &Settings) -> anyhow::Result<Option<Url>> {
    if settings.public_url.is_empty() {
        return Ok(None);
    }
    let url = Url::parse(&settings.public_url);
    url.map(Some).with_context(|| format!("setting public_url `{}`", masked(&settings.public_url)))
}

/// A handler for each kind of job.
pub(crate) fn of(
    settings: &Settings,
    store: &Store,
    jobs: &Jobs,
    alerting: &Alerting,
    clock: &Arc<dyn Clock>,
    figures: &Arc<WorkFigures>,
) -> anyhow::Result<Handlers> {
    let write = WriteHandler::new(Arc::new(store.clone()), Arc::clone(figures), Arc::clone(clock));
    // The operator names the targets, and they are often in the house.
    let options = ClientOptions { private_addresses: PrivateAddresses::Allow, ..ClientOptions::default() };
    let probe = Probe::new(Client::new(options).context("set up polling")?, Arc::clone(clock));
    let (rules, book) = (alerting.rules.clone(), alerting.book.clone());
    let evaluate = EvaluateHandler::new(
        rules.clone(),
        book.clone(),
        space_reader(settings, store),
        Arc::clone(clock),
        alerting.notifications.clone(),
    );
    let notify = NotifyHandler::new(rules, book, alerting.notifier.clone(), Arc::clone(clock));
    let backtest = BacktestHandler::new(alerting.rules.clone(), space_reader(settings, store));
    // The worker that has the job writes into the store itself, so that each batch is not a job again.
    let import = ImportHandler::new(Arc::clone(&jobs.files), Arc::new(jobs.direct()), line_rules(settings)?);
    let export = ExportHandler::new(Arc::clone(&jobs.files), Arc::new(store.clone()), Arc::new(store.clone()));
    Ok(Handlers::new()
        .with(JobKind::Write, Arc::new(write))
        .with(JobKind::Rollup, Arc::new(RollupHandler::new(store.clone())))
        .with(JobKind::Collect, Arc::new(CollectHandler::new(probe, jobs.sink())))
        .with(JobKind::Evaluate, Arc::new(evaluate))
        .with(JobKind::Notify, Arc::new(notify))
        .with(JobKind::Import, Arc::new(import))
        .with(JobKind::Export, Arc::new(export))
        .with(JobKind::Backtest, Arc::new(backtest)))
}
