//! Notifications on their way to receivers that are friendly, broken or hostile.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::let_underscore_must_use,
    reason = "a test that panics has failed"
)]

#[allow(dead_code, reason = "each test file uses its part")]
mod memory_store;
#[path = "../egress/tests/receiver/mod.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod receiver;

use std::{io::Write, sync::Arc, time::Duration};

use memory_store::{MemoryDocuments, MemoryReader};
use receiver::Receiver;
use serde_json::Value;
use tidemark_alert::{
    IncidentBook, IncidentId, Notifier, RuleSet,
    expression::ExpressionLimits,
    incident::{ActionKind, ActionRequest, DeliveryState},
    notification::{DeliveryOutcome, NotificationRequest, NotifierOptions},
    rules::RuleSetOptions,
};
use tidemark_egress::{Looking, Lookup, Url};

struct House {
    rules: RuleSet,
    book: IncidentBook,
    requests: Vec<NotificationRequest>,
}

/// A house in which something is wrong with `disk{host=a}`, and `ops` is to be told at this URL.
async fn house(url: &Url, notification: &str, rule: &str) -> House {
    let text = format!(
        "[[notification]]\nname = \"ops\"\nurl = \"{url}\"\ntimeout = \"500ms\"\n{notification}\n\
         [[rule]]\nname = \"disk\"\nnotify = \"ops\"\nwarn = '''last(q(\"sum:disk{{host=*}}\", \"1m\", \"\")) > 90'''\n{rule}"
    );
    let options =
        RuleSetOptions { public_url: Some("https://tidemark.example.com/".parse().unwrap()), ..Default::default() };
    let rules = RuleSet::from_files(vec![("test.toml".into(), text)], options).unwrap();
    let reader = MemoryReader::default();
    reader.put("disk", &[("host", "a")], 1000, 95.0);
    let book = IncidentBook::new(Arc::new(MemoryDocuments::default()));
    let evaluation = rules.rule("disk").unwrap().evaluate(&reader, 1_000_000, ExpressionLimits::default()).await;
    let requests = book.apply(&rules, "disk", &evaluation).await.unwrap();
    House { rules, book, requests }
}

const ALLOWED: &str = "private_addresses = \"allow\"";

async fn deliver(receiver: &Receiver) -> DeliveryOutcome {
    let house = house(&receiver.url("/hook/secret"), ALLOWED, "").await;
    let notifier = Notifier::new(&NotifierOptions::default()).unwrap();
    notifier.deliver(&house.rules, &house.requests[0]).await
}

