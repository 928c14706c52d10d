//! Reads and writes.

use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

use tidemark_model::{
    BoxFuture, CatalogError, NameKind, PointColumns, RESERVED, ReadError, ReadLimits, ReadRequest, SeriesCatalog,
    SeriesKey, SeriesPage, SeriesReader, SeriesSelector, SeriesSet, TIMESTAMP_MAX, TimeRange, Tsuid, is_reserved,
    written_metric,
};
use tidemark_query::{ParseError, parse_selector};

use crate::point_lines::LineFormat;

/// What is held of one window: about 100 MB at most.
pub const WINDOW_LIMITS: ReadLimits =
    ReadLimits { series_max: SERIES_AT_ONCE, points_max: 5_000_000, bytes_max: 64 << 20 };
/// Series of one window.
const SERIES_AT_ONCE: usize = 500;
/// Series that the index is asked for at once.
const SERIES_LISTED: usize = 50_000;
/// Metrics that an export of everything may have.
const METRICS_MAX: usize = 20_000_000;
/// Bytes of lines that are handed over at once.
const PIECE_BYTES: usize = 256 << 10;
/// Steps of an export that one metric or selector counts for.
const STEPS_OF_SELECTOR: u64 = 100;
/// Milliseconds of a day.
const DAY_MS: i64 = 24 * 3_600_000;
/// Points of a window below which the next one is longer.
const POINTS_FEW: u64 = 1_000_000;

/// Every timestamp that a point may have.
pub const ALL_TIMES: TimeRange = TimeRange { start: 0, end: TIMESTAMP_MAX + 1 };

/// Says of how many metrics an export leaves out what lines cannot say; nothing when there are none.
#[must_use]
pub fn left_out_text(metrics: usize) -> Option<String> {
    (metrics > 0).then(|| format!("metrics whose histograms or rollups are left out: {metrics}; a backup has them"))
}

/// Where lines go.
pub trait LineSink: Send {
    /// Takes whole lines; the reading waits until they are taken.
    ///
    /// # Errors
    /// What ends the export, such as that nobody wants it any more.
    fn take(&mut self, lines: Vec<u8>) -> BoxFuture<'_, Result<(), ExportError>>;

    /// Hears how far the export is: `done` of `total` steps of equal size, by guess.
    fn progress(&mut self, _done: u64, _total: u64) {}
}

/// Why an export ended early.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// What is to be exported makes no sense.
    #[error(transparent)]
    Selector(#[from] ParseError),
    /// The store said no.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The form of lines has no way to say a name.
    #[error(
        "series `{0}` has a name with a blank, or a tag key with `=`, which lines of OpenTSDB cannot say: choose `json` or `csv`"
    )]
    Unsayable(SeriesKey),
    /// The lines could not be written.
    #[error("write the lines: {0}")]
    Write(String),
    /// Nobody wants the lines any more.
    #[error("the export is not wanted any more")]
    Gone,
}

/// What to export.
#[derive(Clone, Debug)]
pub struct Export {
    /// Series, such as `os.cpu{host=web*}`; everything when there is none.
    selectors: Vec<SeriesSelector>,
    range: TimeRange,
    format: LineFormat,
}

impl Export {
    /// An export of the series of `texts`, such as `os.cpu{host=web*}`, or of everything when there are none.
    ///
    /// # Errors
    /// [`ExportError::Selector`] for a text that is none.
    pub fn new(texts: &[String], range: TimeRange, format: LineFormat) -> Result<Self, ExportError> {
        let selectors = texts.iter().map(|text| parse_selector(text)).collect::<Result<_, _>>()?;
        Ok(Self { selectors, range, format })
    }

    /// How many metrics have values that lines cannot say: histograms, and what others aggregated. They are left out.
    ///
    /// # Errors
    /// What the catalogue says.
    pub async fn left_out(&self, catalog: &dyn SeriesCatalog) -> Result<usize, CatalogError> {
        let reserved = catalog.suggest(NameKind::Metric, &RESERVED.to_string(), METRICS_MAX).await?;
        let is_asked_for = |metric: &&str| {
            let metrics = self.selectors.iter().filter_map(|selector| match selector {
                SeriesSelector::Tags { metric, .. } => metric.as_deref(),
                SeriesSelector::Tsuids(_) => None,
            });
            self.selectors.is_empty() || metrics.into_iter().any(|asked| asked == *metric)
        };
        let metrics: BTreeSet<&str> = reserved.iter().map(|name| written_metric(name)).filter(is_asked_for).collect();
        Ok(metrics.len())
    }

