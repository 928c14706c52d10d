//! What can be enqueued from outside, and which job it becomes.

use std::{sync::Arc, time::Duration};

use actix_web::{HttpRequest, http::StatusCode};
use serde::Deserialize;
use tidemark_model::TimestampMs;
use tidemark_queue::{
    BacktestPayload, EvaluatePayload, ExportPayload, ImportPayload, JobKind, JobTemplate, NewJob, Payload,
    PayloadError, Priority, ROLLUP_RANGE_QUEUE, RollupPayload, RollupRange, RollupStep, TimeWindow,
};
use tidemark_scheduler::collect_schedule;
use tidemark_workers::{backtest_steps, range_at};

use super::{
    broker_call::look,
    moments::{Moment, Span},
};
use crate::{
    auth::{Role, Visitor},
    console::Console,
    error::ApiError,
    export::export_of,
    import,
};

/// How long what became of a job from outside is kept for those who await it.
const RESULT_KEPT: Duration = Duration::from_secs(3_600);
/// How long an attempt at the rollups of a range may take, unless somebody says otherwise.
const RANGE_TIME_LIMIT: Duration = Duration::from_secs(6 * 3_600);
/// What the description of a job of a kind may say beside what all may.
struct KindFields {
    kind: JobKind,
    needed: &'static [&'static str],
    /// Fields that it may have.
    more: &'static [&'static str],
}

const KINDS: [KindFields; 6] = [
    KindFields { kind: JobKind::Collect, needed: &["target"], more: &[] },
    KindFields { kind: JobKind::Evaluate, needed: &["rule"], more: &[] },
    KindFields { kind: JobKind::Rollup, needed: &["step"], more: &["from", "to", "metric"] },
    KindFields { kind: JobKind::Import, needed: &["file"], more: &["format"] },
    KindFields { kind: JobKind::Export, needed: &["format"], more: &["series", "from", "to"] },
    KindFields { kind: JobKind::Backtest, needed: &["from"], more: &["rule", "text", "to", "every"] },
];

/// A job as somebody outside describes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WorkBody {
    /// What: one of [`KINDS`].
    kind: String,
    /// Name of the target of a `collect` job.
    target: Option<String>,
    /// Name of the rule of an `evaluate` or `backtest` job.
    rule: Option<String>,
    /// The rule of a `backtest` job, as a rule file would have it.
    text: Option<String>,
    /// How often a `backtest` job evaluates, if not as often as the rule says.
    every: Option<Span>,
    /// Name of the uploaded file of an `import` job.
    file: Option<String>,
    /// Form of the lines of an `import` or `export` job: `json`, `csv` or `opentsdb`.
    format: Option<String>,
    /// Series of an `export` job, such as `os.cpu{host=web*}`; all when there is none.
    series: Option<Vec<String>>,
    /// `seal`, `compact` or `range`, for a `rollup` job.
    step: Option<String>,
    /// First moment of the range that the job is about.
    from: Option<Moment>,
    /// First moment after that range.
    to: Option<Moment>,
    /// Name of the metric whose rollups are made again.
    metric: Option<String>,
    priority: Option<Priority>,
    /// Earliest start.
    pub(super) not_before: Option<Moment>,
    /// Latest start.
    pub(super) expires: Option<Moment>,
    /// How long one attempt may take.
    time_limit: Option<Span>,
}

impl WorkBody {
    /// Lets those enqueue the job who could do by themselves what it does: an import writes points, which an operator may
    /// not.
    ///
    /// # Errors
    /// 403 naming the role that is missing.
    pub(super) fn allow(&self, request: &HttpRequest) -> Result<(), ApiError> {
        let may_write = Visitor::of(request).is_none_or(|visitor| visitor.writes);
        if self.kind != JobKind::Import.name() || may_write {
            return Ok(());
        }
        let text = format!("a job of kind `import` writes points: it needs the role `{}`, too", Role::Write);
        Err(ApiError::new(StatusCode::FORBIDDEN, text))
    }

