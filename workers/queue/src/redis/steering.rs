//! What people and awaiting producers do to jobs and queues; schedules, leaders, workers, health.

use std::time::Duration;

use redis::Value;

use super::{
    RedisBroker,
    frame::Item,
    listing::Found,
    transition::{Source, Transition},
};
use crate::{
    BrokerError, Cancelled, Completion, JobId, JobResult, JobState, Leadership, NumberedCommand, QueueName, Schedule,
    ScheduleExpect, WORKER_COMMANDS_MAX, WorkerCommand, WorkerId, WorkerReport, WorkerView, finished_codec,
    record_codec::millis,
    table_broker::{check_schedule, too_many_commands},
};

/// How long a request to cancel a job is remembered.
const CANCEL_KEPT: Duration = Duration::from_secs(7 * 24 * 3_600);
/// How often the result of a job is looked for: at first, and at most.
const RESULT_POLLS: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(100));

impl RedisBroker {
    pub(super) async fn cancel_job(&self, job: JobId) -> Result<Cancelled, BrokerError> {
        let Some((queue, found)) = self.find(job).await? else { return Ok(Cancelled::Unknown) };
        let cancelled = self.cancel_found(&queue, job, found).await?;
        if cancelled == Cancelled::Now
            && let Err(error) = self.move_workflows(&queue).await
        {
            tracing::warn!(%error, queue = queue.as_str(), "move workflows on; the next sweep does");
        }
        Ok(cancelled)
    }

    /// Calls the job of a node off. One that is not found may be far back in its queue.
    pub(super) async fn cancel_node(&self, queue: &QueueName, job: JobId) -> Result<(), BrokerError> {
        match self.find_in(queue, job).await? {
            Some(found) => self.cancel_found(queue, job, found).await?,
            None => self.request_cancel(queue, job).await?,
        };
        Ok(())
    }

    async fn cancel_found(&self, queue: &QueueName, job: JobId, found: Found) -> Result<Cancelled, BrokerError> {
        match found {
            Found::Finished(finished) => Ok(Cancelled::TooLate(finished.view.state)),
            Found::Delayed(state, item) => {
                let source = Source::Delayed { id: job, state };
                match self.call_off(source, queue, &item).await? {
                    true => Ok(Cancelled::Now),
                    false => self.request_cancel(queue, job).await,
                }
            }
            Found::InStream { level, entry, jobs: 1, item, worker: None, .. } => {
                let source = Source::Queued { level, entry, jobs: 1 };
                match self.call_off(source, queue, &item).await? {
                    true => Ok(Cancelled::Now),
                    false => self.request_cancel(queue, job).await,
                }
            }
            Found::InStream { worker, .. } => {
                // Whoever fetches the frame, or runs the job, drops it.
                let cancelled = self.request_cancel(queue, job).await?;
                Ok(if worker.is_none() { Cancelled::Now } else { cancelled })
            }
        }
    }

    async fn request_cancel(&self, queue: &QueueName, job: JobId) -> Result<Cancelled, BrokerError> {
        let key = self.shared.keys.queue(queue).cancelled;
        let mut pipeline = redis::pipe();
        pipeline.cmd("SADD").arg(&key).arg(job.as_bytes().as_slice()).ignore();
        pipeline.cmd("EXPIRE").arg(&key).arg(CANCEL_KEPT.as_secs()).ignore();
        let _done: Value = self.shared.run(&pipeline).await?;
        Ok(Cancelled::Requested)
    }

    pub(super) async fn retry_job(&self, job: JobId) -> Result<bool, BrokerError> {
        let Some((queue, found)) = self.find(job).await? else { return Ok(false) };
        let mut transition = Transition::new(self, &queue);
        let now_ms = self.shared.clock.now_ms();
        match found {
            Found::Delayed(JobState::Retryable, item) => {
                transition.take(&Source::Delayed { id: job, state: JobState::Retryable });
                transition.count("bytes", -i64::try_from(item.data_bytes()).unwrap_or(0));
                transition.requeue(&Item { attempts: 0, available_ms: now_ms, ..item });
            }
            Found::Finished(finished) if finished.view.state == JobState::Discarded => {
                if finished.has_lost_payload() || self.is_key_taken(&finished.record).await? {
                    return Ok(false);
                }
                self.add_retry(&mut transition, *finished, now_ms);
            }
            _ => return Ok(false),
        }
        Ok(transition.commit().await?.first() == Some(&true))
    }

    pub(super) async fn is_key_taken(&self, record: &crate::JobRecord) -> Result<bool, BrokerError> {
        let Some(unique) = &record.unique else { return Ok(false) };
        let key = self.shared.keys.queue(&record.queue).unique(&unique.key);
        let holder: Option<Vec<u8>> = self.shared.run(redis::cmd("GET").arg(key)).await?;
        Ok(holder.is_some_and(|holder| holder != record.id.as_bytes()))
    }

