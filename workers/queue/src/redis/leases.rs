//! Handing out, settling, extending, giving back.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use foldhash::{HashMap, HashMapExt};
use redis::Value;

use super::{
    Fate, FrameKey, HeldFrame, RedisBroker,
    frame::{self, Item},
    sweep::parse_entry,
    transition::{End, Source, Transition, entry_text},
    unwanted::{Unwanted, lost_payloads},
};
use crate::{
    BrokerError, Delivery, FetchRequest, JobId, JobState, LeaseState, Outcome, QueueName, Receipt, Settled, WorkerId,
    delivery::Place,
};

/// A frame as the fetch script gives it.
struct Fetched {
    level: u8,
    entry: (u64, u64),
    frame: Vec<u8>,
}

/// What a fetch has got so far. If the fetch fails or is dropped, this process forgets the frames, whose jobs come back
/// when their lease runs out.
pub(super) struct Fetching<'a> {
    broker: &'a RedisBroker,
    pub(super) deliveries: Vec<Delivery>,
}

impl Drop for Fetching<'_> {
    fn drop(&mut self) {
        if self.deliveries.is_empty() {
            return;
        }
        let mut state = self.broker.shared.state.lock();
        for delivery in self.deliveries.drain(..) {
            if let Place::Frame { level, entry, .. } = delivery.receipt.place {
                state.frames.remove(&FrameKey { queue: delivery.receipt.queue, level, entry });
            }
        }
    }
}

impl RedisBroker {
    pub(super) async fn fetch_within(&self, request: FetchRequest) -> Result<Vec<Delivery>, BrokerError> {
        let shared = &self.shared;
        shared.check_open()?;
        if request.max == 0 || request.queues.is_empty() {
            return Ok(Vec::new());
        }
        let deadline = tokio::time::Instant::now() + request.wait;
        let signals: Vec<String> = request.queues.iter().map(|queue| shared.keys.queue(queue).signal).collect();
        loop {
            let (deliveries, next_turn) = self.fetch_now(&request).await?;
            let left = deadline.saturating_duration_since(tokio::time::Instant::now());
            if !deliveries.is_empty() || left.is_zero() {
                return Ok(deliveries);
            }
            let left = next_turn.map_or(left, |turn| left.min(turn));
            // At least a millisecond: to Redis 0 means for ever.
            let left = left.max(Duration::from_millis(1));
            shared.servers.wait_for_signal(&signals, left).await?;
        }
    }

    /// What is there now, and how long until the rate of a queue lets a job through that it holds back.
    async fn fetch_now(&self, request: &FetchRequest) -> Result<(Vec<Delivery>, Option<Duration>), BrokerError> {
        let mut fetched = Fetching { broker: self, deliveries: Vec::new() };
        let mut next_turn: Option<Duration> = None;
        for queue in &request.queues {
            let wanted = request.max.saturating_sub(fetched.deliveries.len());
            if wanted == 0 {
                break;
            }
            let turn = self.fetch_queue(queue, &request.worker, wanted, &mut fetched).await?;
            next_turn = next_turn.into_iter().chain(turn).min();
        }
        Ok((std::mem::take(&mut fetched.deliveries), next_turn))
    }

    async fn fetch_queue(
        &self,
        queue: &QueueName,
        worker: &WorkerId,
        wanted: usize,
        into: &mut Fetching<'_>,
    ) -> Result<Option<Duration>, BrokerError> {
        let shared = &self.shared;
        let keys = shared.keys.queue(queue);
        let mut call = shared.scripts.fetch.prepare_invoke();
        keys.streams.iter().for_each(|stream| {
            call.key(stream);
        });
        call.key(&keys.counters).key(&keys.running).key(&keys.cancelled).arg(worker.as_str()).arg(wanted);
        self.level_order().iter().for_each(|level| {
            call.arg(level);
        });
        let answer: Vec<Value> = shared.run(&call).await?;
        let Answer { now_ms, cancel_requests, turn_ms, fetched } = read_fetched(answer)?;
        self.shared.server_time.note(now_ms, self.shared.clock.as_ref());
        let first = into.deliveries.len();
        let (mut frames, mut unreadable) = (Vec::with_capacity(fetched.len()), Vec::new());
        for one in fetched {
            match frame::split(&one.frame) {
                Ok(items) => frames.push((one, items)),
                Err(reason) => unreadable.push((one, reason)),
            }
        }
        self.read_payloads(queue, frames.iter_mut().flat_map(|(_, items)| items)).await?;
        let lost = lost_payloads(&keys, frames.iter().flat_map(|(_, items)| items));
        for (one, items) in frames {
            into.deliveries.extend(self.take_frame(queue, worker, &one, items, now_ms));
        }
        for (one, reason) in unreadable {
            self.set_aside(queue, one.level, one.entry, &one.frame, &reason).await?;
        }
        self.drop_unwanted(queue, into, first, Unwanted { look_for_cancelled: cancel_requests > 0, lost, now_ms })
            .await?;
        Ok((turn_ms > 0).then(|| Duration::from_millis(turn_ms)))
    }

