//! Rules, points and what becomes of them, as scripts that people can read.
//!
//! A line is a moment: what is measured then (`cpu{host=a} 95`, or `-` for nothing), or what somebody does
//! (`act close 1`); and behind the arrow the incidents that are open afterwards and whom to tell.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test that panics has failed")]

#[allow(dead_code, reason = "each test file uses its part")]
mod memory_store;

use std::sync::Arc;

use memory_store::{MemoryDocuments, MemoryReader};
use tidemark_alert::{
    IncidentBook, IncidentId, RuleSet,
    expression::{ExpressionLimits, Group, parse_duration},
    incident::{ActionKind, ActionRequest, NotifyReason},
    notification::NotificationRequest,
    rules::RuleSetOptions,
};

const OPS: &str = "[[notification]]\nname = \"ops\"\nurl = \"https://hooks.example.com/x\"\n";

struct Script {
    rules: RuleSet,
    reader: MemoryReader,
    documents: Arc<MemoryDocuments>,
    book: IncidentBook,
}

impl Script {
    fn new(rule: &str) -> Self {
        let text = format!("{OPS}[[rule]]\nname = \"cpu\"\nevery = \"1m\"\nnotify = \"ops\"\n{rule}");
        let rules = RuleSet::from_files(vec![("test.toml".into(), text)], RuleSetOptions::default()).expect("rules");
        let documents = Arc::new(MemoryDocuments::default());
        Self { rules, reader: MemoryReader::default(), book: IncidentBook::new(documents.clone()), documents }
    }

    async fn run(&self, script: &str) {
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (step, expect) = line.split_once("->").expect("an arrow");
            let (moment, what) = step.trim().split_once(' ').expect("a moment");
            let at = i64::try_from(parse_duration(moment).unwrap().as_millis()).unwrap() + 1_000_000_000;
            let told = if what.trim().starts_with("act ") {
                self.act(what.trim(), at).await
            } else {
                self.check(what, at).await
            };
            assert_eq!(self.describe(told).await, expect.trim(), "after `{}`", step.trim());
        }
    }

    async fn check(&self, points: &str, at: i64) -> Vec<NotificationRequest> {
        for point in points.split('|').map(str::trim).filter(|point| *point != "-") {
            let (series, value) = point.split_once(' ').expect("a value");
            let (metric, tags) = series.split_once('{').expect("tags");
            let group = Group::parse(tags.trim_end_matches('}')).unwrap();
            self.reader.put(metric, &group.iter().collect::<Vec<_>>(), at / 1000, value.trim().parse().unwrap());
        }
        let rule = self.rules.rule("cpu").unwrap();
        let evaluation = rule.evaluate(&self.reader, at, ExpressionLimits::default()).await;
        let told = self.book.apply(&self.rules, "cpu", &evaluation).await.unwrap();
        // The same job once more: nothing moves, and what is not queued yet is returned again.
        assert_eq!(self.book.apply(&self.rules, "cpu", &evaluation).await.unwrap(), told);
        self.book.mark_queued(&told).await.unwrap();
        assert_eq!(self.book.apply(&self.rules, "cpu", &evaluation).await.unwrap(), []);
        told
    }

    async fn act(&self, what: &str, at: i64) -> Vec<NotificationRequest> {
        let words: Vec<_> = what.split_whitespace().collect();
        let kind = ActionKind::from_name(words[1]).expect("an action");
        let request = ActionRequest { kind, user: "ann".into(), message: "script".into(), deadline: None };
        let id: IncidentId = words[2].parse().unwrap();
        let (told, _) = self.book.act(&self.rules, id, &request, at).await.unwrap();
        self.book.mark_queued(&told).await.unwrap();
        told
    }

    async fn describe(&self, told: Vec<NotificationRequest>) -> String {
        let mut parts: Vec<String> = Vec::new();
        let mut open = self.book.open().await.unwrap();
        open.reverse();
        for incident in open {
            let mark = if incident.needs_acknowledgement { "!" } else { "" };
            parts.push(format!("#{}{} {}{mark}", incident.id, incident.tags, incident.status));
        }
        for request in told {
            let reason = match request.reason {
                NotifyReason::Status(status) => status.as_str(),
                NotifyReason::Action(kind) => kind.as_str(),
            };
            parts.push(format!("tell {} {reason} of #{}", request.notification, request.incident.id));
        }
        if parts.is_empty() { "quiet".to_owned() } else { parts.join(", ") }
    }
}

