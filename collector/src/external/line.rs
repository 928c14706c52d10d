//! Lines of external collectors.

use thiserror::Error;
use tidemark_model::{NameCharacters, PointError, TimestampMs, Value};

use super::json_line;
use crate::gathering::Gathering;

/// Longest line after its blanks are collapsed; OpenTSDB refuses longer ones.
pub(super) const LINE_BYTES_MAX: usize = 1023;

/// Timestamps beyond this are milliseconds, as OpenTSDB has it.
const SECONDS_MAX: i64 = u32::MAX as i64;

/// Why a line is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum LineError {
    #[error("{0} bytes, at most {LINE_BYTES_MAX} are allowed")]
    TooLong(usize),
    #[error("not `metric timestamp value tag=value …`")]
    Shape,
    #[error(
        "metric `{0}` has characters other than letters, digits, `-_./` and those of `opentsdb.allow_specialchars`"
    )]
    Metric(String),
    #[error("timestamp `{0}` is no number of seconds or milliseconds")]
    Timestamp(String),
    #[error("value `{0}` is no number")]
    Value(String),
    #[error(
        "tag `{0}` is not `key=value` of letters, digits, `-_./` and the characters of `opentsdb.allow_specialchars`"
    )]
    Tag(String),
    #[error("JSON: {0}")]
    Json(String),
    #[error(transparent)]
    Point(#[from] PointError),
}

/// Adds what a line says: a point in TCollector's format, or a point or metadata in scollector's JSON.
pub(super) fn take_line(line: &str, out: &mut Gathering<'_>) -> Result<(), LineError> {
    let line = line.trim();
    if line.starts_with('{') {
        return json_line::take(line, out);
    }
    let words: Vec<&str> = line.split_whitespace().collect();
    let bytes = words.iter().map(|word| word.len() + 1).sum::<usize>().saturating_sub(1);
    if bytes > LINE_BYTES_MAX {
        return Err(LineError::TooLong(bytes));
    }
    let [metric, timestamp, value, tags @ ..] = words.as_slice() else { return Err(LineError::Shape) };
    let characters = out.characters();
    if !is_plain(metric, characters) {
        return Err(LineError::Metric((*metric).to_owned()));
    }
    let timestamp = parse_timestamp(timestamp).ok_or_else(|| LineError::Timestamp((*timestamp).to_owned()))?;
    let value = parse_value(value).ok_or_else(|| LineError::Value((*value).to_owned()))?;
    let tags = tags.iter().map(|tag| parse_tag(tag, characters)).collect::<Result<Vec<_>, _>>()?;
    Ok(out.push(metric, tags, timestamp, value)?)
}

/// The characters that TCollector lets pass, and special ones; Unicode letters, which the store takes, are not among the
/// former.
fn is_plain(name: &str, characters: &NameCharacters) -> bool {
    let is_special = |character| characters.special().contains(character);
    let is_plain = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.' | '/');
    !name.is_empty() && name.chars().all(|character| is_plain(character) || is_special(character))
}

fn parse_tag<'a>(tag: &'a str, characters: &NameCharacters) -> Result<(&'a str, &'a str), LineError> {
    tag.split_once('=')
        .filter(|(key, value)| is_plain(key, characters) && is_plain(value, characters))
        .ok_or_else(|| LineError::Tag(tag.to_owned()))
}

/// Digits, at least two, with at most one dot among them: seconds, with milliseconds after the dot; or milliseconds.
pub(super) fn parse_timestamp(text: &str) -> Option<TimestampMs> {
    if text.len() < 2 || !text.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    match text.split_once('.') {
        None => parse_digits(text).map(to_ms),
        Some((seconds, fraction)) => {
            parse_digits(fraction)?;
            let ms: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
            parse_digits(seconds)?.checked_mul(1000)?.checked_add(ms)
        }
    }
}

/// Seconds, or milliseconds when they are too many for seconds.
fn to_ms(number: i64) -> TimestampMs {
    if number > SECONDS_MAX { number } else { number * 1000 }
}

