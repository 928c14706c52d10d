//! Queueing.

use std::collections::BTreeMap;

use super::{
    RedisBroker,
    frame::{self, FRAME_BYTES_MAX, FRAME_JOBS_MAX, Item},
};
use crate::{
    BrokerError, JobId, JobState, NewJob, Pushed, QueueName, UniqueMode, record_codec::millis,
    table_broker::check_new_jobs,
};

/// What one part of a push script call becomes: a frame or a delayed job.
struct Part {
    is_frame: bool,
    level: usize,
    due_ms: i64,
    id: Option<JobId>,
    unique: Option<(String, u64)>,
    bytes: usize,
    blob: Vec<u8>,
    /// Positions of its jobs in the call.
    jobs: Vec<(usize, JobId)>,
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
            for (place, pushed) in self.push_queue(&queue, jobs).await? {
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

    async fn push_queue(
        &self,
        queue: &QueueName,
        jobs: Vec<(usize, NewJob)>,
    ) -> Result<Vec<(usize, Pushed)>, BrokerError> {
        let shared = &self.shared;
        let (count, bytes) = (jobs.len(), jobs.iter().map(|(_, job)| job.payload.len()).sum::<usize>());
        let (parts, with_result) = self.parts_of(queue, jobs);
        let keys = shared.keys.queue(queue);
        let mut call = shared.scripts.push.prepare_invoke();
        keys.streams.iter().for_each(|stream| {
            call.key(stream);
        });
        call.key(&keys.delayed).key(&keys.delayed_items).key(&keys.counters).key(&keys.signal);
        let options = &shared.options;
        call.arg(options.queue_jobs_max).arg(options.queue_bytes_max).arg(count).arg(bytes);
        let mut unique_keys = 0;
        for part in &parts {
            let (number, period_ms) = match &part.unique {
                Some((key, period_ms)) => {
                    call.key(keys.unique(key));
                    unique_keys += 1;
                    (unique_keys, *period_ms)
                }
                None => (0, 0),
            };
            call.arg(if part.is_frame { "f" } else { "d" }).arg(part.level).arg(part.jobs.len()).arg(part.bytes);
            call.arg(part.due_ms).arg(part.id.map(|id| id.as_bytes().to_vec()).unwrap_or_default());
            call.arg(number).arg(period_ms).arg(&part.blob);
        }
        let answer: Vec<redis::Value> = shared.run(&call).await?;
        let pushed = self.read_answer(queue, &parts, answer)?;
        let mut state = shared.state.lock();
        if state.awaited.len() > 100_000 {
            // Those that still wait find their job by asking every queue.
            state.awaited.clear();
        }
        state.awaited.extend(with_result.into_iter().map(|id| (id, queue.clone())));
        Ok(pushed)
    }

    fn parts_of(&self, queue: &QueueName, jobs: Vec<(usize, NewJob)>) -> (Vec<Part>, Vec<JobId>) {
        let now_ms = self.shared.clock.now_ms();
        let mut parts: Vec<Part> = Vec::new();
        let mut with_result = Vec::new();
        // The last frame of each level that still takes jobs.
        let mut open: [Option<usize>; 3] = [None; 3];
        for (place, job) in jobs {
            let id = self.shared.ids.next_id();
            if job.result_ttl.is_some() {
                with_result.push(id);
            }
            let item = Item::new(job.into_record(id, now_ms));
            debug_assert_eq!(item.record.queue, *queue);
            let record = item.record.clone();
            let level = record.priority.level();
            let is_delayed = item.available_ms > now_ms;
            let shares = record.kind.is_framed() && record.unique.is_none() && !is_delayed;
            if shares && let Some(part) = open.get(level).copied().flatten().and_then(|part| parts.get_mut(part)) {
                frame::append(&mut part.blob, &item);
                part.jobs.push((place, id));
                part.bytes += item.payload_bytes();
                if (part.jobs.len() >= FRAME_JOBS_MAX || part.blob.len() >= FRAME_BYTES_MAX)
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
            let unique = record.unique.as_ref().map(|unique| match unique.mode {
                UniqueMode::UntilDone => (unique.key.clone(), 0),
                UniqueMode::For(period) => (unique.key.clone(), millis(period).max(1)),
            });
            if shares
                && blob.len() < FRAME_BYTES_MAX
                && let Some(open) = open.get_mut(level)
            {
                *open = Some(parts.len());
            }
            parts.push(Part {
                is_frame: !is_delayed,
                level,
                due_ms: item.available_ms,
                id: Some(id),
                unique,
                bytes: item.payload_bytes(),
                blob,
                jobs: vec![(place, id)],
            });
        }
        (parts, with_result)
    }

    fn read_answer(
        &self,
        queue: &QueueName,
        parts: &[Part],
        answer: Vec<redis::Value>,
    ) -> Result<Vec<(usize, Pushed)>, BrokerError> {
        let mut answer = answer.into_iter();
        let text = |value: Option<redis::Value>| -> Vec<u8> {
            value.and_then(|value| redis::from_redis_value(value).ok()).unwrap_or_default()
        };
        if text(answer.next()) == b"full" {
            let waiting = answer.next().and_then(|value| redis::from_redis_value(value).ok()).unwrap_or(0);
            let options = &self.shared.options;
            let (limit, unit, setting) = match &text(answer.next())[..] {
                b"jobs" => (options.queue_jobs_max, "jobs", "queue.jobs_max"),
                _ => (options.queue_bytes_max, "payload bytes", "queue.bytes_max"),
            };
            return Err(BrokerError::Full { queue: queue.clone(), waiting, limit, unit, setting });
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
