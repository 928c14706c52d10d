//! What a group has at one instant.

use tidemark_model::{TimestampMs, Value};
use tidemark_query::SubQuery;

use crate::{
    aggregate,
    evaluate::{Member, is_aligned},
};

/// A point.
type Point = (TimestampMs, Value);

/// What a member has to do with an instant.
enum Part {
    Point(Value),
    /// The points before and after it.
    Between(Point, Point),
}

/// What stands for the point that a member does not have.
#[derive(Clone, Copy)]
enum Missing {
    OnTheLine,
    Zero,
    /// The largest integer, of which the smallest value takes no notice.
    Largest,
    /// The smallest integer, of which the largest value takes no notice.
    Smallest,
    Previous,
}

fn missing(sub_query: &SubQuery) -> Missing {
    match sub_query.aggregator.name() {
        // Rates are held, whatever the aggregator.
        _ if sub_query.rate.is_some() => Missing::Previous,
        "zimsum" | "count" | "first" | "last" | "squareSum" => Missing::Zero,
        "mimmin" => Missing::Largest,
        "mimmax" => Missing::Smallest,
        "pfsum" => Missing::Previous,
        _ => Missing::OnTheLine,
    }
}

/// Whether integers are reckoned with: all members that are not over have them at or before the instant and next.
fn are_integers(at: TimestampMs, members: &[Member<'_>]) -> bool {
    members.iter().filter(|member| member.points.keys().last() >= Some(&at)).all(|member| {
        let (before, after) = (member.points.range(..=at).next_back(), member.points.range(at + 1..).next());
        [before, after].into_iter().flatten().all(|(_, value)| value.is_int())
    })
}

/// The aggregate of the members that are active: those between whose first and last point the instant lies.
pub(crate) fn value_at(at: TimestampMs, members: &[Member<'_>], in_doubles: bool, sub_query: &SubQuery) -> Value {
    let parts: Vec<Part> = members
        .iter()
        .filter_map(|member| {
            let point = |(time, value): (&TimestampMs, &Value)| (*time, *value);
            match member.points.get(&at) {
                Some(Value::Float(nan)) if nan.is_nan() && is_aligned(sub_query) => None,
                Some(value) => Some(Part::Point(*value)),
                None if is_aligned(sub_query) => None,
                None => Some(Part::Between(
                    member.points.range(..at).next_back().map(point)?,
                    member.points.range(at..).next().map(point)?,
                )),
            }
        })
        .collect();
    let missing = missing(sub_query);
    let integers: Option<Vec<i64>> = parts.iter().map(|part| integer(part, at, missing)).collect();
    match integers.filter(|none| none.is_empty() || !in_doubles && are_integers(at, members)) {
        // All that there is, is NaN.
        Some(none) if none.is_empty() && sub_query.aggregator.name() == "count" => Value::Float(0.0),
        Some(none) if none.is_empty() => Value::Float(f64::NAN),
        Some(integers) => aggregate::integers(sub_query.aggregator, &integers),
        None => {
            let doubles: Vec<f64> = parts.iter().map(|part| double(part, at, missing)).collect();
            Value::Float(aggregate::doubles(sub_query.aggregator, &doubles))
        }
    }
}

/// None when a double is involved.
fn integer(part: &Part, at: TimestampMs, missing: Missing) -> Option<i64> {
    match part {
        Part::Point(Value::Int(integer)) => Some(*integer),
        Part::Between((x0, Value::Int(y0)), (x1, Value::Int(y1))) => Some(match missing {
            Missing::OnTheLine => {
                let (rise, run) = (i128::from(*y1) - i128::from(*y0), i128::from(x1 - x0));
                (i128::from(*y0) + i128::from(at - x0) * rise / run) as i64
            }
            Missing::Zero => 0,
            Missing::Largest => i64::MAX,
            Missing::Smallest => i64::MIN,
            Missing::Previous => *y0,
        }),
        Part::Point(Value::Float(_)) | Part::Between(..) => None,
    }
}

fn double(part: &Part, at: TimestampMs, missing: Missing) -> f64 {
    match part {
        Part::Point(value) => value.as_f64(),
        Part::Between((x0, y0), (x1, y1)) => match missing {
            Missing::OnTheLine => y0.as_f64() + (at - x0) as f64 * (y1.as_f64() - y0.as_f64()) / (x1 - x0) as f64,
            Missing::Zero => 0.0,
            Missing::Largest | Missing::Smallest => f64::NAN,
            Missing::Previous => y0.as_f64(),
        },
    }
}
