//! What a query answers, one group at a time.

use tidemark_model::{TimestampMs, Tsuid, ValueColumn};

use crate::Fill;

/// The answer for one group of one sub-query.
///
/// Groups come in the order of the values of their group-by keys; without groups, in the order of the series.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupResult {
    /// The metric of its first series.
    pub metric: String,
    /// Tags whose value is the same in every member that has the key, sorted by key.
    pub tags: Vec<(String, String)>,
    /// Keys of which members have different values, sorted.
    pub aggregate_tags: Vec<String>,
    /// Ids of the members, sorted.
    pub tsuids: Vec<Tsuid>,
    /// Milliseconds since the epoch, strictly ascending, never empty; whole seconds unless the query keeps milliseconds.
    pub timestamps: Vec<TimestampMs>,
    /// As many values. Doubles may be NaN or infinite.
    pub values: ValueColumn,
    /// How a NaN is written: [`Fill::Null`] as `null`, everything else as the text `NaN`.
    pub fill: Fill,
}

impl GroupResult {
    /// Keeps the last point of each second and cuts its milliseconds off.
    ///
    /// OpenTSDB cuts without dropping and then writes one key several times into a JSON object.
    pub fn truncate_to_seconds(&mut self) {
        let is_whole = |timestamp: &TimestampMs| timestamp.rem_euclid(1000) == 0;
        if self.timestamps.iter().all(is_whole) {
            return;
        }
        let second_at = |index: usize| self.timestamps.get(index).map(|timestamp| timestamp.div_euclid(1000));
        let (mut timestamps, mut values) = (Vec::new(), ValueColumn::default());
        for index in (0..self.timestamps.len()).filter(|&index| second_at(index) != second_at(index + 1)) {
            if let (Some(second), Some(value)) = (second_at(index), self.values.get(index)) {
                timestamps.push(second * 1000);
                values.push(value);
            }
        }
        (self.timestamps, self.values) = (timestamps, values);
    }
}

/// What an evaluation did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EvaluationStatistics {
    /// Series read.
    pub series: usize,
    /// Points read.
    pub points: u64,
    /// Groups handed out.
    pub groups: usize,
    /// Points handed out.
    pub result_points: u64,
}

#[cfg(test)]
mod tests {
    use tidemark_model::Value;

    use super::*;

    #[test]
    fn the_last_point_of_a_second_stands_for_it() {
        let mut result = GroupResult {
            metric: "m".into(),
            tags: Vec::new(),
            aggregate_tags: Vec::new(),
            tsuids: Vec::new(),
            timestamps: vec![1000, 1250, 2999, 4000],
            values: ValueColumn::Int(vec![1, 2, 3, 4]),
            fill: Fill::None,
        };
        result.truncate_to_seconds();
        assert_eq!(result.timestamps, [1000, 2000, 4000]);
        assert_eq!(result.values.iter().collect::<Vec<_>>(), [2, 3, 4].map(Value::Int));
    }
}
