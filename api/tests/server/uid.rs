//! `/api/uid/…`.

use serde_json::{Value, json};

use crate::{client::Client, started::Started};

fn with_series() -> (Started, Client) {
    let server = Started::new();
    let mut client = server.client();
    let point = |host: &str| json!({"metric": "u.cpu", "timestamp": 1_767_225_600, "value": 1, "tags": {"host": host}});
    assert_eq!(client.post("/api/put", &json!([point("a"), point("b")]).to_string()).status, 204);
    (server, client)
}

#[test]
fn names_get_ids_once() {
    let (_server, mut client) = with_series();
    client
        .get("/api/uid/assign?metric=u.new,u.newer&tagk=dc")
        .expect(200, json!({"metric": {"u.new": "000002", "u.newer": "000003"}, "tagk": {"dc": "000002"}}));
    let body = json!({"metric": ["u.cpu", "u.last", "no good"], "tagv": ["x"]}).to_string();
    let answer = client.post("/api/uid/assign", &body);
    assert_eq!(answer.status, 400, "{}", answer.text());
    let answer = answer.json();
    assert_eq!((&answer["metric"], &answer["tagv"]), (&json!({"u.last": "000004"}), &json!({"x": "000003"})));
    assert_eq!(answer["metric_errors"]["u.cpu"], "Name already exists with UID: 000001");
    assert!(answer["metric_errors"]["no good"].is_string() && answer.get("tagv_errors").is_none(), "{answer}");
    client.get("/api/uid/assign").expect_error(400, "Missing values to assign UIDs");
    client.post("/api/uid/assign", "{}").expect_error(400, "Missing values to assign UIDs");
    let many = json!({"metric": vec!["x"; 1_001]}).to_string();
    assert_eq!(client.post("/api/uid/assign", &many).status, 413);
    client.request("PUT", "/api/uid/assign", "", "").expect_error(405, "Method not allowed");
}

