//! The identity of a series: its canonical text, its number in the store and its OpenTSDB id.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use thiserror::Error;

/// The number of a series in one store. It says nothing outside that store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesId(pub u64);

/// A metric and its tags as one canonical text: `metric NUL key NUL value NUL key NUL value`, tags sorted by key.
///
/// NUL is no legal character of a name, so the text is unambiguous, and equal series have equal bytes: it can be
/// hashed, compared and stored as it is. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesKey(Arc<str>);

impl SeriesKey {
    /// Takes a text that is canonical already, such as one out of a [`crate::PointBatch`].
    #[must_use]
    pub fn from_canonical(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// Builds the key from names that are legal already; the tags may come in any order.
    #[must_use]
    pub fn new(metric: &str, tags: &[(&str, &str)]) -> Self {
        let mut sorted: Vec<_> = tags.to_vec();
        sorted.sort_unstable();
        let mut text = String::from(metric);
        for (key, value) in sorted {
            text.push('\0');
            text.push_str(key);
            text.push('\0');
            text.push_str(value);
        }
        Self(Arc::from(text))
    }

    /// The canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The metric.
    #[must_use]
    pub fn metric(&self) -> &str {
        self.0.split('\0').next().unwrap_or_default()
    }

    /// The tags, sorted by key.
    #[must_use]
    pub fn tags(&self) -> Tags<'_> {
        Tags::of_canonical(&self.0)
    }

    /// The value of one tag.
    #[must_use]
    pub fn tag(&self, key: &str) -> Option<&str> {
        self.tags().find(|(candidate, _)| *candidate == key).map(|(_, value)| value)
    }
}

impl Borrow<str> for SeriesKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SeriesKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.metric())?;
        out.write_str("{")?;
        for (position, (key, value)) in self.tags().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            write!(out, "{comma}{key}={value}")?;
        }
        out.write_str("}")
    }
}

impl fmt::Debug for SeriesKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// The tags of a series in the order of their keys, as pairs of key and value.
#[derive(Clone, Debug)]
pub struct Tags<'a>(std::str::Split<'a, char>);

impl<'a> Tags<'a> {
    /// The tags in the canonical text of a series.
    #[must_use]
    pub fn of_canonical(text: &'a str) -> Self {
        let mut parts = text.split('\0');
        parts.next();
        Self(parts)
    }
}

impl<'a> Iterator for Tags<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let key = self.0.next()?;
        Some((key, self.0.next().unwrap_or_default()))
    }
}

/// OpenTSDB's id of a series: 3 bytes for the metric, then 3 for each tag key and 3 for its value, sorted by key id.
///
/// Its text is upper-case hexadecimal; clients cut it into pieces of six digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tsuid(Vec<u8>);

/// Why a text is no series id.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is no series id: an id is 3 bytes for the metric and 6 for each tag, in hexadecimal")]
pub struct TsuidError(String);

impl Tsuid {
    /// Bytes of the id of one name.
    pub const NAME_ID_BYTES: usize = 3;

    /// Builds the id from the ids of the metric and of the tags. The pairs are sorted here.
    #[must_use]
    pub fn new(metric: u32, tags: &[(u32, u32)]) -> Self {
        let mut sorted = tags.to_vec();
        sorted.sort_unstable();
        let ids = std::iter::once(metric).chain(sorted.into_iter().flat_map(|(key, value)| [key, value]));
        Self(ids.flat_map(|id| id.to_be_bytes().into_iter().skip(1)).collect())
    }

    /// The id as bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The id with these bytes; `None` when no id has so many.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let tags = bytes.len().checked_sub(Self::NAME_ID_BYTES)?;
        tags.is_multiple_of(2 * Self::NAME_ID_BYTES).then(|| Self(bytes.to_vec()))
    }

    /// The id of the metric.
    #[must_use]
    pub fn metric(&self) -> u32 {
        self.name_ids().next().unwrap_or(0)
    }

    /// The ids in order: metric, then key and value of each tag.
    pub fn name_ids(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.chunks(Self::NAME_ID_BYTES).map(|bytes| bytes.iter().fold(0, |id, &byte| id << 8 | u32::from(byte)))
    }
}

impl fmt::Display for Tsuid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02X}"))
    }
}

impl FromStr for Tsuid {
    type Err = TsuidError;

    fn from_str(text: &str) -> Result<Self, TsuidError> {
        let refused = || TsuidError(text.chars().take(64).collect());
        let digits: Option<Vec<u8>> =
            text.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
        let digits = digits.ok_or_else(refused)?;
        if digits.len() < 6 || (digits.len() - 6) % 12 != 0 {
            return Err(refused());
        }
        Ok(Self(digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect()))
    }
}

/// A series as a reader reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesInfo {
    /// Its number in the store.
    pub id: SeriesId,
    /// Its metric and tags.
    pub key: SeriesKey,
    /// Its OpenTSDB id.
    pub tsuid: Tsuid,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_series_have_equal_keys_whatever_the_order_of_their_tags() {
        let key = SeriesKey::new("cpu", &[("host", "a"), ("dc", "ams")]);
        assert_eq!(key, SeriesKey::new("cpu", &[("dc", "ams"), ("host", "a")]));
        assert_eq!(key.as_str(), "cpu\0dc\0ams\0host\0a");
        assert_eq!(key.to_string(), "cpu{dc=ams,host=a}");
        assert_eq!(key.tag("host"), Some("a"));
        assert_eq!(key.tag("rack"), None);
        assert_eq!(SeriesKey::new("up", &[]).tags().count(), 0);
    }

    #[test]
    fn a_tsuid_survives_its_text() {
        let tsuid = Tsuid::new(1, &[(0x0A_BCDE, 7), (2, 3)]);
        assert_eq!(tsuid.to_string(), "0000010000020000030ABCDE000007");
        assert_eq!(tsuid.to_string().parse(), Ok(tsuid.clone()));
        assert_eq!(tsuid.name_ids().collect::<Vec<_>>(), [1, 2, 3, 0x0A_BCDE, 7]);
        assert_eq!(Tsuid::from_bytes(tsuid.as_bytes()), Some(tsuid.clone()));
        assert_eq!(Tsuid::from_bytes(&[0, 0, 1, 0]), None);
        assert_eq!(tsuid.metric(), 1);
        assert!("0000".parse::<Tsuid>().is_err());
        assert!("00000G".parse::<Tsuid>().is_err());
        assert!("000001000002".parse::<Tsuid>().is_err());
    }
}
