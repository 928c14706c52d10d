//! `auto` as a downsampling interval: as many buckets as the picture has pixels for.

/// The intervals that `auto` picks from, in milliseconds, with OpenTSDB's names.
const INTERVALS: [(i64, &str); 19] = [
    (1_000, "1s"),
    (5_000, "5s"),
    (10_000, "10s"),
    (15_000, "15s"),
    (30_000, "30s"),
    (60_000, "1m"),
    (120_000, "2m"),
    (300_000, "5m"),
    (600_000, "10m"),
    (900_000, "15m"),
    (1_800_000, "30m"),
    (3_600_000, "1h"),
    (7_200_000, "2h"),
    (10_800_000, "3h"),
    (21_600_000, "6h"),
    (43_200_000, "12h"),
    (86_400_000, "1d"),
    (604_800_000, "7d"),
    (2_592_000_000, "30d"),
];

/// Pixels that one bucket gets at least.
const PIXELS_PER_BUCKET: i64 = 2;

/// The shortest round interval that gives at most one bucket for every two of `pixels` over `range_ms`, in milliseconds.
#[must_use]
pub fn auto_interval_ms(range_ms: i64, pixels: u32) -> i64 {
    pick(range_ms, pixels).0
}

/// `m` with the `auto` of its downsampling part replaced, so that it is a query of OpenTSDB:
/// `sum:auto-avg:os.cpu` over an hour in 800 pixels becomes `sum:10s-avg:os.cpu`.
///
/// `m` without `auto` comes back as it is. The browser does the same in `static/app/query_text.js`.
#[must_use]
pub fn resolve_auto_downsample(m: &str, range_ms: i64, pixels: u32) -> String {
    let (_, interval) = pick(range_ms, pixels);
    let parts = split_outside_braces(m);
    let last = parts.len() - 1;
    let resolved: Vec<String> = parts
        .into_iter()
        .enumerate()
        .map(|(position, part)| match part.strip_prefix("auto-") {
            Some(function) if position > 0 && position < last => format!("{interval}-{function}"),
            _ => part.to_owned(),
        })
        .collect();
    resolved.join(":")
}

/// The parts between the colons that are not inside braces, where options and filters are: a tag value may well be
/// `a:auto-b`. Never empty.
fn split_outside_braces(m: &str) -> Vec<&str> {
    let mut depth = 0u32;
    m.split(|character| {
        match character {
            '{' => depth = depth.saturating_add(1),
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ':' && depth == 0
    })
    .collect()
}

fn pick(range_ms: i64, pixels: u32) -> (i64, &'static str) {
    let buckets_max = (i64::from(pixels) / PIXELS_PER_BUCKET).max(1);
    let longest = (2_592_000_000, "30d");
    INTERVALS.into_iter().find(|&(interval_ms, _)| range_ms / interval_ms <= buckets_max).unwrap_or(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    #[test]
    fn the_interval_grows_with_the_range_and_shrinks_with_the_width() {
        assert_eq!(auto_interval_ms(HOUR_MS, 800), 10_000);
        assert_eq!(auto_interval_ms(HOUR_MS, 400), 30_000);
        assert_eq!(auto_interval_ms(24 * HOUR_MS, 800), 300_000);
        assert_eq!(auto_interval_ms(0, 0), 1_000);
        assert_eq!(auto_interval_ms(i64::MAX, 1), 2_592_000_000);
    }

    #[test]
    fn auto_is_replaced_where_a_downsampler_stands() {
        let resolve = |m| resolve_auto_downsample(m, HOUR_MS, 800);
        assert_eq!(resolve("sum:auto-avg:os.cpu"), "sum:10s-avg:os.cpu");
        assert_eq!(resolve("sum:auto-max-zero:rate:os.cpu{host=*}"), "sum:10s-max-zero:rate:os.cpu{host=*}");
        assert_eq!(resolve("sum:rate{counter}:auto-avg:os.cpu"), "sum:rate{counter}:10s-avg:os.cpu");
    }

    #[test]
    fn auto_elsewhere_stays() {
        let unchanged =
            ["sum:1m-avg:os.cpu", "sum:auto-queue", "sum:os.cpu{host=a:auto-b:c}", "auto-avg:x:y", "", "}{:auto-"];
        for m in unchanged {
            assert_eq!(resolve_auto_downsample(m, HOUR_MS, 800), m);
        }
    }
}
