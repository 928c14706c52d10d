//! Queueing.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;

use super::{
    RedisBroker,
    frame::{self, FRAME_BYTES_MAX, FRAME_JOBS_MAX, Item},
    keys::QueueKeys,
    payloads::FillingCall,
};
use crate::{
    BrokerError, JobId, JobRecord, JobState, NewJob, Pushed, QueueName, UniqueMode, job_journal::EventKind,
    record_codec::millis, table::full, table_broker::check_new_jobs,
};

/// How long it is remembered that the job of a node was pushed: longer than anybody tries to push it again.
const MARKER_KEPT: Duration = Duration::from_secs(24 * 3_600);
/// A limit that is none, and that Lua holds exactly.
const NO_LIMIT: u64 = 1 << 52;

/// Whether a push is held to the limits of its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    Limited,
    /// The jobs follow from something that was accepted.
    Enough,
}

/// The key that a job claims when it is pushed.
fn key_of(keys: &QueueKeys, record: &JobRecord) -> Option<(String, u64)> {
    if record.workflow.is_some() {
        return Some((keys.marker(record.id), millis(MARKER_KEPT)));
    }
    let unique = record.unique.as_ref()?;
    let period_ms = match unique.mode {
        UniqueMode::UntilDone => 0,
        UniqueMode::For(period) => millis(period).max(1),
    };
    Some((keys.unique(&unique.key), period_ms))
}

/// What one part of a push script call becomes: a frame or a delayed job.
struct Part {
    is_frame: bool,
    level: usize,
    due_ms: i64,
    id: Option<JobId>,
    /// The name of the key that it claims, and for how many ms if not until it is done.
    unique: Option<(String, u64)>,
    bytes: usize,
    /// The node that it is the job of, if it is one.
    node: Vec<u8>,
    blob: Vec<u8>,
    /// Payloads of its jobs that have keys of their own.
    apart: Vec<(JobId, Bytes)>,
    /// Positions of its jobs in the call.
    jobs: Vec<(usize, JobId)>,
}

impl Part {
    /// Bytes that whoever fetches it gets.
    fn weight(&self) -> usize {
        self.blob.len() + self.apart.iter().map(|(_, payload)| payload.len()).sum::<usize>()
    }

    fn ids_apart(&self) -> Vec<u8> {
        self.apart.iter().flat_map(|(id, _)| *id.as_bytes()).collect()
    }
}

