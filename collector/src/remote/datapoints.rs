//! A batch as what was sent: each point is an object of `/api/put`, and so is each value of `/api/rollup`, but a histogram
//! is one object of `/api/histogram` and several points of the batch.

use std::{
    fmt::{self, Write as _},
    ops::Range,
};

use tidemark_model::{
    AGGREGATE_KEY, Histogram, HistogramPart, MetricSpace, PointBatch, PointRef, SeriesKey, TimestampMs, Value,
    is_reserved, timestamp_ms, written_metric,
};

/// What the objects of a request are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Points,
    Histograms,
    Rollups,
}

impl Kind {
    /// Where they are posted.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Points => "api/put",
            Self::Histograms => "api/histogram",
            Self::Rollups => "api/rollup",
        }
    }
}

/// Objects of one kind, in the order of the batch.
#[derive(Debug)]
pub(super) struct Datapoints {
    pub(super) kind: Kind,
    batch: PointBatch,
    /// Where each begins in the batch; nothing when each point is one.
    starts: Vec<usize>,
    /// Where each point was in the batch that was sent; nothing when it is this one.
    positions: Vec<usize>,
}

impl Datapoints {
    /// The objects that a batch becomes, kind by kind. No order is lost: what is of different kinds never is of one series.
    pub(super) fn of(batch: PointBatch) -> Vec<Self> {
        let kinds: Vec<Kind> = (0..batch.series_count()).map(|series| kind(batch.series_text(series))).collect();
        if kinds.iter().all(|kind| *kind == Kind::Points) {
            return vec![Self { kind: Kind::Points, batch, starts: Vec::new(), positions: Vec::new() }];
        }
        let of_kind = |kind| {
            let (batch, positions) = batch.filter(|point| kinds.get(point.series) == Some(&kind));
            let starts = if kind == Kind::Histograms { batch.datapoint_starts().collect() } else { Vec::new() };
            Self { kind, batch, starts, positions }
        };
        let all = [Kind::Points, Kind::Histograms, Kind::Rollups].map(of_kind);
        all.into_iter().filter(|sent| sent.len() > 0).collect()
    }

    pub(super) fn len(&self) -> usize {
        if self.starts.is_empty() { self.batch.len() } else { self.starts.len() }
    }

    /// Points that an object is in the batch.
    pub(super) fn points_of(&self, index: usize) -> usize {
        self.start(index + 1) - self.start(index)
    }

    /// Where an object began in the batch that was sent.
    pub(super) fn position(&self, index: usize) -> usize {
        let start = self.start(index);
        self.positions.get(start).copied().unwrap_or(start)
    }

    fn start(&self, index: usize) -> usize {
        match self.starts.get(index) {
            Some(&start) => start,
            None if self.starts.is_empty() => index.min(self.batch.len()),
            None => self.batch.len(),
        }
    }

    /// Calls `each` with the place and the points of each object of a range, until it says no.
    pub(super) fn each(&self, range: Range<usize>, mut each: impl FnMut(usize, &[PointRef]) -> bool) {
        let mut points = self.batch.points().skip(self.start(range.start));
        let mut some = Vec::new();
        for index in range {
            some.clear();
            some.extend(points.by_ref().take(self.points_of(index)));
            if !each(index, &some) {
                return;
            }
        }
    }

    /// What an object is told apart by in a report: its series as it was sent, and its time.
    pub(super) fn identity(&self, points: &[PointRef]) -> Option<(SeriesKey, TimestampMs)> {
        let first = points.first()?;
        let key = self.batch.series_key(first.series);
        let timestamp = timestamp_ms(wire_timestamp(first.timestamp));
        if self.kind == Kind::Points {
            return Some((key, timestamp));
        }
        let tags: Vec<_> = key.tags().filter(|(key, _)| !is_reserved(key)).collect();
        Some((SeriesKey::new(written_metric(key.metric()), &tags), timestamp))
    }

