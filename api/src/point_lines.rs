//! Points as lines of text: what `tidemark export` writes and `tidemark import` reads.
//!
//! Three forms, one point a line: JSON as `/api/put` takes it, comma-separated values under a heading, and the text of
//! OpenTSDB's `tsdb scan --import` and `tsdb import`: `metric timestamp value key=value …`. What is written is read back as
//! the same point: integers without a dot, doubles always with a dot or an exponent and as many digits as they need.
//!
//! Names may have special characters (`opentsdb.allow_specialchars`). JSON has escapes for them. A CSV field that needs it
//! is quoted, and in the tags a blank, a backslash, and the `=` of a key have a backslash before them. OpenTSDB's text has
//! no escapes at all, so that a series with such names cannot be written in it.
//!
//! Histograms, and values that were aggregated before they were written, have lines of JSON alone: the objects that
//! `/api/histogram` and `/api/rollup` take. A table of values has no place for them, and OpenTSDB's tools know no such line.

mod csv_field;
mod json_line;

use std::{fmt, str::FromStr};

use tidemark_model::{
    AGGREGATE_KEY, Histogram, MetricSpace, PointBatchBuilder, SeriesKey, TimestampMs, Value, is_reserved, timestamp_ms,
    written_metric,
};
use tidemark_query::RollupIntervals;

use crate::number;

/// The heading of comma-separated values.
const CSV_HEADING: &str = "metric,timestamp_ms,value,tags";

/// How a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineFormat {
    /// `{"metric":"os.cpu","timestamp":1767225600000,"value":1.5,"tags":{"host":"a"}}`.
    Json,
    /// `os.cpu,1767225600000,1.5,host=a dc=b`, under a heading; `"a,b",1767225600000,1.5,host=with\ blank`.
    Csv,
    /// `os.cpu 1767225600000 1.5 host=a dc=b`.
    OpenTsdb,
}

impl LineFormat {
    pub(crate) const ALL: [Self; 3] = [Self::Json, Self::Csv, Self::OpenTsdb];

