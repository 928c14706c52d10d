//! `tidemark bench`.

use std::{path::Path, process::ExitCode, sync::Arc};

use anyhow::Context;
use serde_json::json;
use tidemark_model::{Clock, SystemClock};
use tidemark_queue::{Broker, BrokerOptions, EmbeddedBroker, RedisBroker, RedisOptions};
use tidemark_workers::{QueueMeasure, QueueRates};

use super::{offline, print};
use crate::{
    cli::{BenchCommand, BenchQueueOptions, Output},
    config::{BrokerUrl, Settings},
    logging,
    serve::redis_options,
};

/// Keys of their own in Redis, so that no worker of a server takes the jobs; below the others, so that a user who may
/// use those may use these.
fn prefix(settings: &Settings) -> String {
    format!("{}:bench", settings.redis.prefix)
}

/// Measures and prints.
pub(crate) fn run(command: &BenchCommand, settings: Settings) -> anyhow::Result<ExitCode> {
    logging::start(&settings)?;
    let BenchCommand::Queue(options) = command;
    let rates = offline::runtime()?.block_on(queue(options, &settings))?;
    match options.output.output {
        Output::Json => print::out(&format!("{}\n", in_json(&rates)))?,
        Output::Table => print::out(&for_people(&rates))?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn queue(options: &BenchQueueOptions, settings: &Settings) -> anyhow::Result<QueueRates> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let measure = QueueMeasure {
        jobs: usize::try_from(options.jobs)?,
        bytes: usize::try_from(options.bytes)?,
        kind: options.kind,
        spawn: false,
    };
    match &settings.broker {
        BrokerUrl::Embedded => {
            let folder = settings.data.join(format!("bench-{}", std::process::id()));
            let measured = embedded(&folder, measure, clock).await;
            let removed = std::fs::remove_dir_all(&folder);
            let rates = measured?;
            removed.with_context(|| format!("remove {}", folder.display()))?;
            Ok(rates)
        }
        BrokerUrl::Redis(url) => {
            let redis = RedisOptions { prefix: prefix(settings), ..redis_options(&settings.redis, url)? };
            let broker = RedisBroker::new(redis, BrokerOptions::default(), clock.clone()).context("setting broker")?;
            measured(Arc::new(broker), measure, clock).await
        }
    }
}

async fn embedded(folder: &Path, measure: QueueMeasure, clock: Arc<dyn Clock>) -> anyhow::Result<QueueRates> {
    let broker = EmbeddedBroker::open(folder, BrokerOptions::default(), clock.clone());
    measured(Arc::new(broker.context("open an embedded queue")?), measure, clock).await
}

async fn measured(broker: Arc<dyn Broker>, measure: QueueMeasure, clock: Arc<dyn Clock>) -> anyhow::Result<QueueRates> {
    let rates = measure.run(broker.clone(), clock).await.context("measure the queue");
    broker.close().await;
    rates
}

fn for_people(rates: &QueueRates) -> String {
    let QueueRates { enqueue, execute, latency_p50, latency_p99, both } = rates;
    format!(
        "enqueue {enqueue:.0} jobs/s\nexecute {execute:.0} jobs/s\nlatency p50 {latency_p50:.2?} p99 {latency_p99:.2?}\n\
         both {both:.0} jobs/s\n"
    )
}

fn in_json(rates: &QueueRates) -> serde_json::Value {
    json!({
        "enqueue_per_second": rates.enqueue,
        "execute_per_second": rates.execute,
        "latency_p50_ms": rates.latency_p50.as_secs_f64() * 1e3,
        "latency_p99_ms": rates.latency_p99.as_secs_f64() * 1e3,
        "both_per_second": rates.both,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_last_line_is_the_figure_to_compare() {
        let latency = Duration::from_micros(350);
        let rates =
            QueueRates { enqueue: 1.0, execute: 2.0, latency_p50: latency, latency_p99: latency, both: 250_123.4 };
        assert_eq!(for_people(&rates).lines().last(), Some("both 250123 jobs/s"));
    }
}
