//! Rule files: what is read, and what is said about mistakes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test that panics has failed")]

#[allow(dead_code, reason = "each test file uses its part")]
mod memory_store;

use std::time::Duration;

use memory_store::MemoryReader;
use proptest::prelude::*;
use tidemark_alert::{RuleSet, Status, expression::ExpressionLimits, rules::RuleSetOptions};

fn load(text: &str) -> Result<RuleSet, Vec<String>> {
    let files = vec![("alerts.toml".to_owned(), text.to_owned())];
    RuleSet::from_files(files, RuleSetOptions::default())
        .map_err(|errors| errors.0.iter().map(ToString::to_string).collect())
}

#[test]
fn the_example_of_the_documentation_is_read() {
    let documentation = include_str!("../docs/rules.md");
    let example = documentation.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let rules = load(example).expect("the example");
    let rule = rules.rule("queue_stuck").expect("the rule of the example");
    assert_eq!((rule.every, rule.hold), (Duration::from_secs(30), Duration::from_secs(120)));
    assert_eq!(rule.notify.of(Status::Critical), ["ops", "pager"]);
    assert_eq!(rule.notify.of(Status::Unknown), ["ops", "pager"]);
    assert_eq!(rule.notify.of(Status::Warning), ["ops"]);
    let shown = format!("{:?}", rules.notification("ops").unwrap());
    assert!(!shown.contains("T024") && !shown.contains("Bearer"), "{shown}");
}

#[test]
fn a_mistake_is_told_with_its_place_and_a_way_out() {
    let check = |text: &str, expect: &[&str]| assert_eq!(load(text).unwrap_err(), expect, "{text}");
    check(
        "[[rule]]\nname = \"a\"\nwarn = \"1\"\nfor_ = \"5m\"\nnotfy = \"x\"",
        &[
            "rule file `alerts.toml`, line 4, rule `a`, `for_`: no such field; did you mean `for`?",
            "rule file `alerts.toml`, line 5, rule `a`, `notfy`: no such field; did you mean `notify`?",
        ],
    );
    check(
        "[[rule]]\nname = \"a\"\nwarn = \"1\"\nevery = \"15s\"\nfor = \"5s\"",
        &["rule file `alerts.toml`, line 5, rule `a`, `for`: must be at least one evaluation interval (15s), got 5s"],
    );
    check(
        "[[rule]]\nname = \"a\"\n\nwarn = \"avg(1)\"",
        &[
            "rule file `alerts.toml`, line 4, rule `a`, `warn`: line 1, column 5: argument 1 of `avg`: expected series, got scalar in `avg(1)`",
        ],
    );
    check("[[rule]]\nname = \"a\"", &["rule file `alerts.toml`, line 1, rule `a`: a rule needs `warn` or `crit`"]);
    check("[[rule]]\nwarn = \"1\"", &["rule file `alerts.toml`, line 1, rule `?`, `name`: a name is missing"]);
    check(
        "[[rule]]\nname = \"a b\"\nwarn = \"1\"",
        &[
            "rule file `alerts.toml`, line 2, rule `a b`, `name`: must be 1 to 100 bytes of letters, digits, `_`, `-` and `.`",
        ],
    );
    check(
        "[[rule]]\nname = \"a\"\nwarn = 5",
        &["rule file `alerts.toml`, line 3, rule `a`, `warn`: expected a string, got a value of type integer"],
    );
    check(
        "[[rule]]\nname = \"a\"\nwarn = \"$x > 1\"",
        &["rule file `alerts.toml`, line 3, rule `a`, `warn`: unknown variable `$x`"],
    );
    check(
        "[[rule]]\nname = \"a\"\nwarn = '''q(\"sum:m\", \"1m\", \"\")'''",
        &[
            "rule file `alerts.toml`, line 3, rule `a`, `warn`: must yield a number or a scalar, got series; reduce it, for example with `avg`",
        ],
    );
    check(
        "[[rule]]\nname = \"a\"\nwarn = \"1\"\nnotify = [\"opps\"]\n[[notification]]\nname = \"ops\"\nurl = \"https://example.com/\"",
        &["rule file `alerts.toml`, line 1, rule `a`, `notify`: no such notification: `opps`; did you mean `ops`?"],
    );
    check(
        "[[rule]]\nname = \"a\"\nwarn = \"1\"\nunknown = \"maybe\"",
        &[
            "rule file `alerts.toml`, line 4, rule `a`, `unknown`: expected `incident` or `normal` or `ignore`, got `maybe`",
        ],
    );
    check(
        "[[rule]]\nname = \"a\"\nwarn = \"1\"\nsubject = \"{{ tags.hots }}\"",
        &[
            "rule file `alerts.toml`, line 1, rule `a`, `subject`: on an example: line 1: undefined value: `tags.hots` is undefined",
        ],
    );
    check(
        "[[rule]]\nname = \"a\"\nwarn = \"1\"\nbody = \"{% set x = 1 %}\"",
        &[
            "rule file `alerts.toml`, line 4, rule `a`, `body`: line 1: `set` is not allowed; statements are if, elif, else, endif, for, endfor",
        ],
    );
    check(
        "[[rule]]\nname = \"a\"\nwarn = \"1\"\n\n[[rule]]\nname = \"a\"\nwarn = \"1\"",
        &["rule file `alerts.toml`, line 5, rule `a`, `name`: the name is taken by the rule in `alerts.toml`, line 1"],
    );
    check(
        "[[rules]]\nname = \"a\"",
        &["rule file `alerts.toml`, line 1: no such section: `rules`; did you mean `[[rule]]`?"],
    );
    check("rule = 5", &["rule file `alerts.toml`, line 1: `rule` must be written as `[[rule]]`"]);
    assert!(load("[[rule]\nname").unwrap_err()[0].starts_with("rule file `alerts.toml`, line 1: "));
    let both = "[[rule]]\nname = \"a\"\nwarn = '''avg(q(\"sum:m{host=*}\", \"1m\", \"\"))'''\ncrit = '''avg(q(\"sum:m{disk=*}\", \"1m\", \"\"))'''";
    assert!(load(both).unwrap_err()[0].contains("they must be equal"));
}

