//! Reads `histogram` and `rollup` lines, with OpenTSDB's order of checks and its texts.

use tidemark_model::{PointBatch, PointBatchBuilder};

use super::put_line::{distinct_tags, illegal, invalid, shown};
use crate::{
    number,
    options::OpenTsdbOptions,
    put::{
        refusal_text::refusal_text,
        rollup_point::{Aggregation, AggregationError},
        simple_histogram,
    },
};

/// Why a line is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LineRefusal {
    /// The reply, without the command before it.
    Reply(String),
    /// OpenTSDB says nothing.
    Silence(String),
}

impl From<String> for LineRefusal {
    fn from(reply: String) -> Self {
        Self::Reply(reply)
    }
}

/// Adds what such lines hold to a batch.
#[derive(Debug)]
pub(crate) struct ValueLines<'a> {
    builder: PointBatchBuilder,
    options: &'a OpenTsdbOptions,
}

impl<'a> ValueLines<'a> {
    pub(crate) fn new(options: &'a OpenTsdbOptions) -> Self {
        Self { builder: PointBatchBuilder::with_rules(options.point_rules.clone()), options }
    }

    /// Adds the histogram of a line: what comes after `histogram `.
    ///
    /// # Errors
    /// What is wrong with the line.
    pub(crate) fn add_histogram(&mut self, words: &str) -> Result<(), LineRefusal> {
        let words: Vec<&str> = words.split(' ').collect();
        let [metric, timestamp, third, rest @ ..] = words.as_slice() else {
            return Err(too_few(5, words.len()));
        };
        if rest.is_empty() {
            return Err(too_few(5, words.len()));
        }
        let millis = head(metric, timestamp)?;
        let has_id = third.parse::<i32>().is_ok();
        let (value, tags) = match rest.split_first() {
            Some((value, tags)) if has_id => (*value, tags),
            _ => (*third, rest),
        };
        if value.is_empty() {
            return Err(illegal("empty histogram value").into());
        }
        let tags = distinct_tags(tags)?;
        let histogram = if has_id { simple_histogram::from_base64(value) } else { simple_histogram::from_line(value) };
        let histogram = histogram.map_err(|text| LineRefusal::Silence(illegal(&text)))?;
        self.builder.push_histogram(metric, &mut tags.clone(), millis, &histogram).map_err(|error| {
            let sent = number::long(timestamp).unwrap_or(millis);
            illegal(&refusal_text(&error, metric, sent, value, &tags)).into()
        })
    }

    /// Adds the value of a line: what comes after `rollup `.
    ///
    /// # Errors
    /// What is wrong with the line.
    pub(crate) fn add_rollup(&mut self, words: &str) -> Result<(), LineRefusal> {
        let words: Vec<&str> = words.split(' ').collect();
        let [kind, metric, timestamp, value, tags @ ..] = words.as_slice() else {
            return Err(too_few(7, words.len()));
        };
        if tags.is_empty() {
            return Err(too_few(7, words.len()));
        }
        let aggregation = aggregation(kind)?;
        let millis = head(metric, timestamp)?;
        if value.is_empty() {
            return Err(illegal("empty value").into());
        }
        let tags = distinct_tags(tags)?;
        let number = number::value(value).map_err(invalid)?;
        let length = |interval: &str| self.options.rollups.millis(interval);
        let pushed = aggregation.push(&mut self.builder, length, (metric, &tags), millis, number);
        pushed.map_err(|error| match error {
            AggregationError::NoSuchRollup(text) => format!("No such rollup: {text}").into(),
            AggregationError::Illegal(text) => illegal(&text).into(),
            AggregationError::Point(error) => {
                let sent = number::long(timestamp).unwrap_or(millis);
                illegal(&refusal_text(&error, metric, sent, value, &tags)).into()
            }
        })
    }

    /// Takes out what there is; `None` when that is nothing.
    pub(crate) fn take(&mut self) -> Option<PointBatch> {
        if self.builder.is_empty() {
            return None;
        }
        Some(
            std::mem::replace(&mut self.builder, PointBatchBuilder::with_rules(self.options.point_rules.clone()))
                .finish(),
        )
    }
}

/// Milliseconds of the timestamp.
fn head(metric: &str, timestamp: &str) -> Result<i64, LineRefusal> {
    if metric.is_empty() {
        return Err(illegal("empty metric name").into());
    }
    let millis = number::line_timestamp(timestamp).map_err(invalid)?;
    if millis <= 0 {
        return Err(illegal(&format!("invalid timestamp: {}", shown(timestamp))).into());
    }
    Ok(millis)
}