    /// Appends an object.
    pub(super) fn put_object(&self, json: &mut String, points: &[PointRef]) {
        let Some(first) = points.first() else { return };
        let key = self.batch.series_key(first.series);
        let (space, metric) = match MetricSpace::of_stored_name(key.metric()) {
            Some((space, metric)) => (Some(space), metric),
            None => (None, key.metric()),
        };
        // Writing to a text cannot fail.
        let _written =
            write!(json, r#"{{"metric":{},"timestamp":{},"#, Quoted(metric), wire_timestamp(first.timestamp));
        match space {
            Some(MetricSpace::Histogram) => json.push_str(&self.histogram(points).json_fields()),
            space => {
                let _written = match first.value {
                    Value::Int(int) => write!(json, r#""value":{int}"#),
                    // Always with a dot or an exponent, which is how the server knows a double.
                    Value::Float(float) => write!(json, r#""value":{float:?}"#),
                };
                if let Some(space) = space {
                    let _written = write!(json, ",{}", space.json_fields(key.tag(AGGREGATE_KEY)));
                }
            }
        }
        json.push_str(r#","tags":{"#);
        for (position, (name, value)) in key.tags().filter(|(key, _)| !is_reserved(key)).enumerate() {
            let comma = if position == 0 { "" } else { "," };
            let _written = write!(json, "{comma}{}:{}", Quoted(name), Quoted(value));
        }
        json.push_str("}}");
    }

    fn histogram(&self, points: &[PointRef]) -> Histogram {
        let mut histogram = Histogram::default();
        for point in points {
            let key = self.batch.series_key(point.series);
            if let (Some(part), Value::Int(count)) = (HistogramPart::of_series(&key), point.value)
                && let Err(error) = histogram.set_part(part, count)
            {
                // Whoever made the batch had a histogram.
                tracing::warn!(%error, series = %key, "left out a part of a histogram");
            }
        }
        histogram
    }
}

fn kind(series: &str) -> Kind {
    if !is_reserved(series) {
        return Kind::Points;
    }
    let key = SeriesKey::from_canonical(series);
    match MetricSpace::of_stored_name(key.metric()) {
        Some((MetricSpace::Histogram, _)) => Kind::Histograms,
        _ => Kind::Rollups,
    }
}

/// A name as JSON. Nearly none has a character that needs an escape, and none has a control character.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_char('"')?;
        for part in self.0.split_inclusive(['"', '\\']) {
            match part.char_indices().next_back().filter(|(_, last)| matches!(last, '"' | '\\')) {
                Some((at, last)) => write!(out, "{}\\{last}", part.get(..at).unwrap_or_default())?,
                None => out.write_str(part)?,
            }
        }
        out.write_char('"')
    }
}

/// Numbers that fit 32 bits are seconds to the server: the first 50 days of 1970 lose their milliseconds.
pub(super) fn wire_timestamp(timestamp: TimestampMs) -> i64 {
    if timestamp > i64::from(u32::MAX) { timestamp } else { timestamp / 1000 }
}

#[cfg(test)]
mod tests {
    use tidemark_model::{PointBatchBuilder, WrittenRollup};

    use super::*;

    const AT: TimestampMs = 1_795_343_205_000;

    /// A point, two histograms, a pre-aggregate, a rollup, a point.
    fn mixed() -> Vec<Datapoints> {
        let mut builder = PointBatchBuilder::default();
        let tags = || [("host", "h")];
        let mut histogram = Histogram::new(1, 2).unwrap();
        histogram.set(0.0, 1.5, 3).unwrap();
        let rollup = WrittenRollup { interval: "1h".to_owned(), aggregator: "SUM".to_owned() };
        builder.push("m", &mut tags(), AT, Value::Int(1)).unwrap();
        builder.push_histogram("m", &mut tags(), AT, &histogram).unwrap();
        builder.push_histogram("m", &mut tags(), AT + 1, &Histogram::new(1, 2).unwrap()).unwrap();
        let mut of_series = [("_aggregate", "MAX"), ("host", "h")];
        builder.push_in(&MetricSpace::Aggregate, "m", &mut of_series, AT, Value::Float(1.0)).unwrap();
        builder.push_in(&MetricSpace::Rollup(rollup), "m", &mut tags(), AT, Value::Int(4)).unwrap();
        builder.push("m", &mut tags(), AT, Value::Int(5)).unwrap();
        Datapoints::of(builder.finish())
    }

    fn all<T>(sent: &Datapoints, of: impl Fn(&[PointRef]) -> T) -> Vec<T> {
        let mut found = Vec::new();
        sent.each(0..sent.len(), |_, points| {
            found.push(of(points));
            true
        });
        found
    }

    #[test]
    fn what_a_batch_is_of_goes_where_it_belongs() {
        let line = |at: i64, fields: &str, tags: &str| {
            format!(r#"{{"metric":"m","timestamp":{at},{fields},"tags":{{{tags}}}}}"#)
        };
        let host = r#""host":"h""#;
        let expect = [
            ("api/put", vec![line(AT, r#""value":1"#, host), line(AT, r#""value":5"#, host)]),
            (
                "api/histogram",
                vec![
                    line(AT, r#""buckets":{"0.0,1.5":3},"underflow":1,"overflow":2"#, host),
                    line(AT + 1, r#""id":0,"value":"AACBAIIA""#, host),
                ],
            ),
            (
                "api/rollup",
                vec![
                    line(AT, r#""value":1.0,"groupByAggregator":"MAX""#, r#""_aggregate":"MAX","host":"h""#),
                    line(AT, r#""value":4,"interval":"1h","aggregator":"SUM""#, host),
                ],
            ),
        ];
        let object = |sent: &Datapoints, points: &[PointRef]| {
            let mut json = String::new();
            sent.put_object(&mut json, points);
            json
        };
        let sent = mixed();
        let found: Vec<_> =
            sent.iter().map(|sent| (sent.kind.path(), all(sent, |points| object(sent, points)))).collect();
        assert_eq!(found, expect);
    }

    #[test]
    fn everything_is_known_by_its_place_and_by_the_series_that_was_sent() {
        let plain = |at| (SeriesKey::new("m", &[("host", "h")]), at);
        let aggregate = (SeriesKey::new("m", &[("_aggregate", "MAX"), ("host", "h")]), AT);
        let identities: Vec<_> =
            mixed().iter().map(|sent| all(sent, |points| sent.identity(points).unwrap())).collect();
        assert_eq!(identities, [vec![plain(AT); 2], vec![plain(AT), plain(AT + 1)], vec![aggregate, plain(AT)]]);
        // A histogram is a shape, two ends and its buckets.
        let places: Vec<Vec<_>> = mixed()
            .iter()
            .map(|sent| (0..sent.len()).map(|index| (sent.position(index), sent.points_of(index))).collect())
            .collect();
        assert_eq!(places, [vec![(0, 1), (10, 1)], vec![(1, 4), (5, 3)], vec![(8, 1), (9, 1)]]);
    }
}
