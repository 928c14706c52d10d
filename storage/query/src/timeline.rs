//! The instants at which at least one member of a group has a point.

use std::{borrow::Cow, rc::Rc};

use tidemark_model::TimestampMs;

use crate::{member::Member, plan::Window};

/// The union of the members' timestamps in the window, ascending.
pub(crate) fn timeline(members: &[Member], window: Window) -> Vec<TimestampMs> {
    let mut different: Vec<&Member> = Vec::new();
    for member in members {
        if !different.last().is_some_and(|last| Rc::ptr_eq(&last.timestamps, &member.timestamps)) {
            different.push(member);
        }
    }
    let slices: Vec<&[TimestampMs]> =
        different.iter().map(|member| member.timestamps.get(member.inside(window)).unwrap_or_default()).collect();
    union(&slices).into_owned()
}

/// Merges pairs of pairs of …; overlapping sets, the usual case, stay small on the way.
fn union<'a>(slices: &[&'a [TimestampMs]]) -> Cow<'a, [TimestampMs]> {
    match slices {
        [] => Cow::Borrowed(&[]),
        [one] => Cow::Borrowed(one),
        _ => {
            let (left, right) = slices.split_at(slices.len() / 2);
            let (left, right) = (union(left), union(right));
            if left == right { left } else { Cow::Owned(merge(&left, &right)) }
        }
    }
}

fn merge(left: &[TimestampMs], right: &[TimestampMs]) -> Vec<TimestampMs> {
    let mut merged = Vec::with_capacity(left.len().max(right.len()));
    let (mut left, mut right) = (left.iter().copied().peekable(), right.iter().copied().peekable());
    while let (Some(&from_left), Some(&from_right)) = (left.peek(), right.peek()) {
        merged.push(from_left.min(from_right));
        if from_left <= from_right {
            left.next();
        }
        if from_right <= from_left {
            right.next();
        }
    }
    merged.extend(left);
    merged.extend(right);
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_union_has_every_instant_once() {
        let check = |slices: &[&[i64]], expect: &[i64]| assert_eq!(union(slices).as_ref(), expect);
        check(&[], &[]);
        check(&[&[1, 2]], &[1, 2]);
        check(&[&[1, 2], &[1, 2]], &[1, 2]);
        check(&[&[1, 3, 5], &[2, 3, 6], &[], &[0, 9]], &[0, 1, 2, 3, 5, 6, 9]);
    }
}