/// `1h-SUM`, `1h-SUM:MAX`, or `MAX` alone for what is aggregated over series and not over time.
fn aggregation(kind: &str) -> Result<Aggregation<'_>, LineRefusal> {
    if kind.is_empty() {
        return Err(illegal("Missing interval or aggregator").into());
    }
    let (of_time, of_series) = match kind.split_once(':') {
        Some((first, second)) => (first, Some(second)),
        None => (kind, None),
    };
    Ok(match of_time.split_once('-') {
        Some((interval, aggregator)) => {
            Aggregation { interval: Some(interval), aggregator: Some(aggregator), group_by: of_series }
        }
        None => Aggregation { interval: None, aggregator: None, group_by: of_series.or(Some(of_time)) },
    })
}

fn too_few(needed: usize, found: usize) -> LineRefusal {
    illegal(&format!("not enough arguments (need least {needed}, got {found})")).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn histogram(words: &str) -> Result<Vec<String>, LineRefusal> {
        let options = OpenTsdbOptions::default();
        let mut lines = ValueLines::new(&options);
        lines.add_histogram(words).map(|()| points(&mut lines))
    }

    fn rollup(words: &str) -> Result<Vec<String>, LineRefusal> {
        let options = OpenTsdbOptions::default();
        let mut lines = ValueLines::new(&options);
        lines.add_rollup(words).map(|()| points(&mut lines))
    }

    fn points(lines: &mut ValueLines<'_>) -> Vec<String> {
        let batch = lines.take().unwrap();
        let show = |point: tidemark_model::PointRef| {
            let key = batch.series_key(point.series).to_string().replace('\u{1}', "^");
            format!("{key} {} {}", point.timestamp, point.value)
        };
        batch.points().map(show).collect()
    }

    fn reply(text: &str) -> LineRefusal {
        LineRefusal::Reply(text.to_owned())
    }

    #[test]
    fn both_forms_of_a_histogram_are_read() {
        let found = histogram("m 1356998400 0,1.75=12:1.75,3.5=16:u=1:o=2  host=a").unwrap();
        assert_eq!(found.len(), 5);
        assert_eq!(found.get(2).unwrap(), "^h/m{^part=^overflow,host=a} 1356998400000 2");
        assert_eq!(histogram("m 1356998400 42 AAIAAAAAP+AAAAw/4AAAQGAAABABAg== host=a").unwrap(), found);
    }

    #[test]
    fn what_is_wrong_with_a_histogram_is_said_or_not() {
        let few = |got: usize| reply(&format!("illegal argument: not enough arguments (need least 5, got {got})"));
        assert_eq!(histogram("m 1 0,1=1"), Err(few(3)));
        assert_eq!(histogram(""), Err(few(1)));
        assert_eq!(histogram("m 0 0,1=1 a=b"), Err(reply("illegal argument: invalid timestamp: 0")));
        assert_eq!(histogram("m x 0,1=1 a=b"), Err(reply("invalid value: Invalid character 'x' in x")));
        assert_eq!(histogram("m 1 0,1=1 host"), Err(reply("illegal argument: invalid tag: host")));
        let silent = |text: &str| LineRefusal::Silence(format!("illegal argument: {text}"));
        assert_eq!(histogram("m 1 wat a=b"), Err(silent("Improperly formatted bucket: wat")));
        assert!(matches!(histogram("m 1 7 ! a=b"), Err(LineRefusal::Silence(_))));
        assert!(matches!(histogram("m 1 7 a=b"), Err(LineRefusal::Reply(_) | LineRefusal::Silence(_))));
    }

    #[test]
    fn rollups_are_read() {
        assert_eq!(rollup("1h-sum m 7205 1.5 a=b").unwrap(), ["^r/1h/SUM/m{a=b} 7200000 1.5"]);
        assert_eq!(rollup("1h-SUM:MAX m 7200 1 a=b").unwrap(), ["^b/1h/SUM/m{_aggregate=MAX,a=b} 7200000 1"]);
        assert_eq!(rollup("MAX m 7200 1 a=b").unwrap(), ["^a/m{_aggregate=MAX,a=b} 7200000 1"]);
        let few = reply("illegal argument: not enough arguments (need least 7, got 4)");
        assert_eq!(rollup("1h-SUM m 1 1"), Err(few));
        let unknown = reply("No such rollup: No rollups configured for the interval: 9h");
        assert_eq!(rollup("9h-SUM m 7200 1 a=b"), Err(unknown));
        assert_eq!(rollup(" m 7200 1 a=b"), Err(reply("illegal argument: Missing interval or aggregator")));
        assert_eq!(rollup("1h-SUM m 7200 x a=b"), Err(reply("invalid value: Invalid character 'x' in x")));
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line in "\\PC*", number in 0..3_000_000_000_u64) {
            for words in [line.clone(), format!("m {number} {line} a=b"), format!("{line} m {number} 1 a=b")] {
                let _unused = (histogram(&words).is_ok(), rollup(&words).is_ok());
            }
        }
    }
}
