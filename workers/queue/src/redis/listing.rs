//! What people and pages see. Redis has no index over jobs, so lists look at a bounded part of what is there: the newest.

use std::{collections::BTreeMap, time::Duration};

use redis::Value;

use super::{
    RedisBroker,
    frame::{self, Item},
    limits::settings_of,
    sweep::{frame_of, parse_entry},
};
use crate::{
    BrokerError, JobFilter, JobId, JobPage, JobState, JobView, Page, QueueName, QueueStats, QueueTotals, WorkerId,
    finished_codec,
    table::{Finished, view_of},
};

/// Entries of a stream, delayed jobs, discarded jobs that a list looks at.
const LOOK_MAX: usize = 5_000;
/// Entries that the search for one job looks at, from the time at which the job was pushed.
const SEARCH_MAX: usize = 2_000;
/// How far a rate looks back.
const RATE_WINDOW: Duration = Duration::from_secs(60);

/// Where a job was found.
pub(super) enum Found {
    Finished(Box<Finished>),
    Delayed(JobState, Item),
    InStream { level: u8, entry: (u64, u64), jobs: usize, item: Item, worker: Option<(WorkerId, i64)> },
}

/// Counters, delayed jobs, who runs what, discarded jobs, the server's time in seconds and microseconds.
type Counted = (BTreeMap<String, i64>, u64, Vec<String>, u64, (u64, u64));

type Entries = Vec<(String, Vec<Value>)>;

impl RedisBroker {
    pub(super) async fn find(&self, job: JobId) -> Result<Option<(QueueName, Found)>, BrokerError> {
        for queue in self.shared.queue_names().await? {
            if let Some(found) = self.find_in(&queue, job).await? {
                return Ok(Some((queue, found)));
            }
        }
        Ok(None)
    }

    pub(super) async fn find_in(&self, queue: &QueueName, job: JobId) -> Result<Option<Found>, BrokerError> {
        let keys = self.shared.keys.queue(queue);
        let id = job.as_bytes().as_slice();
        let mut pipeline = redis::pipe();
        pipeline.cmd("HGET").arg(&keys.delayed_items).arg(id).cmd("HGET").arg(&keys.discarded_items).arg(id);
        let (delayed, discarded): (Option<Vec<u8>>, Option<Vec<u8>>) = self.shared.run(&pipeline).await?;
        if let Some(bytes) = delayed {
            let (state, item) = Item::decode_delayed(&bytes).map_err(BrokerError::Corrupt)?;
            return Ok(Some(Found::Delayed(state, item)));
        }
        if let Some(bytes) = discarded {
            return finished_codec::decode(&bytes)
                .map(|finished| Some(Found::Finished(Box::new(finished))))
                .map_err(BrokerError::Corrupt);
        }
        if let Some(found) = self.find_in_streams(queue, job).await? {
            return Ok(Some(found));
        }
        let history = self.history(queue).await?;
        let finished = history.into_iter().find(|finished| finished.view.id == job);
        Ok(finished.map(|finished| Found::Finished(Box::new(finished))))
    }

    /// A job's id has the time at which it was made, and its entry was made after that.
    async fn find_in_streams(&self, queue: &QueueName, job: JobId) -> Result<Option<Found>, BrokerError> {
        let keys = self.shared.keys.queue(queue);
        // Clocks may differ by a minute.
        let from = job.made_ms().saturating_sub(60_000).max(0);
        let mut pipeline = redis::pipe();
        keys.streams.iter().for_each(|stream| {
            pipeline.cmd("XRANGE").arg(stream).arg(from).arg("+").arg("COUNT").arg(SEARCH_MAX);
        });
        pipeline.cmd("HGETALL").arg(&keys.running);
        let (high, normal, low, running): (Entries, Entries, Entries, BTreeMap<String, String>) =
            self.shared.run(&pipeline).await?;
        for (level, entries) in [high, normal, low].into_iter().enumerate() {
            for (entry, fields) in entries {
                let Some(items) = frame_of(fields).and_then(|frame| frame::split(&frame).ok()) else { continue };
                let jobs = items.len();
                let Some(item) = items.into_iter().find(|item| item.id() == job) else { continue };
                let worker = running.get(&format!("{level}:{entry}")).and_then(|text| parse_running(text));
                let Some(entry) = parse_entry(&entry) else { continue };
                let level = u8::try_from(level).unwrap_or(0);
                let worker = worker.map(|running| (running.worker, running.started_ms));
                return Ok(Some(Found::InStream { level, entry, jobs, item, worker }));
            }
        }
        Ok(None)
    }