fn parse_digits(text: &str) -> Option<i64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// An integer when there is no dot and no exponent and it fits 64 bits; otherwise a double. `true` and `false` are 1
/// and 0. Infinities and NaN are numbers here and refused with the point.
pub(super) fn parse_value(text: &str) -> Option<Value> {
    match text {
        _ if text.eq_ignore_ascii_case("true") => return Some(Value::Int(1)),
        _ if text.eq_ignore_ascii_case("false") => return Some(Value::Int(0)),
        _ => {}
    }
    text.parse().map(Value::Int).or_else(|_| text.parse().map(Value::Float)).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{builtin::fixture::Fixture, gathering::Gathered};

    fn take(line: &str) -> (Result<(), LineError>, Gathered) {
        let mut result = Ok(());
        let gathered = Fixture::default().gather(|out| result = take_line(line, out));
        (result, gathered)
    }

    fn check(line: &str, series: &str, timestamp: TimestampMs, value: Value) {
        let (result, gathered) = take(line);
        assert_eq!(result, Ok(()), "{line}");
        let point = gathered.batch.points().next().unwrap();
        assert_eq!(gathered.batch.series_key(point.series).to_string(), series);
        assert_eq!((point.timestamp, point.value), (timestamp, value), "{line}");
    }

    #[test]
    fn lines_of_tcollector_are_points() {
        check(
            "df.bytes.total 1795343205 270553174016 mount=/ fstype=ext4",
            "df.bytes.total{fstype=ext4,host=h,mount=/}",
            1_795_343_205_000,
            Value::Int(270_553_174_016),
        );
        check("  load \t 1795343205   0.25  ", "load{host=h}", 1_795_343_205_000, Value::Float(0.25));
        check("a 1795343205123 1e3 host=other", "a{host=other}", 1_795_343_205_123, Value::Float(1000.0));
        check("a 1795343205.5 -7", "a{host=h}", 1_795_343_205_500, Value::Int(-7));
        check("a 1795343205.1239 True", "a{host=h}", 1_795_343_205_123, Value::Int(1));
        check("a 42 18446744073709551615", "a{host=h}", 42_000, Value::Float(u64::MAX as f64));
    }

    #[test]
    fn lines_that_tcollector_refuses_are_refused() {
        for line in [
            "",
            "load",
            "load 1795343205",
            "lo:ad 1795343205 1",
            "größe 1795343205 1",
            "load 5 1",
            "load now 1",
            "load -1795343205 1",
            "load 1795343205. 1",
            "load 1795.3432.05 1",
            "load 1795343205 abc",
            "load 1795343205 0x10",
            "load 1795343205 1_000",
            "load 1795343205 1 tag",
            "load 1795343205 1 tag=",
            "load 1795343205 1 =value",
            "load 1795343205 1 a=b=c",
            "load 1795343205 1 a=b c:d=e",
            "load 1795343205 nan",
            "load 1795343205 -inf",
            "load 1795343205 1 a=b a=c",
            "load 99999999999999 1",
        ] {
            let (result, gathered) = take(line);
            assert!(result.is_err() && gathered.batch.is_empty(), "{line}");
        }
    }

    #[test]
    fn special_characters_are_read_where_they_are_allowed() {
        let characters = NameCharacters::with_special(":°{\"").unwrap();
        let tags = crate::HostTags::with_characters("h", &[], characters).unwrap();
        let mut out = Gathering::new(&tags, 0);
        take_line("lo:ad 1795343205 1 a:b=21°\"", &mut out).unwrap();
        take_line(r#"{"metric":"a{\"","timestamp":1795343205,"value":1,"tags":{"b":"c:"}}"#, &mut out).unwrap();
        take_line(r#"{"metric":"a:b","name":"unit","value":"bytes"}"#, &mut out).unwrap();
        for line in ["lo;ad 1795343205 1", "größe 1795343205 1", "load 1795343205 1 a=b=c"] {
            assert!(take_line(line, &mut out).is_err(), "{line}");
        }
        let gathered = out.finish();
        let series: Vec<String> = (0..2).map(|at| gathered.batch.series_key(at).to_string()).collect();
        assert_eq!(series, ["lo:ad{a:b=21°\",host=h}", "a{\"{b=c:,host=h}"]);
        assert_eq!(gathered.metadata.len(), 1);
    }

    #[test]
    fn the_length_counts_after_blanks_are_collapsed() {
        let line = |value: usize| format!("load 1795343205    1 tag={}", "x".repeat(value));
        assert_eq!(take(&line(1001)).0, Ok(()));
        assert_eq!(take(&line(1002)).0, Err(LineError::TooLong(1024)));
    }

    proptest! {
        #[test]
        fn any_line_is_a_point_or_an_error(line in "[a-z]{0,3} ?[0-9.]{0,14} ?[0-9.eE+naif-]{0,6}( [a-z=]{0,5}){0,3}|.{0,60}") {
            let (result, gathered) = take(&line);
            prop_assert_eq!(usize::from(result.is_ok()), gathered.batch.len() + gathered.metadata.len());
        }
    }
}
