//! What is exported, and in which order.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use tidemark_model::{
    BoxFuture, CatalogError, HISTOGRAM_PART_KEY, HistogramPart, MetricSpace, NameKind, RESERVED, ReadError,
    SeriesCatalog, SeriesInfo, SeriesKey, SeriesPage, SeriesReader, SeriesSelector, TIMESTAMP_MAX, TagMatch,
    TagPredicate, TimeRange, is_reserved, written_metric,
};
use tidemark_query::{ParseError, parse_selector};

use super::{held::Held, reading::Reading};
use crate::point_lines::LineFormat;

/// Series of one window.
const SERIES_AT_ONCE: usize = 500;
/// Series that the index is asked for at once.
const SERIES_LISTED: usize = 50_000;
/// Metrics that an export of everything may have.
const METRICS_MAX: usize = 20_000_000;
/// Steps of an export that one metric or selector counts for.
const STEPS_OF_SELECTOR: u64 = 100;

/// Every timestamp that a point may have.
pub const ALL_TIMES: TimeRange = TimeRange { start: 0, end: TIMESTAMP_MAX + 1 };

/// Says of how many metrics an export leaves out what its lines cannot say; nothing when there are none.
#[must_use]
pub fn left_out_text(metrics: usize) -> Option<String> {
    (metrics > 0)
        .then(|| format!("metrics whose histograms or rollups are left out: {metrics}; lines of json have them"))
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

impl From<CatalogError> for ExportError {
    fn from(error: CatalogError) -> Self {
        Self::Read(error.0)
    }
}

/// What to export.
#[derive(Clone, Debug)]
pub struct Export {
    /// Series, such as `os.cpu{host=web*}`; everything when there is none.
    selectors: Vec<SeriesSelector>,
    range: TimeRange,
    format: LineFormat,
    pub(super) held: Held,
}

/// The names under which metrics have other values than points, by metric.
type StoredNames = BTreeMap<String, Vec<String>>;

impl Export {
    /// An export of the series of `texts`, such as `os.cpu{host=web*}`, or of everything when there are none.
    ///
    /// # Errors
    /// [`ExportError::Selector`] for a text that is none.
    pub fn new(texts: &[String], range: TimeRange, format: LineFormat) -> Result<Self, ExportError> {
        let selectors = texts.iter().map(|text| parse_selector(text)).collect::<Result<_, _>>()?;
        Ok(Self { selectors, range, format, held: Held::default() })
    }

    /// How many metrics have values that this form of lines cannot say: histograms, and what others aggregated. They are
    /// left out.
    ///
    /// # Errors
    /// What the catalogue says.
    pub async fn left_out(&self, catalog: &dyn SeriesCatalog) -> Result<usize, CatalogError> {
        if self.format.has_other_values() {
            return Ok(0);
        }
        Ok(self.other_values(catalog).await?.len())
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
        for selector in self.selectors(catalog, &StoredNames::new()).await?.iter() {
            let mut offset = 0;
            loop {
                let page = page(self.format, catalog, selector, offset).await?;
                offset += page.series.len();
                if page.series.is_empty() || offset >= page.total {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Writes all of it but for [`Self::left_out`]; how many lines there were.
    ///
    /// # Errors
    /// [`ExportError::Read`], [`ExportError::Unsayable`], or what the sink says. What was written until then is right.
    pub async fn run(
        &self,
        reader: &dyn SeriesReader,
        catalog: &dyn SeriesCatalog,
        sink: &mut dyn LineSink,
    ) -> Result<u64, ExportError> {
        let heading = self.format.heading();
        if !heading.is_empty() {
            sink.take(heading.into_bytes()).await?;
        }
        let other_values = match self.format.has_other_values() {
            true => self.other_values(catalog).await?,
            false => StoredNames::new(),
        };
        let selectors = self.selectors(catalog, &other_values).await?;
        let reading = Reading { reader, catalog, range: self.range, format: self.format, held: self.held };
        let steps = Steps { before: 0, length: STEPS_OF_SELECTOR, total: selectors.len() as u64 * STEPS_OF_SELECTOR };
        let mut run = Run { reading, sink, steps, lines: 0 };
        for selector in selectors.iter() {
            run.selector(selector, &other_values).await?;
        }
        Ok(run.lines)
    }

    /// What was asked for, or every metric.
    async fn selectors(
        &self,
        catalog: &dyn SeriesCatalog,
        other_values: &StoredNames,
    ) -> Result<Cow<'_, [SeriesSelector]>, ExportError> {
        if !self.selectors.is_empty() {
            return Ok(Cow::Borrowed(&self.selectors));
        }
        let mut metrics: BTreeSet<String> =
            catalog.suggest(NameKind::Metric, "", METRICS_MAX).await?.into_iter().collect();
        metrics.extend(other_values.keys().cloned());
        Ok(metrics.into_iter().map(SeriesSelector::metric).collect())
    }

    async fn other_values(&self, catalog: &dyn SeriesCatalog) -> Result<StoredNames, CatalogError> {
        let asked: BTreeSet<&str> = self.selectors.iter().filter_map(metric_of).collect();
        let mut names = StoredNames::new();
        for stored in catalog.suggest(NameKind::Metric, &RESERVED.to_string(), METRICS_MAX).await? {
            let metric = written_metric(&stored);
            if self.selectors.is_empty() || asked.contains(metric) {
                names.entry(metric.to_owned()).or_default().push(stored);
            }
        }
        Ok(names)
    }
}

/// An export under way.
struct Run<'a> {
    reading: Reading<'a>,
    sink: &'a mut dyn LineSink,
    steps: Steps,
    lines: u64,
}

/// How far it is.
struct Steps {
    before: u64,
    /// Of what is being written.
    length: u64,
    total: u64,
}

impl Run<'_> {
    /// The points of a selector, and the other values that its metric has.
    async fn selector(&mut self, selector: &SeriesSelector, other_values: &StoredNames) -> Result<(), ExportError> {
        let stored = metric_of(selector).and_then(|metric| other_values.get(metric)).map_or(&[][..], Vec::as_slice);
        let end = self.steps.before + STEPS_OF_SELECTOR;
        self.steps.length = STEPS_OF_SELECTOR / (1 + stored.len() as u64);
        match self.series(selector).await {
            // It has other values alone.
            Err(ExportError::Read(ReadError::UnknownName { kind: NameKind::Metric, .. })) if !stored.is_empty() => {}
            written => written?,
        }
        for name in stored {
            self.steps.before += self.steps.length;
            self.series(&in_space(selector, name)).await?;
        }
        self.steps.before = end;
        self.sink.progress(end, self.steps.total);
        Ok(())
    }

    async fn series(&mut self, selector: &SeriesSelector) -> Result<(), ExportError> {
        let mut offset = 0;
        loop {
            let page = page(self.reading.format, self.reading.catalog, selector, offset).await?;
            if page.series.is_empty() {
                return Ok(());
            }
            for some in page.series.chunks(SERIES_AT_ONCE) {
                let part = |info: &SeriesInfo| HistogramPart::of_series(&info.key);
                let tsuids = some.iter().filter(|info| part(info).is_none()).map(|info| info.tsuid.clone()).collect();
                self.lines += self.reading.write_series(tsuids, self.sink).await?;
                for info in some.iter().filter(|info| part(info) == Some(HistogramPart::Shape)) {
                    self.lines += self.reading.write_histograms(info, self.sink).await?;
                }
                offset += some.len();
                let share = offset as u64 * self.steps.length / (page.total as u64).max(1);
                self.sink.progress(self.steps.before + share.min(self.steps.length), self.steps.total);
            }
            if offset >= page.total {
                return Ok(());
            }
        }
    }
}

/// Some series of a selector, all of which can be said.
async fn page(
    format: LineFormat,
    catalog: &dyn SeriesCatalog,
    selector: &SeriesSelector,
    offset: usize,
) -> Result<SeriesPage, ExportError> {
    let page = catalog.lookup(selector, offset, SERIES_LISTED).await?;
    let mut written = page.series.iter().filter(|series| !is_reserved(series.key.metric()));
    match written.find(|series| !format.can_write(&series.key)) {
        Some(series) => Err(ExportError::Unsayable(series.key.clone())),
        None => Ok(page),
    }
}

fn metric_of(selector: &SeriesSelector) -> Option<&str> {
    match selector {
        SeriesSelector::Tags { metric, .. } => metric.as_deref(),
        SeriesSelector::Tsuids(_) => None,
    }
}

/// The same tags of another stored name; of histograms one series each.
fn in_space(selector: &SeriesSelector, stored: &str) -> SeriesSelector {
    let SeriesSelector::Tags { mut predicates, exact_keys, .. } = selector.clone() else { return selector.clone() };
    let exact_keys = exact_keys && !predicates.is_empty();
    if matches!(MetricSpace::of_stored_name(stored), Some((MetricSpace::Histogram, _))) {
        let matches = TagMatch::OneOf(vec![HistogramPart::Shape.tag_value()]);
        predicates.push(TagPredicate { key: HISTOGRAM_PART_KEY.to_owned(), matches });
    }
    SeriesSelector::Tags { metric: Some(stored.to_owned()), predicates, exact_keys }
}
