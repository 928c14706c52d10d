//! Aggregating column by column: each member is added to running values of all instants at once.
//!
//! That serves the aggregators of which a running value and a count suffice; the others gather rows.

use tidemark_model::Value;

use crate::{Aggregator, row::narrow};

/// What a running value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Running {
    Sum,
    Average,
    Smallest,
    Largest,
    Count,
}

impl Running {
    /// How an aggregator runs; `None` when it needs all values of an instant together.
    pub(crate) fn of(aggregator: Aggregator) -> Option<Self> {
        match aggregator {
            Aggregator::Sum | Aggregator::Zimsum | Aggregator::Pfsum => Some(Self::Sum),
            Aggregator::Avg => Some(Self::Average),
            Aggregator::Min | Aggregator::Mimmin => Some(Self::Smallest),
            Aggregator::Max | Aggregator::Mimmax => Some(Self::Largest),
            Aggregator::Count => Some(Self::Count),
            _ => None,
        }
    }
}

/// Running values, one for each instant of a piece of the timeline.
pub(crate) trait Accumulator {
    /// What a member has.
    type Input: Copy;
    /// What the group gets.
    type Output;

    fn new(running: Running, instants: usize) -> Self;

    /// Adds the values of one member, of which the first belongs to instant number `from`.
    fn add(&mut self, from: usize, values: &[Self::Input]);

    fn finish(self, out: &mut Vec<Self::Output>);
}

/// Running values of doubles. NaN is skipped.
pub(crate) struct DoubleAccumulator {
    running: Running,
    totals: Vec<f64>,
    counts: Vec<u32>,
}

impl Accumulator for DoubleAccumulator {
    type Input = f64;
    type Output = f64;

    fn new(running: Running, instants: usize) -> Self {
        let neutral = match running {
            Running::Sum | Running::Average | Running::Count => 0.0,
            Running::Smallest => f64::INFINITY,
            Running::Largest => f64::NEG_INFINITY,
        };
        Self { running, totals: vec![neutral; instants], counts: vec![0; instants] }
    }

    fn add(&mut self, from: usize, values: &[f64]) {
        let totals = self.totals.iter_mut().skip(from);
        let counts = self.counts.iter_mut().skip(from);
        let slots = totals.zip(counts).zip(values);
        // The choice is made once, so that each loop is one that the compiler can unroll.
        match self.running {
            Running::Sum | Running::Average => slots.for_each(|((total, count), &value)| {
                *total += if value.is_nan() { 0.0 } else { value };
                *count += u32::from(!value.is_nan());
            }),
            Running::Smallest => slots.for_each(|((total, count), &value)| {
                *total = if value < *total { value } else { *total };
                *count += u32::from(!value.is_nan());
            }),
            Running::Largest => slots.for_each(|((total, count), &value)| {
                *total = if value > *total { value } else { *total };
                *count += u32::from(!value.is_nan());
            }),
            Running::Count => slots.for_each(|((_, count), &value)| *count += u32::from(!value.is_nan())),
        }
    }

    fn finish(self, out: &mut Vec<f64>) {
        let running = self.running;
        out.extend(self.totals.into_iter().zip(self.counts).map(|(total, count)| match running {
            Running::Count => f64::from(count),
            _ if count == 0 => f64::NAN,
            Running::Average => total / f64::from(count),
            Running::Sum | Running::Smallest | Running::Largest => total,
        }));
    }
}

/// Running values of integers, wide enough for the sum of every series there can be.
pub(crate) struct IntegerAccumulator {
    running: Running,
    totals: Vec<i128>,
    counts: Vec<u32>,
}

impl Accumulator for IntegerAccumulator {
    type Input = i64;
    type Output = Value;

    fn new(running: Running, instants: usize) -> Self {
        let neutral = match running {
            Running::Sum | Running::Average | Running::Count => 0,
            Running::Smallest => i128::MAX,
            Running::Largest => i128::MIN,
        };
        Self { running, totals: vec![neutral; instants], counts: vec![0; instants] }
    }

    fn add(&mut self, from: usize, values: &[i64]) {
        let slots = self.totals.iter_mut().skip(from).zip(values);
        match self.running {
            Running::Sum | Running::Average => slots.for_each(|(total, &value)| *total += i128::from(value)),
            Running::Smallest => slots.for_each(|(total, &value)| *total = i128::from(value).min(*total)),
            Running::Largest => slots.for_each(|(total, &value)| *total = i128::from(value).max(*total)),
            Running::Count => {}
        }
        self.counts.iter_mut().skip(from).zip(values).for_each(|(count, _)| *count += 1);
    }

    fn finish(self, out: &mut Vec<Value>) {
        let running = self.running;
        out.extend(self.totals.into_iter().zip(self.counts).map(|(total, count)| match running {
            Running::Count => Value::Int(i64::from(count)),
            Running::Average => narrow(total / i128::from(count.max(1))),
            Running::Sum | Running::Smallest | Running::Largest => narrow(total),
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::{aggregate_doubles, aggregate_integers};

    #[test]
    fn running_values_agree_with_the_definition() {
        let columns = [[1.5, f64::NAN, f64::NAN, -3.0], [2.0, 8.0, f64::NAN, -4.0], [-1.0, 2.5, f64::NAN, 0.0]];
        let integers = [[i64::MAX, -1, 3, 4], [i64::MAX, -4, 5, 6], [3, 0, 0, i64::MIN]];
        for (name, aggregator) in Aggregator::ALL {
            let Some(running) = Running::of(aggregator) else { continue };
            let mut doubles = DoubleAccumulator::new(running, 4);
            columns.iter().for_each(|column| doubles.add(0, column));
            let mut ints = IntegerAccumulator::new(running, 4);
            integers.iter().for_each(|column| ints.add(0, column));
            let (mut found, mut found_ints) = (Vec::new(), Vec::new());
            doubles.finish(&mut found);
            ints.finish(&mut found_ints);
            for instant in 0..4 {
                let expect = aggregate_doubles(aggregator, &mut columns.map(|column| column[instant]).to_vec());
                assert!(found[instant] == expect || found[instant].is_nan() && expect.is_nan(), "{name}");
                let expect = aggregate_integers(aggregator, &mut integers.map(|column| column[instant]));
                assert_eq!(found_ints[instant], expect, "{name}");
            }
        }
    }
}
