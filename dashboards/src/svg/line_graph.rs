//! A graph with axes: the first picture of every graph of a page, and later of every notification.

use std::fmt::Write as _;

use super::{
    escape::escaped,
    path::{self, Frame},
    reduce::reduce_to_pixels,
    ticks::{time_ticks, value_ticks},
};
use crate::{
    units::{Unit, format_quantity},
    utc,
};

/// Colours that `css/tokens.css` defines: classes `s0` to `s7`.
const COLOURS: usize = 8;
/// Pixels that share a lowest and a highest point. The browser redraws every graph in full detail, so the first
/// picture is kept small.
const PIXELS_PER_COLUMN: u32 = 12;
/// Room for the labels of the value axis.
const LEFT: f64 = 64.0;
/// Room for the labels of the time axis.
const BOTTOM: f64 = 20.0;
const TOP: f64 = 8.0;
const RIGHT: f64 = 16.0;

/// A graph with axes.
#[derive(Clone, Copy, Debug)]
pub struct LineGraph<'a> {
    /// What it shows, in a few words.
    pub title: &'a str,
    /// What it shows, in a sentence with numbers.
    pub summary: &'a str,
    /// What the values count.
    pub unit: Unit,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Start of the time axis, milliseconds since the epoch.
    pub start_ms: i64,
    /// End of the time axis.
    pub end_ms: i64,
    /// Lower end of the value axis when it must not follow the data.
    pub minimum: Option<f64>,
    /// Upper end of the value axis when it must not follow the data.
    pub maximum: Option<f64>,
    /// Whether series are piled on each other as areas.
    pub stacked: bool,
    /// Timestamps of all series, ascending.
    pub times_ms: &'a [i64],
    /// The series, drawn in this order.
    pub series: &'a [SvgSeries<'a>],
}

/// One line of a [`LineGraph`].
#[derive(Clone, Copy, Debug)]
pub struct SvgSeries<'a> {
    /// What it is.
    pub label: &'a str,
    /// One value for each timestamp of the graph; nothing is a gap.
    pub values: &'a [Option<f64>],
}

