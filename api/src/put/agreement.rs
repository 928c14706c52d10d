//! Holds the cursor to the slow path: on bodies as agents send them, on bodies with every oddity that either knows, and
//! on both after bytes were changed, taken out and put in.

use proptest::prelude::*;
use tidemark_model::{PointBatchBuilder, PointRules};

use super::{cursor, slow};

/// Whether the cursor read the body; if it did, the slow path reads the same points and no mistake.
fn agree(text: &str) -> bool {
    let mut builder = PointBatchBuilder::default();
    if cursor::parse(text, &mut builder).is_err() {
        return false;
    }
    let parsed = slow::parse(text, &PointRules::default(), None).unwrap_or_else(|error| panic!("{error} for {text:?}"));
    assert_eq!(parsed.rejections.described(), [], "{text:?}");
    let (fast, slow) = (builder.finish(), parsed.batch);
    assert_eq!(fast.columns().collect::<Vec<_>>(), slow.columns().collect::<Vec<_>>(), "{text:?}");
    assert_eq!(fast, slow, "{text:?}");
    true
}

fn one_of(texts: &[&str]) -> impl Strategy<Value = String> + use<> {
    prop::sample::select(texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>())
}

/// Points as agents send them.
fn plain_point() -> impl Strategy<Value = String> {
    let metric = one_of(&["sys.cpu.user", "sys.mem", "größe", "a/b-c_d"]);
    let value = prop_oneof![
        any::<i64>().prop_map(|int| int.to_string()),
        any::<f64>().prop_filter_map("finite", |float| { float.is_finite().then(|| format!("{float:?}")) })
    ];
    let tags = prop::collection::btree_map("[a-d]{1,2}", "[a-z0-9._/-]{1,8}", 1..6);
    (metric, 1_i64..4_000_000_000, value, tags).prop_map(|(metric, timestamp, value, tags)| {
        let tags: Vec<_> = tags.iter().map(|(key, value)| format!(r#""{key}":"{value}""#)).collect();
        let tags = tags.join(",");
        format!(r#"{{"metric":"{metric}","timestamp":{timestamp},"value":{value},"tags":{{{tags}}}}}"#)
    })
}

/// Points with oddities: missing, repeated, unknown and misshapen fields in any order, blanks, escapes.
fn odd_point() -> impl Strategy<Value = String> {
    let field = prop_oneof![
        one_of(&[r#""m""#, r#""sys.cpu""#, r#""""#, r#""a b""#, r#""\u006d""#, "null", "5", r#""é""#])
            .prop_map(|value| format!(r#""metric":{value}"#)),
        one_of(&[
            "1356998400",
            "1356998400123",
            "0",
            "-1",
            "1.5",
            "1e3",
            r#""7""#,
            "9999999999999",
            "10000000000000",
            "007"
        ])
        .prop_map(|value| format!(r#""timestamp":{value}"#)),
        one_of(&[
            "1",
            "-0",
            "-0.0",
            "1.5e-3",
            "1e999",
            "9223372036854775808",
            r#""4""#,
            "null",
            "true",
            "01",
            "1.",
            "[1]"
        ])
        .prop_map(|value| format!(r#""value":{value}"#)),
        one_of(&[
            r#"{"a":"b"}"#,
            r#"{ "a" : "b" }"#,
            "{}",
            r#"{"a":"b","a":"b"}"#,
            r#"{"a":"b","a":"c"}"#,
            r#"{"a":1}"#,
            r#"{"b":"x","a":"y"}"#,
            r#"{"a!":"b"}"#,
            "null"
        ])
        .prop_map(|value| format!(r#""tags":{value}"#)),
        one_of(&[r#""other":1"#, r#""x":{"y":[]}"#]),
    ];
    (prop::collection::vec(field, 0..7), one_of(&[",", " , ", ",\n"]))
        .prop_map(|(fields, comma)| format!("{{{}}}", fields.join(&comma)))
}

/// Points that are mostly whole, with one field odd.
fn nearly_plain_point() -> impl Strategy<Value = String> {
    (plain_point(), one_of(&["", " ", "\n\t"]), 0..4_u8).prop_map(|(point, blank, place)| match place {
        0 => point.replace(':', &format!("{blank}:{blank}")),
        1 => point.replace(',', &format!("{blank},{blank}")),
        2 => point.replacen("\"value\"", "\"value2\":0,\"value\"", usize::from(blank.len() == 1)),
        _ => point.replacen('{', &format!("{{{blank}"), 1),
    })
}

fn body() -> impl Strategy<Value = String> {
    let point = prop_oneof![4 => plain_point(), 2 => nearly_plain_point(), 1 => odd_point()];
    prop::collection::vec(point, 0..6).prop_map(|points| format!("[{}]", points.join(",")))
}

/// A change of the text at a place.
fn mutated(text: &str, place: usize, with: &str, cut: usize) -> String {
    let characters: Vec<char> = text.chars().collect();
    let place = place % (characters.len() + 1);
    let after = (place + cut).min(characters.len());
    characters[..place].iter().copied().chain(with.chars()).chain(characters[after..].iter().copied()).collect()
}

proptest! {
    #[test]
    fn plain_bodies_are_read_by_the_cursor(points in prop::collection::vec(plain_point(), 1..10)) {
        let body = format!("[{}]", points.join(","));
        prop_assert!(agree(&body), "{}", body);
        prop_assert!(agree(&points[0]), "{}", body);
    }

    #[test]
    fn odd_bodies_are_never_read_differently(text in body()) {
        agree(&text);
    }

    #[test]
    fn changed_bodies_are_never_read_differently(
        text in body(),
        changes in prop::collection::vec((any::<usize>(), "[\\PC\"\\\\{}:,0-9 ]{0,2}", 0_usize..3), 1..4),
    ) {
        let text = changes.iter().fold(text, |text, (place, with, cut)| mutated(&text, *place, with, *cut));
        agree(&text);
    }

    #[test]
    fn no_body_makes_either_panic(text in "\\PC*") {
        agree(&text);
        let _either = slow::parse(&text, &PointRules::default(), None);
    }
}
