//! Lines that become one batch.

use std::collections::BTreeMap;

use tidemark_model::{PointBatch, PointBatchBuilder, PointRules, WriteReceipt};
use tidemark_query::RollupIntervals;

use crate::point_lines::LineFormat;

/// Points from which on a batch is written.
const POINTS_FULL: usize = 5_000;

/// What lines may hold.
#[derive(Clone, Debug)]
pub struct LineRules {
    /// What points must be.
    pub points: PointRules,
    /// Intervals that rollups may have; any when whoever gets them will say.
    pub rollups: Option<RollupIntervals>,
}

/// Puts lines together. A line becomes one point, or several when it holds a histogram.
#[derive(Debug)]
pub struct LineBatchBuilder<'a> {
    rules: &'a LineRules,
    batch: PointBatchBuilder,
    lines: Vec<(usize, u64)>,
}

/// What some lines hold.
#[derive(Debug)]
pub struct LineBatch {
    /// All of it.
    pub batch: PointBatch,
    /// Where in the batch each line begins, and its number.
    lines: Vec<(usize, u64)>,
}

/// What became of some lines.
#[derive(Debug, PartialEq, Eq)]
pub struct WrittenLines {
    /// How many are stored as a whole.
    pub stored: u64,
    /// The numbers of the others, each with a reason.
    pub refused: Vec<(u64, String)>,
}

impl<'a> LineBatchBuilder<'a> {
    /// Without a line.
    #[must_use]
    pub fn new(rules: &'a LineRules) -> Self {
        Self { rules, batch: PointBatchBuilder::with_rules(rules.points.clone()), lines: Vec::new() }
    }

    /// Adds a line, if it holds anything.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn add(&mut self, format: LineFormat, number: u64, line: &str) -> Result<(), String> {
        let start = self.batch.len();
        if format.read(line, &mut self.batch, self.rules.rollups.as_ref())? {
            self.lines.push((start, number));
        }
        Ok(())
    }

    /// Whether it is time to write.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.batch.len() >= POINTS_FULL
    }

    /// Takes what there is.
    #[must_use]
    pub fn take(&mut self) -> LineBatch {
        let Self { batch, lines, .. } = std::mem::replace(self, Self::new(self.rules));
        LineBatch { batch: batch.finish(), lines }
    }
}

impl LineBatch {
    /// What a receipt for the batch says of its lines.
    #[must_use]
    pub fn written(&self, receipt: WriteReceipt) -> WrittenLines {
        let mut refused: BTreeMap<u64, String> = BTreeMap::new();
        for (position, refusal) in receipt.refused {
            let before = self.lines.partition_point(|(start, _)| *start <= position).checked_sub(1);
            if let Some((_, number)) = before.and_then(|before| self.lines.get(before)) {
                refused.entry(*number).or_insert(refusal.message);
            }
        }
        let stored = self.lines.len().saturating_sub(refused.len()) as u64;
        WrittenLines { stored, refused: refused.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use tidemark_model::{RefusalReason, WriteRefusal};

    use super::*;

    #[test]
    fn a_histogram_is_one_line_whatever_becomes_of_its_parts() {
        let rules = LineRules { points: PointRules::default(), rollups: None };
        let mut builder = LineBatchBuilder::new(&rules);
        let histogram = r#"{"metric":"h","timestamp":5,"buckets":{"0,1":1,"1,2":1},"tags":{"a":"b"}}"#;
        let point = r#"{"metric":"m","timestamp":5,"value":1,"tags":{"a":"b"}}"#;
        let rollup = r#"{"metric":"m","timestamp":5,"value":1,"interval":"9h","aggregator":"sum","tags":{"a":"b"}}"#;
        for (number, line) in [(1, point), (2, ""), (4, histogram), (5, point), (6, rollup)] {
            builder.add(LineFormat::Json, number, line).unwrap();
        }
        let batch = builder.take();
        // Shape, underflow, overflow and two buckets, and three points.
        assert_eq!(batch.batch.len(), 8);
        let refused = [2, 3, 7].map(|position| (position, WriteRefusal::new(RefusalReason::Limit, "full")));
        let written = batch.written(WriteReceipt { stored: 5, refused: refused.to_vec() });
        let full = |number| (number, "full".to_owned());
        assert_eq!(written, WrittenLines { stored: 2, refused: vec![full(4), full(6)] });
        assert!(builder.take().batch.is_empty());
    }

    #[test]
    fn a_batch_is_full_when_histograms_make_it_so() {
        let rules = LineRules { points: PointRules::default(), rollups: None };
        let mut builder = LineBatchBuilder::new(&rules);
        let buckets: Vec<_> = (0..900).map(|bucket| format!(r#""{bucket},1000":1"#)).collect();
        for number in 1..=6 {
            assert!(!builder.is_full());
            let buckets = buckets.join(",");
            let line = format!(r#"{{"metric":"h","timestamp":{number},"buckets":{{{buckets}}},"tags":{{"a":"b"}}}}"#);
            builder.add(LineFormat::Json, number, &line).unwrap();
        }
        assert!(builder.is_full() && builder.take().batch.len() == 6 * 903);
    }
}