#[test]
fn a_notification_that_leads_inside_is_refused_when_it_is_loaded() {
    let notification = |more: &str| load(&format!("[[notification]]\nname = \"n\"\n{more}"));
    let errors = notification("url = \"http://169.254.169.254/latest\"").unwrap_err();
    assert_eq!(
        errors,
        ["rule file `alerts.toml`, line 3, notification `n`, `url`: host `169.254.169.254` is the link-local address \
         169.254.169.254, and only public addresses may be reached; see `private_addresses`"]
    );
    assert!(notification("url = \"http://127.0.0.1/\"\nprivate_addresses = \"allow\"").is_ok());
    assert!(notification("url = \"ftp://example.com/\"\nprivate_addresses = \"allow\"").is_err());
    assert!(notification("url = \"https://example.com/\"\nheaders = { Host = \"x\" }").is_err());
    assert!(notification("url = \"https://example.com/\"\nheaders = { \"X-A\" = \"a\\nb\" }").is_err());
    assert!(notification("url = \"https://example.com/\"\ntimeout = \"5m\"").is_err());
    let errors = notification("url = \"https://example.com/\"\non_actions = [\"clse\"]").unwrap_err();
    assert!(errors[0].ends_with("no such action: `clse`; did you mean `close`?"), "{errors:?}");
}

#[test]
fn a_folder_is_read_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("a.toml", "[[rule]]\nname = \"a\"\nwarn = \"1\"\nnotify = \"ops\"");
    write("b.toml", "[[notification]]\nname = \"ops\"\nurl = \"https://example.com/\"");
    write("notes.txt", "not a rule");
    let rules = RuleSet::load(folder.path(), RuleSetOptions::default()).unwrap();
    let names: Vec<_> = rules.rules().map(|rule| rule.name.as_str()).collect();
    assert_eq!(names, ["a", "disk_almost_full", "host_silent", "memory_almost_gone"]);
    write("c.toml", "[[rule]]\nname = \"host_silent\"\nenabled = false");
    let rules = RuleSet::load(folder.path(), RuleSetOptions::default()).unwrap();
    assert!(!rules.rule("host_silent").unwrap().enabled);
    write("d.toml", "[[rule]]\nname = \"d\"\nwarn = \"(\"");
    write("e.toml", "[[rule]]\nname = \"e\"\nwarn = \")\"");
    let errors = RuleSet::load(folder.path(), RuleSetOptions::default()).unwrap_err();
    assert_eq!(errors.0.len(), 2, "{errors}");
    let missing = RuleSet::load(&folder.path().join("none"), RuleSetOptions::default()).unwrap();
    assert_eq!(missing.rules().count(), 3);
}

