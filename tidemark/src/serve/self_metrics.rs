//! Our own figures as series `tidemark.*` in our own store.

use std::{sync::Arc, time::Duration};

use tidemark_api::figures::{Figure, FigureKind, FigureSource, gather};
use tidemark_model::{
    Clock, MetadataStore, MetricMetadata, PointBatch, PointBatchBuilder, PointSink, RateKind, TimestampMs, Value,
    WriteOutcome,
};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How often.
const EVERY: Duration = Duration::from_secs(10);
/// After how many rounds the meaning of the figures is told again: figures of new labels come at any time.
const METADATA_EVERY: u64 = 360;

/// Writes figures until it is told to stop.
pub(crate) struct SelfMetrics {
    pub(crate) sources: Vec<Arc<dyn FigureSource>>,
    pub(crate) sink: Arc<dyn PointSink>,
    pub(crate) metadata: Arc<dyn MetadataStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) host: String,
    /// Value of the tag `process`, which keeps processes of one host apart.
    pub(crate) process: Option<String>,
}

impl SelfMetrics {
    /// Runs until `stop` fires. A round that the store does not take is left out: the next one comes soon, and a full
    /// disk must not be argued with.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        for round in 0_u64.. {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let figures = gather(&self.sources).await;
            match self.sink.write(self.batch(&figures)).await {
                WriteOutcome::Done(_) => {}
                WriteOutcome::Refused(refusal) => tracing::debug!(%refusal, "own figures were not stored"),
                WriteOutcome::Unknown(reason) => tracing::debug!(reason, "whether own figures were stored is unknown"),
            }
            if round % METADATA_EVERY == 0
                && let Err(error) = self.metadata.put_metadata(meanings(&figures)).await
            {
                tracing::debug!(%error, "the meaning of own figures was not stored");
            }
        }
    }

    fn batch(&self, figures: &[Figure]) -> PointBatch {
        let process = self.process.as_deref().map(|process| ("process", process));
        let own: Vec<(&str, &str)> = [("host", self.host.as_str())].into_iter().chain(process).collect();
        batch_of(figures, &own, self.clock.now_ms())
    }
}

/// Figures as points with these tags and those of their labels.
fn batch_of(figures: &[Figure], own: &[(&str, &str)], now_ms: TimestampMs) -> PointBatch {
    let mut builder = PointBatchBuilder::default();
    for figure in figures.iter().filter(|figure| figure.value.is_finite()) {
        let metric = format!("tidemark.{}", figure.name);
        let labels: Vec<(&str, String)> = figure.labels.iter().map(|(key, value)| (*key, legal(value))).collect();
        let mut tags = own.to_vec();
        tags.extend(labels.iter().map(|(key, value)| (*key, value.as_str())));
        if let Err(error) = builder.push(&metric, &mut tags, now_ms, value(figure.value)) {
            tracing::debug!(%error, metric, "an own figure is no point");
        }
    }
    builder.finish()
}

/// Whole numbers stay whole.
fn value(number: f64) -> Value {
    let whole = number as i64;
    if whole as f64 == number { Value::Int(whole) } else { Value::Float(number) }
}

/// A label as a tag value: what no name may have becomes `_`.
fn legal(label: &str) -> String {
    let legal: String = label
        .chars()
        .map(|character| if character.is_alphanumeric() || "-_./".contains(character) { character } else { '_' })
        .collect();
    if legal.is_empty() { "_".to_owned() } else { legal }
}

fn meanings(figures: &[Figure]) -> Vec<MetricMetadata> {
    let meaning = |figure: &Figure| MetricMetadata {
        metric: format!("tidemark.{}", figure.name),
        unit: String::new(),
        rate: Some(match figure.kind {
            FigureKind::Counter => RateKind::Counter,
            FigureKind::Gauge => RateKind::Gauge,
        }),
        description: figure.help.to_owned(),
    };
    let mut meanings: Vec<_> = figures.iter().map(meaning).collect();
    meanings.sort_by(|left, right| left.metric.cmp(&right.metric));
    meanings.dedup_by(|left, right| left.metric == right.metric);
    meanings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_a_name_keeps_its_figures_apart() {
        let figures = [Figure::gauge("queue.ready", "Jobs.", 1.0).of("queue", "write")];
        let check = |own: &[(&str, &str)], expect: &str| {
            let batch = batch_of(&figures, own, 5);
            assert_eq!((batch.len(), batch.series_key(0).to_string().as_str()), (1, expect));
        };
        check(&[("host", "ams1")], "tidemark.queue.ready{host=ams1,queue=write}");
        check(&[("host", "ams1"), ("process", "w2")], "tidemark.queue.ready{host=ams1,process=w2,queue=write}");
    }

    #[test]
    fn any_label_becomes_a_legal_tag() {
        assert_eq!(legal("GET /api/{x}"), "GET_/api/_x_");
        assert_eq!(legal(""), "_");
        assert_eq!((value(3.0), value(0.5)), (Value::Int(3), Value::Float(0.5)));
    }
}
