//! Numbers and timestamps in the texts that clients send.

use tidemark_model::{Value, timestamp_ms};

/// Powers of ten that a double holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];
/// Integers up to this are exact as doubles.
const EXACT_MAX: u64 = 1 << 53;

/// The number that a text begins with, in JSON's grammar, and its length in bytes. An integer without fraction and
/// exponent stays an integer. `None` when there is no number, or when it fits neither an `i64` nor a finite double.
pub(crate) fn json_number(text: &[u8]) -> Option<(Value, usize)> {
    let negative = text.first() == Some(&b'-');
    let start = usize::from(negative);
    let whole = digits(text.get(start..)?);
    if whole.count == 0 || (whole.count > 1 && text.get(start) == Some(&b'0')) {
        return None;
    }
    let mut at = start + whole.count;
    if !matches!(text.get(at), Some(b'.' | b'e' | b'E')) {
        return Some((Value::Int(integer(whole, negative, text.get(..at)?)?), at));
    }
    let mut mantissa = whole.value;
    let mut scale = 0;
    if text.get(at) == Some(&b'.') {
        let fraction = digits(text.get(at + 1..)?);
        if fraction.count == 0 {
            return None;
        }
        at += 1 + fraction.count;
        scale = fraction.count;
        mantissa = join(mantissa, fraction);
    }
    let exponent = matches!(text.get(at), Some(b'e' | b'E'));
    if exponent {
        at += 1;
        at += usize::from(matches!(text.get(at), Some(b'+' | b'-')));
        let digits = digits(text.get(at..)?).count;
        if digits == 0 {
            return None;
        }
        at += digits;
    }
    let float = match (exponent, mantissa.filter(|&mantissa| mantissa <= EXACT_MAX), POWERS.get(scale)) {
        // Both are exact, so the quotient is the double nearest to the text: Clinger's fast path.
        (false, Some(mantissa), Some(power)) => mantissa as f64 / power * if negative { -1.0 } else { 1.0 },
        _ => std::str::from_utf8(text.get(..at)?).ok()?.parse().ok()?,
    };
    float.is_finite().then_some((Value::Float(float), at))
}

/// A run of digits.
#[derive(Clone, Copy)]
struct Digits {
    /// Their value, if it fits.
    value: Option<u64>,
    /// How many there are.
    count: usize,
}

/// Digits that always fit a `u64`.
const DIGITS_SAFE: usize = 19;

fn digits(text: &[u8]) -> Digits {
    let mut value = 0_u64;
    let mut count = 0;
    for &byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
        count += 1;
    }
    Digits { value: (count <= DIGITS_SAFE).then_some(value), count }
}

fn join(whole: Option<u64>, fraction: Digits) -> Option<u64> {
    let power = 10_u64.checked_pow(u32::try_from(fraction.count).ok()?)?;
    whole?.checked_mul(power)?.checked_add(fraction.value?)
}

fn integer(whole: Digits, negative: bool, text: &[u8]) -> Option<i64> {
    match whole.value.map(i64::try_from) {
        Some(Ok(value)) => Some(if negative { -value } else { value }),
        // Only the least of all integers is left.
        _ => std::str::from_utf8(text).ok()?.parse().ok(),
    }
}

/// Why a text is no value; the texts are OpenTSDB's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NumberError {
    /// The text has no character.
    #[error("Empty string")]
    Empty,
    /// The text has something that is no digit.
    #[error("Invalid character '{character}' in {text}")]
    Character {
        /// The first such character.
        character: char,
        /// The text.
        text: String,
    },
    /// The text is a sign alone.
    #[error("Just a sign, no value: {0}")]
    OnlySign(String),
    /// The text has more digits than an `i64`.
    #[error("Value too long: {0}")]
    TooLong(String),
    /// The number does not fit an `i64`.
    #[error("Overflow in {0}")]
    Overflow(String),
    /// The text has a dot or an exponent and is no number.
    #[error("For input string: \"{0}\"")]
    Float(String),
}

/// Characters of a text that an error repeats.
const SHOWN_CHARACTERS_MAX: usize = 64;

fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARACTERS_MAX).collect()
}

/// The value of a text: an integer when it has neither a dot nor an exponent, else a double, which may be infinite.
///
/// # Errors
/// Says what is wrong in OpenTSDB's words.
pub(crate) fn value(text: &str) -> Result<Value, NumberError> {
    // Nearly every text is a JSON number.
    if let Some((value, bytes)) = json_number(text.as_bytes())
        && bytes == text.len()
    {
        return Ok(value);
    }
    if text.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
        float(text).map(Value::Float)
    } else {
        long(text).map(Value::Int)
    }
}

fn float(text: &str) -> Result<f64, NumberError> {
    // Java takes a type letter at the end.
    let digits = text.strip_suffix(['f', 'F', 'd', 'D']).unwrap_or(text);
    let refused = || NumberError::Float(shown(text));
    // `inf`, `nan` and the like are numbers for Rust alone.
    if !digits.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-')) {
        return Err(refused());
    }
    digits.parse().map_err(|_| refused())
}

