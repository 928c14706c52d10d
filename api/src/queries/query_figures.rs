//! What a query costs.

use std::time::Duration;

use serde_json::{Value, json};
use tidemark_model::ReadStatistics;
use tidemark_query::EvaluationStatistics;

/// What a query cost so far, and where its time went.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct QueryFigures {
    /// Until it had its turn.
    pub(crate) waited: Duration,
    /// Selecting series and fetching their blocks, and annotations.
    pub(crate) opened: Duration,
    /// Decoding and computing.
    pub(crate) evaluated: Duration,
    /// Writing the answer as text.
    pub(crate) written: Duration,
    /// Waiting for the client to take pieces of the answer.
    pub(crate) sent: Duration,
    /// From its arrival to its end.
    pub(crate) total: Duration,
    /// What the store gave, over all sub-queries.
    pub(crate) read: ReadStatistics,
    /// What became of it.
    pub(crate) result: EvaluationStatistics,
    /// Of the answer, before compression.
    pub(crate) answer_bytes: u64,
}

impl QueryFigures {
    /// Adds what the series of one more sub-query cost.
    pub(crate) fn add_read(&mut self, part: ReadStatistics) {
        self.read += part;
    }

    /// Adds what the evaluation of one more sub-query did.
    pub(crate) fn add_result(&mut self, part: EvaluationStatistics) {
        self.result.series += part.series;
        self.result.points += part.points;
        self.result.groups += part.groups;
        self.result.result_points += part.result_points;
    }

    /// Under the names that OpenTSDB has for such figures, and names of ours in the same manner where it has none. Times
    /// are in milliseconds.
    pub(crate) fn to_json(self) -> Value {
        json!({
            "totalTime": ms(self.total),
            "waitTime": ms(self.waited),
            "queryScanTime": ms(self.opened),
            "aggregationTime": ms(self.evaluated),
            "serializationTime": ms(self.written),
            "sendTime": ms(self.sent),
            "seriesSelected": self.read.series,
            "blocksFromStorage": self.read.blocks,
            "bytesFromStorage": self.read.bytes,
            "dpsFromStorage": self.read.points,
            "rollupRowsFromStorage": self.read.rollup_rows,
            "seriesRead": self.result.series,
            "dpsPreFilter": self.result.points,
            "groups": self.result.groups,
            "emittedDPs": self.result.result_points,
            "answerBytes": self.answer_bytes,
        })
    }
}

fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1000.0
}
