//! How long points are kept, by the name of their metric.

use std::time::Duration;

use tidemark_model::{TimestampMs, written_metric};

/// How long the points of each metric are kept. The default keeps everything for ever.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// The first rule that matches a metric decides.
    pub rules: Vec<RetentionRule>,
    /// For metrics that no rule matches; `None` for ever.
    pub default: Option<Duration>,
    /// For the rollups of these metrics, as [`RetentionRule::keep_rollups`].
    pub default_rollups: Option<Duration>,
}

/// How long the points of some metrics are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionRule {
    /// Names of metrics: `*` stands for any characters, none included.
    pub metric: String,
    /// From a point's own timestamp on; `None` for ever.
    pub keep: Option<Duration>,
    /// How long rollups answer queries in place of points that are gone; `None`, or less than `keep`, for no longer than
    /// the points are kept.
    pub keep_rollups: Option<Duration>,
}

/// What is no longer kept of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Horizons {
    /// Points before this timestamp.
    pub(crate) points: TimestampMs,
    /// Rows before this one, which is not later.
    pub(crate) rollups: TimestampMs,
}

impl Horizons {
    /// Whether rows answer for points that are gone.
    pub(crate) fn keep_rollups_longer(self) -> bool {
        self.rollups < self.points
    }
}

impl Retention {
    /// Whether everything is kept for ever.
    pub(crate) fn keeps_everything(&self) -> bool {
        self.default.is_none() && self.rules.iter().all(|rule| rule.keep.is_none())
    }

    /// What is no longer kept of a metric; `None` when all is.
    pub(crate) fn horizons(&self, metric: &str, now: TimestampMs) -> Option<Horizons> {
        let metric = written_metric(metric);
        let rule = self.rules.iter().find(|rule| matches(&rule.metric, metric));
        let (keep, keep_rollups) =
            rule.map_or((self.default, self.default_rollups), |rule| (rule.keep, rule.keep_rollups));
        let ago = |keep: Duration| now.saturating_sub(i64::try_from(keep.as_millis()).unwrap_or(i64::MAX));
        let points = ago(keep?);
        Some(Horizons { points, rollups: keep_rollups.map_or(points, ago).min(points) })
    }
}

/// Whether a pattern matches a name. Takes time in proportion to the product of their lengths at most.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, name, expect) in [
            ("cpu", "cpu", true),
            ("cpu", "cpu.user", false),
            ("cpu.*", "cpu.user", true),
            ("cpu.*", "cpu.", true),
            ("cpu.*", "mem.cpu.user", false),
            ("*.user", "cpu.user", true),
            ("*.user", "cpu.user.x", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("a*a", "a", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("größe*", "größe.ort", true),
        ] {
            assert_eq!(matches(pattern, name), expect, "{pattern} {name}");
        }
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let rule = |metric: &str, keep: Option<u64>, keep_rollups: Option<u64>| RetentionRule {
            metric: metric.to_owned(),
            keep: keep.map(Duration::from_millis),
            keep_rollups: keep_rollups.map(Duration::from_millis),
        };
        let rules = vec![
            rule("audit.*", None, None),
            rule("audit.x", Some(1), None),
            rule("debug.*", Some(10), Some(300)),
            rule("short.*", Some(10), Some(5)),
        ];
        let (default, default_rollups) = (Some(Duration::from_millis(100)), Some(Duration::from_millis(200)));
        let retention = Retention { rules, default, default_rollups };
        assert_eq!(retention.horizons("audit.x", 1000), None);
        assert_eq!(retention.horizons("\u{1}h/debug.a", 1000), Some(Horizons { points: 990, rollups: 700 }));
        assert_eq!(retention.horizons("debug.a", 1000), Some(Horizons { points: 990, rollups: 700 }));
        assert_eq!(retention.horizons("short.a", 1000), Some(Horizons { points: 990, rollups: 990 }));
        assert_eq!(retention.horizons("cpu", 1000), Some(Horizons { points: 900, rollups: 800 }));
        assert!(!retention.keeps_everything() && Retention::default().keeps_everything());
        let for_ever = Retention { rules: vec![rule("*", Some(u64::MAX), None)], ..Retention::default() };
        let horizons = for_ever.horizons("cpu", 1000).unwrap();
        assert!(horizons.points < 0 && !horizons.keep_rollups_longer());
    }
}
