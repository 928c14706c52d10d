//! Which members of two sets belong together.
//!
//! For every pair: equal groups, or one of them empty, join; a group that is part of a larger one joins it; anything
//! else does not. The result takes the larger group. Comparing every pair costs the product of the sizes, so members
//! are bucketed by their tag keys: for two buckets the keys tell whether and on which tags their members may join, and
//! a hash of those tags finds the partners.

use std::collections::{BTreeMap, HashMap};

use crate::expression::{
    Computation, Group,
    error::EvaluateErrorKind,
    value::{Datum, Item, JoinRules, Set},
};

/// Two values that belong together.
pub(crate) struct Pair {
    pub(crate) group: Group,
    pub(crate) left: Datum,
    pub(crate) right: Datum,
    pub(crate) computations: Vec<Computation>,
}

/// Joins two sets. Pairs come in the order of the left members, then of the right; then, unless rules say otherwise,
/// members that found no partner, beside NaN or what `nv` put in its place.
///
/// One empty side gives no pair at all, unless `nv` says what an empty side stands for.
///
/// # Errors
/// More than `pairs_max` pairs.
pub(crate) fn join(
    left: &Set,
    right: &Set,
    unjoined_ok: bool,
    pairs_max: usize,
) -> Result<Vec<Pair>, EvaluateErrorKind> {
    let (left_stand_in, right_stand_in) = (stand_in(left), stand_in(right));
    let left_items = left_stand_in.as_deref().unwrap_or(&left.items);
    let right_items = right_stand_in.as_deref().unwrap_or(&right.items);
    if left_items.is_empty() || right_items.is_empty() {
        return Ok(Vec::new());
    }
    let partners = partners(left_items, right_items, pairs_max)?;
    let mut pairs: Vec<Pair> = Vec::with_capacity(partners.len());
    let (mut left_joined, mut right_joined) = (vec![false; left_items.len()], vec![false; right_items.len()]);
    for (left_index, right_index) in partners {
        let (Some(left_item), Some(right_item)) = (left_items.get(left_index), right_items.get(right_index)) else {
            continue;
        };
        mark(&mut left_joined, left_index);
        mark(&mut right_joined, right_index);
        pairs.push(pair(left_item, right_item));
    }
    if !unjoined_ok {
        pairs.extend(alone(left_items, &left_joined, left.joins, right.joins).map(|(item, missing)| Pair {
            group: item.group.clone(),
            left: item.value.clone(),
            right: missing,
            computations: item.computations.clone(),
        }));
        pairs.extend(alone(right_items, &right_joined, right.joins, left.joins).map(|(item, missing)| Pair {
            group: item.group.clone(),
            left: missing,
            right: item.value.clone(),
            computations: item.computations.clone(),
        }));
    }
    Ok(pairs)
}

/// What an empty set stands for, if `nv` says so.
fn stand_in(set: &Set) -> Option<Vec<Item>> {
    let missing = set.joins.missing.filter(|_| set.items.is_empty())?;
    Some(vec![Item::new(Group::empty(), Datum::Number(missing))])
}

fn mark(joined: &mut [bool], index: usize) {
    if let Some(flag) = joined.get_mut(index) {
        *flag = true;
    }
}

fn pair(left: &Item, right: &Item) -> Pair {
    let group = if left.group.len() >= right.group.len() { &left.group } else { &right.group };
    let computations = left.computations.iter().chain(&right.computations).cloned().collect();
    Pair { group: group.clone(), left: left.value.clone(), right: right.value.clone(), computations }
}

/// The members that found no partner, with what stands in for the partner.
fn alone<'a>(
    items: &'a [Item],
    joined: &'a [bool],
    own: JoinRules,
    other: JoinRules,
) -> impl Iterator<Item = (&'a Item, Datum)> {
    let kept = !own.ignore_unjoined && !other.ignore_other_unjoined;
    let missing = other.missing.unwrap_or(f64::NAN);
    items
        .iter()
        .zip(joined)
        .filter(move |(_, joined)| kept && !**joined)
        .map(move |(item, _)| (item, Datum::Number(missing)))
}

/// Positions of members with the same tag keys.
type Buckets<'a> = BTreeMap<Vec<&'a str>, Vec<usize>>;

fn buckets(items: &[Item]) -> Buckets<'_> {
    let mut buckets = Buckets::new();
    for (index, item) in items.iter().enumerate() {
        buckets.entry(item.group.iter().map(|(key, _)| key).collect()).or_default().push(index);
    }
    buckets
}