    async fn history(&self, queue: &QueueName) -> Result<Vec<Finished>, BrokerError> {
        let key = self.shared.keys.queue(queue).history;
        let last = self.shared.options.history_jobs_max.saturating_sub(1);
        let bodies: Vec<Vec<u8>> = self.shared.run(redis::cmd("LRANGE").arg(key).arg(0).arg(last)).await?;
        Ok(bodies.iter().filter_map(|body| finished_codec::decode(body).ok()).collect())
    }

    pub(super) async fn view_job(&self, job: JobId) -> Result<Option<JobView>, BrokerError> {
        let Some((queue, found)) = self.find(job).await? else { return Ok(None) };
        let view = match found {
            Found::Finished(finished) => finished.full_view(),
            Found::Delayed(state, mut item) => {
                self.read_payloads(&queue, [&mut item]).await?;
                JobView { payload: item.record.payload.clone(), ..view_of_item(&item, state, None) }
            }
            Found::InStream { mut item, worker, .. } => {
                self.read_payloads(&queue, [&mut item]).await?;
                let state = if worker.is_some() { JobState::Running } else { JobState::Available };
                JobView { payload: item.record.payload.clone(), ..view_of_item(&item, state, worker) }
            }
        };
        self.add_told(&queue, view).await.map(Some)
    }

    pub(super) async fn list_jobs(&self, filter: JobFilter, page: Page) -> Result<JobPage, BrokerError> {
        let queues = self.shared.queue_or_all(filter.queue.as_ref()).await?;
        let mut found: BTreeMap<JobId, JobView> = BTreeMap::new();
        for queue in &queues {
            for view in self.views_of(queue, filter.state).await? {
                if page.before.is_none_or(|before| view.id < before) && filter.matches(&view) {
                    found.insert(view.id, view);
                }
            }
        }
        let limit = page.limit_capped();
        let jobs: Vec<JobView> = found.into_values().rev().take(limit).collect();
        let next = jobs.last().map(|job| job.id).filter(|_| jobs.len() == limit);
        let jobs = self.add_progress(jobs).await?.into_iter().map(JobView::for_list).collect();
        Ok(JobPage { jobs, next })
    }

    async fn views_of(&self, queue: &QueueName, state: Option<JobState>) -> Result<Vec<JobView>, BrokerError> {
        use JobState::{Available, Cancelled, Completed, Discarded, Retryable, Running, Scheduled};
        let wanted = |states: &[JobState]| state.is_none_or(|state| states.contains(&state));
        let mut views = Vec::new();
        if wanted(&[Completed, Cancelled]) {
            views.extend(self.history(queue).await?.into_iter().map(|finished| finished.view));
        }
        if wanted(&[Discarded]) {
            views.extend(self.discarded_views(queue).await?);
        }
        if wanted(&[Scheduled, Retryable]) {
            views.extend(self.delayed_views(queue).await?);
        }
        if wanted(&[Available, Running]) {
            views.extend(self.stream_views(queue).await?);
        }
        Ok(views)
    }

    async fn discarded_views(&self, queue: &QueueName) -> Result<Vec<JobView>, BrokerError> {
        let keys = self.shared.keys.queue(queue);
        let bodies = self.newest_of(&keys.discarded, &keys.discarded_items).await?;
        Ok(bodies.iter().filter_map(|body| finished_codec::decode(body).ok()).map(|finished| finished.view).collect())
    }

