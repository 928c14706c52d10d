//! Whatever is stored survives its lines, also when next to nothing may be held.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tidemark_model::{
    BoxFuture, Cardinality, CatalogError, Histogram, LastPoint, MetricSpace, NameKind, PointBatch, PointBatchBuilder,
    PointColumns, PointRules, ReadError, ReadLimits, ReadRequest, ReadStatistics, SeriesCatalog, SeriesId, SeriesInfo,
    SeriesKey, SeriesPage, SeriesReader, SeriesSelector, SeriesSet, TagMatch, TimestampMs, Tsuid, Value, WrittenRollup,
    is_reserved,
};

use super::{ALL_TIMES, Export, ExportError, LineSink, held::Held};
use crate::point_lines::LineFormat;

/// A store in memory whose limits are taken at their word.
#[derive(Clone, Debug, Default, PartialEq)]
struct Stored(BTreeMap<SeriesKey, BTreeMap<TimestampMs, Value>>);

struct Set {
    infos: Vec<SeriesInfo>,
    columns: Vec<PointColumns>,
}

impl SeriesSet for Set {
    fn series(&self) -> &[SeriesInfo] {
        &self.infos
    }

    fn read(&self, index: usize, columns: &mut PointColumns) -> Result<(), ReadError> {
        *columns = self.columns[index].clone();
        Ok(())
    }

    fn statistics(&self) -> ReadStatistics {
        let points = self.columns.iter().map(|columns| columns.len() as u64).sum();
        ReadStatistics { series: self.infos.len(), points, ..ReadStatistics::default() }
    }
}

impl Stored {
    fn write(&mut self, batch: &PointBatch) {
        for point in batch.points() {
            let series = self.0.entry(batch.series_key(point.series)).or_default();
            series.insert(point.timestamp, point.value);
        }
    }

    fn select(&self, selector: &SeriesSelector) -> Result<Vec<SeriesInfo>, ReadError> {
        let all = self.0.keys().zip(1..);
        let all = all.map(|(key, number)| SeriesInfo {
            id: SeriesId(number),
            key: key.clone(),
            tsuid: Tsuid::new(u32::try_from(number).unwrap(), &[]),
        });
        let (metric, predicates, exact_keys) = match selector {
            SeriesSelector::Tsuids(tsuids) => return Ok(all.filter(|info| tsuids.contains(&info.tsuid)).collect()),
            SeriesSelector::Tags { metric, predicates, exact_keys } => {
                (metric.as_ref().unwrap(), predicates, exact_keys)
            }
        };
        if !self.0.keys().any(|key| key.metric() == metric) {
            return Err(ReadError::UnknownName { kind: NameKind::Metric, name: metric.clone() });
        }
        let matches = |info: &SeriesInfo| {
            predicates.iter().all(|predicate| match (&predicate.matches, info.key.tag(&predicate.key)) {
                (TagMatch::Any, Some(_)) | (TagMatch::Absent, None) => true,
                (TagMatch::OneOf(values), Some(value)) => values.iter().any(|wanted| wanted == value),
                (TagMatch::Where(holds), Some(value)) => holds(value),
                _ => false,
            }) && (!exact_keys || info.key.tags().count() == predicates.len())
        };
        Ok(all.filter(|info| info.key.metric() == metric && matches(info)).collect())
    }
}

impl SeriesReader for Stored {
    fn open(&self, request: ReadRequest) -> BoxFuture<'_, Result<Box<dyn SeriesSet>, ReadError>> {
        let opened = self.select(&request.selector).and_then(|infos| {
            let columns = infos.iter().map(|info| {
                let points = self.0[&info.key].iter().filter(|(timestamp, _)| request.range.contains(**timestamp));
                points.map(|(&timestamp, &value)| (timestamp, value)).collect()
            });
            let set = Set { columns: columns.collect(), infos };
            let (ReadStatistics { series, points, .. }, limits) = (set.statistics(), request.limits);
            assert!(series <= limits.series_max);
            if points > limits.points_max {
                return Err(ReadError::TooManyPoints { found: points, limit: limits.points_max });
            }
            Ok(Box::new(set) as Box<dyn SeriesSet>)
        });
        Box::pin(std::future::ready(opened))
    }
}