#[test]
fn a_name_is_changed_and_its_id_stays() {
    let (_server, mut client) = with_series();
    let tsuids = |client: &mut Client, of: &str| -> Vec<Value> {
        let found = client.get(&format!("/api/search/lookup?m={of}")).json();
        found["results"].as_array().unwrap().iter().map(|result| result["tsuid"].clone()).collect()
    };
    let before = tsuids(&mut client, "u.cpu");
    client.get("/api/uid/rename?metric=u.cpu&name=u.processor").expect(200, json!({"result": "true"}));
    client.post("/api/uid/rename", r#"{"TAGK": "host", "name": "node"}"#).expect(200, json!({"result": "true"}));
    client
        .post("/api/v1/uid/rename", r#"{"tagv": "a", "name": 17, "tagk": null}"#)
        .expect(200, json!({"result": "true"}));
    assert_eq!(tsuids(&mut client, "u.processor%7Bnode=*%7D"), before);
    assert_eq!(tsuids(&mut client, "u.processor%7Bnode=17%7D"), before[..1]);
    client.get("/api/search/lookup?m=u.cpu").expect_error(404, "Unable to resolve one or more UIDs");
}

#[test]
fn a_name_that_cannot_be_changed_stays_and_the_answer_says_why() {
    let (_server, mut client) = with_series();
    let mut refused = |method: &str, path: &str, body: Value, reason: &str| {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = client.request(method, &format!("/api/uid/rename{path}"), "", body);
        answer.expect(400, json!({"result": "false", "error": reason}));
    };
    for (path, reason) in [
        ("?metric=no.such&name=x", "Name(\"no.such\") does not exist"),
        ("?metric=u.cpu&name=a!b", "Invalid metric (\"a!b\"): illegal character: !"),
        ("?tagk=a!b&name=c", "Name(\"a!b\") does not exist"),
        (
            "?tagv=a&name=b",
            "When trying rename(\"a\", \"b\") on UniqueId(tsdb-uid, tagv, 3): new name already assigned ID=[0, 0, 2]",
        ),
        (
            "?metric=u.cpu&name=u.cpu",
            "When trying rename(\"u.cpu\", \"u.cpu\") on UniqueId(tsdb-uid, metrics, 3): new name already assigned \
             ID=[0, 0, 1]",
        ),
        ("?metric=u.cpu&tagk=host&name=x", "one name can be changed at a time"),
    ] {
        refused("GET", path, Value::Null, reason);
    }
    refused("POST", "", json!({"tagk": "", "name": "x"}), "Invalid tagk: empty string");
    refused("POST", "", json!({"metric": "u.cpu", "name": ""}), "Invalid metric: empty string");
    refused("POST", "", json!({"rack": "a", "name": "b"}), "Unknown type name");
    let missing = "Missing necessary values to rename UID";
    for path in ["?metric=u.cpu", "?name=x", "?metric=&name=x", ""] {
        client.get(&format!("/api/uid/rename{path}")).expect_error(400, missing);
    }
    for body in [r#"{"metric":"u.cpu"}"#, r#"{"metric":null,"name":"x"}"#, "{}"] {
        client.post("/api/uid/rename", body).expect_error(400, missing);
    }
    for body in ["", "[]", "{", r#"{"metric":["u.cpu"],"name":"x"}"#] {
        assert_eq!(client.post("/api/uid/rename", body).status, 400, "{body}");
    }
    client.request("PUT", "/api/uid/rename", "", "").expect_error(405, "Method not allowed");
    assert_eq!(client.get("/api/suggest?type=metrics").json(), json!(["u.cpu"]));
}

#[test]
fn what_is_noted_about_a_name_is_merged_replaced_and_forgotten() {
    let (_server, mut client) = with_series();
    let bare = json!({"uid": "000001", "type": "METRIC", "name": "u.cpu", "description": "", "notes": "", "created": 0,
        "custom": null, "displayName": ""});
    client.get("/api/uid/uidmeta?uid=000001&type=metric").expect(200, bare.clone());
    let put = |client: &mut Client, method: &str, fields: Value| {
        let mut body = json!({"uid": "000001", "type": "metric"});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        client.request(method, "/api/uid/uidmeta", "", body.to_string())
    };
    let written = put(&mut client, "POST", json!({"displayName": "CPU", "custom": {"owner": "ops"}})).json();
    assert_eq!((&written["displayName"], &written["custom"]), (&json!("CPU"), &json!({"owner": "ops"})));
    assert_eq!(put(&mut client, "POST", json!({"displayName": "CPU"})).status, 304);
    let merged = put(&mut client, "POST", json!({"notes": "n"})).json();
    assert_eq!((&merged["displayName"], &merged["notes"]), (&json!("CPU"), &json!("n")));
    let replaced = put(&mut client, "PUT", json!({"description": "d"})).json();
    assert_eq!(
        (&replaced["displayName"], &replaced["description"], &replaced["custom"]),
        (&json!(""), &json!("d"), &Value::Null)
    );
    let of_query_string =
        client.get("/api/uid/uidmeta?uid=000001&type=metrics&display_name=Q&method_override=post").json();
    assert_eq!((&of_query_string["displayName"], &of_query_string["description"]), (&json!("Q"), &json!("d")));
    let answer = client.request("DELETE", "/api/uid/uidmeta?uid=000001&type=metric", "", "");
    assert_eq!((answer.status, answer.text()), (204, ""));
    client.get("/api/uid/uidmeta?uid=000001&type=metric").expect(200, bare);
    client.get("/api/uid/uidmeta?uid=00FFFF&type=tagk").expect_error(404, "Could not find the requested UID");
    client.get("/api/uid/uidmeta?uid=000001&type=x").expect_error(400, "Invalid type requested: x");
    client.get("/api/uid/uidmeta?type=metric").expect_error(400, "Missing parameter <code>uid</code>");
}

#[test]
fn a_series_is_described_by_the_ids_that_queries_show() {
    let (_server, mut client) = with_series();
    let tsuid = client.get("/api/search/lookup?m=u.cpu%7Bhost=b%7D").json()["results"][0]["tsuid"].clone();
    let tsuid = tsuid.as_str().unwrap();
    let path = format!("/api/uid/tsmeta?tsuid={tsuid}");
    let meta = client.get(&path).json();
    assert_eq!((&meta["tsuid"], &meta["lastReceived"]), (&json!(tsuid), &json!(1_767_225_600)));
    let ids =
        [&meta["metric"], &meta["tags"][0], &meta["tags"][1]].map(|name| name["uid"].as_str().unwrap().to_owned());
    assert_eq!(ids.concat(), tsuid);
    assert_eq!((&meta["tags"][1]["name"], &meta["tags"][1]["type"]), (&json!("b"), &json!("TAGV")));
    let body = json!({"tsuid": tsuid, "units": "%", "max": "100", "description": "of b"}).to_string();
    let written = client.post("/api/uid/tsmeta", &body).json();
    assert_eq!((&written["units"], &written["max"], &written["min"]), (&json!("%"), &json!(100.0), &json!("NaN")));
    assert_eq!(client.post("/api/uid/tsmeta", &body).status, 304);
    let all = client.get("/api/uid/tsmeta?m=u.cpu").json();
    let units: Vec<&Value> = all.as_array().unwrap().iter().map(|meta| &meta["units"]).collect();
    assert_eq!(units, [&json!(""), &json!("%")]);
    let put = client.request("PUT", "/api/uid/tsmeta?m=u.cpu%7Bhost=b%7D&notes=n", "", "").json();
    assert_eq!((&put["units"], &put["notes"]), (&json!(""), &json!("n")));
    assert_eq!(client.request("DELETE", &path, "", "").status, 204);
    assert_eq!(client.get(&path).json()["notes"], "");
    client.get("/api/uid/tsmeta?tsuid=0000FF0000FF0000FF").expect_error(404, "Could not find Timeseries meta data");
    for unknown in ["m=no.such", "m=u.cpu%7Bhost=no.such%7D"] {
        client.get(&format!("/api/uid/tsmeta?{unknown}")).expect_error(404, "Unable to find one of the UIDs");
    }
    assert_eq!(client.request("PUT", "/api/uid/tsmeta?m=u.cpu&notes=n", "", "").status, 400);
    assert_eq!(client.get("/api/uid/tsmeta?tsuid=xyz").status, 400);
}
