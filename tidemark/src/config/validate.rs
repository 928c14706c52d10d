//! What can be wrong with settings that can be read.

use std::{collections::BTreeSet, fmt, time::Duration};

use tidemark_api::auth::Network;
use tidemark_egress::Url;
use tidemark_model::{NameCharacters, check_name};
use tidemark_query::{RollupIntervals, Weekday};
use tidemark_tsdb::RollupInterval;
use tracing_subscriber::EnvFilter;

use super::{Bytes, CollectTarget, RetentionRuleSettings, RetentionSettings, Settings, Span, masked};

/// Most of anything that is counted.
const COUNT_MAX: u64 = 1_000_000_000_000;
/// Most of what takes memory or a task each.
const TASKS_MAX: u64 = 1_000_000;
const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3_600);
const WEEK: Duration = Duration::from_secs(7 * 24 * 3_600);
const CENTURY: Duration = Duration::from_secs(36_525 * 24 * 3_600);
const TEBIBYTE: u64 = 1 << 40;
/// Longest name of a target: the name of its schedule has at most 128 characters, some of which are ours.
const TARGET_NAME_MAX: usize = 100;
/// Most intervals of rollups: each is another pass over a day and another copy of its extremes.
const ROLLUP_INTERVALS_MAX: usize = 8;
/// Longest name of a process.
const NAME_BYTES_MAX: usize = 64;
/// Most replicas that are waited for.
const REPLICAS_MAX: u32 = 16;
/// Words for how much is logged.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

