//! How long points are kept, by the name of their metric.

use std::time::Duration;

use tidemark_model::TimestampMs;

/// How long the points of each metric are kept. The default keeps everything for ever.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// The first rule that matches a metric decides.
    pub rules: Vec<RetentionRule>,
    /// For metrics that no rule matches; `None` for ever.
    pub default: Option<Duration>,
}

/// How long the points of some metrics are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionRule {
    /// Names of metrics: `*` stands for any characters, none included.
    pub metric: String,
    /// From a point's own timestamp on; `None` for ever.
    pub keep: Option<Duration>,
}

impl Retention {
    /// Whether everything is kept for ever.
    pub(crate) fn keeps_everything(&self) -> bool {
        self.default.is_none() && self.rules.iter().all(|rule| rule.keep.is_none())
    }

    /// The timestamp before which points of a metric are no longer kept; `None` when all are.
    pub(crate) fn horizon(&self, metric: &str, now: TimestampMs) -> Option<TimestampMs> {
        let rule = self.rules.iter().find(|rule| matches(&rule.metric, metric));
        let keep = rule.map_or(self.default, |rule| rule.keep)?;
        let keep = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
        Some(now.saturating_sub(keep))
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
        let rule = |metric: &str, keep: Option<u64>| RetentionRule {
            metric: metric.to_owned(),
            keep: keep.map(Duration::from_millis),
        };
        let rules = vec![rule("audit.*", None), rule("audit.x", Some(1)), rule("debug.*", Some(10))];
        let retention = Retention { rules, default: Some(Duration::from_millis(100)) };
        assert_eq!(retention.horizon("audit.x", 1000), None);
        assert_eq!(retention.horizon("debug.a", 1000), Some(990));
        assert_eq!(retention.horizon("cpu", 1000), Some(900));
        assert!(!retention.keeps_everything() && Retention::default().keeps_everything());
        let for_ever = Retention { rules: vec![rule("*", Some(u64::MAX))], default: None };
        assert!(for_ever.horizon("cpu", 1000).unwrap() < 0);
    }
}
