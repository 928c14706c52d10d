//! The straight line that fits points best.

use super::{sums::Sum, window::Window};

/// The slope a second, and the value at a moment, of the line that fits points best.
pub(super) fn line(window: &Window<'_>, moment: i64) -> (f64, f64) {
    let (mut x, mut y, mut xy, mut xx) = (Sum::default(), Sum::default(), Sum::default(), Sum::default());
    let mut count = 0.0;
    let first = window.values.first().copied().unwrap_or(f64::NAN);
    let mut is_constant = true;
    for (&timestamp, &value) in window.timestamps.iter().zip(window.values) {
        is_constant &= value == first;
        count += 1.0;
        let seconds = (timestamp - moment) as f64 / 1000.0;
        x.add(seconds);
        y.add(value);
        xy.add(seconds * value);
        xx.add(seconds * seconds);
    }
    if is_constant {
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
    }
    let (x, y, xy, xx) = (x.value(), y.value(), xy.value(), xx.value());
    let covariance = xy - x * y / count;
    let variance = xx - x * x / count;
    let slope = covariance / variance;
    (slope, y / count - slope * x / count)
}
