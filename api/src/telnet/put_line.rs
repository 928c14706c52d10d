//! Reads the points of `put` lines.
//!
//! Nearly every line is good and has the same tags as the line before it, so there are two readers: one that walks over
//! the line once and knows good lines alone, and one that has OpenTSDB's order of checks and its texts. A property test
//! holds the first to the second.

use tidemark_model::{PointBatchBuilder, PointRules};

use crate::{
    number::{self, NumberError},
    put::refusal_text::{braces, refusal_text},
};

/// Most tags of a line that the fast reader has room for.
const TAGS_MAX: usize = 16;

/// Adds the points of lines to a batch.
#[derive(Debug)]
pub(crate) struct PutLines<'a> {
    builder: PointBatchBuilder,
    rules: &'a PointRules,
    /// The tags of the last point as they were sent.
    tags_before: &'a str,
    /// The timestamp of the last point as it was sent, and its milliseconds.
    timestamp_before: (&'a str, i64),
}

impl<'a> PutLines<'a> {
    pub(crate) fn new(rules: &'a PointRules) -> Self {
        let builder = PointBatchBuilder::with_rules(rules.clone());
        Self { builder, rules, tags_before: "", timestamp_before: ("", 0) }
    }

    /// Adds the point of a line: what comes after `put `.
    ///
    /// # Errors
    /// The reply, without `put: ` before it and without an end of line.
    pub(crate) fn add(&mut self, words: &'a str) -> Result<(), String> {
        match self.add_good(words) {
            Some(()) => Ok(()),
            None => self.add_any(words),
        }
    }

    /// Points so far.
    pub(crate) fn len(&self) -> usize {
        self.builder.len()
    }

    /// Takes the points out.
    pub(crate) fn take(&mut self) -> tidemark_model::PointBatch {
        self.tags_before = "";
        std::mem::replace(&mut self.builder, PointBatchBuilder::with_rules(self.rules.clone())).finish()
    }

    /// Makes room for the points of `bytes` bytes of lines.
    pub(crate) fn reserve(&mut self, bytes: usize) {
        self.builder.reserve(bytes / 48);
    }

    /// `None` leaves the batch as it was.
    fn add_good(&mut self, words: &'a str) -> Option<()> {
        let (metric, rest) = word(words)?;
        let (timestamp, rest) = word(rest)?;
        let (value, tags_text) = word(rest)?;
        let timestamp = self.timestamp(timestamp)?;
        let (number, bytes) = number::json_number(value.as_bytes())?;
        if bytes != value.len() {
            return None;
        }
        if !self.tags_before.is_empty() && tags_text == self.tags_before {
            return self.builder.push_with_last_tags(metric, timestamp, number)?.ok();
        }
        let mut tags = [("", ""); TAGS_MAX];
        let count = good_tags(tags_text, &mut tags)?;
        self.builder.push(metric, tags.get_mut(..count)?, timestamp, number).ok()?;
        self.tags_before = tags_text;
        Some(())
    }

    /// Milliseconds of a timestamp, which nearly every line has in common with the one before.
    fn timestamp(&mut self, text: &'a str) -> Option<i64> {
        if text != self.timestamp_before.0 {
            self.timestamp_before = (text, number::line_timestamp(text).ok()?);
        }
        // The text before the first line is empty, and an empty one is no timestamp.
        (!text.is_empty()).then_some(self.timestamp_before.1)
    }

    fn add_any(&mut self, words: &'a str) -> Result<(), String> {
        let words: Vec<&str> = words.split(' ').collect();
        let [metric, timestamp, value, tags @ ..] = words.as_slice() else {
            return Err(illegal(&format!("not enough arguments (need least 4, got {})", words.len())));
        };
        if tags.is_empty() {
            return Err(illegal(&format!("not enough arguments (need least 4, got {})", words.len())));
        }
        if metric.is_empty() {
            return Err(illegal("empty metric name"));
        }
        let millis = number::line_timestamp(timestamp).map_err(invalid)?;
        if millis <= 0 {
            return Err(illegal(&format!("invalid timestamp: {}", shown(timestamp))));
        }
        if value.is_empty() {
            return Err(illegal("empty value"));
        }
        let tags = distinct_tags(tags)?;
        let number = number::value(value).map_err(invalid)?;
        let refused = |error| illegal(&refusal_text(&error, metric, shown_timestamp(timestamp, millis), value, &tags));
        self.builder.push(metric, &mut tags.clone(), millis, number).map_err(refused)?;
        // The tags of the last point are no longer those of the text.
        self.tags_before = "";
        Ok(())
    }
}