    async fn delayed_views(&self, queue: &QueueName) -> Result<Vec<JobView>, BrokerError> {
        let keys = self.shared.keys.queue(queue);
        let bodies = self.newest_of(&keys.delayed, &keys.delayed_items).await?;
        let items = bodies.iter().filter_map(|body| Item::decode_delayed(body).ok());
        Ok(items.map(|(state, item)| view_of_item(&item, state, None)).collect())
    }

    async fn newest_of(&self, set: &str, items: &str) -> Result<Vec<Vec<u8>>, BrokerError> {
        let ids: Vec<Vec<u8>> = self.shared.run(redis::cmd("ZREVRANGE").arg(set).arg(0).arg(LOOK_MAX - 1)).await?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let bodies: Vec<Option<Vec<u8>>> = self.shared.run(redis::cmd("HMGET").arg(items).arg(ids)).await?;
        Ok(bodies.into_iter().flatten().collect())
    }

    async fn stream_views(&self, queue: &QueueName) -> Result<Vec<JobView>, BrokerError> {
        let keys = self.shared.keys.queue(queue);
        let running: BTreeMap<String, String> = self.shared.run(redis::cmd("HGETALL").arg(&keys.running)).await?;
        let mut views = Vec::new();
        for (level, stream) in keys.streams.iter().enumerate() {
            let mut command = redis::cmd("XREVRANGE");
            command.arg(stream).arg("+").arg("-").arg("COUNT").arg(LOOK_MAX);
            let entries: Entries = self.shared.run(&command).await?;
            for (entry, fields) in entries {
                let Some(items) = frame_of(fields).and_then(|frame| frame::split(&frame).ok()) else { continue };
                let worker = running.get(&format!("{level}:{entry}")).and_then(|text| parse_running(text));
                let worker = worker.map(|running| (running.worker, running.started_ms));
                let state = if worker.is_some() { JobState::Running } else { JobState::Available };
                views.extend(items.iter().map(|item| view_of_item(item, state, worker.clone())));
            }
        }
        Ok(views)
    }

    pub(super) async fn queue_stats(&self) -> Result<Vec<QueueStats>, BrokerError> {
        let mut stats = Vec::new();
        for queue in self.shared.queue_names().await? {
            stats.push(self.stats_of(queue).await?);
        }
        Ok(stats)
    }

    async fn stats_of(&self, queue: QueueName) -> Result<QueueStats, BrokerError> {
        let keys = self.shared.keys.queue(&queue);
        let mut pipeline = redis::pipe();
        pipeline.cmd("HGETALL").arg(&keys.counters).cmd("ZCARD").arg(&keys.delayed);
        pipeline.cmd("HVALS").arg(&keys.running).cmd("ZCARD").arg(&keys.discarded).cmd("TIME");
        let (counters, delayed, running, discarded, time): Counted = self.shared.run(&pipeline).await?;
        let counter = |name: &str| counters.get(name).copied().and_then(|count| u64::try_from(count).ok()).unwrap_or(0);
        let running: u64 = running.iter().filter_map(|text| parse_running(text)).map(|running| running.jobs).sum();
        let retryable = counter("retryable").min(delayed);
        let totals = QueueTotals {
            pushed: counter("pushed"),
            duplicates: counter("duplicates"),
            completed: counter("completed"),
            retried: counter("retried"),
            cancelled: counter("cancelled"),
            discarded: counter("discarded"),
            rescued: counter("rescued"),
            stale: counter("stale"),
            discarded_dropped: counter("discarded_dropped"),
        };
        let ready = counter("live").saturating_sub(running);
        let now_ms = time.0 * 1_000 + time.1 / 1_000;
        let oldest_age = if ready > 0 { self.oldest_age(&queue, now_ms).await? } else { None };
        let (pushed_per_second, ended_per_second) = self.rates(&queue, totals);
        Ok(QueueStats {
            queue,
            settings: settings_of(|name| counters.get(name).copied().and_then(|value| u64::try_from(value).ok())),
            ready,
            scheduled: delayed - retryable,
            running,
            retryable,
            discarded,
            oldest_age,
            totals,
            pushed_per_second,
            ended_per_second,
        })
    }

