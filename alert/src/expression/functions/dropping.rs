//! Series without some of their points.

use crate::expression::{
    ValueType,
    error::EvaluateErrorKind,
    functions::{
        Arguments, Context, Function, Returns, Run, TagRule,
        arguments::{map_series, with_number},
    },
    join::join,
    value::{Datum, Item, Set, Value},
    value_type::ArgumentType,
};

pub(crate) const FUNCTIONS: &[Function] = &[
    by_threshold("dropg", |_, arguments| drop_points(arguments, |value, threshold| value > threshold)),
    by_threshold("dropge", |_, arguments| drop_points(arguments, |value, threshold| value >= threshold)),
    by_threshold("dropl", |_, arguments| drop_points(arguments, |value, threshold| value < threshold)),
    by_threshold("drople", |_, arguments| drop_points(arguments, |value, threshold| value <= threshold)),
    Function {
        name: "dropna",
        arguments: &[ArgumentType::Series],
        more: None,
        returns: Returns::Is(ValueType::Series),
        tags: TagRule::OfFirst,
        checks: &[],
        run: Run::Pure(|_, mut arguments| {
            map_series(arguments.set(), |group, series| {
                let kept = series.retain(|_, value| value.is_finite());
                if kept.is_empty() { Err(nothing_left(group)) } else { Ok(kept) }
            })
        }),
    },
    Function {
        name: "dropbool",
        arguments: &[ArgumentType::Series, ArgumentType::Series],
        more: None,
        returns: Returns::Is(ValueType::Series),
        tags: TagRule::OfFirst,
        checks: &[],
        run: Run::Pure(drop_by_series),
    },
];

const fn by_threshold(
    name: &'static str,
    run: fn(&Context, Arguments) -> Result<Value, EvaluateErrorKind>,
) -> Function {
    Function {
        name,
        arguments: &[ArgumentType::Series, ArgumentType::Numbers],
        more: None,
        returns: Returns::Is(ValueType::Series),
        tags: TagRule::OfFirst,
        checks: &[],
        run: Run::Pure(run),
    }
}

fn nothing_left(group: &crate::expression::Group) -> EvaluateErrorKind {
    EvaluateErrorKind::function(format_args!("dropped all points of {group}, so nothing is left to look at"))
}

fn drop_points(mut arguments: Arguments, drops: impl Fn(f64, f64) -> bool) -> Result<Value, EvaluateErrorKind> {
    let (series, thresholds) = (arguments.set(), arguments.set());
    let joins = series.joins;
    let mut items = Vec::with_capacity(series.items.len());
    for (item, threshold) in with_number(series, &thresholds)? {
        let Datum::Series(series) = item.value else { continue };
        let kept = series.retain(|_, value| !drops(value, threshold));
        if kept.is_empty() {
            return Err(nothing_left(&item.group));
        }
        items.push(Item { value: Datum::Series(kept), ..item });
    }
    Ok(Value::Set(Set { items, joins }))
}

/// Keeps the points at whose stamp the other series has a value that is not zero.
fn drop_by_series(context: &Context, mut arguments: Arguments) -> Result<Value, EvaluateErrorKind> {
    let (target, filter) = (arguments.set(), arguments.set());
    let pairs = join(&target, &filter, true, context.limits.groups_max)?;
    let items = pairs.into_iter().filter_map(|pair| match (pair.left, pair.right) {
        (Datum::Series(points), Datum::Series(filter)) => {
            let kept = filter.retain(|_, value| value != 0.0);
            Some(Item::new(pair.group, Datum::Series(points.zip(&kept, |value, _| value))))
        }
        _ => None,
    });
    Ok(Value::Set(Set { items: items.collect(), joins: target.joins }))
}