    /// Whether every series of it can be said in lines of its form.
    ///
    /// # Errors
    /// [`ExportError::Unsayable`] names one that cannot; and what the catalogue says.
    pub async fn check_names(&self, catalog: &dyn SeriesCatalog) -> Result<(), ExportError> {
        // The other forms can say all names.
        if self.format != LineFormat::OpenTsdb {
            return Ok(());
        }
        for selector in self.selectors(catalog).await?.iter() {
            let mut offset = 0;
            loop {
                let page = self.page(catalog, selector, offset).await?;
                offset += page.series.len();
                if page.series.is_empty() || offset >= page.total {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Writes all of it but for [`Self::left_out`]; how many points there were.
    ///
    /// # Errors
    /// [`ExportError::Read`], [`ExportError::Unsayable`], or what the sink says. What was written until then is right.
    pub async fn run(
        &self,
        reader: &dyn SeriesReader,
        catalog: &dyn SeriesCatalog,
        sink: &mut dyn LineSink,
    ) -> Result<u64, ExportError> {
        let mut points = 0;
        let heading = self.format.heading();
        if !heading.is_empty() {
            sink.take(heading.into_bytes()).await?;
        }
        let selectors = self.selectors(catalog).await?;
        let steps = selectors.len() as u64 * STEPS_OF_SELECTOR;
        for (before, selector) in (0_u64..).zip(selectors.iter()) {
            let (before, mut offset) = (before * STEPS_OF_SELECTOR, 0);
            loop {
                let page = self.page(catalog, selector, offset).await?;
                for series in page.series.chunks(SERIES_AT_ONCE) {
                    let tsuids = series.iter().map(|series| series.tsuid.clone()).collect();
                    points += self.some(reader, tsuids, sink).await?;
                    offset += series.len();
                    let share = offset as u64 * STEPS_OF_SELECTOR / (page.total as u64).max(1);
                    sink.progress(before + share.min(STEPS_OF_SELECTOR), steps);
                }
                if page.series.is_empty() || offset >= page.total {
                    break;
                }
            }
        }
        Ok(points)
    }

    /// What was asked for, or every metric.
    async fn selectors(&self, catalog: &dyn SeriesCatalog) -> Result<Cow<'_, [SeriesSelector]>, ExportError> {
        if !self.selectors.is_empty() {
            return Ok(Cow::Borrowed(&self.selectors));
        }
        let metrics = catalog.suggest(NameKind::Metric, "", METRICS_MAX).await.map_err(|error| error.0)?;
        Ok(metrics.into_iter().map(SeriesSelector::metric).collect())
    }

    /// Some series of a selector, all of which can be said.
    async fn page(
        &self,
        catalog: &dyn SeriesCatalog,
        selector: &SeriesSelector,
        offset: usize,
    ) -> Result<SeriesPage, ExportError> {
        let page = catalog.lookup(selector, offset, SERIES_LISTED).await.map_err(|error| error.0)?;
        let mut written = page.series.iter().filter(|series| !is_reserved(series.key.metric()));
        match written.find(|series| !self.format.can_write(&series.key)) {
            Some(series) => Err(ExportError::Unsayable(series.key.clone())),
            None => Ok(page),
        }
    }

    /// Some series over the whole range, the oldest window first.
    async fn some(
        &self,
        reader: &dyn SeriesReader,
        tsuids: Vec<Tsuid>,
        sink: &mut dyn LineSink,
    ) -> Result<u64, ExportError> {
        let mut points = 0;
        let mut sets = vec![(tsuids, self.range.start)];
        while let Some((tsuids, mut start)) = sets.pop() {
            let mut length = self.range.end.saturating_sub(start);
            while start < self.range.end {
                let end = start.saturating_add(length).min(self.range.end);
                let selector = SeriesSelector::Tsuids(tsuids.clone());
                let request = ReadRequest { range: TimeRange::new(start, end), ..request(selector) };
                let (is_long, is_one) = (end - start > DAY_MS, tsuids.len() == 1);
                match reader.open(request).await {
                    Ok(set) => {
                        length = if set.statistics().points < POINTS_FEW { length.saturating_mul(2) } else { length };
                        points += self.write(set, sink).await?;
                        start = end;
                    }
                    Err(error) if !is_too_much(&error) => return Err(error.into()),
                    Err(_) if is_long || (is_one && end - start > 1) => length = (end - start) / 2,
                    // Blocks of a day count as a whole: fewer series and not shorter windows.
                    Err(error) if is_one => return Err(error.into()),
                    Err(_) => {
                        let (first, second) = tsuids.split_at(tsuids.len() / 2);
                        sets.push((second.to_vec(), start));
                        sets.push((first.to_vec(), start));
                        break;
                    }
                }
            }
        }
        Ok(points)
    }

    async fn write(&self, set: Box<dyn SeriesSet>, sink: &mut dyn LineSink) -> Result<u64, ExportError> {
        let set: Arc<dyn SeriesSet> = set.into();
        let (mut points, mut next) = (0, 0);
        while next < set.series().len() {
            let (of_thread, format, start) = (Arc::clone(&set), self.format, next);
            let written = tokio::task::spawn_blocking(move || lines(of_thread.as_ref(), format, start)).await;
            let unfinished = |error: tokio::task::JoinError| ReadError::Unavailable(error.to_string());
            let (lines, count, read) = written.map_err(unfinished)??;
            points += count;
            next = read;
            if !lines.is_empty() {
                sink.take(lines).await?;
            }
        }
        Ok(points)
    }
}

/// Lines of series from `start` on, until there are enough for a piece; how many, and the first series that is left.
fn lines(set: &dyn SeriesSet, format: LineFormat, start: usize) -> Result<(Vec<u8>, u64, usize), ReadError> {
    let (mut out, mut points, mut next) = (Vec::new(), 0, start);
    let mut columns = PointColumns::default();
    for series in set.series().iter().skip(start) {
        next += 1;
        if is_reserved(series.key.metric()) {
            continue;
        }
        set.read(next - 1, &mut columns)?;
        points += columns.len() as u64;
        columns.iter().for_each(|point| format.write(&series.key, point.timestamp, point.value, &mut out));
        if out.len() >= PIECE_BYTES {
            break;
        }
    }
    Ok((out, points, next))
}

fn is_too_much(error: &ReadError) -> bool {
    matches!(error, ReadError::TooManyPoints { .. } | ReadError::TooManyBytes { .. })
}

fn request(selector: SeriesSelector) -> ReadRequest {
    ReadRequest { selector, range: TimeRange::ALL, limits: WINDOW_LIMITS, rollup: None }
}
