//! Names that are changed, through HTTP: everything that was written is found under the new one, also after a kill.

use serde_json::{Value, json};
use tidemark_tests::{Client, Node, NodeOptions};

const START_S: i64 = 1_767_225_600;

fn put(client: &Client, metric: &str, at: i64, value: i64) {
    let point = json!({"metric": metric, "timestamp": at, "value": value, "tags": {"host": "a", "rack": "r"}});
    let answer = client.post("/api/put?sync&details", &point);
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn query(client: &Client, of: &str) -> Value {
    let answer = client.get(&format!("/api/query?start={START_S}&end={}&show_tsuids=true&m={of}", START_S + 7_200));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn unknown(client: &Client, of: &str) -> String {
    let answer = client.get(&format!("/api/query?start={START_S}&m={of}"));
    assert_eq!(answer.status, 400, "{}", answer.text());
    answer.json()["error"]["message"].as_str().unwrap().to_owned()
}

fn rename(client: &Client, change: &Value) {
    let answer = client.post("/api/uid/rename", change);
    assert_eq!((answer.status, answer.json()), (200, json!({"result": "true"})), "{change}");
}

/// Points, a histogram, a rollup, an annotation, what people noted and what collectors said; the series' TSUID.
fn write(client: &Client) -> String {
    put(client, "r.old", START_S, 7);
    let histogram = json!({"metric": "r.old", "timestamp": START_S, "tags": {"host": "a"}, "underflow": 0, "overflow": 0,
        "buckets": {"0,2": 10}});
    assert_eq!(client.post("/api/histogram?sync", &histogram).status, 204);
    let rollup = json!({"metric": "r.old", "timestamp": START_S + 3_600, "value": 50, "interval": "1h",
        "aggregator": "SUM", "tags": {"host": "a", "rack": "r"}});
    assert_eq!(client.post("/api/rollup?sync", &rollup).status, 204);
    let tsuid = query(client, "sum:r.old")[0]["tsuids"][0].as_str().unwrap().to_owned();
    let note = json!({"startTime": START_S, "tsuid": tsuid, "description": "deployed"});
    assert_eq!(client.post("/api/annotation", &note).status, 200);
    let meta = json!({"uid": tsuid[..6], "type": "metric", "notes": "of ours"});
    assert_eq!(client.post("/api/uid/uidmeta", &meta).status, 200);
    let said = json!([{"Metric": "r.old", "Name": "unit", "Value": "requests"},
        {"Tags": {"host": "a"}, "Name": "model", "Value": "R740"}]);
    assert_eq!(client.post("/api/metadata/put", &said).status, 204);
    tsuid
}

/// All of that is there under the new names: `r.new{alpha=b,rack=r}`.
fn check(client: &Client, tsuid: &str) {
    let found = query(client, "sum:r.new%7Balpha=*%7D");
    let at = |offset: i64| (START_S + offset).to_string();
    assert_eq!((&found[0]["metric"], &found[0]["tags"]), (&json!("r.new"), &json!({"alpha": "b", "rack": "r"})));
    assert_eq!((&found[0]["dps"], &found[0]["tsuids"]), (&json!({at(0): 7}), &json!([tsuid])));
    assert_eq!(found[0]["annotations"][0]["description"], "deployed", "{found}");
    let percentiles = query(client, "sum:percentiles[50]:r.new%7Balpha=b%7D");
    assert_eq!((&percentiles[0]["metric"], &percentiles[0]["dps"]), (&json!("r.new_pct_50.0"), &json!({at(0): 1.0})));
    assert_eq!(query(client, "sum:1h-sum:r.new")[0]["dps"], json!({at(0): 7.0, at(3_600): 50.0}));
    let last = client.get("/api/query/last?timeseries=r.new&resolve=true").json();
    assert_eq!(
        (&last[0]["metric"], &last[0]["value"], &last[0]["tsuid"]),
        (&json!("r.new"), &json!("7"), &json!(tsuid))
    );
    let listed = client.get("/api/search/lookup?m=r.new%7Balpha=*%7D").json();
    assert_eq!(listed["results"], json!([{"tsuid": tsuid, "metric": "r.new", "tags": {"alpha": "b", "rack": "r"}}]));
    let meta = client.get(&format!("/api/uid/uidmeta?uid={}&type=metric", &tsuid[..6])).json();
    assert_eq!((&meta["name"], &meta["notes"]), (&json!("r.new"), &json!("of ours")));
    assert_eq!(client.get("/api/metadata/metrics?metric=r.new").json()["Unit"], "requests");
    let of_host = client.get("/api/metadata/get?tagk=alpha&tagv=b").json();
    assert_eq!((&of_host[0]["Name"], &of_host[0]["Value"]), (&json!("model"), &json!("R740")), "{of_host}");
}

#[test]
fn what_was_written_is_found_under_the_new_names_and_the_old_ones_are_new() {
    let folder = tempfile::tempdir().unwrap();
    let options = NodeOptions::without_agent().data(&folder.path().join("data"));
    let mut node = Node::start(&options);
    let client = node.client();
    let tsuid = write(&client);
    rename(&client, &json!({"metric": "r.old", "name": "r.new"}));
    rename(&client, &json!({"tagk": "host", "name": "alpha"}));
    rename(&client, &json!({"tagv": "a", "name": "b"}));
    check(&client, &tsuid);
    assert_eq!(unknown(&client, "sum:r.old"), "No such name for 'metrics': 'r.old'");
    assert_eq!(unknown(&client, "sum:percentiles[50]:r.old"), "No such name for 'metrics': 'r.old'");
    assert_eq!(unknown(&client, "sum:r.new%7Bhost=*%7D"), "No such name for 'tagk': 'host'");
    assert_eq!(client.get("/api/suggest?type=metrics&q=r.").json(), json!(["r.new"]));
    node.kill();

    let mut node = Node::start(&options);
    let client = node.client();
    check(&client, &tsuid);
    // Who goes on writing the old names makes something new of all of them.
    put(&client, "r.old", START_S + 60, 1);
    let new = query(&client, "sum:r.old%7Bhost=a%7D");
    assert_eq!(new[0]["dps"], json!({(START_S + 60).to_string(): 1}));
    assert_ne!(new[0]["tsuids"][0], json!(tsuid));
    check(&client, &tsuid);
    let refused = client.get("/api/uid/rename?metric=r.new&name=r.old");
    assert_eq!((refused.status, &refused.json()["result"]), (400, &json!("false")), "{}", refused.text());
    assert!(refused.json()["error"].as_str().unwrap().contains("new name already assigned ID="), "{}", refused.text());
    check(&client, &tsuid);
    node.stop();
    let output =
        tidemark_tests::tidemark().arg("doctor").arg("--data").arg(folder.path().join("data")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
