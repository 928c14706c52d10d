//! Reads the JSON that agents send, and nothing else.
//!
//! The cursor walks over the bytes once, keeps names as slices of the body and allocates nothing for a point. It gives
//! up on backslashes, control bytes, unknown or repeated keys, more than 16 tags, values that are no JSON number,
//! timestamps that are no positive integer, and on every point that breaks a rule.

use tidemark_model::{PointBatchBuilder, Value, timestamp_ms};

use crate::number;

/// The body has something that the cursor does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GaveUp;

/// Most tags of a point that the cursor has room for.
const TAGS_MAX: usize = 16;

/// Adds all points of a body to a batch.
///
/// # Errors
/// Gives up, leaving some points in the builder: throw it away.
pub(crate) fn parse(text: &str, builder: &mut PointBatchBuilder) -> Result<(), GaveUp> {
    let mut cursor = Cursor {
        text,
        bytes: text.as_bytes(),
        at: 0,
        tags_before: b"",
        timestamp_before: (b"", 0),
        tags: [("", ""); TAGS_MAX],
    };
    // A point is seldom shorter than this.
    builder.reserve(text.len() / 96);
    match cursor.next()? {
        b'{' => cursor.point(builder)?,
        b'[' => cursor.points(builder)?,
        _ => return Err(GaveUp),
    }
    match cursor.next() {
        Ok(_) => Err(GaveUp),
        Err(GaveUp) => Ok(()),
    }
}

struct Cursor<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    /// The tags of the last point as they were sent, with their braces: agents send the metrics of a host side by
    /// side, and comparing bytes is cheaper than reading, checking and sorting the tags again.
    tags_before: &'a [u8],
    /// The timestamp of the last point as it was sent, with the byte behind it, and its milliseconds.
    timestamp_before: (&'a [u8], i64),
    /// Room for the tags of one point.
    tags: [(&'a str, &'a str); TAGS_MAX],
}

/// The fields of a point.
#[derive(Default)]
struct Fields<'a> {
    metric: Option<&'a str>,
    timestamp: Option<i64>,
    value: Option<Value>,
    tags: Option<TagField>,
}

#[derive(Clone, Copy)]
enum TagField {
    SameAsBefore,
    /// So many of the cursor's tags.
    Listed(usize),
}

/// The keys of the fields.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Metric,
    Timestamp,
    Value,
    Tags,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// May be in a string: printable ASCII and bytes of longer UTF-8 sequences.
    Text,
    /// Ends a string.
    Quote,
    /// Escapes and control bytes.
    Other,
}

const CLASSES: [Class; 256] = {
    let mut classes = [Class::Text; 256];
    let mut byte = 0;
    while byte < 0x20 {
        set(&mut classes, byte, Class::Other);
        byte += 1;
    }
    set(&mut classes, b'"' as usize, Class::Quote);
    set(&mut classes, b'\\' as usize, Class::Other);
    set(&mut classes, 0x7F, Class::Other);
    classes
};

/// Whether [`CLASSES`] has text for all bytes of a word. May say no where it has; that is only slower.
fn all_text(word: u64) -> bool {
    const ONES: u64 = u64::MAX / 0xFF;
    const HIGH: u64 = ONES * 0x80;
    // Of each byte the high bit, where it is below the limit; exact for the lowest such byte (Mycroft's test).
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word & HIGH;
    let equal = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    below(word, 0x20) | equal(b'"') | equal(b'\\') | equal(0x7F) == 0
}

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler with indexes below 256")]
const fn set(classes: &mut [Class; 256], byte: usize, class: Class) {
    classes[byte] = class;
}

impl<'a> Cursor<'a> {
    /// The next byte that is no blank, taken.
    fn next(&mut self) -> Result<u8, GaveUp> {
        loop {
            let byte = *self.bytes.get(self.at).ok_or(GaveUp)?;
            self.at += 1;
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Ok(byte);
            }
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), GaveUp> {
        if self.next()? == byte { Ok(()) } else { Err(GaveUp) }
    }

    /// Elements of an array up to its bracket. An empty array is an error that the slow path words.
    fn points(&mut self, builder: &mut PointBatchBuilder) -> Result<(), GaveUp> {
        loop {
            self.expect(b'{')?;
            self.point(builder)?;
            match self.next()? {
                b',' => {}
                b']' => return Ok(()),
                _ => return Err(GaveUp),
            }
        }
    }

    /// The fields of a point up to its brace.
    fn point(&mut self, builder: &mut PointBatchBuilder) -> Result<(), GaveUp> {
        let mut fields = Fields::default();
        loop {
            match self.key()? {
                Key::Metric if fields.metric.is_none() => {
                    self.expect(b'"')?;
                    fields.metric = Some(self.string()?);
                }
                Key::Timestamp if fields.timestamp.is_none() => fields.timestamp = Some(self.timestamp()?),
                Key::Value if fields.value.is_none() => fields.value = Some(self.value()?),
                Key::Tags if fields.tags.is_none() => fields.tags = Some(self.tags()?),
                _ => return Err(GaveUp),
            }
            match self.next()? {
                b',' => {}
                b'}' => return self.push(fields, builder),
                _ => return Err(GaveUp),
            }
        }
    }