    /// Looks for the result now and then. The server could push it, but that is one more connection to keep alive, for
    /// producers that wait for a store anyhow.
    pub(super) async fn completion_within(&self, job: JobId, wait: Duration) -> Result<Completion, BrokerError> {
        let deadline = tokio::time::Instant::now() + wait;
        let mut pause = RESULT_POLLS.0;
        let known = self.shared.state.lock().awaited.get(&job).cloned();
        let queues = self.shared.queue_or_all(known.as_ref()).await?;
        let mut is_known = known.is_some();
        loop {
            if let Some(result) = self.result_in(&queues, job).await? {
                self.shared.state.lock().awaited.remove(&job);
                return Ok(Completion::Ended(result));
            }
            if !is_known {
                match self.find(job).await? {
                    Some((_, Found::Finished(finished))) => return Ok(Completion::Ended(result_of(&finished))),
                    Some(_) => is_known = true,
                    None => return Ok(Completion::Unknown),
                }
            }
            if tokio::time::Instant::now() >= deadline {
                return Ok(Completion::Pending);
            }
            tokio::time::sleep_until(deadline.min(tokio::time::Instant::now() + pause)).await;
            pause = (pause * 3 / 2).min(RESULT_POLLS.1);
        }
    }

    async fn result_in(&self, queues: &[QueueName], job: JobId) -> Result<Option<JobResult>, BrokerError> {
        // One after the other: in a cluster they are on different nodes.
        for queue in queues {
            let key = self.shared.keys.queue(queue).result(job);
            let found: Option<Vec<u8>> = self.shared.run(redis::cmd("GET").arg(key)).await?;
            if let Some(bytes) = found {
                let finished = finished_codec::decode(&bytes).map_err(BrokerError::Corrupt)?;
                return Ok(Some(result_of(&finished)));
            }
        }
        Ok(None)
    }

    pub(super) async fn report_worker(&self, report: WorkerReport) -> Result<Vec<NumberedCommand>, BrokerError> {
        let body = rmp_serde::to_vec_named(&report).map_err(|error| BrokerError::Invalid(error.to_string()))?;
        let [reports, seen] = self.shared.keys.workers();
        let mut call = self.shared.scripts.heartbeat.prepare_invoke();
        call.key(reports).key(seen).key(self.shared.keys.commands(&report.worker));
        call.arg(&report.worker).arg(body).arg(report.last_command);
        let waiting: Vec<Vec<u8>> = self.shared.run(&call).await?;
        Ok(waiting.iter().filter_map(|bytes| read_command(bytes)).collect())
    }

