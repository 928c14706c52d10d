//! What holds jobs back: the settings of queues, and rates that all processes share.

use std::time::Duration;

use redis::Value;

use super::RedisBroker;
use crate::{BrokerError, QueueName, QueueSettings, Rate, RateClaim, rate_claim::check_claims, record_codec::millis};

/// Most claims of one call of the script.
const CLAIMS_MAX: usize = 256;

impl RedisBroker {
    pub(super) async fn write_settings(&self, queue: &QueueName, settings: QueueSettings) -> Result<(), BrokerError> {
        settings.check()?;
        self.shared.note_queues(std::iter::once(queue)).await?;
        let keys = self.shared.keys.queue(queue);
        let mut pipeline = redis::pipe();
        pipeline.atomic();
        for (field, value) in fields_of(&settings) {
            match value {
                Some(value) => pipeline.cmd("HSET").arg(&keys.counters).arg(field).arg(value).ignore(),
                None => pipeline.cmd("HDEL").arg(&keys.counters).arg(field).ignore(),
            };
        }
        // Whatever held jobs back may be gone.
        pipeline.cmd("LPUSH").arg(&keys.signal).arg("").ignore();
        let _done: Value = self.shared.run(&pipeline).await?;
        Ok(())
    }

    pub(super) async fn set_paused(&self, queue: &QueueName, paused: bool) -> Result<(), BrokerError> {
        self.shared.note_queues(std::iter::once(queue)).await?;
        let keys = self.shared.keys.queue(queue);
        let mut pipeline = redis::pipe();
        pipeline.atomic();
        if paused {
            pipeline.cmd("HSET").arg(&keys.counters).arg("paused").arg(1).ignore();
        } else {
            pipeline.cmd("HDEL").arg(&keys.counters).arg("paused").ignore();
            pipeline.cmd("LPUSH").arg(&keys.signal).arg("").ignore();
        }
        let _done: Value = self.shared.run(&pipeline).await?;
        Ok(())
    }

    pub(super) async fn admit_all(&self, claims: Vec<RateClaim>) -> Result<Vec<Duration>, BrokerError> {
        check_claims(&claims)?;
        let mut waits = Vec::with_capacity(claims.len());
        for claims in claims.chunks(CLAIMS_MAX) {
            let mut call = self.shared.scripts.admit.prepare_invoke();
            for claim in claims {
                call.arg(claim.limits.len());
                for limit in &claim.limits {
                    call.key(self.shared.keys.rate(&limit.name));
                    call.arg(limit.rate.jobs.get()).arg(millis(limit.rate.period));
                }
            }
            let answers: Vec<u64> = self.shared.run(&call).await?;
            waits.extend(answers.into_iter().map(Duration::from_millis));
        }
        Ok(waits)
    }
}

/// The fields among the counters of a queue that hold its settings, and what they hold.
fn fields_of(settings: &QueueSettings) -> [(&'static str, Option<u64>); 7] {
    [
        ("paused", settings.paused.then_some(1)),
        ("draining", settings.draining.then_some(1)),
        ("rate_jobs", settings.rate.map(|rate| u64::from(rate.jobs.get()))),
        ("rate_ms", settings.rate.map(|rate| millis(rate.period))),
        ("running_max", settings.running_max.map(u64::from)),
        ("jobs_max", settings.jobs_max),
        ("bytes_max", settings.bytes_max),
    ]
}

/// The settings among the counters of a queue.
pub(super) fn settings_of(field: impl Fn(&str) -> Option<u64>) -> QueueSettings {
    let rate = || Rate::new(u32::try_from(field("rate_jobs")?).ok()?, Duration::from_millis(field("rate_ms")?));
    QueueSettings {
        paused: field("paused").is_some(),
        draining: field("draining").is_some(),
        rate: rate(),
        running_max: field("running_max").and_then(|max| u32::try_from(max).ok()),
        jobs_max: field("jobs_max"),
        bytes_max: field("bytes_max"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_survive_their_fields() {
        let all = QueueSettings {
            paused: true,
            draining: true,
            rate: "3/1500ms".parse().ok(),
            running_max: Some(4),
            jobs_max: Some(5),
            bytes_max: Some(6),
        };
        for settings in [QueueSettings::default(), all] {
            let fields = fields_of(&settings);
            let field = |name: &str| fields.iter().find(|(field, _)| *field == name).and_then(|(_, value)| *value);
            assert_eq!(settings_of(field), settings);
        }
    }
}