const THRESHOLDS: &str = r#"
warn = "last(q(\"sum:cpu{host=*}\", \"1m\", \"\")) > 50"
crit = "last(q(\"sum:cpu{host=*}\", \"1m\", \"\")) > 90"
"#;

#[tokio::test]
async fn an_incident_opens_becomes_worse_and_stays_open_until_it_is_closed() {
    Script::new(THRESHOLDS)
        .run(
            "0m   cpu{host=a} 10 | cpu{host=b} 5   -> quiet
             1m   cpu{host=a} 60 | cpu{host=b} 5   -> #1{host=a} warning!, tell ops warning of #1
             2m   cpu{host=a} 10 | cpu{host=b} 5   -> #1{host=a} normal!
             3m   cpu{host=a} 60 | cpu{host=b} 5   -> #1{host=a} warning!
             4m   cpu{host=a} 10 | cpu{host=b} 5   -> #1{host=a} normal!
             5m   cpu{host=a} 95 | cpu{host=b} 99  -> #1{host=a} critical!, #2{host=b} critical!, tell ops critical of #1, tell ops critical of #2
             6m   cpu{host=a} 60 | cpu{host=b} 99  -> #1{host=a} warning!, #2{host=b} critical!
             7m   cpu{host=a} 95 | cpu{host=b} 99  -> #1{host=a} critical!, #2{host=b} critical!
             7m   act acknowledge 2                -> #1{host=a} critical!, #2{host=b} critical, tell ops acknowledge of #2
             8m   cpu{host=a} 1  | cpu{host=b} 99  -> #1{host=a} normal!, #2{host=b} critical
             8m   act close 1                      -> #2{host=b} critical, tell ops close of #1
             8m   act close 2                      -> #2{host=b} critical, tell ops delayed_close of #2
             9m   cpu{host=a} 60 | cpu{host=b} 99  -> #2{host=b} critical, #3{host=a} warning!, tell ops warning of #3
             10m  cpu{host=a} 60 | cpu{host=b} 99  -> #3{host=a} warning!, tell ops force_close of #2
             11m  cpu{host=a} 60 | cpu{host=b} 99  -> #3{host=a} warning!, #4{host=b} critical!, tell ops critical of #4",
        )
        .await;
}

#[tokio::test]
async fn a_condition_must_hold_before_it_counts() {
    let rule = format!("for = \"2m\"\n{THRESHOLDS}");
    Script::new(&rule)
        .run(
            "0m  cpu{host=a} 60 -> quiet
             1m  cpu{host=a} 60 -> quiet
             2m  cpu{host=a} 60 -> #1{host=a} warning!, tell ops warning of #1
             3m  cpu{host=a} 95 -> #1{host=a} warning!
             4m  cpu{host=a} 95 -> #1{host=a} warning!
             5m  cpu{host=a} 95 -> #1{host=a} critical!, tell ops critical of #1
             6m  cpu{host=a} 10 -> #1{host=a} normal!
             7m  cpu{host=a} 60 -> #1{host=a} normal!
             8m  cpu{host=a} 10 -> #1{host=a} normal!
             9m  cpu{host=a} 60 -> #1{host=a} normal!",
        )
        .await;
}

#[tokio::test]
async fn a_key_that_falls_silent_becomes_unknown_and_can_be_forgotten() {
    let script = Script::new(&format!("unknown_after = \"3m\"\n{THRESHOLDS}"));
    script
        .run(
            "0m   cpu{host=a} 10 | cpu{host=b} 5  -> quiet
             1m   cpu{host=a} 10 | cpu{host=b} 5  -> quiet
             2m   cpu{host=a} 10 | cpu{host=b} 5  -> quiet
             3m   cpu{host=a} 10                  -> quiet
             5m   cpu{host=a} 10                  -> quiet
             6m   cpu{host=a} 10                  -> #1{host=b} unknown!, tell ops unknown of #1
             7m   cpu{host=a} 10                  -> #1{host=b} unknown!
             7m   act forget 1                    -> quiet
             8m   cpu{host=a} 10                  -> quiet
             20m  cpu{host=a} 10                  -> quiet",
        )
        .await;
    assert_eq!(script.documents.count("alert.incidents"), 0);
    assert_eq!(script.documents.count("alert.keys"), 0);
}