impl Settings {
    /// Everything that is wrong, one sentence each; they name the setting and what it may be.
    pub(crate) fn validate(&self) -> Vec<String> {
        let mut problems = Problems::default();
        self.check_counts(&mut problems);
        self.check_sizes(&mut problems);
        self.check_spans(&mut problems);
        if self.data.as_os_str().is_empty() {
            problems.add("data", "names no folder");
        }
        if let Err(reason) = log_level(&self.log.level) {
            problems.add("log.level", reason);
        }
        if tidemark_query::parse_time_zone(&self.opentsdb.timezone).is_err() {
            let zone = &self.opentsdb.timezone;
            problems.add("opentsdb.timezone", format!("`{zone}` is no time zone, such as `Europe/Amsterdam` or `UTC`"));
        }
        if self.opentsdb.week_start.parse::<Weekday>().is_err() {
            let day = self.opentsdb.week_start.escape_debug();
            problems.add("opentsdb.week_start", format!("`{day}` is no day of the week, such as `monday` or `sunday`"));
        }
        if let Err(error) = NameCharacters::with_special(&self.opentsdb.allow_specialchars) {
            problems.add("opentsdb.allow_specialchars", error);
        }
        for (name, networks) in
            [("auth.telnet_from", &self.auth.telnet_from), ("auth.trusted_proxies", &self.auth.trusted_proxies)]
        {
            for error in networks.iter().filter_map(|network| network.parse::<Network>().err()) {
                problems.add(name, error.to_string());
            }
        }
        let rollups = &self.opentsdb.rollups;
        if let Err(error) = RollupIntervals::parse(rollups.iter().map(String::as_str)) {
            problems.add("opentsdb.rollups", format!("names an interval that is none: {error}"));
        } else if rollups.len() > ROLLUP_INTERVALS_MAX {
            let found = rollups.len();
            problems
                .add("opentsdb.rollups", format!("has {found} intervals, at most {ROLLUP_INTERVALS_MAX} are allowed"));
        }
        let header = &self.opentsdb.header_tag;
        if !header.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)) {
            problems.add("opentsdb.header_tag", format!("`{header}` is no name of a header"));
        }
        if self.opentsdb.cors_headers.chars().any(char::is_control) {
            problems.add("opentsdb.cors_headers", "has a control character");
        }
        for (name, url) in
            [("public_url", &self.public_url), ("agent.to", &self.agent.to), ("agent.proxy", &self.agent.proxy)]
        {
            if !url.is_empty()
                && let Err(reason) = web_url(url)
            {
                problems.add(name, reason);
            }
        }
        if self.name.len() > NAME_BYTES_MAX || (!self.name.is_empty() && check_name(&self.name).is_err()) {
            let is_allowed = "expected at most 64 bytes of letters, digits and `-_./`";
            problems.add("name", format!("`{}` is no value of a tag: {is_allowed}", self.name.escape_debug()));
        }
        self.check_rollups(&mut problems);
        self.check_targets(&mut problems);
        self.check_retention(&mut problems);
        problems.0
    }

    fn check_rollups(&self, problems: &mut Problems) {
        let intervals = &self.rollups.intervals;
        if intervals.len() > ROLLUP_INTERVALS_MAX {
            let found = intervals.len();
            problems.add("rollups.intervals", format!("{found} are too many, at most {ROLLUP_INTERVALS_MAX}"));
        }
        for interval in intervals {
            if let Err(error) = RollupInterval::new(interval.0) {
                problems.add("rollups.intervals", error.to_string());
            }
        }
    }

    fn check_counts(&self, problems: &mut Problems) {
        let limits = &self.limits;
        let count = |number: usize| number as u64;
        let checks = [
            ("limits.connections", count(limits.connections), TASKS_MAX),
            ("limits.telnet_writes_in_flight", count(limits.telnet_writes_in_flight), 1_000),
            ("limits.series", count(limits.series), COUNT_MAX),
            ("limits.series_per_metric", count(limits.series_per_metric), COUNT_MAX),
            ("limits.head_points", limits.head_points, COUNT_MAX),
            ("limits.tombstones", count(limits.tombstones), TASKS_MAX),
            ("limits.queued_points", count(limits.queued_points), COUNT_MAX),
            ("limits.queries", count(limits.queries), 10_000),
            ("limits.queries_per_client", count(limits.queries_per_client), TASKS_MAX),
            ("limits.query_parts", count(limits.query_parts), 10_000),
            ("limits.query_series", count(limits.query_series), COUNT_MAX),
            ("limits.query_points", limits.query_points, COUNT_MAX),
            ("limits.query_result_points", limits.query_result_points, COUNT_MAX),
            ("limits.query_group_points", limits.query_group_points, COUNT_MAX),
            ("limits.results", count(limits.results), COUNT_MAX),
            ("queue.jobs_max", self.queue.jobs_max, COUNT_MAX),
            ("queue.workflows_max", count(self.queue.workflows_max), TASKS_MAX),
            ("direct.jobs_max", count(self.direct.jobs_max), TASKS_MAX),
            ("opentsdb.max_tags", count(self.opentsdb.max_tags), 255),
            ("worker.concurrency", count(self.worker.concurrency), count(super::CONCURRENCY_MAX)),
        ];
        for (name, number, most) in checks {
            problems.range(name, &number, &1, &most);
        }
        let a_minute = count(limits.new_series_per_minute);
        problems.range("limits.new_series_per_minute", &a_minute, &0, &COUNT_MAX);
        problems.range("worker.total", &count(self.worker.total), &0, &count(super::CONCURRENCY_MAX));
        problems.range("redis.wait_replicas", &self.redis.wait_replicas, &0, &REPLICAS_MAX);
    }

    fn check_sizes(&self, problems: &mut Problems) {
        let limits = &self.limits;
        let checks = [
            ("limits.body_rate", limits.body_rate, 0),
            ("limits.body_bytes", limits.body_bytes, 1),
            ("limits.body_bytes_decoded", limits.body_bytes_decoded, 1),
            ("limits.body_bytes_in_flight", limits.body_bytes_in_flight, 1),
            ("limits.query_bytes", limits.query_bytes, 1),
            ("limits.merge_bytes", limits.merge_bytes, 1 << 20),
            ("queue.bytes_max", self.queue.bytes_max, 1),
            ("jobs.folder_bytes", self.jobs.folder_bytes, 1),
            ("direct.bytes_max", self.direct.bytes_max, 1),
            ("agent.spool", self.agent.spool, 1 << 20),
        ];
        for (name, Bytes(bytes), least) in checks {
            let in_range = (least..=TEBIBYTE).contains(&bytes);
            problems.unless(in_range, name, || (Bytes(bytes), Bytes(least), Bytes(TEBIBYTE)));
        }
    }

    fn check_spans(&self, problems: &mut Problems) {
        let limits = &self.limits;
        let checks = [
            ("limits.first_byte_timeout", limits.first_byte_timeout, MILLISECOND, WEEK),
            ("limits.head_timeout", limits.head_timeout, MILLISECOND, WEEK),
            ("limits.body_timeout", limits.body_timeout, MILLISECOND, WEEK),
            ("limits.body_total_timeout", limits.body_total_timeout, MILLISECOND, WEEK),
            ("limits.response_timeout", limits.response_timeout, MILLISECOND, WEEK),
            ("limits.keep_alive", limits.keep_alive, Duration::ZERO, WEEK),
            ("limits.telnet_retry", limits.telnet_retry, Duration::ZERO, WEEK),
            ("limits.future", limits.future, HOUR, CENTURY),
            ("limits.query_wait", limits.query_wait, Duration::ZERO, WEEK),
            ("limits.query_time", limits.query_time, MILLISECOND, WEEK),
            ("queue.lease", self.queue.lease, SECOND, HOUR),
            ("jobs.keep", self.jobs.keep, HOUR, CENTURY),
            ("agent.interval", self.agent.interval, SECOND, WEEK),
            ("shutdown.requests", self.shutdown.requests, Duration::ZERO, HOUR),
            ("shutdown.jobs", self.shutdown.jobs, Duration::ZERO, HOUR),
            ("shutdown.flush", self.shutdown.flush, SECOND, HOUR),
        ];
        for (name, span, least, most) in checks {
            problems.span(name, span, least, most);
        }
    }

    fn check_retention(&self, problems: &mut Problems) {
        let RetentionSettings { keep, keep_rollups, rules } = &self.retention;
        self.check_keep("retention.", *keep, *keep_rollups, problems);
        for RetentionRuleSettings { metric, keep, keep_rollups } in rules {
            if metric.is_empty() {
                problems.add("retention.rules", "a rule names no metric; `*` stands for all");
            }
            self.check_keep(&format!("retention rule `{metric}`: "), *keep, *keep_rollups, problems);
        }
    }

    fn check_keep(&self, of: &str, keep: Option<Span>, keep_rollups: Option<Span>, problems: &mut Problems) {
        if let Some(keep) = keep {
            problems.span(&format!("{of}keep"), keep, HOUR, CENTURY);
        }
        let Some(rollups) = keep_rollups else { return };
        let name = format!("{of}keep_rollups");
        problems.span(&name, rollups, HOUR, CENTURY);
        match keep {
            None => problems.add(&name, "points are kept for ever; set `keep`, after which rollups answer alone"),
            Some(keep) if rollups.0 < keep.0 => {
                problems.add(&name, format!("rollups are kept at least as long as points, which is {keep}"));
            }
            Some(_) => {}
        }
        if self.rollups.intervals.is_empty() {
            problems.add(&name, "there are no rollups to keep; see `rollups.intervals`");
        }
    }

    fn check_targets(&self, problems: &mut Problems) {
        let mut names = BTreeSet::new();
        for (position, target) in self.collect.iter().enumerate() {
            let CollectTarget { name, url, every, timeout, site: _ } = target;
            let shown = if name.is_empty() { (position + 1).to_string() } else { name.clone() };
            let setting = |field: &str| format!("collect `{shown}`: {field}");
            if let Err(reason) = check_name(name) {
                problems.add(&setting("name"), format!("as the value of a tag: {reason}"));
            }
            if name.chars().count() > TARGET_NAME_MAX {
                problems.add(&setting("name"), format!("has more than {TARGET_NAME_MAX} characters"));
            }
            if !names.insert(name) {
                problems.add(&setting("name"), "is taken by an earlier target");
            }
            if let Err(reason) = web_url(url) {
                problems.add(&setting("url"), reason);
            }
            problems.span(&setting("every"), *every, SECOND, WEEK);
            problems.span(&setting("timeout"), *timeout, MILLISECOND, HOUR);
        }
    }
}

