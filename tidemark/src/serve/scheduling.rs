//! Which schedules there are: seals, a compaction, one evaluation for each rule, one poll for each target.

use std::{collections::BTreeSet, time::Duration};

use tidemark_alert::RuleSet;
use tidemark_queue::{
    Broker, CatchUp, CollectPayload, EvaluatePayload, JobTemplate, RollupPayload, RollupStep, Schedule, Timing,
};
use tidemark_scheduler::{COLLECT_SCHEDULES, ScheduleError, collect_schedule, ensure_schedule, new_schedule};
use tokio_util::sync::CancellationToken;

use super::queues::collect_queue;
use crate::config::{CollectTarget, Settings};

/// Five minutes past every even hour: points of a bucket of two hours have come in by then.
const SEAL_LINE: &str = "5 */2 * * *";
/// The same as a minute, and the minutes over which the shards of a larger store take turns.
const SEAL_MINUTE: u32 = 5;
const SEAL_MINUTES: u32 = 110;
/// Once a day in the night of most of Europe, when no seal is due: days that points came in for since they were compacted,
/// and so were left alone by every seal, are compacted all the same.
const COMPACT_LINE: &str = "35 1 * * *";
/// Start of the names of our schedules of rules. Others than these and [`COLLECT_SCHEDULES`] are left alone.
const EVALUATE: &str = "evaluate ";

/// How long to wait before the second attempt to reach the broker; each time twice as long, up to [`RETRY_LONGEST`].
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_LONGEST: Duration = Duration::from_secs(15);
/// How often to look whether the broker still has the schedules.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// The schedules that rules and settings ask for.
pub(crate) fn wanted(settings: &Settings, rules: &RuleSet, shards: u16) -> anyhow::Result<Vec<Schedule>> {
    let mut wanted = seals(shards)?;
    wanted.push(rollup("compact", COMPACT_LINE.to_owned(), RollupStep::Compact)?);
    for rule in rules.rules().filter(|rule| rule.enabled) {
        let payload = EvaluatePayload { rule: rule.name.clone() };
        wanted.push(every(format!("{EVALUATE}{}", rule.name), rule.every, JobTemplate::new(&payload)?));
    }
    for target in &settings.collect {
        wanted.push(collect(target)?);
    }
    Ok(wanted)
}

/// Writes schedules, and removes those of ours that nothing asks for any more. Tries again until the broker does it:
/// it may come up later than we. `false` when `stop` fired before.
pub(crate) async fn ensure(broker: &dyn Broker, wanted: &[Schedule], stop: &CancellationToken) -> bool {
    let trying = async {
        let mut pause = RETRY_FIRST;
        while let Err(error) = write(broker, wanted).await {
            tracing::warn!(%error, "the schedules are not written yet; trying again");
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(RETRY_LONGEST);
        }
    };
    stop.run_until_cancelled(trying).await.is_some()
}

/// Writes schedules again that the broker has lost, such as a Redis that came back empty, until `stop` fires.
pub(crate) async fn keep(broker: &dyn Broker, wanted: &[Schedule], stop: &CancellationToken) {
    let looking = async {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            match restore(broker, wanted).await {
                Ok(0) => {}
                Ok(restored) => tracing::warn!(restored, "the broker had lost schedules; they are written again"),
                Err(error) => tracing::warn!(%error, "the schedules cannot be looked after now; trying again"),
            }
        }
    };
    stop.run_until_cancelled(looking).await;
}

/// Writes those that are missing; how many. Others are left as they are: a process that was started later, with other
/// settings, may have changed them, and two that do not agree must not overwrite each other for ever.
async fn restore(broker: &dyn Broker, wanted: &[Schedule]) -> Result<usize, ScheduleError> {
    let known: BTreeSet<String> = broker.schedules().await?.into_iter().map(|known| known.name).collect();
    let mut restored = 0;
    for schedule in wanted.iter().filter(|schedule| !known.contains(&schedule.name)) {
        ensure_schedule(broker, schedule.clone()).await?;
        restored += 1;
    }
    Ok(restored)
}

async fn write(broker: &dyn Broker, wanted: &[Schedule]) -> Result<(), ScheduleError> {
    let names: BTreeSet<&str> = wanted.iter().map(|schedule| schedule.name.as_str()).collect();
    for schedule in wanted {
        ensure_schedule(broker, schedule.clone()).await?;
    }
    for known in broker.schedules().await? {
        let ours = known.name.starts_with(EVALUATE) || known.name.starts_with(COLLECT_SCHEDULES);
        if ours && !names.contains(known.name.as_str()) {
            broker.delete_schedule(&known.name).await?;
        }
    }
    Ok(())
}