/// The first word and what comes after the blank behind it.
fn word(text: &str) -> Option<(&str, &str)> {
    let end = memchr::memchr(b' ', text.as_bytes())?;
    Some((text.get(..end)?, text.get(end + 1..)?))
}

/// Puts the tags of `text` into `tags` and counts them, with one look at each byte: tags are short, and most of the time
/// of a search for their ends would go into beginning it. `None` when one is not good, or there are too many.
fn good_tags<'a>(text: &'a str, tags: &mut [(&'a str, &'a str)]) -> Option<usize> {
    let (mut count, mut start, mut equals) = (0, 0, None);
    let mut end_tag = |start: usize, equals: &mut Option<usize>, end: usize| {
        if start == end {
            return Some(());
        }
        let equals = equals.take()?;
        let (key, value) = (text.get(start..equals)?, text.get(equals + 1..end)?);
        *tags.get_mut(count)? = (!key.is_empty() && !value.is_empty()).then_some((key, value))?;
        count += 1;
        Some(())
    };
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b' ' => {
                end_tag(start, &mut equals, at)?;
                start = at + 1;
            }
            b'=' if equals.replace(at).is_some() => return None,
            _ => {}
        }
    }
    end_tag(start, &mut equals, text.len())?;
    Some(count)
}

/// The two halves of a tag around its only `=`.
fn pair(tag: &str) -> Option<(&str, &str)> {
    let (key, value) = tag.split_once('=')?;
    (!key.is_empty() && !value.is_empty() && !value.contains('=')).then_some((key, value))
}

pub(super) fn distinct_tags<'a>(words: &[&'a str]) -> Result<Vec<(&'a str, &'a str)>, String> {
    let mut tags: Vec<(&str, &str)> = Vec::new();
    for tag in words.iter().filter(|word| !word.is_empty()) {
        let (key, value) = pair(tag).ok_or_else(|| illegal(&format!("invalid tag: {}", shown(tag))))?;
        match tags.iter().find(|(known, _)| *known == key) {
            None => tags.push((key, value)),
            Some((_, known)) if *known == value => {}
            Some(_) => return Err(illegal(&format!("duplicate tag: {tag}, tags={}", braces(&tags)))),
        }
    }
    Ok(tags)
}

fn shown_timestamp(text: &str, millis: i64) -> i64 {
    number::long(text).unwrap_or(millis)
}

pub(super) fn shown(text: &str) -> String {
    text.chars().take(256).collect()
}

pub(super) fn illegal(text: &str) -> String {
    format!("illegal argument: {text}")
}

