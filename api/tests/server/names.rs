//! Names, series, last points and metadata.

use serde_json::json;

use crate::{client::Client, started::Started};

fn with_points() -> (Started, Client) {
    let server = Started::new();
    let mut client = server.client();
    let point = |metric: &str, at: i64, value: f64, tags: serde_json::Value| json!({"metric": metric, "timestamp": at, "value": value, "tags": tags});
    let body = json!([
        point("sys.cpu", 1_356_998_400, 1.0, json!({"host": "a", "dc": "x"})),
        point("sys.cpu", 1_356_998_460, 2.5, json!({"host": "a", "dc": "x"})),
        point("sys.cpu", 1_356_998_400, 3.0, json!({"host": "b", "dc": "x"})),
        point("sys.mem", 1_356_998_400, 4.0, json!({"host": "c"})),
    ]);
    assert_eq!(client.post("/api/put", &body.to_string()).status, 204);
    (server, client)
}

#[test]
fn names_are_suggested() {
    let (_server, mut client) = with_points();
    client.get("/api/suggest?type=metrics&q=sys.").expect(200, json!(["sys.cpu", "sys.mem"]));
    client.get("/api/suggest?type=metrics&q=sys.&max=1").expect(200, json!(["sys.cpu"]));
    client.get("/api/suggest?type=tagk").expect(200, json!(["dc", "host"]));
    client.get("/suggest?type=tagv&q=x").expect(200, json!(["x"]));
    client.post("/api/suggest", r#"{"type":"tagv","q":"","max":2}"#).expect(200, json!(["a", "b"]));
    client
        .get("/api/suggest?type=foo")
        .expect(400, json!({"error": {"code": 400, "message": "Invalid 'type' parameter:foo"}}));
    client.get("/api/suggest").expect_error(400, "Missing parameter <code>type</code>");
    client.post("/api/suggest", "{}").expect_error(400, "Missing 'type' parameter");
    client.get("/api/suggest?type=tagk&max=x").expect_error(400, "Unable to parse 'max' as a number");
}

#[test]
fn series_are_looked_up() {
    let (_server, mut client) = with_points();
    let found = client.get("/api/search/lookup?m=sys.cpu").json();
    assert_eq!((&found["type"], &found["totalResults"], &found["limit"]), (&json!("LOOKUP"), &json!(2), &json!(25)));
    assert_eq!(found["tags"], json!([]));
    assert_eq!(found["results"][1]["tags"], json!({"host": "b", "dc": "x"}));
    assert_eq!(found["results"][0]["tsuid"].as_str().unwrap().len(), 30);
    let found = client.get("/api/search/lookup?m=sys.cpu%7Bhost=b,dc=*%7D&limit=1000").json();
    assert_eq!((&found["totalResults"], &found["tags"][1]), (&json!(1), &json!({"key": "dc", "value": "*"})));
    let body = r#"{"metric":"sys.cpu","tags":[{"key":"host","value":"a"}],"limit":1,"startIndex":0}"#;
    let found = client.post("/api/search/lookup", body).json();
    assert_eq!(found["results"][0]["tags"]["host"], "a");
    let found = client.get("/api/search/lookup?m=sys.cpu&limit=1&startIndex=1").json();
    assert_eq!((&found["results"][0]["tags"]["host"], &found["startIndex"]), (&json!("b"), &json!(1)));
    let missing = client.get("/api/search/lookup?m=nosuch");
    missing.expect_error(404, "Unable to resolve one or more UIDs");
    client.get("/api/search/lookup").expect_error(400, "Missing parameter <code>m</code>");
    assert_eq!(client.get("/api/search/lookup?m=x%7B").status, 400);
}

#[test]
fn the_last_point_of_each_series_is_found() {
    let (_server, mut client) = with_points();
    let last = client.get("/api/query/last?timeseries=sys.cpu%7Bhost=a%7D&resolve").json();
    let tsuid = last[0]["tsuid"].clone();
    let expected = json!([{"metric": "sys.cpu", "timestamp": 1_356_998_460_000_i64, "value": "2.5",
        "tags": {"dc": "x", "host": "a"}, "tsuid": tsuid}]);
    assert_eq!(last, expected);
    let body = json!({"queries": [{"metric": "sys.cpu"}, {"metric": "sys.mem", "tags": {"host": "*"}}]});
    let last = client.post("/api/query/last", &body.to_string()).json();
    assert_eq!(last.as_array().unwrap().len(), 3);
    assert_eq!(last[0].get("metric"), None);
    let body = json!({"queries": [{"tsuids": [tsuid]}], "resolveNames": true}).to_string();
    assert_eq!(client.post("/api/query/last", &body).json(), expected);
    client.get("/api/query/last?timeseries=sys.cpu&back_scan=1").expect(200, json!([]));
    client
        .post("/api/query/last", r#"{"queries":[]}"#)
        .expect(400, json!({"error": {"code": 400, "message": "Missing sub queries"}}));
    client.get("/api/query/last?timeseries=nosuch").expect_error(400, "No such name for 'metrics': 'nosuch'");
}

#[test]
fn metadata_is_kept() {
    let (_server, mut client) = with_points();
    let body = r#"[{"Metric":"sys.cpu","Name":"unit","Value":"percent"},{"Metric":"sys.cpu","Name":"rate","Value":"counter"},
        {"Tags":{"host":"a"},"Name":"version","Value":"1"}]"#;
    let answer = client.post("/api/metadata/put", body);
    assert_eq!((answer.status, answer.text()), (204, ""));
    client.get("/api/metadata/get?metric=sys.cpu").expect(
        200,
        json!([{"Metric": "sys.cpu", "Name": "unit", "Value": "percent"},
            {"Metric": "sys.cpu", "Name": "rate", "Value": "counter"}]),
    );
    assert_eq!(client.get("/api/metadata/get?metric=nope").status, 404);
    assert_eq!(client.post("/api/metadata/put", "{").status, 400);
}
