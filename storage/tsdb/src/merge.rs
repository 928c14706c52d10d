//! The last write of a timestamp wins.

use tidemark_model::{PointColumns, TimestampMs, Value, ValueColumn};

/// Sorts points that are in the order of their writing by time and keeps the last of each timestamp.
pub(crate) fn sort_last_wins(points: &mut Vec<(TimestampMs, Value)>) {
    points.sort_by_key(|(timestamp, _)| *timestamp);
    points.dedup_by(|later, kept| {
        let same = later.0 == kept.0;
        if same {
            *kept = *later;
        }
        same
    });
}

/// Appends the union of runs to `columns`; each run is in order of time, and a point of a later run replaces those of
/// earlier ones at its timestamp. The runs come after everything that is in `columns`.
pub(crate) fn merge_runs(runs: &[PointColumns], columns: &mut PointColumns) {
    if let Some(runs) = in_order_of_time(runs) {
        for run in runs {
            columns.timestamps.extend_from_slice(&run.timestamps);
            append(&run.values, &mut columns.values);
        }
        return;
    }
    let mut points: Vec<(TimestampMs, Value)> = Vec::with_capacity(runs.iter().map(PointColumns::len).sum());
    for run in runs {
        points.extend(run.iter().map(|point| (point.timestamp, point.value)));
    }
    sort_last_wins(&mut points);
    points.into_iter().for_each(|(timestamp, value)| columns.push(timestamp, value));
}

/// The runs by time when none overlaps another.
fn in_order_of_time(runs: &[PointColumns]) -> Option<Vec<&PointColumns>> {
    let mut runs: Vec<_> = runs.iter().filter(|run| !run.is_empty()).collect();
    runs.sort_by_key(|run| run.timestamps.first().copied());
    let apart = |pair: &[&PointColumns]| match pair {
        [left, right] => left.timestamps.last() < right.timestamps.first(),
        _ => true,
    };
    runs.windows(2).all(apart).then_some(runs)
}

fn append(values: &ValueColumn, column: &mut ValueColumn) {
    match (column, values) {
        (ValueColumn::Int(column), ValueColumn::Int(values)) => column.extend_from_slice(values),
        (ValueColumn::Float(column), ValueColumn::Float(values)) => column.extend_from_slice(values),
        (column, values) => values.iter().for_each(|value| column.push(value)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_later_run_wins(runs in prop::collection::vec(prop::collection::btree_map(0_i64..60, any::<i64>(), 0..40), 0..5)) {
            let mut expect = BTreeMap::new();
            runs.iter().for_each(|run| expect.extend(run.clone()));
            let runs: Vec<PointColumns> =
                runs.iter().map(|run| run.iter().map(|(&at, &int)| (at, Value::Int(int))).collect()).collect();
            let mut columns = PointColumns::default();
            merge_runs(&runs, &mut columns);
            let found: Vec<_> = columns.iter().map(|point| (point.timestamp, point.value)).collect();
            let expect: Vec<_> = expect.into_iter().map(|(at, int)| (at, Value::Int(int))).collect();
            prop_assert_eq!(found, expect);
        }
    }
}
