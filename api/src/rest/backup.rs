//! `POST /api/tidemark/v1/backup`: the chunks of a backup of the store, for a client that keeps them in a file.
//!
//! The server keeps nothing about it: a client that was cut off asks again with the cursor of its last chunk. The reading
//! waits for the client, and a client that takes nothing for `limits.response_timeout` is cut off like any other.

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    body::BodyStream,
    http::{StatusCode, header},
    web::Data,
};
use bytes::Bytes;
use futures_util::stream;
use tidemark_model::BoxFuture;
use tokio::sync::mpsc;

use super::guard::guard;
use crate::{console::Console, error::ApiError, http::query_string::QueryString, state::AppState};

/// Chunks that wait for the client; the reading waits when there are more.
const PIECES_WAITING: usize = 2;
/// About how many bytes of entries there are, for a progress bar.
const ESTIMATE: &str = "x-tidemark-estimated-bytes";

/// Where the pieces of a backup go.
pub type BackupPieces = mpsc::Sender<Result<Bytes, ApiError>>;

/// Takes backups of the store.
pub trait BackupSource: Send + Sync {
    /// About how many bytes of entries a backup has, if anybody knows.
    fn estimated_bytes(&self) -> Option<u64>;

    /// Begins a backup, or goes on behind the chunk with this cursor. The future hands over piece after piece and ends when
    /// there are no more, or with a sentence that says why there could be no more.
    ///
    /// # Errors
    /// [`BackupRefusal`]; nothing was begun then.
    fn begin(
        &self,
        cursor: Option<&str>,
        pieces: BackupPieces,
    ) -> Result<BoxFuture<'static, Result<(), String>>, BackupRefusal>;
}

/// Why no backup is begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackupRefusal {
    /// The cursor is none.
    Cursor(String),
    /// Another backup is being taken.
    Busy,
}

pub(super) async fn take(
    request: HttpRequest,
    state: Data<AppState>,
    console: Data<Console>,
) -> Result<HttpResponse, ApiError> {
    guard(&request, &console)?;
    let query = QueryString::parse(request.query_string())?;
    let source = console.seams.backups.as_ref().ok_or_else(ApiError::endpoint_not_found)?;
    let (sender, pieces) = mpsc::channel(PIECES_WAITING);
    let taking = source.begin(query.get("cursor"), sender.clone()).map_err(|refusal| match refusal {
        BackupRefusal::Cursor(reason) => ApiError::bad_request(format!("cursor: {reason}")),
        BackupRefusal::Busy => ApiError::unavailable("another backup is being taken; one is taken at a time"),
    })?;
    let of_task = Arc::clone(&state);
    state.tasks.spawn(async move {
        let failed = tokio::select! {
            biased;
            () = of_task.abandon.cancelled() => Some("the server is ending".to_owned()),
            () = sender.closed() => None,
            taken = taking => taken.err(),
        };
        if let Some(reason) = failed {
            tracing::warn!(reason, "a backup was broken off");
            let error = ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, reason);
            // Whoever asked may have gone; the connection is cut either way.
            sender.send(Err(error)).await.ok();
        }
    });
    let mut response = HttpResponse::Ok();
    response.content_type("application/octet-stream").insert_header((header::CACHE_CONTROL, "no-store"));
    if let Some(bytes) = source.estimated_bytes() {
        response.insert_header((ESTIMATE, bytes.to_string()));
    }
    // An error cuts the connection, so that half a backup cannot be taken for a whole one.
    let body = stream::unfold(pieces, |mut pieces| async move { Some((pieces.recv().await?, pieces)) });
    Ok(response.body(BodyStream::new(body)))
}
