//! The texts and bytes of OpenTSDB's simple histogram.
//!
//! The bytes are those of its `SimpleHistogram`: the number of buckets in two bytes; of each its lower and upper bound as
//! 4-byte IEEE numbers, big-endian, and its count; then the counts below and above. Counts are numbers of 7 bits a byte,
//! low bits first, the high bit says that another byte follows, and a ninth byte has 8 bits.

use std::str::FromStr;

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use tidemark_model::Histogram;

/// With or without the signs at the end.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Reads the base64 of a histogram.
///
/// # Errors
/// Says what is wrong, in OpenTSDB's words where it has some.
pub(crate) fn from_base64(text: &str) -> Result<Histogram, String> {
    let bytes = BASE64.decode(text).map_err(|error| format!("the histogram is no base64: {error}"))?;
    if bytes.len() < 6 {
        return Err(format!("Byte array shorter than 6 bytes detected: {bytes:?}"));
    }
    read(&bytes).unwrap_or_else(|| Err("the bytes end before the histogram does".to_owned()))
}

/// `None` when there are too few bytes.
fn read(bytes: &[u8]) -> Option<Result<Histogram, String>> {
    let mut rest = bytes;
    let count = u16::from_be_bytes(take(&mut rest)?);
    let mut histogram = Histogram::default();
    for _ in 0..count {
        let (lower, upper) = (f32::from_be_bytes(take(&mut rest)?), f32::from_be_bytes(take(&mut rest)?));
        if let Err(error) = histogram.set(lower, upper, varint(&mut rest)?) {
            return Some(Err(error.to_string()));
        }
    }
    let (underflow, overflow) = (varint(&mut rest)?, varint(&mut rest)?);
    Some(with_ends(histogram, underflow, overflow))
}

fn with_ends(mut histogram: Histogram, underflow: i64, overflow: i64) -> Result<Histogram, String> {
    let ends = Histogram::new(underflow, overflow).map_err(|error| error.to_string())?;
    (histogram.underflow, histogram.overflow) = (ends.underflow, ends.overflow);
    Ok(histogram)
}