impl SeriesCatalog for Stored {
    fn suggest<'a>(
        &'a self,
        _kind: NameKind,
        prefix: &'a str,
        max: usize,
    ) -> BoxFuture<'a, Result<Vec<String>, CatalogError>> {
        let is_shown = |name: &&str| name.starts_with(prefix) && is_reserved(name) == is_reserved(prefix);
        let mut names: Vec<String> =
            self.0.keys().map(SeriesKey::metric).filter(is_shown).map(str::to_owned).take(max).collect();
        names.dedup();
        Box::pin(std::future::ready(Ok(names)))
    }

    fn lookup<'a>(
        &'a self,
        selector: &'a SeriesSelector,
        offset: usize,
        limit: usize,
    ) -> BoxFuture<'a, Result<SeriesPage, CatalogError>> {
        let found = self.select(selector).map_err(CatalogError).map(|infos| SeriesPage {
            total: infos.len(),
            series: infos.into_iter().skip(offset).take(limit).collect(),
        });
        Box::pin(std::future::ready(found))
    }

    fn last<'a>(
        &'a self,
        _selector: &'a SeriesSelector,
        _not_before: TimestampMs,
    ) -> BoxFuture<'a, Result<Vec<LastPoint>, CatalogError>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn cardinality(&self, _top: usize) -> BoxFuture<'_, Result<Cardinality, CatalogError>> {
        let reason = "nobody asks".to_owned();
        Box::pin(std::future::ready(Err(CatalogError(ReadError::Unavailable(reason)))))
    }
}

#[derive(Default)]
struct Text {
    lines: Vec<u8>,
    progress: Vec<(u64, u64)>,
}

impl LineSink for Text {
    fn take(&mut self, lines: Vec<u8>) -> BoxFuture<'_, Result<(), ExportError>> {
        assert!(lines.ends_with(b"\n"));
        self.lines.extend(lines);
        Box::pin(std::future::ready(Ok(())))
    }

    fn progress(&mut self, done: u64, total: u64) {
        self.progress.push((done, total));
    }
}

/// The lines of an export, and how many there are.
fn export(stored: &Stored, selectors: &[&str], format: LineFormat, held: Held) -> Result<String, ExportError> {
    let selectors: Vec<String> = selectors.iter().map(|&text| text.to_owned()).collect();
    let mut export = Export::new(&selectors, ALL_TIMES, format).unwrap();
    export.held = held;
    let mut sink = Text::default();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let count = runtime.block_on(export.run(stored, stored, &mut sink))?;
    let text = String::from_utf8(sink.lines).unwrap();
    let lines = text.lines().count() - format.heading().lines().count();
    assert_eq!(count, lines as u64);
    assert!(sink.progress.is_sorted() && sink.progress.iter().all(|(done, total)| done <= total));
    Ok(text)
}

fn import(text: &str) -> Stored {
    let mut stored = Stored::default();
    for line in text.lines() {
        let mut batch = PointBatchBuilder::with_rules(PointRules::LOOSE);
        assert_eq!(LineFormat::Json.read(line, &mut batch, None), Ok(true), "{line}");
        stored.write(&batch.finish());
    }
    stored
}

/// What somebody writes.
#[derive(Clone, Debug)]
enum Written {
    Point(Value),
    Histogram(Histogram),
    Other(MetricSpace, Value),
}

type At = (&'static str, &'static str, TimestampMs);

fn batch((metric, host, timestamp): At, written: &Written) -> PointBatch {
    let mut builder = PointBatchBuilder::with_rules(PointRules::LOOSE);
    let mut tags = vec![("host", host)];
    match written {
        Written::Point(value) => builder.push(metric, &mut tags, timestamp, *value),
        Written::Histogram(histogram) => builder.push_histogram(metric, &mut tags, timestamp, histogram),
        Written::Other(space, value) => {
            if !matches!(space, MetricSpace::Rollup(_)) {
                tags.push(("_aggregate", "MAX"));
            }
            builder.push_in(space, metric, &mut tags, timestamp - timestamp % 3_600_000, *value)
        }
    }
    .unwrap();
    builder.finish()
}

fn at() -> impl Strategy<Value = At> {
    let moments = prop_oneof![3_600_000..3_600_020_i64, 7_200_000..9_000_000_000_000_i64];
    (prop_oneof![Just("m"), Just("\"n\" /\\")], prop_oneof![Just("a"), Just("{\"b\"} \\")], moments)
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![any::<i64>().prop_map(Value::Int), (-1e300..1e300).prop_map(Value::Float)]
}

/// Of few different buckets, so that some histograms have the same.
fn histogram() -> impl Strategy<Value = Histogram> {
    let bound =
        || prop_oneof![Just(0.0_f32), Just(1.75), any::<f32>().prop_filter("finite", |bound| bound.is_finite())];
    let buckets = prop::collection::vec((bound(), bound(), 0..=i64::MAX), 0..4);
    (buckets, 0..=i64::MAX, 0..=i64::MAX).prop_map(|(buckets, underflow, overflow)| {
        let mut histogram = Histogram::new(underflow, overflow).unwrap();
        buckets.into_iter().for_each(|(lower, upper, count)| histogram.set(lower, upper, count).unwrap());
        histogram
    })
}