    /// The job, without times.
    ///
    /// # Errors
    /// 400 when there is no such kind, rule, target or step, and what there is.
    pub(super) async fn template(&self, console: &Console) -> Result<JobTemplate, ApiError> {
        let now_ms = console.seams.clock.now_ms();
        let mut template = match self.checked_kind()? {
            JobKind::Collect => collect(console, text(&self.target)).await?,
            JobKind::Evaluate => evaluate(console, text(&self.rule))?,
            JobKind::Import => self.import()?,
            JobKind::Export => self.export(now_ms)?,
            JobKind::Backtest => self.backtest(console, now_ms)?,
            _ => self.rollup(now_ms)?,
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

    /// The kind, once it is known that the job says what the kind needs and nothing that it does not have.
    fn checked_kind(&self) -> Result<JobKind, ApiError> {
        let Some(fields) = KINDS.iter().find(|fields| fields.kind.name() == self.kind) else {
            let kinds: Vec<_> =
                KINDS.iter().map(|fields| format!("`{}` with `{}`", fields.kind, fields.needed.join("`, `"))).collect();
            return Err(ApiError::bad_request(format!(
                "kind: jobs of kind `{}` cannot be enqueued from outside; there are {}",
                short(&self.kind),
                kinds.join(", ")
            )));
        };
        let KindFields { kind, needed, more } = fields;
        for (field, is_given) in self.given() {
            if is_given && !needed.contains(&field) && !more.contains(&field) {
                return Err(ApiError::bad_request(format!("{field}: a job of kind `{kind}` has no `{field}`")));
            }
            if !is_given && needed.contains(&field) {
                return Err(ApiError::bad_request(format!("{field}: a job of kind `{kind}` needs `{field}`")));
            }
        }
        Ok(*kind)
    }

    /// The fields that not all kinds have, and whether they are there.
    fn given(&self) -> [(&'static str, bool); 11] {
        [
            ("target", self.target.is_some()),
            ("rule", self.rule.is_some()),
            ("step", self.step.is_some()),
            ("from", self.from.is_some()),
            ("to", self.to.is_some()),
            ("metric", self.metric.is_some()),
            ("text", self.text.is_some()),
            ("every", self.every.is_some()),
            ("file", self.file.is_some()),
            ("format", self.format.is_some()),
            ("series", self.series.is_some()),
        ]
    }

    fn rollup(&self, now_ms: TimestampMs) -> Result<JobTemplate, ApiError> {
        let has_range = self.from.is_some() || self.to.is_some() || self.metric.is_some();
        let step = match text(&self.step) {
            "range" => return self.rollup_range(now_ms),
            step @ ("seal" | "compact") if has_range => {
                return Err(ApiError::bad_request(format!(
                    "step: `{step}` has no `from`, `to` and `metric`; `range` has them"
                )));
            }
            "seal" => RollupStep::Seal,
            "compact" => RollupStep::Compact,
            other => {
                let text = format!("step: no such step: `{}`; there are seal, compact, range", short(other));
                return Err(ApiError::bad_request(text));
            }
        };
        of_payload(&RollupPayload { step })
    }

    fn rollup_range(&self, now_ms: TimestampMs) -> Result<JobTemplate, ApiError> {
        let range = RollupRange { window: self.window("range", now_ms)?, metric: self.metric.clone() };
        let template = of_payload(&RollupPayload { step: RollupStep::Range(range) })?;
        Ok(JobTemplate { queue: Some(ROLLUP_RANGE_QUEUE.to_owned()), time_limit: Some(RANGE_TIME_LIMIT), ..template })
    }

    fn import(&self) -> Result<JobTemplate, ApiError> {
        let payload = ImportPayload { file: text(&self.file).to_owned(), format: self.format.clone() };
        import::check(&payload).map_err(ApiError::bad_request)?;
        of_payload(&payload)
    }

    fn export(&self, now_ms: TimestampMs) -> Result<JobTemplate, ApiError> {
        let time = |moment: &Option<Moment>| moment.as_ref().map(Moment::text);
        let payload = ExportPayload {
            series: self.series.clone().unwrap_or_default(),
            window: TimeWindow { from: time(&self.from), to: time(&self.to) },
            format: text(&self.format).to_owned(),
        };
        export_of(&payload, now_ms).map_err(ApiError::bad_request)?;
        of_payload(&payload)
    }

    fn backtest(&self, console: &Console, now_ms: TimestampMs) -> Result<JobTemplate, ApiError> {
        let window = self.window("backtest", now_ms)?;
        let rules = &console.seams.rules;
        let rule = match (&self.text, &self.rule) {
            (Some(text), name) => {
                let tried = rules.read_rule(text, name.as_deref());
                tried.map_err(|errors| ApiError::bad_request("text: has mistakes").details(errors.to_string()))?
            }
            (None, Some(name)) => Arc::clone(rules.rule(name).ok_or_else(|| no_such_rule(name))?),
            (None, None) => {
                return Err(ApiError::bad_request("rule: a job of kind `backtest` needs `rule`, or a rule as `text`"));
            }
        };
        let every = self.every.as_ref().map(|span| span.duration("every")).transpose()?;
        let range = range_at(&window, now_ms).map_err(ApiError::bad_request)?;
        backtest_steps(range, every.unwrap_or(rule.every)).map_err(ApiError::bad_request)?;
        of_payload(&BacktestPayload {
            rule: self.rule.clone(),
            text: self.text.clone(),
            window,
            every_ms: every.map(|every| u64::try_from(every.as_millis()).unwrap_or(u64::MAX)),
        })
    }

    /// The range of time, which needs a beginning; without an end it goes up to now.
    fn window(&self, what: &str, now_ms: TimestampMs) -> Result<TimeWindow, ApiError> {
        let Some(from) = &self.from else {
            return Err(ApiError::bad_request(format!("from: `{what}` needs `from`, such as `1w-ago`")));
        };
        let to = self.to.as_ref().map_or_else(|| "now".to_owned(), Moment::text);
        let window = TimeWindow { from: Some(from.text()), to: Some(to) };
        range_at(&window, now_ms).map_err(ApiError::bad_request)?;
        Ok(window)
    }
}

fn text(field: &Option<String>) -> &str {
    field.as_deref().unwrap_or_default()
}

/// As much of a text as an error repeats.
fn short(text: &str) -> String {
    text.chars().take(64).collect()
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
            let shown = short(target);
            Err(ApiError::bad_request(format!(
                "target: there is no target `{shown}`; see `[[collect]]` in tidemark.toml"
            )))
        }
    }
}

fn evaluate(console: &Console, rule: &str) -> Result<JobTemplate, ApiError> {
    match console.seams.rules.rule(rule) {
        None => Err(no_such_rule(rule)),
        Some(known) if !known.enabled => Err(ApiError::bad_request(format!("rule: `{}` is not enabled", short(rule)))),
        Some(_) => of_payload(&EvaluatePayload { rule: rule.to_owned() }),
    }
}

fn no_such_rule(rule: &str) -> ApiError {
    ApiError::bad_request(format!("rule: there is no rule `{}`", short(rule)))
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
        let kind = |text: &str| body(text).checked_kind().map_err(|error| error.to_string());
        assert_eq!(kind(r#"{"kind":"evaluate","rule":"disk.full"}"#), Ok(JobKind::Evaluate));
        assert!(kind(r#"{"kind":"evaluate"}"#).unwrap_err().contains("needs `rule`"));
        assert!(kind(r#"{"kind":"evaluate","rule":"a","step":"seal"}"#).unwrap_err().contains("has no `step`"));
        let error = kind(r#"{"kind":"write"}"#).unwrap_err();
        assert!(error.contains("`collect` with `target`, `evaluate` with `rule`, `rollup` with `step`"), "{error}");
        assert_eq!(kind(r#"{"kind":"export","format":"csv","series":["os.cpu"]}"#), Ok(JobKind::Export));
        assert!(kind(r#"{"kind":"import","file":"a.csv","series":[]}"#).unwrap_err().contains("has no `series`"));
        assert!(kind(r#"{"kind":"backtest","rule":"a"}"#).unwrap_err().contains("needs `from`"));
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
    fn exports_and_imports_make_sense_before_they_are_enqueued() {
        let export = |text: &str| body(text).export(1_767_225_600_000).map_err(|error| error.message().to_owned());
        let made =
            export(r#"{"kind":"export","format":"csv","series":["os.cpu{host=web*}"],"from":"1d-ago"}"#).unwrap();
        let payload = ExportPayload::decode(&made.payload).unwrap();
        assert_eq!(payload.window, TimeWindow { from: Some("1d-ago".to_owned()), to: None });
        assert!(export(r#"{"kind":"export","format":"xml"}"#).unwrap_err().starts_with("format: "));
        assert!(export(r#"{"kind":"export","format":"csv","series":["{"]}"#).unwrap_err().starts_with("series: "));
        assert!(export(r#"{"kind":"export","format":"csv","to":"then"}"#).unwrap_err().starts_with("to: "));
        let import = |text: &str| body(text).import();
        assert_eq!(import(r#"{"kind":"import","file":"a.csv"}"#).unwrap().kind, JobKind::Import);
        let error = import(r#"{"kind":"import","file":"a","format":"xml"}"#).unwrap_err();
        assert!(error.message().starts_with("format: "), "{error}");
        let error = import(r#"{"kind":"import","file":"../a"}"#).unwrap_err();
        assert!(error.message().contains("is no name of a file"), "{error}");
    }

    #[test]
    fn only_steps_that_there_are_can_be_asked_for() {
        let rollup = |text: &str| body(text).rollup(1_767_225_600_000);
        let refused = |text: &str, expect: &str| {
            let error = rollup(text).unwrap_err();
            assert!(error.message().contains(expect), "{text}: {error}");
        };
        assert_eq!(rollup(r#"{"kind":"rollup","step":"compact"}"#).unwrap().queue, None);
        refused(r#"{"kind":"rollup","step":"purge"}"#, "there are seal, compact, range");
        refused(r#"{"kind":"rollup","step":"seal","from":"1d-ago"}"#, "`seal` has no `from`");
        refused(r#"{"kind":"rollup","step":"range"}"#, "`range` needs `from`");
        refused(r#"{"kind":"rollup","step":"range","from":"now"}"#, "must be later");
        let range = rollup(r#"{"kind":"rollup","step":"range","from":1767139200,"metric":"os.cpu"}"#).unwrap();
        let window = TimeWindow { from: Some("1767139200".to_owned()), to: Some("now".to_owned()) };
        let expect = RollupRange { window, metric: Some("os.cpu".to_owned()) };
        assert_eq!(RollupPayload::decode(&range.payload).unwrap().step, RollupStep::Range(expect));
        assert_eq!(range.queue.as_deref(), Some("rollup.range"));
    }
}
