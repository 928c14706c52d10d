//! Appending decoded values to a column of whatever type it has.

use tidemark_model::{Value, ValueColumn};

/// Appends integers; a column of doubles becomes mixed.
pub(super) fn int_sink(column: &mut ValueColumn, count: usize) -> impl FnMut(&[i64]) + '_ {
    if column.is_empty() && !matches!(column, ValueColumn::Int(_)) {
        *column = ValueColumn::default();
    }
    if matches!(column, ValueColumn::Float(_)) {
        make_mixed(column);
    }
    reserve(column, count);
    |ints: &[i64]| match column {
        ValueColumn::Int(column) => column.extend_from_slice(ints),
        ValueColumn::Mixed(column) => column.extend(ints.iter().copied().map(Value::Int)),
        ValueColumn::Float(_) => {}
    }
}

/// Appends doubles; a column of integers becomes mixed.
pub(super) fn float_sink(column: &mut ValueColumn, count: usize) -> FloatSink<'_> {
    if column.is_empty() && !matches!(column, ValueColumn::Float(_)) {
        *column = ValueColumn::Float(Vec::new());
    }
    if matches!(column, ValueColumn::Int(_)) {
        make_mixed(column);
    }
    reserve(column, count);
    FloatSink { column }
}

/// See [`float_sink`].
pub(super) struct FloatSink<'a> {
    column: &'a mut ValueColumn,
}

impl FloatSink<'_> {
    #[inline]
    pub(super) fn append(&mut self, floats: impl Iterator<Item = f64>) {
        match self.column {
            ValueColumn::Float(column) => column.extend(floats),
            ValueColumn::Mixed(column) => column.extend(floats.map(Value::Float)),
            ValueColumn::Int(_) => {}
        }
    }

    /// Replaces a double that was appended.
    pub(super) fn replace(&mut self, index: usize, float: f64) {
        match self.column {
            ValueColumn::Float(column) => {
                if let Some(slot) = column.get_mut(index) {
                    *slot = float;
                }
            }
            ValueColumn::Mixed(column) => {
                if let Some(slot) = column.get_mut(index) {
                    *slot = Value::Float(float);
                }
            }
            ValueColumn::Int(_) => {}
        }
    }
}

/// Appends values of either type.
pub(super) fn append_mixed(column: &mut ValueColumn, values: impl Iterator<Item = Value>, count: usize) {
    make_mixed(column);
    reserve(column, count);
    if let ValueColumn::Mixed(column) = column {
        column.extend(values);
    }
}

/// Keeps the values of `keep` and of everything before `start`.
pub(super) fn keep_range(column: &mut ValueColumn, start: usize, keep: std::ops::Range<usize>) {
    fn cut<T>(column: &mut Vec<T>, start: usize, keep: std::ops::Range<usize>) {
        column.truncate(start + keep.end);
        column.drain(start..(start + keep.start).min(column.len()));
    }
    match column {
        ValueColumn::Int(column) => cut(column, start, keep),
        ValueColumn::Float(column) => cut(column, start, keep),
        ValueColumn::Mixed(column) => cut(column, start, keep),
    }
}

fn make_mixed(column: &mut ValueColumn) {
    if !matches!(column, ValueColumn::Mixed(_)) {
        *column = ValueColumn::Mixed(column.iter().collect());
    }
}

fn reserve(column: &mut ValueColumn, count: usize) {
    match column {
        ValueColumn::Int(column) => column.reserve(count),
        ValueColumn::Float(column) => column.reserve(count),
        ValueColumn::Mixed(column) => column.reserve(count),
    }
}
