//! Reads series in bounded memory and writes their lines.

use std::sync::Arc;

use tidemark_model::{
    PointColumns, ReadError, ReadRequest, SeriesCatalog, SeriesReader, SeriesSelector, SeriesSet, TimeRange, Tsuid,
};

use super::{
    exporter::{ExportError, LineSink},
    held::Held,
    windows::Windows,
};
use crate::point_lines::LineFormat;

/// Bytes of lines that are handed over at once.
pub(super) const PIECE_BYTES: usize = 256 << 10;

/// What an export reads from, and what it makes of it.
#[derive(Clone, Copy)]
pub(super) struct Reading<'a> {
    pub(super) reader: &'a dyn SeriesReader,
    pub(super) catalog: &'a dyn SeriesCatalog,
    pub(super) range: TimeRange,
    pub(super) format: LineFormat,
    pub(super) held: Held,
}

impl Reading<'_> {
    /// Writes some series over the whole range; how many lines.
    pub(super) async fn write_series(&self, tsuids: Vec<Tsuid>, sink: &mut dyn LineSink) -> Result<u64, ExportError> {
        let mut lines = 0;
        let mut sets = vec![(tsuids, Windows::of(self.range))];
        while let Some((tsuids, mut windows)) = sets.pop() {
            while let Some(window) = windows.current().filter(|_| !tsuids.is_empty()) {
                match self.open(&tsuids, window).await {
                    Ok(set) => {
                        windows.advance(set.statistics().points);
                        lines += self.write_set(set, sink).await?;
                    }
                    Err(error) if !is_too_much(&error) => return Err(error.into()),
                    Err(error) if windows.is_long() || tsuids.len() == 1 => {
                        if !windows.halve() {
                            return Err(error.into());
                        }
                    }
                    // Blocks of a day count as a whole: fewer series and not shorter windows.
                    Err(_) => {
                        let (first, second) = tsuids.split_at(tsuids.len() / 2);
                        sets.push((second.to_vec(), Windows::of(windows.rest())));
                        sets.push((first.to_vec(), Windows::of(windows.rest())));
                        break;
                    }
                }
            }
        }
        Ok(lines)
    }

    pub(super) async fn open(&self, tsuids: &[Tsuid], range: TimeRange) -> Result<Box<dyn SeriesSet>, ReadError> {
        let selector = SeriesSelector::Tsuids(tsuids.to_vec());
        self.reader.open(ReadRequest { selector, range, limits: self.held.window, rollup: None }).await
    }

    async fn write_set(&self, set: Box<dyn SeriesSet>, sink: &mut dyn LineSink) -> Result<u64, ExportError> {
        let set: Arc<dyn SeriesSet> = set.into();
        let (mut count, mut next) = (0, 0);
        while next < set.series().len() {
            let (of_thread, format, start) = (Arc::clone(&set), self.format, next);
            let (lines, written, read) = on_a_thread(move || lines(of_thread.as_ref(), format, start)).await?;
            count += written;
            next = read;
            if !lines.is_empty() {
                sink.take(lines).await?;
            }
        }
        Ok(count)
    }
}

/// Lines of series from `start` on, until there are enough for a piece; how many, and the first series that is left.
fn lines(set: &dyn SeriesSet, format: LineFormat, start: usize) -> Result<(Vec<u8>, u64, usize), ReadError> {
    let (mut out, mut count, mut next) = (Vec::new(), 0, start);
    let mut columns = PointColumns::default();
    for series in set.series().iter().skip(start) {
        next += 1;
        let Some(line) = format.of_series(&series.key) else { continue };
        set.read(next - 1, &mut columns)?;
        count += columns.len() as u64;
        columns.iter().for_each(|point| line.write(point.timestamp, point.value, &mut out));
        if out.len() >= PIECE_BYTES {
            break;
        }
    }
    Ok((out, count, next))
}

/// Decodes where it holds up nobody.
pub(super) async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
) -> Result<T, ReadError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| ReadError::Unavailable(error.to_string()))?
}

pub(super) fn is_too_much(error: &ReadError) -> bool {
    matches!(error, ReadError::TooManyPoints { .. } | ReadError::TooManyBytes { .. })
}
