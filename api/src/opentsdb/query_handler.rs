//! `/api/query`.
//!
//! A query that deletes does so when its series are open, whose points are a snapshot, and then answers as any other: with
//! what is gone.

use std::{ops::ControlFlow, sync::Arc};

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Payload},
};
use tidemark_model::{DeleteOutcome, DeleteRefusal, DeleteRequest, TimeRange};
use tidemark_query::SubQuery;

use super::{
    query_annotations::QueryAnnotations,
    query_answer::AnswerWriter,
    query_request::{AnswerShape, Moment, QueryBody, QueryRequest, from_query_string},
    query_run::{Answer, ChannelSink, Part, Run, Turn, shown},
    wire,
};
use crate::{
    auth::Visitor,
    error::ApiError,
    http::query_string::QueryString,
    queries::{Asked, ClientIdentity},
    state::AppState,
};

pub(crate) async fn get(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, ApiError> {
    let flags = QueryString::parse(request.query_string())?;
    refuse_prometheus(&flags)?;
    let asked = from_query_string(&flags, moment(&state), state.options.limits.query_parts)?;
    answer(&request, state.into_inner(), asked).await
}

pub(crate) async fn post(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    let body = wire::read_short(&request, payload, &state).await?;
    post_body(&request, body.text()?, state).await
}

/// A body that was read already.
pub(crate) async fn post_body(
    request: &HttpRequest,
    body: &str,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    let flags = QueryString::parse(request.query_string())?;
    refuse_prometheus(&flags)?;
    let asked = read(body)?.into_request(moment(&state), &flags, state.options.limits.query_parts)?;
    answer(request, state.into_inner(), asked).await
}

pub(crate) async fn delete(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, ApiError> {
    let flags = QueryString::parse(request.query_string())?;
    let mut asked = from_query_string(&flags, moment(&state), state.options.limits.query_parts)?;
    asked.delete = true;
    answer(&request, state.into_inner(), asked).await
}

/// Clients of Prometheus send forms.
fn read(body: &str) -> Result<QueryBody, ApiError> {
    if !body.trim_start().starts_with('{')
        && let Ok(form) = QueryString::parse(body)
    {
        refuse_prometheus(&form)?;
    }
    wire::json_of(body)
}

/// `/api/v1/query` is also a path of Prometheus. A request that is meant for it and gets here, since it came without the
/// version or the settings say so, is told where Prometheus' path is, and not that something of ours is missing.
fn refuse_prometheus(flags: &QueryString) -> Result<(), ApiError> {
    let is_ours = ["start", "m", "tsuid", "tsuids"].iter().any(|name| flags.has(name));
    if !flags.has("query") || is_ours {
        return Ok(());
    }
    Err(meant_for_nobody())
}

/// What a request is told that is neither OpenTSDB's nor, where it came, Prometheus'.
pub(crate) fn meant_for_nobody() -> ApiError {
    ApiError::bad_request(
        "this is OpenTSDB's `/api/query`: it wants `start` and `m` or `tsuids`, or a body with `queries`",
    )
    .details("`query` belongs to Prometheus' API: that is `/prometheus/api/v1/query`")
}

/// The present, and the time zone of this server.
pub(crate) fn moment(state: &AppState) -> Moment<'_> {
    let opentsdb = &state.options.opentsdb;
    Moment {
        now: state.seams.clock.now_ms(),
        time_zone: &opentsdb.timezone,
        week_start: opentsdb.week_start,
        extras: opentsdb.extras,
    }
}

async fn answer(request: &HttpRequest, state: Arc<AppState>, asked: QueryRequest) -> Result<HttpResponse, ApiError> {
    if asked.delete {
        check_may_delete(request, &state)?;
    }
    let queries = vec![asked.query.clone()];
    let described = shown(&asked.query, asked.query.sub_queries.iter());
    let entered = Asked::new(ClientIdentity::of(request), "/api/query", described);
    let mut turn = Turn::wait(&state, entered).await?;
    let parts = turn.open(queries, asked.unresolved).await?;
    let range = TimeRange::inclusive(asked.query.start, asked.query.end);
    if asked.delete {
        turn.whole(delete_points(&state, &parts, range).await)?;
    }
    let series = parts.iter().flat_map(|part| part.series.series());
    let annotations = Arc::new(turn.in_time(QueryAnnotations::read(&state, asked.shape, range, series)).await?);
    let ms_resolution = asked.query.ms_resolution;
    turn.answer(QueryAnswer { parts, annotations, shape: asked.shape, ms_resolution }).await
}

/// Whether this visitor may delete anything here.
fn check_may_delete(request: &HttpRequest, state: &AppState) -> Result<(), ApiError> {
    if !state.options.opentsdb.mode.writes() {
        let details = "this server only reads (`opentsdb.mode`)";
        return Err(ApiError::bad_request("Bad request").details(details));
    }
    if !state.options.opentsdb.allow_delete {
        let details = "Deleting data is not enabled (`opentsdb.allow_delete`)";
        return Err(ApiError::bad_request("Bad request").details(details));
    }
    match Visitor::of(request).filter(|visitor| !visitor.operates) {
        Some(visitor) => {
            let message = format!("token `{}` may not delete points: it needs the role `operate`", visitor.name);
            Err(ApiError::new(StatusCode::FORBIDDEN, message))
        }
        None => Ok(()),
    }
}

/// Deletes what the sub-queries match from the start to the end of the query, both included, and nothing around it.
async fn delete_points(state: &AppState, parts: &[Part], range: TimeRange) -> Result<(), ApiError> {
    for part in parts {
        let Some(selector) = part.selector.clone() else { continue };
        let request = DeleteRequest { selector, range, series_max: state.options.limits.query_reads.series_max };
        match state.seams.deleter.delete(&request).await {
            DeleteOutcome::Done(_) => {}
            DeleteOutcome::Refused(DeleteRefusal::Selection(error)) => return Err(error.into()),
            DeleteOutcome::Refused(DeleteRefusal::Store(refusal)) => {
                return Err(ApiError::from(&refusal).details("these points are still there; send the request again"));
            }
            DeleteOutcome::Unknown(reason) => {
                let details = "points may be deleted or not; send the request again";
                return Err(ApiError::unavailable(reason).details(details));
            }
        }
    }
    Ok(())
}

/// The groups of all sub-queries, each as it comes.
struct QueryAnswer {
    parts: Vec<Part>,
    annotations: Arc<QueryAnnotations>,
    shape: AnswerShape,
    ms_resolution: bool,
}

impl Answer for QueryAnswer {
    fn write(&self, run: &Run<'_>, sink: &mut ChannelSink<'_>) -> Result<Vec<u8>, ApiError> {
        let cancelled = || run.is_cancelled();
        let control = run.control(&cancelled);
        let mut writer = AnswerWriter::new(self.shape, self.ms_resolution, Arc::clone(&self.annotations));
        for part in &self.parts {
            let mut gone = false;
            writer.begin_sub_query(part.series.statistics());
            let evaluated = part.plan.evaluate(part.series.as_ref(), &control, |group| {
                gone = run.writing(|| writer.group(&group, &part.described, sink)).is_err() || run.is_late();
                if gone { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            run.count(evaluated.map_err(|error| run.error(&error))?);
            if gone {
                return Err(run.ended());
            }
        }
        if self.shape.summary || self.shape.statistics {
            let mut warnings = run.warnings().to_vec();
            warnings.extend(self.parts.iter().filter_map(|part| of_nonsense(part.plan.sub_query())));
            writer.summary(run.summary(), &warnings);
        }
        Ok(writer.finish())
    }
}

/// Of all complaints about OpenTSDB's numbers the most frequent one: the rate of a counter whose buckets are no values of
/// the counter.
fn of_nonsense(sub_query: &SubQuery) -> Option<String> {
    const NO_VALUES: [&str; 8] = ["sum", "zimsum", "pfsum", "count", "mult", "squareSum", "dev", "diff"];
    let downsample = sub_query.downsample.filter(|downsample| NO_VALUES.contains(&downsample.function.name()))?;
    sub_query.rate.filter(|rate| rate.counter && !rate.pre_downsample)?;
    Some(format!(
        "the rate of a counter is taken of `{downsample}`, whose buckets are no values of the counter; take it before \
         downsampling (`preDownsample`), or downsample by `max` or `last`"
    ))
}