    /// As [`crate::Priority`] promises, for one fetch instead of one job.
    fn level_order(&self) -> [u8; 3] {
        match self.shared.picks.fetch_add(1, Ordering::Relaxed) % 16 {
            15 => [2, 0, 1],
            3 | 7 | 11 => [1, 0, 2],
            _ => [0, 1, 2],
        }
    }

    fn take_frame(
        &self,
        queue: &QueueName,
        worker: &WorkerId,
        fetched: &Fetched,
        items: Vec<Item>,
        now_ms: i64,
    ) -> Vec<Delivery> {
        let deliver = |(position, item): (usize, &Item)| Delivery {
            receipt: Receipt {
                job: item.id(),
                queue: queue.clone(),
                worker: worker.clone(),
                place: Place::Frame {
                    level: fetched.level,
                    entry: fetched.entry,
                    position: u16::try_from(position).unwrap_or(u16::MAX),
                },
            },
            job: Arc::clone(&item.record),
            attempt: item.attempts + 1,
            rescues: item.rescues,
            available_ms: item.available_ms,
        };
        let deliveries = items.iter().enumerate().map(deliver).collect();
        let key = FrameKey { queue: queue.clone(), level: fetched.level, entry: fetched.entry };
        let outcomes = vec![None; items.len()];
        let held = HeldFrame { items, outcomes, told: HashMap::new(), worker: worker.clone(), started_ms: now_ms };
        self.shared.state.lock().frames.insert(key, held);
        deliveries
    }

