//! What can be enqueued from outside, and which job it becomes.

use std::time::Duration;

use serde::Deserialize;
use tidemark_model::TimestampMs;
use tidemark_queue::{
    EvaluatePayload, JobKind, JobTemplate, NewJob, Payload, PayloadError, Priority, RollupPayload, RollupStep,
};
use tidemark_scheduler::collect_schedule;

use super::{
    broker_call::look,
    moments::{Moment, Span},
};
use crate::{console::Console, error::ApiError};

/// How long what became of a job from outside is kept for those who await it.
const RESULT_KEPT: Duration = Duration::from_secs(3_600);
/// The kinds, and the field that says what of.
const KINDS: [(JobKind, &str); 3] =
    [(JobKind::Collect, "target"), (JobKind::Evaluate, "rule"), (JobKind::Rollup, "step")];

/// A job as somebody outside describes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WorkBody {
    /// What: `collect`, `evaluate` or `rollup`.
    kind: String,
    /// Name of the target of a `collect` job.
    target: Option<String>,
    /// Name of the rule of an `evaluate` job.
    rule: Option<String>,
    /// `seal` or `compact`, for a `rollup` job.
    step: Option<String>,
    priority: Option<Priority>,
    /// Earliest start.
    pub(super) not_before: Option<Moment>,
    /// Latest start.
    pub(super) expires: Option<Moment>,
    /// How long one attempt may take.
    time_limit: Option<Span>,
}

impl WorkBody {
    /// The job, without times.
    ///
    /// # Errors
    /// 400 when there is no such kind, rule, target or step, and what there is.
    pub(super) async fn template(&self, console: &Console) -> Result<JobTemplate, ApiError> {
        let kind = self.known_kind()?;
        let mut template = match kind {
            JobKind::Collect => collect(console, self.subject(kind)?).await?,
            JobKind::Evaluate => evaluate(console, self.subject(kind)?)?,
            _ => rollup(self.subject(kind)?)?,
        };
        template.priority = self.priority.unwrap_or(template.priority);
        if let Some(limit) = &self.time_limit {
            template.time_limit = Some(limit.duration("time_limit")?);
        }
        Ok(template)
    }

    /// The job, ready to be pushed.
    ///
    /// # Errors
    /// 400 for what [`WorkBody::template`] refuses, and for times that make no sense.
    pub(super) async fn job(&self, console: &Console) -> Result<NewJob, ApiError> {
        let now_ms = console.seams.clock.now_ms();
        let mut job = job_of(&self.template(console).await?, now_ms)?.with_result(RESULT_KEPT);
        job.not_before_ms = self.not_before.as_ref().map(|moment| moment.at("not_before", now_ms)).transpose()?;
        job.expires_ms = self.expires.as_ref().map(|moment| moment.at("expires", now_ms)).transpose()?;
        let starts_ms = job.not_before_ms.unwrap_or(now_ms).max(now_ms);
        if job.expires_ms.is_some_and(|expires_ms| expires_ms <= starts_ms) {
            return Err(ApiError::bad_request("expires: the job would have expired before it could start"));
        }
        Ok(job)
    }

    fn known_kind(&self) -> Result<JobKind, ApiError> {
        let known = KINDS.iter().find(|(kind, _)| kind.name() == self.kind);
        known.map(|(kind, _)| *kind).ok_or_else(|| {
            let shown: String = self.kind.chars().take(64).collect();
            let kinds: Vec<_> = KINDS.iter().map(|(kind, field)| format!("`{kind}` with `{field}`")).collect();
            ApiError::bad_request(format!(
                "kind: jobs of kind `{shown}` cannot be enqueued from outside; there are {}",
                kinds.join(", ")
            ))
        })
    }

    /// What the job is about; the fields of the other kinds must be absent.
    fn subject(&self, kind: JobKind) -> Result<&str, ApiError> {
        let mut subject = None;
        for (of_kind, field) in KINDS {
            let value = match of_kind {
                JobKind::Collect => &self.target,
                JobKind::Evaluate => &self.rule,
                _ => &self.step,
            };
            match value {
                Some(value) if of_kind == kind => subject = Some(value.as_str()),
                Some(_) => {
                    return Err(ApiError::bad_request(format!("{field}: a job of kind `{kind}` has no `{field}`")));
                }
                None if of_kind == kind => {
                    return Err(ApiError::bad_request(format!("{field}: a job of kind `{kind}` needs `{field}`")));
                }
                None => {}
            }
        }
        subject.ok_or_else(|| ApiError::bad_request("the job says nothing"))
    }
}

