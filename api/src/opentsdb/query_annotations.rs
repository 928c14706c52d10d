//! The annotations that belong into the answer of a query.

use std::collections::{BTreeSet, HashMap};

use tidemark_model::{Annotation, AnnotationsOf, SeriesInfo, TimeRange, Tsuid};
use tidemark_query::GroupResult;

use super::{annotation::AnnotationView, query_request::AnswerShape};
use crate::{error::ApiError, state::AppState};

/// Annotations of one answer, those about everything counted apart.
const ANNOTATIONS_MAX: usize = 10_000;

/// Annotations that begin in the window of a query.
#[derive(Debug, Default)]
pub(crate) struct QueryAnnotations {
    by_series: HashMap<Tsuid, Vec<Annotation>>,
    everything: Vec<Annotation>,
}

impl QueryAnnotations {
    /// Reads what the shape of the answer asks for: one range for each metric of the series.
    ///
    /// # Errors
    /// 413 when there are more than an answer takes; 503 when the store does not answer.
    pub(crate) async fn read<'a>(
        state: &AppState,
        shape: AnswerShape,
        range: TimeRange,
        series: impl Iterator<Item = &'a SeriesInfo>,
    ) -> Result<Self, ApiError> {
        let mut found = Self::default();
        if shape.no_annotations {
            // Those about everything neither, even when they are asked for.
            return Ok(found);
        }
        let metrics: BTreeSet<u32> = series.map(|series| series.tsuid.metric()).collect();
        let metrics: Vec<u32> = metrics.into_iter().collect();
        for annotation in read(state, AnnotationsOf::Metrics(&metrics), range).await? {
            if let Some(tsuid) = annotation.tsuid.clone() {
                found.by_series.entry(tsuid).or_default().push(annotation);
            }
        }
        if shape.global_annotations {
            found.everything = read(state, AnnotationsOf::Everything, range).await?;
        }
        Ok(found)
    }

    /// Appends the fields of one element, if it has any.
    pub(crate) fn write(&self, group: &GroupResult, out: &mut Vec<u8>) {
        if !self.by_series.is_empty() {
            let of_members = group.tsuids.iter().filter_map(|tsuid| self.by_series.get(tsuid));
            let mut annotations: Vec<&Annotation> = of_members.flatten().collect();
            annotations.sort_by_key(|annotation| annotation.start_ms());
            write_field("annotations", annotations.into_iter(), out);
        }
        write_field("globalAnnotations", self.everything.iter(), out);
    }
}

async fn read(state: &AppState, of: AnnotationsOf<'_>, range: TimeRange) -> Result<Vec<Annotation>, ApiError> {
    let found = state.seams.annotations.annotations(of, range, ANNOTATIONS_MAX + 1).await?;
    if found.len() <= ANNOTATIONS_MAX {
        return Ok(found);
    }
    Err(ApiError::too_large(format!("more than {ANNOTATIONS_MAX} annotations begin in the window of the query"))
        .details("shorten the window, or leave them out with `noAnnotations`"))
}

fn write_field<'a>(name: &str, annotations: impl Iterator<Item = &'a Annotation>, out: &mut Vec<u8>) {
    let views: Vec<_> = annotations.map(AnnotationView::from).collect();
    if let (false, Ok(written)) = (views.is_empty(), serde_json::to_vec(&views)) {
        out.extend_from_slice(format!(",\"{name}\":").as_bytes());
        out.extend_from_slice(&written);
    }
}
