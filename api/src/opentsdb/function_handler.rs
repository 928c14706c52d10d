//! `/api/query/gexp`: functions over series, in Graphite's manner.

use std::{ops::ControlFlow, sync::Arc};

use actix_web::{HttpRequest, HttpResponse, web::Data};
use tidemark_model::TimeRange;
use tidemark_query::QueryError;

use super::{
    function_request::{FunctionRequest, from_query_string},
    query_annotations::QueryAnnotations,
    query_answer::AnswerWriter,
    query_handler::moment,
    query_run::{Answer, ChannelSink, Part, Run, Turn, check, shown},
};
use crate::{
    error::ApiError,
    http::query_string::QueryString,
    queries::{Asked, ClientIdentity},
    state::AppState,
};

pub(crate) async fn get(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, ApiError> {
    let flags = QueryString::parse(request.query_string())?;
    let asked = from_query_string(&flags, moment(&state), state.options.limits.query_parts)?;
    let queries: Vec<_> = asked.functions.sources().iter().map(|source| source.query(&asked.window)).collect();
    check(&queries)?;
    let state = state.into_inner();
    let described = shown(&asked.window, asked.functions.sources().iter().map(|source| &source.sub_query));
    let entered = Asked::new(ClientIdentity::of(&request), "/api/query/gexp", described);
    let mut turn = Turn::wait(&state, entered).await?;
    let parts = turn.open(queries, asked.unresolved).await?;
    let range = TimeRange::inclusive(asked.window.start, asked.window.end);
    let series = parts.iter().flat_map(|part| part.series.series());
    let annotations = Arc::new(turn.in_time(QueryAnnotations::read(&state, asked.shape, range, series)).await?);
    turn.answer(FunctionAnswer { asked, parts, annotations }).await
}

/// The results of one expression after the other, in the shape of a plain query.
struct FunctionAnswer {
    asked: FunctionRequest,
    parts: Vec<Part>,
    annotations: Arc<QueryAnnotations>,
}

impl Answer for FunctionAnswer {
    fn write(&self, run: &Run<'_>, sink: &mut ChannelSink<'_>) -> Result<Vec<u8>, ApiError> {
        let cancelled = || run.is_cancelled();
        let control = run.control(&cancelled);
        let FunctionRequest { window, functions, shape, .. } = &self.asked;
        let mut writer = AnswerWriter::new(*shape, window.ms_resolution, Arc::clone(&self.annotations));
        let mut gone = false;
        let source = |index: usize| {
            let found = functions.sources().get(index).zip(self.parts.get(index));
            let (source, part) = found.ok_or(QueryError::Cancelled)?;
            run.groups_of(source, part, &control)
        };
        let evaluated = functions.evaluate(&control, source, |mut group, index| {
            if !window.ms_resolution {
                group.truncate_to_seconds();
            }
            run.count_shown(1, group.timestamps.len());
            let part = self.parts.get(index);
            writer.begin_sub_query(part.map(|part| part.series.statistics()).unwrap_or_default());
            let described = part.map_or("null", |part| &part.described);
            gone = run.writing(|| writer.group(&group, described, sink)).is_err() || run.is_late();
            if gone { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        evaluated.map_err(|error| run.error(&error))?;
        if gone {
            return Err(run.ended());
        }
        if shape.summary || shape.statistics {
            writer.summary(run.summary(), run.warnings());
        }
        Ok(writer.finish())
    }
}
