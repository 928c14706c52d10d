//! Functions about the groups of a set rather than its values.

use std::collections::{BTreeMap, HashSet};

use crate::expression::{
    Group, ValueType,
    error::EvaluateErrorKind,
    functions::{Arguments, Context, Function, Returns, Run, TagRule, arguments::one_number},
    syntax::Node,
    tag_keys::{self, TagKeys},
    value::{Datum, Item, Series, Set, Value},
    value_type::ArgumentType,
};

pub(crate) const FUNCTIONS: &[Function] = &[
    group_function(
        "addtags",
        |first, arguments| {
            let added = Group::parse(literal(arguments, 1))?;
            Ok(first.iter().cloned().chain(added.iter().map(|(key, _)| key.to_owned())).collect())
        },
        &[(1, |text| Group::parse(text).map(|_| ()))],
        add_tags,
    ),
    group_function(
        "rename",
        |first, arguments| {
            let renames = Renames::parse(literal(arguments, 1))?;
            Ok(first.iter().map(|key| renames.of(key).to_owned()).collect())
        },
        &[(1, |text| Renames::parse(text).map(|_| ()))],
        rename,
    ),
    group_function(
        "remove",
        |first, arguments| {
            let mut keys = first.clone();
            let key = literal(arguments, 1);
            if keys.remove(key) { Ok(keys) } else { Err(format!("there is no tag key `{key}` to remove")) }
        },
        &[],
        remove,
    ),
    Function {
        name: "t",
        arguments: &[ArgumentType::Numbers, ArgumentType::Text],
        more: None,
        returns: Returns::Is(ValueType::Series),
        tags: TagRule::Computed(|first, arguments| {
            let wanted = tag_keys::of_list(literal(arguments, 1));
            match wanted.iter().find(|key| !first.contains(*key)) {
                Some(key) => Err(format!("tag key `{key}` is not among those of the numbers")),
                None => Ok(wanted),
            }
        }),
        checks: &[],
        run: Run::Pure(transpose),
    },
    Function {
        name: "ungroup",
        arguments: &[ArgumentType::Numbers],
        more: None,
        returns: Returns::Is(ValueType::Scalar),
        tags: TagRule::None,
        checks: &[],
        run: Run::Pure(|_, mut arguments| one_number(&arguments.set()).map(Value::Scalar)),
    },
    Function {
        name: "merge",
        arguments: &[],
        more: Some(ArgumentType::Series),
        returns: Returns::Is(ValueType::Series),
        tags: TagRule::OfFirst,
        checks: &[],
        run: Run::Pure(merge),
    },
    Function {
        name: "filter",
        arguments: &[ArgumentType::Variant, ArgumentType::Numbers],
        more: None,
        returns: Returns::OfFirst,
        tags: TagRule::OfFirst,
        checks: &[],
        run: Run::Pure(filter),
    },
    Function {
        name: "limit",
        arguments: &[ArgumentType::Variant, ArgumentType::Scalar],
        more: None,
        returns: Returns::OfFirst,
        tags: TagRule::OfFirst,
        checks: &[],
        run: Run::Pure(limit),
    },
    Function {
        name: "sort",
        arguments: &[ArgumentType::Numbers, ArgumentType::Text],
        more: None,
        returns: Returns::Is(ValueType::Numbers),
        tags: TagRule::OfFirst,
        checks: &[(1, |order| SortOrder::parse(order).map(|_| ()))],
        run: Run::Pure(sort),
    },
];

/// A function of a set and a text that changes tags and keeps the values.
const fn group_function(
    name: &'static str,
    tags: fn(&TagKeys, &[Node]) -> Result<TagKeys, String>,
    checks: &'static [(usize, super::TextCheck)],
    run: fn(&Context, Arguments) -> Result<Value, EvaluateErrorKind>,
) -> Function {
    Function {
        name,
        arguments: &[ArgumentType::Variant, ArgumentType::Text],
        more: None,
        returns: Returns::OfFirst,
        tags: TagRule::Computed(tags),
        checks,
        run: Run::Pure(run),
    }
}

fn literal(arguments: &[Node], index: usize) -> &str {
    arguments.get(index).and_then(Node::literal_text).unwrap_or_default()
}

fn map_groups(
    set: Set,
    mut change: impl FnMut(Group) -> Result<Group, EvaluateErrorKind>,
) -> Result<Value, EvaluateErrorKind> {
    let joins = set.joins;
    let mut change_item = |item: Item| Ok(Item { group: change(item.group)?, ..item });
    let items: Result<_, EvaluateErrorKind> = set.items.into_iter().map(&mut change_item).collect();
    Ok(Value::Set(Set { items: items?, joins }))
}

fn add_tags(_: &Context, mut arguments: Arguments) -> Result<Value, EvaluateErrorKind> {
    let (set, tags) = (arguments.set(), arguments.text());
    let tags = Group::parse(&tags).map_err(EvaluateErrorKind::Function)?;
    map_groups(set, |mut group| {
        for (key, value) in tags.iter() {
            if group.insert(key, value).is_some() {
                return Err(EvaluateErrorKind::function(format_args!("tag key `{key}` is in the group already")));
            }
        }
        Ok(group)
    })
}

/// Old keys and their new names.
struct Renames(Vec<(String, String)>);