#[expect(clippy::needless_pass_by_value, reason = "fits `map_err`")]
pub(super) fn invalid(error: NumberError) -> String {
    format!("invalid value: {error}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidemark_model::PointBatch;

    use super::*;

    static RULES: PointRules = PointRules::with_tags_max(8);

    fn check(words: &str, expect: &str) {
        assert_eq!(PutLines::new(&RULES).add(words), Err(expect.to_owned()), "{words:?}");
    }

    #[test]
    fn replies_are_opentsdbs() {
        check("m 1 2", "illegal argument: not enough arguments (need least 4, got 3)");
        check("", "illegal argument: not enough arguments (need least 4, got 1)");
        check("m x 2 a=b", "invalid value: Invalid character 'x' in x");
        check("m 1 x a=b", "invalid value: Invalid character 'x' in x");
        check("m 1 9223372036854775808 a=b", "invalid value: Overflow in 9223372036854775808");
        check("m  1 2 a=b", "invalid value: Empty string");
        check("m 0 2 a=b", "illegal argument: invalid timestamp: 0");
        check("m -5 2 a=b", "illegal argument: invalid timestamp: -5");
        check("m 1 2 host", "illegal argument: invalid tag: host");
        check("m 1 2 host=a=b", "illegal argument: invalid tag: host=a=b");
        check("m 1 2 host=", "illegal argument: invalid tag: host=");
        check("m 1 2 host=a host=b", "illegal argument: duplicate tag: host=b, tags={host=a}");
        check("t.tel 1 2 ", "illegal argument: Need at least one tag (metric=t.tel, tags={})");
        check("bad!m 1 2 a=b", "illegal argument: Invalid metric name (\"bad!m\"): illegal character: !");
        check("m 1 1e400 a=b", "illegal argument: value is NaN or Infinite: Infinity for metric=m timestamp=1");
        let many: Vec<_> = (0..9).map(|number| format!("k{number}=v")).collect();
        let shown = many.join(", ");
        check(
            &format!("m 1 2 {}", many.join(" ")),
            &format!("illegal argument: Too many tags: 9 maximum allowed: 8, tags: {{{shown}}}"),
        );
    }

    fn read(lines: &[&str]) -> PointBatch {
        let mut put = PutLines::new(&RULES);
        lines.iter().for_each(|line| put.add(line).unwrap());
        put.take()
    }

    #[test]
    fn extra_blanks_among_the_tags_and_repeated_tags_are_tolerated() {
        let batch = read(&["m 1 2  host=x", "m 1 2 host=x  a=b ", "n 1 2 host=x  a=b ", "n 1 2 a=b a=b"]);
        let keys: Vec<_> = batch.points().map(|point| batch.series_key(point.series).to_string()).collect();
        assert_eq!(keys, ["m{host=x}", "m{a=b,host=x}", "n{a=b,host=x}", "n{a=b}"]);
    }

    #[test]
    fn a_bad_line_between_good_ones_changes_nothing_about_them() {
        let mut put = PutLines::new(&RULES);
        put.add("m 1 1 a=1").unwrap();
        put.add("m 1 +2 b=2").unwrap();
        put.add("bad! 1 1 a=1").unwrap_err();
        put.add("m 1 3 a=1").unwrap();
        let batch = put.take();
        let keys: Vec<_> = batch.points().map(|point| batch.series_key(point.series).to_string()).collect();
        assert_eq!(keys, ["m{a=1}", "m{b=2}", "m{a=1}"]);
    }

    fn line() -> impl Strategy<Value = String> {
        let metric = prop::sample::select(vec!["m", "sys.cpu", "größe", "bad!", ""]);
        let timestamp = prop::sample::select(vec![
            "1356998400",
            "1356998400123",
            "1356998400.5",
            "0",
            "-1",
            "x",
            "",
            "99999999999999",
        ]);
        let value = prop::sample::select(vec!["1", "-2.5", "1e3", "+4", ".5", "5.", "1.5f", "x", "", "1e999", "007"]);
        let tag = prop::sample::select(vec!["a=1", "b=2", "a=2", "host=web01", "", "c", "d==", "e!=1"]);
        (metric, timestamp, value, prop::collection::vec(tag, 0..5))
            .prop_map(|(metric, timestamp, value, tags)| format!("{metric} {timestamp} {value} {}", tags.join(" ")))
    }

    proptest! {
        #[test]
        fn the_fast_reader_agrees_with_the_thorough_one(lines in prop::collection::vec(line(), 1..20)) {
            let mut fast = PutLines::new(&RULES);
            let mut thorough = PutLines::new(&RULES);
            for line in &lines {
                prop_assert_eq!(fast.add(line), thorough.add_any(line), "{}", line);
            }
            prop_assert_eq!(fast.take(), thorough.take());
        }

        #[test]
        fn no_line_makes_it_panic(line in "\\PC*") {
            let _unused = PutLines::new(&RULES).add(&line);
        }
    }
}
