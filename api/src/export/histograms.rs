//! Histograms as lines: put together again from the series that their counts are kept in.
//!
//! One of these series says which buckets count at a moment. It is read first, window by window; then the series of just
//! those buckets, one after the other, into the histograms of a piece of the window. So it does not matter how many kinds
//! of buckets a metric had over the years, and what is held is a bounded number of counts. A histogram that is written
//! again with other buckets while it is being read may come out as half of each.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tidemark_model::{
    HISTOGRAM_PART_KEY, Histogram, HistogramPart, PointColumns, ReadError, SeriesInfo, SeriesSelector, SeriesSet,
    TagMatch, TagPredicate, TimeRange, TimestampMs, Tsuid, Value, is_reserved,
};

use super::{
    exporter::{ExportError, LineSink},
    reading::{PIECE_BYTES, Reading, is_too_much, on_a_thread},
    windows::Windows,
};
use crate::point_lines::HistogramLine;

impl Reading<'_> {
    /// Writes the histograms of a series over the whole range; how many. `info` is the series that says which buckets they
    /// have.
    pub(super) async fn write_histograms(
        &self,
        info: &SeriesInfo,
        sink: &mut dyn LineSink,
    ) -> Result<u64, ExportError> {
        let Some(line) = self.format.of_histograms(&info.key) else { return Ok(0) };
        let line = Arc::new(line);
        let (mut count, mut windows) = (0, Windows::of(self.range));
        while let Some(window) = windows.current() {
            match self.open(std::slice::from_ref(&info.tsuid), window).await {
                Ok(set) => {
                    windows.advance(set.statistics().points);
                    let moments = on_a_thread(move || moments(set.as_ref())).await?;
                    count += moments.len() as u64;
                    self.write_moments(info, &line, &moments, sink).await?;
                }
                Err(error) if is_too_much(&error) && windows.halve() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(count)
    }

    async fn write_moments(
        &self,
        info: &SeriesInfo,
        line: &Arc<HistogramLine>,
        mut moments: &[Moment],
        sink: &mut dyn LineSink,
    ) -> Result<(), ExportError> {
        while !moments.is_empty() {
            let (count, parts) = self.parts_of_first(info, moments).await?;
            let (these, others) = moments.split_at_checked(count).unwrap_or((moments, &[]));
            moments = others;
            let mut piece = self.read_parts(Piece::of(these), parts).await?;
            while !piece.is_written() {
                let line = Arc::clone(line);
                let (lines, of_thread) = on_a_thread(move || Ok((piece.lines(&line), piece))).await?;
                piece = of_thread;
                sink.take(lines).await?;
            }
        }
        Ok(())
    }

    /// How many of the moments can be held together, at least one, and the series that have their counts.
    async fn parts_of_first(&self, info: &SeriesInfo, moments: &[Moment]) -> Result<(usize, Vec<Tsuid>), ExportError> {
        let mut shapes_max = self.held.shapes;
        loop {
            let shapes = first_shapes(moments, shapes_max);
            let page = self.catalog.lookup(&parts_of(info, shapes.clone()), 0, self.held.parts_listed).await?;
            if page.total > page.series.len() && shapes.len() > 1 {
                shapes_max = shapes.len() / 2;
                continue;
            }
            let mut buckets: BTreeMap<u32, usize> = shapes.into_iter().map(|shape| (shape, 0)).collect();
            for part in page.series.iter().filter_map(|info| HistogramPart::of_series(&info.key)) {
                if let HistogramPart::Bucket { shape, .. } = part
                    && let Some(buckets) = buckets.get_mut(&shape)
                {
                    *buckets += 1;
                }
            }
            let count = fitting(moments, &buckets, self.held.counts);
            let wanted: BTreeSet<u32> = moments.iter().take(count).map(|moment| moment.shape).collect();
            let is_wanted = |info: &&SeriesInfo| match HistogramPart::of_series(&info.key) {
                Some(HistogramPart::Bucket { shape, .. }) => wanted.contains(&shape),
                Some(HistogramPart::Underflow | HistogramPart::Overflow) => true,
                Some(HistogramPart::Shape) | None => false,
            };
            return Ok((count, page.series.iter().filter(is_wanted).map(|info| info.tsuid.clone()).collect()));
        }
    }

    async fn read_parts(&self, mut piece: Piece, parts: Vec<Tsuid>) -> Result<Piece, ExportError> {
        let mut sets: Vec<Vec<Tsuid>> = parts.chunks(self.held.parts).map(<[Tsuid]>::to_vec).collect();
        while let Some(tsuids) = sets.pop() {
            match self.open(&tsuids, piece.range()).await {
                Ok(set) => piece = on_a_thread(move || piece.take_in(set.as_ref()).map(|()| piece)).await?,
                Err(error) if is_too_much(&error) && tsuids.len() > 1 => {
                    let (first, second) = tsuids.split_at(tsuids.len() / 2);
                    sets.extend([first.to_vec(), second.to_vec()]);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(piece)
    }
}

/// When there is a histogram, and which buckets it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moment {
    timestamp: TimestampMs,
    shape: u32,
}

/// The moments of a set of the one series that tells them.
fn moments(set: &dyn SeriesSet) -> Result<Vec<Moment>, ReadError> {
    let mut columns = PointColumns::default();
    if !set.series().is_empty() {
        set.read(0, &mut columns)?;
    }
    let moment = |point: tidemark_model::Point| match point.value {
        Value::Int(shape) => Some(Moment { timestamp: point.timestamp, shape: u32::try_from(shape).ok()? }),
        Value::Float(_) => None,
    };
    Ok(columns.iter().filter_map(moment).collect())
}

/// The first different shapes, so many at most.
fn first_shapes(moments: &[Moment], shapes_max: usize) -> BTreeSet<u32> {
    let mut shapes = BTreeSet::new();
    for moment in moments {
        if shapes.len() == shapes_max {
            break;
        }
        shapes.insert(moment.shape);
    }
    shapes
}

/// How many moments, at least one, have no more counts together than are held at once and no other shape than these.
fn fitting(moments: &[Moment], buckets: &BTreeMap<u32, usize>, counts_max: usize) -> usize {
    let mut counts = 0;
    let fits = |moment: &&Moment| {
        // One histogram more has its counts below and above.
        let more = buckets.get(&moment.shape).map(|buckets| buckets + 2);
        more.is_some_and(|more| {
            counts += more;
            counts <= counts_max
        })
    };
    moments.iter().take_while(fits).count().max(1)
}

/// The series of all counts of such histograms.
fn parts_of(info: &SeriesInfo, shapes: BTreeSet<u32>) -> SeriesSelector {
    let is_part = move |value: &str| match HistogramPart::from_tag_value(value) {
        Some(HistogramPart::Bucket { shape, .. }) => shapes.contains(&shape),
        Some(HistogramPart::Underflow | HistogramPart::Overflow) => true,
        Some(HistogramPart::Shape) | None => false,
    };
    let tags = info.key.tags().filter(|(key, _)| !is_reserved(key));
    let tag = |(key, value): (&str, &str)| TagPredicate {
        key: key.to_owned(),
        matches: TagMatch::OneOf(vec![value.to_owned()]),
    };
    let part = TagPredicate { key: HISTOGRAM_PART_KEY.to_owned(), matches: TagMatch::Where(Arc::new(is_part)) };
    SeriesSelector::Tags {
        metric: Some(info.key.metric().to_owned()),
        predicates: tags.map(tag).chain([part]).collect(),
        exact_keys: true,
    }
}

/// Histograms that are being put together.
struct Piece {
    moments: Vec<Moment>,
    histograms: Vec<Histogram>,
    written: usize,
}

impl Piece {
    fn of(moments: &[Moment]) -> Self {
        Self { moments: moments.to_vec(), histograms: vec![Histogram::default(); moments.len()], written: 0 }
    }

    fn range(&self) -> TimeRange {
        let ends = [self.moments.first(), self.moments.last()].map(|end| end.map_or(0, |moment| moment.timestamp));
        let [first, last] = ends;
        TimeRange::new(first, last.saturating_add(1))
    }

    /// Takes in the counts of some series.
    fn take_in(&mut self, set: &dyn SeriesSet) -> Result<(), ReadError> {
        let mut columns = PointColumns::default();
        for (position, info) in set.series().iter().enumerate() {
            let Some(part) = HistogramPart::of_series(&info.key) else { continue };
            set.read(position, &mut columns)?;
            let mut histograms = self.moments.iter().zip(&mut self.histograms).peekable();
            for point in columns.iter() {
                while histograms.next_if(|(moment, _)| moment.timestamp < point.timestamp).is_some() {}
                let Some((moment, histogram)) = histograms.next_if(|(moment, _)| moment.timestamp == point.timestamp)
                else {
                    continue;
                };
                let counts = match part {
                    HistogramPart::Bucket { shape, .. } => shape == moment.shape,
                    HistogramPart::Underflow | HistogramPart::Overflow => true,
                    HistogramPart::Shape => false,
                };
                if let Value::Int(count) = point.value
                    && counts
                {
                    let set = histogram.set_part(part, count);
                    set.map_err(|error| ReadError::Corrupt(format!("a histogram of {}: {error}", info.key)))?;
                }
            }
        }
        Ok(())
    }

    fn is_written(&self) -> bool {
        self.written >= self.moments.len()
    }

    /// The next lines.
    fn lines(&mut self, line: &HistogramLine) -> Vec<u8> {
        let mut out = Vec::new();
        for (moment, histogram) in self.moments.iter().zip(&self.histograms).skip(self.written) {
            line.write(moment.timestamp, histogram, &mut out);
            self.written += 1;
            if out.len() >= PIECE_BYTES {
                break;
            }
        }
        out
    }
}
