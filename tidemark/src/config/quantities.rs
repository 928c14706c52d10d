//! Durations such as `90s` and sizes such as `64MiB`.

use std::{fmt, str::FromStr, time::Duration};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

/// A duration written as a number and a unit: `ms`, `s`, `m`, `h`, `d` or `w`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Span(pub(crate) Duration);

const SPANS: [(&str, u64); 6] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000), ("w", 604_800_000)];

impl FromStr for Span {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let millis = parse(text, &SPANS, "a duration such as `90s`, `5m` or `30d`")?;
        Ok(Self(Duration::from_millis(millis)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        write_quantity(out, millis, &SPANS)
    }
}

/// A number of bytes written as a number and a unit: `B`, `KiB`, `MiB`, `GiB` or `TiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Bytes(pub(crate) u64);

const SIZES: [(&str, u64); 5] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

impl FromStr for Bytes {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        parse(text, &SIZES, "a size such as `512KiB` or `64MiB`").map(Self)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_quantity(out, self.0, &SIZES)
    }
}

fn parse(text: &str, units: &[(&str, u64)], wanted: &str) -> anyhow::Result<u64> {
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let Some((_, scale)) = units.iter().find(|(name, _)| *name == unit.trim()) else {
        bail!("expected {wanted}, got `{text}`");
    };
    let number: u64 = number.parse().with_context(|| format!("expected {wanted}, got `{text}`"))?;
    number.checked_mul(*scale).with_context(|| format!("`{text}` is too large"))
}

/// Writes a quantity in the largest unit that divides it.
fn write_quantity(out: &mut fmt::Formatter<'_>, quantity: u64, units: &[(&str, u64)]) -> fmt::Result {
    let unit = units.iter().rev().find(|(_, scale)| quantity.is_multiple_of(*scale) && quantity > 0);
    let (name, scale) = unit.or(units.first()).copied().unwrap_or(("", 1));
    write!(out, "{}{name}", quantity / scale)
}

macro_rules! by_text {
    ($quantity:ty) => {
        impl TryFrom<String> for $quantity {
            type Error = anyhow::Error;

            fn try_from(text: String) -> anyhow::Result<Self> {
                text.parse()
            }
        }

        impl From<$quantity> for String {
            fn from(quantity: $quantity) -> Self {
                quantity.to_string()
            }
        }
    };
}

by_text!(Span);
by_text!(Bytes);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_survive_their_text() {
        let check = |text: &str, millis: u64, shown: &str| {
            let span: Span = text.parse().unwrap();
            assert_eq!((span.0, span.to_string().as_str()), (Duration::from_millis(millis), shown));
        };
        check("90s", 90_000, "90s");
        check("120s", 120_000, "2m");
        check("30d", 2_592_000_000, "30d");
        check("0s", 0, "0ms");
        assert_eq!("64MiB".parse::<Bytes>().unwrap(), Bytes(64 << 20));
        assert_eq!(Bytes(1536).to_string(), "1536B");
    }

    #[test]
    fn what_is_no_quantity_is_refused_with_an_example() {
        for text in ["", "5", "m", "5 parsecs", "-5s", "99999999999999999999s", "9999999999999999d"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
        let error = "5".parse::<Bytes>().unwrap_err().to_string();
        assert_eq!(error, "expected a size such as `512KiB` or `64MiB`, got `5`");
    }
}