fn take<const LENGTH: usize>(rest: &mut &[u8]) -> Option<[u8; LENGTH]> {
    let (taken, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(*taken)
}

fn varint(rest: &mut &[u8]) -> Option<i64> {
    let mut value = 0_u64;
    for position in 0..9 {
        let [byte] = take(rest)?;
        let is_last = position == 8;
        let bits = if is_last { byte } else { byte & 0x7F };
        value |= u64::from(bits) << (7 * position);
        if is_last || byte < 0x80 {
            break;
        }
    }
    Some(value.cast_signed())
}

/// Reads `lo,hi=count:lo,hi=count:u=count:o=count`.
///
/// # Errors
/// Says what is wrong in OpenTSDB's words.
pub(crate) fn from_line(text: &str) -> Result<Histogram, String> {
    let (mut histogram, mut underflow, mut overflow) = (Histogram::default(), 0, 0);
    for bucket in text.split(':') {
        let improper = || format!("Improperly formatted bucket: {}", shown(bucket));
        let (key, values) = bucket.split_once('=').filter(|(_, values)| !values.contains('=')).ok_or_else(improper)?;
        let values = number(values).ok_or_else(improper)?;
        match key {
            "u" | "U" => underflow = values,
            "o" | "O" => overflow = values,
            _ => {
                let (lower, upper) =
                    bounds(key).ok_or_else(|| format!("Improperly formatted bounds: {}", shown(bucket)))?;
                histogram.set(lower, upper, values).map_err(|error| error.to_string())?;
            }
        }
    }
    with_ends(histogram, underflow, overflow)
}

/// Puts the fields of JSON together. `None` for an end stands for zero.
///
/// # Errors
/// Says what is wrong in OpenTSDB's words.
pub(crate) fn from_fields(
    buckets: &[(String, Option<String>)],
    underflow: Option<&str>,
    overflow: Option<&str>,
) -> Result<Histogram, String> {
    let mut histogram = Histogram::default();
    let whole = |text: &str| number(text).ok_or_else(|| format!("`{}` is no count of a histogram", shown(text)));
    for (key, values) in buckets {
        let (lower, upper) = bounds(key).ok_or_else(|| format!("Unable to parse bucket bounds: {}", shown(key)))?;
        let values = values.as_deref().map_or(Ok(0), whole)?;
        histogram.set(lower, upper, values).map_err(|error| error.to_string())?;
    }
    with_ends(histogram, underflow.map_or(Ok(0), whole)?, overflow.map_or(Ok(0), whole)?)
}

fn bounds(text: &str) -> Option<(f32, f32)> {
    let (lower, upper) = text.split_once(',')?;
    Some((number(lower)?, number(upper)?))
}

fn number<T: FromStr>(text: &str) -> Option<T> {
    text.trim().parse().ok()
}

fn shown(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As OpenTSDB encodes it.
    fn to_base64(histogram: &Histogram) -> String {
        let mut bytes = u16::try_from(histogram.buckets().len()).unwrap().to_be_bytes().to_vec();
        let varint = |bytes: &mut Vec<u8>, value: i64| {
            let mut value = value.cast_unsigned();
            for _ in 0..8 {
                if value < 0x80 {
                    break;
                }
                bytes.push(value as u8 | 0x80);
                value >>= 7;
            }
            bytes.push(value as u8);
        };
        for bucket in histogram.buckets() {
            bytes.extend(bucket.bounds.lower.to_be_bytes());
            bytes.extend(bucket.bounds.upper.to_be_bytes());
            varint(&mut bytes, bucket.count);
        }
        varint(&mut bytes, histogram.underflow);
        varint(&mut bytes, histogram.overflow);
        BASE64.encode(bytes)
    }

    fn example() -> Histogram {
        let mut histogram = Histogram::new(3, 300).unwrap();
        histogram.set(0.0, 1.75, 12).unwrap();
        histogram.set(1.75, 3.5, 16).unwrap();
        histogram
    }

    #[test]
    fn all_three_forms_give_the_same() {
        assert_eq!(from_line("0,1.75=12:1.75,3.5=16:u=3:o=300"), Ok(example()));
        let owned = |key: &str, count: &str| (key.to_owned(), Some(count.to_owned()));
        let fields = [owned("1.75,3.5", "16"), owned("0,1.75", "12")];
        assert_eq!(from_fields(&fields, Some("3"), Some("300")), Ok(example()));
        // Two buckets; 0, 1.75, 12; 1.75, 3.5, 16; 3; 300 is 0xAC 0x02.
        let bytes = [0, 2, 0, 0, 0, 0, 0x3F, 0xE0, 0, 0, 12, 0x3F, 0xE0, 0, 0, 0x40, 0x60, 0, 0, 16, 3, 0xAC, 0x02];
        assert_eq!(from_base64(&BASE64.encode(bytes)), Ok(example()));
        assert_eq!(from_base64(BASE64.encode(bytes).trim_end_matches('=')), Ok(example()));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let line = |text: &str| from_line(text).unwrap_err();
        assert_eq!(line("0,1"), "Improperly formatted bucket: 0,1");
        assert_eq!(line("0=1"), "Improperly formatted bounds: 0=1");
        assert_eq!(line("0,x=1"), "Improperly formatted bounds: 0,x=1");
        assert_eq!(line("0,1=x"), "Improperly formatted bucket: 0,1=x");
        assert_eq!(line("0,1=-1"), "a bucket cannot hold -1 values");
        assert_eq!(line("0,inf=1"), "the bounds of a bucket must be finite numbers");
        assert_eq!(line("0,1=1:u=-2"), "a bucket cannot hold -2 values");
        assert_eq!(from_fields(&[("0".to_owned(), None)], None, None).unwrap_err(), "Unable to parse bucket bounds: 0");
        assert!(from_base64("!").unwrap_err().starts_with("the histogram is no base64"));
        assert_eq!(from_base64("AAAA").unwrap_err(), "Byte array shorter than 6 bytes detected: [0, 0, 0]");
        assert_eq!(from_base64("AAIAAAAA").unwrap_err(), "the bytes end before the histogram does");
    }

    proptest! {
        #[test]
        fn a_histogram_survives_its_bytes(
            buckets in prop::collection::vec((-1e9_f32..1e9, -1e9_f32..1e9, 0..=i64::MAX), 0..20),
            underflow in 0..=i64::MAX,
            overflow in 0..=i64::MAX,
        ) {
            let mut histogram = Histogram::new(underflow, overflow).unwrap();
            for (lower, upper, count) in buckets {
                histogram.set(lower, upper, count).unwrap();
            }
            let text = to_base64(&histogram);
            // Fewer than six bytes are no histogram for OpenTSDB either.
            if !histogram.buckets().is_empty() {
                prop_assert_eq!(from_base64(&text), Ok(histogram));
            }
        }

        #[test]
        fn no_bytes_and_no_text_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "\\PC*") {
            let _unused = from_base64(&BASE64.encode(bytes));
            let _unused = (from_base64(&text), from_line(&text), from_fields(&[(text.clone(), Some(text))], None, None));
        }
    }
}
