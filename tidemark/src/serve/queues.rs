//! The queues that a process works on.

use std::collections::BTreeSet;

use anyhow::{Context, bail};
use tidemark_queue::{JobKind, QueueName, ROLLUP_RANGE_QUEUE, Rate};
use tidemark_workers::{QueueOptions, SharedRate, SharedRates};

use crate::config::{CONCURRENCY_MAX, WorkerSettings};

/// The kinds of jobs of which this release has handlers.
const KINDS: [JobKind; 8] = [
    JobKind::Write,
    JobKind::Rollup,
    JobKind::Collect,
    JobKind::Evaluate,
    JobKind::Notify,
    JobKind::Import,
    JobKind::Export,
    JobKind::Backtest,
];

/// Largest weight of a queue.
const WEIGHT_MAX: u32 = 1_000;

/// The queues, and how many jobs of each run at one time.
pub(crate) fn queues(worker: &WorkerSettings) -> anyhow::Result<Vec<QueueOptions>> {
    let collect = collect_queue(&worker.site).context("setting worker.site")?;
    let at_site = |queue: QueueName| if queue == JobKind::Collect.default_queue() { collect.clone() } else { queue };
    if worker.queues.is_empty() {
        let names = KINDS.iter().map(|kind| kind.name()).chain([ROLLUP_RANGE_QUEUE]);
        return names.map(|name| Ok(with_most(at_site(name.parse()?), worker.concurrency))).collect();
    }
    let mut names = BTreeSet::new();
    let queues = worker.queues.iter().map(|text| {
        let queue = parse(text, worker.concurrency, at_site);
        let queue = queue.with_context(|| format!("setting worker.queues `{text}`"))?;
        if !names.insert(queue.queue.clone()) {
            bail!("setting worker.queues: `{}` is named twice", queue.queue);
        }
        Ok(queue)
    });
    queues.collect()
}

/// `name`, `name:jobs` or `name:jobs-jobs`, with `*weight` behind the name if wanted.
fn parse(text: &str, concurrency: usize, at_site: impl Fn(QueueName) -> QueueName) -> anyhow::Result<QueueOptions> {
    let (name, jobs) = text.split_once(':').map_or((text, None), |(name, jobs)| (name, Some(jobs)));
    let (name, weight) = name.split_once('*').map_or((name, None), |(name, weight)| (name, Some(weight)));
    let queue = at_site(name.parse()?);
    let options = match jobs {
        Some(jobs) => with_number(queue, jobs)?,
        None => with_most(queue, concurrency),
    };
    let weight = match weight {
        None => options.weight,
        Some(weight) => match weight.parse() {
            Ok(weight) if (1..=WEIGHT_MAX).contains(&weight) => weight,
            _ => bail!("the weight `{weight}` is out of range: 1 to {WEIGHT_MAX}"),
        },
    };
    Ok(QueueOptions { weight, ..options })
}

/// A queue with so many jobs at one time, `jobs` or `jobs-jobs`.
fn with_number(queue: QueueName, jobs: &str) -> anyhow::Result<QueueOptions> {
    let limit = most(&queue).unwrap_or(CONCURRENCY_MAX);
    let number = |text: &str| match text.parse() {
        Ok(jobs) if (1..=limit).contains(&jobs) => Ok(jobs),
        _ => bail!("`{text}` jobs at one time are out of range: 1 to {limit}"),
    };
    let (least, most_jobs) = match jobs.split_once('-') {
        Some((least, most)) if !least.is_empty() => (number(least)?, number(most)?),
        _ => (number(jobs)?, number(jobs)?),
    };
    if most_jobs < least {
        bail!("`{jobs}` jobs at one time: the larger number comes last");
    }
    Ok(of_queue(queue, least, limit).growing_to(most_jobs))
}

/// A queue for which nobody named a number: as many jobs at one time as any queue has, but of long ones one.
fn with_most(queue: QueueName, concurrency: usize) -> QueueOptions {
    let limit = most(&queue).unwrap_or(CONCURRENCY_MAX);
    let concurrency = if is_long(&queue) { 1 } else { concurrency.min(limit) };
    of_queue(queue, concurrency, limit)
}

