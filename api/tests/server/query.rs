//! `/api/query`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{client::Client, started::Started};

const START: i64 = 1_356_998_400;

fn put(client: &mut Client, metric: &str, host: &str, points: impl IntoIterator<Item = (i64, Value)>) {
    let points: Vec<_> = points
        .into_iter()
        .map(|(at, value)| json!({"metric": metric, "timestamp": at, "value": value, "tags": {"host": host}}))
        .collect();
    assert_eq!(client.post("/api/put", &json!(points).to_string()).status, 204);
}

fn with_points() -> (Started, Client) {
    let server = Started::new();
    let mut client = server.client();
    put(&mut client, "ct.basic", "web01", (1..5).map(|n| (START + 30 * (n - 1), json!(n))));
    put(&mut client, "ct.basic", "web02", (1..5).map(|n| (START + 30 * (n - 1), json!(10 * n))));
    put(&mut client, "ct.ms", "a", (0..4).map(|n| (1000 * START + 250 * n, json!(n))));
    (server, client)
}

fn body(fields: Value) -> String {
    let mut body = json!({"start": START, "end": START + 3600});
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body.to_string()
}

#[test]
fn both_forms_are_answered() {
    let (_server, mut client) = with_points();
    let expected = json!([{"metric": "ct.basic", "tags": {}, "aggregateTags": ["host"],
        "dps": {"1356998400": 11, "1356998430": 22, "1356998460": 33, "1356998490": 44}}]);
    let queries = json!([{"metric": "ct.basic", "aggregator": "sum"}]);
    client.post("/api/query", &body(json!({"queries": queries}))).expect(200, expected.clone());
    let range = format!("start={START}&end={}", START + 3600);
    client.get(&format!("/api/query?{range}&m=sum:ct.basic")).expect(200, expected);
    let grouped = client.get(&format!("/api/query?{range}&arrays&m=sum:ct.basic%7Bhost=*%7D")).json();
    assert_eq!(grouped.as_array().unwrap().len(), 2);
    assert_eq!(grouped[1]["tags"], json!({"host": "web02"}));
    assert_eq!(grouped[1]["dps"][0], json!([START, 10]));
    let none = body(json!({"start": START + 100_000, "end": START + 200_000, "queries": queries}));
    client.post("/api/query", &none).expect(200, json!([]));
}

#[test]
fn seconds_are_unique_unless_milliseconds_are_asked_for() {
    let (_server, mut client) = with_points();
    let queries = json!([{"metric": "ct.ms", "aggregator": "sum"}]);
    let dps = |answer: Value| answer[0]["dps"].clone();
    let answer = client.post("/api/query", &body(json!({"queries": queries, "msResolution": true})));
    assert_eq!(dps(answer.json()).as_object().unwrap().len(), 4);
    let answer = client.post("/api/query", &body(json!({"queries": queries})));
    assert_eq!(dps(answer.json()), json!({"1356998400": 3}));
}

#[test]
fn more_is_shown_when_asked_for() {
    let (_server, mut client) = with_points();
    let queries = json!([{"metric": "ct.ms", "aggregator": "sum"}, {"metric": "ct.basic", "aggregator": "sum"}]);
    let shown =
        json!({"queries": queries, "showTSUIDs": true, "showQuery": true, "showStats": true, "showSummary": true});
    let answer = client.post("/api/query", &body(shown)).json();
    assert_eq!(answer[1]["query"]["index"], 1);
    let tsuids = answer[1]["tsuids"].as_array().unwrap();
    assert_eq!(tsuids.len(), 2);
    assert!(tsuids.iter().all(|tsuid| tsuid.as_str().unwrap().len() == 18));
    assert_eq!(answer[1]["stats"]["aggregatedSeries"], 2);
    assert_eq!(answer[2]["statsSummary"]["emittedDPs"], 5);
    let by_id = json!({"queries": [{"tsuids": tsuids, "aggregator": "sum"}]});
    assert_eq!(client.post("/api/query", &body(by_id)).json()[0]["dps"], answer[1]["dps"]);
}

#[test]
fn mistakes_are_named() {
    let (_server, mut client) = with_points();
    let mut check = |fields: Value, message: &str| {
        client.post("/api/query", &body(fields)).expect_error(400, message);
    };
    let query = |query: Value| json!({"queries": [query]});
    check(query(json!({"metric": "nosuch", "aggregator": "sum"})), "No such name for 'metrics': 'nosuch'");
    check(
        query(json!({"metric": "ct.ms", "aggregator": "sum", "tags": {"nokey": "*"}})),
        "No such name for 'tagk': 'nokey'",
    );
    check(query(json!({"metric": "ct.ms", "aggregator": "foo"})), "No such aggregation function: foo");
    check(
        query(json!({"metric": "ct.ms", "aggregator": "sum", "downsample": "1m"})),
        "Invalid downsampling specifier '1m': must provide at least interval and function",
    );
    check(json!({"queries": []}), "Missing queries");
    check(
        json!({"start": "foo", "queries": [{"metric": "m", "aggregator": "sum"}]}),
        "Invalid time: foo. Invalid character 'f' in foo",
    );
    client.post("/api/query", "").expect_error(400, "Missing message content");
    client.post("/api/query", "{").expect_error(400, "Unable to parse the given JSON");
    client.request("DELETE", "/api/query?start=1&m=sum:ct.ms", "", "").expect_error(400, "Bad request");
    client
        .post("/api/query", &body(json!({"delete": true, "queries": [{"metric": "ct.ms", "aggregator": "sum"}]})))
        .expect_error(400, "Bad request");
}

