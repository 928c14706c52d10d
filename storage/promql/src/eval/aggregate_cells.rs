//! Aggregations that need no more than a few numbers for each group and step.

use super::{
    Column,
    column::{ABSENT, Held, Ledger, is_present},
    sums::{Mean, Sum, Variance},
};
use crate::{QueryError, syntax::AggregateOperator};

/// Something for each step at which there is a value.
pub(super) struct Kept<T> {
    cells: Vec<Option<T>>,
    #[expect(dead_code, reason = "held for its drop")]
    held: Held,
}

/// What is kept of a group.
pub(super) enum Cells {
    Sum(Kept<Sum>),
    Mean(Kept<Mean>),
    Variance(Kept<Variance>),
    Deviation(Kept<Variance>),
    /// Numbers that are made of themselves and the next value.
    Fold(Column, fn(f64, f64) -> f64),
    Count(Column),
    Group(Column),
}

impl Cells {
    /// For an operator; `None` when it needs more.
    pub(super) fn new(operator: AggregateOperator, steps: usize, ledger: &Ledger) -> Result<Option<Self>, QueryError> {
        let cells: Result<Self, QueryError> = match operator {
            AggregateOperator::Sum => Kept::new(steps, ledger).map(Self::Sum),
            AggregateOperator::Avg => Kept::new(steps, ledger).map(Self::Mean),
            AggregateOperator::Stddev => Kept::new(steps, ledger).map(Self::Deviation),
            AggregateOperator::Stdvar => Kept::new(steps, ledger).map(Self::Variance),
            // A number is preferred to NaN.
            AggregateOperator::Min => Ok(Self::Fold(ledger.column(steps)?, f64::min)),
            AggregateOperator::Max => Ok(Self::Fold(ledger.column(steps)?, f64::max)),
            AggregateOperator::Count => Ok(Self::Count(ledger.column(steps)?)),
            AggregateOperator::Group => Ok(Self::Group(ledger.column(steps)?)),
            _ => return Ok(None),
        };
        cells.map(Some)
    }

    /// Adds a series.
    pub(super) fn add(&mut self, values: &[f64]) {
        match self {
            Self::Sum(kept) => {
                each(kept.cells.iter_mut(), values, |cell, value| cell.get_or_insert_default().add(value))
            }
            Self::Mean(kept) => {
                each(kept.cells.iter_mut(), values, |cell, value| cell.get_or_insert_default().add(value))
            }
            Self::Variance(kept) | Self::Deviation(kept) => {
                each(kept.cells.iter_mut(), values, |cell, value| cell.get_or_insert_default().add(value));
            }
            Self::Fold(cells, fold) => {
                each(cells.iter_mut(), values, |cell, value| {
                    *cell = if is_present(*cell) { fold(*cell, value) } else { value };
                });
            }
            Self::Count(cells) => each(cells.iter_mut(), values, |cell, _| {
                *cell = if is_present(*cell) { *cell + 1.0 } else { 1.0 };
            }),
            Self::Group(cells) => each(cells.iter_mut(), values, |cell, _| *cell = 1.0),
        }
    }

    /// The values of the group.
    pub(super) fn finish(self, ledger: &Ledger) -> Result<Column, QueryError> {
        match self {
            Self::Sum(kept) => kept.values(ledger, Sum::value),
            Self::Mean(kept) => kept.values(ledger, Mean::value),
            Self::Variance(kept) => kept.values(ledger, Variance::value),
            Self::Deviation(kept) => kept.values(ledger, |cell| cell.value().sqrt()),
            Self::Fold(cells, _) | Self::Count(cells) | Self::Group(cells) => Ok(cells),
        }
    }
}

fn each<'c, C: 'c>(cells: impl Iterator<Item = &'c mut C>, values: &[f64], mut add: impl FnMut(&mut C, f64)) {
    for (cell, &value) in cells.zip(values).filter(|(_, value)| is_present(**value)) {
        add(cell, value);
    }
}

impl<T: Clone> Kept<T> {
    fn new(steps: usize, ledger: &Ledger) -> Result<Self, QueryError> {
        let words = size_of::<Option<T>>().div_ceil(size_of::<f64>());
        let held = ledger.hold(words.saturating_mul(steps))?;
        Ok(Self { cells: vec![None; steps], held })
    }

    fn values(self, ledger: &Ledger, value: impl Fn(T) -> f64) -> Result<Column, QueryError> {
        let mut values = ledger.column(self.cells.len())?;
        for (to, cell) in values.iter_mut().zip(self.cells) {
            *to = cell.map_or(ABSENT, &value);
        }
        Ok(values)
    }
}
