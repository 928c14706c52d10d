//! `backtest` jobs: a rule over the past.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tidemark_alert::{Backtest, KeyChange, RuleSet, rules::Rule};
use tidemark_model::{BoxFuture, SeriesReader, TimeRange, TimestampMs};
use tidemark_queue::{BacktestPayload, RESULT_BYTES_MAX};

use super::time_window::range_of;
use crate::handler::{Handler, JobContext, JobError, JobOutput};

/// Most evaluations of a backtest: a week at one a minute is half of it.
pub const BACKTEST_STEPS_MAX: u64 = 20_000;
/// Bytes of a result that changes may fill; the rest is for the totals.
const CHANGES_BYTES_MAX: usize = RESULT_BYTES_MAX / 4 * 3;

/// Evaluates rules over the past. Idempotent: it writes nothing.
pub struct BacktestHandler {
    rules: RuleSet,
    reader: Arc<dyn SeriesReader>,
}

impl BacktestHandler {
    /// Evaluates `rules`, and what somebody wants to try beside them, over `reader`.
    #[must_use]
    pub fn new(rules: RuleSet, reader: Arc<dyn SeriesReader>) -> Self {
        Self { rules, reader }
    }

    async fn backtest(&self, job: JobContext) -> Result<JobOutput, JobError> {
        let payload: BacktestPayload = job.payload()?;
        let range = range_of(&job, &payload.window)?;
        let rule = self.rule(&payload).map_err(JobError::Discard)?;
        let every = payload.every_ms.map_or(rule.every, Duration::from_millis);
        let steps = backtest_steps(range, every).map_err(JobError::Discard)?;
        let every_ms = i64::try_from(every.as_millis()).unwrap_or(i64::MAX);
        let limits = self.rules.options().limits;
        let (mut backtest, mut changes) = (Backtest::new(Arc::clone(&rule)), ChangeList::default());
        let mut done = 0;
        for step in 0..steps {
            job.progress(step, steps);
            if job.cancel.is_cancelled() {
                return Err(JobError::Cancelled);
            }
            if job.soft_stop().is_cancelled() {
                job.log(format!("the time is over after {step} of {steps} evaluations"));
                break;
            }
            let at = moment(range, every_ms, step);
            let evaluation = rule.evaluate(self.reader.as_ref(), at, limits).await;
            let changed = backtest.observe(&evaluation).map_err(|error| JobError::Discard(error.to_string()))?;
            changes.extend(changed);
            done = step + 1;
        }
        job.progress(done, steps);
        let totals = backtest.totals();
        if totals.failures == done
            && let Some(reason) = &totals.first_failure
        {
            return Err(JobError::Discard(format!("every evaluation failed: {reason}")));
        }
        let until = if done == steps { range.end } else { moment(range, every_ms, done) };
        let made = json!({
            "rule": rule.name,
            "from_ms": range.start,
            "to_ms": until,
            "every_ms": every_ms,
            "is_whole": done == steps,
            "evaluations": totals.evaluations,
            "failures": totals.failures,
            "first_failure": totals.first_failure,
            "keys": backtest.keys(),
            "opened": totals.opened,
            "became": totals.became,
            "changes_total": totals.changes,
            "changes_left_out": changes.left_out,
            "changes": changes.shown,
        });
        job.log(format!("{done} evaluations: {} changes of {} keys", totals.changes, backtest.keys()));
        Ok(job.answer(&made))
    }

    fn rule(&self, payload: &BacktestPayload) -> Result<Arc<Rule>, String> {
        match (&payload.text, &payload.rule) {
            (Some(text), name) => self.rules.read_rule(text, name.as_deref()).map_err(|errors| errors.to_string()),
            (None, Some(name)) => {
                self.rules.rule(name).map(Arc::clone).ok_or_else(|| format!("there is no rule `{name}` any more"))
            }
            (None, None) => Err("the job names no rule".to_owned()),
        }
    }
}

impl Handler for BacktestHandler {
    fn run(&self, job: JobContext) -> BoxFuture<'_, Result<JobOutput, JobError>> {
        Box::pin(self.backtest(job))
    }
}

/// How many evaluations a backtest of a range has.
///
/// # Errors
/// Says so when the interval is shorter than a second, or there are more of them than [`BACKTEST_STEPS_MAX`].
pub fn backtest_steps(range: TimeRange, every: Duration) -> Result<u64, String> {
    if every < Duration::from_secs(1) {
        return Err(format!("every: must be at least 1s, got {every:?}"));
    }
    let length = u64::try_from(range.end.saturating_sub(range.start)).unwrap_or(0);
    let steps = length.div_ceil(u64::try_from(every.as_millis()).unwrap_or(u64::MAX));
    if steps > BACKTEST_STEPS_MAX {
        return Err(format!(
            "{steps} evaluations are more than {BACKTEST_STEPS_MAX}: take a shorter range, or evaluate less often"
        ));
    }
    Ok(steps)
}

fn moment(range: TimeRange, every_ms: i64, step: u64) -> TimestampMs {
    range.start.saturating_add(every_ms.saturating_mul(i64::try_from(step).unwrap_or(i64::MAX)))
}

/// As many changes as a result holds.
#[derive(Default)]
struct ChangeList {
    shown: Vec<Value>,
    bytes: usize,
    left_out: u64,
}

impl ChangeList {
    fn extend(&mut self, changes: Vec<KeyChange>) {
        for KeyChange { at, group, before, state, value } in changes {
            let value = value.filter(|value| value.is_finite());
            let shown =
                json!({"at_ms": at, "key": group.to_string(), "before": before, "state": state, "value": value});
            let bytes = shown.to_string().len() + 1;
            if self.left_out > 0 || self.bytes + bytes > CHANGES_BYTES_MAX {
                self.left_out += 1;
                continue;
            }
            self.bytes += bytes;
            self.shown.push(shown);
        }
    }
}

#[cfg(test)]
mod tests {
    use tidemark_alert::expression::Group;

    use super::*;

    #[test]
    fn a_backtest_has_so_many_evaluations_at_most() {
        let steps = |length, seconds| backtest_steps(TimeRange::new(0, length), Duration::from_secs(seconds));
        assert_eq!((steps(60_000, 60), steps(60_001, 60)), (Ok(1), Ok(2)));
        assert_eq!(steps(7 * 86_400_000, 60), Ok(10_080));
        assert!(steps(i64::MAX, 60).unwrap_err().contains("more than 20000"));
        assert!(steps(1, 0).unwrap_err().contains("at least 1s"));
        assert_eq!((moment(TimeRange::new(5, 9), 2, 1), moment(TimeRange::new(5, 9), i64::MAX, 3)), (7, i64::MAX));
    }

    #[test]
    fn a_result_holds_the_first_changes_and_counts_the_others() {
        let mut list = ChangeList::default();
        let change =
            KeyChange { at: 1, group: Group::empty(), before: "normal", state: "critical", value: Some(f64::NAN) };
        list.extend(vec![change; 5_000]);
        assert_eq!(list.shown.len() as u64 + list.left_out, 5_000);
        assert!(list.left_out > 0 && list.shown[0]["value"].is_null());
        assert!(json!(list.shown).to_string().len() <= CHANGES_BYTES_MAX + 2);
    }
}
