//! Series from series, and series from numbers.

use crate::expression::{
    Group, ValueType,
    duration::parse_duration,
    error::EvaluateErrorKind,
    functions::{
        Arguments, Context, Function, Returns, Run, TagRule,
        arguments::{map_series, number_for, with_number},
    },
    syntax::Node,
    value::{Datum, Item, Series, Set, Value},
    value_type::ArgumentType,
};

pub(crate) const FUNCTIONS: &[Function] = &[
    Function {
        name: "series",
        arguments: &[ArgumentType::Text],
        more: Some(ArgumentType::Scalar),
        returns: Returns::Is(ValueType::Series),
        tags: TagRule::Computed(|_, arguments| {
            let tags = Group::parse(arguments.first().and_then(Node::literal_text).unwrap_or_default())?;
            Ok(tags.iter().map(|(key, _)| key.to_owned()).collect())
        }),
        checks: &[(0, |text| Group::parse(text).map(|_| ()))],
        run: Run::Pure(literal),
    },
    Function {
        name: "map",
        arguments: &[ArgumentType::Series, ArgumentType::Lambda],
        more: None,
        returns: Returns::Is(ValueType::Series),
        tags: TagRule::OfFirst,
        checks: &[],
        run: Run::PointByPoint,
    },
    Function {
        name: "crop",
        arguments: &[ArgumentType::Series, ArgumentType::Numbers, ArgumentType::Numbers],
        more: None,
        returns: Returns::Is(ValueType::Series),
        tags: TagRule::OfFirst,
        checks: &[],
        run: Run::Pure(crop),
    },
    Function {
        name: "tail",
        arguments: &[ArgumentType::Series, ArgumentType::Numbers],
        more: None,
        returns: Returns::Is(ValueType::Series),
        tags: TagRule::OfFirst,
        checks: &[],
        run: Run::Pure(tail),
    },
    Function {
        name: "shift",
        arguments: &[ArgumentType::Series, ArgumentType::Text],
        more: None,
        returns: Returns::Is(ValueType::Series),
        tags: TagRule::OfFirstAnd("shift"),
        checks: &[(1, |text| parse_duration(text).map(|_| ()))],
        run: Run::Pure(shift),
    },
    Function {
        name: "timedelta",
        arguments: &[ArgumentType::Series],
        more: None,
        returns: Returns::Is(ValueType::Series),
        tags: TagRule::OfFirst,
        checks: &[],
        run: Run::Pure(|_, mut arguments| map_series(arguments.set(), |_, series| Ok(time_delta(series)))),
    },
    Function {
        name: "des",
        arguments: &[ArgumentType::Series, ArgumentType::Scalar, ArgumentType::Scalar],
        more: None,
        returns: Returns::Is(ValueType::Series),
        tags: TagRule::OfFirst,
        checks: &[],
        run: Run::Pure(|_, mut arguments| {
            let (set, alpha, beta) = (arguments.set(), arguments.scalar()?, arguments.scalar()?);
            map_series(set, |_, series| Ok(smooth(series, alpha, beta)))
        }),
    },
];

fn literal(_: &Context, mut arguments: Arguments) -> Result<Value, EvaluateErrorKind> {
    let group = Group::parse(&arguments.text()).map_err(EvaluateErrorKind::Function)?;
    let numbers: Vec<f64> = arguments.rest().filter_map(|set| set.items.first().and_then(Item::number)).collect();
    let (pairs, odd) = numbers.as_chunks::<2>();
    if !odd.is_empty() {
        return Err(EvaluateErrorKind::function("series takes pairs of a time and a value, and one value is missing"));
    }
    let points = pairs.iter().map(|&[stamp, value]| (stamp as i64, value)).collect();
    Ok(Value::Set(Set::from_items(vec![Item::new(group, Datum::Series(Series::new(points)))])))
}

/// Points between `start` and `end` seconds ago, both inside. A series without its numbers vanishes.
fn crop(context: &Context, mut arguments: Arguments) -> Result<Value, EvaluateErrorKind> {
    let (mut set, starts, ends) = (arguments.set(), arguments.set(), arguments.set());
    set.items.retain(|item| number_for(&item.group, &starts).is_some() && number_for(&item.group, &ends).is_some());
    let ago = |seconds: f64| context.now.saturating_sub(seconds as i64);
    map_series(set, |group, series| {
        let start = ago(number_for(group, &starts).unwrap_or_default());
        let end = ago(number_for(group, &ends).unwrap_or_default());
        Ok(series.retain(|stamp, _| start <= stamp && stamp <= end))
    })
}

fn tail(_: &Context, mut arguments: Arguments) -> Result<Value, EvaluateErrorKind> {
    let (series, counts) = (arguments.set(), arguments.set());
    let joins = series.joins;
    let items = with_number(series, &counts)?.into_iter().map(|(mut item, count)| {
        if let Datum::Series(series) = item.value {
            let mut points = series.into_points();
            points.drain(..points.len().saturating_sub(count.max(0.0) as usize));
            item.value = Datum::Series(Series::new(points));
        }
        item
    });
    Ok(Value::Set(Set { items: items.collect(), joins }))
}

fn shift(_: &Context, mut arguments: Arguments) -> Result<Value, EvaluateErrorKind> {
    let (mut set, text) = (arguments.set(), arguments.text());
    let by = parse_duration(&text).map_err(EvaluateErrorKind::Function)?.as_secs();
    let by = i64::try_from(by).unwrap_or(i64::MAX);
    set.items.iter_mut().for_each(|item| {
        item.group.insert("shift", text.as_ref());
    });
    map_series(set, |_, series| {
        let shifted = series.into_points().into_iter().map(|(stamp, value)| (stamp.saturating_add(by), value));
        Ok(Series::new(shifted.collect()))
    })
}

/// Seconds between neighbours, at the later one. A single point yields 0.
fn time_delta(series: Series) -> Series {
    let points = series.points();
    if let [only] = points {
        return Series::new(vec![(only.0, 0.0)]);
    }
    let pairs = points.iter().zip(points.iter().skip(1));
    Series::new(pairs.map(|(before, after)| (after.0, (after.0 - before.0) as f64)).collect())
}

/// Double exponential smoothing; the first point is not emitted, and a single point stays as it is.
fn smooth(series: Series, alpha: f64, beta: f64) -> Series {
    let [first, second, ..] = series.points() else {
        return series;
    };
    let (mut level, mut trend) = (first.1, second.1 - first.1);
    let mut points = Vec::with_capacity(series.len());
    for &(stamp, value) in series.points().iter().skip(1) {
        let before = level;
        level = alpha * value + (1.0 - alpha) * (level + trend);
        trend = beta * (level - before) + (1.0 - beta) * trend;
        points.push((stamp, level));
    }
    Series::new(points)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_point_has_no_distance() {
        assert_eq!(time_delta(Series::new(vec![(7, 1.0)])).points(), [(7, 0.0)]);
        assert_eq!(time_delta(Series::default()).points(), []);
    }

    #[test]
    fn smoothing_leaves_out_the_first_point() {
        let line = Series::new(vec![(0, 1.0), (1, 2.0), (2, 3.0)]);
        assert_eq!(smooth(line, 0.5, 0.5).points(), [(1, 2.0), (2, 3.0)]);
        assert_eq!(smooth(Series::new(vec![(0, 5.0)]), 0.5, 0.5).points(), [(0, 5.0)]);
    }
}