#[tokio::test]
async fn silence_means_nothing_right_after_nobody_listened() {
    Script::new(&format!("unknown_after = \"3m\"\n{THRESHOLDS}"))
        .run(
            "0m    cpu{host=a} 10 | cpu{host=b} 5  -> quiet
             60m   cpu{host=a} 10                  -> quiet
             62m   cpu{host=a} 10                  -> quiet
             63m   cpu{host=a} 10                  -> #1{host=b} unknown!, tell ops unknown of #1",
        )
        .await;
}

#[tokio::test]
async fn silence_can_be_ignored_or_be_normal() {
    let script = |status: &str| {
        format!(
            "0m  cpu{{host=a}} 60 -> #1{{host=a}} warning!, tell ops warning of #1
             1m  - -> #1{{host=a}} warning!
             4m  - -> #1{{host=a}} {status}!
             6m  - -> #1{{host=a}} {status}!"
        )
    };
    Script::new(&format!("unknown = \"ignore\"\n{THRESHOLDS}")).run(&script("warning")).await;
    Script::new(&format!("unknown = \"normal\"\n{THRESHOLDS}")).run(&script("normal")).await;
}

#[tokio::test]
async fn an_incident_may_close_by_itself() {
    Script::new(&format!("close_after = \"3m\"\n{THRESHOLDS}"))
        .run(
            "0m  cpu{host=a} 60 -> #1{host=a} warning!, tell ops warning of #1
             1m  cpu{host=a} 10 -> #1{host=a} normal!
             2m  cpu{host=a} 60 -> #1{host=a} warning!
             3m  cpu{host=a} 10 -> #1{host=a} normal!
             5m  cpu{host=a} 10 -> #1{host=a} normal!
             6m  cpu{host=a} 10 -> tell ops close of #1
             7m  cpu{host=a} 60 -> #2{host=a} warning!, tell ops warning of #2",
        )
        .await;
}

#[tokio::test]
async fn a_failing_rule_moves_no_incident_and_says_why() {
    let script = Script::new(THRESHOLDS);
    script.run("0m cpu{host=a} 60 -> #1{host=a} warning!, tell ops warning of #1").await;
    script.reader.set_broken(true);
    script.run("1m - -> #1{host=a} warning!\n2m - -> #1{host=a} warning!\n9m - -> #1{host=a} warning!").await;
    let states = script.book.rule_states(&script.rules).await.unwrap();
    let state = states.iter().find(|state| state.rule == "cpu").unwrap();
    let failing = state.failing.as_ref().unwrap();
    assert_eq!(failing.count, 3);
    assert!(
        failing.reason.contains("`crit`: line 1, column 6: sum:cpu{host=*}: the store is unavailable"),
        "{failing:?}"
    );
    script.reader.set_broken(false);
    script.run("10m cpu{host=a} 95 -> #1{host=a} critical!, tell ops critical of #1").await;
    let states = script.book.rule_states(&script.rules).await.unwrap();
    let state = states.iter().find(|state| state.rule == "cpu").unwrap();
    assert_eq!((state.failing.as_ref(), state.keys.get("critical")), (None, Some(&1)));
}

#[tokio::test]
async fn a_clock_that_was_wrong_for_a_moment_does_not_hold_alerting_up() {
    Script::new(&format!("for = \"1m\"\nunknown = \"ignore\"\n{THRESHOLDS}"))
        .run(
            "9999h  cpu{host=a} 60 | cpu{host=b} 1 -> quiet
             0m     cpu{host=a} 60 | cpu{host=b} 1 -> quiet
             1m     cpu{host=a} 60 | cpu{host=b} 1 -> #1{host=a} warning!, tell ops warning of #1
             9999h  cpu{host=a} 95                 -> #1{host=a} warning!
             2m     cpu{host=a} 95                 -> #1{host=a} warning!
             3m     cpu{host=a} 95                 -> #1{host=a} critical!, tell ops critical of #1
             4m     cpu{host=a} 10                 -> #1{host=a} normal!",
        )
        .await;
}