/// The integer of a text.
///
/// # Errors
/// Says what is wrong in OpenTSDB's words.
pub(crate) fn long(text: &str) -> Result<i64, NumberError> {
    if text.is_empty() {
        return Err(NumberError::Empty);
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() {
        return Err(NumberError::OnlySign(shown(text)));
    }
    if digits.len() > DIGITS_SAFE {
        return Err(NumberError::TooLong(shown(text)));
    }
    if let Some(character) = digits.chars().find(|character| !character.is_ascii_digit()) {
        return Err(NumberError::Character { character, text: shown(text) });
    }
    text.parse().map_err(|_| NumberError::Overflow(shown(text)))
}

/// Milliseconds of a timestamp in a `put` line: seconds, milliseconds, or seconds with a fraction.
///
/// # Errors
/// Says what is wrong in OpenTSDB's words.
pub(crate) fn line_timestamp(text: &str) -> Result<i64, NumberError> {
    let Some((seconds, fraction)) = text.split_once('.') else { return long(text).map(timestamp_ms) };
    let whole = long(seconds)?;
    let mut millis = 0;
    for position in 0..3 {
        let digit = match fraction.as_bytes().get(position) {
            None => 0,
            Some(digit @ b'0'..=b'9') => i64::from(digit - b'0'),
            Some(_) => return Err(NumberError::Character { character: odd_character(fraction), text: shown(text) }),
        };
        millis = millis * 10 + digit;
    }
    if fraction.bytes().any(|byte| !byte.is_ascii_digit()) {
        return Err(NumberError::Character { character: odd_character(fraction), text: shown(text) });
    }
    Ok(whole.saturating_mul(1000).saturating_add(millis))
}

fn odd_character(text: &str) -> char {
    text.chars().find(|character| !character.is_ascii_digit()).unwrap_or('.')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn json_numbers_keep_their_type() {
        let check = |text: &str, expect: Option<(Value, usize)>| {
            let read = json_number(text.as_bytes());
            let same = match (read, expect) {
                (Some((left, at)), Some((right, expected))) => left.same_bits(right) && at == expected,
                (None, None) => true,
                _ => false,
            };
            assert!(same, "{text}: {read:?}");
        };
        check("42", Some((Value::Int(42), 2)));
        check("-0,", Some((Value::Int(0), 2)));
        check("-9223372036854775808", Some((Value::Int(i64::MIN), 20)));
        check("9223372036854775807", Some((Value::Int(i64::MAX), 19)));
        check("9223372036854775808", None);
        check("0.5}", Some((Value::Float(0.5), 3)));
        check("-0.0", Some((Value::Float(-0.0), 4)));
        check("1e3", Some((Value::Float(1000.0), 3)));
        check("0.1234567890123456789", Some((Value::Float(0.123_456_789_012_345_68), 21)));
        check("1E-400", Some((Value::Float(0.0), 6)));
        for text in ["", "-", "01", "1.", ".5", "1e", "1e+", "1e400", "+1", "NaN"] {
            check(text, None);
        }
    }

    #[test]
    fn texts_of_errors_are_opentsdbs() {
        let check = |text: &str, expect: &str| assert_eq!(value(text).unwrap_err().to_string(), expect);
        check("", "Empty string");
        check("x", "Invalid character 'x' in x");
        check("NaN", "Invalid character 'N' in NaN");
        check("9223372036854775808", "Overflow in 9223372036854775808");
        check("1.x", "For input string: \"1.x\"");
        assert_eq!(value("+5"), Ok(Value::Int(5)));
        assert_eq!(value(".5"), Ok(Value::Float(0.5)));
        assert_eq!(value("5."), Ok(Value::Float(5.0)));
        assert_eq!(value("1.5f"), Ok(Value::Float(1.5)));
        assert_eq!(value("1e400"), Ok(Value::Float(f64::INFINITY)));
    }

    #[test]
    fn timestamps_of_lines_may_have_a_fraction() {
        assert_eq!(line_timestamp("1356998401"), Ok(1_356_998_401_000));
        assert_eq!(line_timestamp("1356998401456"), Ok(1_356_998_401_456));
        assert_eq!(line_timestamp("1356998401.123"), Ok(1_356_998_401_123));
        assert_eq!(line_timestamp("1356998401.5"), Ok(1_356_998_401_500));
        assert!(line_timestamp("1356998401.x").is_err());
        assert!(line_timestamp("x").is_err());
    }

    proptest! {
        #[test]
        fn every_double_is_read_as_the_standard_library_reads_it(float in proptest::num::f64::NORMAL, places in 0_usize..20) {
            for text in [format!("{float:?}"), format!("{float:e}"), format!("{float:.places$}")] {
                let expected: f64 = text.parse().unwrap();
                match json_number(text.as_bytes()) {
                    Some((Value::Float(read), at)) => {
                        prop_assert_eq!(read.to_bits(), expected.to_bits());
                        prop_assert_eq!(at, text.len());
                    }
                    Some((Value::Int(_), _)) => prop_assert!(!text.contains(['.', 'e'])),
                    None => prop_assert!(!text.contains(['.', 'e']), "{}", text),
                }
            }
        }

        #[test]
        fn every_integer_is_read(int: i64) {
            let text = int.to_string();
            prop_assert_eq!(json_number(text.as_bytes()), Some((Value::Int(int), text.len())));
            prop_assert_eq!(long(&text), Ok(int));
        }
    }
}
