//! Many values, few numbers.

use std::sync::Arc;

use parking_lot::Mutex;

/// Summarises the values since the snapshot before. Cheap to clone; clones record together.
///
/// Average, extremes, last and number are exact. Percentiles are exact up to 10 000 values between two snapshots, and
/// beyond that those of an evenly drawn sample of so many.
#[derive(Clone, Debug, Default)]
pub struct Aggregate(Arc<Mutex<Interval>>);

/// A number that is reported of the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Statistic {
    /// `_avg`.
    Average,
    /// `_median`.
    Median,
    /// `_95` for 95: the value at rank `round(p * (n - 1))`, as BosunReporter.NET has it.
    Percentile(u8),
    /// `_min`.
    Smallest,
    /// `_max`.
    Largest,
    /// Without suffix.
    Last,
    /// `_count`; reported also when it is 0.
    Number,
}

impl Statistic {
    /// What BosunReporter.NET reports unless told otherwise.
    pub const DEFAULT: [Self; 7] =
        [Self::Average, Self::Median, Self::Percentile(95), Self::Largest, Self::Smallest, Self::Last, Self::Number];

    pub(crate) fn suffix(self) -> String {
        match self {
            Self::Average => "_avg".to_owned(),
            Self::Median => "_median".to_owned(),
            Self::Percentile(percent) => format!("_{percent:02}"),
            Self::Smallest => "_min".to_owned(),
            Self::Largest => "_max".to_owned(),
            Self::Last => String::new(),
            Self::Number => "_count".to_owned(),
        }
    }
}

/// Values kept for the percentiles.
const SAMPLE_MAX: usize = 10_000;

#[derive(Clone, Debug, Default)]
struct Interval {
    sample: Vec<f64>,
    count: u64,
    sum: f64,
    smallest: f64,
    largest: f64,
    last: f64,
    random: u64,
}

impl Aggregate {
    /// Records a value; one that is no finite number is ignored.
    pub fn record(&self, value: f64) {
        if value.is_finite() {
            self.0.lock().record(value);
        }
    }

    /// The statistics of the values since the last call, those that there are.
    pub(crate) fn take(&self, wanted: &[Statistic]) -> Vec<(Statistic, f64)> {
        let mut interval = {
            let mut current = self.0.lock();
            let next = Interval { random: current.random, ..Interval::default() };
            std::mem::replace(&mut *current, next)
        };
        interval.sample.sort_unstable_by(f64::total_cmp);
        wanted.iter().filter_map(|&statistic| Some((statistic, interval.statistic(statistic)?))).collect()
    }
}

impl Interval {
    fn record(&mut self, value: f64) {
        let first = self.count == 0;
        self.count += 1;
        self.sum += value;
        self.smallest = if first { value } else { self.smallest.min(value) };
        self.largest = if first { value } else { self.largest.max(value) };
        self.last = value;
        if self.sample.len() < SAMPLE_MAX {
            self.sample.push(value);
            return;
        }
        // Reservoir sampling (Vitter 1985, algorithm R): each value is kept with equal probability.
        let place = self.next_random() % self.count;
        if let Some(kept) = usize::try_from(place).ok().and_then(|place| self.sample.get_mut(place)) {
            *kept = value;
        }
    }

    /// `sample` is sorted.
    fn statistic(&self, statistic: Statistic) -> Option<f64> {
        let number = self.count as f64;
        if statistic == Statistic::Number {
            return Some(number);
        }
        if self.count == 0 {
            return None;
        }
        match statistic {
            Statistic::Average => Some(self.sum / number).filter(|average| average.is_finite()),
            Statistic::Median => self.percentile(50),
            Statistic::Percentile(percent) => self.percentile(percent),
            Statistic::Smallest => Some(self.smallest),
            Statistic::Largest => Some(self.largest),
            Statistic::Last => Some(self.last),
            Statistic::Number => Some(number),
        }
    }

    fn percentile(&self, percent: u8) -> Option<f64> {
        let last = self.sample.len().checked_sub(1)?;
        let rank = (f64::from(percent.min(100)) / 100.0 * last as f64).round();
        self.sample.get(rank as usize).copied()
    }

    /// SplitMix64 (Steele et al. 2014). The seed does not matter: nobody can gain from guessing it.
    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.random ^ self.random >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statistics_are_those_of_the_values_since_the_last_time() {
        let aggregate = Aggregate::default();
        [3.0, 1.0, 2.0, 10.0, f64::NAN, 4.0].iter().for_each(|&value| aggregate.record(value));
        let taken = aggregate.take(&Statistic::DEFAULT);
        let expect = [
            (Statistic::Average, 4.0),
            (Statistic::Median, 3.0),
            (Statistic::Percentile(95), 10.0),
            (Statistic::Largest, 10.0),
            (Statistic::Smallest, 1.0),
            (Statistic::Last, 4.0),
            (Statistic::Number, 5.0),
        ];
        assert_eq!(taken, expect);
        assert_eq!(aggregate.take(&Statistic::DEFAULT), [(Statistic::Number, 0.0)]);
    }

    #[test]
    fn a_percentile_has_the_rank_of_bosun_reporter() {
        let aggregate = Aggregate::default();
        (0..10).for_each(|value| aggregate.record(f64::from(value)));
        // round(0.05 * 9) = 0, round(0.95 * 9) = 9, round(0.5 * 9) = 5
        let wanted =
            [Statistic::Percentile(5), Statistic::Percentile(95), Statistic::Median, Statistic::Percentile(200)];
        let values: Vec<f64> = aggregate.take(&wanted).into_iter().map(|(_, value)| value).collect();
        assert_eq!(values, [0.0, 9.0, 5.0, 9.0]);
    }

    #[test]
    fn memory_is_bounded_and_the_sample_is_even() {
        let aggregate = Aggregate::default();
        (0..200_000).for_each(|value| aggregate.record(f64::from(value)));
        assert_eq!(aggregate.0.lock().sample.len(), SAMPLE_MAX);
        let taken = aggregate.take(&[Statistic::Median, Statistic::Number, Statistic::Largest]);
        let [(_, median), (_, number), (_, largest)] = taken[..] else { panic!("{taken:?}") };
        assert_eq!((number, largest), (200_000.0, 199_999.0));
        assert!((95_000.0..105_000.0).contains(&median), "{median}");
    }

    #[test]
    fn suffixes_are_those_of_bosun_reporter() {
        let suffixes = Statistic::DEFAULT.map(Statistic::suffix);
        assert_eq!(suffixes, ["_avg", "_median", "_95", "_max", "_min", "", "_count"]);
    }
}