#[tokio::test]
async fn incidents_of_one_key_know_each_other_and_can_be_listed() {
    let script = Script::new(THRESHOLDS);
    script
        .run(
            "0m  cpu{host=a} 60 -> #1{host=a} warning!, tell ops warning of #1
             1m  act force_close 1 -> tell ops force_close of #1
             2m  cpu{host=a} 95 | cpu{host=b} 60 -> #2{host=a} critical!, #3{host=b} warning!, tell ops critical of #2, tell ops warning of #3",
        )
        .await;
    let first = script.book.get(IncidentId(1)).await.unwrap().unwrap();
    let second = script.book.get(IncidentId(2)).await.unwrap().unwrap();
    assert_eq!((first.next, second.previous.clone()), (Some(IncidentId(2)), vec![IncidentId(1)]));
    assert_eq!(second.subject, "critical: cpu{host=a}");
    assert_eq!(
        (second.value, second.expression.as_str()),
        (Some(1.0), "last(q(\"sum:cpu{host=a}\", \"1m\", \"\")) > 90")
    );
    let filter = tidemark_alert::book::IncidentFilter::default();
    let page = script.book.list(&filter, 2).await.unwrap();
    assert_eq!(page.incidents.iter().map(|incident| incident.id.0).collect::<Vec<_>>(), [3, 2]);
    let next = tidemark_alert::book::IncidentFilter { before: page.next, ..filter.clone() };
    let page = script.book.list(&next, 2).await.unwrap();
    assert_eq!((page.incidents.len(), page.incidents[0].id, page.next), (1, IncidentId(1), None));
    let by_tag =
        tidemark_alert::book::IncidentFilter { tag: Some(("host".into(), "a".into())), open: Some(true), ..filter };
    assert_eq!(script.book.list(&by_tag, 9).await.unwrap().incidents.len(), 1);
    let without = RuleSet::built_in(RuleSetOptions::default()).unwrap();
    assert_eq!(script.book.close_orphans(&without, 2_000_000_000).await.unwrap(), 2);
    assert_eq!(script.book.open().await.unwrap(), []);
}

#[tokio::test]
async fn two_evaluators_at_once_open_one_incident() {
    let script = Script::new(THRESHOLDS);
    for minute in 0..30 {
        let at = 1_000_000_000 + minute * 60_000;
        let value = if minute % 3 == 0 { 95.0 } else { 10.0 };
        for host in ["a", "b", "c"] {
            script.reader.put("cpu", &[("host", host)], at / 1000, value);
        }
        let rule = script.rules.rule("cpu").unwrap();
        let evaluation = rule.evaluate(&script.reader, at, ExpressionLimits::default()).await;
        let other = script.book.clone();
        let (left, right) = tokio::join!(
            script.book.apply(&script.rules, "cpu", &evaluation),
            other.apply(&script.rules, "cpu", &evaluation)
        );
        left.unwrap();
        right.unwrap();
        let open = script.book.open().await.unwrap();
        let mut keys: Vec<_> = open.iter().map(|incident| incident.key.clone()).collect();
        keys.sort();
        keys.dedup();
        assert_eq!((open.len(), keys.len()), (3, 3));
        if minute % 3 == 2 {
            let request =
                ActionRequest { kind: ActionKind::Close, user: "ann".into(), message: String::new(), deadline: None };
            for incident in open {
                script.book.act(&script.rules, incident.id, &request, at).await.unwrap();
            }
            assert_eq!(script.book.open().await.unwrap(), []);
        }
    }
    let all = script.book.list(&tidemark_alert::book::IncidentFilter::default(), 1000).await.unwrap();
    assert_eq!(all.incidents.len(), 30);
    let ids: Vec<_> = all
        .incidents
        .iter()
        .flat_map(|incident| incident.deliveries.iter().map(|delivery| delivery.id.clone()))
        .collect();
    assert_eq!(ids.len(), 60, "one for each opening and each close");
}
