//! `export` jobs: points become a file that can be fetched.

use std::sync::Arc;

use serde_json::json;
use tidemark_model::{BoxFuture, SeriesCatalog, SeriesReader};
use tidemark_queue::{ExportPayload, JobId};
use tidemark_workers::{
    Handler, JobContext, JobError, JobFileError, JobFileKind, JobFiles, JobOutput, UnfinishedFile, range_at,
};

use super::{Export, ExportError, LineSink, left_out_text};
use crate::point_lines::{LineFormat, LineFormatError};

/// Writes points into files. Idempotent: an attempt begins the file anew, and it has its name only when it is whole.
pub struct ExportHandler {
    files: Arc<JobFiles>,
    reader: Arc<dyn SeriesReader>,
    catalog: Arc<dyn SeriesCatalog>,
}

impl ExportHandler {
    /// Reads from `reader` what `catalog` finds, and writes into `files`.
    #[must_use]
    pub fn new(files: Arc<JobFiles>, reader: Arc<dyn SeriesReader>, catalog: Arc<dyn SeriesCatalog>) -> Self {
        Self { files, reader, catalog }
    }

    async fn export(&self, job: JobContext) -> Result<JobOutput, JobError> {
        let payload: ExportPayload = job.payload()?;
        let (export, format) = export_of(&payload, job.job.created_ms).map_err(JobError::Discard)?;
        let (files, name) = (Arc::clone(&self.files), file_name(job.job.id, format));
        let begun = blocking(move || files.create(JobFileKind::Output, &name)).await?;
        let mut sink = FileSink { job: job.clone(), file: Some(begun), failed: None };
        let ended = async {
            let left_out = export.left_out(self.catalog.as_ref()).await.map_err(|error| error.0)?;
            let points = export.run(self.reader.as_ref(), self.catalog.as_ref(), &mut sink).await?;
            Ok((points, left_out))
        };
        let (points, left_out) = match ended.await {
            Ok(ended) => ended,
            Err(ExportError::Gone) => return Err(sink.failed.unwrap_or(JobError::Cancelled)),
            Err(error @ (ExportError::Selector(_) | ExportError::Unsayable(_))) => {
                return Err(JobError::Discard(error.to_string()));
            }
            Err(error) => return Err(JobError::Retry(error.to_string(), None)),
        };
        let file = sink.file.ok_or_else(|| JobError::Retry("the file is lost".to_owned(), None))?;
        let bytes = blocking(move || file.finish()).await?;
        job.log(format!("{points} points in {bytes} bytes"));
        if let Some(text) = left_out_text(left_out) {
            job.log(text);
        }
        let output = format!("/api/tidemark/v1/jobs/{}/output", job.job.id);
        Ok(job.answer(&json!({"points": points, "bytes": bytes, "output": output})))
    }
}

impl Handler for ExportHandler {
    fn run(&self, job: JobContext) -> BoxFuture<'_, Result<JobOutput, JobError>> {
        Box::pin(self.export(job))
    }
}

/// What a payload asks for at a moment.
///
/// # Errors
/// Says which of its fields makes no sense.
pub(crate) fn export_of(payload: &ExportPayload, now_ms: i64) -> Result<(Export, LineFormat), String> {
    let format = payload.format.parse();
    let format: LineFormat = format.map_err(|error: LineFormatError| format!("format: {error}"))?;
    let range = range_at(&payload.window, now_ms)?;
    let export = Export::new(&payload.series, range, format).map_err(|error| format!("series: {error}"))?;
    Ok((export, format))
}

/// The name of the file that a job makes.
pub(crate) fn file_name(job: JobId, format: LineFormat) -> String {
    let ending = match format {
        LineFormat::Json => "jsonl",
        LineFormat::Csv => "csv",
        LineFormat::OpenTsdb => "txt",
    };
    format!("{job}.{ending}")
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, JobFileError> + Send + 'static,
) -> Result<T, JobError> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.map_err(|error| JobError::Retry(format!("write the file: {error}"), None))?;
    done.map_err(|error| JobError::Retry(error.to_string(), None))
}

/// Writes lines into the file, as long as nobody calls the job off.
struct FileSink {
    job: JobContext,
    /// Away while it is written to.
    file: Option<UnfinishedFile>,
    /// Why nothing more is written.
    failed: Option<JobError>,
}

impl LineSink for FileSink {
    fn take(&mut self, lines: Vec<u8>) -> BoxFuture<'_, Result<(), ExportError>> {
        Box::pin(async move {
            let Some(mut file) = self.file.take().filter(|_| !self.job.cancel.is_cancelled()) else {
                return Err(ExportError::Gone);
            };
            match blocking(move || file.append(&lines).map(|()| file)).await {
                Ok(file) => {
                    self.file = Some(file);
                    Ok(())
                }
                Err(error) => {
                    self.failed = Some(error);
                    Err(ExportError::Gone)
                }
            }
        })
    }

    fn progress(&mut self, done: u64, total: u64) {
        self.job.progress(done, total);
    }
}