/// A job of a template, now and by itself: it has no slot, so it has no key of one either.
fn job_of(template: &JobTemplate, now_ms: TimestampMs) -> Result<NewJob, ApiError> {
    let job = template.job("", now_ms, Duration::ZERO);
    let job = job.map_err(|error| ApiError::bad_request(format!("queue: {error}")))?;
    Ok(NewJob { unique: None, ..job })
}

/// What the schedule of the target enqueues: it knows address and queue, also in a process that has other settings.
async fn collect(console: &Console, target: &str) -> Result<JobTemplate, ApiError> {
    let name = collect_schedule(target);
    match look(console.seams.broker.schedule(&name)).await? {
        Some(schedule) => Ok(JobTemplate { expires_after: None, ..schedule.job }),
        None => {
            let shown: String = target.chars().take(64).collect();
            Err(ApiError::bad_request(format!(
                "target: there is no target `{shown}`; see `[[collect]]` in tidemark.toml"
            )))
        }
    }
}

fn evaluate(console: &Console, rule: &str) -> Result<JobTemplate, ApiError> {
    let shown: String = rule.chars().take(64).collect();
    match console.seams.rules.rule(rule) {
        None => Err(ApiError::bad_request(format!("rule: there is no rule `{shown}`"))),
        Some(known) if !known.enabled => Err(ApiError::bad_request(format!("rule: `{shown}` is not enabled"))),
        Some(_) => of_payload(&EvaluatePayload { rule: rule.to_owned() }),
    }
}

fn rollup(step: &str) -> Result<JobTemplate, ApiError> {
    let step = match step {
        "seal" => RollupStep::Seal,
        "compact" => RollupStep::Compact,
        other => {
            let shown: String = other.chars().take(64).collect();
            return Err(ApiError::bad_request(format!("step: no such step: `{shown}`; there are seal, compact")));
        }
    };
    of_payload(&RollupPayload { step })
}

fn of_payload<P: Payload>(payload: &P) -> Result<JobTemplate, ApiError> {
    JobTemplate::new(payload).map_err(|error: PayloadError| ApiError::bad_request(error.to_string()))
}

#[cfg(test)]
mod tests {
    use tidemark_queue::CollectPayload;

    use super::*;

    fn body(text: &str) -> WorkBody {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_job_says_what_it_is_about_and_nothing_else() {
        let subject = |text: &str| {
            let body = body(text);
            body.known_kind().and_then(|kind| body.subject(kind).map(str::to_owned)).map_err(|error| error.to_string())
        };
        assert_eq!(subject(r#"{"kind":"evaluate","rule":"disk.full"}"#), Ok("disk.full".to_owned()));
        assert!(subject(r#"{"kind":"evaluate"}"#).unwrap_err().contains("needs `rule`"));
        assert!(subject(r#"{"kind":"evaluate","rule":"a","step":"seal"}"#).unwrap_err().contains("has no `step`"));
        let error = subject(r#"{"kind":"write"}"#).unwrap_err();
        assert!(error.contains("`collect` with `target`, `evaluate` with `rule`, `rollup` with `step`"), "{error}");
        assert!(serde_json::from_str::<WorkBody>(r#"{"kind":"evaluate","rules":"a"}"#).is_err());
    }

    #[test]
    fn a_job_from_outside_is_held_to_the_rates_of_what_it_is_about() {
        let payload = CollectPayload { target: "shop".into(), url: "http://shop/".into(), timeout_ms: 5 };
        let template = JobTemplate { queue: Some("collect.ams1".to_owned()), ..JobTemplate::new(&payload).unwrap() };
        let job = job_of(&template, 1_767_225_600_000).unwrap();
        assert_eq!((job.rate_key.as_deref(), job.queue.as_str()), (Some("shop"), "collect.ams1"));
        assert_eq!((job.unique, job.expires_ms), (None, None));
    }

    #[test]
    fn only_steps_that_there_are_can_be_asked_for() {
        assert_eq!(rollup("compact").unwrap().kind, JobKind::Rollup);
        assert!(rollup("range").unwrap_err().message().contains("there are seal, compact"));
    }
}
