//! Numbers as Java writes them, where they are part of a name.

/// A number as `Float.toString` has it: with a decimal, and with an exponent when it is very small or very large.
pub(crate) fn java_float(number: f32) -> String {
    if number == 0.0 || (1e-3..1e7).contains(&number.abs()) {
        return format!("{number:?}");
    }
    let text = format!("{number:E}");
    match text.split_once('E') {
        Some((digits, exponent)) if !digits.contains('.') => format!("{digits}.0E{exponent}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_a_decimal() {
        for (number, expect) in [
            (25.0, "25.0"),
            (99.9, "99.9"),
            (0.0, "0.0"),
            (-1.75, "-1.75"),
            (0.001, "0.001"),
            (0.0001, "1.0E-4"),
            (9_999_999.0, "9999999.0"),
            (1e7, "1.0E7"),
            (1.5e10, "1.5E10"),
        ] {
            assert_eq!(java_float(number), expect);
        }
    }
}
