//! `tidemark agent`.

use std::{process::ExitCode, sync::Arc};

use anyhow::{Context, bail};
use serde_json::json;
use tidemark_collector::{Agent, CollectorSource, RemoteOptions, RemoteSink, SpoolOptions};
use tidemark_egress::Url;
use tidemark_model::{Clock, MetadataStore, PointSink, SystemClock, Value, WriteOutcome};
use tokio_util::sync::CancellationToken;

use super::print;
use crate::{
    cli::{AgentCommand, AgentOptions, Output, OutputOptions},
    config::{Settings, masked},
    logging,
    serve::{DataFolder, EndSignals, agent_options, refuse},
    usage::UsageError,
};

/// Runs an agent, or looks at its collectors.
pub(crate) fn run(options: &AgentOptions, settings: Settings) -> anyhow::Result<ExitCode> {
    refuse(&settings.validate())?;
    logging::start(&settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        match &options.command {
            None => send(settings).await,
            Some(AgentCommand::List(output)) => list(output, &settings),
            Some(AgentCommand::Preview { name, output }) => preview(name, output, &settings).await,
            Some(AgentCommand::RunOnce { name }) => run_once(name, &settings).await,
        }
    })
}

fn remote_sink(settings: &Settings) -> anyhow::Result<Arc<RemoteSink>> {
    let agent = &settings.agent;
    if agent.to.is_empty() {
        let sentence = "name the server to send to: --to http://HOST:4242, or setting agent.to";
        return Err(UsageError(sentence.to_owned()).into());
    }
    let mut remote =
        RemoteOptions::new(Url::parse(&agent.to).with_context(|| format!("setting agent.to `{}`", masked(&agent.to)))?);
    remote.token = Some(agent.token.clone()).filter(|token| !token.is_empty());
    if !agent.proxy.is_empty() {
        remote.proxy = Some(Url::parse(&agent.proxy).context("setting agent.proxy")?);
    }
    Ok(Arc::new(RemoteSink::new(remote)?))
}

/// Collects and sends until told to end.
async fn send(settings: Settings) -> anyhow::Result<ExitCode> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let folder = DataFolder::take(&settings.data)?;
    let sink = remote_sink(&settings)?;
    let mut options = agent_options(&settings)?;
    let mut spool = SpoolOptions::in_folder(folder.file("spool"));
    spool.bytes_max = settings.agent.spool.0;
    options.spool = Some(spool);
    let points: Arc<dyn PointSink> = Arc::clone(&sink) as _;
    let metadata: Arc<dyn MetadataStore> = sink;
    let (agent, _) = Agent::new(options, clock, points, metadata)?;
    let mut signals = EndSignals::listen()?;
    let stop = CancellationToken::new();
    tracing::info!(to = masked(&settings.agent.to), "the agent is collecting");
    let running = agent.run(stop.clone());
    tokio::pin!(running);
    tokio::select! {
        () = &mut running => return Ok(ExitCode::SUCCESS),
        signal = signals.next() => tracing::info!(signal, "ending: sending what is left"),
    }
    stop.cancel();
    tokio::select! {
        () = running => Ok(ExitCode::SUCCESS),
        signal = signals.next() => bail!("ended at once by a second {signal}; what is in the spool is kept"),
    }
}

fn list(output: &OutputOptions, settings: &Settings) -> anyhow::Result<ExitCode> {
    let listing = tidemark_collector::list(&agent_options(settings)?)?;
    let path = |source: &CollectorSource| match source {
        CollectorSource::Builtin => "built in".to_owned(),
        CollectorSource::External(path) => path.display().to_string(),
    };
    match output.output {
        Output::Json => {
            let collectors: Vec<_> = listing
                .collectors
                .iter()
                .map(|collector| json!({"name": collector.name, "source": path(&collector.source), "interval_s": collector.interval.map(|every| every.as_secs())}))
                .collect();
            print::out(&format!("{}\n", json!({"collectors": collectors, "problems": listing.problems})))?;
        }
        Output::Table => {
            let row = |collector: &tidemark_collector::CollectorListing| {
                let every =
                    collector.interval.map_or_else(|| "always".to_owned(), |every| format!("{} s", every.as_secs()));
                vec![collector.name.clone(), every, path(&collector.source)]
            };
            print::table(&["NAME", "EVERY", "SOURCE"], &listing.collectors.iter().map(row).collect::<Vec<_>>())?;
            listing.problems.iter().for_each(|problem| eprintln!("{problem}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn preview(name: &str, output: &OutputOptions, settings: &Settings) -> anyhow::Result<ExitCode> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let preview = tidemark_collector::preview(&agent_options(settings)?, &clock, name).await?;
    match output.output {
        Output::Json => {
            let points: Vec<_> = preview
                .points
                .iter()
                .map(|point| {
                    let value = match point.value {
                        Value::Int(int) => json!(int),
                        Value::Float(float) => json!(float),
                    };
                    let tags: serde_json::Map<_, _> = point.series.tags().map(|(key, tag)| (key.to_owned(), json!(tag))).collect();
                    let unit = point.metadata.as_ref().map(|metadata| metadata.unit.as_str());
                    json!({"metric": point.series.metric(), "tags": tags, "timestamp": point.timestamp, "value": value, "unit": unit})
                })
                .collect();
            print::out(&format!("{}\n", json!(points)))?;
        }
        Output::Table => {
            let row = |point: &tidemark_collector::PreviewPoint| {
                let metadata = point.metadata.clone().unwrap_or_default();
                let rate = metadata.rate.map_or("", tidemark_model::RateKind::as_str).to_owned();
                vec![point.series.to_string(), point.value.to_string(), metadata.unit, rate, metadata.description]
            };
            print::table(
                &["SERIES", "VALUE", "UNIT", "KIND", "DESCRIPTION"],
                &preview.points.iter().map(row).collect::<Vec<_>>(),
            )?;
        }
    }
    preview.errors.iter().for_each(|error| eprintln!("{error}"));
    Ok(if preview.errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn run_once(name: &str, settings: &Settings) -> anyhow::Result<ExitCode> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let sink = remote_sink(settings)?;
    let (preview, outcome) =
        tidemark_collector::run_once(&agent_options(settings)?, &clock, name, sink.as_ref()).await?;
    preview.errors.iter().for_each(|error| eprintln!("{error}"));
    match outcome {
        WriteOutcome::Done(receipt) => {
            eprintln!("{} points are stored, {} were refused", receipt.stored, receipt.refused.len());
            Ok(if receipt.refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        WriteOutcome::Refused(refusal) => bail!("the server refused the points: {refusal}"),
        WriteOutcome::Unknown(reason) => bail!("whether the points are stored is unknown: {reason}"),
    }
}