#[tokio::test]
async fn a_receiver_gets_the_incident_as_json_and_the_same_delivery_id_each_time() {
    let receiver = Receiver::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let house = house(
        &receiver.url("/hook"),
        &format!("{ALLOWED}\nheaders = {{ X-Key = \"k\" }}"),
        "subject = \"{{ tags.host }} is \\\"full\\\"\"\nlabels = { team = \"db\" }",
    )
    .await;
    let notifier = Notifier::new(&NotifierOptions::default()).unwrap();
    let carried = NotificationRequest::decode(&house.requests[0].encode().unwrap()).unwrap();
    assert_eq!(carried, house.requests[0]);
    for _ in 0..2 {
        assert_eq!(notifier.deliver(&house.rules, &carried).await, DeliveryOutcome::Delivered);
    }
    let sent = receiver.requests();
    for request in &sent {
        let head = request.to_lowercase();
        assert!(head.contains("tidemark-delivery: 1-1\r\n") && head.contains("x-key: k\r\n"), "{request}");
        assert!(head.contains("content-type: application/json\r\n"), "{request}");
    }
    let body: Value = serde_json::from_str(sent[0].split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(body["subject"], "a is \"full\"");
    assert_eq!((&body["status"], &body["reason"], &body["value"]), (&"warning".into(), &"warning".into(), &1.0.into()));
    assert_eq!((&body["tags"]["host"], &body["labels"]["team"]), (&"a".into(), &"db".into()));
    assert_eq!(body["url"], "https://tidemark.example.com/incidents/1");
    assert_eq!(body["computations"][0]["text"], "last(q(\"sum:disk{host=a}\", \"1m\", \"\"))");
}

#[tokio::test]
async fn templates_make_subject_and_body() {
    let receiver = Receiver::answering("HTTP/1.1 204 No Content\r\n\r\n");
    let notification = format!("{ALLOWED}\nbody = '''{{\"text\": {{{{ subject }}}}, \"more\": {{{{ body }}}}}}'''");
    let rule = "vars = { limit = \"90\" }\nsubject = '''disk of {{ tags.host }} \"full\"'''\nbody = '''above {{ vars.limit }}: {{ reason }}'''";
    let house = house(&receiver.url("/"), &notification, rule).await;
    let notifier = Notifier::new(&NotifierOptions::default()).unwrap();
    assert_eq!(notifier.deliver(&house.rules, &house.requests[0]).await, DeliveryOutcome::Delivered);
    let sent = receiver.requests().remove(0);
    let body: Value = serde_json::from_str(sent.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(body, serde_json::json!({"text": "disk of a \"full\"", "more": "above 90: warning"}));
}

#[tokio::test]
async fn what_may_succeed_later_is_tried_again_and_the_rest_is_not() {
    let check = async |status: &str, expect: &str| {
        let receiver = Receiver::answering(&format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"));
        let outcome = match deliver(&receiver).await {
            DeliveryOutcome::Delivered => "delivered".to_owned(),
            DeliveryOutcome::Retry { after, .. } => format!("retry {}", after.unwrap_or_default().as_secs()),
            DeliveryOutcome::Failed { reason } => reason,
        };
        assert_eq!(outcome, expect, "{status}");
    };
    check("200 OK", "delivered").await;
    check("500 Oops", "retry 0").await;
    check("503 Later\r\nRetry-After: 90", "retry 90").await;
    check("429 Slowly\r\nRetry-After: 999999", "retry 3600").await;
    check("429 Slowly\r\nRetry-After: Fri, 31 Dec 1999 23:59:59 GMT", "retry 0").await;
    check("404 Gone", "the receiver answered 404 Not Found").await;
    check("302 Found\r\nLocation: http://127.0.0.1:1/", "the receiver answered 302 Found").await;
}

#[tokio::test]
async fn a_hostile_receiver_costs_a_bounded_time_and_tells_no_secret() {
    let never = Receiver::behaving(|_| std::thread::park_timeout(Duration::from_secs(20)));
    let endless = Receiver::behaving(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 500 No\r\n\r\n");
        while stream.write_all(&[b'x'; 8192]).is_ok() {}
    });
    let reset = Receiver::behaving(|_| {});
    for receiver in [&never, &endless, &reset] {
        match deliver(receiver).await {
            DeliveryOutcome::Retry { reason, after: None } => assert!(!reason.contains("secret"), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
}

struct Inside;

impl Lookup for Inside {
    fn lookup(&self, _: &str) -> Looking {
        Box::pin(async { Ok(vec!["127.0.0.1".parse().unwrap()]) })
    }
}

#[tokio::test]
async fn a_name_that_leads_inside_is_refused_when_it_is_used() {
    let canary = Receiver::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let url = format!("http://hooks.example.com:{}/x", canary.address().port()).parse().unwrap();
    let house = house(&url, "", "").await;
    let notifier = Notifier::new(&NotifierOptions { lookup: Arc::new(Inside), ..NotifierOptions::default() }).unwrap();
    let outcome = notifier.deliver(&house.rules, &house.requests[0]).await;
    assert!(matches!(&outcome, DeliveryOutcome::Failed { reason } if reason.contains("loopback")), "{outcome:?}");
    assert_eq!(canary.connections(), 0);
}

#[tokio::test]
async fn what_became_of_a_delivery_is_seen_on_the_incident() {
    let url: Url = "https://hooks.example.com/".parse().unwrap();
    let house = house(&url, "", "").await;
    let request = &house.requests[0];
    let state = async || house.book.get(IncidentId(1)).await.unwrap().unwrap().deliveries[0].clone();
    assert_eq!(state().await.state, DeliveryState::Requested);
    house.book.mark_queued(&house.requests).await.unwrap();
    assert_eq!(state().await.state, DeliveryState::Queued);
    let retry = DeliveryOutcome::Retry { reason: "down".into(), after: None };
    house.book.record_delivery(request, &retry, false, 5).await.unwrap();
    assert_eq!(state().await.state, DeliveryState::Retrying { at: 5, reason: "down".into() });
    house.book.record_delivery(request, &retry, true, 6).await.unwrap();
    assert_eq!(state().await.state, DeliveryState::Failed { at: 6, reason: "down".into() });
    house.book.record_delivery(request, &DeliveryOutcome::Delivered, false, 7).await.unwrap();
    assert_eq!((state().await.attempts, state().await.state.is_final()), (2, true), "final is final");
}

#[tokio::test]
async fn a_notification_tells_only_of_the_actions_it_names() {
    let url: Url = "https://hooks.example.com/".parse().unwrap();
    let house = house(&url, "on_actions = [\"force_close\"]", "").await;
    let act = async |kind| {
        let request = ActionRequest { kind, user: "ann".into(), message: "on it".into(), deadline: None };
        house.book.act(&house.rules, IncidentId(1), &request, 2_000_000).await.unwrap().0
    };
    house.book.mark_queued(&house.requests).await.unwrap();
    assert_eq!(act(ActionKind::Acknowledge).await, []);
    assert_eq!(act(ActionKind::Note).await, []);
    let told = act(ActionKind::ForceClose).await;
    assert_eq!((told.len(), told[0].user.as_str(), told[0].message.as_str()), (1, "ann", "on it"));
}

#[test]
fn bytes_that_are_no_request_are_refused() {
    assert!(NotificationRequest::decode(&[]).is_err());
    assert!(NotificationRequest::decode(&[2, 1, 2]).unwrap_err().to_string().contains("version 2"));
    assert!(NotificationRequest::decode(&[1, 0x91, 5]).is_err());
}
