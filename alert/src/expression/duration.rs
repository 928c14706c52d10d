//! Durations as OpenTSDB and Bosun write them.

use std::time::Duration;

/// Reads `90s`, `1h30m`, `1.5d`: `ms`, `s`, `m`, `h`, `d`, `w`, `n` (30 days), `y` (365 days), added up.
///
/// # Errors
/// Says which part is no duration, or that it is longer than 292 years.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err("a duration is missing, such as `5m`".to_owned());
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|character: char| !character.is_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let number: f64 = number.parse().map_err(|_| format!("`{text}` is no duration such as `5m` or `1h30m`"))?;
        seconds += number * unit_seconds(unit).ok_or_else(|| unknown_unit(unit, text))?;
        rest = after;
    }
    if seconds > 292.0 * 365.0 * 86_400.0 {
        return Err(format!("`{text}` is longer than 292 years"));
    }
    Ok(Duration::from_secs_f64(seconds))
}

fn unknown_unit(unit: &str, text: &str) -> String {
    if unit.is_empty() {
        format!("`{text}` lacks a unit; units are ms, s, m, h, d, w, n and y")
    } else {
        format!("unknown unit `{unit}` in duration `{text}`; units are ms, s, m, h, d, w, n and y")
    }
}

fn unit_seconds(unit: &str) -> Option<f64> {
    const DAY: f64 = 86_400.0;
    match unit {
        "ms" => Some(0.001),
        "s" => Some(1.0),
        "m" => Some(60.0),
        "h" => Some(3600.0),
        "d" => Some(DAY),
        "w" => Some(7.0 * DAY),
        "n" => Some(30.0 * DAY),
        "y" => Some(365.0 * DAY),
        _ => None,
    }
}

/// Whole seconds as one unit, the largest that divides them: Bosun's `tod`.
pub(crate) fn one_unit(seconds: f64) -> String {
    let whole = seconds as i64;
    if whole == 0 {
        return "0ms".to_owned();
    }
    let units = [("y", 31_536_000), ("w", 604_800), ("d", 86_400), ("h", 3600), ("m", 60)];
    let (unit, length) = units.into_iter().find(|(_, length)| whole % length == 0).unwrap_or(("s", 1));
    format!("{}{unit}", whole / length)
}

/// As Go writes durations (`168h0m0s`): the value of the `shift` tag.
pub(crate) fn go_text(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let millis = duration.subsec_millis();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let tail = match (seconds % 60, millis) {
        (whole, 0) => format!("{whole}s"),
        (0, millis) if seconds == 0 => return format!("{millis}ms"),
        (whole, millis) => format!("{}s", format!("{whole}.{millis:03}").trim_end_matches('0')),
    };
    match (hours, minutes) {
        (0, 0) => tail,
        (0, minutes) => format!("{minutes}m{tail}"),
        (hours, minutes) => format!("{hours}h{minutes}m{tail}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_add_up() {
        let check = |text: &str, millis: u128| {
            assert_eq!(parse_duration(text).map(|duration| duration.as_millis()), Ok(millis), "{text}");
        };
        check("1h30m", 5_400_000);
        check("250ms", 250);
        check("1.5d", 129_600_000);
        check("1n", 2_592_000_000);
        check("1y", 31_536_000_000);
        for bad in ["", "5", "5q", "m", "1h-30m", "5 m", "1..5s", "9999999999y"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
        assert_eq!(
            parse_duration("5q").unwrap_err(),
            "unknown unit `q` in duration `5q`; units are ms, s, m, h, d, w, n and y"
        );
    }

    #[test]
    fn one_unit_is_the_largest_that_divides() {
        let check = |seconds: f64, expect: &str| assert_eq!(one_unit(seconds), expect);
        check(0.0, "0ms");
        check(0.5, "0ms");
        check(60.0, "1m");
        check(93_600.0, "26h");
        check(90_061.0, "90061s");
        check(604_800.0, "1w");
        check(f64::NAN, "0ms");
    }

    #[test]
    fn durations_are_written_as_go_does() {
        let check = |millis: u64, expect: &str| assert_eq!(go_text(Duration::from_millis(millis)), expect);
        check(0, "0s");
        check(604_800_000, "168h0m0s");
        check(90_000, "1m30s");
        check(500, "500ms");
        check(1_500, "1.5s");
    }
}
