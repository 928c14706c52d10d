//! `/api/query/exp`: arithmetic between metrics.

use std::ops::ControlFlow;

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Payload},
};
use tidemark_query::QueryError;

use super::{
    expression_answer::TableWriter,
    expression_request::{ExpressionBody, ExpressionRequest},
    query_handler::moment,
    query_request::unresolved,
    query_run::{Answer, ChannelSink, Part, Run, Turn, check},
    wire,
};
use crate::{
    error::ApiError,
    http::query_string::QueryString,
    queries::{Asked, ClientIdentity},
    state::AppState,
};

pub(crate) async fn post(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    let flags = QueryString::parse(request.query_string())?;
    let body: ExpressionBody = wire::read_json(&request, payload, &state).await?;
    let asked = body.into_request(moment(&state), state.options.limits.query_parts)?;
    let queries: Vec<_> = asked.query.sources().map(|source| source.query(&asked.window)).collect();
    check(&queries)?;
    let state = state.into_inner();
    let unresolved = unresolved(None, &flags, state.options.opentsdb.extras);
    let entered = Asked::new(ClientIdentity::of(&request), "/api/query/exp", asked.echo.clone());
    let mut turn = Turn::wait(&state, entered).await?;
    let parts = turn.open(queries, unresolved).await?;
    turn.answer(ExpressionAnswer { asked, parts }).await
}

/// The tables of all outputs.
struct ExpressionAnswer {
    asked: ExpressionRequest,
    parts: Vec<Part>,
}

impl Answer for ExpressionAnswer {
    fn write(&self, run: &Run<'_>, sink: &mut ChannelSink<'_>) -> Result<Vec<u8>, ApiError> {
        let cancelled = || run.is_cancelled();
        let control = run.control(&cancelled);
        let sources: Vec<_> = self.asked.query.sources().zip(&self.parts).collect();
        let source = |index: usize| {
            let (source, part) = sources.get(index).ok_or(QueryError::Cancelled)?;
            run.groups_of(source, part, &control)
        };
        let (mut writer, mut gone) = (TableWriter::new(), false);
        let evaluated = self.asked.query.evaluate(&control, source, |table| {
            run.count_shown(table.columns.len(), table.columns.len() * table.timestamps.len());
            gone = run.writing(|| writer.table(table, sink)).is_err() || run.is_late();
            if gone { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        evaluated.map_err(|error| run.error(&error))?;
        if gone {
            return Err(run.ended());
        }
        Ok(writer.finish(&self.asked.echo))
    }
}
