//! The labels of a series: its tags, and its metric as the label `__name__`.

use std::{fmt, sync::Arc};

use tidemark_model::SeriesKey;

use crate::text::quote;

/// The label that is the metric.
pub const METRIC_NAME: &str = "__name__";

/// Labels sorted by name, each with a value that is not empty. Cloning is cheap, and labels that
/// are made of others share their texts.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels(Arc<[(Arc<str>, Arc<str>)]>);

impl Labels {
    /// Labels in any order; those without a value are left out, and of two with one name the first counts.
    #[must_use]
    pub fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut pairs: Vec<(&str, &str)> = pairs.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        pairs.sort_by_key(|(name, _)| *name);
        pairs.dedup_by_key(|(name, _)| *name);
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }

    /// The labels of a stored series.
    #[must_use]
    pub fn of_series(key: &SeriesKey) -> Self {
        Self::new(key.tags().chain([(METRIC_NAME, key.metric())]))
    }

    /// Names and values in the order of the names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + Clone {
        self.0.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
    }

    /// The value of a label; empty when there is none.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known.as_ref() == name).map_or("", |(_, value)| value.as_ref())
    }

    /// The labels for which `wanted` says yes.
    #[must_use]
    pub fn filtered(&self, wanted: impl Fn(&str) -> bool) -> Self {
        if self.0.iter().all(|(name, _)| wanted(name)) {
            return self.clone();
        }
        Self(self.0.iter().filter(|(name, _)| wanted(name)).cloned().collect())
    }

    /// The labels but for the metric.
    #[must_use]
    pub fn without_metric(&self) -> Self {
        self.filtered(|name| name != METRIC_NAME)
    }

    /// The labels with another value of one of them; an empty value takes it away.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        let made = (!value.is_empty()).then(|| (Arc::from(name), Arc::from(value)));
        let others = self.0.iter().filter(|(known, _)| known.as_ref() != name).cloned();
        let mut all: Vec<(Arc<str>, Arc<str>)> = made.into_iter().chain(others).collect();
        all.sort_by(|left, right| left.0.cmp(&right.0));
        Self(all.into())
    }
}

/// As Prometheus shows a series: `metric{name="value", …}`.
impl fmt::Display for Labels {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let metric = self.get(METRIC_NAME);
        let rest: Vec<String> = self
            .iter()
            .filter(|(name, _)| *name != METRIC_NAME)
            .map(|(name, value)| format!("{name}={}", quote(value)))
            .collect();
        if metric.is_empty() || !rest.is_empty() {
            write!(out, "{metric}{{{}}}", rest.join(", "))
        } else {
            out.write_str(metric)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_sorted_and_have_values() {
        let labels = Labels::new([("b", "2"), ("a", "1"), ("empty", ""), (METRIC_NAME, "m")]);
        assert_eq!(labels.to_string(), r#"m{a="1", b="2"}"#);
        assert_eq!((labels.get("a"), labels.get("empty")), ("1", ""));
        assert_eq!(labels.with("a", "").without_metric().to_string(), r#"{b="2"}"#);
        assert_eq!(labels.with("c", "\"").get("c"), "\"");
        assert_eq!(Labels::of_series(&SeriesKey::new("m", &[("b", "2"), ("a", "1")])), labels);
    }
}
