//! Round numbers along an axis.

/// Round steps for a time axis, in milliseconds.
const TIME_STEPS_MS: [i64; 17] = [
    1_000,
    5_000,
    10_000,
    30_000,
    60_000,
    300_000,
    600_000,
    1_800_000,
    3_600_000,
    7_200_000,
    21_600_000,
    43_200_000,
    86_400_000,
    172_800_000,
    604_800_000,
    2_592_000_000,
    31_536_000_000,
];
/// More lines than this are never drawn, whatever the range.
const TICKS_MAX: usize = 20;

/// Round values between `low` and `high`, about `count` of them. With `binary`, steps are powers of two, as for bytes.
pub(super) fn value_ticks(low: f64, high: f64, count: u32, binary: bool) -> Vec<f64> {
    let span = high - low;
    if !span.is_finite() || span <= 0.0 || count == 0 {
        return Vec::new();
    }
    let step = round_step(span / f64::from(count), binary);
    let first = (low / step).ceil();
    (0..TICKS_MAX).map(|tick| (first + tick as f64) * step).take_while(|tick| *tick <= high).collect()
}

fn round_step(raw: f64, binary: bool) -> f64 {
    if binary && raw >= 1.0 {
        return raw.log2().ceil().exp2();
    }
    let magnitude = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0].into_iter().map(|digit| digit * magnitude).find(|step| *step >= raw);
    step.unwrap_or(10.0 * magnitude)
}

/// Round timestamps between `start_ms` and `end_ms`, at most about `count`, and the step between them.
pub(super) fn time_ticks(start_ms: i64, end_ms: i64, count: u32) -> (i64, Vec<i64>) {
    let span = end_ms.saturating_sub(start_ms);
    let raw = span / i64::from(count.max(1));
    let step = TIME_STEPS_MS.into_iter().find(|step| *step >= raw).unwrap_or(raw.max(1));
    let first = start_ms.div_euclid(step).saturating_add(1).saturating_mul(step);
    let ticks = (0..TICKS_MAX as i64)
        .map(|tick| first.saturating_add(tick.saturating_mul(step)))
        .take_while(|tick| *tick <= end_ms)
        .collect();
    (step, ticks)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ticks_are_round() {
        assert_eq!(value_ticks(0.0, 100.0, 4, false), vec![0.0, 50.0, 100.0]);
        assert_eq!(value_ticks(0.0, 16.0 * 1024.0, 4, true), vec![0.0, 4096.0, 8192.0, 12288.0, 16384.0]);
        assert_eq!(time_ticks(0, 3_600_000, 6).1, vec![600_000, 1_200_000, 1_800_000, 2_400_000, 3_000_000, 3_600_000]);
    }

    #[test]
    fn an_axis_without_extent_has_no_ticks() {
        assert!(value_ticks(1.0, 1.0, 4, false).is_empty());
        assert!(value_ticks(f64::NEG_INFINITY, 1.0, 4, false).is_empty());
        assert!(value_ticks(f64::MIN, f64::MAX, 4, false).is_empty());
    }

    proptest! {
        #[test]
        fn there_are_few_ticks_and_all_are_inside(low in -1e12f64..1e12, span in 1e-6f64..1e12, start in any::<i64>(), length in 0i64..i64::MAX) {
            let ticks = value_ticks(low, low + span, 5, false);
            prop_assert!(ticks.len() <= TICKS_MAX);
            prop_assert!(ticks.iter().all(|tick| *tick >= low - span * 1e-3 && *tick <= low + span));
            let end = start.saturating_add(length);
            let (_, times) = time_ticks(start, end, 6);
            prop_assert!(times.len() <= TICKS_MAX);
            prop_assert!(times.iter().all(|tick| *tick <= end));
        }
    }
}