fn partners(left: &[Item], right: &[Item], pairs_max: usize) -> Result<Vec<(usize, usize)>, EvaluateErrorKind> {
    let (left_buckets, right_buckets) = (buckets(left), buckets(right));
    let mut found = Vec::new();
    for (left_keys, left_members) in &left_buckets {
        for (right_keys, right_members) in &right_buckets {
            let Some(shared) = shared_keys(left_keys, right_keys) else {
                continue;
            };
            let mut by_tags: HashMap<Vec<&str>, Vec<usize>> = HashMap::new();
            for &index in right_members {
                by_tags.entry(tag_values(right, index, shared)).or_default().push(index);
            }
            for &left_index in left_members {
                let Some(matching) = by_tags.get(&tag_values(left, left_index, shared)) else {
                    continue;
                };
                found.extend(matching.iter().map(|&right_index| (left_index, right_index)));
                if found.len() > pairs_max {
                    return Err(EvaluateErrorKind::Limit {
                        what: "groups",
                        field: "groups_max",
                        limit: pairs_max as u64,
                    });
                }
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The tag keys on which members of two buckets have to agree; `None` when they can never join.
fn shared_keys<'k>(left: &'k [&'k str], right: &'k [&'k str]) -> Option<&'k [&'k str]> {
    let (small, large) = if left.len() <= right.len() { (left, right) } else { (right, left) };
    small.iter().all(|key| large.contains(key)).then_some(small)
}

fn tag_values<'a>(items: &'a [Item], index: usize, keys: &[&str]) -> Vec<&'a str> {
    let Some(item) = items.get(index) else {
        return Vec::new();
    };
    keys.iter().map(|key| item.group.get(key).unwrap_or_default()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(groups: &[&str]) -> Set {
        let item = |(number, text): (usize, &&str)| {
            Item::new(Group::parse(text).expect("a group"), Datum::Number(number as f64))
        };
        Set::from_items(groups.iter().enumerate().map(item).collect())
    }

    fn joined(left: &Set, right: &Set) -> Vec<String> {
        let show = |datum: &Datum| match datum {
            Datum::Number(number) => number.to_string(),
            Datum::Series(_) => "series".to_owned(),
        };
        let pairs = join(left, right, false, 1000).expect("few pairs");
        pairs.iter().map(|pair| format!("{}: {} {}", pair.group, show(&pair.left), show(&pair.right))).collect()
    }

    #[test]
    fn members_join_by_equal_empty_and_larger_groups() {
        assert_eq!(
            joined(&set(&["host=a", "host=b"]), &set(&["host=b", "host=a"])),
            ["{host=a}: 0 1", "{host=b}: 1 0"]
        );
        assert_eq!(joined(&set(&["host=a"]), &set(&[""])), ["{host=a}: 0 0"]);
        assert_eq!(
            joined(&set(&["host=a"]), &set(&["disk=x,host=a", "disk=y,host=a"])),
            ["{disk=x,host=a}: 0 0", "{disk=y,host=a}: 0 1"]
        );
        assert_eq!(joined(&set(&["host=a"]), &set(&[])), [""; 0]);
    }

    #[test]
    fn members_without_a_partner_stand_beside_nan() {
        assert_eq!(joined(&set(&["host=a", "host=b"]), &set(&["host=a"])), ["{host=a}: 0 0", "{host=b}: 1 NaN"]);
        assert_eq!(
            joined(&set(&["host=a,disk=x"]), &set(&["host=a,iface=y"])),
            ["{disk=x,host=a}: 0 NaN", "{host=a,iface=y}: NaN 0"]
        );
        let mut right = set(&["host=a"]);
        right.joins.missing = Some(7.0);
        assert_eq!(joined(&set(&["host=a", "host=b"]), &right), ["{host=a}: 0 0", "{host=b}: 1 7"]);
        right.joins.ignore_other_unjoined = true;
        assert_eq!(joined(&set(&["host=a", "host=b"]), &right), ["{host=a}: 0 0"]);
        right.items.clear();
        assert_eq!(joined(&set(&["host=a"]), &right), ["{host=a}: 0 7"]);
    }

    #[test]
    fn too_many_pairs_are_refused() {
        let many = set(&["host=a"; 40]);
        assert!(matches!(join(&many, &many, false, 1000), Err(EvaluateErrorKind::Limit { .. })));
    }

    fn groups() -> impl Strategy<Value = Vec<Group>> {
        let tag = |key: &'static str| proptest::option::of("[xy]".prop_map(move |value| (key.to_owned(), value)));
        let group =
            (tag("a"), tag("b"), tag("c")).prop_map(|(a, b, c)| [a, b, c].into_iter().flatten().collect::<Group>());
        proptest::collection::vec(group, 0..8)
    }

    proptest! {
        #[test]
        fn the_buckets_find_what_comparing_every_pair_finds(left in groups(), right in groups()) {
            let items = |groups: &[Group]| groups.iter().map(|g| Item::new(g.clone(), Datum::Number(0.0))).collect::<Vec<_>>();
            let (left_items, right_items) = (items(&left), items(&right));
            let mut expect = Vec::new();
            for (i, l) in left.iter().enumerate() {
                for (j, r) in right.iter().enumerate() {
                    let joins = l == r || l.is_empty() || r.is_empty()
                        || l.len() != r.len() && (l.contains_all(r) || r.contains_all(l));
                    if joins {
                        expect.push((i, j));
                    }
                }
            }
            prop_assert_eq!(partners(&left_items, &right_items, 1000).unwrap(), expect);
        }
    }
}
