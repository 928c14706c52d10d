//! Durations as Prometheus writes them: `5m`, `1h30m`, `500ms`.

/// Units from the longest on, as they must come in a duration.
const UNITS: [(&str, i64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// The milliseconds of a duration such as `1h30m`; `None` when it is none or too long. A year has 365 days.
#[must_use]
pub fn parse_duration(text: &str) -> Option<i64> {
    if text == "0" {
        return Some(0);
    }
    let (mut rest, mut total, mut units) = (text, 0_i64, UNITS.as_slice());
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at_checked(digits)?;
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at_checked(letters)?;
        let position = units.iter().position(|(name, _)| *name == unit)?;
        let (_, milliseconds) = units.get(position)?;
        total = total.checked_add(number.parse::<i64>().ok()?.checked_mul(*milliseconds)?)?;
        units = units.get(position + 1..)?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

/// Milliseconds as a duration; years and weeks only where nothing is left over, since `90d` reads better than `12w6d`.
#[must_use]
pub fn format_duration(milliseconds: i64) -> String {
    let mut out = String::new();
    let mut rest = milliseconds.unsigned_abs();
    if rest == 0 {
        return "0s".to_owned();
    }
    if milliseconds < 0 {
        out.push('-');
    }
    for (name, unit) in UNITS {
        let unit = unit.unsigned_abs();
        let count = rest / unit;
        if count == 0 || (matches!(name, "y" | "w") && !rest.is_multiple_of(unit)) {
            continue;
        }
        out.push_str(&format!("{count}{name}"));
        rest -= count * unit;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        let check = |text: &str, milliseconds: i64, written: &str| {
            assert_eq!(parse_duration(text), Some(milliseconds), "{text}");
            assert_eq!(format_duration(milliseconds), written);
            assert_eq!(parse_duration(written), Some(milliseconds), "{written}");
        };
        check("5m", 300_000, "5m");
        check("1h30m", 5_400_000, "1h30m");
        check("90s", 90_000, "1m30s");
        check("1500ms", 1_500, "1s500ms");
        check("1w", 604_800_000, "1w");
        check("90d", 90 * 86_400_000, "90d");
        check("1y2w3d4h5m6s7ms", 33_019_506_007, "382d4h5m6s7ms");
        assert_eq!(format_duration(-300_000), "-5m");
        assert_eq!(format_duration(i64::MIN).chars().next(), Some('-'));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "5", "m", "5mm", "5m1h", "5m5m", "1.5h", "-5m", "5 m", "99999999999y", "9223372036854775808ms"]
        {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
