//! A series becomes a number. A group whose series is empty vanishes.

use crate::expression::{
    ValueType,
    error::EvaluateErrorKind,
    functions::{
        Arguments, Context, Function, Returns, Run, TagRule,
        arguments::{one_number, with_number},
    },
    value::{Datum, Item, Series, Set, Value},
    value_type::ArgumentType,
};

pub(crate) const FUNCTIONS: &[Function] = &[
    reduction("avg", |_, arguments| reduce(arguments, |series| mean(series.points()))),
    reduction("cCount", |_, arguments| reduce(arguments, changes)),
    reduction("dev", |_, arguments| reduce(arguments, |series| deviation(series.points()))),
    reduction("diff", |_, arguments| reduce(arguments, |series| last(series) - first(series))),
    reduction("first", |_, arguments| reduce(arguments, first)),
    reduction("last", |_, arguments| reduce(arguments, last)),
    reduction("len", |_, arguments| reduce(arguments, |series| series.len() as f64)),
    reduction("max", |_, arguments| reduce(arguments, |series| percentile(series.values(), 1.0))),
    reduction("median", |_, arguments| reduce(arguments, |series| percentile(series.values(), 0.5))),
    reduction("min", |_, arguments| reduce(arguments, |series| percentile(series.values(), 0.0))),
    reduction("since", |context, arguments| {
        let now = context.now;
        reduce(arguments, |series| series.points().last().map_or(f64::NAN, |point| (now - point.0) as f64))
    }),
    reduction("streak", |_, arguments| reduce(arguments, streak)),
    reduction("sum", |_, arguments| reduce(arguments, |series| series.values().sum())),
    Function {
        name: "percentile",
        arguments: &[ArgumentType::Series, ArgumentType::Numbers],
        more: None,
        returns: Returns::Is(ValueType::Numbers),
        tags: TagRule::OfFirst,
        checks: &[],
        run: Run::Pure(percentile_of),
    },
];

/// A reduction that takes nothing but the series.
const fn reduction(name: &'static str, run: fn(&Context, Arguments) -> Result<Value, EvaluateErrorKind>) -> Function {
    Function {
        name,
        arguments: &[ArgumentType::Series],
        more: None,
        returns: Returns::Is(ValueType::Numbers),
        tags: TagRule::OfFirst,
        checks: &[],
        run: Run::Pure(run),
    }
}

fn reduce(mut arguments: Arguments, reduce: impl Fn(&Series) -> f64) -> Result<Value, EvaluateErrorKind> {
    let set = arguments.set();
    let joins = set.joins;
    let items = set.items.into_iter().filter_map(|item| match &item.value {
        Datum::Series(series) if !series.is_empty() => {
            let value = Datum::Number(reduce(series));
            Some(Item { value, ..item })
        }
        _ => None,
    });
    Ok(Value::Set(Set { items: items.collect(), joins }))
}

fn percentile_of(_: &Context, mut arguments: Arguments) -> Result<Value, EvaluateErrorKind> {
    let (series, numbers) = (arguments.set(), arguments.set());
    let joins = series.joins;
    let matched = with_number(series, &numbers)?;
    let items = matched.into_iter().filter_map(|(item, share)| match &item.value {
        Datum::Series(series) if !series.is_empty() => {
            let value = Datum::Number(percentile(series.values(), share));
            Some(Item { value, ..item })
        }
        _ => None,
    });
    Ok(Value::Set(Set { items: items.collect(), joins }))
}

/// The number of a series by the name of a reduction (`avg`, `max`, `p.95`, …).
///
/// # Errors
/// There is no such reduction.
pub(crate) fn reduce_by_name(context: &Context, name: &str, series: Series) -> Result<f64, EvaluateErrorKind> {
    if let Some(share) = percentile_share(name) {
        return Ok(percentile(series.values(), share));
    }
    let Some(Run::Pure(run)) = is_reduction(name).then(|| super::find(name)).flatten().map(|function| function.run)
    else {
        return Err(EvaluateErrorKind::function(format_args!("`{name}` is no reduction function")));
    };
    let set = Set::from_items(vec![Item::new(crate::expression::Group::empty(), Datum::Series(series))]);
    one_number(&run(context, Arguments::new(vec![Value::Set(set)]))?.into_set())
}

/// Whether a name is that of a function from a series to a number, or a percentile such as `p.95`.
pub(crate) fn is_reduction(name: &str) -> bool {
    percentile_share(name).is_some()
        || FUNCTIONS.iter().any(|function| function.name == name && function.arguments == [ArgumentType::Series])
}

/// The share of `p.95`, `p0.5`.
pub(crate) fn percentile_share(name: &str) -> Option<f64> {
    name.strip_prefix('p').and_then(|share| share.parse().ok()).filter(|share: &f64| share.is_finite())
}

fn first(series: &Series) -> f64 {
    series.values().next().unwrap_or(f64::NAN)
}

fn last(series: &Series) -> f64 {
    series.points().last().map_or(f64::NAN, |point| point.1)
}

fn mean(points: &[(i64, f64)]) -> f64 {
    points.iter().map(|point| point.1).sum::<f64>() / points.len() as f64
}

/// Sample standard deviation (n − 1); 0 for one point.
fn deviation(points: &[(i64, f64)]) -> f64 {
    if points.len() == 1 {
        return 0.0;
    }
    let mean = mean(points);
    let squares: f64 = points.iter().map(|point| (point.1 - mean).powi(2)).sum();
    (squares / (points.len() as f64 - 1.0)).sqrt()
}

/// How often the value changes from one point to the next.
fn changes(series: &Series) -> f64 {
    series.values().zip(series.values().skip(1)).filter(|(before, after)| before != after).count() as f64
}

/// The longest run of points that are not zero.
fn streak(series: &Series) -> f64 {
    let (mut longest, mut run) = (0_u32, 0_u32);
    for value in series.values() {
        run = if value == 0.0 { 0 } else { run + 1 };
        longest = longest.max(run);
    }
    f64::from(longest)
}

/// Of the sorted values the one at `ceil(share · (n − 1))`, as Bosun chooses: nothing is interpolated. A share of 0 or
/// less is the least value, 1 or more the greatest.
pub(crate) fn percentile(values: impl Iterator<Item = f64>, share: f64) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    let highest = values.len().saturating_sub(1);
    let position = if share <= 0.0 {
        0
    } else if share >= 1.0 {
        highest
    } else {
        (share * highest as f64).ceil() as usize
    };
    values.get(position.min(highest)).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streaks_and_changes_are_counted() {
        let series = Series::new([0.0, 1.0, 1.0, 2.0, 0.0, 3.0].into_iter().zip(0..).map(|(v, t)| (t, v)).collect());
        assert_eq!(streak(&series), 3.0);
        assert_eq!(changes(&series), 4.0);
    }

    #[test]
    fn the_deviation_is_that_of_a_sample() {
        assert_eq!(deviation(&[(0, 7.0)]), 0.0);
        assert_eq!(deviation(&[(0, 1.0), (1, 3.0)]), 2.0_f64.sqrt());
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let check = |share: f64, expect: f64| assert_eq!(percentile([4.0, 1.0, 3.0, 2.0].into_iter(), share), expect);
        check(-1.0, 1.0);
        check(0.0, 1.0);
        check(0.25, 2.0);
        check(0.5, 3.0);
        check(1.0, 4.0);
        check(7.0, 4.0);
        assert!(percentile(std::iter::empty(), 0.5).is_nan());
    }
}
