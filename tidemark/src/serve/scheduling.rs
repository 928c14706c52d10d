//! Which schedules there are: seals, one evaluation for each rule, one poll for each target.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::Context;
use tidemark_alert::RuleSet;
use tidemark_queue::{
    Broker, CatchUp, CollectPayload, EvaluatePayload, JobTemplate, RollupPayload, RollupStep, Schedule, Timing,
};
use tidemark_scheduler::{ensure_schedule, new_schedule};

use crate::config::{CollectTarget, Settings};

/// Five minutes past every even hour: points of a bucket of two hours have come in by then.
const SEAL_LINE: &str = "5 */2 * * *";
/// Start of the names of our schedules, by kind; others are left alone.
const EVALUATE: &str = "evaluate ";
const COLLECT: &str = "collect ";

/// Writes the schedules that the rules and settings ask for, and removes those that nothing asks for any more.
pub(crate) async fn ensure(broker: &Arc<dyn Broker>, settings: &Settings, rules: &RuleSet) -> anyhow::Result<()> {
    let mut wanted = vec![seal()?];
    for rule in rules.rules().filter(|rule| rule.enabled) {
        let payload = EvaluatePayload { rule: rule.name.clone() };
        wanted.push(every(format!("{EVALUATE}{}", rule.name), rule.every, JobTemplate::new(&payload)?));
    }
    for target in &settings.collect {
        wanted.push(collect(target)?);
    }
    let names: BTreeSet<String> = wanted.iter().map(|schedule| schedule.name.clone()).collect();
    for schedule in wanted {
        ensure_schedule(broker.as_ref(), schedule).await.context("write the schedules")?;
    }
    for known in broker.schedules().await.context("read the schedules")? {
        let ours = known.name.starts_with(EVALUATE) || known.name.starts_with(COLLECT);
        if ours && !names.contains(&known.name) {
            broker.delete_schedule(&known.name).await.context("remove a schedule")?;
        }
    }
    Ok(())
}

fn seal() -> anyhow::Result<Schedule> {
    let timing = Timing::Cron { line: SEAL_LINE.to_owned(), zone: "UTC".to_owned() };
    let job = JobTemplate::new(&RollupPayload { step: RollupStep::Seal })?;
    // A seal that was missed is still worth doing, once.
    Ok(Schedule { catch_up: CatchUp::One, ..new_schedule("seal", timing, job) })
}

fn collect(target: &CollectTarget) -> anyhow::Result<Schedule> {
    let timeout_ms = u64::try_from(target.timeout.0.as_millis()).unwrap_or(u64::MAX);
    let payload = CollectPayload { target: target.name.clone(), url: target.url.clone(), timeout_ms };
    Ok(every(format!("{COLLECT}{}", target.name), target.every.0, JobTemplate::new(&payload)?))
}

/// A job that is of no use once the next one is due.
fn every(name: String, every: Duration, mut job: JobTemplate) -> Schedule {
    job.expires_after = Some(every);
    let every_ms = u64::try_from(every.as_millis()).unwrap_or(u64::MAX);
    new_schedule(&name, Timing::Every(every_ms), job)
}