    /// What the lines are called in HTTP.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/x-ndjson; charset=UTF-8",
            Self::Csv => "text/csv; charset=UTF-8",
            Self::OpenTsdb => "text/plain; charset=UTF-8",
        }
    }

    /// The form of a file with this first line.
    #[must_use]
    pub fn of_first_line(line: &str) -> Self {
        let line = line.trim();
        if line.starts_with('{') {
            Self::Json
        } else if line.starts_with("metric,") || csv_field::split(line).is_some_and(|fields| is_time(&fields[1])) {
            Self::Csv
        } else {
            Self::OpenTsdb
        }
    }

    /// What stands above the first point, with its line end.
    #[must_use]
    pub fn heading(self) -> String {
        if self == Self::Csv { format!("{CSV_HEADING}\n") } else { String::new() }
    }

    /// Whether points of the series can be written so that they are read back as its points.
    #[must_use]
    pub fn can_write(self, key: &SeriesKey) -> bool {
        let is_word = |name: &str| !name.contains(' ');
        self != Self::OpenTsdb
            || (is_word(key.metric())
                && key.tags().all(|(name, value)| is_word(name) && !name.contains('=') && is_word(value)))
    }

    /// How the values of a series are written, which is one for which [`Self::can_write`] holds; `None` when this form has
    /// no line for them. A histogram is not written series by series but as a whole: see [`Self::of_histograms`].
    #[must_use]
    pub fn of_series(self, key: &SeriesKey) -> Option<SeriesLine> {
        let (before, between, after) = match MetricSpace::of_stored_name(key.metric()) {
            None => self.around_points(key),
            Some((space, metric)) if self == Self::Json && space != MetricSpace::Histogram => {
                let (before, tags) = json_line::around(metric, key.tags());
                let fields = format!(",{}", space.json_fields(key.tag(AGGREGATE_KEY)));
                (before, ",\"value\":", [fields.as_bytes(), &tags].concat())
            }
            Some(_) => return None,
        };
        Some(SeriesLine { before, between, after, in_millis: self == Self::Csv })
    }

    /// What a line of a point has before its timestamp, between that and its value, and behind the value.
    fn around_points(self, key: &SeriesKey) -> (Vec<u8>, &'static str, Vec<u8>) {
        match self {
            Self::Json => {
                let (before, after) = json_line::around(key.metric(), key.tags());
                (before, ",\"value\":", after)
            }
            Self::Csv => {
                let (mut before, mut after) = (Vec::new(), vec![b',']);
                csv_field::write(key.metric(), &mut before);
                before.push(b',');
                csv_field::write(&csv_field::join_tags(key.tags()), &mut after);
                after.push(b'\n');
                (before, ",", after)
            }
            Self::OpenTsdb => {
                let tags: Vec<_> = key.tags().map(|(key, value)| format!("{key}={value}")).collect();
                (format!("{} ", key.metric()).into_bytes(), " ", format!(" {}\n", tags.join(" ")).into_bytes())
            }
        }
    }

    /// How the histograms of a series are written, which may be any of those that their counts are kept in; `None` when
    /// this form has no line for them.
    #[must_use]
    pub fn of_histograms(self, key: &SeriesKey) -> Option<HistogramLine> {
        (self == Self::Json).then(|| {
            let tags = key.tags().filter(|(key, _)| !is_reserved(key));
            let (before, after) = json_line::around(written_metric(key.metric()), tags);
            HistogramLine { before, after }
        })
    }

    /// Whether histograms, and values that were aggregated before they were written, have lines.
    #[must_use]
    pub fn has_other_values(self) -> bool {
        self == Self::Json
    }

    /// Adds what a line holds to a batch; `false` for a line that holds nothing, such as a heading. Rollups may be of any
    /// interval when `rollups` does not say of which.
    ///
    /// # Errors
    /// What is wrong with the line; the batch is then unchanged.
    pub fn read(
        self,
        line: &str,
        batch: &mut PointBatchBuilder,
        rollups: Option<&RollupIntervals>,
    ) -> Result<bool, String> {
        let line = line.trim();
        if line.is_empty() || (self == Self::Csv && line == CSV_HEADING) {
            return Ok(false);
        }
        match self {
            Self::Json => json_line::read(line, batch, rollups)?,
            Self::Csv => {
                let fields = csv_field::split(line).ok_or("expected `metric,timestamp_ms,value,tags`")?;
                let [metric, timestamp, value, tags] = &fields;
                let timestamp = number::long(timestamp).map_err(|error| error.to_string())?;
                let tags = csv_field::split_tags(tags)?;
                let tags: Vec<(&str, &str)> = tags.iter().map(|(key, value)| (&**key, &**value)).collect();
                push(batch, metric, timestamp, value, tags)?;
            }
            Self::OpenTsdb => {
                let line = line.strip_prefix("put ").unwrap_or(line).trim_start();
                let mut words = line.splitn(4, |character: char| character.is_ascii_whitespace());
                let mut word = || words.next().ok_or("expected `metric timestamp value key=value …`");
                let (metric, timestamp, value, tags) = (word()?, word()?, word()?, word()?);
                let timestamp = number::line_timestamp(timestamp).map_err(|error| error.to_string())?;
                let tag = |tag| <str>::split_once(tag, '=').ok_or_else(|| no_tag(tag));
                push(
                    batch,
                    metric,
                    timestamp,
                    value,
                    tags.split_ascii_whitespace().map(tag).collect::<Result<_, _>>()?,
                )?;
            }
        }
        Ok(true)
    }
}

/// How the values of one series are written.
#[derive(Clone, Debug)]
pub struct SeriesLine {
    before: Vec<u8>,
    between: &'static str,
    after: Vec<u8>,
    /// Whether timestamps are always milliseconds.
    in_millis: bool,
}

impl SeriesLine {
    /// Appends a value with its line end.
    pub fn write(&self, timestamp: TimestampMs, value: Value, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.before);
        match self.in_millis {
            true => out.extend_from_slice(itoa::Buffer::new().format(timestamp).as_bytes()),
            false => write_timestamp(timestamp, out),
        }
        out.extend_from_slice(self.between.as_bytes());
        write_value(value, out);
        out.extend_from_slice(&self.after);
    }
}

/// How the histograms of one series are written.
#[derive(Clone, Debug)]
pub struct HistogramLine {
    before: Vec<u8>,
    after: Vec<u8>,
}

impl HistogramLine {
    /// Appends a histogram with its line end.
    pub fn write(&self, timestamp: TimestampMs, histogram: &Histogram, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.before);
        write_timestamp(timestamp, out);
        out.push(b',');
        out.extend_from_slice(histogram.json_fields().as_bytes());
        out.extend_from_slice(&self.after);
    }
}