fn written() -> impl Strategy<Value = Written> {
    let rollup = || WrittenRollup { interval: "1h".to_owned(), aggregator: "SUM".to_owned() };
    let space = prop_oneof![
        Just(MetricSpace::Aggregate),
        Just(MetricSpace::Rollup(rollup())),
        Just(MetricSpace::AggregateRollup(rollup())),
    ];
    prop_oneof![
        2 => value().prop_map(Written::Point),
        5 => histogram().prop_map(Written::Histogram),
        2 => (space, value()).prop_map(|(space, value)| Written::Other(space, value)),
    ]
}

fn held() -> impl Strategy<Value = Held> {
    let scarce = (1..8_u64, 1..12_usize, 1..4_usize, 8..12_usize, 1..6_usize);
    let scarce = scarce.prop_map(|(points_max, counts, shapes, parts_listed, parts)| Held {
        window: ReadLimits { points_max, ..Held::default().window },
        counts,
        shapes,
        parts_listed,
        parts,
    });
    prop_oneof![Just(Held::default()), scarce]
}

proptest! {
    #[test]
    fn whatever_was_written_comes_back(writes in prop::collection::vec((at(), written()), 0..40), held in held()) {
        let mut stored = Stored::default();
        let mut last = BTreeMap::new();
        for (at, write) in &writes {
            let batch = batch(*at, write);
            stored.write(&batch);
            // What of a histogram is replaced by another one is still stored and never seen.
            if let Written::Histogram(_) = write {
                last.insert(*at, batch);
            }
        }
        let mut expected = stored.clone();
        expected.0.retain(|key, _| !key.metric().starts_with("\u{1}h/"));
        last.values().for_each(|batch| expected.write(batch));
        let text = export(&stored, &[], LineFormat::Json, held).unwrap();
        prop_assert_eq!(&import(&text), &expected, "{}", text);
    }
}

fn example() -> Stored {
    let mut stored = Stored::default();
    let mut histogram = Histogram::new(1, 2).unwrap();
    histogram.set(0.0, 1.75, 12).unwrap();
    let at = 1_356_998_400_000;
    let hourly = MetricSpace::Rollup(WrittenRollup { interval: "1h".to_owned(), aggregator: "SUM".to_owned() });
    for host in ["a", "b"] {
        stored.write(&batch(("lat", host, at), &Written::Histogram(histogram.clone())));
        stored.write(&batch(("cpu", host, at), &Written::Point(Value::Int(5))));
        stored.write(&batch(("cpu", host, at), &Written::Other(hourly.clone(), Value::Float(60.0))));
        stored.write(&batch(("cpu", host, at), &Written::Other(MetricSpace::Aggregate, Value::Int(7))));
    }
    stored
}

#[test]
fn a_selector_chooses_all_that_its_metric_has() {
    let lines = |selectors: &[&str]| export(&example(), selectors, LineFormat::Json, Held::default()).unwrap();
    let line = |metric: &str, fields: &str, tags: &str| {
        format!("{{\"metric\":\"{metric}\",\"timestamp\":1356998400000,{fields},\"tags\":{{{tags}}}}}\n")
    };
    let latency = |host: &str| {
        let fields = r#""buckets":{"0.0,1.75":12},"underflow":1,"overflow":2"#;
        line("lat", fields, &format!(r#""host":"{host}""#))
    };
    let cpu = [
        line("cpu", r#""value":5"#, r#""host":"a""#),
        line("cpu", r#""value":7,"groupByAggregator":"MAX""#, r#""_aggregate":"MAX","host":"a""#),
        line("cpu", r#""value":60.0,"interval":"1h","aggregator":"SUM""#, r#""host":"a""#),
    ];
    assert_eq!(lines(&["lat{host=b}"]), latency("b"));
    assert_eq!(lines(&["lat{host=*}"]), latency("a") + &latency("b"));
    assert_eq!(lines(&["cpu{host=a}", "lat{host=a}"]), cpu.concat() + &latency("a"));
    assert_eq!(lines(&[]).lines().count(), 8);
    let unknown = export(&example(), &["none"], LineFormat::Json, Held::default()).unwrap_err();
    assert_eq!(unknown.to_string(), "no such metric: `none`");
}

#[test]
fn lines_that_cannot_say_it_leave_it_out_and_count_it() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let left_out = |selectors: &[&str], format| {
        let selectors: Vec<String> = selectors.iter().map(|&text| text.to_owned()).collect();
        runtime.block_on(Export::new(&selectors, ALL_TIMES, format).unwrap().left_out(&example())).unwrap()
    };
    for (format, line) in
        [(LineFormat::Csv, "cpu,1356998400000,5,host=b"), (LineFormat::OpenTsdb, "cpu 1356998400000 5 host=b")]
    {
        let text = export(&example(), &["cpu"], format, Held::default()).unwrap();
        assert_eq!((text.lines().last(), text.lines().count()), (Some(line), 2 + format.heading().lines().count()));
        assert_eq!((left_out(&[], format), left_out(&["lat"], format), left_out(&["x"], format)), (2, 1, 0));
    }
    assert_eq!(left_out(&[], LineFormat::Json), 0);
}