impl RedisBroker {
    pub(super) async fn push_all(&self, jobs: Vec<NewJob>) -> Result<Vec<Pushed>, BrokerError> {
        let shared = &self.shared;
        shared.check_open()?;
        check_new_jobs(&jobs)?;
        let count = jobs.len();
        let mut by_queue: BTreeMap<QueueName, Vec<(usize, NewJob)>> = BTreeMap::new();
        for (place, job) in jobs.into_iter().enumerate() {
            by_queue.entry(job.queue.clone()).or_default().push((place, job));
        }
        shared.note_queues(by_queue.keys()).await?;
        let mut answers: Vec<Option<Pushed>> = vec![None; count];
        for (queue, jobs) in by_queue {
            let now_ms = shared.clock.now_ms();
            let record = |(place, job): (usize, NewJob)| (place, job.into_record(shared.ids.next_id(), now_ms));
            let records = jobs.into_iter().map(record).collect();
            for (place, pushed) in self.push_records(&queue, records, Room::Limited).await? {
                if let Some(answer) = answers.get_mut(place) {
                    *answer = Some(pushed);
                }
            }
        }
        answers
            .into_iter()
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| BrokerError::Corrupt("redis did not answer for every job".to_owned()))
    }

    /// Queues jobs of one queue: all, or none when a limit is reached.
    pub(super) async fn push_records(
        &self,
        queue: &QueueName,
        jobs: Vec<(usize, JobRecord)>,
        room: Room,
    ) -> Result<Vec<(usize, Pushed)>, BrokerError> {
        let shared = &self.shared;
        let (count, bytes) = (jobs.len(), jobs.iter().map(|(_, job)| job.data_bytes()).sum::<usize>());
        let keys = shared.keys.queue(queue);
        let (parts, with_result) = self.parts_of(&keys, jobs);
        let mut call = shared.scripts.push.prepare_invoke();
        keys.streams.iter().for_each(|stream| {
            call.key(stream);
        });
        call.key(&keys.delayed).key(&keys.delayed_items).key(&keys.counters).key(&keys.signal).key(&keys.nodes);
        let (jobs_max, bytes_max) = match room {
            Room::Limited => (shared.options.queue_jobs_max, shared.options.queue_bytes_max),
            Room::Enough => (NO_LIMIT, NO_LIMIT),
        };
        call.arg(jobs_max).arg(bytes_max).arg(count).arg(bytes);
        call.arg(parts.iter().filter(|part| part.unique.is_some()).count());
        let mut unique_keys = 0;
        for part in &parts {
            let (number, period_ms) = match &part.unique {
                Some((key, period_ms)) => {
                    call.key(key);
                    unique_keys += 1;
                    (unique_keys, *period_ms)
                }
                None => (0, 0),
            };
            call.arg(if part.is_frame { "f" } else { "d" }).arg(part.level).arg(part.jobs.len()).arg(part.bytes);
            call.arg(part.due_ms).arg(part.id.map(|id| id.as_bytes().to_vec()).unwrap_or_default());
            call.arg(number).arg(period_ms).arg(&part.node).arg(part.ids_apart()).arg(&part.blob);
        }
        let mut payloads = Vec::new();
        for (id, payload) in parts.iter().flat_map(|part| &part.apart) {
            let key = keys.payload(*id);
            call.key(&key);
            payloads.push((key, payload.clone()));
        }
        let answer: Vec<redis::Value> = shared.run_replicated(&FillingCall { call, payloads }).await?;
        let pushed = Self::read_answer(queue, &parts, answer)?;
        if let Some(journal) = shared.journal_of(queue) {
            let queued = pushed.iter().filter_map(|(_, pushed)| match pushed {
                Pushed::Queued(id) => Some(*id),
                Pushed::Duplicate(_) => None,
            });
            journal.note(queue, EventKind::Pushed, queued);
        }
        let mut state = shared.state.lock();
        if state.awaited.len() > 100_000 {
            // Those that still wait find their job by asking every queue.
            state.awaited.clear();
        }
        state.awaited.extend(with_result.into_iter().map(|id| (id, queue.clone())));
        Ok(pushed)
    }

    fn parts_of(&self, keys: &QueueKeys, jobs: Vec<(usize, JobRecord)>) -> (Vec<Part>, Vec<JobId>) {
        let now_ms = self.shared.clock.now_ms();
        let mut parts: Vec<Part> = Vec::new();
        let mut with_result = Vec::new();
        // The last frame of each level that still takes jobs.
        let mut open: [Option<usize>; 3] = [None; 3];
        for (place, record) in jobs {
            let id = record.id;
            if record.result_ttl.is_some() {
                with_result.push(id);
            }
            let mut item = Item::new(record);
            self.shared.keep_apart(&mut item);
            let record = item.record.clone();
            let apart = item.apart.map(|_| (id, record.payload.clone()));
            let unique = key_of(keys, &record);
            let level = record.priority.level();
            let is_delayed = item.available_ms > now_ms;
            let shares = record.kind.is_framed() && unique.is_none() && !is_delayed;
            if shares && let Some(part) = open.get(level).copied().flatten().and_then(|part| parts.get_mut(part)) {
                frame::append(&mut part.blob, &item);
                part.jobs.push((place, id));
                part.bytes += item.data_bytes();
                part.apart.extend(apart);
                if (part.jobs.len() >= FRAME_JOBS_MAX || part.weight() >= FRAME_BYTES_MAX)
                    && let Some(open) = open.get_mut(level)
                {
                    *open = None;
                }
                continue;
            }
            let mut blob = Vec::new();
            if is_delayed {
                blob = item.encode_delayed(JobState::Scheduled);
            } else {
                frame::append(&mut blob, &item);
            }
            let part = Part {
                is_frame: !is_delayed,
                level,
                due_ms: item.available_ms,
                id: Some(id),
                unique,
                bytes: item.data_bytes(),
                node: record.workflow.map(|node| node.to_bytes().to_vec()).unwrap_or_default(),
                blob,
                apart: apart.into_iter().collect(),
                jobs: vec![(place, id)],
            };
            if shares
                && part.weight() < FRAME_BYTES_MAX
                && let Some(open) = open.get_mut(level)
            {
                *open = Some(parts.len());
            }
            parts.push(part);
        }
        (parts, with_result)
    }

    /// Checks that a queue takes so many jobs and bytes more.
    pub(super) async fn check_room(&self, queue: &QueueName, jobs: u64, bytes: u64) -> Result<(), BrokerError> {
        let keys = self.shared.keys.queue(queue);
        let mut pipeline = redis::pipe();
        pipeline.cmd("HMGET").arg(&keys.counters).arg("live").arg("bytes").arg("draining").arg("jobs_max");
        pipeline.arg("bytes_max").cmd("ZCARD").arg(&keys.delayed);
        let (counters, delayed): (Vec<Option<u64>>, u64) = self.shared.run(&pipeline).await?;
        let counter = |place: usize| counters.get(place).copied().flatten();
        if counter(2).is_some() {
            return Err(BrokerError::Draining { queue: queue.clone() });
        }
        let (live, held) = (counter(0).unwrap_or(0) + delayed, counter(1).unwrap_or(0));
        let options = &self.shared.options;
        let jobs_max = counter(3).unwrap_or(options.queue_jobs_max);
        if live + jobs > jobs_max {
            return Err(full(queue, live, "jobs", jobs_max, counter(3).is_some()));
        }
        let bytes_max = counter(4).unwrap_or(options.queue_bytes_max);
        if held + bytes > bytes_max {
            return Err(full(queue, held, "payload bytes", bytes_max, counter(4).is_some()));
        }
        Ok(())
    }

    fn read_answer(
        queue: &QueueName,
        parts: &[Part],
        answer: Vec<redis::Value>,
    ) -> Result<Vec<(usize, Pushed)>, BrokerError> {
        let mut answer = answer.into_iter();
        let text = |value: Option<redis::Value>| -> Vec<u8> {
            value.and_then(|value| redis::from_redis_value(value).ok()).unwrap_or_default()
        };
        let how = text(answer.next());
        if how == b"draining" {
            return Err(BrokerError::Draining { queue: queue.clone() });
        }
        if how == b"full" {
            let waiting = answer.next().and_then(|value| redis::from_redis_value(value).ok()).unwrap_or(0);
            let unit = if text(answer.next()) == b"jobs" { "jobs" } else { "payload bytes" };
            let limit = answer.next().and_then(|value| redis::from_redis_value(value).ok()).unwrap_or(0);
            let is_own = answer.next().and_then(|value| redis::from_redis_value::<i64>(value).ok()) == Some(1);
            return Err(full(queue, waiting, unit, limit, is_own));
        }
        let mut pushed = Vec::new();
        for part in parts {
            let holder = JobId::from_slice(&text(answer.next()));
            pushed.extend(part.jobs.iter().map(|(place, id)| match holder {
                Some(holder) => (*place, Pushed::Duplicate(holder)),
                None => (*place, Pushed::Queued(*id)),
            }));
        }
        Ok(pushed)
    }
}
