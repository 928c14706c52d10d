//! Numbers with units.

use minijinja::{Environment, Value, value::Serde};

use crate::{
    svg::escaped,
    units::{MISSING, Unit, format_quantity},
};

pub(super) fn add_to(environment: &mut Environment<'static>) {
    environment.add_filter("quantity", |value: Option<f64>, unit: Serde<Unit>| quantity(value, unit.0));
    environment.add_filter("number", |value: Option<f64>| quantity(value, Unit::None));
    environment.add_filter("percent", |value: Option<f64>| quantity(value, Unit::Percent));
    environment.add_filter("bytes", |value: Option<f64>| quantity(value, Unit::Bytes));
    environment.add_filter("bytes_per_second", |value: Option<f64>| quantity(value, Unit::BytesPerSecond));
    environment.add_filter("per_second", |value: Option<f64>| quantity(value, Unit::PerSecond));
    environment.add_filter("duration", |value: Option<f64>| quantity(value, Unit::Milliseconds));
    environment.add_filter("percent_of", percent_of);
    environment.add_filter("bar", bar);
    environment.add_filter("share", share);
    environment.add_filter("stretch", stretch);
}

fn quantity(value: Option<f64>, unit: Unit) -> String {
    value.map_or_else(|| MISSING.to_owned(), |value| format_quantity(value, unit))
}

/// How many percent of `whole` the value is; none when either is not known or the whole is nothing.
fn percent_of(value: Option<f64>, whole: Option<f64>) -> Option<f64> {
    let (value, whole) = (value?, whole?);
    (whole > 0.0).then(|| value / whole * 100.0)
}

/// A bar filled to so many percent, of which more is neither better nor worse.
fn share(percent: Option<f64>, label: &str) -> Value {
    draw_bar(percent.filter(|percent| percent.is_finite()).unwrap_or(0.0).clamp(0.0, 100.0), "bar-normal", label)
}

/// A bar filled to so many percent, with a class for how full it is. A value that is not known gives an empty bar.
fn bar(percent: Option<f64>, label: &str) -> Value {
    let percent = percent.filter(|percent| percent.is_finite()).unwrap_or(0.0).clamp(0.0, 100.0);
    let class = match percent {
        p if p >= 95.0 => "bar-critical",
        p if p >= 85.0 => "bar-warning",
        _ => "bar-normal",
    };
    draw_bar(percent, class, label)
}

fn draw_bar(percent: f64, class: &str, label: &str) -> Value {
    Value::from_safe_string(format!(
        "<svg class=\"bar\" width=\"60\" height=\"8\" viewBox=\"0 0 100 8\" preserveAspectRatio=\"none\" role=\"img\">\
         <title>{}</title><rect class=\"bar-back\" width=\"100\" height=\"8\"/>\
         <rect class=\"{class}\" width=\"{percent:.1}\" height=\"8\"/></svg>",
        escaped(label)
    ))
}

/// A bar of so many percent that begins at so many percent, such as a run on a line of time; never too short to be seen.
fn stretch(from: f64, width: f64, class: &str, label: &str) -> Value {
    let inside = |percent: f64| if percent.is_finite() { percent.clamp(0.0, 100.0) } else { 0.0 };
    let width = inside(width).max(1.5);
    let from = inside(from).min(100.0 - width);
    Value::from_safe_string(format!(
        "<svg class=\"stretch\" width=\"160\" height=\"8\" viewBox=\"0 0 100 8\" preserveAspectRatio=\"none\" role=\"img\">\
         <title>{}</title><rect class=\"bar-back\" width=\"100\" height=\"8\"/>\
         <rect class=\"{}\" x=\"{from:.1}\" width=\"{width:.1}\" height=\"8\"/></svg>",
        escaped(label),
        escaped(class)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_a_dash_and_no_share_of_anything() {
        assert_eq!(quantity(None, Unit::Bytes), "–");
        assert_eq!(percent_of(Some(1.0), None), None);
        assert_eq!(percent_of(Some(1.0), Some(0.0)), None);
        assert_eq!(percent_of(Some(1.0), Some(4.0)), Some(25.0));
    }

    #[test]
    fn a_stretch_is_seen_and_stays_inside() {
        assert!(stretch(100.0, 0.0, "bar-normal", "1").to_string().contains("x=\"98.5\" width=\"1.5\""));
        assert!(stretch(f64::NAN, 400.0, "bar-normal", "<1").to_string().contains("x=\"0.0\" width=\"100.0\""));
        assert!(stretch(0.0, 1.0, "x", "<1").to_string().contains("<title>&lt;1</title>"));
    }

    #[test]
    fn a_bar_stays_inside_its_frame_and_escapes_its_label() {
        assert!(bar(Some(250.0), "").to_string().contains("width=\"100.0\""));
        assert!(bar(Some(f64::NAN), "").to_string().contains("width=\"0.0\""));
        assert!(bar(None, "/<mnt>").to_string().contains("<title>/&lt;mnt&gt;</title>"));
    }
}
