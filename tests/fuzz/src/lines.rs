//! Lines of exports and imports.

use tidemark_api::point_lines::LineFormat;
use tidemark_model::{
    HISTOGRAM_PART_KEY, Histogram, HistogramPart, PointBatch, PointBatchBuilder, PointRef, SeriesKey, Value,
};

/// What a line holds; `None` when it is wrong or holds nothing.
#[must_use]
pub fn read_line(format: LineFormat, line: &str) -> Option<PointBatch> {
    let mut builder = PointBatchBuilder::default();
    format.read(line, &mut builder, None).is_ok_and(|has_point| has_point).then(|| builder.finish())
}

/// A line for each thing of a batch; `None` when the form has none for one of them.
#[must_use]
pub fn written(format: LineFormat, batch: &PointBatch) -> Option<String> {
    let mut out = Vec::new();
    let points: Vec<PointRef> = batch.points().collect();
    let starts: Vec<usize> = batch.datapoint_starts().collect();
    let ends = starts.iter().skip(1).copied().chain([points.len()]);
    for (start, end) in starts.iter().copied().zip(ends) {
        let first = points[start];
        let key = batch.series_key(first.series);
        if key.tag(HISTOGRAM_PART_KEY).is_some() {
            let histogram = histogram(batch, &points[start..end]);
            format.of_histograms(&key)?.write(first.timestamp, &histogram, &mut out);
        } else {
            format.of_series(&key)?.write(first.timestamp, first.value, &mut out);
        }
    }
    Some(String::from_utf8(out).expect("text"))
}

fn histogram(batch: &PointBatch, points: &[PointRef]) -> Histogram {
    let mut histogram = Histogram::default();
    for point in points {
        let part = HistogramPart::of_series(&batch.series_key(point.series)).expect("a part");
        let Value::Int(count) = point.value else { panic!("a count") };
        histogram.set_part(part, count).expect("what was a part is one");
    }
    histogram
}

/// Series, times, types and bits of the values of a batch.
#[must_use]
pub fn content(batch: &PointBatch) -> Vec<(SeriesKey, i64, bool, u64)> {
    let columns = batch.columns();
    columns.map(|(series, at, bits, float)| (batch.series_key(series as usize), at, float, bits)).collect()
}
