//! Texts and numbers as Prometheus writes them.

/// A text in double quotes, with escapes.
#[must_use]
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(control))),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

/// A number in plain decimals, such as a label of `count_values` has.
#[must_use]
pub fn format_number(number: f64) -> String {
    if number.is_nan() {
        "NaN".to_owned()
    } else if number.is_infinite() {
        if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        number.to_string()
    }
}

/// A number as answers have it: very large and very small ones with an exponent.
#[must_use]
pub fn format_value(number: f64) -> String {
    let size = number.abs();
    if !number.is_finite() || size == 0.0 || (1e-6..1e21).contains(&size) {
        return format_number(number);
    }
    let text = format!("{number:e}");
    match text.split_once('e') {
        Some((digits, exponent)) if !exponent.starts_with('-') => format!("{digits}e+{exponent}"),
        _ => text,
    }
}

/// Replaces escapes of a text between quotes: those of Go, of characters and of bytes.
///
/// # Errors
/// What is wrong with the text.
pub(crate) fn unescape(text: &str) -> Result<String, String> {
    if !text.contains('\\') {
        return Ok(text.to_owned());
    }
    let mut out: Vec<u8> = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(position) = rest.find('\\') {
        let (before, escape) = rest.split_at(position);
        out.extend_from_slice(before.as_bytes());
        let mut characters = escape.chars();
        characters.next();
        let kind = characters.next().ok_or("a text ends with a backslash")?;
        rest = characters.as_str();
        let simple = match kind {
            'a' => Some(0x07),
            'b' => Some(0x08),
            'f' => Some(0x0c),
            'n' => Some(b'\n'),
            'r' => Some(b'\r'),
            't' => Some(b'\t'),
            'v' => Some(0x0b),
            '\\' => Some(b'\\'),
            '"' => Some(b'"'),
            '\'' => Some(b'\''),
            _ => None,
        };
        if let Some(byte) = simple {
            out.push(byte);
            continue;
        }
        let (digits, radix) = match kind {
            'x' => (2, 16),
            'u' => (4, 16),
            'U' => (8, 16),
            '0'..='7' => (3, 8),
            other => return Err(format!("unknown escape sequence `\\{other}`")),
        };
        let source = if radix == 8 { escape.get(1..) } else { Some(rest) };
        let (code, after) = source
            .and_then(|source| source.split_at_checked(digits))
            .and_then(|(code, after)| Some((u32::from_str_radix(code, radix).ok()?, after)))
            .ok_or_else(|| format!("the escape sequence `\\{kind}` needs {digits} digits"))?;
        rest = after;
        if matches!(kind, 'u' | 'U') {
            let character = char::from_u32(code).ok_or("an escape sequence is no character")?;
            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            out.push(u8::try_from(code).map_err(|_| "an octal escape sequence is no byte")?);
        }
    }
    out.extend_from_slice(rest.as_bytes());
    String::from_utf8(out).map_err(|_| "the text is no UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_prometheus_writes_them() {
        let check = |number: f64, plain: &str, value: &str| {
            assert_eq!((format_number(number).as_str(), format_value(number).as_str()), (plain, value));
        };
        check(1.0, "1", "1");
        check(-0.5, "-0.5", "-0.5");
        check(-0.0, "-0", "-0");
        check(1e20, "100000000000000000000", "100000000000000000000");
        check(1e21, "1000000000000000000000", "1e+21");
        check(1.5e-7, "0.00000015", "1.5e-7");
        check(1e-6, "0.000001", "0.000001");
        check(f64::NAN, "NaN", "NaN");
        check(f64::INFINITY, "+Inf", "+Inf");
        check(f64::NEG_INFINITY, "-Inf", "-Inf");
    }

    #[test]
    fn escapes_are_those_of_go() {
        let check = |text: &str, expect: &str| assert_eq!(unescape(text).as_deref(), Ok(expect), "{text}");
        check(r"plain", "plain");
        check(r#"a\"b\\c\n"#, "a\"b\\c\n");
        check(r"\x41\u00e9\U0001F600\101", "Aé😀A");
        check(r"\xc3\xa9", "é");
        for wrong in [r"\", r"\q", r"\x4", r"\xzz", r"\ud800", r"\777", r"\xff", "\\xé"] {
            assert!(unescape(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn quoted_texts_are_read_back() {
        for text in ["", "a", "\"\\\n\t\u{1}", "é"] {
            let quoted = quote(text);
            assert_eq!(unescape(&quoted[1..quoted.len() - 1]).as_deref(), Ok(text));
        }
    }
}
