//! Which limit keeps a new series out, and the sentence that says so.

use hashbrown::HashMap;
use tidemark_model::{NameKind, PointBatch, RefusalReason, WriteRefusal};

use crate::{
    Index,
    growth::{FastestKey, MINUTES},
};

/// A limit on new series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum SeriesLimit {
    /// Series in the store.
    InAll(usize),
    /// Series of one metric.
    OfMetric(usize),
    /// New series a minute.
    PerMinute(u64),
}

/// Why a series was not created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Limit(SeriesLimit),
    Otherwise(WriteRefusal),
}

/// The refusals of these entries of the batch's dictionary.
///
/// The values of all of them count as growth first, and then the sentences are made, one for each metric and limit: a
/// sentence names the tag key whose values did this.
pub(crate) fn refusals(
    index: &Index,
    batch: &PointBatch,
    refused: Vec<(usize, Refused)>,
) -> Vec<(usize, WriteRefusal)> {
    for (entry, _) in refused.iter().filter(|(_, refused)| matches!(refused, Refused::Limit(_))) {
        index.note_refused(batch.series_text(*entry));
    }
    let mut made = HashMap::<(SeriesLimit, &str), WriteRefusal>::new();
    let refusal = |(entry, refused)| {
        let refusal = match refused {
            Refused::Otherwise(refusal) => refusal,
            Refused::Limit(limit) => {
                let metric = batch.series_text(entry).split('\0').next().unwrap_or_default();
                let made = made.entry((limit, metric));
                made.or_insert_with(|| WriteRefusal::new(RefusalReason::Limit, sentence(index, limit, metric))).clone()
            }
        };
        (entry, refusal)
    };
    refused.into_iter().map(refusal).collect()
}

fn sentence(index: &Index, limit: SeriesLimit, metric: &str) -> String {
    let id = index.names(NameKind::Metric).id(metric);
    let fastest = match limit {
        SeriesLimit::OfMetric(_) => id.and_then(|id| index.growth().lock().fastest(Some(id))),
        SeriesLimit::InAll(_) | SeriesLimit::PerMinute(_) => index.growth().lock().fastest(None),
    };
    let grows = fastest.and_then(|fastest| grows(index, fastest, id)).unwrap_or_default();
    match limit {
        SeriesLimit::InAll(limit) => {
            format!("metric `{metric}`: series limit of the store reached ({limit}){grows}; see `limits.series`")
        }
        SeriesLimit::OfMetric(limit) => {
            format!("series limit of metric `{metric}` reached ({limit}){grows}; see `limits.series_per_metric`")
        }
        SeriesLimit::PerMinute(limit) => format!(
            "metric `{metric}`: limit of new series a minute reached ({limit}){grows}; see `limits.new_series_per_minute`"
        ),
    }
}

fn grows(index: &Index, fastest: FastestKey, refused_metric: Option<u32>) -> Option<String> {
    let FastestKey { metric, tag_key, values } = fastest;
    let tag_key = index.names(NameKind::TagKey).name(tag_key)?;
    let of = match refused_metric == Some(metric) {
        true => String::new(),
        false => format!(" of metric `{}`", index.names(NameKind::Metric).name(metric)?),
    };
    Some(format!("; tag key `{tag_key}`{of} grows fastest, by {values} new values in {MINUTES} minutes"))
}