    pub(super) async fn leave_command(&self, worker: &WorkerId, command: &WorkerCommand) -> Result<bool, BrokerError> {
        command.check()?;
        let body = rmp_serde::to_vec_named(command).map_err(|error| BrokerError::Invalid(error.to_string()))?;
        let [reports, _] = self.shared.keys.workers();
        let mut call = self.shared.scripts.command.prepare_invoke();
        call.key(reports).key(self.shared.keys.commands(worker.as_str()));
        call.arg(worker.as_str())
            .arg(body)
            .arg(WORKER_COMMANDS_MAX)
            .arg(millis(self.shared.options.worker_silence_max));
        match self.shared.run::<i64>(&call).await? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(too_many_commands(worker)),
        }
    }

    pub(super) async fn forget_worker(&self, worker: &str) -> Result<(), BrokerError> {
        let [reports, seen] = self.shared.keys.workers();
        let mut pipeline = redis::pipe();
        pipeline.cmd("HDEL").arg(reports).arg(worker).ignore();
        pipeline.cmd("ZREM").arg(seen).arg(worker).ignore();
        pipeline.cmd("DEL").arg(self.shared.keys.commands(worker)).ignore();
        let _done: Value = self.shared.run(&pipeline).await?;
        Ok(())
    }

    pub(super) async fn list_workers(&self) -> Result<Vec<WorkerView>, BrokerError> {
        let [reports, seen] = self.shared.keys.workers();
        let mut call = self.shared.scripts.workers.prepare_invoke();
        call.key(reports).key(seen).arg(millis(self.shared.options.worker_silence_max));
        let answer: Vec<(Vec<u8>, u64)> = self.shared.run(&call).await?;
        let view = |(body, silent_ms): (Vec<u8>, u64)| {
            let report = rmp_serde::from_slice(&body).ok()?;
            Some(WorkerView { report, silent_for: Duration::from_millis(silent_ms) })
        };
        let mut views: Vec<WorkerView> = answer.into_iter().filter_map(view).collect();
        views.sort_by(|left, right| left.report.worker.cmp(&right.report.worker));
        Ok(views)
    }

    pub(super) async fn list_schedules(&self) -> Result<Vec<Schedule>, BrokerError> {
        let [bodies, versions] = self.shared.keys.schedules();
        let bodies: std::collections::BTreeMap<String, Vec<u8>> =
            self.shared.run(redis::cmd("HGETALL").arg(bodies)).await?;
        let versions: std::collections::BTreeMap<String, u64> =
            self.shared.run(redis::cmd("HGETALL").arg(versions)).await?;
        let read = |(name, body): (String, Vec<u8>)| match rmp_serde::from_slice::<Schedule>(&body) {
            Ok(schedule) => {
                let version = versions.get(&name).copied().unwrap_or(schedule.version);
                Some(Schedule { version, ..schedule })
            }
            Err(error) => {
                tracing::error!(name, %error, "pass over a damaged schedule");
                None
            }
        };
        Ok(bodies.into_iter().filter_map(read).collect())
    }

    pub(super) async fn find_schedule(&self, name: &str) -> Result<Option<Schedule>, BrokerError> {
        let [bodies, versions] = self.shared.keys.schedules();
        let mut pipeline = redis::pipe();
        pipeline.cmd("HGET").arg(bodies).arg(name).cmd("HGET").arg(versions).arg(name);
        let (body, version): (Option<Vec<u8>>, Option<u64>) = self.shared.run(&pipeline).await?;
        let Some(body) = body else { return Ok(None) };
        let schedule: Schedule = rmp_serde::from_slice(&body)
            .map_err(|error| BrokerError::Corrupt(format!("schedule `{name}`: {error}")))?;
        Ok(Some(Schedule { version: version.unwrap_or(schedule.version), ..schedule }))
    }

    pub(super) async fn write_schedule(
        &self,
        schedule: Schedule,
        expect: ScheduleExpect,
    ) -> Result<Option<u64>, BrokerError> {
        check_schedule(&schedule)?;
        let body = rmp_serde::to_vec_named(&schedule).map_err(|error| BrokerError::Invalid(error.to_string()))?;
        let [bodies, versions] = self.shared.keys.schedules();
        let mut call = self.shared.scripts.put_schedule.prepare_invoke();
        call.key(bodies).key(versions).arg(&schedule.name).arg(body);
        match expect {
            ScheduleExpect::Any => call.arg("any"),
            ScheduleExpect::Absent => call.arg("absent"),
            ScheduleExpect::Version(version) => call.arg(version),
        };
        let version: u64 = self.shared.run(&call).await?;
        Ok((version > 0).then_some(version))
    }

    pub(super) async fn remove_schedule(&self, name: &str) -> Result<bool, BrokerError> {
        let [bodies, versions] = self.shared.keys.schedules();
        let mut pipeline = redis::pipe();
        pipeline.atomic().cmd("HDEL").arg(bodies).arg(name).cmd("HDEL").arg(versions).arg(name).ignore();
        let (removed,): (u64,) = self.shared.run(&pipeline).await?;
        Ok(removed > 0)
    }

    pub(super) async fn lead(&self, name: &str, owner: &str, ttl: Duration) -> Result<Option<Leadership>, BrokerError> {
        let [owner_key, token_key] = self.shared.keys.leader(name);
        let mut call = self.shared.scripts.lead.prepare_invoke();
        call.key(owner_key).key(token_key).arg(owner).arg(millis(ttl).max(1));
        let token: u64 = self.shared.run(&call).await?;
        Ok((token > 0).then_some(Leadership { token, ttl }))
    }

    pub(super) async fn give_up_lead(&self, name: &str, owner: &str) -> Result<(), BrokerError> {
        let [owner_key, _] = self.shared.keys.leader(name);
        let mut call = self.shared.scripts.resign.prepare_invoke();
        call.key(owner_key).arg(owner);
        let _removed: i64 = self.shared.run(&call).await?;
        Ok(())
    }
}

fn result_of(finished: &crate::table::Finished) -> JobResult {
    JobResult { state: finished.view.state, result: finished.view.result.clone(), error: finished.view.error.clone() }
}

/// A number, a blank, and the command.
fn read_command(bytes: &[u8]) -> Option<NumberedCommand> {
    let blank = bytes.iter().position(|byte| *byte == b' ')?;
    let (number, command) = bytes.split_at_checked(blank)?;
    Some(NumberedCommand {
        number: std::str::from_utf8(number).ok()?.parse().ok()?,
        command: rmp_serde::from_slice(command.get(1..)?).ok()?,
    })
}