impl LineGraph<'_> {
    /// The picture as an `<svg>` element of class `graph-svg`, with `<title>` and `<desc>`.
    #[must_use]
    pub fn to_svg(&self) -> String {
        let lines = self.piled();
        let frame = self.frame(&lines);
        let mut out = String::with_capacity(8 * 1024);
        // Writing to a string does not fail.
        let _infallible = self.write(&mut out, &frame, &lines);
        out
    }

    fn write(&self, out: &mut String, frame: &Frame, lines: &[Vec<Option<f64>>]) -> std::fmt::Result {
        let (width, height) = (self.width, self.height);
        write!(
            out,
            "<svg class=\"graph-svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" role=\"img\">\
             <title>{}</title><desc>{}</desc>",
            escaped(self.title),
            escaped(self.summary)
        )?;
        self.write_value_axis(out, frame)?;
        self.write_time_axis(out, frame)?;
        self.write_series(out, frame, lines)?;
        out.push_str("</svg>");
        Ok(())
    }

    fn write_value_axis(&self, out: &mut String, frame: &Frame) -> std::fmt::Result {
        let binary = matches!(self.unit, Unit::Bytes | Unit::BytesPerSecond);
        let count = (self.height / 40).clamp(2, 8);
        let right = frame.left + frame.width;
        for tick in value_ticks(frame.low, frame.high, count, binary) {
            let y = frame.y(tick);
            let (label_x, label_y) = (frame.left - 6.0, y + 4.0);
            let text = format_quantity(tick, self.unit);
            write!(out, "<path class=\"grid\" d=\"M{:.1} {y:.1}H{right:.1}\"/>", frame.left)?;
            write!(
                out,
                "<text class=\"tick tick-value\" x=\"{label_x:.1}\" y=\"{label_y:.1}\">{}</text>",
                escaped(&text)
            )?;
        }
        Ok(())
    }

    fn write_time_axis(&self, out: &mut String, frame: &Frame) -> std::fmt::Result {
        let (step_ms, ticks) = time_ticks(self.start_ms, self.end_ms, (self.width / 90).max(2));
        let bottom = frame.top + frame.height;
        for tick in ticks {
            let x = frame.x(tick);
            write!(out, "<path class=\"grid\" d=\"M{x:.1} {:.1}V{bottom:.1}\"/>", frame.top)?;
            let label_y = bottom + 15.0;
            let text = utc::tick(tick, step_ms);
            write!(out, "<text class=\"tick tick-time\" x=\"{x:.1}\" y=\"{label_y:.1}\">{}</text>", escaped(&text))?;
        }
        Ok(())
    }

    /// Piled areas are opaque and drawn from the top down, each over the one that it stands on: no lower edge needed.
    fn write_series(&self, out: &mut String, frame: &Frame, lines: &[Vec<Option<f64>>]) -> std::fmt::Result {
        let mut drawn: Vec<_> = lines.iter().zip(self.series).enumerate().collect();
        if self.stacked {
            drawn.reverse();
        }
        for (position, (line, series)) in drawn {
            let runs = self.reduced(line);
            write!(out, "<g class=\"s{}\"><title>{}</title>", position % COLOURS, escaped(series.label))?;
            if self.stacked {
                write!(out, "<path class=\"area\" d=\"{}\"/>", path::area(frame, &runs))?;
            }
            write!(out, "<path class=\"line\" d=\"{}\"/></g>", path::line(frame, &runs))?;
        }
        Ok(())
    }

    fn reduced(&self, line: &[Option<f64>]) -> Vec<Vec<(i64, f64)>> {
        let columns = self.width.div_ceil(PIXELS_PER_COLUMN);
        reduce_to_pixels(self.times_ms, line, self.start_ms, self.end_ms, columns)
    }

    /// The values to draw: as they are, or each series added to those before it.
    fn piled(&self) -> Vec<Vec<Option<f64>>> {
        let mut floor: Vec<f64> = vec![0.0; self.times_ms.len()];
        let pile = |series: &SvgSeries<'_>| {
            let lift = |(floor, value): (&mut f64, &Option<f64>)| {
                let value = value.filter(|value| value.is_finite())?;
                *floor += value;
                Some(*floor)
            };
            floor.iter_mut().zip(series.values).map(lift).collect()
        };
        match self.stacked {
            true => self.series.iter().map(pile).collect(),
            false => self.series.iter().map(|series| series.values.to_vec()).collect(),
        }
    }

    fn frame(&self, lines: &[Vec<Option<f64>>]) -> Frame {
        let finite = lines.iter().flatten().copied().flatten().filter(|value| value.is_finite());
        let (low, high) = finite.fold((0f64, 0f64), |(low, high), value| (low.min(value), high.max(value)));
        let low = self.minimum.unwrap_or(low);
        let high = self.maximum.unwrap_or(high + (high - low).min(f64::MAX) * 0.05);
        let high = if high > low { high } else { low + 1.0 };
        Frame {
            left: LEFT,
            top: TOP,
            width: (f64::from(self.width) - LEFT - RIGHT).max(1.0),
            height: (f64::from(self.height) - TOP - BOTTOM).max(1.0),
            start_ms: self.start_ms,
            end_ms: self.end_ms,
            low,
            high,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn graph<'a>(times_ms: &'a [i64], series: &'a [SvgSeries<'a>], stacked: bool) -> LineGraph<'a> {
        LineGraph {
            title: "CPU & <more>",
            summary: "highest \"web01\"",
            unit: Unit::Percent,
            width: 600,
            height: 160,
            start_ms: times_ms.first().copied().unwrap_or(0),
            end_ms: times_ms.last().copied().unwrap_or(1),
            minimum: None,
            maximum: None,
            stacked,
            times_ms,
            series,
        }
    }

    #[test]
    fn names_are_escaped() {
        let values = [Some(1.0), Some(2.0)];
        let series = [SvgSeries { label: "</title><script>", values: &values }];
        let svg = graph(&[0, 1000], &series, false).to_svg();
        assert!(svg.contains("<title>CPU &amp; &lt;more&gt;</title><desc>highest &quot;web01&quot;</desc>"));
        assert!(!svg.contains("<script"));
    }

    #[test]
    fn stacked_series_pile_up() {
        let (one, two) = ([Some(10.0); 3], [Some(20.0), None, Some(20.0)]);
        let series = [SvgSeries { label: "a", values: &one }, SvgSeries { label: "b", values: &two }];
        let graph = graph(&[0, 1000, 2000], &series, true);
        assert_eq!(graph.piled(), vec![vec![Some(10.0); 3], vec![Some(30.0), None, Some(30.0)]]);
        assert_eq!(graph.to_svg().matches("class=\"area\"").count(), 2);
    }

    proptest! {
        #[test]
        fn any_values_give_a_picture_without_nonsense(
            points in prop::collection::vec((any::<i64>(), prop::option::of(any::<f64>())), 0..100),
            stacked in any::<bool>(),
        ) {
            let mut points = points;
            points.sort_by_key(|point| point.0);
            let times: Vec<i64> = points.iter().map(|point| point.0).collect();
            let values: Vec<_> = points.iter().map(|point| point.1).collect();
            let series = [SvgSeries { label: "x", values: &values }, SvgSeries { label: "y", values: &values }];
            let svg = graph(&times, &series, stacked).to_svg();
            prop_assert!(!svg.contains("NaN") && !svg.contains("inf"));
            prop_assert!(svg.starts_with("<svg") && svg.ends_with("</svg>"));
        }
    }
}
