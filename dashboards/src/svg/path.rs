//! Coordinates and path data.

use std::fmt::Write as _;

/// Maps timestamps and values to the picture: `x` grows to the right, `y` downwards.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) start_ms: i64,
    pub(super) end_ms: i64,
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Frame {
    pub(super) fn x(&self, time_ms: i64) -> f64 {
        let span = (self.end_ms as f64 - self.start_ms as f64).max(1.0);
        self.left + (time_ms as f64 - self.start_ms as f64) / span * self.width
    }

    pub(super) fn y(&self, value: f64) -> f64 {
        // Halves keep the difference of two huge values finite.
        let span = self.high / 2.0 - self.low / 2.0;
        let share = if span > 0.0 { (value / 2.0 - self.low / 2.0) / span } else { 0.5 };
        self.top + (1.0 - share.clamp(0.0, 1.0)) * self.height
    }
}

/// `M…l…` through the points of each run, relative, in tenths of a pixel: half the bytes of absolute coordinates.
/// A run of one point is drawn as a dot: a line of no length with round ends.
pub(super) fn line(frame: &Frame, runs: &[Vec<(i64, f64)>]) -> String {
    let mut data = String::new();
    for run in runs {
        let mut pen = Pen::default();
        for &(time_ms, value) in run {
            pen.draw_to(&mut data, frame.x(time_ms), frame.y(value));
        }
        if run.len() == 1 {
            data.push_str("h0");
        }
    }
    data
}

/// The area between each run and the floor, the lower edge of the picture or zero.
pub(super) fn area(frame: &Frame, runs: &[Vec<(i64, f64)>]) -> String {
    let floor = frame.y(frame.low.max(0.0));
    let mut data = String::new();
    for run in runs {
        let mut pen = Pen::default();
        for &(time_ms, value) in run {
            pen.draw_to(&mut data, frame.x(time_ms), frame.y(value));
        }
        if let Some(&(first_ms, _)) = run.first() {
            // Writing to a string does not fail.
            let _infallible = write!(data, "V{floor:.1}H{:.1}Z", frame.x(first_ms));
        }
    }
    data
}

/// Where the last stroke ended, in tenths of a pixel, so that rounding does not add up.
#[derive(Default)]
struct Pen {
    at: Option<(i64, i64)>,
}

impl Pen {
    fn draw_to(&mut self, data: &mut String, x: f64, y: f64) {
        let (x, y) = ((x * 10.0).round() as i64, (y * 10.0).round() as i64);
        let (command, dx, dy) = match self.at {
            None => ('M', x, y),
            Some((last_x, last_y)) => ('l', x - last_x, y - last_y),
        };
        data.push(command);
        push_tenths(data, dx);
        if dy >= 0 {
            data.push(' ');
        }
        push_tenths(data, dy);
        self.at = Some((x, y));
    }
}

/// A number of tenths as short as can be: `-.3`, `12`, `1.6`.
fn push_tenths(data: &mut String, tenths: i64) {
    let (whole, rest) = (tenths.unsigned_abs() / 10, tenths.unsigned_abs() % 10);
    if tenths < 0 {
        data.push('-');
    }
    // Writing to a string does not fail.
    let _infallible = match (whole, rest) {
        (whole, 0) => write!(data, "{whole}"),
        (0, rest) => write!(data, ".{rest}"),
        (whole, rest) => write!(data, "{whole}.{rest}"),
    };
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The points that path data of [`line`] goes through, in pixels.
    pub(in crate::svg) fn points_of(data: &str) -> Vec<(f64, f64)> {
        let mut points = Vec::new();
        let (mut x, mut y) = (0.0, 0.0);
        for stroke in data.split_inclusive(['M', 'l']).collect::<Vec<_>>().windows(2) {
            let numbers = stroke[1].trim_end_matches(['M', 'l']).trim_end_matches("h0");
            let parted = numbers.replace('-', " -");
            let mut numbers = parted.split_whitespace().map(|number| number.parse::<f64>().unwrap());
            let (dx, dy) = (numbers.next().unwrap(), numbers.next().unwrap());
            (x, y) = if stroke[0].ends_with('M') { (dx, dy) } else { (x + dx, y + dy) };
            // Sums of tenths are not exact in binary.
            points.push(((x * 10.0f64).round() / 10.0, (y * 10.0f64).round() / 10.0));
        }
        points
    }

    #[test]
    fn points_are_read_back_as_they_were_drawn() {
        assert_eq!(points_of("M0 10l50-10l3 .3M10 5h0"), vec![(0.0, 10.0), (50.0, 0.0), (53.0, 0.3), (10.0, 5.0)]);
    }

    fn frame() -> Frame {
        Frame { left: 0.0, top: 0.0, width: 100.0, height: 10.0, start_ms: 0, end_ms: 100, low: 0.0, high: 10.0 }
    }

    #[test]
    fn strokes_are_relative_and_short() {
        let runs = [vec![(0, 0.0), (50, 10.0), (53, 9.7), (100, 9.7)], vec![(10, 5.0)]];
        assert_eq!(line(&frame(), &runs), "M0 10l50-10l3 .3l47 0M10 5h0");
    }

    #[test]
    fn an_area_goes_down_to_zero() {
        let frame = Frame { low: -10.0, ..frame() };
        assert_eq!(area(&frame, &[vec![(0, 10.0), (100, 10.0)]]), "M0 0l100 0V5.0H0.0Z");
    }
}