impl Renames {
    fn parse(text: &str) -> Result<Self, String> {
        let pair = |part: &str| {
            let (old, new) = part.split_once('=').ok_or_else(|| format!("`{part}` is no `old=new`"))?;
            Ok((old.trim().to_owned(), new.trim().to_owned()))
        };
        text.split(',').map(pair).collect::<Result<_, String>>().map(Self)
    }

    fn of<'a>(&'a self, key: &'a str) -> &'a str {
        self.0.iter().find(|(old, _)| old == key).map_or(key, |(_, new)| new)
    }
}

/// Renames one key after the other, so that `a=b,c=a` works. A key that is not there is left alone.
fn rename(_: &Context, mut arguments: Arguments) -> Result<Value, EvaluateErrorKind> {
    let (set, text) = (arguments.set(), arguments.text());
    let renames = Renames::parse(&text).map_err(EvaluateErrorKind::Function)?;
    map_groups(set, |mut group| {
        for (old, new) in &renames.0 {
            let Some(value) = group.remove(old) else { continue };
            if group.insert(new.clone(), value).is_some() {
                return Err(EvaluateErrorKind::function(format_args!("tag key `{new}` is in the group already")));
            }
        }
        Ok(group)
    })
}

fn remove(_: &Context, mut arguments: Arguments) -> Result<Value, EvaluateErrorKind> {
    let (set, key) = (arguments.set(), arguments.text());
    let mut seen = HashSet::new();
    map_groups(set, |mut group| {
        if group.remove(&key).is_none() {
            return Err(EvaluateErrorKind::function(format_args!("there is no tag key `{key}` in {group}")));
        }
        if !seen.insert(group.clone()) {
            return Err(EvaluateErrorKind::function(format_args!("without `{key}` two groups are equal: {group}")));
        }
        Ok(group)
    })
}

/// Numbers become points 0, 1, 2, … of a series for each group of the named keys.
fn transpose(_: &Context, mut arguments: Arguments) -> Result<Value, EvaluateErrorKind> {
    let (set, keys) = (arguments.set(), arguments.text());
    let keys = tag_keys::of_list(&keys);
    let mut groups: BTreeMap<Group, Vec<(i64, f64)>> = BTreeMap::new();
    for item in &set.items {
        let tags = keys.iter().filter_map(|key| item.group.get(key).map(|value| (key.clone(), value.to_owned())));
        let points = groups.entry(tags.collect()).or_default();
        if let Some(number) = item.number() {
            points.push((i64::try_from(points.len()).unwrap_or(i64::MAX), number));
        }
    }
    let items = groups.into_iter().map(|(group, points)| Item::new(group, Datum::Series(Series::new(points))));
    Ok(Value::Set(Set { items: items.collect(), joins: set.joins }))
}

fn merge(_: &Context, arguments: Arguments) -> Result<Value, EvaluateErrorKind> {
    let mut merged = Set::default();
    let mut seen = HashSet::new();
    for set in arguments.rest() {
        for item in set.items {
            if !seen.insert(item.group.clone()) {
                return Err(EvaluateErrorKind::function(format_args!("duplicate group in merge: {}", item.group)));
            }
            merged.items.push(item);
        }
    }
    Ok(Value::Set(merged))
}

/// Keeps members for which some number that is not zero has a group that contains theirs or is contained in it.
fn filter(context: &Context, mut arguments: Arguments) -> Result<Value, EvaluateErrorKind> {
    let (mut set, numbers) = (arguments.set(), arguments.set());
    let wanted: Vec<Item> =
        numbers.items.into_iter().filter(|item| item.number().is_some_and(|number| number != 0.0)).collect();
    let work = (set.items.len() as u64).saturating_mul(wanted.len() as u64);
    if work > context.limits.work_max {
        return Err(EvaluateErrorKind::Limit { what: "steps", field: "work_max", limit: context.limits.work_max });
    }
    let wants =
        |group: &Group| wanted.iter().any(|item| item.group.contains_all(group) || group.contains_all(&item.group));
    set.items.retain(|item| wants(&item.group));
    Ok(Value::Set(set))
}

fn limit(_: &Context, mut arguments: Arguments) -> Result<Value, EvaluateErrorKind> {
    let (mut set, count) = (arguments.set(), arguments.scalar()?);
    if count < 0.0 {
        return Err(EvaluateErrorKind::function(format_args!("cannot limit to {count} groups")));
    }
    set.items.truncate(count as usize);
    Ok(Value::Set(set))
}

#[derive(Clone, Copy)]
enum SortOrder {
    Ascending,
    Descending,
}

impl SortOrder {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "asc" => Ok(Self::Ascending),
            "desc" => Ok(Self::Descending),
            _ => Err(format!("unknown order `{text}`: there are `asc` and `desc`")),
        }
    }
}

/// By group first, then stably by value.
fn sort(_: &Context, mut arguments: Arguments) -> Result<Value, EvaluateErrorKind> {
    let (mut set, order) = (arguments.set(), arguments.text());
    let order = SortOrder::parse(&order).map_err(EvaluateErrorKind::Function)?;
    set.items.sort_by(|left, right| left.group.cmp(&right.group));
    let number = |item: &Item| item.number().unwrap_or(f64::NAN);
    set.items.sort_by(|left, right| match order {
        SortOrder::Ascending => number(left).total_cmp(&number(right)),
        SortOrder::Descending => number(right).total_cmp(&number(left)),
    });
    Ok(Value::Set(set))
}
