//! Notes about moments: a deployment, an outage, a change of hardware.

use std::collections::BTreeMap;

use crate::{BoxFuture, DocumentError, TimeRange, TimestampMs, Tsuid, timestamp_ms};

/// A note about a moment or a span of time, of one series or of everything.
///
/// A series has one annotation for each moment of beginning, to the millisecond.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotation {
    /// The series; `None` for a note about everything.
    pub tsuid: Option<Tsuid>,
    /// When it begins, in the form in which it was given: seconds since the epoch, or milliseconds from 2^32 on.
    pub start_time: i64,
    /// When it ends, likewise; 0 for no end.
    pub end_time: i64,
    /// One line.
    pub description: String,
    /// Everything else.
    pub notes: String,
    /// Whatever else programs want to keep.
    pub custom: BTreeMap<String, String>,
}

/// What somebody says of an annotation; what is `None` is not said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnnotationChange {
    /// The series; `None` for a note about everything.
    pub tsuid: Option<Tsuid>,
    /// When it begins: with the series, which annotation is meant.
    pub start_time: i64,
    /// When it ends.
    pub end_time: Option<i64>,
    /// One line.
    pub description: Option<String>,
    /// Everything else.
    pub notes: Option<String>,
    /// Whatever else.
    pub custom: Option<BTreeMap<String, String>>,
}

/// What becomes of the fields that a change does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnnotationWrite {
    /// They stay.
    Merge,
    /// They become empty.
    Replace,
}

/// Whose annotations are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnnotationsOf<'a> {
    /// Those about everything.
    Everything,
    /// Those of these series.
    Series(&'a [Tsuid]),
    /// Those of all series of these metrics, by the number that their ids begin with.
    Metrics(&'a [u32]),
}

impl Annotation {
    /// When it begins, in milliseconds since the epoch.
    #[must_use]
    pub fn start_ms(&self) -> TimestampMs {
        timestamp_ms(self.start_time)
    }
}

impl AnnotationChange {
    /// When it begins, in milliseconds since the epoch.
    #[must_use]
    pub fn start_ms(&self) -> TimestampMs {
        timestamp_ms(self.start_time)
    }

    /// The annotation that the change makes of what is there.
    #[must_use]
    pub fn apply_to(&self, known: Option<Annotation>, write: AnnotationWrite) -> Annotation {
        let known = known.filter(|_| write == AnnotationWrite::Merge).unwrap_or_default();
        Annotation {
            tsuid: self.tsuid.clone(),
            start_time: self.start_time,
            end_time: self.end_time.unwrap_or(known.end_time),
            description: self.description.clone().unwrap_or(known.description),
            notes: self.notes.clone().unwrap_or(known.notes),
            custom: self.custom.clone().unwrap_or(known.custom),
        }
    }
}

/// Keeps annotations.
pub trait AnnotationStore: Send + Sync {
    /// Writes annotations, durably, and returns what they are now, in the order of the changes.
    ///
    /// # Errors
    /// [`DocumentError::TooLarge`] before anything is written; otherwise the changes before the one that failed may be
    /// written. Sending all of them again is harmless.
    fn put_annotations(
        &self,
        changes: Vec<AnnotationChange>,
        write: AnnotationWrite,
    ) -> BoxFuture<'_, Result<Vec<Annotation>, DocumentError>>;

    /// The annotation of a series, or about everything, that begins at `start_ms`.
    fn annotation<'a>(
        &'a self,
        tsuid: Option<&'a Tsuid>,
        start_ms: TimestampMs,
    ) -> BoxFuture<'a, Result<Option<Annotation>, DocumentError>>;

    /// At most `limit` annotations that begin in `range`; those of a metric, or about everything, oldest first.
    fn annotations<'a>(
        &'a self,
        of: AnnotationsOf<'a>,
        range: TimeRange,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Annotation>, DocumentError>>;

    /// Removes annotations that begin in `range` and says how many there were.
    fn delete_annotations<'a>(
        &'a self,
        of: AnnotationsOf<'a>,
        range: TimeRange,
    ) -> BoxFuture<'a, Result<usize, DocumentError>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_keeps_or_drops_what_it_does_not_name() {
        let known = Annotation {
            start_time: 1_356_998_460,
            description: "deployed".to_owned(),
            notes: "by hand".to_owned(),
            ..Annotation::default()
        };
        let change = AnnotationChange { start_time: 1_356_998_460, notes: Some(String::new()), ..Default::default() };
        let merged = change.apply_to(Some(known.clone()), AnnotationWrite::Merge);
        assert_eq!(merged, Annotation { notes: String::new(), ..known.clone() });
        let replaced = change.apply_to(Some(known), AnnotationWrite::Replace);
        assert_eq!(replaced, Annotation { start_time: 1_356_998_460, ..Annotation::default() });
    }
}