fn of_queue(queue: QueueName, concurrency: usize, scale_max: usize) -> QueueOptions {
    let options = QueueOptions::new(queue, concurrency);
    // A job that waits here behind one of an hour could have begun elsewhere.
    let prefetch = if is_long(&options.queue) { 0 } else { options.prefetch };
    QueueOptions { scale_max, prefetch, ..options }
}

/// Whether the jobs of a queue take minutes to hours.
fn is_long(queue: &QueueName) -> bool {
    let kinds = [JobKind::Import, JobKind::Export, JobKind::Backtest];
    queue.as_str() == ROLLUP_RANGE_QUEUE || kinds.iter().any(|kind| *queue == kind.default_queue())
}

/// The queue of the jobs that poll the targets of a site.
pub(crate) fn collect_queue(site: &str) -> anyhow::Result<QueueName> {
    let collect = JobKind::Collect.default_queue();
    if site.is_empty() {
        return Ok(collect);
    }
    let queue: Result<QueueName, _> = format!("{collect}.{site}").parse();
    queue.map_err(|error| anyhow::anyhow!("`{site}` is no site: {error}"))
}

/// The rates that all workers share.
pub(crate) fn shared_rates(worker: &WorkerSettings) -> anyhow::Result<SharedRates> {
    let rates = worker.rates.iter().map(|(scope, rate)| {
        let scope = scope.parse().with_context(|| format!("setting worker.rates `{scope}`"))?;
        Ok(SharedRate { scope, rate: *rate })
    });
    rates.collect::<anyhow::Result<_>>().map(SharedRates::new)
}

/// The rates of this process.
pub(crate) fn local_rates(worker: &WorkerSettings) -> anyhow::Result<Vec<(JobKind, Rate)>> {
    let rate = |(kind, rate): (&String, &Rate)| Ok((kind_of("worker.local_rates", kind)?, *rate));
    worker.local_rates.iter().map(rate).collect()
}

/// How many jobs of a kind this process runs at one time.
pub(crate) fn kind_limits(worker: &WorkerSettings) -> anyhow::Result<Vec<(JobKind, usize)>> {
    let limit = |(kind, jobs): (&String, &usize)| {
        if !(1..=CONCURRENCY_MAX).contains(jobs) {
            bail!("setting worker.kind_concurrency `{kind}`: {jobs} is out of range: 1 to {CONCURRENCY_MAX}");
        }
        Ok((kind_of("worker.kind_concurrency", kind)?, *jobs))
    };
    worker.kind_concurrency.iter().map(limit).collect()
}

fn kind_of(setting: &str, name: &str) -> anyhow::Result<JobKind> {
    name.parse().with_context(|| format!("setting {setting}"))
}

