//! The queues that a process works on.

use std::collections::BTreeSet;

use anyhow::{Context, bail};
use tidemark_queue::{JobKind, QueueName};
use tidemark_workers::QueueOptions;

use crate::config::{CONCURRENCY_MAX, WorkerSettings};

/// The kinds of jobs of which this release has handlers.
const KINDS: [JobKind; 5] = [JobKind::Write, JobKind::Rollup, JobKind::Collect, JobKind::Evaluate, JobKind::Notify];

/// The queues, and how many jobs of each run at one time.
pub(crate) fn queues(worker: &WorkerSettings) -> anyhow::Result<Vec<QueueOptions>> {
    if worker.queues.is_empty() {
        let queue = |kind: JobKind| {
            let queue = kind.default_queue();
            let jobs = most(&queue).unwrap_or(worker.concurrency);
            QueueOptions::new(queue, jobs)
        };
        return Ok(KINDS.map(queue).to_vec());
    }
    let mut names = BTreeSet::new();
    let queues = worker.queues.iter().map(|text| {
        let queue = parse(text, worker.concurrency).with_context(|| format!("setting worker.queues `{text}`"))?;
        if !names.insert(queue.queue.clone()) {
            bail!("setting worker.queues: `{}` is named twice", queue.queue);
        }
        Ok(queue)
    });
    queues.collect()
}

/// `name` or `name:jobs`.
fn parse(text: &str, concurrency: usize) -> anyhow::Result<QueueOptions> {
    let (name, jobs) = text.split_once(':').map_or((text, None), |(name, jobs)| (name, Some(jobs)));
    let queue: QueueName = name.parse()?;
    let most = most(&queue);
    let Some(jobs) = jobs else {
        return Ok(QueueOptions::new(queue, most.unwrap_or(concurrency)));
    };
    let limit = most.unwrap_or(CONCURRENCY_MAX);
    match jobs.parse() {
        Ok(jobs) if (1..=limit).contains(&jobs) => Ok(QueueOptions::new(queue, jobs)),
        _ => bail!("`{jobs}` jobs at one time are out of range: 1 to {limit}"),
    }
}

/// Most jobs of a queue at one time, whatever the settings say. A seal takes memory and a core: one at a time.
fn most(queue: &QueueName) -> Option<usize> {
    (*queue == JobKind::Rollup.default_queue()).then_some(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(queues_setting: &[&str]) -> anyhow::Result<Vec<(String, usize)>> {
        let queues_setting = queues_setting.iter().map(|text| (*text).to_owned()).collect();
        let queues = queues(&WorkerSettings { concurrency: 7, queues: queues_setting })?;
        Ok(queues.iter().map(|queue| (queue.queue.to_string(), queue.concurrency)).collect())
    }

    #[test]
    fn each_queue_gets_its_number_and_seals_run_one_at_a_time() {
        let rollup = || ("rollup".to_owned(), 1);
        let all = shown(&[]).unwrap();
        assert_eq!(all.len(), KINDS.len());
        assert!(all.contains(&rollup()) && all.contains(&("write".to_owned(), 7)), "{all:?}");
        assert_eq!(shown(&["rollup", "write:2"]).unwrap(), [rollup(), ("write".to_owned(), 2)]);
        assert_eq!(shown(&["rollup:1"]).unwrap(), [rollup()]);
    }

    #[test]
    fn numbers_that_cannot_be_are_refused_with_their_range() {
        for wrong in ["write:0", "write:-1", "write:many", "write:10001", "rollup:2", "write:", "Wr te"] {
            let error = format!("{:#}", shown(&[wrong]).unwrap_err());
            assert!(error.contains(wrong), "{error}");
        }
        assert!(shown(&["write", "write:2"]).unwrap_err().to_string().contains("twice"));
    }
}