/// Up to 2^32 a number is seconds to everybody who reads it.
fn write_timestamp(timestamp: TimestampMs, out: &mut Vec<u8>) {
    if timestamp == timestamp_ms(timestamp) {
        out.extend_from_slice(itoa::Buffer::new().format(timestamp).as_bytes());
    } else {
        out.extend_from_slice(format!("{}.{:03}", timestamp / 1000, timestamp % 1000).as_bytes());
    }
}

fn write_value(value: Value, out: &mut Vec<u8>) {
    match value {
        Value::Int(int) => out.extend_from_slice(itoa::Buffer::new().format(int).as_bytes()),
        Value::Float(float) if float.is_finite() => {
            out.extend_from_slice(zmij::Buffer::new().format_finite(float).as_bytes());
        }
        // Nobody takes it any more; data of long ago may have it.
        Value::Float(float) => out.extend_from_slice(format!("\"{float}\"").as_bytes()),
    }
}

fn push(
    batch: &mut PointBatchBuilder,
    metric: &str,
    timestamp: TimestampMs,
    value: &str,
    mut tags: Vec<(&str, &str)>,
) -> Result<(), String> {
    let value = number::value(value).map_err(|error| error.to_string())?;
    batch.push(metric, &mut tags, timestamp, value).map_err(|error| error.to_string())
}

fn no_tag(text: &str) -> String {
    format!("`{text}` is no tag: expected key=value")
}

fn is_time(field: &str) -> bool {
    number::long(field).is_ok()
}

/// A word that names no form of lines.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such form of lines: `{0}`; there are `json`, `csv` and `opentsdb`")]
pub struct LineFormatError(String);

impl fmt::Display for LineFormat {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Json => "json",
            Self::Csv => "csv",
            Self::OpenTsdb => "opentsdb",
        })
    }
}

impl FromStr for LineFormat {
    type Err = LineFormatError;

