//! What a member contributes at the instants of a group, at some of which it has no point.

use std::ops::Range;

use tidemark_model::TimestampMs;

use crate::Interpolation;

/// An instant and the points of a member before and after it.
pub(crate) struct Between<T> {
    pub(crate) at: TimestampMs,
    pub(crate) before: (TimestampMs, T),
    pub(crate) after: (TimestampMs, T),
}

/// Value of a double between two points.
pub(crate) fn between_doubles(method: Interpolation, gap: &Between<f64>) -> f64 {
    let ((x0, y0), (x1, y1)) = (gap.before, gap.after);
    match method {
        Interpolation::Linear => y0 + (gap.at - x0) as f64 * (y1 - y0) / (x1 - x0) as f64,
        Interpolation::Zero => 0.0,
        // As good as the largest or smallest double, and not in the result where no member has a number.
        Interpolation::Largest | Interpolation::Smallest => f64::NAN,
        Interpolation::Previous => y0,
    }
}

/// Value of an integer between two points; the division truncates towards zero.
pub(crate) fn between_integers(method: Interpolation, gap: &Between<i64>) -> i64 {
    let ((x0, y0), (x1, y1)) = (gap.before, gap.after);
    match method {
        Interpolation::Linear => {
            let rise = (i128::from(y1) - i128::from(y0)) * (i128::from(gap.at) - i128::from(x0));
            let value = i128::from(y0) + rise / (i128::from(x1) - i128::from(x0));
            // It lies between y0 and y1.
            i64::try_from(value).unwrap_or(y0)
        }
        Interpolation::Zero => 0,
        Interpolation::Largest => i64::MAX,
        Interpolation::Smallest => i64::MIN,
        Interpolation::Previous => y0,
    }
}

/// Appends the values of a member at those instants of `timeline` at which it is active, and returns which these are.
///
/// A member is active from its first to its last point, both included.
pub(crate) fn expand<T: Copy>(
    timestamps: &[TimestampMs],
    values: &[T],
    timeline: &[TimestampMs],
    between: impl Fn(&Between<T>) -> T,
    out: &mut Vec<T>,
) -> Range<usize> {
    let (Some(&first), Some(&last)) = (timestamps.first(), timestamps.last()) else { return 0..0 };
    let from = timeline.partition_point(|&at| at < first);
    let until = timeline.partition_point(|&at| at <= last).max(from);
    let active = timeline.get(from..until).unwrap_or_default();
    let start = active.first().map_or(0, |&at| timestamps.partition_point(|&timestamp| timestamp < at));
    let before = start.checked_sub(1).and_then(|index| Some((*timestamps.get(index)?, *values.get(index)?)));
    let mut points = timestamps.iter().copied().zip(values.iter().copied()).skip(start);
    let (mut before, mut next) = (before, points.next());
    for &at in active {
        while let Some(point) = next.filter(|(timestamp, _)| *timestamp < at) {
            (before, next) = (Some(point), points.next());
        }
        match (before, next) {
            (_, Some((timestamp, value))) if timestamp == at => out.push(value),
            (Some(before), Some(after)) => out.push(between(&Between { at, before, after })),
            // An active member has a point at the instant, or one on either side of it.
            (_, None) | (None, Some(_)) => return from..from,
        }
    }
    from..until
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_active_member_has_a_value_at_every_instant() {
        let timeline = [0, 10, 15, 20, 30, 40];
        let check = |method: Interpolation, expect: &[i64]| {
            let mut found = Vec::new();
            let active = expand(&[10, 20, 30], &[1, 4, -4], &timeline, |gap| between_integers(method, gap), &mut found);
            assert_eq!((active, found.as_slice()), (1..5, expect));
        };
        check(Interpolation::Linear, &[1, 2, 4, -4]);
        check(Interpolation::Zero, &[1, 0, 4, -4]);
        check(Interpolation::Previous, &[1, 1, 4, -4]);
        check(Interpolation::Largest, &[1, i64::MAX, 4, -4]);
        check(Interpolation::Smallest, &[1, i64::MIN, 4, -4]);
    }

    #[test]
    fn a_piece_of_the_timeline_gives_a_piece_of_the_values() {
        let (timestamps, values) = ([0, 7, 20, 33], [0.0, 7.0, 20.0, 33.0]);
        let timeline: Vec<i64> = (-3..40).collect();
        for from in 0..timeline.len() {
            let mut found = Vec::new();
            let between = |gap: &Between<f64>| between_doubles(Interpolation::Linear, gap);
            let active = expand(&timestamps, &values, &timeline[from..], between, &mut found);
            let instants = &timeline[from..][active];
            assert_eq!(instants.len(), found.len());
            assert!(instants.iter().zip(&found).all(|(&at, &value)| (at as f64 - value).abs() < 1e-9));
        }
    }

    #[test]
    fn integers_far_apart_do_not_overflow() {
        let gap = Between { at: 5, before: (0, i64::MIN), after: (10, i64::MAX) };
        assert_eq!(between_integers(Interpolation::Linear, &gap), -1);
    }
}