async fn status_of(rules: &RuleSet, rule: &str, reader: &MemoryReader, now: i64) -> Vec<(String, Status)> {
    let evaluation = rules.rule(rule).unwrap().evaluate(reader, now * 1000, ExpressionLimits::default()).await;
    evaluation.result.unwrap().into_iter().map(|(group, observation)| (group.to_string(), observation.status)).collect()
}

#[tokio::test]
async fn the_built_in_rules_watch_the_agents_metrics() {
    let rules = RuleSet::built_in(RuleSetOptions::default()).unwrap();
    let reader = MemoryReader::default();
    for rule in ["disk_almost_full", "memory_almost_gone", "host_silent"] {
        assert_eq!(status_of(&rules, rule, &reader, 10_000).await, [], "{rule} is quiet without any data");
    }
    for stamp in (8000..=10_000).step_by(10) {
        for (disk, free) in [("/", 50.0), ("/var", 8.0), ("/tmp", 1.0)] {
            reader.put("os.disk.fs.percent_free", &[("host", "a"), ("disk", disk)], stamp, free);
        }
        reader.put("os.mem.percent_free", &[("host", "a")], stamp, 2.0);
        reader.put("os.mem.percent_free", &[("host", "b")], stamp, 40.0);
        reader.put("os.cpu", &[("host", "a")], stamp, 7.0);
        if stamp < 9500 {
            reader.put("os.cpu", &[("host", "b")], stamp, 7.0);
        }
    }
    let pairs =
        |pairs: &[(&str, Status)]| pairs.iter().map(|(key, status)| ((*key).to_owned(), *status)).collect::<Vec<_>>();
    assert_eq!(
        status_of(&rules, "disk_almost_full", &reader, 10_000).await,
        pairs(&[
            ("{disk=/,host=a}", Status::Normal),
            ("{disk=/tmp,host=a}", Status::Critical),
            ("{disk=/var,host=a}", Status::Warning)
        ])
    );
    assert_eq!(
        status_of(&rules, "memory_almost_gone", &reader, 10_000).await,
        pairs(&[("{host=a}", Status::Warning), ("{host=b}", Status::Normal)])
    );
    assert_eq!(
        status_of(&rules, "host_silent", &reader, 10_000).await,
        pairs(&[("{host=a}", Status::Normal), ("{host=b}", Status::Warning)])
    );
}

#[tokio::test]
async fn nan_triggers_unless_the_rule_says_otherwise() {
    let rule = "[[rule]]\nname = \"a\"\nwarn = '''avg(series(\"host=a\", 0, 0/0)) > 1'''\n";
    let reader = MemoryReader::default();
    let warned = status_of(&load(rule).unwrap(), "a", &reader, 100).await;
    assert_eq!(warned, [("{host=a}".to_owned(), Status::Warning)]);
    let normal = status_of(&load(&format!("{rule}nan = \"normal\"")).unwrap(), "a", &reader, 100).await;
    assert_eq!(normal, [("{host=a}".to_owned(), Status::Normal)]);
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,80}") {
        drop(load(&text));
    }

    #[test]
    fn no_heap_of_lines_makes_the_reader_panic(lines in proptest::collection::vec(proptest::sample::select(vec![
        "[[rule]]", "[[notification]]", "name = \"a\"", "name = 5", "warn = \"1 > 0\"", "crit = \"$x\"", "vars = { x = \"1\" }",
        "url = \"https://example.com\"", "notify = [\"a\"]", "notify = [5]", "every = \"1x\"", "for = \"10m\"", "[rule.vars]", "[rule]", "body = \"{{ x }}\"",
    ]), 0..12)) {
        drop(load(&lines.join("\n")));
    }
}