/// A store of one shard is sealed every two hours; the shards of a larger one take turns over that time, so that they do
/// not all write their blocks at once.
fn seals(shards: u16) -> anyhow::Result<Vec<Schedule>> {
    if shards <= 1 {
        return Ok(vec![rollup("seal", SEAL_LINE.to_owned(), RollupStep::Seal)?]);
    }
    let of_shard = |shard: u16| {
        let minute = SEAL_MINUTE + u32::from(shard) * SEAL_MINUTES / u32::from(shards);
        let hours = if minute < 60 { "*/2" } else { "1-23/2" };
        rollup(&format!("seal {shard}"), format!("{} {hours} * * *", minute % 60), RollupStep::SealShard(shard))
    };
    (0..shards).map(of_shard).collect()
}

fn rollup(name: &str, line: String, step: RollupStep) -> anyhow::Result<Schedule> {
    let timing = Timing::Cron { line, zone: "UTC".to_owned() };
    let job = JobTemplate::new(&RollupPayload { step })?;
    // One that was missed is still worth doing, once.
    Ok(Schedule { catch_up: CatchUp::One, ..new_schedule(name, timing, job) })
}

fn collect(target: &CollectTarget) -> anyhow::Result<Schedule> {
    let timeout_ms = u64::try_from(target.timeout.0.as_millis()).unwrap_or(u64::MAX);
    let payload = CollectPayload { target: target.name.clone(), url: target.url.clone(), timeout_ms };
    let job = JobTemplate { queue: Some(collect_queue(&target.site)?.to_string()), ..JobTemplate::new(&payload)? };
    Ok(every(collect_schedule(&target.name), target.every.0, job))
}

/// A job that is of no use once the next one is due.
fn every(name: String, every: Duration, mut job: JobTemplate) -> Schedule {
    job.expires_after = Some(every);
    let every_ms = u64::try_from(every.as_millis()).unwrap_or(u64::MAX);
    new_schedule(&name, Timing::Every(every_ms), job)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidemark_model::ManualClock;
    use tidemark_queue::{BrokerOptions, MemoryBroker, ScheduleExpect};

    use super::*;

    #[test]
    fn shards_take_turns_over_two_hours() {
        let lines: Vec<String> = seals(4)
            .unwrap()
            .into_iter()
            .map(|schedule| match schedule.timing {
                Timing::Cron { line, .. } => line,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(lines, ["5 */2 * * *", "32 */2 * * *", "0 1-23/2 * * *", "27 1-23/2 * * *"]);
        for schedule in seals(64).unwrap() {
            let next = tidemark_scheduler::next_times(&schedule.timing, 1_700_000_000_000, 2);
            assert_eq!(next.unwrap().len(), 2);
        }
    }

    #[test]
    fn a_target_of_a_site_is_polled_by_the_workers_there() {
        let target = |site: &str| toml::from_str(&format!("name = \"shop\"\nurl = \"http://shop/\"\n{site}")).unwrap();
        let job = |site| collect(&target(site)).unwrap().job;
        assert_eq!(job("site = \"ams1\"").queue.as_deref(), Some("collect.ams1"));
        let anywhere = job("");
        assert_eq!((anywhere.queue.as_deref(), anywhere.rate_key.as_deref()), (Some("collect"), Some("shop")));
    }

    #[test]
    fn a_store_is_sealed_and_once_a_day_compacted() {
        let rules = RuleSet::from_files(Vec::new(), tidemark_alert::rules::RuleSetOptions::default()).unwrap();
        let wanted = wanted(&Settings::default(), &rules, 1).unwrap();
        let names: Vec<_> = wanted.iter().map(|schedule| schedule.name.as_str()).collect();
        assert_eq!(names[..2], ["seal", "compact"]);
        let times = tidemark_scheduler::next_times(&wanted[1].timing, 1_700_000_000_000, 2).unwrap();
        assert_eq!(times[1] - times[0], 86_400_000);
    }

    #[tokio::test]
    async fn schedules_that_the_broker_lost_are_written_again_and_changed_ones_are_left() {
        let broker = MemoryBroker::new(BrokerOptions::default(), Arc::new(ManualClock::new(1_700_000_000_000)), 1);
        let rollup = || JobTemplate::new(&RollupPayload { step: RollupStep::Seal }).unwrap();
        let minutely = every("evaluate a".to_owned(), Duration::from_secs(60), rollup());
        let wanted = [seals(1).unwrap().remove(0), minutely.clone()];
        assert!(ensure(&broker, &wanted, &CancellationToken::new()).await);
        assert_eq!(restore(&broker, &wanted).await.unwrap(), 0);

        assert!(broker.delete_schedule("seal").await.unwrap());
        let changed = Schedule { timing: Timing::Every(5_000), ..minutely };
        broker.put_schedule(changed, ScheduleExpect::Any).await.unwrap();

        assert_eq!(restore(&broker, &wanted).await.unwrap(), 1);
        assert!(broker.schedule("seal").await.unwrap().is_some());
        assert_eq!(broker.schedule("evaluate a").await.unwrap().unwrap().timing, Timing::Every(5_000));
    }
}
