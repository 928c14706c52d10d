//! `GET /api/tidemark/v1/export?m=…&start=…&end=…&format=…`.

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    body::BodyStream,
    http::{StatusCode, header},
    web::{self, Data},
};
use bytes::Bytes;
use futures_util::stream;
use tidemark_model::BoxFuture;
use tidemark_query::{parse_time, parse_time_zone};
use tokio::sync::mpsc;

use super::{ALL_TIMES, Export, ExportError, LineSink, left_out_text};
use crate::{
    console::Console,
    error::{ApiError, WARNING_HEADER},
    point_lines::LineFormat,
    state::AppState,
};

/// Pieces that wait for the client; the reading waits when there are more.
const PIECES_WAITING: usize = 4;

type Piece = Result<Bytes, ApiError>;

pub(crate) async fn get(
    request: HttpRequest,
    state: Data<AppState>,
    console: Data<Console>,
) -> Result<HttpResponse, ApiError> {
    let (export, format) = asked(&request, &state)?;
    let turn = Arc::clone(&console.exports).try_acquire_owned();
    let turn = turn.map_err(|_| ApiError::unavailable("enough exports are under way; try again when one has ended"))?;
    export.check_names(state.seams.catalog.as_ref()).await.map_err(checked)?;
    let left_out = export.left_out(state.seams.catalog.as_ref()).await?;
    let (sender, pieces) = mpsc::channel::<Piece>(PIECES_WAITING);
    let of_task = Arc::clone(&state);
    state.tasks.spawn(async move {
        let _turn = turn;
        let mut sink = PieceSink(sender.clone());
        let seams = &of_task.seams;
        let running = export.run(seams.reader.as_ref(), seams.catalog.as_ref(), &mut sink);
        let failed = tokio::select! {
            biased;
            () = of_task.abandon.cancelled() => Some(ApiError::unavailable("the server is ending")),
            () = sender.closed() => None,
            ended = running => ended.err().and_then(api_error),
        };
        if let Some(error) = failed {
            tracing::warn!(%error, "an export was broken off");
            // Whoever asked may have gone; the connection is cut either way.
            sender.send(Err(error)).await.ok();
        }
    });
    // An error cuts the connection, so that half an export cannot be taken for a whole one.
    let body = stream::unfold(pieces, |mut pieces| async move { Some((pieces.recv().await?, pieces)) });
    let no_store = (header::CACHE_CONTROL, "no-store");
    let mut response = HttpResponse::Ok();
    response.content_type(format.content_type()).insert_header(no_store);
    if let Some(text) = left_out_text(left_out) {
        response.insert_header((WARNING_HEADER, text));
    }
    Ok(response.body(BodyStream::new(body)))
}

fn asked(request: &HttpRequest, state: &AppState) -> Result<(Export, LineFormat), ApiError> {
    let pairs = web::Query::<Vec<(String, String)>>::from_query(request.query_string());
    let pairs = pairs.map_err(|error| ApiError::bad_request("Invalid query string").details(error.to_string()))?;
    let (now, zone) = (state.seams.clock.now_ms(), &state.options.opentsdb.timezone);
    let zone = parse_time_zone(zone).map_err(|error| ApiError::bad_request(error.to_string()))?;
    let time = |text: &str| parse_time(text, now, zone).map_err(|error| ApiError::bad_request(error.to_string()));
    let (mut selectors, mut range, mut format) = (Vec::new(), ALL_TIMES, LineFormat::Json);
    for (name, text) in pairs.into_inner() {
        match name.as_str() {
            "m" => selectors.push(text),
            "start" => range.start = time(&text)?,
            "end" => range.end = time(&text)?,
            "format" => format = text.parse().map_err(|error| ApiError::bad_request(format!("format: {error}")))?,
            _ => {
                return Err(ApiError::bad_request(format!(
                    "no such parameter: `{name}`; there are m, start, end, format"
                )));
            }
        }
    }
    let export = Export::new(&selectors, range, format).map_err(|error| ApiError::bad_request(error.to_string()))?;
    Ok((export, format))
}

fn checked(error: ExportError) -> ApiError {
    match error {
        ExportError::Read(error) => error.into(),
        other => ApiError::bad_request(other.to_string()),
    }
}

/// `None` when nobody is there to be told.
fn api_error(error: ExportError) -> Option<ApiError> {
    match error {
        ExportError::Gone => None,
        ExportError::Read(error) => Some(error.into()),
        other => Some(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, other.to_string())),
    }
}

/// Hands lines to the client's connection.
struct PieceSink(mpsc::Sender<Piece>);

impl LineSink for PieceSink {
    fn take(&mut self, lines: Vec<u8>) -> BoxFuture<'_, Result<(), ExportError>> {
        Box::pin(async move { self.0.send(Ok(lines.into())).await.map_err(|_| ExportError::Gone) })
    }
}