    fn from_str(word: &str) -> Result<Self, LineFormatError> {
        let found = Self::ALL.into_iter().find(|format| format.to_string() == word);
        found.ok_or_else(|| LineFormatError(word.chars().take(40).collect()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidemark_model::PointRules;

    use super::*;

    fn written(format: LineFormat, timestamp: TimestampMs, value: Value) -> String {
        written_of(format, &SeriesKey::new("os.cpu", &[("dc", "köln"), ("host", "web-1/a.b_c")]), timestamp, value)
    }

    fn written_of(format: LineFormat, key: &SeriesKey, timestamp: TimestampMs, value: Value) -> String {
        let mut out = Vec::new();
        format.of_series(key).unwrap().write(timestamp, value, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn read(format: LineFormat, line: &str) -> Result<(SeriesKey, TimestampMs, Value), String> {
        let mut builder = PointBatchBuilder::with_rules(PointRules::LOOSE);
        if !format.read(line, &mut builder, None)? {
            return Err("no point".to_owned());
        }
        let batch = builder.finish();
        let point = batch.points().next().unwrap();
        Ok((batch.series_key(point.series), point.timestamp, point.value))
    }

    #[test]
    fn lines_look_as_other_programs_expect_them() {
        let at = 1_767_225_600_123;
        assert_eq!(
            written(LineFormat::Json, at, Value::Float(1.0)),
            "{\"metric\":\"os.cpu\",\"timestamp\":1767225600123,\"value\":1.0,\"tags\":{\"dc\":\"köln\",\"host\":\"web-1/a.b_c\"}}\n"
        );
        assert_eq!(written(LineFormat::Csv, at, Value::Int(-5)), "os.cpu,1767225600123,-5,dc=köln host=web-1/a.b_c\n");
        assert_eq!(
            written(LineFormat::OpenTsdb, at, Value::Int(i64::MIN)),
            "os.cpu 1767225600123 -9223372036854775808 dc=köln host=web-1/a.b_c\n"
        );
    }

    #[test]
    fn what_is_wrong_with_a_line_is_said() {
        let check = |format: LineFormat, line: &str, expect: &str| {
            let error = read(format, line).unwrap_err();
            assert!(error.contains(expect), "{line}: {error}");
        };
        check(LineFormat::OpenTsdb, "os.cpu 17", "expected");
        check(LineFormat::OpenTsdb, "os.cpu 1767225600 1 host", "is no tag");
        check(LineFormat::OpenTsdb, "os.cpu 1767225600 x host=a", "x");
        check(LineFormat::OpenTsdb, "os cpu! 1767225600 1 host=a", "cpu!");
        check(LineFormat::Csv, "os.cpu,1767225600000,1,host", "is no tag");
        check(LineFormat::Csv, "\"os.cpu,1767225600000,1,host=a", "expected");
        check(LineFormat::Csv, "os.cpu,1767225600", "expected");
        check(LineFormat::Csv, "os.cpu,1767225600000,1,", "missing tags");
        check(LineFormat::Csv, "metric,timestamp_ms,value,tags", "no point");
        check(LineFormat::Json, "{\"metric\":1}", "invalid type");
        check(LineFormat::Json, "{\"metric\":\"m\",\"timestamp\":5,\"value\":null,\"tags\":{\"a\":\"b\"}}", "null");
        check(LineFormat::Json, "", "no point");
    }

    #[test]
    fn the_form_is_told_by_the_first_line() {
        for format in LineFormat::ALL {
            assert_eq!(LineFormat::of_first_line(&written(format, 5, Value::Int(1))), format);
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        assert_eq!(LineFormat::of_first_line(CSV_HEADING), LineFormat::Csv);
        assert_eq!(read(LineFormat::OpenTsdb, "put m 1767225600 1 a=b").unwrap().1, 1_767_225_600_000);
    }

    #[test]
    fn special_characters_are_written_so_that_they_mean_nothing_else() {
        let key = SeriesKey::new("a,b \"c\"", &[("k=1", "x y"), ("path", "C:\\"), ("w", "a=b,c ")]);
        let csv = written_of(LineFormat::Csv, &key, 5, Value::Int(1));
        assert_eq!(csv, "\"a,b \"\"c\"\"\",5,1,\"k\\=1=x\\ y path=C:\\\\ w=a=b,c\\ \"\n");
        let json = written_of(LineFormat::Json, &key, 5, Value::Int(1));
        assert!(json.starts_with(r#"{"metric":"a,b \"c\"","#) && json.contains(r#""path":"C:\\""#), "{json}");
        assert!(LineFormat::Csv.can_write(&key) && LineFormat::Json.can_write(&key));
        for (metric, tag, can) in [
            ("m", ("k", "a=b|c\\"), true),
            ("m m", ("k", "v"), false),
            ("m", ("k k", "v"), false),
            ("m", ("k=", "v"), false),
            ("m", ("k", "v "), false),
        ] {
            let key = SeriesKey::new(metric, &[tag]);
            assert_eq!(LineFormat::OpenTsdb.can_write(&key), can, "{key}");
        }
    }

    proptest! {
        #[test]
        fn any_names_are_read_back_where_they_can_be_written(
            metric in "[ -~ä°]{1,8}",
            tags in prop::collection::btree_map("[ -~ä°]{1,4}", "[ -~ä°]{1,6}", 1..4),
        ) {
            let tags: Vec<(&str, &str)> = tags.iter().map(|(key, value)| (&**key, &**value)).collect();
            let key = SeriesKey::new(&metric, &tags);
            for format in LineFormat::ALL.into_iter().filter(|format| format.can_write(&key)) {
                // A metric `put` is told from the command by nobody.
                prop_assume!(format != LineFormat::OpenTsdb || metric != "put");
                let line = written_of(format, &key, 5_000_000_000, Value::Int(1));
                prop_assert_eq!(read(format, line.trim_end_matches('\n')).map(|(key, ..)| key), Ok(key.clone()), "{}", line);
            }
        }

        #[test]
        fn a_written_point_is_read_back_bit_by_bit(
            at in 1_i64..10_000_000_000_000,
            int in any::<i64>(),
            bits in any::<u64>(),
            is_float in any::<bool>(),
        ) {
            let float = f64::from_bits(bits);
            let value = if is_float && float.is_finite() { Value::Float(float) } else { Value::Int(int) };
            for format in LineFormat::ALL {
                let (key, timestamp, found) = read(format, &written(format, at, value)).unwrap();
                prop_assert_eq!(key.to_string(), "os.cpu{dc=köln,host=web-1/a.b_c}");
                prop_assert_eq!(timestamp, at);
                prop_assert!(found.same_bits(value), "{} {:?} {:?}", format, value, found);
            }
        }

        #[test]
        fn any_line_is_a_point_or_an_error(line in "\\PC{0,80}") {
            for format in LineFormat::ALL {
                read(format, &line).ok();
            }
        }
    }
}
