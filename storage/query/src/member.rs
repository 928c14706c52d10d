//! One series of a group, ready to be aggregated.

use std::{ops::Range, rc::Rc};

use tidemark_model::{PointColumns, TimestampMs, Value, ValueColumn};

use crate::plan::Window;

/// The points of one series after downsampling and rate, with at most one neighbour before and after the window.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// Ascending, never empty; shared between members that have the same ones, which is the usual case.
    pub(crate) timestamps: Rc<Vec<TimestampMs>>,
    pub(crate) values: ValueColumn,
}

impl Member {
    /// Cuts points to the window. `None` when the series is not active in it.
    pub(crate) fn new(mut points: PointColumns, window: Window, keeps_neighbours: bool) -> Option<Self> {
        let mut inside = inside(&points.timestamps, window);
        if keeps_neighbours {
            inside = inside.start.saturating_sub(1)..points.len().min(inside.end + 1);
        }
        truncate(&mut points.values, inside.end);
        points.timestamps.truncate(inside.end);
        if inside.start > 0 {
            points.timestamps.drain(..inside.start);
            remove_front(&mut points.values, inside.start);
        }
        // A series whose points all lie on one side of the window is over, or has not begun.
        let is_active = *points.timestamps.first()? <= window.end && *points.timestamps.last()? >= window.start;
        is_active.then(|| Self { timestamps: Rc::new(points.timestamps), values: points.values })
    }

    /// Whether these are the points of a series that begins after the window, with a double.
    pub(crate) fn begins_later_in_doubles(points: &PointColumns, window: Window) -> bool {
        points.timestamps.first().is_some_and(|&first| first > window.end)
            && points.values.get(0).is_some_and(|first| !first.is_int())
    }

    /// Makes all values doubles.
    pub(crate) fn make_doubles(&mut self) {
        if !matches!(self.values, ValueColumn::Float(_)) {
            self.values = ValueColumn::Float(self.values.iter().map(Value::as_f64).collect());
        }
    }

    /// Shares the timestamps of another member if they are the same.
    pub(crate) fn share_timestamps(&mut self, other: &Self) {
        if self.timestamps == other.timestamps {
            self.timestamps = Rc::clone(&other.timestamps);
        }
    }

    /// Positions of the points in the window.
    pub(crate) fn inside(&self, window: Window) -> Range<usize> {
        inside(&self.timestamps, window)
    }

    /// Its points in the window, as the aggregate of this member alone: an integer before a double is a double, too.
    pub(crate) fn into_points(mut self, window: Window) -> PointColumns {
        let inside = self.inside(window);
        if let ValueColumn::Mixed(values) = &mut self.values {
            let mut next_is_int = true;
            for value in values.iter_mut().rev() {
                let is_int = value.is_int();
                if !next_is_int {
                    *value = Value::Float(value.as_f64());
                }
                next_is_int = is_int;
            }
        }
        let mut points = PointColumns {
            timestamps: Rc::try_unwrap(self.timestamps).unwrap_or_else(|shared| shared.as_ref().clone()),
            values: self.values,
        };
        points.timestamps.truncate(inside.end);
        points.timestamps.drain(..inside.start);
        truncate(&mut points.values, inside.end);
        remove_front(&mut points.values, inside.start);
        points
    }
}

fn inside(timestamps: &[TimestampMs], window: Window) -> Range<usize> {
    let start = timestamps.partition_point(|&timestamp| timestamp < window.start);
    start..timestamps.partition_point(|&timestamp| timestamp <= window.end).max(start)
}

fn truncate(values: &mut ValueColumn, length: usize) {
    match values {
        ValueColumn::Int(ints) => ints.truncate(length),
        ValueColumn::Float(floats) => floats.truncate(length),
        ValueColumn::Mixed(values) => values.truncate(length),
    }
}

fn remove_front(values: &mut ValueColumn, count: usize) {
    match values {
        ValueColumn::Int(ints) => drop(ints.drain(..count)),
        ValueColumn::Float(floats) => drop(floats.drain(..count)),
        ValueColumn::Mixed(values) => drop(values.drain(..count)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(times: &[i64], keeps_neighbours: bool) -> Option<Vec<i64>> {
        let points = times.iter().map(|&time| (time, Value::Int(time))).collect();
        let member = Member::new(points, Window { start: 10, end: 20 }, keeps_neighbours)?;
        assert_eq!(member.values, ValueColumn::Int(member.timestamps.to_vec()));
        Some(member.timestamps.to_vec())
    }

    #[test]
    fn a_neighbour_on_either_side_is_kept_when_wanted() {
        assert_eq!(member(&[1, 5, 10, 15, 20, 25, 30], false), Some(vec![10, 15, 20]));
        assert_eq!(member(&[1, 5, 10, 15, 20, 25, 30], true), Some(vec![5, 10, 15, 20, 25]));
        assert_eq!(member(&[5, 25], true), Some(vec![5, 25]));
        assert_eq!(member(&[5, 25], false), None);
        assert_eq!(member(&[1, 5], true), None);
        assert_eq!(member(&[25], true), None);
        assert_eq!(member(&[], true), None);
    }
}