#[test]
fn extras_are_answered_when_they_are_asked_for() {
    let (_server, mut client) = with_points();
    put(&mut client, "counter", "a", [(0, 0), (10, 100), (20, 30), (30, 90)].map(|(at, n)| (START + at, json!(n))));
    let query = |fields: Value, query: Value| {
        let mut asked = json!({"queries": [query]});
        asked.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        body(asked)
    };
    // Unknown names.
    let unknown = json!({"metric": "nosuch", "aggregator": "sum"});
    let answer = client.post("/api/query", &query(json!({"skipUnresolved": true}), unknown.clone()));
    assert_eq!(answer.header("x-tidemark-warning"), Some("No such name for 'metrics': 'nosuch'"));
    assert_eq!(answer.json(), json!([]));
    client.post("/api/query", &query(json!({}), unknown)).expect_error(400, "No such name for 'metrics': 'nosuch'");
    let some = json!({"metric": "ct.basic", "aggregator": "sum", "tags": {"host": "web01|nobody"}});
    let answer = client.post("/api/query", &query(json!({"skipUnresolved": true, "showSummary": true}), some)).json();
    assert_eq!(answer[0]["tags"], json!({"host": "web01"}));
    assert_eq!(answer[1]["statsSummary"]["warnings"], json!(["No such name for 'tagv': 'nobody'"]));
    let range = format!("start={START}&end={}", START + 3600);
    let answer = client.get(&format!("/api/query?{range}&m=sum:nosuch&m=sum:ct.basic&skip_unresolved"));
    assert_eq!(answer.json().as_array().unwrap().len(), 1);
    // Rates before downsampling.
    let rate = |pre: bool| {
        json!({"metric": "counter", "aggregator": "sum", "downsample": "1m-sum", "rate": true,
            "rateOptions": {"counter": true, "dropResets": true, "preDownsample": pre}})
    };
    let answer = client.post("/api/query", &query(json!({"showSummary": true}), rate(true))).json();
    assert_eq!(answer[0]["dps"], json!({"1356998400": 16.0}));
    assert!(answer[1]["statsSummary"].get("warnings").is_none());
    let answer = client.post("/api/query", &query(json!({"showSummary": true}), rate(false))).json();
    let warning = answer[0]["statsSummary"]["warnings"][0].as_str().unwrap();
    assert!(warning.contains("`1m-sum`"), "{warning}");
    // NaN.
    let filled = json!({"metric": "counter", "aggregator": "sum", "downsample": "10s-sum-nan"});
    let asked = |nulls: bool| query(json!({"nanAsNull": nulls, "end": START + 40}), filled.clone());
    assert_eq!(client.post("/api/query", &asked(true)).json()[0]["dps"]["1356998440"], json!(null));
    assert_eq!(client.post("/api/query", &asked(false)).json()[0]["dps"]["1356998440"], json!("NaN"));
}

#[test]
fn series_that_are_aligned_first_are_not_interpolated() {
    let server = Started::with(|options| options.opentsdb.extras.align_first = true);
    let mut client = server.client();
    put(&mut client, "m", "a", [0, 120].map(|at| (START + at, json!(10))));
    put(&mut client, "m", "b", [0, 60, 120].map(|at| (START + at, json!(1))));
    let mut dps = |fields: Value| {
        let mut asked = json!({"queries": [{"metric": "m", "aggregator": "sum", "downsample": "1m-avg"}]});
        asked.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        client.post("/api/query", &body(asked)).json()[0]["dps"].clone()
    };
    assert_eq!(dps(json!({})), json!({"1356998400": 11.0, "1356998460": 1.0, "1356998520": 11.0}));
    assert_eq!(dps(json!({"alignFirst": false})), json!({"1356998400": 11.0, "1356998460": 11.0, "1356998520": 11.0}));
}

