//! Points on their way out of the store.

use crate::{Point, TimestampMs, Value};

/// Points of one series, oldest first, one per timestamp.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PointColumns {
    /// Milliseconds since the epoch, strictly ascending.
    pub timestamps: Vec<TimestampMs>,
    /// As many values.
    pub values: ValueColumn,
}

/// Values of one series. Nearly every series is all integers or all doubles; kernels are written for these two.
#[derive(Clone, Debug, PartialEq)]
pub enum ValueColumn {
    /// All integers.
    Int(Vec<i64>),
    /// All doubles.
    Float(Vec<f64>),
    /// Some of each.
    Mixed(Vec<Value>),
}

impl Default for ValueColumn {
    fn default() -> Self {
        Self::Int(Vec::new())
    }
}

impl ValueColumn {
    /// Number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Int(ints) => ints.len(),
            Self::Float(floats) => floats.len(),
            Self::Mixed(values) => values.len(),
        }
    }

    /// Whether there is no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value at `index`.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Value> {
        match self {
            Self::Int(ints) => ints.get(index).copied().map(Value::Int),
            Self::Float(floats) => floats.get(index).copied().map(Value::Float),
            Self::Mixed(values) => values.get(index).copied(),
        }
    }

    /// Appends a value; a column of one type becomes mixed when the other type comes.
    pub fn push(&mut self, value: Value) {
        match (&mut *self, value) {
            (Self::Int(ints), Value::Int(int)) => ints.push(int),
            (Self::Float(floats), Value::Float(float)) => floats.push(float),
            (Self::Int(ints), Value::Float(float)) if ints.is_empty() => *self = Self::Float(vec![float]),
            (Self::Float(floats), Value::Int(int)) if floats.is_empty() => *self = Self::Int(vec![int]),
            (Self::Mixed(values), value) => values.push(value),
            (Self::Int(_) | Self::Float(_), value) => {
                let mut values: Vec<_> = self.iter().collect();
                values.push(value);
                *self = Self::Mixed(values);
            }
        }
    }

    /// The values in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Value> + '_ {
        (0..self.len()).map(|index| self.get(index).unwrap_or(Value::Int(0)))
    }

    /// Forgets all values and keeps the memory.
    pub fn clear(&mut self) {
        match self {
            Self::Int(ints) => ints.clear(),
            Self::Float(floats) => floats.clear(),
            Self::Mixed(_) => *self = Self::default(),
        }
    }
}

impl PointColumns {
    /// Number of points.
    #[must_use]
    pub fn len(&self) -> usize {
        self.timestamps.len()
    }

    /// Whether there is no point.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.timestamps.is_empty()
    }

    /// Appends a point, which must be newer than the last.
    pub fn push(&mut self, timestamp: TimestampMs, value: Value) {
        self.timestamps.push(timestamp);
        self.values.push(value);
    }

    /// The point at `index`.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Point> {
        Some(Point { timestamp: self.timestamps.get(index).copied()?, value: self.values.get(index)? })
    }

    /// The points, oldest first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Point> + '_ {
        self.timestamps.iter().zip(self.values.iter()).map(|(&timestamp, value)| Point { timestamp, value })
    }

    /// Forgets all points and keeps the memory.
    pub fn clear(&mut self) {
        self.timestamps.clear();
        self.values.clear();
    }
}

impl FromIterator<(TimestampMs, Value)> for PointColumns {
    fn from_iter<I: IntoIterator<Item = (TimestampMs, Value)>>(points: I) -> Self {
        let mut columns = Self::default();
        points.into_iter().for_each(|(timestamp, value)| columns.push(timestamp, value));
        columns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_keeps_its_type_as_long_as_the_values_do() {
        let mut column = ValueColumn::default();
        column.push(Value::Float(1.5));
        assert_eq!(column, ValueColumn::Float(vec![1.5]));
        column.push(Value::Int(2));
        assert_eq!(column, ValueColumn::Mixed(vec![Value::Float(1.5), Value::Int(2)]));
        column.clear();
        column.push(Value::Int(3));
        assert_eq!(column, ValueColumn::Int(vec![3]));
    }
}
