//! What OpenTSDB's JSON objects have in place of a point's value when they are of something else: the bodies of
//! `/api/histogram` and `/api/rollup`, which are also lines of exports.

use std::fmt::Write as _;

use crate::{Histogram, HistogramBucket, MetricSpace, WrittenRollup};

impl Histogram {
    /// Its fields: `"buckets":{"0.0,1.75":12},"underflow":1,"overflow":2`.
    ///
    /// OpenTSDB takes no object without a bucket, but its bytes: `"id":0,"value":"AACBAIIA"`.
    #[must_use]
    pub fn json_fields(&self) -> String {
        if self.buckets().is_empty() {
            return format!(r#""id":0,"value":"{}""#, base64_of_ends(self.underflow, self.overflow));
        }
        let mut fields = String::from(r#""buckets":{"#);
        for (position, HistogramBucket { bounds, count }) in self.buckets().iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            // Writing to a text cannot fail. The bounds have as many digits as they need, and exponents.
            let _written = write!(fields, r#"{comma}"{:?},{:?}":{count}"#, bounds.lower, bounds.upper);
        }
        let _written = write!(fields, r#"}},"underflow":{},"overflow":{}"#, self.underflow, self.overflow);
        fields
    }
}

impl MetricSpace {
    /// The fields that a value of it has beside a point's: `"interval":"1h","aggregator":"SUM"`. `aggregate` is the value
    /// of the tag [`crate::AGGREGATE_KEY`]. A histogram has [`Histogram::json_fields`].
    #[must_use]
    pub fn json_fields(&self, aggregate: Option<&str>) -> String {
        let of_time = match self {
            Self::Histogram => return String::new(),
            Self::Aggregate => None,
            Self::Rollup(rollup) | Self::AggregateRollup(rollup) => Some(rollup),
        };
        let of_time = of_time.map(|WrittenRollup { interval, aggregator }| {
            format!(r#""interval":"{interval}","aggregator":"{aggregator}""#)
        });
        let of_series = aggregate.filter(|_| !matches!(self, Self::Rollup(_)));
        let of_series = of_series.map(|aggregate| format!(r#""groupByAggregator":"{aggregate}""#));
        of_time.into_iter().chain(of_series).collect::<Vec<_>>().join(",")
    }
}

/// The bytes of a histogram without buckets. Readers expect six at least: the counts are written longer than they need.
fn base64_of_ends(underflow: i64, overflow: i64) -> String {
    let mut bytes = vec![0, 0];
    for count in [underflow, overflow] {
        put_count(count.cast_unsigned(), &mut bytes);
    }
    bytes.resize(bytes.len().next_multiple_of(3), 0);
    bytes.chunks(3).flat_map(four_digits).collect()
}

/// Seven bits a byte, low bits first, at least two bytes; a ninth byte has eight bits.
fn put_count(mut count: u64, bytes: &mut Vec<u8>) {
    for position in 0..8 {
        if position > 1 && count == 0 {
            return;
        }
        let more = if position == 0 || count >= 0x80 { 0x80 } else { 0 };
        bytes.push(count as u8 & 0x7F | more);
        count >>= 7;
        if more == 0 {
            return;
        }
    }
    bytes.push(count as u8);
}

fn four_digits(three: &[u8]) -> [char; 4] {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = three.iter().fold(0_usize, |bits, &byte| bits << 8 | usize::from(byte));
    [18, 12, 6, 0].map(|shift| DIGITS.get(bits >> shift & 63).map_or('A', |&digit| char::from(digit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_a_histogram_are_those_of_its_body() {
        let mut histogram = Histogram::new(1, 2).unwrap();
        for (lower, upper, count) in [(1.75, 3.4e38, 16), (0.0, 1.75, 12), (-1e-30, 0.0, i64::MAX)] {
            histogram.set(lower, upper, count).unwrap();
        }
        assert_eq!(
            histogram.json_fields(),
            r#""buckets":{"-1e-30,0.0":9223372036854775807,"0.0,1.75":12,"1.75,3.4e38":16},"underflow":1,"overflow":2"#
        );
    }

    #[test]
    fn a_histogram_without_buckets_is_its_bytes() {
        // 0 buckets, 1 as 0x81 0x00, 2 as 0x82 0x00.
        assert_eq!(Histogram::new(1, 2).unwrap().json_fields(), r#""id":0,"value":"AACBAIIA""#);
        // 300 is 0xAC 0x02; the largest count is eight bytes of ones and one of 0x7F, and a byte to make it 15.
        assert_eq!(Histogram::new(300, i64::MAX).unwrap().json_fields(), r#""id":0,"value":"AACsAv//////////fwAA""#);
    }

    #[test]
    fn the_fields_of_rollups_and_aggregates_are_those_of_their_body() {
        let hourly = || WrittenRollup { interval: "1h".to_owned(), aggregator: "SUM".to_owned() };
        let of_time = r#""interval":"1h","aggregator":"SUM""#;
        assert_eq!(MetricSpace::Rollup(hourly()).json_fields(Some("MAX")), of_time);
        assert_eq!(
            MetricSpace::AggregateRollup(hourly()).json_fields(Some("MAX")),
            format!(r#"{of_time},"groupByAggregator":"MAX""#)
        );
        assert_eq!(MetricSpace::Aggregate.json_fields(Some("MAX")), r#""groupByAggregator":"MAX""#);
    }
}
