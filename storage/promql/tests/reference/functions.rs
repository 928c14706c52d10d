//! Functions of points in a range, a sentence after the other.

/// Points, oldest first.
pub(crate) type Points = Vec<(i64, f64)>;

/// The value of a function over the points after `start` and until `end`; `None` when it has none.
pub(crate) fn of_range(name: &str, points: &Points, (start, end): (i64, i64), now: i64, number: f64) -> Option<f64> {
    let values: Vec<f64> = points.iter().map(|(_, value)| *value).collect();
    let count = values.len() as f64;
    if values.is_empty() {
        return None;
    }
    let sum: f64 = values.iter().sum();
    let mean = sum / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    let changes = |is_counted: &dyn Fn(f64, f64) -> bool| {
        values.windows(2).filter(|pair| is_counted(pair[0], pair[1])).count() as f64
    };
    match name {
        "rate" => extrapolated(points, start, end, true).map(|change| change / ((end - start) as f64 / 1000.0)),
        "increase" => extrapolated(points, start, end, true),
        "delta" => extrapolated(points, start, end, false),
        "irate" | "idelta" => {
            let [(before, from), (at, to)] = points[points.len().checked_sub(2)?..] else { return None };
            let seconds = (at - before) as f64 / 1000.0;
            match name {
                "idelta" => Some(to - from),
                _ if to < from => Some(to / seconds),
                _ => Some((to - from) / seconds),
            }
        }
        "deriv" => (values.len() > 1).then(|| line(points, points[0].0).0),
        "predict_linear" => {
            let (slope, value) = line(points, now);
            (values.len() > 1).then_some(value + slope * number)
        }
        "resets" => Some(changes(&|before, after| after < before)),
        "changes" => Some(changes(&|before, after| after != before && !(after.is_nan() && before.is_nan()))),
        "sum_over_time" => Some(sum),
        "avg_over_time" => Some(mean),
        "min_over_time" => Some(extreme(&values, f64::min)),
        "max_over_time" => Some(extreme(&values, f64::max)),
        "count_over_time" => Some(count),
        "last_over_time" => values.last().copied(),
        "first_over_time" => values.first().copied(),
        "present_over_time" => Some(1.0),
        "stdvar_over_time" => Some(variance),
        "stddev_over_time" => Some(variance.sqrt()),
        "quantile_over_time" => Some(quantile(number, values)),
        "mad_over_time" => {
            let median = quantile(0.5, values.clone());
            Some(quantile(0.5, values.iter().map(|value| (value - median).abs()).collect()))
        }
        other => panic!("no such function here: {other}"),
    }
}

pub(crate) fn extreme(values: &[f64], of: fn(f64, f64) -> f64) -> f64 {
    let numbers: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    numbers.into_iter().reduce(of).unwrap_or(f64::NAN)
}

fn extrapolated(points: &Points, start: i64, end: i64, is_counter: bool) -> Option<f64> {
    if points.len() < 2 {
        return None;
    }
    let (first_time, first) = points[0];
    let (last_time, last) = points[points.len() - 1];
    let mut change = last - first;
    if is_counter {
        for pair in points.windows(2) {
            if pair[1].1 < pair[0].1 {
                change += pair[0].1;
            }
        }
    }
    let sampled = (last_time - first_time) as f64 / 1000.0;
    let between = sampled / (points.len() - 1) as f64;
    let mut before = (first_time - start) as f64 / 1000.0;
    let mut after = (end - last_time) as f64 / 1000.0;
    if before >= between * 1.1 {
        before = between / 2.0;
    }
    if after >= between * 1.1 {
        after = between / 2.0;
    }
    if is_counter && change > 0.0 && first >= 0.0 {
        before = before.min(sampled * first / change);
    }
    Some(change * (sampled + before + after) / sampled)
}

/// Slope a second and value at a moment of the line of least squares.
fn line(points: &Points, moment: i64) -> (f64, f64) {
    if points.iter().all(|(_, value)| *value == points[0].1) {
        let value = points[0].1;
        return if value.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, value) };
    }
    let count = points.len() as f64;
    let x = |time: i64| (time - moment) as f64 / 1000.0;
    let mean_x = points.iter().map(|(time, _)| x(*time)).sum::<f64>() / count;
    let mean_y = points.iter().map(|(_, value)| value).sum::<f64>() / count;
    let covariance: f64 = points.iter().map(|(time, value)| (x(*time) - mean_x) * (value - mean_y)).sum();
    let variance: f64 = points.iter().map(|(time, _)| (x(*time) - mean_x).powi(2)).sum();
    let slope = covariance / variance;
    (slope, mean_y - slope * mean_x)
}

pub(crate) fn quantile(q: f64, mut values: Vec<f64>) -> f64 {
    if q.is_nan() || values.is_empty() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    values.sort_by(|left, right| left.partial_cmp(right).unwrap_or_else(|| right.is_nan().cmp(&left.is_nan())));
    let rank = q * (values.len() - 1) as f64;
    let (lower, part) = (rank.floor() as usize, rank.fract());
    let upper = (lower + 1).min(values.len() - 1);
    values[lower] * (1.0 - part) + values[upper] * part
}
