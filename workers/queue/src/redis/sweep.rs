//! What has to be done now and then: making delayed jobs ready, taking frames of lost workers over.

use redis::Value;

use super::{
    RedisBroker,
    frame::{self, Item},
    listing::parse_running,
    transition::{End, Source, Transition},
};
use crate::{BrokerError, JobState, QueueName, TickReport, WorkerId, record_codec::millis, rescue_delay::rescue_delay};

/// Most delayed jobs of one call; the script holds the server up for about a microsecond each.
const PROMOTE_MAX: usize = 256;
/// Calls for one queue and sweep.
const PROMOTE_CALLS_MAX: usize = 64;
/// Most frames taken over in one sweep of one stream.
const RESCUE_MAX: usize = 128;

/// A frame whose lease ran out.
struct LostFrame {
    level: u8,
    entry: (u64, u64),
    worker: WorkerId,
    started_ms: Option<i64>,
}

impl RedisBroker {
    pub(super) async fn sweep(&self) -> Result<TickReport, BrokerError> {
        let mut report = TickReport::default();
        for queue in self.shared.queues_to_sweep().await? {
            report.promoted += self.promote(&queue).await?;
            for level in 0..3 {
                let (rescued, poisoned) = self.rescue(&queue, level).await?;
                report.rescued += rescued;
                report.poisoned += poisoned;
            }
            if let Err(error) = self.move_workflows(&queue).await {
                tracing::warn!(%error, queue = queue.as_str(), "move workflows on; the next sweep tries again");
            }
        }
        self.move_started().await?;
        if let Err(error) = self.look_for_lost_nodes().await {
            tracing::warn!(%error, "look for nodes whose jobs are lost; the next look is in a minute");
        }
        Ok(report)
    }

    async fn promote(&self, queue: &QueueName) -> Result<u64, BrokerError> {
        let keys = self.shared.keys.queue(queue);
        let mut promoted = 0;
        for _ in 0..PROMOTE_CALLS_MAX {
            let mut call = self.shared.scripts.promote.prepare_invoke();
            keys.streams.iter().for_each(|stream| {
                call.key(stream);
            });
            call.key(&keys.delayed).key(&keys.delayed_items).key(&keys.counters).key(&keys.signal).key(&keys.nodes);
            call.arg(PROMOTE_MAX);
            let moved: u64 = self.shared.run(&call).await?;
            promoted += moved;
            if moved < PROMOTE_MAX as u64 {
                break;
            }
        }
        Ok(promoted)
    }

    /// Takes frames over whose lease ran out: how many jobs were rescued, how many discarded as poison.
    async fn rescue(&self, queue: &QueueName, level: u8) -> Result<(u64, u64), BrokerError> {
        let idle = self.idle_frames(queue, level).await?;
        let (mut rescued, mut poisoned) = (0, 0);
        for (entry, worker) in idle {
            let Some((frame, started_ms)) = self.frame_at(queue, level, entry).await? else { continue };
            let lost = LostFrame { level, entry, worker: WorkerId::new(&worker), started_ms };
            let mut items = match frame::split(&frame) {
                Ok(items) => items,
                Err(reason) => {
                    self.set_aside(queue, level, entry, &frame, &reason).await?;
                    continue;
                }
            };
            self.read_payloads(queue, items.iter_mut().filter(|item| self.is_poison(item.rescues + 1))).await?;
            let mut transition = Transition::new(self, queue);
            let counts = self.add_rescues(&mut transition, &lost, &items);
            if transition.commit().await?.first() == Some(&true) {
                rescued += counts.0;
                poisoned += counts.1;
            }
        }
        Ok((rescued, poisoned))
    }

    fn is_poison(&self, rescues: u32) -> bool {
        rescues >= self.shared.options.rescues_max
    }

