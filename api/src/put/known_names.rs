//! Names that points bring although nobody made them, where only `/api/uid/assign` makes names.
//!
//! Asked before points are queued or written, so that who sent them is told, with a Redis broker, too. Points that this
//! program writes by itself, those of the agent beside the server, and imports go other ways and make the names they need.

use std::collections::{HashMap, HashSet};

use tidemark_model::{AGGREGATE_KEY, CatalogError, NameKind, PointBatch, Tags, is_reserved, written_metric};

use crate::{error::kind_word, state::AppState};

/// A name that nobody has written or assigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnknownName {
    kind: NameKind,
    name: String,
}

impl UnknownName {
    /// What `details` of a put say of the point.
    pub(crate) fn http_text(&self) -> String {
        if self.kind == NameKind::Metric { "Unknown metric".to_owned() } else { self.text() }
    }

    /// The reply to a line, without the command before it. OpenTSDB says of all names that they are metrics.
    pub(crate) fn telnet_text(&self) -> String {
        format!("unknown metric: {}", self.text())
    }

    fn text(&self) -> String {
        format!("No such name for '{}': '{}'", kind_word(self.kind), self.name)
    }
}

/// A batch without the points that bring such names.
#[derive(Debug)]
pub(crate) struct Judged {
    /// The others.
    pub(crate) batch: PointBatch,
    /// Where they were before; `None` when none was taken out.
    positions: Option<Vec<usize>>,
    /// Those that were taken out, by position.
    pub(crate) unknown: Vec<(usize, UnknownName)>,
}

impl Judged {
    /// Where a point of the batch was before.
    pub(crate) fn position(&self, position: usize) -> usize {
        let before = self.positions.as_ref().and_then(|positions| positions.get(position));
        before.copied().unwrap_or(position)
    }
}

/// Takes out of a batch what the settings do not let it bring. Costs nothing where they let it bring everything.
///
/// # Errors
/// When the names cannot be looked up.
pub(crate) async fn judge(batch: PointBatch, state: &AppState) -> Result<Judged, CatalogError> {
    let unknown = unknown_series(&batch, state).await?;
    if unknown.is_empty() {
        return Ok(Judged { batch, positions: None, unknown: Vec::new() });
    }
    let refused = batch.points().enumerate();
    let refused =
        refused.filter_map(|(position, point)| Some((position, unknown.get(&point.series)?.clone()))).collect();
    let (kept, positions) = batch.filter(|point| !unknown.contains_key(&point.series));
    Ok(Judged { batch: kept, positions: Some(positions), unknown: refused })
}

/// The series of the dictionary that have such names, and the first of these.
async fn unknown_series(batch: &PointBatch, state: &AppState) -> Result<HashMap<usize, UnknownName>, CatalogError> {
    let auto_create = state.options.opentsdb.auto_create;
    if [NameKind::Metric, NameKind::TagKey, NameKind::TagValue].into_iter().all(|kind| auto_create.allows(kind)) {
        return Ok(HashMap::new());
    }
    let series = (0..batch.series_count()).map(|series| batch.series_text(series));
    let asked: HashSet<(NameKind, &str)> = series
        .flat_map(|text| names(text).chain(text.split('\0').next().map(|stored| (NameKind::Metric, stored))))
        .filter(|(kind, _)| !auto_create.allows(*kind))
        .collect();
    let asked: Vec<_> = asked.into_iter().collect();
    let unknown = state.seams.names.unknown(&asked).await?;
    let unknown: HashSet<(NameKind, &str)> = unknown.into_iter().filter_map(|at| asked.get(at).copied()).collect();
    let found = (0..batch.series_count()).filter_map(|series| {
        let (kind, name) = first_of(&unknown, batch.series_text(series))?;
        Some((series, UnknownName { kind, name: name.to_owned() }))
    });
    Ok(found.collect())
}

fn first_of<'a>(unknown: &HashSet<(NameKind, &str)>, text: &'a str) -> Option<(NameKind, &'a str)> {
    // A metric that has other values than points is known by these, too.
    let stored = text.split('\0').next().unwrap_or_default();
    let is_known_otherwise = !unknown.contains(&(NameKind::Metric, stored));
    let mut names = names(text);
    names.find(|name| unknown.contains(name) && !(name.0 == NameKind::Metric && is_known_otherwise))
}

/// The names that somebody wrote, in the order in which OpenTSDB looks at them.
fn names(text: &str) -> impl Iterator<Item = (NameKind, &str)> {
    let metric = text.split('\0').next().map(|stored| (NameKind::Metric, written_metric(stored)));
    // Of values that were aggregated, which have a stored name, the program writes this tag itself.
    let is_own = |key: &str| is_reserved(key) || (key == AGGREGATE_KEY && is_reserved(text));
    let tags = Tags::of_canonical(text).filter(move |(key, _)| !is_own(key));
    metric.into_iter().chain(tags.flat_map(|(key, value)| [(NameKind::TagKey, key), (NameKind::TagValue, value)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_a_series_are_those_that_somebody_wrote() {
        let of = |text: &'static str| names(text).map(|(_, name)| name).collect::<Vec<_>>();
        assert_eq!(of("cpu\0dc\0x\0host\0a"), ["cpu", "dc", "x", "host", "a"]);
        assert_eq!(of("\u{1}h/lat\0\u{1}part\0\u{1}shape\0host\0a"), ["lat", "host", "a"]);
        assert_eq!(of("\u{1}a/m\0_aggregate\0SUM\0host\0a"), ["m", "host", "a"]);
        assert_eq!(of("m\0_aggregate\0made up"), ["m", "_aggregate", "made up"]);
    }

    #[test]
    fn the_texts_are_opentsdbs() {
        let metric = UnknownName { kind: NameKind::Metric, name: "m".to_owned() };
        assert_eq!(metric.http_text(), "Unknown metric");
        assert_eq!(metric.telnet_text(), "unknown metric: No such name for 'metrics': 'm'");
        let value = UnknownName { kind: NameKind::TagValue, name: "v".to_owned() };
        assert_eq!(value.http_text(), "No such name for 'tagv': 'v'");
        assert_eq!(value.telnet_text(), "unknown metric: No such name for 'tagv': 'v'");
    }
}