    /// Those of the jobs that somebody asked to call off.
    pub(super) async fn cancel_requests(&self, queue: &QueueName, ids: &[JobId]) -> Result<Vec<JobId>, BrokerError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = redis::cmd("SMISMEMBER");
        command.arg(self.shared.keys.queue(queue).cancelled);
        ids.iter().for_each(|id| {
            command.arg(id.as_bytes().as_slice());
        });
        let asked: Vec<i64> = self.shared.run(&command).await?;
        Ok(ids.iter().zip(asked).filter(|(_, asked)| *asked == 1).map(|(id, _)| *id).collect())
    }

    pub(super) async fn settle_all(&self, settlements: Vec<(Receipt, Outcome)>) -> Result<Vec<Settled>, BrokerError> {
        let fates = settlements.into_iter().map(|(receipt, outcome)| (receipt, Fate::Settled(outcome))).collect();
        self.decide(fates).await
    }

    pub(super) async fn release_all(&self, receipts: Vec<Receipt>) -> Result<(), BrokerError> {
        let fates = receipts.into_iter().map(|receipt| (receipt, Fate::Released)).collect();
        self.decide(fates).await.map(drop)
    }

    /// Notes what becomes of jobs, and files the frames of which it is known for every job.
    async fn decide(&self, fates: Vec<(Receipt, Fate)>) -> Result<Vec<Settled>, BrokerError> {
        let mut places = Vec::with_capacity(fates.len());
        let mut touched: BTreeMap<QueueName, Vec<FrameKey>> = BTreeMap::new();
        {
            let mut state = self.shared.state.lock();
            for (receipt, fate) in fates {
                let Place::Frame { level, entry, position } = receipt.place else {
                    places.push(None);
                    continue;
                };
                let key = FrameKey { queue: receipt.queue, level, entry };
                let position = usize::from(position);
                let held = state.frames.get_mut(&key);
                let Some(outcome) = held.and_then(|held| held.outcomes.get_mut(position)) else {
                    places.push(None);
                    continue;
                };
                *outcome = Some(fate);
                places.push(Some((key, position)));
            }
            for (key, _) in places.iter().flatten() {
                let is_complete = state.frames.get(key).is_some_and(|held| held.outcomes.iter().all(Option::is_some));
                let keys = touched.entry(key.queue.clone()).or_default();
                if is_complete && keys.last() != Some(key) {
                    keys.push(key.clone());
                }
            }
        }
        let mut stale = std::collections::HashSet::new();
        let mut filed = std::collections::HashMap::new();
        for (queue, mut keys) in touched {
            keys.sort_by_key(|key| (key.level, key.entry));
            keys.dedup();
            if self.file_frames(&queue, &keys, &mut stale, &mut filed).await?
                && let Err(error) = self.move_workflows(&queue).await
            {
                tracing::warn!(%error, queue = queue.as_str(), "move workflows on; the next sweep does");
            }
        }
        let settled = |place: Option<(FrameKey, usize)>| match place {
            None => Settled::Stale,
            Some((key, _)) if stale.contains(&key) => Settled::Stale,
            Some((key, position)) => {
                let states: Option<&Vec<JobState>> = filed.get(&key);
                // Of a frame that is not complete the outcome is noted here and filed with the others'.
                let state = states.and_then(|states| states.get(position).copied());
                Settled::Recorded(state.unwrap_or(JobState::Running))
            }
        };
        Ok(places.into_iter().map(settled).collect())
    }

    /// Files frames; whether there were nodes of workflows in them.
    async fn file_frames(
        &self,
        queue: &QueueName,
        keys: &[FrameKey],
        stale: &mut std::collections::HashSet<FrameKey>,
        filed: &mut std::collections::HashMap<FrameKey, Vec<JobState>>,
    ) -> Result<bool, BrokerError> {
        let mut transition = Transition::new(self, queue);
        let mut states = Vec::with_capacity(keys.len());
        {
            let now_ms = self.shared.server_now_ms();
            // The lock is short: nothing waits inside.
            let held_frames: Vec<_> = {
                let mut state = self.shared.state.lock();
                keys.iter().filter_map(|key| Some((key.clone(), state.frames.remove(key)?))).collect()
            };
            for (key, held) in &held_frames {
                let (level, entry) = (key.level, key.entry);
                transition.take(&Source::Pending { level, entry, jobs: held.items.len(), min_idle_ms: 0 });
                states.push((key.clone(), held.add_to(&mut transition, now_ms)));
            }
            match transition.commit().await {
                Ok(made) => {
                    let items = held_frames.iter().flat_map(|(_, held)| &held.items);
                    let has_nodes = items.map(|item| item.record.workflow).any(|node| node.is_some());
                    for ((key, states), made) in states.into_iter().zip(made) {
                        if made {
                            filed.insert(key, states);
                        } else {
                            stale.insert(key);
                        }
                    }
                    Ok(has_nodes)
                }
                Err(error) => {
                    // Whoever settles again finds them as they were.
                    self.shared.state.lock().frames.extend(held_frames);
                    Err(error)
                }
            }
        }
    }

    pub(super) async fn extend_all(&self, receipts: &[Receipt]) -> Result<Vec<LeaseState>, BrokerError> {
        let mut groups: BTreeMap<(QueueName, u8, WorkerId), Vec<(u64, u64)>> = BTreeMap::new();
        for receipt in receipts {
            if let Place::Frame { level, entry, .. } = receipt.place {
                let entries = groups.entry((receipt.queue.clone(), level, receipt.worker.clone())).or_default();
                if entries.last() != Some(&entry) {
                    entries.push(entry);
                }
            }
        }
        let mut held = std::collections::HashSet::new();
        for ((queue, level, worker), mut entries) in groups {
            entries.sort_unstable();
            entries.dedup();
            let kept = self.claim(&queue, level, &worker, &entries).await?;
            held.extend(kept.into_iter().map(|entry| (queue.clone(), level, entry)));
        }
        let cancelled = self.cancelled_among(receipts).await?;
        let mut state = self.shared.state.lock();
        let lease = |receipt: &Receipt| {
            let Place::Frame { level, entry, .. } = receipt.place else { return LeaseState::Lost };
            if !held.contains(&(receipt.queue.clone(), level, entry)) {
                state.frames.remove(&FrameKey { queue: receipt.queue.clone(), level, entry });
                return LeaseState::Lost;
            }
            if cancelled.contains(&receipt.job) { LeaseState::CancelRequested } else { LeaseState::Held }
        };
        Ok(receipts.iter().map(lease).collect())
    }

    /// Resets the idle time of entries that are still pending; which those are. An entry is pending with its first reader
    /// or not at all, so this takes nothing from anybody.
    async fn claim(
        &self,
        queue: &QueueName,
        level: u8,
        worker: &WorkerId,
        entries: &[(u64, u64)],
    ) -> Result<Vec<(u64, u64)>, BrokerError> {
        let keys = self.shared.keys.queue(queue);
        let Some(stream) = keys.streams.get(usize::from(level)) else { return Ok(Vec::new()) };
        let mut command = redis::cmd("XCLAIM");
        command.arg(stream).arg("workers").arg(worker.as_str()).arg(0);
        entries.iter().for_each(|entry| {
            command.arg(entry_text(*entry));
        });
        command.arg("JUSTID");
        let kept: Vec<String> = match self.shared.run(&command).await {
            // The stream is gone, as after a flush.
            Err(BrokerError::Unavailable(reason) | BrokerError::Corrupt(reason)) if reason.contains("NOGROUP") => {
                Vec::new()
            }
            kept => kept?,
        };
        Ok(kept.iter().filter_map(|entry| parse_entry(entry)).collect())
    }

    async fn cancelled_among(&self, receipts: &[Receipt]) -> Result<std::collections::HashSet<JobId>, BrokerError> {
        let mut by_queue: BTreeMap<&QueueName, Vec<JobId>> = BTreeMap::new();
        for receipt in receipts {
            by_queue.entry(&receipt.queue).or_default().push(receipt.job);
        }
        let mut cancelled = std::collections::HashSet::new();
        for (queue, ids) in by_queue {
            cancelled.extend(self.cancel_requests(queue, &ids).await?);
        }
        Ok(cancelled)
    }

    /// Takes a waiting job out of its queue for good.
    pub(super) async fn call_off(&self, source: Source, queue: &QueueName, item: &Item) -> Result<bool, BrokerError> {
        let mut item = item.clone();
        self.read_payloads(queue, [&mut item]).await?;
        let mut transition = Transition::new(self, queue);
        transition.take(&source);
        transition.finish(&item, &End::unstarted(JobState::Cancelled, "cancelled"));
        transition.count("cancelled", 1);
        transition.count("bytes", -i64::try_from(item.data_bytes()).unwrap_or(0));
        Ok(transition.commit().await?.first() == Some(&true))
    }
}

