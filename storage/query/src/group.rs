//! Aggregating the members of one group.
//!
//! The group's instants are gone through in pieces, so that running values and gathered rows stay in the cache and
//! bounded in memory. Members with the group's own instants, as downsampled series have, are added as they are; others
//! are interpolated first. Members of different types are the exception and go row by row (`mixed_rows`).

use std::rc::Rc;

use tidemark_model::{PointColumns, TimestampMs, Value, ValueColumn};

use crate::{
    Aggregator, Interpolation, QueryError,
    accumulator::{Accumulator, DoubleAccumulator, IntegerAccumulator, Running},
    interpolation::{Between, between_doubles, between_integers, expand},
    member::Member,
    mixed_rows::aggregate_mixed,
    plan::Window,
    row::{aggregate_doubles, aggregate_integers},
    timeline::timeline,
};

/// Instants of one piece of the timeline.
const PIECE_INSTANTS: usize = 4096;

/// Values gathered at most for one piece.
const GATHERED_MAX: usize = 1 << 20;

/// How the members of a group become one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupRules {
    pub(crate) aggregator: Aggregator,
    pub(crate) method: Interpolation,
    /// Whether a member without a point at an instant takes no part there. All values are doubles then, and NaN is none.
    pub(crate) is_aligned: bool,
    /// Whether a series of the group that begins after the window, but where neighbours are looked for, begins with a double.
    pub(crate) ends_in_doubles: bool,
    pub(crate) window: Window,
}

impl GroupRules {
    /// Whether the aggregate of one value is the value.
    fn keeps_single(&self) -> bool {
        !matches!(self.aggregator, Aggregator::Count | Aggregator::Dev | Aggregator::Diff | Aggregator::SquareSum)
    }
}

/// Aggregates members, of which there is at least one.
pub(crate) fn aggregate_group(
    mut members: Vec<Member>,
    rules: GroupRules,
    cancelled: &dyn Fn() -> bool,
) -> Result<PointColumns, QueryError> {
    if rules.ends_in_doubles {
        members.iter_mut().for_each(Member::make_doubles);
    }
    if members.len() == 1 && rules.keeps_single() {
        return Ok(members.pop().map(|member| member.into_points(rules.window)).unwrap_or_default());
    }
    let instants = timeline(&members, rules.window);
    let group = Group { members: &members, rules, cancelled };
    let doubles: Option<Vec<&[f64]>> = members.iter().map(|member| as_doubles(&member.values)).collect();
    let integers: Option<Vec<&[i64]>> = members.iter().map(|member| as_integers(&member.values)).collect();
    let values = match (doubles, integers) {
        (Some(columns), _) => ValueColumn::Float(group.aggregate::<DoubleAccumulator>(
            &columns,
            &instants,
            |method, gap| if rules.is_aligned { f64::NAN } else { between_doubles(method, gap) },
            |aggregator, row| {
                if rules.is_aligned {
                    row.retain(|value| !value.is_nan());
                }
                aggregate_doubles(aggregator, row)
            },
        )?),
        (None, Some(columns)) => column_of(group.aggregate::<IntegerAccumulator>(
            &columns,
            &instants,
            between_integers,
            |aggregator, row| aggregate_integers(aggregator, row),
        )?),
        (None, None) => column_of(aggregate_mixed(&members, rules, &instants, cancelled)?),
    };
    Ok(PointColumns { timestamps: instants, values })
}

struct Group<'a> {
    members: &'a [Member],
    rules: GroupRules,
    cancelled: &'a dyn Fn() -> bool,
}

impl Group<'_> {
    /// `between` interpolates, `aggregate_row` is for the aggregators that have no running value.
    fn aggregate<A: Accumulator>(
        &self,
        columns: &[&[A::Input]],
        instants: &[TimestampMs],
        between: impl Fn(Interpolation, &Between<A::Input>) -> A::Input + Copy,
        aggregate_row: impl Fn(Aggregator, &mut Vec<A::Input>) -> A::Output,
    ) -> Result<Vec<A::Output>, QueryError> {
        let (method, mut out) = (self.rules.method, Vec::with_capacity(instants.len()));
        let between = |gap: &_| between(method, gap);
        if let Some(running) = Running::of(self.rules.aggregator) {
            for piece in instants.chunks(PIECE_INSTANTS) {
                let mut accumulator = A::new(running, piece.len());
                self.for_each_member(columns, piece, between, |from, values| accumulator.add(from, values))?;
                accumulator.finish(&mut out);
            }
            return Ok(out);
        }
        for piece in instants.chunks(self.gathered_instants()) {
            let mut rows = vec![Vec::with_capacity(columns.len()); piece.len()];
            self.for_each_member(columns, piece, between, |from, values| gather(&mut rows, from, values))?;
            out.extend(rows.iter_mut().map(|row| aggregate_row(self.rules.aggregator, row)));
        }
        Ok(out)
    }

    fn gathered_instants(&self) -> usize {
        (GATHERED_MAX / self.members.len().max(1)).clamp(1, PIECE_INSTANTS)
    }

    /// Hands out, for each member that is active in a piece of the timeline, its values there.
    fn for_each_member<T: Copy>(
        &self,
        columns: &[&[T]],
        piece: &[TimestampMs],
        between: impl Fn(&Between<T>) -> T + Copy,
        mut each: impl FnMut(usize, &[T]),
    ) -> Result<(), QueryError> {
        let mut interpolated = Vec::new();
        let mut same_instants: Option<(&Rc<Vec<TimestampMs>>, usize)> = None;
        for (member, values) in self.members.iter().zip(columns) {
            if (self.cancelled)() {
                return Err(QueryError::Cancelled);
            }
            let known = same_instants.filter(|(timestamps, _)| Rc::ptr_eq(timestamps, &member.timestamps));
            let position = known.map(|(_, position)| position).or_else(|| position_of(piece, &member.timestamps));
            if let Some(position) = position {
                same_instants = Some((&member.timestamps, position));
                each(0, values.get(position..position + piece.len()).unwrap_or_default());
                continue;
            }
            interpolated.clear();
            let active = expand(&member.timestamps, values, piece, between, &mut interpolated);
            each(active.start, &interpolated);
        }
        Ok(())
    }
}

/// Where a member has exactly the instants of a piece, one after the other.
fn position_of(piece: &[TimestampMs], timestamps: &[TimestampMs]) -> Option<usize> {
    let position = timestamps.partition_point(|timestamp| Some(timestamp) < piece.first());
    let found = timestamps.get(position..position + piece.len())?;
    (found == piece).then_some(position)
}

fn gather<T: Copy>(rows: &mut [Vec<T>], from: usize, values: &[T]) {
    rows.iter_mut().skip(from).zip(values).for_each(|(row, &value)| row.push(value));
}

fn as_doubles(values: &ValueColumn) -> Option<&[f64]> {
    match values {
        ValueColumn::Float(floats) => Some(floats),
        ValueColumn::Int(_) | ValueColumn::Mixed(_) => None,
    }
}

fn as_integers(values: &ValueColumn) -> Option<&[i64]> {
    match values {
        ValueColumn::Int(ints) => Some(ints),
        ValueColumn::Float(_) | ValueColumn::Mixed(_) => None,
    }
}

fn column_of(values: Vec<Value>) -> ValueColumn {
    let mut column = ValueColumn::default();
    values.into_iter().for_each(|value| column.push(value));
    column
}
