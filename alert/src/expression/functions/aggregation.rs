//! Several series become one.

use std::collections::{BTreeMap, HashMap};

use crate::expression::{
    Group, ValueType,
    error::EvaluateErrorKind,
    functions::{
        Arguments, Context, Function, Returns, Run, TagRule,
        reductions::{percentile, percentile_share},
    },
    syntax::Node,
    tag_keys::{self, TagKeys},
    value::{Datum, Item, Series, Set, Value},
    value_type::ArgumentType,
};

pub(crate) const FUNCTIONS: &[Function] = &[Function {
    name: "aggr",
    arguments: &[ArgumentType::Series, ArgumentType::Text, ArgumentType::Text],
    more: None,
    returns: Returns::Is(ValueType::Series),
    tags: TagRule::Computed(keys),
    checks: &[(2, |text| Aggregation::from_name(text).map(|_| ()))],
    run: Run::Pure(aggregate),
}];

fn keys(first: &TagKeys, arguments: &[Node]) -> Result<TagKeys, String> {
    let wanted = tag_keys::of_list(arguments.get(1).and_then(Node::literal_text).unwrap_or_default());
    match wanted.iter().find(|key| !first.contains(*key)) {
        Some(key) => Err(format!("tag key `{key}` is not among those of the series")),
        None => Ok(wanted),
    }
}

/// Groups series by the named keys; at each stamp those series count that have a point there. Nothing is interpolated.
fn aggregate(_: &Context, mut arguments: Arguments) -> Result<Value, EvaluateErrorKind> {
    let (set, keys, name) = (arguments.set(), arguments.text(), arguments.text());
    let aggregation = Aggregation::from_name(&name).map_err(EvaluateErrorKind::Function)?;
    let keys = tag_keys::of_list(&keys);
    let mut groups: BTreeMap<Group, HashMap<i64, Vec<f64>>> = BTreeMap::new();
    for item in &set.items {
        let Datum::Series(series) = &item.value else { continue };
        let stamps = groups.entry(group_of(&item.group, &keys)?).or_default();
        for &(stamp, value) in series.points() {
            stamps.entry(stamp).or_default().push(value);
        }
    }
    let items = groups.into_iter().map(|(group, stamps)| {
        let points = stamps.into_iter().map(|(stamp, values)| (stamp, aggregation.apply(&values))).collect();
        Item::new(group, Datum::Series(Series::new(points)))
    });
    Ok(Value::Set(Set { items: items.collect(), joins: set.joins }))
}

fn group_of(group: &Group, keys: &TagKeys) -> Result<Group, EvaluateErrorKind> {
    keys.iter()
        .map(|key| {
            let unmatched = || EvaluateErrorKind::function(format_args!("a series lacks the tag key `{key}`"));
            group.get(key).map(|value| (key.clone(), value.to_owned())).ok_or_else(unmatched)
        })
        .collect()
}

#[derive(Clone, Copy)]
enum Aggregation {
    Average,
    Minimum,
    Maximum,
    Sum,
    Percentile(f64),
}

impl Aggregation {
    fn from_name(name: &str) -> Result<Self, String> {
        match name {
            "avg" => Ok(Self::Average),
            "min" => Ok(Self::Minimum),
            "max" => Ok(Self::Maximum),
            "sum" => Ok(Self::Sum),
            _ => percentile_share(name)
                .filter(|share| (0.0..=1.0).contains(share))
                .map(Self::Percentile)
                .ok_or_else(|| format!("unknown aggregation `{name}`: there are avg, min, max, sum and p0 to p1")),
        }
    }

    fn apply(self, values: &[f64]) -> f64 {
        match self {
            Self::Average => values.iter().sum::<f64>() / values.len() as f64,
            Self::Minimum => percentile(values.iter().copied(), 0.0),
            Self::Maximum => percentile(values.iter().copied(), 1.0),
            Self::Sum => values.iter().sum(),
            Self::Percentile(share) => percentile(values.iter().copied(), share),
        }
    }
}
