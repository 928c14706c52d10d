//! The values of a series, one for each step.

use std::{
    cell::Cell,
    ops::{Deref, DerefMut},
    rc::Rc,
};

use crate::{Labels, QueryError};

/// Stands where a series has no value. It is a NaN that no computation gives.
pub(crate) const ABSENT: f64 = f64::from_bits(0x7ff8_7469_6465_6d6b);

/// Whether there is a value.
pub(crate) fn is_present(value: f64) -> bool {
    value.to_bits() != ABSENT.to_bits()
}

/// A value, if there is one.
pub(crate) fn present(value: f64) -> Option<f64> {
    is_present(value).then_some(value)
}

/// Values that count as held until they are dropped.
#[derive(Debug)]
pub(crate) struct Column {
    values: Vec<f64>,
    held: Rc<Cell<u64>>,
}

/// Counts the values that are held.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    held: Rc<Cell<u64>>,
    limit: u64,
}

/// Values of something else that count as held until it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    count: u64,
    held: Rc<Cell<u64>>,
}

impl Ledger {
    pub(crate) fn new(limit: u64) -> Self {
        Self { held: Rc::default(), limit }
    }

    fn add(&self, count: u64) -> Result<(), QueryError> {
        let held = self.held.get().saturating_add(count);
        if held > self.limit {
            return Err(QueryError::TooManyHeld { held, limit: self.limit });
        }
        self.held.set(held);
        Ok(())
    }

    /// A column of so many steps without values.
    ///
    /// # Errors
    /// When more values would be held than may be.
    pub(crate) fn column(&self, steps: usize) -> Result<Column, QueryError> {
        self.filled(steps, ABSENT)
    }

    /// A column that has the same value at all steps.
    ///
    /// # Errors
    /// As [`Self::column`].
    pub(crate) fn filled(&self, steps: usize, value: f64) -> Result<Column, QueryError> {
        self.add(steps as u64)?;
        Ok(Column { values: vec![value; steps], held: Rc::clone(&self.held) })
    }

    /// Counts so many values that are held until the evaluation ends.
    ///
    /// # Errors
    /// As [`Self::column`].
    pub(crate) fn keep(&self, count: usize) -> Result<(), QueryError> {
        self.add(count as u64)
    }

    /// Counts so many values that are kept elsewhere.
    ///
    /// # Errors
    /// As [`Self::column`].
    pub(crate) fn hold(&self, count: usize) -> Result<Held, QueryError> {
        self.add(count as u64)?;
        Ok(Held { count: count as u64, held: Rc::clone(&self.held) })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.held.set(self.held.get().saturating_sub(self.count));
    }
}

impl Drop for Column {
    fn drop(&mut self) {
        self.held.set(self.held.get().saturating_sub(self.values.len() as u64));
    }
}

impl Deref for Column {
    type Target = [f64];

    fn deref(&self) -> &[f64] {
        &self.values
    }
}

impl DerefMut for Column {
    fn deref_mut(&mut self) -> &mut [f64] {
        &mut self.values
    }
}

/// A series with its values.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) labels: Labels,
    pub(crate) values: Column,
}

impl Series {
    /// Whether it has a value at any step.
    pub(crate) fn has_values(&self) -> bool {
        self.values.iter().any(|&value| is_present(value))
    }
}
