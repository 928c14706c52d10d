//! Files for `import` jobs: `PUT`, `GET` and `DELETE /api/tidemark/v1/uploads/{name}`; and what jobs made,
//! `GET /api/tidemark/v1/jobs/{id}/output`.

use std::{fs::File, io::Read, sync::Arc};

use actix_web::{
    HttpRequest, HttpResponse,
    body::SizedStream,
    http::{StatusCode, header},
    web::{self, Data, Payload},
};
use bytes::Bytes;
use futures_util::stream;
use serde_json::json;
use tidemark_queue::JobId;
use tidemark_workers::{JobFileError, JobFileKind, JobFiles};

use super::{guard::guard, jobs::parse};
use crate::{
    console::Console, error::ApiError, export::file_name, http::body::read_in_pieces, point_lines::LineFormat,
    state::AppState,
};

/// Bytes that are written or read at once.
const PIECE_BYTES: usize = 256 << 10;

/// `PUT /uploads/{name}`: takes the place of the file of that name once all of it has come.
pub(super) async fn put(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
    console: Data<Console>,
    name: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    guard(&request, &console)?;
    let (files, of_file) = (Arc::clone(&console.seams.files), name.clone());
    let mut file = Some(blocking(move || files.create(JobFileKind::Upload, &of_file)).await?);
    let mut waiting = Vec::with_capacity(PIECE_BYTES);
    let mut write = async |piece: Vec<u8>| {
        let Some(mut begun) = file.take() else { return Err(ApiError::unavailable("the file is lost")) };
        file = Some(blocking(move || begun.append(&piece).map(|()| begun)).await?);
        Ok(())
    };
    read_in_pieces(payload, &state.options.limits, async |chunk: Bytes| {
        waiting.extend_from_slice(&chunk);
        if waiting.len() < PIECE_BYTES {
            return Ok(());
        }
        write(std::mem::replace(&mut waiting, Vec::with_capacity(PIECE_BYTES))).await
    })
    .await?;
    write(waiting).await?;
    let file = file.ok_or_else(|| ApiError::unavailable("the file is lost"))?;
    let bytes = blocking(move || file.finish()).await?;
    Ok(HttpResponse::Created().json(json!({"file": *name, "bytes": bytes})))
}

/// `GET /uploads`.
pub(super) async fn list(console: Data<Console>) -> Result<HttpResponse, ApiError> {
    let files = Arc::clone(&console.seams.files);
    let found = blocking(move || files.list(JobFileKind::Upload)).await?;
    let shown: Vec<_> = found
        .iter()
        .map(|entry| json!({"file": entry.name, "bytes": entry.bytes, "written_ms": entry.written_ms}))
        .collect();
    Ok(HttpResponse::Ok().json(json!({ "uploads": shown })))
}

/// `DELETE /uploads/{name}`.
pub(super) async fn delete(
    request: HttpRequest,
    console: Data<Console>,
    name: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    guard(&request, &console)?;
    let (files, name) = (Arc::clone(&console.seams.files), name.into_inner());
    blocking(move || files.delete(JobFileKind::Upload, &name)).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `GET /jobs/{id}/output`.
pub(super) async fn output(console: Data<Console>, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let id: JobId = parse("job", &id)?;
    let files = Arc::clone(&console.seams.files);
    let Some((name, content_type, file, bytes)) = blocking(move || open_output(&files, id)).await? else {
        let text = format!(
            "there is no output of job {id} here: only `export` jobs make one, on the host of their worker, and it goes \
             after `jobs.keep`"
        );
        return Err(ApiError::new(StatusCode::NOT_FOUND, text));
    };
    let pieces = stream::unfold(Some(file), |file| async move {
        let file = file?;
        match blocking(move || read_piece(file)).await {
            Ok(None) => None,
            Ok(Some((piece, file))) => Some((Ok(piece), Some(file))),
            // The connection is cut, so that half a file cannot be taken for a whole one.
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(HttpResponse::Ok()
        .content_type(content_type)
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")))
        .body(SizedStream::new(bytes, pieces)))
}

/// Name, type, file and length of what a job made.
type Output = (String, &'static str, File, u64);

fn open_output(files: &JobFiles, id: JobId) -> Result<Option<Output>, JobFileError> {
    for format in LineFormat::ALL {
        let name = file_name(id, format);
        match files.open(JobFileKind::Output, &name) {
            Ok((file, bytes)) => return Ok(Some((name, format.content_type(), file, bytes))),
            Err(JobFileError::Missing(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// The next bytes of a file; `None` at its end.
fn read_piece(file: File) -> Result<Option<(Bytes, File)>, JobFileError> {
    let mut piece = Vec::with_capacity(PIECE_BYTES);
    match Read::take(&file, PIECE_BYTES as u64).read_to_end(&mut piece) {
        Ok(0) => Ok(None),
        Ok(_) => Ok(Some((piece.into(), file))),
        Err(source) => Err(JobFileError::Disk { what: "read the file".to_owned(), source }),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, JobFileError> + Send + 'static,
) -> Result<T, ApiError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(api_error),
        Err(error) => Err(ApiError::unavailable(error.to_string())),
    }
}

fn api_error(error: JobFileError) -> ApiError {
    let text = error.to_string();
    match error {
        JobFileError::Name(_) => ApiError::bad_request(text),
        JobFileError::Missing(_) => ApiError::new(StatusCode::NOT_FOUND, text),
        JobFileError::Full { .. } | JobFileError::DiskFull(_) => {
            ApiError::new(StatusCode::INSUFFICIENT_STORAGE, text).closing()
        }
        JobFileError::Disk { source, .. } => ApiError::unavailable(text).details(source.to_string()),
    }
}
