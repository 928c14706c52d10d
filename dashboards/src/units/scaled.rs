//! Three significant digits and a prefix.

/// What stands for a value that is not there.
pub(crate) const MISSING: &str = "–";

const DECIMAL_PREFIXES: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];
const BINARY_PREFIXES: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/// `1.23 k`, `12.3 M`, `123`: steps of a thousand. Whole numbers below a thousand have no decimals.
pub(crate) fn decimal(value: f64, suffix: &str) -> String {
    scale(value, 1000.0, &DECIMAL_PREFIXES, suffix)
}

/// `1.23 KiB`, `123 B`: steps of 1024.
pub(crate) fn binary(value: f64, suffix: &str) -> String {
    scale(value, 1024.0, &BINARY_PREFIXES, suffix)
}

/// `1.23 ms`: three digits, no steps.
pub(crate) fn plain(value: f64, suffix: &str) -> String {
    scale(value, f64::INFINITY, &[""], suffix)
}

fn scale(value: f64, base: f64, prefixes: &[&str], suffix: &str) -> String {
    if !value.is_finite() {
        return MISSING.to_owned();
    }
    let mut magnitude = value.abs();
    let mut prefixes = prefixes.iter().copied().peekable();
    let mut prefix = prefixes.next().unwrap_or("");
    // 999.96 would print as four digits: what is rounded decides, not what is stored.
    while round_to(magnitude, decimals_of(magnitude)) >= base && prefixes.peek().is_some() {
        magnitude /= base;
        prefix = prefixes.next().unwrap_or("");
    }
    let decimals = if prefix.is_empty() && magnitude.fract() == 0.0 { 0 } else { decimals_of(magnitude) };
    let rounded = round_to(magnitude, decimals);
    let sign = if value < 0.0 && rounded > 0.0 { "-" } else { "" };
    let space = if prefix.is_empty() && suffix.is_empty() { "" } else { " " };
    format!("{sign}{rounded:.decimals$}{space}{prefix}{suffix}")
}

/// One decimal below a hundred, none above: `9.1`, `91.2`, `100`.
pub(crate) fn one_decimal(value: f64) -> String {
    let decimals = if round_to(value.abs(), 1) < 100.0 { 1 } else { 0 };
    let rounded = round_to(value.abs(), decimals);
    let sign = if value < 0.0 && rounded > 0.0 { "-" } else { "" };
    format!("{sign}{rounded:.decimals$}")
}

fn decimals_of(magnitude: f64) -> usize {
    match magnitude {
        0.0 => 0,
        m if round_to(m, 2) < 10.0 => 2,
        m if round_to(m, 1) < 100.0 => 1,
        _ => 0,
    }
}

/// Rounds half up, with the same three operations as in the browser, so that both print the same.
fn round_to(magnitude: f64, decimals: usize) -> f64 {
    let factor = match decimals {
        0 => 1.0,
        1 => 10.0,
        _ => 100.0,
    };
    (magnitude * factor + 0.5).floor() / factor
}
