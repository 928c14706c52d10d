//! Writes the answer of `/api/query` by hand: no tree is built, and no number is formatted twice.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Map, Value, json};
use tidemark_model::{ReadStatistics, TimestampMs, ValueColumn};
use tidemark_query::{Fill, Filter, GroupResult, Source, SubQuery};

use super::{query_annotations::QueryAnnotations, query_request::AnswerShape};

/// Takes the answer away piece by piece.
pub(crate) trait AnswerSink {
    /// Takes what is in `out` if it is worth sending.
    ///
    /// # Errors
    /// When nobody wants the answer any more.
    fn take(&mut self, out: &mut Vec<u8>) -> Result<(), Gone>;
}

/// Keeps all pieces, for measurements and tests.
#[derive(Default)]
pub(crate) struct Collected(pub(crate) Vec<u8>);

impl AnswerSink for Collected {
    fn take(&mut self, out: &mut Vec<u8>) -> Result<(), Gone> {
        self.0.append(out);
        Ok(())
    }
}

/// Nobody wants the answer any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone;

/// Points after which the sink is offered what there is.
const POINTS_A_PIECE: usize = 2048;

/// Writes the elements of an answer.
#[derive(Debug)]
pub(crate) struct AnswerWriter {
    out: Vec<u8>,
    shape: AnswerShape,
    ms_resolution: bool,
    annotations: Arc<QueryAnnotations>,
    elements: usize,
    /// What the series of the sub-query cost whose groups are written.
    read: ReadStatistics,
}

impl AnswerWriter {
    pub(crate) fn new(shape: AnswerShape, ms_resolution: bool, annotations: Arc<QueryAnnotations>) -> Self {
        Self { out: vec![b'['], shape, ms_resolution, annotations, elements: 0, read: ReadStatistics::default() }
    }

    /// Says what the series of the following groups cost.
    pub(crate) fn begin_sub_query(&mut self, read: ReadStatistics) {
        self.read = read;
    }

