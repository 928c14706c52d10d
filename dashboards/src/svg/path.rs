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

/// `M…L…` through the points of each run. A run of one point is drawn as a dot: a line of no length with round ends.
pub(super) fn line(frame: &Frame, runs: &[Vec<(i64, f64)>]) -> String {
    let mut data = String::new();
    for run in runs {
        for (position, &(time_ms, value)) in run.iter().enumerate() {
            push_point(&mut data, if position == 0 { 'M' } else { 'L' }, frame.x(time_ms), frame.y(value));
        }
        if run.len() == 1 {
            data.push_str("h0");
        }
    }
    data
}

/// The area between `upper` and `lower`, two lines over the same timestamps.
pub(super) fn band(frame: &Frame, upper: &[(i64, f64)], lower: &[(i64, f64)]) -> String {
    let mut data = String::new();
    for (position, &(time_ms, value)) in upper.iter().chain(lower.iter().rev()).enumerate() {
        push_point(&mut data, if position == 0 { 'M' } else { 'L' }, frame.x(time_ms), frame.y(value));
    }
    if !data.is_empty() {
        data.push('Z');
    }
    data
}

fn push_point(data: &mut String, command: char, x: f64, y: f64) {
    // Writing to a string does not fail.
    let _infallible = write!(data, "{command}{x:.1} {y:.1}");
}
