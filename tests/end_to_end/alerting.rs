//! A rule from a file, from the first bad point to the closed incident.

use std::{
    fs,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use tidemark_tests::{Client, Node, NodeOptions, Receiver, RedisServer, wait_for};

/// The rule of the test, between others: the built-in ones come before it, this one after.
const RULE: &str = r#"
[[rule]]
name = "z.quiet"
warn = 'max(q("sum:alert.depth{queue=*}", "5m", "")) < 0'
every = "1s"
missing_metric = "no_data"

[[rule]]
name = "queue.deep"
warn = 'last(q("sum:alert.depth{queue=*}", "5m", "")) > 10'
crit = 'last(q("sum:alert.depth{queue=*}", "5m", "")) > 100'
every = "1s"
missing_metric = "no_data"
notify = ["ops"]
subject = "{{ tags.queue }} is {{ status }}"

[[notification]]
name = "ops"
url = "RECEIVER"
private_addresses = "allow"
body = '{"text": {{ subject }}}'
"#;

#[test]
fn an_incident_opens_worsens_is_acknowledged_and_closed() {
    let receiver = Receiver::start(&[503]);
    let rules = rules(&receiver);
    let node = Node::start(&node(&rules));
    one_life(&node.client(), &receiver);
}

#[test]
fn the_same_happens_through_redis() {
    let (receiver, redis) = (Receiver::start(&[]), RedisServer::start());
    let rules = rules(&receiver);
    let node = Node::start(&node(&rules).arguments(&["--broker", &redis.url()]));
    one_life(&node.client(), &receiver);
}

fn rules(receiver: &Receiver) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("queue.toml"), RULE.replace("RECEIVER", &receiver.url())).unwrap();
    folder
}

fn node(rules: &tempfile::TempDir) -> NodeOptions {
    NodeOptions::without_agent().variable("TIDEMARK_ALERT__RULES", &rules.path().display().to_string())
}

fn one_life(client: &Client, receiver: &Receiver) {
    put(client, 50);
    let incident = wait_for_status(client, "warning");
    assert_eq!(incident["subject"], "mail is warning", "{incident}");
    assert_eq!(incident["needs_acknowledgement"], true);
    wait_for_message(receiver, "mail is warning");
    let id = incident["id"].as_u64().unwrap();

    put(client, 500);
    let incident = wait_for_status(client, "critical");
    assert_eq!(incident["id"], id, "the same incident becomes worse");
    wait_for_message(receiver, "mail is critical");

    let refused = act(client, id, &json!({"action": "dance"}));
    assert_eq!(refused.0, 400, "{}", refused.1);
    let (status, acknowledged) = act(client, id, &json!({"action": "acknowledge", "user": "ada", "message": "on it"}));
    assert_eq!((status, &acknowledged["needs_acknowledgement"]), (200, &json!(false)), "{acknowledged}");
    assert_eq!(act(client, id, &json!({"action": "acknowledge", "user": "ada"})).0, 409);

    put(client, 1);
    wait_for_status(client, "normal");
    let (status, closed) = act(client, id, &json!({"action": "close", "user": "ada"}));
    assert_eq!((status, &closed["open"]), (200, &json!(false)), "{closed}");
    let open = client.get("/api/tidemark/v1/incidents?state=open").json();
    assert_eq!(open["incidents"], json!([]));
    assert_eq!(client.get("/api/tidemark/v1/incidents/999").status, 404);
    let rules = client.get("/api/tidemark/v1/rules").json();
    assert!(rules["rules"].as_array().unwrap().iter().all(|rule| rule["state"]["failing"].is_null()), "{rules}");
    let discarded = client.get("/api/tidemark/v1/jobs?state=discarded").json();
    assert_eq!(discarded["jobs"], json!([]));
    let page = client.get(&format!("/incidents/{id}"));
    assert!(page.text().contains("on it") && page.text().contains("ada"), "{}", page.text());
}

fn put(client: &Client, depth: i64) {
    #[expect(clippy::disallowed_methods, reason = "an end-to-end test runs in real time")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    let point = json!({"metric": "alert.depth", "timestamp": now, "value": depth, "tags": {"queue": "mail"}});
    assert_eq!(client.post("/api/put?sync", &point).status, 204);
}

/// The one open incident once it has this status.
fn wait_for_status(client: &Client, status: &str) -> Value {
    wait_for(&format!("the incident is {status}"), Duration::from_secs(20), || {
        let open = client.get("/api/tidemark/v1/incidents?state=open").json();
        let open = open["incidents"].as_array().unwrap();
        assert!(open.len() <= 1, "{open:?}");
        open.first().filter(|incident| incident["status"] == status).cloned()
    })
}

fn wait_for_message(receiver: &Receiver, subject: &str) {
    let body = json!({ "text": subject });
    let is_body = |text: &String| serde_json::from_str::<Value>(text).is_ok_and(|sent| sent == body);
    wait_for(&format!("a message says {subject}"), Duration::from_secs(30), || {
        receiver.bodies().iter().any(is_body).then_some(())
    });
}

fn act(client: &Client, id: u64, action: &Value) -> (u16, Value) {
    let answer = client.post(&format!("/api/tidemark/v1/incidents/{id}/actions"), action);
    (answer.status, answer.json())
}
