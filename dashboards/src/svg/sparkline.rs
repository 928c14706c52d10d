//! A line of a few dozen values in a table row.

use super::{
    escape::escaped,
    path::{self, Frame},
    reduce::reduce_to_pixels,
};

/// A line of a few dozen values in a table row.
#[derive(Clone, Copy, Debug)]
pub struct Sparkline<'a> {
    /// The values, oldest first, evenly spaced; nothing where there is a gap.
    pub values: &'a [Option<f64>],
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// The value at the top, when it must not follow the data (100 for percent).
    pub maximum: Option<f64>,
    /// What it shows, for those who cannot see it.
    pub label: &'a str,
}

impl Sparkline<'_> {
    /// The picture as an `<svg>` element of class `spark`. The lower edge is zero unless there are negative values.
    #[must_use]
    pub fn to_svg(&self) -> String {
        let Self { values, width, height, label, .. } = *self;
        let frame = self.frame();
        let times: Vec<i64> = (0i64..).take(values.len()).collect();
        let runs = reduce_to_pixels(&times, values, frame.start_ms, frame.end_ms, width);
        let line = path::line(&frame, &runs);
        let area = path::area(&frame, &runs);
        let label = escaped(label);
        format!(
            "<svg class=\"spark\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" role=\"img\">\
             <title>{label}</title><path class=\"spark-area\" d=\"{area}\"/><path class=\"spark-line\" d=\"{line}\"/></svg>"
        )
    }

    fn frame(&self) -> Frame {
        let finite = self.values.iter().copied().flatten().filter(|value| value.is_finite());
        let (low, high) = finite.fold((0f64, 0f64), |(low, high), value| (low.min(value), high.max(value)));
        let high = self.maximum.unwrap_or(high);
        // A flat line of zeros lies on the lower edge.
        let high = if high > low { high } else { low + 1.0 };
        let end_ms = i64::try_from(self.values.len()).unwrap_or(i64::MAX).saturating_sub(1).max(1);
        let (width, height) = (f64::from(self.width), f64::from(self.height));
        Frame { left: 0.0, top: 1.0, width, height: height - 2.0, start_ms: 0, end_ms, low, high }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn draw(values: &[Option<f64>]) -> String {
        Sparkline { values, width: 80, height: 18, maximum: None, label: "cpu <of> web01" }.to_svg()
    }

    #[test]
    fn its_title_is_escaped() {
        assert!(draw(&[Some(1.0), Some(2.0)]).contains("<title>cpu &lt;of&gt; web01</title>"));
    }

    #[test]
    fn a_gap_starts_a_new_stroke() {
        let svg = draw(&[Some(1.0), Some(2.0), None, Some(3.0), Some(1.0)]);
        let line = svg.split("spark-line\" d=\"").nth(1).unwrap();
        assert_eq!(line.matches('M').count(), 2);
    }

    #[test]
    fn no_values_give_an_empty_picture() {
        assert!(draw(&[]).contains("spark-line\" d=\"\""));
        assert!(draw(&[None, Some(f64::NAN)]).contains("spark-line\" d=\"\""));
    }

    proptest! {
        #[test]
        fn coordinates_stay_inside_the_picture(values in prop::collection::vec(prop::option::of(any::<f64>()), 0..200)) {
            let svg = draw(&values);
            prop_assert!(!svg.contains("NaN") && !svg.contains("inf"));
            let line = svg.split("spark-line\" d=\"").nth(1).unwrap().split('"').next().unwrap();
            for (x, y) in crate::svg::path::tests::points_of(line) {
                prop_assert!((0.0..=80.0).contains(&x), "x of {}", line);
                prop_assert!((0.0..=18.0).contains(&y), "y of {}", line);
            }
        }
    }
}