#[test]
fn a_query_that_deletes_answers_with_what_is_gone_and_leaves_the_rest() {
    let server = Started::with(|options| options.opentsdb.allow_delete = true);
    let mut client = server.client();
    put(&mut client, "gone", "a", (0..10).map(|n| (START + n, json!(n))));
    put(&mut client, "gone", "b", (0..10).map(|n| (START + n, json!(n))));
    let path = format!("/api/query?start={}&end={}&m=none:gone{{host=a}}", START + 2, START + 4);
    let answer = client.request("DELETE", &path, "", "");
    assert_eq!(answer.status, 200);
    let answer = answer.json();
    assert_eq!(answer[0]["dps"].as_object().unwrap().len(), 3);
    assert_eq!((server.store.points("gone{host=a}").len(), server.store.points("gone{host=b}").len()), (7, 10));
    let query = json!({"delete": true, "end": START + 2, "queries": [{"metric": "gone", "aggregator": "none"}]});
    let answer = client.post("/api/query", &body(query)).json();
    let points: usize = answer.as_array().unwrap().iter().map(|one| one["dps"].as_object().unwrap().len()).sum();
    assert_eq!(points, 5);
    assert_eq!((server.store.points("gone{host=a}").len(), server.store.points("gone{host=b}").len()), (5, 7));
}

#[test]
fn a_large_answer_is_streamed_and_whole() {
    let (_server, mut client) = with_points();
    put(&mut client, "large", "a", (0..30_000).map(|n| (START + n, json!(n))));
    put(&mut client, "large", "b", (0..30_000).map(|n| (START + n, json!(n))));
    let query = json!({"end": START + 100_000, "queries": [{"metric": "large", "aggregator": "none"}]});
    let answer = client.post("/api/query", &body(query));
    assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
    let answer = answer.json();
    assert_eq!(answer[0]["dps"].as_object().unwrap().len(), 30_000);
    assert_eq!(answer[1]["dps"]["1357028399"], 29_999);
    // The connection is still in step.
    assert_eq!(client.get("/api/version").status, 200);
}

#[test]
fn limits_are_named() {
    let server = Started::with(|options| {
        options.limits.query_parts = 1;
        options.limits.query_evaluation.result_points_max = 3;
    });
    let mut client = server.client();
    put(&mut client, "m", "a", (0..10).map(|n| (START + n, json!(n))));
    let query = json!({"metric": "m", "aggregator": "sum"});
    let answer = client.post("/api/query", &body(json!({"queries": [query, query]})));
    answer.expect_error(400, "2 sub-queries, at most 1 are allowed; see `limits.query_parts`");
    let answer = client.post("/api/query", &body(json!({"queries": [query]})));
    assert_eq!(answer.status, 413);
    assert!(answer.text().contains("limits.query_result_points"), "{}", answer.text());
}

#[test]
fn a_query_that_takes_too_long_or_finds_no_turn_is_refused() {
    let server = Started::with(|options| options.limits.query_time = Duration::ZERO);
    let mut client = server.client();
    put(&mut client, "m", "a", [(START, json!(1))]);
    let query = body(json!({"queries": [{"metric": "m", "aggregator": "sum"}]}));
    assert_eq!(client.post("/api/query", &query).status, 413);
    let server = Started::with(|options| {
        options.limits.queries = 0;
        options.limits.query_wait = Duration::from_millis(10);
    });
    assert_eq!(server.client().post("/api/query", &query).status, 503);
}

#[test]
fn a_client_that_goes_away_ends_its_query() {
    let (server, mut client) = with_points();
    put(&mut client, "large", "a", (0..60_000).map(|n| (START + n, json!(n))));
    let query = json!({"metric": "large", "aggregator": "none"});
    let query = body(json!({"end": START + 100_000, "queries": vec![query; 100]}));
    let mut leaving = server.client();
    leaving
        .send(format!("POST /api/query HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{query}", query.len()));
    // 100 MB do not fit the buffers of the connection, so the query is under way when the client leaves.
    leaving.read_until("\r\n\r\n");
    assert_eq!(server.state.counters.queries.get(), 1);
    drop(leaving);
    server.wait_until("the end of the query", |server| server.state.counters.queries.get() == 0);
}

#[test]
fn a_client_that_does_not_read_its_answer_is_given_up() {
    let server = Started::with(|options| options.limits.response_timeout = Duration::from_millis(200));
    let mut client = server.client();
    put(&mut client, "large", "a", (0..60_000).map(|n| (START + n, json!(n))));
    let query = json!({"metric": "large", "aggregator": "none"});
    let query = body(json!({"end": START + 100_000, "queries": vec![query; 100]}));
    let mut deaf = server.client();
    deaf.send(format!("POST /api/query HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{query}", query.len()));
    deaf.read_until("\r\n\r\n");
    server.wait_until("the end of the query", |server| server.state.counters.queries.get() == 0);
    assert_eq!(client.get("/api/version").status, 200);
}

#[test]
fn a_query_under_way_is_finished_when_the_server_stops() {
    let (mut server, mut client) = with_points();
    put(&mut client, "large", "a", (0..50_000).map(|n| (START + n, json!(n))));
    let query = json!({"metric": "large", "aggregator": "none"});
    let query = body(json!({"end": START + 100_000, "queries": vec![query; 10]}));
    client
        .send(format!("POST /api/query HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{query}", query.len()));
    server.wait_until("the query", |server| server.state.counters.queries.get() == 1);
    server.state.shutdown.cancel();
    assert_eq!(client.answer().json().as_array().unwrap().len(), 10);
    server.stop();
}