    /// The first entry after the last one that was handed out, of each level.
    async fn oldest_age(&self, queue: &QueueName, now_ms: u64) -> Result<Option<Duration>, BrokerError> {
        let keys = self.shared.keys.queue(queue);
        let mut oldest: Option<u64> = None;
        for stream in &keys.streams {
            let groups: Vec<BTreeMap<String, Value>> =
                match self.shared.run(redis::cmd("XINFO").arg("GROUPS").arg(stream)).await {
                    Ok(groups) => groups,
                    // No such stream.
                    Err(BrokerError::Corrupt(_)) => continue,
                    Err(error) => return Err(error),
                };
            let last = groups.into_iter().next().and_then(|mut group| group.remove("last-delivered-id"));
            let last: String = last.and_then(|last| redis::from_redis_value(last).ok()).unwrap_or("0-0".to_owned());
            let mut command = redis::cmd("XRANGE");
            command.arg(stream).arg(format!("({last}")).arg("+").arg("COUNT").arg(1);
            let entries: Entries = self.shared.run(&command).await?;
            let millis = entries.first().and_then(|(entry, _)| parse_entry(entry)).map(|(millis, _)| millis);
            oldest = oldest.into_iter().chain(millis).min();
        }
        Ok(oldest.map(|millis| Duration::from_millis(now_ms.saturating_sub(millis))))
    }

    /// Pushed and ended a second since a look some seconds ago.
    fn rates(&self, queue: &QueueName, totals: QueueTotals) -> (f64, f64) {
        let now = self.shared.clock.monotonic();
        let mut state = self.shared.state.lock();
        let samples = state.samples.entry(queue.clone()).or_default();
        while samples.get(1).is_some_and(|(at, _)| now.saturating_sub(*at) >= RATE_WINDOW) {
            samples.pop_front();
        }
        let is_new = samples.back().is_none_or(|(at, _)| now.saturating_sub(*at) >= Duration::from_secs(1));
        let rates = samples.front().map_or((0.0, 0.0), |(at, before)| {
            let seconds = now.saturating_sub(*at).as_secs_f64().max(0.001);
            let ended = |totals: &QueueTotals| totals.completed + totals.cancelled + totals.discarded;
            let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
            (rate(totals.pushed, before.pushed), rate(ended(&totals), ended(before)))
        });
        if is_new {
            samples.push_back((now, totals));
        }
        rates
    }

    /// Whether one more completed job of this second enters the history.
    pub(super) fn history_allowed(&self) -> bool {
        let second = self.shared.clock.monotonic().as_secs();
        let mut state = self.shared.state.lock();
        if state.history_second.0 != second {
            state.history_second = (second, self.shared.options.history_per_second_max);
        }
        let some_left = state.history_second.1 > 0;
        state.history_second.1 = state.history_second.1.saturating_sub(1);
        some_left
    }
}

/// Who runs a frame.
pub(super) struct Running {
    pub(super) jobs: u64,
    pub(super) started_ms: i64,
    pub(super) worker: WorkerId,
}

pub(super) fn parse_running(text: &str) -> Option<Running> {
    let mut parts = text.splitn(3, ' ');
    Some(Running {
        jobs: parts.next()?.parse().ok()?,
        started_ms: parts.next()?.parse().ok()?,
        worker: WorkerId::new(parts.next()?),
    })
}

fn view_of_item(item: &Item, state: JobState, worker: Option<(WorkerId, i64)>) -> JobView {
    let waits = matches!(state, JobState::Scheduled | JobState::Retryable);
    let attempts = match &worker {
        Some((worker, started_ms)) => item.attempts_with_running(Some(worker.clone()), Some(*started_ms)),
        None => item.attempts_made.clone(),
    };
    JobView {
        attempts,
        rescues: item.rescues,
        payload_bytes: item.payload_len(),
        error: item.error.clone(),
        not_before_ms: if waits { Some(item.available_ms) } else { item.record.not_before_ms },
        started_ms: worker.as_ref().map(|(_, started_ms)| *started_ms),
        worker: worker.map(|(worker, _)| worker),
        ..view_of(&item.record, state, item.attempts + u32::from(state == JobState::Running))
    }
}