/// Most jobs of a queue at one time, whatever the settings and operators say. A seal takes memory and a core: one at a time,
/// and the store lets further ones wait anyhow.
fn most(queue: &QueueName) -> Option<usize> {
    (*queue == JobKind::Rollup.default_queue() || queue.as_str() == ROLLUP_RANGE_QUEUE).then_some(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(queues_setting: &[&str]) -> anyhow::Result<Vec<(String, usize)>> {
        let queues_setting = queues_setting.iter().map(|text| (*text).to_owned()).collect();
        let queues = queues(&WorkerSettings { concurrency: 7, queues: queues_setting, ..WorkerSettings::default() })?;
        Ok(queues.iter().map(|queue| (queue.queue.to_string(), queue.concurrency)).collect())
    }

    #[test]
    fn a_number_may_follow_the_backlog_between_two() {
        let options = |text: &str| parse(text, 7, |queue| queue);
        let bounds =
            |text: &str| options(text).map(|queue| (queue.concurrency, queue.concurrency_max, queue.scale_max));
        assert_eq!(bounds("write:2-16").unwrap(), (2, 16, CONCURRENCY_MAX));
        assert_eq!(bounds("write:4").unwrap(), (4, 4, CONCURRENCY_MAX));
        assert_eq!(bounds("rollup:1-1").unwrap(), (1, 1, 1));
        for wrong in ["write:16-2", "write:0-4", "write:2-", "write:-4", "write:2-4-6", "rollup:1-2"] {
            assert!(options(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_queue_may_have_a_weight() {
        let options = |text: &str| parse(text, 7, |queue| queue);
        let shown = |text: &str| options(text).map(|queue| (queue.queue.to_string(), queue.weight, queue.concurrency));
        assert_eq!(shown("write*4").unwrap(), ("write".to_owned(), 4, 7));
        assert_eq!(shown("write*4:2").unwrap(), ("write".to_owned(), 4, 2));
        assert_eq!(shown("rollup").unwrap(), ("rollup".to_owned(), 1, 1));
        for wrong in ["write*0", "write*1001", "write*", "write*x:2", "write*2*2", "write:2*2", "*2"] {
            assert!(options(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_worker_at_a_site_polls_the_targets_of_that_site() {
        let at_site = |queues_setting: &[&str]| {
            let queues_setting = queues_setting.iter().map(|text| (*text).to_owned()).collect();
            let settings =
                WorkerSettings { queues: queues_setting, site: "ams1".to_owned(), ..WorkerSettings::default() };
            queues(&settings).map(|queues| queues.iter().map(|queue| queue.queue.to_string()).collect::<Vec<_>>())
        };
        assert_eq!(at_site(&["collect:4", "notify"]).unwrap(), ["collect.ams1", "notify"]);
        assert_eq!(
            at_site(&[]).unwrap(),
            ["write", "rollup", "collect.ams1", "evaluate", "notify", "import", "export", "backtest", "rollup.range"]
        );
        assert!(collect_queue("Am s").unwrap_err().to_string().starts_with("`Am s` is no site"));
    }

    #[test]
    fn rates_are_read_and_mistakes_name_their_setting() {
        let worker = |text: &str| toml::from_str::<WorkerSettings>(text).unwrap();
        let settings = worker(
            "[rates]\ncollect = \"100/s\"\n\"notify:*\" = \"10/m\"\n[local_rates]\nnotify = \"5/s\"\n\
             [kind_concurrency]\nevaluate = 4",
        );
        assert!(shared_rates(&settings).is_ok());
        assert_eq!(local_rates(&settings).unwrap(), [(JobKind::Notify, "5/s".parse().unwrap())]);
        assert_eq!(kind_limits(&settings).unwrap(), [(JobKind::Evaluate, 4)]);
        assert!(toml::from_str::<WorkerSettings>("[rates]\nnotify = \"fast\"").unwrap_err().message().contains("rate"));
        let error = format!("{:#}", shared_rates(&worker("[rates]\nemail = \"1/s\"")).unwrap_err());
        assert!(error.starts_with("setting worker.rates `email`"), "{error}");
        let error = format!("{:#}", kind_limits(&worker("[kind_concurrency]\nnotify = 0")).unwrap_err());
        assert!(error.contains("worker.kind_concurrency"), "{error}");
    }

    #[test]
    fn each_queue_gets_its_number_and_seals_run_one_at_a_time() {
        let rollup = || ("rollup".to_owned(), 1);
        let all = shown(&[]).unwrap();
        assert_eq!(all.len(), KINDS.len() + 1);
        assert!(all.contains(&rollup()) && all.contains(&("write".to_owned(), 7)), "{all:?}");
        assert_eq!(shown(&["rollup", "write:2"]).unwrap(), [rollup(), ("write".to_owned(), 2)]);
        assert_eq!(shown(&["rollup:1"]).unwrap(), [rollup()]);
        let long = ["import", "export", "backtest", "rollup.range"].map(|name| (name.to_owned(), 1));
        assert_eq!(shown(&["import", "export", "backtest", "rollup.range"]).unwrap(), long);
        assert_eq!(shown(&["import:3"]).unwrap(), [("import".to_owned(), 3)]);
    }

    #[test]
    fn numbers_that_cannot_be_are_refused_with_their_range() {
        for wrong in
            ["write:0", "write:-1", "write:many", "write:10001", "rollup:2", "rollup.range:2", "write:", "Wr te"]
        {
            let error = format!("{:#}", shown(&[wrong]).unwrap_err());
            assert!(error.contains(wrong), "{error}");
        }
        assert!(shown(&["write", "write:2"]).unwrap_err().to_string().contains("twice"));
    }
}
