//! Names that nobody has ever written, in a query that is to be answered without them.
//!
//! OpenTSDB refuses such a query as a whole, and so do we by default, which empties a dashboard that names one host too
//! many. Leaving them out happens here and not in the reader: what is missing becomes a warning, and a misspelt metric
//! must not become an empty answer in silence where somebody else reads.

use std::{collections::HashSet, sync::Arc};

use percent_encoding::{CONTROLS, utf8_percent_encode};
use tidemark_model::{NameKind, NoSeries, ReadError, ReadRequest, SeriesReader, SeriesSelector, SeriesSet, TagMatch};

use crate::error::kind_word;

/// Names that are told; further ones are only mentioned, and are no longer looked for one by one.
const NAMES_MAX: usize = 8;

/// What becomes of a query with such names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Unresolved {
    /// An error for the whole of it.
    #[default]
    Refuse,
    /// They match nothing.
    Skip,
}

/// What a query was answered without.
#[derive(Debug, Default)]
pub(crate) struct Warnings(Vec<String>);

impl Warnings {
    fn add(&mut self, kind: NameKind, name: &str) {
        let shown: String = name.chars().take(200).collect();
        let warning = format!("No such name for '{}': '{shown}'", kind_word(kind));
        if !self.0.contains(&warning) {
            self.0.push(warning);
        }
    }

    fn is_full(&self) -> bool {
        self.0.len() >= NAMES_MAX
    }

    /// Adds a sentence of another kind.
    pub(crate) fn note(&mut self, text: String) {
        self.0.push(text);
    }

    /// As sentences.
    pub(crate) fn texts(&self) -> &[String] {
        &self.0
    }

    /// As they may stand in a header: what is not ASCII is percent-encoded.
    pub(crate) fn header_values(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|text| utf8_percent_encode(text, CONTROLS).to_string())
    }
}

/// Opens what is left of a request without the names that nobody has written, and what that is. Without the metric or
/// a tag key, and without any of the values that a tag is to have, nothing is left.
///
/// # Errors
/// As the reader, but never for an unknown name.
pub(crate) async fn open_resolved(
    reader: &dyn SeriesReader,
    mut request: ReadRequest,
    warnings: &mut Warnings,
) -> Result<(Box<dyn SeriesSet>, Option<SeriesSelector>), ReadError> {
    loop {
        match reader.open(request.clone()).await {
            Err(ReadError::UnknownName { kind, name }) => {
                let is_last = warnings.is_full();
                if is_last {
                    warnings.note("further names are unknown".to_owned());
                } else {
                    warnings.add(kind, &name);
                }
                if kind != NameKind::TagValue || !leave_out(&mut request.selector, &name, is_last) {
                    return Ok((Box::new(NoSeries), None));
                }
            }
            Err(error) => return Err(error),
            Ok(series) => return Ok((series, Some(request.selector))),
        }
    }
}

/// Takes a value out of those that tags may have; with `all_unknown`, lets all of them be unknown. Returns whether
/// something is left to select, which has then become less to look for.
fn leave_out(selector: &mut SeriesSelector, name: &str, all_unknown: bool) -> bool {
    let SeriesSelector::Tags { predicates, .. } = selector else { return false };
    let mut is_less = false;
    for predicate in predicates {
        let TagMatch::OneOf(values) = &mut predicate.matches else { continue };
        let before = values.len();
        values.retain(|value| value != name);
        is_less |= values.len() < before;
        if values.is_empty() {
            return false;
        }
        if all_unknown {
            let values: HashSet<String> = std::mem::take(values).into_iter().collect();
            predicate.matches = TagMatch::Where(Arc::new(move |value| values.contains(value)));
            is_less = true;
        }
    }
    is_less
}

#[cfg(test)]
mod tests {
    use tidemark_model::{BoxFuture, TagPredicate};

    use super::*;

    /// Knows the metric `m`, the key `host` and its values `a` and `b`, as a store does that has no series.
    struct Names;

    impl SeriesReader for Names {
        fn open(&self, request: ReadRequest) -> BoxFuture<'_, Result<Box<dyn SeriesSet>, ReadError>> {
            let unknown = |kind, name: &str| Err(ReadError::UnknownName { kind, name: name.to_owned() });
            Box::pin(async move {
                let SeriesSelector::Tags { metric, predicates, .. } = request.selector else {
                    return Ok(Box::new(NoSeries) as Box<dyn SeriesSet>);
                };
                if let Some(metric) = metric.filter(|metric| metric != "m") {
                    return unknown(NameKind::Metric, &metric);
                }
                for predicate in &predicates {
                    if predicate.key != "host" {
                        return unknown(NameKind::TagKey, &predicate.key);
                    }
                    let TagMatch::OneOf(values) = &predicate.matches else { continue };
                    if let Some(value) = values.iter().find(|value| !["a", "b"].contains(&value.as_str())) {
                        return unknown(NameKind::TagValue, value);
                    }
                }
                Ok(Box::new(NoSeries) as Box<dyn SeriesSet>)
            })
        }
    }

    async fn opened(metric: &str, key: &str, values: &[&str]) -> (Option<SeriesSelector>, Vec<String>) {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        let predicates = vec![TagPredicate { key: key.to_owned(), matches: TagMatch::OneOf(values) }];
        let selector = SeriesSelector::Tags { metric: Some(metric.to_owned()), predicates, exact_keys: false };
        let range = tidemark_model::TimeRange::new(0, 1);
        let limits = tidemark_model::ReadLimits::default();
        let mut warnings = Warnings::default();
        let request = ReadRequest { selector, range, limits, rollup: None };
        let (_, selector) = open_resolved(&Names, request, &mut warnings).await.unwrap();
        (selector, warnings.0)
    }

    #[tokio::test]
    async fn what_is_unknown_is_left_out_and_told() {
        let (selector, warnings) = opened("m", "host", &["a", "x", "b", "y"]).await;
        assert!(format!("{selector:?}").contains(r#"OneOf(["a", "b"])"#), "{selector:?}");
        assert_eq!(warnings, ["No such name for 'tagv': 'x'", "No such name for 'tagv': 'y'"]);
        let (selector, warnings) = opened("m", "host", &["x"]).await;
        assert_eq!((selector.is_none(), warnings.len()), (true, 1));
        let (selector, warnings) = opened("n", "host", &["a"]).await;
        assert!(selector.is_none() && warnings == ["No such name for 'metrics': 'n'"]);
        let (selector, warnings) = opened("m", "dc", &["a"]).await;
        assert!(selector.is_none() && warnings == ["No such name for 'tagk': 'dc'"]);
    }

    #[tokio::test]
    async fn many_unknown_names_are_not_looked_for_one_by_one() {
        let unknown: Vec<String> = (0..1000).map(|number| format!("x{number}")).collect();
        let mut values: Vec<&str> = unknown.iter().map(String::as_str).collect();
        values.push("a");
        let (selector, warnings) = opened("m", "host", &values).await;
        assert!(format!("{selector:?}").contains("Where"), "{selector:?}");
        assert_eq!(warnings.len(), NAMES_MAX + 1);
        assert_eq!(warnings.last().unwrap(), "further names are unknown");
    }

    #[test]
    fn a_warning_fits_into_a_header() {
        let mut warnings = Warnings::default();
        warnings.add(NameKind::TagValue, "größe\r\nx");
        let expected = "No such name for 'tagv': 'gr%C3%B6%C3%9Fe%0D%0Ax'";
        assert_eq!(warnings.header_values().collect::<Vec<_>>(), [expected]);
    }
}