    /// The key of a field up to its colon, which is taken. Its first letter tells which one it must be.
    fn key(&mut self) -> Result<Key, GaveUp> {
        self.expect(b'"')?;
        let rest = self.bytes.get(self.at..).ok_or(GaveUp)?;
        let (key, text): (Key, &[u8]) = match rest {
            [b'm', ..] => (Key::Metric, b"metric\""),
            [b'v', ..] => (Key::Value, b"value\""),
            [b't', b'i', ..] => (Key::Timestamp, b"timestamp\""),
            [b't', ..] => (Key::Tags, b"tags\""),
            _ => return Err(GaveUp),
        };
        if !rest.starts_with(text) {
            return Err(GaveUp);
        }
        self.at += text.len();
        self.expect(b':')?;
        Ok(key)
    }

    /// The text of a string up to its closing quote, which is taken.
    fn string(&mut self) -> Result<&'a str, GaveUp> {
        let start = self.at;
        // Eight bytes at once, as long as all of them are text.
        while let Some(word) = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<8>())
            && all_text(u64::from_le_bytes(*word))
        {
            self.at += 8;
        }
        loop {
            let byte = *self.bytes.get(self.at).ok_or(GaveUp)?;
            match CLASSES.get(usize::from(byte)) {
                Some(Class::Text) => self.at += 1,
                Some(Class::Quote) => break,
                _ => return Err(GaveUp),
            }
        }
        let text = self.text.get(start..self.at).ok_or(GaveUp)?;
        self.at += 1;
        Ok(text)
    }

    /// Milliseconds of a timestamp in seconds or milliseconds.
    fn timestamp(&mut self) -> Result<i64, GaveUp> {
        self.skip_blanks();
        let start = self.at;
        let (text, before) = self.timestamp_before;
        if !text.is_empty() && self.bytes.get(start..).is_some_and(|rest| rest.starts_with(text)) {
            // The byte behind it is no part of the number.
            self.at += text.len() - 1;
            return Ok(before);
        }
        let mut timestamp = 0_i64;
        while let Some(&digit @ b'0'..=b'9') = self.bytes.get(self.at) {
            timestamp = timestamp * 10 + i64::from(digit - b'0');
            self.at += 1;
            if self.at - start > 13 {
                return Err(GaveUp);
            }
        }
        // JSON has no leading zeros, and zero is no timestamp.
        if matches!(self.bytes.get(start), Some(b'1'..=b'9')) && self.at_end_of_number() {
            let timestamp = timestamp_ms(timestamp);
            self.timestamp_before = (self.bytes.get(start..=self.at).ok_or(GaveUp)?, timestamp);
            Ok(timestamp)
        } else {
            Err(GaveUp)
        }
    }

    fn value(&mut self) -> Result<Value, GaveUp> {
        self.skip_blanks();
        let rest = self.bytes.get(self.at..).ok_or(GaveUp)?;
        let (value, bytes) = number::json_number(rest).ok_or(GaveUp)?;
        self.at += bytes;
        if self.at_end_of_number() { Ok(value) } else { Err(GaveUp) }
    }

    /// Whether the byte after a number is one that may follow it.
    fn at_end_of_number(&self) -> bool {
        matches!(self.bytes.get(self.at), Some(b',' | b'}' | b' ' | b'\n' | b'\r' | b'\t'))
    }

    fn skip_blanks(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn tags(&mut self) -> Result<TagField, GaveUp> {
        self.skip_blanks();
        let start = self.at;
        let rest = self.bytes.get(start..).ok_or(GaveUp)?;
        if !self.tags_before.is_empty() && rest.starts_with(self.tags_before) {
            self.at += self.tags_before.len();
            return Ok(TagField::SameAsBefore);
        }
        let listed = self.listed_tags()?;
        self.tags_before = self.bytes.get(start..self.at).ok_or(GaveUp)?;
        Ok(listed)
    }

    fn listed_tags(&mut self) -> Result<TagField, GaveUp> {
        self.expect(b'{')?;
        for position in 0..TAGS_MAX {
            self.expect(b'"')?;
            let key = self.string()?;
            self.expect(b':')?;
            self.expect(b'"')?;
            let value = self.string()?;
            *self.tags.get_mut(position).ok_or(GaveUp)? = (key, value);
            match self.next()? {
                b',' => {}
                b'}' => return Ok(TagField::Listed(position + 1)),
                _ => return Err(GaveUp),
            }
        }
        Err(GaveUp)
    }

    fn push(&mut self, fields: Fields<'a>, builder: &mut PointBatchBuilder) -> Result<(), GaveUp> {
        let Fields { metric: Some(metric), timestamp: Some(timestamp), value: Some(value), tags: Some(tags) } = fields
        else {
            return Err(GaveUp);
        };
        let pushed = match tags {
            TagField::SameAsBefore => builder.push_with_last_tags(metric, timestamp, value).ok_or(GaveUp)?,
            TagField::Listed(count) => {
                builder.push(metric, self.tags.get_mut(..count).ok_or(GaveUp)?, timestamp, value)
            }
        };
        pushed.map_err(|_| GaveUp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<String>, GaveUp> {
        let mut builder = PointBatchBuilder::default();
        parse(text, &mut builder)?;
        let batch = builder.finish();
        let show = |point: tidemark_model::PointRef| {
            format!("{} {} {:?}", batch.series_key(point.series), point.timestamp, point.value)
        };
        Ok(batch.points().map(show).collect())
    }

    #[test]
    fn the_shape_that_agents_send_is_read() {
        let body = r#"[{"metric":"sys.cpu","timestamp":1356998400,"value":42,"tags":{"host":"a","dc":"x"}},
            {"metric":"sys.mem","timestamp":1356998400123,"value":-1.5,"tags":{"host":"a","dc":"x"}},
            { "tags" : { "host" : "b" } , "value" : 1e3 , "timestamp" : 1356998400 , "metric" : "größe" } ]  "#;
        assert_eq!(
            read(body).unwrap(),
            [
                "sys.cpu{dc=x,host=a} 1356998400000 Int(42)",
                "sys.mem{dc=x,host=a} 1356998400123 Float(-1.5)",
                "größe{host=b} 1356998400000 Float(1000.0)",
            ]
        );
        assert_eq!(read(r#"{"metric":"m","timestamp":1,"value":0,"tags":{"a":"b"}}"#).unwrap().len(), 1);
    }

    #[test]
    fn every_byte_in_every_place_of_a_word_is_told_from_text() {
        for byte in 0..=255_u8 {
            for place in 0..8 {
                for other in [b'a', 0x20, 0xC3, b'!', b'#', b'[', b']', 0x7E, 0x80] {
                    let mut bytes = [other; 8];
                    bytes[place] = byte;
                    let text = CLASSES[usize::from(byte)] == Class::Text;
                    assert_eq!(all_text(u64::from_le_bytes(bytes)), text, "{byte} among {other}");
                }
            }
        }
        assert!(!all_text(u64::from_le_bytes(*b"\"\"\"\"\"\"\"\"")));
    }

    #[test]
    fn a_timestamp_like_the_one_before_is_read_to_its_end() {
        let body = |second: &str| {
            let point =
                |timestamp: &str| format!(r#"{{"timestamp":{timestamp},"metric":"m","value":1,"tags":{{"a":"b"}}}}"#);
            read(&format!("[{},{}]", point("135"), point(second)))
        };
        assert_eq!(body("135").unwrap()[1], "m{a=b} 135000 Int(1)");
        assert_eq!(body("1356").unwrap()[1], "m{a=b} 1356000 Int(1)");
        assert_eq!(body(" 135").unwrap()[1], "m{a=b} 135000 Int(1)");
        assert_eq!(body("135 ").unwrap()[1], "m{a=b} 135000 Int(1)");
        assert_eq!(body("135.5"), Err(GaveUp));
    }

    #[test]
    fn everything_else_is_left_to_the_slow_path() {
        let point = |metric: &str, timestamp: &str, value: &str, tags: &str| {
            format!(r#"{{"metric":"{metric}","timestamp":{timestamp},"value":{value},"tags":{tags}}}"#)
        };
        let tags = r#"{"a":"b"}"#;
        assert!(read(&point("m", "1", "1", tags)).is_ok());
        let many: Vec<_> = (0..17).map(|number| format!(r#""k{number}":"v""#)).collect();
        let bodies = [
            String::new(),
            "[]".to_owned(),
            "[null]".to_owned(),
            point(r"m\u0041", "1", "1", tags),
            point("m:m", "1", "1", tags),
            point("m", "0", "1", tags),
            point("m", "01", "1", tags),
            point("m", "1.5", "1", tags),
            point("m", "\"1\"", "1", tags),
            point("m", "10000000000000", "1", tags),
            point("m", "1", "\"1\"", tags),
            point("m", "1", "01", tags),
            point("m", "1", "1.", tags),
            point("m", "1", "1e999", tags),
            point("m", "1", "9223372036854775808", tags),
            point("m", "1", "1", "{}"),
            point("m", "1", "1", r#"{"a":"b","a":"c"}"#),
            point("m", "1", "1", &format!("{{{}}}", many.join(","))),
            point("m", "1", "1", tags) + "x",
            format!("[{},]", point("m", "1", "1", tags)),
            r#"{"metric":"m","timestamp":1,"value":1}"#.to_owned(),
            r#"{"metric":"m","timestamp":1,"value":1,"tags":{"a":"b"},"other":1}"#.to_owned(),
            r#"{"metric":"m","metric":"m","timestamp":1,"value":1,"tags":{"a":"b"}}"#.to_owned(),
        ];
        for body in bodies {
            assert_eq!(read(&body), Err(GaveUp), "{body}");
        }
    }
}
