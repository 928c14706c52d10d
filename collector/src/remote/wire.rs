//! Points as OpenTSDB's JSON, compressed.

use std::{
    io::{self, Write as _},
    ops::Range,
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};

use super::datapoints::Datapoints;

/// The body of a request and the objects in it.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) range: Range<usize>,
    pub(super) body: Bytes,
}

/// As many objects of `range`, from its start, as the limits allow; at least one.
pub(super) fn encode(sent: &Datapoints, range: Range<usize>, points_max: usize, bytes_max: usize) -> Piece {
    let (json, end) = to_json(sent, range.clone(), points_max, bytes_max);
    Piece { range: range.start..end, body: Bytes::from(compress(json.as_bytes())) }
}

fn to_json(sent: &Datapoints, range: Range<usize>, points_max: usize, bytes_max: usize) -> (String, usize) {
    let mut json = String::from("[");
    let mut end = range.start;
    let most = range.start..range.end.min(range.start.saturating_add(points_max.max(1)));
    sent.each(most, |index, points| {
        let before = json.len();
        if before > 1 {
            json.push(',');
        }
        sent.put_object(&mut json, points);
        let fits = json.len() <= bytes_max || index == range.start;
        match fits {
            true => end = index + 1,
            false => json.truncate(before),
        }
        fits
    });
    json.push(']');
    (json, end)
}

fn compress(plain: &[u8]) -> Vec<u8> {
    let compressed = || -> io::Result<Vec<u8>> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(plain)?;
        encoder.finish()
    };
    // Writing to memory cannot fail.
    compressed().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::value::RawValue;
    use tidemark_model::{PointBatchBuilder, PointRules, Value};

    use super::*;

    fn batch(points: &[(&str, i64, Value)]) -> Datapoints {
        let mut builder = PointBatchBuilder::default();
        for (metric, timestamp, value) in points {
            builder.push(metric, &mut [("host", "h"), ("dc", "größe")], *timestamp, *value).unwrap();
        }
        Datapoints::of(builder.finish()).remove(0)
    }

    #[test]
    fn integers_and_doubles_stay_what_they_are() {
        let points = [
            ("a", 1_795_343_205_123, Value::Int(i64::MIN)),
            ("a", 1_795_343_205_000, Value::Float(1.0)),
            ("b", 5_000, Value::Float(1e300)),
        ];
        let (json, end) = to_json(&batch(&points), 0..3, 10, 1_000_000);
        let tags = r#""tags":{"dc":"größe","host":"h"}"#;
        let expect = format!(
            r#"[{{"metric":"a","timestamp":1795343205123,"value":-9223372036854775808,{tags}}},{{"metric":"a","timestamp":1795343205000,"value":1.0,{tags}}},{{"metric":"b","timestamp":5,"value":1e300,{tags}}}]"#
        );
        assert_eq!((json, end), (expect, 3));
    }

    #[test]
    fn names_with_special_characters_are_escaped() {
        let mut builder = PointBatchBuilder::with_rules(PointRules::LOOSE);
        builder.push(r#"a"b\"#, &mut [(r#""k"#, r#"\"v" x"#)], 5_000, Value::Int(1)).unwrap();
        let (json, _) = to_json(&Datapoints::of(builder.finish()).remove(0), 0..1, 10, 1_000_000);
        let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(parsed[0]["metric"], r#"a"b\"#);
        assert_eq!(parsed[0]["tags"], serde_json::json!({ r#""k"#: r#"\"v" x"# }));
    }

    #[test]
    fn a_piece_keeps_the_limits_but_has_at_least_one_point() {
        let points: Vec<_> = (0..10).map(|at| ("metric", 1_795_343_205_000 + at, Value::Int(at))).collect();
        let batch = batch(&points);
        assert_eq!(to_json(&batch, 2..10, 3, 1_000_000).1, 5);
        let (json, end) = to_json(&batch, 0..10, 100, 250);
        assert!(json.len() <= 251 && (1..10).contains(&end), "{} {end}", json.len());
        assert_eq!(to_json(&batch, 4..10, 100, 1).1, 5);
        assert_eq!(to_json(&batch, 4..4, 100, 1), ("[]".to_owned(), 4));
    }

    proptest! {
        #[test]
        fn the_json_of_any_batch_has_its_points(
            values in prop::collection::vec(prop_oneof![any::<i64>().prop_map(Value::Int), (-1e308..1e308).prop_map(Value::Float)], 1..20)
        ) {
            let points: Vec<_> = values.iter().enumerate().map(|(at, value)| ("m", 1_795_343_205_000 + at as i64, *value)).collect();
            let (json, end) = to_json(&batch(&points), 0..points.len(), 100, 1_000_000);
            prop_assert_eq!(end, points.len());
            // Not as numbers: by default `serde_json` reads doubles with an error in the last place.
            let parsed: Vec<BTreeMap<&str, &RawValue>> = serde_json::from_str(&json).unwrap();
            for (parsed, value) in parsed.iter().zip(&values) {
                let text = parsed["value"].get();
                let same = match value {
                    Value::Int(int) => text.parse() == Ok(*int),
                    Value::Float(float) => text.contains(['.', 'e']) && text.parse() == Ok(*float),
                };
                prop_assert!(same, "{text} of {value:?}");
            }
        }
    }
}