/// What the fetch script says.
struct Answer {
    now_ms: i64,
    cancel_requests: u64,
    /// How long until the queue's rate lets a job through; 0 when it holds none back.
    turn_ms: u64,
    fetched: Vec<Fetched>,
}

fn read_fetched(answer: Vec<Value>) -> Result<Answer, BrokerError> {
    let unexpected = || BrokerError::Corrupt("the fetch script gave an unexpected answer".to_owned());
    let mut answer = answer.into_iter();
    let mut number = || -> Option<i64> { redis::from_redis_value(answer.next()?).ok() };
    let (Some(now_ms), Some(cancel_requests), Some(turn_ms)) = (number(), number(), number()) else {
        return Err(unexpected());
    };
    let mut fetched = Vec::new();
    while let Some(level) = answer.next() {
        let (Some(entry), Some(frame)) = (answer.next(), answer.next()) else { return Err(unexpected()) };
        let level: u8 = redis::from_redis_value(level).map_err(|_| unexpected())?;
        let entry: String = redis::from_redis_value(entry).map_err(|_| unexpected())?;
        let frame: Vec<u8> = redis::from_redis_value(frame).map_err(|_| unexpected())?;
        fetched.push(Fetched { level, entry: parse_entry(&entry).ok_or_else(unexpected)?, frame });
    }
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    Ok(Answer { now_ms, cancel_requests: count(cancel_requests), turn_ms: count(turn_ms), fetched })
}

#[cfg(test)]
mod tests {
    use tidemark_model::SystemClock;

    use super::*;
    use crate::{BrokerOptions, JobIdSource, JobKind, NewJob, RedisOptions};

    #[test]
    fn a_fetch_that_is_dropped_leaves_no_frames_behind() {
        let clock = Arc::new(SystemClock::new());
        let options = RedisOptions::new("redis://127.0.0.1:1");
        let broker = RedisBroker::new(options, BrokerOptions::default(), clock.clone()).unwrap();
        let id = JobIdSource::new(clock, 1).next_id();
        let item = Item::new(NewJob::from_bytes(JobKind::Write, "x".into()).into_record(id, 5));
        let take = |entry| {
            let fetched = Fetched { level: 1, entry, frame: Vec::new() };
            broker.take_frame(&JobKind::Write.default_queue(), &WorkerId::new("w"), &fetched, vec![item.clone()], 5)
        };
        let kept = take((1, 0));
        let fetching = Fetching { broker: &broker, deliveries: take((2, 0)) };
        assert_eq!(broker.shared.state.lock().frames.len(), 2);
        drop(fetching);
        assert_eq!((broker.shared.state.lock().frames.len(), kept.len()), (1, 1));
    }
}