#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn add(&mut self, setting: &str, reason: impl fmt::Display) {
        self.0.push(format!("setting {setting}: {reason}"));
    }

    fn range<T: PartialOrd + fmt::Display + Copy>(&mut self, setting: &str, value: &T, least: &T, most: &T) {
        self.unless(least <= value && value <= most, setting, || (*value, *least, *most));
    }

    fn span(&mut self, setting: &str, span: Span, least: Duration, most: Duration) {
        self.unless((least..=most).contains(&span.0), setting, || (span, Span(least), Span(most)));
    }

    fn unless<T: fmt::Display>(&mut self, in_range: bool, setting: &str, of: impl FnOnce() -> (T, T, T)) {
        if !in_range {
            let (value, least, most) = of();
            self.add(setting, format!("{value} is out of range: {least} to {most}"));
        }
    }
}

fn web_url(text: &str) -> Result<(), String> {
    let shown = masked(text);
    let url = Url::parse(text).map_err(|error| format!("`{shown}` is no URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(format!("`{shown}`: expected `http://HOST` or `https://HOST`"));
    }
    Ok(())
}

/// A bare word that is no level would name a part of the program, and log everything of it and nothing else.
fn log_level(text: &str) -> Result<(), String> {
    let expected =
        "expected a level (off, error, warn, info, debug, trace) or levels by part: `info,tidemark_api=debug`";
    for word in text.split(',').map(str::trim) {
        if !word.contains('=') && !LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word)) {
            return Err(format!("`{word}` is no level: {expected}"));
        }
    }
    EnvFilter::try_new(text).map(|_| ()).map_err(|error| format!("`{text}`: {error}; {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        toml::from_str::<Settings>(text).unwrap().validate()
    }

    #[test]
    fn the_defaults_are_sound() {
        assert_eq!(Settings::default().validate(), Vec::<String>::new());
    }

    #[test]
    fn what_is_out_of_range_is_named_with_its_range() {
        let check = |text: &str, expect: &[&str]| assert_eq!(problems(text), expect, "{text}");
        check("[limits]\nqueries = 0", &["setting limits.queries: 0 is out of range: 1 to 10000"]);
        check(
            "[limits]\nqueries = 9223372036854775807",
            &["setting limits.queries: 9223372036854775807 is out of range: 1 to 10000"],
        );
        check("[limits]\nfuture = \"5m\"", &["setting limits.future: 5m is out of range: 1h to 36525d"]);
        check("[limits]\nmerge_bytes = \"1KiB\"", &["setting limits.merge_bytes: 1KiB is out of range: 1MiB to 1TiB"]);
        check("[rollups]\nintervals = []", &[]);
        check("[rollups]\nintervals = [\"5m\", \"1d\"]", &[]);
        let not_7h = "setting rollups.intervals: an interval of rollups must be whole minutes that divide a day, such as \
                      5m, 1h or 1d, got 25200s";
        check("[rollups]\nintervals = [\"7h\"]", &[not_7h]);
        check("[retention]\nkeep = \"5d\"\nkeep_rollups = \"5d\"", &[]);
        check(
            "[retention]\nkeep = \"5d\"\nkeep_rollups = \"1d\"",
            &["setting retention.keep_rollups: rollups are kept at least as long as points, which is 5d"],
        );
        check(
            "[retention]\nkeep_rollups = \"1d\"",
            &["setting retention.keep_rollups: points are kept for ever; set `keep`, after which rollups answer alone"],
        );
        check(
            "[rollups]\nintervals = []\n[[retention.rules]]\nmetric = \"a\"\nkeep = \"1d\"\nkeep_rollups = \"9d\"",
            &["setting retention rule `a`: keep_rollups: there are no rollups to keep; see `rollups.intervals`"],
        );
        check("[retention]\nkeep = \"1s\"", &["setting retention.keep: 1s is out of range: 1h to 36525d"]);
        check(
            "[[retention.rules]]\nmetric = \"cpu.*\"\nkeep = \"1m\"",
            &["setting retention rule `cpu.*`: keep: 1m is out of range: 1h to 36525d"],
        );
        check("[queue]\nlease = \"0s\"", &["setting queue.lease: 0ms is out of range: 1s to 1h"]);
        check("[limits]\nbody_bytes = \"0B\"", &["setting limits.body_bytes: 0B is out of range: 1B to 1TiB"]);
        let target = "[[collect]]\nname = \"web\"\nurl = \"http://h/\"\nevery = \"0s\"";
        check(target, &["setting collect `web`: every: 0ms is out of range: 1s to 1w"]);
    }

    #[test]
    fn what_is_no_url_zone_or_level_is_named() {
        let check = |text: &str, expect: &str| {
            let problems = problems(text);
            assert!(problems.len() == 1 && problems[0].contains(expect), "{problems:?}");
        };
        check("name = \"w 2\"", "setting name: `w 2` is no value of a tag");
        check("public_url = \"monitor\"", "setting public_url: `monitor` is no URL");
        check("public_url = \"ftp://monitor\"", "expected `http://HOST`");
        check("[agent]\nproxy = \"ftp://me:pw@h\"", "setting agent.proxy: `ftp://***@h`");
        check("[auth]\ntelnet_from = [\"office\"]", "setting auth.telnet_from: `office` is no network");
        check(
            "[auth]\ntrusted_proxies = [\"10.0.0.0/33\"]",
            "setting auth.trusted_proxies: `10.0.0.0/33` is no network",
        );
        check("[opentsdb]\ntimezone = \"Mars/Phobos\"", "`Mars/Phobos` is no time zone");
        check(
            "[opentsdb]\nallow_specialchars = \"+\\u0001\"",
            "opentsdb.allow_specialchars: `\\u{1}` can be in no name",
        );
        check("[opentsdb]\nweek_start = \"someday\"", "`someday` is no day of the week");
        check("[log]\nlevel = \"loud\"", "`loud` is no level");
        check("[log]\nlevel = \"info,tidemark_api=loud\"", "setting log.level");
        check("[[collect]]\nname = \"a b\"\nurl = \"http://h/\"", "setting collect `a b`: name");
        let twice = "[[collect]]\nname = \"a\"\nurl = \"http://h/\"\n[[collect]]\nname = \"a\"\nurl = \"http://h/\"";
        check(twice, "is taken by an earlier target");
    }
}