    /// Writes one group. `query` is the sub-query as [`describe`] has it.
    pub(crate) fn group(&mut self, group: &GroupResult, query: &str, sink: &mut impl AnswerSink) -> Result<(), Gone> {
        self.begin_element();
        self.text(r#"{"metric":"#);
        string(&mut self.out, &group.metric);
        self.text(r#","tags":{"#);
        for (position, (key, value)) in group.tags.iter().enumerate() {
            self.comma(position);
            string(&mut self.out, key);
            self.out.push(b':');
            string(&mut self.out, value);
        }
        self.text(r#"},"aggregateTags":["#);
        for (position, key) in group.aggregate_tags.iter().enumerate() {
            self.comma(position);
            string(&mut self.out, key);
        }
        self.out.push(b']');
        if self.shape.query {
            self.text(r#","query":"#);
            self.text(query);
        }
        if self.shape.tsuids {
            self.text(r#","tsuids":["#);
            for (position, tsuid) in group.tsuids.iter().enumerate() {
                self.comma(position);
                string(&mut self.out, &tsuid.to_string());
            }
            self.out.push(b']');
        }
        self.annotations.write(group, &mut self.out);
        self.text(if self.shape.arrays { r#","dps":["# } else { r#","dps":{"# });
        self.points(group, sink)?;
        self.out.push(if self.shape.arrays { b']' } else { b'}' });
        if self.shape.statistics {
            self.statistics(group);
        }
        self.out.push(b'}');
        sink.take(&mut self.out)
    }

    /// Writes one more element with the figures of the whole query, and with warnings when there are any.
    pub(crate) fn summary(&mut self, figures: Value, warnings: &[String]) {
        self.begin_element();
        let warnings = Some(warnings.into()).filter(|_| !warnings.is_empty());
        let summary = with(figures, "warnings", warnings);
        self.text(&json!({ "statsSummary": summary }).to_string());
    }

    /// Writes the figures of a group, and those of its sub-query, which share what was read.
    fn statistics(&mut self, group: &GroupResult) {
        let read = self.read;
        let figures = json!({
            "emittedDPs": group.timestamps.len(),
            "aggregatedSeries": group.tsuids.len(),
            "subQuery": {
                "seriesSelected": read.series,
                "blocksFromStorage": read.blocks,
                "bytesFromStorage": read.bytes,
                "dpsFromStorage": read.points,
                "rollupRowsFromStorage": read.rollup_rows,
            },
        });
        self.text(r#","stats":"#);
        self.text(&figures.to_string());
    }

    /// The rest of the answer.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.out.push(b']');
        self.out
    }

    fn begin_element(&mut self) {
        self.comma(self.elements);
        self.elements += 1;
    }

    fn comma(&mut self, position: usize) {
        if position > 0 {
            self.out.push(b',');
        }
    }

    fn text(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn points(&mut self, group: &GroupResult, sink: &mut impl AnswerSink) -> Result<(), Gone> {
        let has_nulls = self.shape.arrays || self.shape.nan_as_null;
        let numbers = Numbers { has_nulls, fill: group.fill };
        // One loop for each type of column, so that the type is not looked at again for every point.
        match &group.values {
            ValueColumn::Int(ints) => self.column(&group.timestamps, ints, sink, |out, &int| integer(out, int)),
            ValueColumn::Float(floats) => {
                self.column(&group.timestamps, floats, sink, |out, &float| numbers.float(out, float))
            }
            ValueColumn::Mixed(values) => self.column(&group.timestamps, values, sink, |out, value| match *value {
                tidemark_model::Value::Int(int) => integer(out, int),
                tidemark_model::Value::Float(float) => numbers.float(out, float),
            }),
        }
    }

    fn column<V>(
        &mut self,
        timestamps: &[TimestampMs],
        values: &[V],
        sink: &mut impl AnswerSink,
        write: impl Fn(&mut Vec<u8>, &V),
    ) -> Result<(), Gone> {
        let divisor = if self.ms_resolution { 1 } else { 1000 };
        let (before, between, after): (&[u8], &[u8], &[u8]) =
            if self.shape.arrays { (b"[", b",", b"]") } else { (b"\"", b"\":", b"") };
        let mut first = true;
        for (timestamps, values) in timestamps.chunks(POINTS_A_PIECE).zip(values.chunks(POINTS_A_PIECE)) {
            for (timestamp, value) in timestamps.iter().zip(values) {
                if !first {
                    self.out.push(b',');
                }
                first = false;
                self.out.extend_from_slice(before);
                integer(&mut self.out, timestamp.div_euclid(divisor));
                self.out.extend_from_slice(between);
                write(&mut self.out, value);
                self.out.extend_from_slice(after);
            }
            sink.take(&mut self.out)?;
        }
        Ok(())
    }
}

pub(crate) fn integer(out: &mut Vec<u8>, int: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(int).as_bytes());
}

/// How doubles are written that JSON has no number for.
#[derive(Clone, Copy)]
pub(crate) struct Numbers {
    /// Whether all of them are `null`.
    pub(crate) has_nulls: bool,
    pub(crate) fill: Fill,
}

impl Numbers {
    /// In arrays, which only Grafana's newest mode asks for, a text instead of a number breaks the reader: `null` there.
    pub(crate) fn float(self, out: &mut Vec<u8>, float: f64) {
        if float.is_finite() {
            out.extend_from_slice(zmij::Buffer::new().format_finite(float).as_bytes());
        } else {
            out.extend_from_slice(match self {
                Self { has_nulls: true, .. } => b"null".as_slice(),
                Self { fill: Fill::Null, .. } if float.is_nan() => b"null",
                _ if float.is_nan() => b"\"NaN\"",
                _ if float > 0.0 => b"\"Infinity\"",
                _ => b"\"-Infinity\"",
            });
        }
    }
}

/// Nearly no name has a character that needs an escape.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    if text.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        out.extend_from_slice(Value::from(text).to_string().as_bytes());
    }
}

/// A sub-query as `showQuery` repeats it.
pub(crate) fn describe(sub_query: &SubQuery, index: usize) -> Value {
    let filter = |filter: &Filter| {
        json!({
            "tagk": filter.key(),
            "filter": filter.text(),
            "group_by": filter.group_by(),
            "type": filter.kind().name(),
        })
    };
    let (metric, tsuids, explicit_tags) = match &sub_query.source {
        Source::Metric { name, explicit_tags, .. } => (Some(name), None, *explicit_tags),
        Source::Tsuids(tsuids) => (None, Some(tsuids.iter().map(ToString::to_string).collect::<Vec<_>>()), false),
    };
    let tags: Map<String, Value> = sub_query
        .filters()
        .iter()
        .filter(|filter| filter.group_by())
        .map(|filter| (filter.key().to_owned(), format!("{}({})", filter.kind().name(), filter.text()).into()))
        .collect();
    let rate = sub_query.rate.map(|rate| {
        let options = json!({
            "counter": rate.counter,
            "counterMax": rate.counter_max,
            "resetValue": rate.reset_value,
            "dropResets": rate.drop_resets,
        });
        with(options, "preDownsample", rate.pre_downsample.then(|| true.into()))
    });
    let filtered_keys: BTreeSet<&str> = sub_query.filters().iter().map(Filter::key).collect();
    let filtered_keys = Some(filtered_keys).filter(|keys| !keys.is_empty());
    let described = json!({
        "aggregator": sub_query.aggregator.name(),
        "metric": metric,
        "tsuids": tsuids,
        "downsample": sub_query.downsample.map(|downsample| downsample.to_string()),
        "rate": sub_query.rate.is_some(),
        "rateOptions": rate,
        "filters": sub_query.filters().iter().map(filter).collect::<Vec<_>>(),
        "tags": tags,
        "explicitTags": explicit_tags,
        "rollupUsage": sub_query.rollup_usage.name(),
        "rollupTable": "raw",
        "percentiles": sub_query.histogram.as_ref().map(|histogram| &histogram.percentiles),
        "showHistogramBuckets": sub_query.histogram.as_ref().is_some_and(|histogram| histogram.show_buckets),
        "histogramQuery": sub_query.histogram.is_some(),
        "preAggregate": sub_query.pre_aggregate,
        "index": index,
        "filterTagKs": filtered_keys,
    });
    with(described, "alignFirst", sub_query.align_first.then(|| true.into()))
}

/// An object with one more field, if there is a value for it.
fn with(mut object: Value, field: &str, value: Option<Value>) -> Value {
    if let (Value::Object(fields), Some(value)) = (&mut object, value) {
        fields.insert(field.to_owned(), value);
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(values: ValueColumn, fill: Fill) -> GroupResult {
        GroupResult {
            metric: "sys.cpu".into(),
            tags: vec![("dc".into(), "lga".into())],
            aggregate_tags: vec!["host".into()],
            tsuids: vec!["000001000001000001".parse().unwrap()],
            timestamps: (0..values.len())
                .map(|second| 1_356_998_400_000 + 1000 * i64::try_from(second).unwrap())
                .collect(),
            values,
            fill,
        }
    }

    fn written(shape: AnswerShape, ms_resolution: bool, group: &GroupResult) -> String {
        let mut sink = Collected::default();
        let mut writer = AnswerWriter::new(shape, ms_resolution, Arc::default());
        writer.begin_sub_query(ReadStatistics { blocks: 2, ..ReadStatistics::default() });
        writer.group(group, r#"{"index":0}"#, &mut sink).unwrap();
        sink.0.extend(writer.finish());
        String::from_utf8(sink.0).unwrap()
    }

    #[test]
    fn numbers_that_json_does_not_have_are_written_as_clients_expect_them() {
        let odd = || ValueColumn::Float(vec![1.0, f64::NAN, f64::INFINITY, 1e300]);
        let dps = |shape, fill| {
            let answer: Value = serde_json::from_str(&written(shape, false, &group(odd(), fill))).unwrap();
            answer[0]["dps"].clone()
        };
        let plain = AnswerShape::default();
        let points =
            |nan: Value| json!({"1356998400": 1.0, "1356998401": nan, "1356998402": "Infinity", "1356998403": 1e300});
        assert_eq!(dps(plain, Fill::Nan), points(json!("NaN")));
        assert_eq!(dps(plain, Fill::Null), points(json!(null)));
        let nulls = AnswerShape { nan_as_null: true, ..plain };
        let expected = json!({"1356998400": 1.0, "1356998401": null, "1356998402": null, "1356998403": 1e300});
        assert_eq!(dps(nulls, Fill::Nan), expected);
        let arrays = AnswerShape { arrays: true, ..plain };
        let expected =
            json!([[1_356_998_400, 1.0], [1_356_998_401, null], [1_356_998_402, null], [1_356_998_403, 1e300]]);
        assert_eq!(dps(arrays, Fill::Nan), expected);
    }

    #[test]
    fn an_element_has_what_was_asked_for_and_nothing_else() {
        let group = group(ValueColumn::Int(vec![7]), Fill::None);
        assert_eq!(
            written(AnswerShape::default(), true, &group),
            r#"[{"metric":"sys.cpu","tags":{"dc":"lga"},"aggregateTags":["host"],"dps":{"1356998400000":7}}]"#
        );
        let all = AnswerShape {
            arrays: true,
            tsuids: true,
            query: true,
            statistics: true,
            summary: true,
            ..AnswerShape::default()
        };
        assert_eq!(
            written(all, false, &group),
            r#"[{"metric":"sys.cpu","tags":{"dc":"lga"},"aggregateTags":["host"],"query":{"index":0},"tsuids":["000001000001000001"],"dps":[[1356998400,7]],"stats":{"aggregatedSeries":1,"emittedDPs":1,"subQuery":{"blocksFromStorage":2,"bytesFromStorage":0,"dpsFromStorage":0,"rollupRowsFromStorage":0,"seriesSelected":0}}}]"#
        );
    }

    #[test]
    fn a_sub_query_is_described_with_its_index() {
        let sub_query = SubQuery::parse("sum:5m-avg:rate{counter}:sys.cpu{host=web*}").unwrap();
        let described = describe(&sub_query, 3);
        assert_eq!(described["index"], 3);
        assert_eq!(described["tags"], json!({"host": "iwildcard(web*)"}));
        assert_eq!(described["rateOptions"]["counter"], true);
        assert_eq!(described["downsample"], "5m-avg");
        assert_eq!(described["filterTagKs"], json!(["host"]));
        assert!(described.get("alignFirst").is_none() && described["rateOptions"].get("preDownsample").is_none());
        let mut sub_query = SubQuery::parse("sum:5m-avg:rate{pre}:sys.cpu").unwrap();
        sub_query.align_first = true;
        let described = describe(&sub_query, 0);
        assert_eq!(
            (&described["alignFirst"], &described["rateOptions"]["preDownsample"]),
            (&json!(true), &json!(true))
        );
    }
}