    fn add_rescues(&self, transition: &mut Transition<'_>, lost: &LostFrame, items: &[Item]) -> (u64, u64) {
        let LostFrame { level, entry, ref worker, started_ms } = *lost;
        let min_idle_ms = millis(self.shared.options.lease).max(1);
        let now_ms = self.shared.server_now_ms();
        transition.take(&Source::Pending { level, entry, jobs: items.len(), min_idle_ms });
        let (mut rescued, mut poisoned, mut bytes) = (0, 0, 0);
        for item in items {
            bytes += i64::try_from(item.data_bytes()).unwrap_or(0);
            let rescues = item.rescues + 1;
            let next = Item { rescues, ..item.clone() };
            if self.is_poison(rescues) {
                let lost = if item.lacks_payload() { "; its payload is lost" } else { "" };
                let reason =
                    format!("poison: {rescues} workers were lost while they held it, the last was {worker}{lost}");
                let worker = Some(worker.clone());
                let end = End { ran: true, worker, started_ms, ..End::unstarted(JobState::Discarded, &reason) };
                transition.finish(&next, &end);
                poisoned += 1;
            } else {
                let reason = format!("lease of {worker} ran out");
                let attempts_made = item.attempts_ended(Some(worker.clone()), started_ms, now_ms, Some(&reason));
                let next = Item { attempts_made, error: Some(reason), ..next };
                let delay = rescue_delay(item.id(), rescues, self.shared.options.lease);
                if delay.is_zero() {
                    transition.requeue(&next);
                } else {
                    let available_ms = now_ms.saturating_add(i64::try_from(millis(delay)).unwrap_or(0));
                    let state = if next.attempts > 0 { JobState::Retryable } else { JobState::Scheduled };
                    transition.delay(&Item { available_ms, ..next }, state);
                }
                rescued += 1;
            }
        }
        transition.count("rescued", rescued + poisoned);
        transition.count("discarded", poisoned);
        transition.count("bytes", -bytes);
        (rescued.unsigned_abs(), poisoned.unsigned_abs())
    }

    /// Entries whose lease ran out, and who had them.
    async fn idle_frames(&self, queue: &QueueName, level: u8) -> Result<Vec<((u64, u64), String)>, BrokerError> {
        let keys = self.shared.keys.queue(queue);
        let Some(stream) = keys.streams.get(usize::from(level)) else { return Ok(Vec::new()) };
        let mut command = redis::cmd("XPENDING");
        command.arg(stream).arg("workers").arg("IDLE").arg(millis(self.shared.options.lease).max(1));
        command.arg("-").arg("+").arg(RESCUE_MAX);
        let pending: Vec<(String, String, u64, u64)> = match self.shared.run(&command).await {
            // No job was ever fetched from it.
            Err(BrokerError::Unavailable(reason) | BrokerError::Corrupt(reason)) if reason.contains("NOGROUP") => {
                return Ok(Vec::new());
            }
            pending => pending?,
        };
        let read = |(entry, worker, ..): (String, String, u64, u64)| Some((parse_entry(&entry)?, worker));
        Ok(pending.into_iter().filter_map(read).collect())
    }

    /// The frame of an entry, and since when it runs.
    async fn frame_at(
        &self,
        queue: &QueueName,
        level: u8,
        entry: (u64, u64),
    ) -> Result<Option<(Vec<u8>, Option<i64>)>, BrokerError> {
        let keys = self.shared.keys.queue(queue);
        let Some(stream) = keys.streams.get(usize::from(level)) else { return Ok(None) };
        let id = super::transition::entry_text(entry);
        let mut pipeline = redis::pipe();
        pipeline.cmd("XRANGE").arg(stream).arg(&id).arg(&id);
        pipeline.cmd("HGET").arg(&keys.running).arg(format!("{level}:{id}"));
        let (found, running): (Vec<(String, Vec<Value>)>, Option<String>) = self.shared.run(&pipeline).await?;
        let started_ms = running.and_then(|text| parse_running(&text)).map(|running| running.started_ms);
        let frame = found.into_iter().next().and_then(|(_, fields)| frame_of(fields));
        Ok(frame.map(|frame| (frame, started_ms)))
    }
}

/// The frame among the fields of an entry.
pub(super) fn frame_of(fields: Vec<Value>) -> Option<Vec<u8>> {
    value_of(fields, "f")
}

/// A field among those of an entry.
pub(super) fn value_of(fields: Vec<Value>, wanted: &str) -> Option<Vec<u8>> {
    let mut fields = fields.into_iter();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        if redis::from_redis_value::<String>(name).is_ok_and(|name| name == wanted) {
            return redis::from_redis_value(value).ok();
        }
    }
    None
}

pub(super) fn parse_entry(text: &str) -> Option<(u64, u64)> {
    let (millis, number) = text.split_once('-')?;
    Some((millis.parse().ok()?, number.parse().ok()?))
}
