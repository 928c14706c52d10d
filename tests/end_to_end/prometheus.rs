//! Prometheus' API for queries, as Grafana's data source and others ask it.

use serde_json::{Value, json};
use tidemark_tests::{Client, Node, NodeOptions};

const START_S: i64 = 1_767_225_600;

/// Ten minutes of a counter of three hosts.
fn fill(client: &Client) {
    let points: Vec<Value> = (0..3)
        .flat_map(|host| {
            (0..=40).map(move |step| {
                let tags = json!({"host": format!("web{host}"), "dc": if host < 2 { "ams" } else { "fra" }});
                let value = step * 15 * (host + 1);
                json!({"metric": "app.requests", "timestamp": START_S + step * 15, "value": value, "tags": tags})
            })
        })
        .chain([json!({"metric": "queue_depth", "timestamp": START_S + 600, "value": 2.5, "tags": {"host": "web0"}})])
        .collect();
    assert_eq!(client.post("/api/put", &Value::Array(points)).status, 204);
}

/// The data of an answer that is one.
fn data(client: &Client, path: &str) -> Value {
    let answer = client.get(path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"), "{path}");
    let answer = answer.json();
    assert_eq!(answer["status"], "success", "{path}");
    answer["data"].clone()
}

/// The status, the kind and the text of an error.
fn error(client: &Client, path: &str) -> (u16, String, String) {
    let answer = client.get(path);
    let body = answer.json();
    assert_eq!(body["status"], "error", "{path}: {body}");
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    (answer.status, text("errorType"), text("error"))
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn instant(expression: &str) -> String {
    format!("/prometheus/api/v1/query?query={}&time={}", encoded(expression), START_S + 600)
}

#[test]
fn expressions_are_answered_at_a_moment_and_over_a_range() {
    let node = Node::start(&NodeOptions::without_agent());
    let client = node.client();
    fill(&client);
    let found = data(&client, &instant(r#"sum by (dc) (rate({"app.requests"}[5m]))"#));
    let expected = json!({"resultType": "vector", "result": [
        {"metric": {"dc": "ams"}, "value": [START_S + 600, "3"]},
        {"metric": {"dc": "fra"}, "value": [START_S + 600, "3"]},
    ]});
    assert_eq!(found, expected);
    let found = data(&client, &instant("queue_depth"));
    let metric = json!({"__name__": "queue_depth", "host": "web0"});
    assert_eq!(found["result"], json!([{"metric": metric, "value": [START_S + 600, "2.5"]}]));
    assert_eq!(data(&client, &instant("1 + 1"))["result"], json!([START_S + 600, "2"]));
    let found = data(&client, &instant(r#"{"app.requests", host="web0"}[30s]"#));
    assert_eq!(found["result"][0]["values"], json!([[START_S + 585, "585"], [START_S + 600, "600"]]));
    let range = format!(
        "/prometheus/api/v1/query_range?query={}&start={}&end=2026-01-01T00:10:00Z&step=5m",
        encoded(r#"sum({__name__=~"app[.]requests|nothing", host!="web2"})"#),
        START_S
    );
    let expected = json!({"resultType": "matrix", "result": [
        {"metric": {}, "values": [[START_S, "0"], [START_S + 300, "900"], [START_S + 600, "1800"]]}
    ]});
    assert_eq!(data(&client, &range), expected);
    // A form, as Grafana sends it.
    let form = format!("query={}&time={}", encoded("count({host=~\"web.*\"})"), START_S + 600);
    let answer = client.request("POST", "/prometheus/api/v1/query", &[FORM], form.as_bytes()).unwrap();
    assert_eq!(answer.json()["data"]["result"], json!([{"metric": {}, "value": [START_S + 600, "4"]}]));
}

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

#[test]
fn what_explore_and_variables_ask_is_answered() {
    let node = Node::start(&NodeOptions::without_agent());
    let client = node.client();
    fill(&client);
    let meaning = json!([{"Metric": "app.requests", "Name": "rate", "Value": "counter"},
        {"Metric": "app.requests", "Name": "desc", "Value": "requests served"}]);
    assert_eq!(client.post("/api/metadata/put", &meaning).status, 204);
    let base = "/prometheus/api/v1";
    let times = format!("start={START_S}&end={}", START_S + 600);
    let names = |path: &str| -> Vec<String> { serde_json::from_value(data(&client, path)).unwrap() };
    let all = names(&format!("{base}/label/__name__/values?{times}"));
    assert!(["app.requests", "queue_depth"].iter().all(|name| all.iter().any(|known| known == name)), "{all:?}");
    let of_host = encoded(r#"{host="web0"}"#);
    assert_eq!(names(&format!("{base}/label/__name__/values?match[]={of_host}")), ["app.requests", "queue_depth"]);
    let of_metric = encoded(r#"{"app.requests"}"#);
    assert_eq!(names(&format!("{base}/labels?match[]={of_metric}&{times}")), ["__name__", "dc", "host"]);
    let labels = names(&format!("{base}/labels"));
    assert!(["__name__", "dc", "host"].iter().all(|name| labels.iter().any(|known| known == name)), "{labels:?}");
    let hosts = names(&format!("{base}/label/host/values"));
    assert!(["web0", "web1", "web2"].iter().all(|host| hosts.iter().any(|known| known == host)), "{hosts:?}");
    let of_dc = encoded(r#"{"app.requests", dc!="ams"}"#);
    assert_eq!(names(&format!("{base}/label/host/values?match[]={of_dc}")), ["web2"]);
    let of_every = encoded(r#"{__name__!="",host="web2"}"#);
    assert_eq!(names(&format!("{base}/label/__name__/values?match[]={of_every}")), ["app.requests"]);
    assert_eq!(names(&format!("{base}/label/nothing/values")), [""; 0]);
    assert_eq!(names(&format!("{base}/label/host/values?match[]=nothing")), [""; 0]);
    let answer = client.get(&format!("{base}/label/host/values?limit=2&match[]={of_metric}")).json();
    assert_eq!(answer["data"], json!(["web0", "web1"]));
    assert_eq!(answer["warnings"], json!(["results truncated due to limit"]));
    let series = data(&client, &format!("{base}/series?match[]={of_host}&match[]=queue_depth"));
    assert_eq!(
        series,
        json!([{"__name__": "app.requests", "dc": "ams", "host": "web0"}, {"__name__": "queue_depth", "host": "web0"}])
    );
    let metadata = data(&client, &format!("{base}/metadata?metric=app.requests"));
    assert_eq!(metadata["app.requests"], json!([{"type": "counter", "help": "requests served", "unit": ""}]));
    assert!(data(&client, &format!("{base}/status/buildinfo"))["version"].as_str().unwrap().starts_with("3."));
    assert_eq!(data(&client, &format!("{base}/rules")), json!({"groups": []}));
    assert_eq!(data(&client, &format!("{base}/format_query?query=sum(a)by(b)")), "sum by (b) (a)");
}

#[test]
fn errors_are_those_of_prometheus() {
    let node = Node::start(&NodeOptions::without_agent().variable("TIDEMARK_LIMITS__QUERY_SERIES", "3"));
    let client = node.client();
    fill(&client);
    let base = "/prometheus/api/v1";
    let bad = |path: &str, text: &str| {
        let (status, kind, found) = error(&client, path);
        assert_eq!((status, kind.as_str()), (400, "bad_data"), "{path}");
        assert!(found.contains(text), "{path}: {found}");
    };
    bad(&instant("sum("), "invalid parameter \"query\": 1:5: parse error: unexpected end of the expression");
    bad(&format!("{base}/query"), "invalid parameter \"query\"");
    bad(&format!("{base}/query?query=1&time=yesterday"), "invalid parameter \"time\"");
    bad(&format!("{base}/query_range?query=x[5m]&start=1&end=2&step=1"), "must be Scalar or instant Vector");
    bad(&format!("{base}/query_range?query=1&start=1&end=2&step=0"), "zero or negative query resolution");
    bad(&format!("{base}/query_range?query=1&start=2&end=1&step=1"), "end timestamp must not be before start");
    bad(&format!("{base}/query_range?query=1&start=0&end=11000&step=1"), "exceeded maximum resolution of 11,000");
    bad(&format!("{base}/series"), "no match[] parameter");
    bad(&format!("{base}/series?match[]=sum(x)"), "invalid parameter \"match[]\"");
    let (status, kind, text) = error(&client, &instant(r#"{host=~"web.*"}"#));
    assert_eq!((status, kind.as_str()), (422, "execution"));
    assert!(text.contains("the query selects 4 series, at most 3 are allowed"), "{text}");
    // What the index cannot tell apart does not count.
    let narrower = instant(r#"count({host=~"web.*", dc!="fra", nothing=""})"#);
    assert_eq!(data(&client, &narrower)["result"][0]["value"][1], "3");
    let (status, kind, text) = error(&client, &instant(r#"{host="web0"} + on () queue_depth"#));
    assert_eq!((status, kind.as_str()), (422, "execution"), "{text}");
    assert!(text.contains("many-to-one matching must be explicit"), "{text}");
    assert_eq!(client.request("DELETE", &format!("{base}/query"), &[], b"").unwrap().status, 405);
    for path in ["/prometheus", "/prometheus/", "/prometheus/api/v1/nothing", "/prometheus/-/nothing"] {
        let (status, kind, text) = error(&client, path);
        assert_eq!((status, kind.as_str()), (404, "not_found"), "{path}");
        assert!(text.starts_with(path), "{text}");
    }
}

#[test]
fn the_path_that_opentsdb_has_too_goes_to_whom_it_is_meant_for() {
    let node = Node::start(&NodeOptions::without_agent());
    let client = node.client();
    fill(&client);
    let of_opentsdb = format!("start={START_S}&end={}&m=sum:app.requests%7Bhost=web0%7D", START_S + 600);
    let is_prometheus = |body: &Value| body["status"] == "success" && body["data"]["result"].is_array();
    let is_opentsdb = |body: &Value| body[0]["metric"] == "app.requests";
    let form = |body: &str| client.request("POST", "/api/v1/query", &[FORM], body.as_bytes()).unwrap();
    assert!(is_prometheus(&client.get("/api/v1/query?query=1").json()));
    assert!(is_prometheus(&form("query=queue_depth").json()));
    assert!(is_prometheus(&client.get("/api/v1/query_range?query=1&start=1&end=2&step=1").json()));
    assert!(is_opentsdb(&client.get(&format!("/api/v1/query?{of_opentsdb}")).json()));
    let body =
        json!({"start": START_S, "end": START_S + 600, "queries": [{"aggregator": "sum", "metric": "app.requests"}]});
    assert!(is_opentsdb(&client.post("/api/v1/query", &body).json()));
    // `curl -d` calls everything a form.
    assert!(is_opentsdb(&form(&body.to_string()).json()));
    for answer in [form("nothing=1"), form(""), client.get("/api/query?query=1")] {
        assert_eq!(answer.status, 400);
        let text = answer.text();
        assert!(text.contains("/api/query") && text.contains("/prometheus/api/v1/query"), "{text}");
    }
    let error = form("query=sum(").json();
    assert_eq!((&error["status"], &error["errorType"]), (&json!("error"), &json!("bad_data")));

    let start = |setting: &str| Node::start(&NodeOptions::without_agent().variable("TIDEMARK_HTTP__API_V1", setting));
    let node = start("opentsdb");
    let client = node.client();
    assert_eq!(client.get("/api/v1/query?query=1").status, 400);
    assert_eq!(client.get("/api/v1/labels").status, 404);
    assert!(is_prometheus(&client.get("/prometheus/api/v1/query?query=1").json()));
    let node = start("prometheus");
    let client = node.client();
    fill(&client);
    assert_eq!(client.get(&format!("/api/v1/query?{of_opentsdb}")).json()["errorType"], "bad_data");
    assert!(is_prometheus(&client.get("/api/v1/query?query=1").json()));
    assert!(is_opentsdb(&client.get(&format!("/api/query?{of_opentsdb}")).json()));
}
