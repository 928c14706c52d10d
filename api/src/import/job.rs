//! `import` jobs: a file that was uploaded.

use std::sync::Arc;

use serde_json::json;
use tidemark_model::{BoxFuture, PointSink};
use tidemark_queue::ImportPayload;
use tidemark_workers::{Handler, JobContext, JobError, JobFileError, JobFileKind, JobFiles, JobOutput};

use super::{LineBatch, LineBatchBuilder, LineReader, LineRules, write_patiently};
use crate::point_lines::{LineFormat, LineFormatError};

/// Lines looked at for one batch, also when few of them have points.
const BATCH_LINES: usize = 50_000;
/// Lines with mistakes that the job names one by one; it keeps a hundred lines in all.
const NAMED_MAX: u64 = 50;

/// Writes what the lines of files hold. Idempotent: a point that is written again is the same point.
pub struct ImportHandler {
    files: Arc<JobFiles>,
    sink: Arc<dyn PointSink>,
    rules: Arc<LineRules>,
}

/// A file that is being read.
struct Reading {
    reader: LineReader,
    format: Option<LineFormat>,
    rules: Arc<LineRules>,
    is_over: bool,
}

/// Some of its lines.
struct Part {
    lines: LineBatch,
    /// Lines that hold nothing and should, and what is wrong with them.
    wrong: Vec<(u64, String)>,
}

impl ImportHandler {
    /// Reads `files` and writes into `sink`.
    #[must_use]
    pub fn new(files: Arc<JobFiles>, sink: Arc<dyn PointSink>, rules: LineRules) -> Self {
        Self { files, sink, rules: Arc::new(rules) }
    }

    async fn import(&self, job: JobContext) -> Result<JobOutput, JobError> {
        let ImportPayload { file, format } = job.payload()?;
        let format = format.map(|word| word.parse()).transpose();
        let format = format.map_err(|error: LineFormatError| JobError::Discard(error.to_string()))?;
        let mut reading = self.open(file.clone(), format).await?;
        let (mut stored, mut refused) = (0_u64, 0_u64);
        let mut refuse = |line: u64, reason: &str| {
            refused += 1;
            if refused <= NAMED_MAX {
                job.log(format!("line {line}: {reason}"));
            }
        };
        while !reading.is_over {
            if job.cancel.is_cancelled() {
                job.log(format!("called off: {stored} points of `{file}` are stored"));
                return Err(JobError::Cancelled);
            }
            let read = tokio::task::spawn_blocking(move || reading.part().map(|part| (reading, part))).await;
            let read = read.map_err(|error| JobError::Retry(format!("read `{file}`: {error}"), None))?;
            // What is cut off or damaged is so the next time, too.
            let (back, part) = read.map_err(|error| JobError::Discard(format!("read `{file}`: {error}")))?;
            reading = back;
            part.wrong.iter().for_each(|(line, reason)| refuse(*line, reason));
            if !part.lines.batch.is_empty() {
                let written = tokio::select! {
                    written = write_patiently(self.sink.as_ref(), &part.lines.batch) => written,
                    () = job.cancel.cancelled() => return Err(JobError::Cancelled),
                };
                let receipt = written.map_err(|reason| JobError::Retry(format!("write `{file}`: {reason}"), None))?;
                let written = part.lines.written(receipt);
                stored += written.stored;
                written.refused.iter().for_each(|(line, reason)| refuse(*line, reason));
            }
            job.progress_at(reading.reader.bytes(), reading.reader.total(), format!("{stored} points are stored"));
        }
        job.log(format!("{stored} points of `{file}` are stored, {refused} lines were left out"));
        Ok(job.answer(&json!({"file": file, "points": stored, "refused": refused})))
    }

    async fn open(&self, file: String, format: Option<LineFormat>) -> Result<Reading, JobError> {
        let (files, rules) = (Arc::clone(&self.files), Arc::clone(&self.rules));
        let opened = tokio::task::spawn_blocking(move || {
            let (source, bytes) = files.open(JobFileKind::Upload, &file)?;
            let reader = LineReader::new(Box::new(source), bytes);
            reader.map_err(|source| JobFileError::Disk { what: format!("read `{file}`"), source })
        });
        let opened = opened.await.map_err(|error| JobError::Retry(error.to_string(), None))?;
        match opened {
            Ok(reader) => Ok(Reading { reader, format, rules, is_over: false }),
            Err(error @ JobFileError::Name(_)) => Err(JobError::Discard(error.to_string())),
            // It may be on the host of another worker, which may get the next attempt.
            Err(error) => {
                Err(JobError::Retry(format!("{error}; workers find what was uploaded to `jobs.folder`"), None))
            }
        }
    }
}

impl Handler for ImportHandler {
    fn run(&self, job: JobContext) -> BoxFuture<'_, Result<JobOutput, JobError>> {
        Box::pin(self.import(job))
    }
}

impl Reading {
    /// The next lines. Blocks.
    fn part(&mut self) -> std::io::Result<Part> {
        let mut lines = LineBatchBuilder::new(&self.rules);
        let mut wrong = Vec::new();
        for _ in 0..BATCH_LINES {
            if lines.is_full() {
                break;
            }
            let Some((number, line)) = self.reader.next_line()? else {
                self.is_over = true;
                break;
            };
            let line = match line {
                Ok(line) => line,
                Err(reason) => {
                    wrong.push((number, reason.to_owned()));
                    continue;
                }
            };
            if self.format.is_none() && !line.trim().is_empty() {
                self.format = Some(LineFormat::of_first_line(line));
            }
            let Some(format) = self.format else { continue };
            if let Err(reason) = lines.add(format, number, line) {
                wrong.push((number, reason));
            }
        }
        Ok(Part { lines: lines.take(), wrong })
    }
}

/// What is wrong with a description of an import, if anything is; for whoever enqueues it.
pub(crate) fn check(payload: &ImportPayload) -> Result<(), String> {
    if let Some(word) = &payload.format {
        word.parse::<LineFormat>().map_err(|error| format!("format: {error}"))?;
    }
    JobFiles::check_name(&payload.file).map_err(|error| error.to_string())
}
