//! Durations and ages.

use super::scaled;

/// A duration of `millis`, in at most two units: `420 µs`, `12.3 ms`, `1.50 s`, `2 m 10 s`, `3 h 12 m`, `4 d 3 h`.
#[must_use]
pub fn format_duration(millis: f64) -> String {
    if !millis.is_finite() {
        return scaled::MISSING.to_owned();
    }
    let sign = if millis < 0.0 { "-" } else { "" };
    let millis = millis.abs();
    if millis == 0.0 {
        return "0 s".to_owned();
    }
    if millis < 1.0 {
        return format!("{sign}{}", scaled::plain(millis * 1000.0, "µs"));
    }
    if millis < 1000.0 {
        return format!("{sign}{}", scaled::plain(millis, "ms"));
    }
    if millis < 60_000.0 {
        return format!("{sign}{}", scaled::plain(millis / 1000.0, "s"));
    }
    format!("{sign}{}", two_units(millis / 1000.0))
}

fn two_units(seconds: f64) -> String {
    const UNITS: [(f64, &str, f64, &str); 3] =
        [(86_400.0, "d", 3600.0, "h"), (3600.0, "h", 60.0, "m"), (60.0, "m", 1.0, "s")];
    for (large, large_name, small, small_name) in UNITS {
        if seconds >= large {
            let whole = (seconds / large).floor();
            let rest = ((seconds - whole * large) / small).floor();
            return if rest > 0.0 {
                format!("{whole:.0} {large_name} {rest:.0} {small_name}")
            } else {
                format!("{whole:.0} {large_name}")
            };
        }
    }
    format!("{seconds:.0} s")
}

/// How long ago something was, in one unit: `now`, `14 s`, `12 m`, `3 h`, `4 d`. What lies ahead is `in 14 s`.
#[must_use]
pub fn format_age(age_ms: i64) -> String {
    let seconds = age_ms.unsigned_abs() / 1000;
    let text = match seconds {
        0 => return "now".to_owned(),
        1..60 => format!("{seconds} s"),
        60..3600 => format!("{} m", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    };
    if age_ms < 0 { format!("in {text}") } else { text }
}
