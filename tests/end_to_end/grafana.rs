//! What Grafana's data source of type OpenTSDB sends, in each of its versions (1: up to 2.1, 2: 2.2, 3: 2.3, 4: 2.4), read
//! as strictly as Grafana reads it; and the dashboard in `deploy/grafana`.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use serde::Deserialize;
use serde_json::{Value, json};
use tidemark_tests::{Client, Node, NodeOptions, wait_for};

const START_S: i64 = 1_767_225_600;
const START_MS: i64 = START_S * 1000;

/// Ten minutes of a counter of four hosts, with a hole, and an annotation about everything.
fn fill(client: &Client) {
    for host in 0..4 {
        let points: Vec<Value> = (0..60)
            .filter(|step| host != 3 || !(20..30).contains(step))
            .map(|step| {
                let tags = json!({"host": format!("web{host}"), "dc": if host < 2 { "ams" } else { "fra" }});
                json!({"metric": "gf.requests", "timestamp": START_S + step * 10, "value": step * 20, "tags": tags})
            })
            .collect();
        assert_eq!(client.post("/api/put", &Value::Array(points)).status, 204);
    }
    let note = json!({"startTime": START_S + 60, "endTime": START_S + 120, "description": "a new release"});
    assert_eq!(client.post("/api/annotation", &note).status, 200);
}

/// As the page reads an answer: `dps` is an object of numbers.
#[derive(Debug, Deserialize)]
struct Series {
    metric: String,
    tags: BTreeMap<String, String>,
    #[serde(rename = "aggregateTags")]
    aggregate_tags: Vec<String>,
    dps: BTreeMap<String, f64>,
    query: Option<QueryEcho>,
    #[serde(rename = "globalAnnotations", default)]
    global_annotations: Vec<Note>,
}

#[derive(Debug, Deserialize)]
struct QueryEcho {
    index: usize,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Note {
    description: String,
    start_time: i64,
    end_time: Option<i64>,
}

/// As the server of Grafana reads an answer of version 2.4: pairs of numbers, of which `null` is 0.
#[derive(Debug, Deserialize)]
struct ArraySeries {
    metric: String,
    tags: BTreeMap<String, String>,
    dps: Vec<(f64, Option<f64>)>,
}

fn read<T: for<'a> Deserialize<'a>>(client: &Client, path: &str, query: &Value) -> Vec<T> {
    let answer = client.post(path, query);
    assert_eq!(answer.status, 200, "{query}: {}", answer.text());
    serde_json::from_str(&answer.text()).unwrap_or_else(|error| panic!("{error} in {}", answer.text()))
}

fn names(client: &Client, path: &str) -> Vec<String> {
    let answer = client.get(path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json; charset=UTF-8"), "{path}");
    let mut names: Vec<String> = serde_json::from_str(&answer.text()).unwrap();
    names.sort();
    names
}

#[test]
fn what_the_editor_of_queries_asks_is_answered() {
    let node = Node::start(&NodeOptions::without_agent());
    let client = node.client();
    fill(&client);
    assert_eq!(names(&client, "/api/suggest?type=metrics&q=cpu&max=10"), [""; 0]);
    assert_eq!(names(&client, "/api/suggest?type=metrics&q=gf&max=1000"), ["gf.requests"]);
    let keys = names(&client, "/api/suggest?type=tagk&q=&max=1000");
    assert!(["dc", "host"].iter().all(|key| keys.iter().any(|known| known == key)), "{keys:?}");
    assert_eq!(names(&client, "/api/suggest?type=tagv&q=web&max=2").len(), 2);
    let aggregators = names(&client, "/api/aggregators");
    for name in ["avg", "count", "dev", "max", "min", "mimmax", "none", "p99", "sum", "zimsum"] {
        assert!(aggregators.iter().any(|known| known == name), "{name}");
    }
    let filters: BTreeMap<String, Value> = serde_json::from_str(&client.get("/api/config/filters").text()).unwrap();
    for name in ["iliteral_or", "iwildcard", "literal_or", "not_iliteral_or", "not_literal_or", "regexp", "wildcard"] {
        assert!(filters.contains_key(name), "{name}");
    }
    // `tag_names(gf.requests)` and `tag_values(gf.requests, host, dc=fra)`.
    let found = client.get("/api/search/lookup?m=gf.requests&limit=1000").json();
    let keys: Vec<_> = found["results"][0]["tags"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["dc", "host"]);
    let found = client.get("/api/search/lookup?m=gf.requests%7Bhost=*,dc=fra%7D&limit=1000").json();
    let mut hosts: Vec<_> =
        found["results"].as_array().unwrap().iter().map(|one| one["tags"]["host"].as_str().unwrap()).collect();
    hosts.sort_unstable();
    assert_eq!(hosts, ["web2", "web3"]);
}

/// The parts of a query that depend on the version of the data source.
fn panel_query(version: u8, fields: &Value) -> Value {
    let mut query = json!({"metric": "gf.requests", "aggregator": "sum", "downsample": "1m-avg"});
    let object = query.as_object_mut().unwrap();
    object.extend(fields.as_object().unwrap().clone());
    if version == 1 {
        object.insert("tags".to_owned(), json!({"dc": "*"}));
    } else {
        let filter = json!({"type": "wildcard", "tagk": "dc", "filter": "*", "groupBy": true});
        object.insert("filters".to_owned(), json!([filter]));
    }
    query
}

#[test]
fn panels_of_all_versions_are_drawn_with_the_same_numbers() {
    let node = Node::start(&NodeOptions::without_agent());
    let client = node.client();
    fill(&client);
    for version in 1..=4_u8 {
        for ms_resolution in [false, true] {
            let counter = json!({"counter": true, "counterMax": 4_294_967_295_u32, "resetValue": 1000});
            let queries = [
                panel_query(version, &json!({"rate": true, "rateOptions": counter})),
                panel_query(version, &json!({"aggregator": "max", "explicitTags": false})),
            ];
            let mut request = json!({"start": START_MS, "end": START_MS + 599_999, "msResolution": ms_resolution,
                "globalAnnotations": true, "queries": queries});
            if version == 3 {
                request["showQuery"] = json!(true);
            }
            let series: Vec<Series> = read(&client, "/api/query", &request);
            assert_eq!(series.len(), 4, "version {version}: {series:?}");
            for (position, one) in series.iter().enumerate() {
                assert_eq!(one.metric, "gf.requests");
                assert_eq!(one.aggregate_tags, ["host"]);
                assert!(["ams", "fra"].contains(&one.tags["dc"].as_str()));
                assert_eq!(one.query.as_ref().map(|query| query.index), (version == 3).then_some(position / 2));
                let second = (START_S + 60) * if ms_resolution { 1000 } else { 1 };
                // Two hosts of 2 requests a second each; the larger of two means of 120, 140, … 220.
                assert_eq!(one.dps[&second.to_string()], if position < 2 { 4.0 } else { 170.0 }, "{one:?}");
                let notes = &one.global_annotations;
                assert_eq!((notes.len(), notes[0].description.as_str()), (1, "a new release"));
                assert_eq!((notes[0].start_time, notes[0].end_time), (START_S + 60, Some(START_S + 120)));
            }
        }
    }
}

#[test]
fn alert_rules_of_grafana_get_numbers_in_either_form() {
    let node = Node::start(&NodeOptions::without_agent());
    let client = node.client();
    fill(&client);
    for fill_policy in ["", "-nan", "-null", "-zero"] {
        let downsample = format!("10s-avg{fill_policy}");
        let filter = json!({"type": "literal_or", "tagk": "host", "filter": "web3", "groupBy": true});
        let query =
            json!({"metric": "gf.requests", "aggregator": "none", "downsample": downsample, "filters": [filter]});
        let request = json!({"start": START_S, "end": START_S + 599, "queries": [query]});
        let series: Vec<ArraySeries> = read(&client, "/api/query?arrays=true", &request);
        let [one] = series.as_slice() else { panic!("{series:?}") };
        assert_eq!((one.metric.as_str(), one.tags["host"].as_str()), ("gf.requests", "web3"));
        let holes = one.dps.iter().filter(|(_, value)| value.is_none()).count();
        let zeros = one.dps.iter().filter(|(_, value)| *value == Some(0.0)).count();
        let expected = match fill_policy {
            "" => (50, 0, 1),
            "-zero" => (60, 0, 11),
            _ => (60, 10, 1),
        };
        assert_eq!((one.dps.len(), holes, zeros), expected, "{downsample}");
        assert_eq!(one.dps[0], (START_S as f64, Some(0.0)));
    }
}

#[test]
fn annotations_and_errors_are_where_grafana_looks_for_them() {
    let node = Node::start(&NodeOptions::without_agent());
    let client = node.client();
    fill(&client);
    let request = json!({"start": START_MS, "end": START_MS + 599_000, "msResolution": false, "globalAnnotations": true,
        "queries": [{"aggregator": "sum", "metric": "gf.requests"}]});
    let series: Vec<Series> = read(&client, "/api/query", &request);
    assert_eq!(series[0].global_annotations[0].description, "a new release");
    let unknown = json!({"start": START_MS, "queries": [{"aggregator": "sum", "metric": "gf.nothing"}]});
    let answer = client.post("/api/query", &unknown);
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["error"]["message"], "No such name for 'metrics': 'gf.nothing'");
}

/// The queries of a dashboard as version 4 sends them, with the name of their panel.
fn dashboard_queries(dashboard: &Value, host: &str) -> Vec<(String, Value)> {
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let mut filters = target["filters"].clone();
            for filter in filters.as_array_mut().unwrap() {
                filter["filter"] = json!(filter["filter"].as_str().unwrap().replace("$host", host));
            }
            let downsample = format!("10s-{}", target["downsampleAggregator"].as_str().unwrap());
            let mut query = json!({"metric": target["metric"], "aggregator": target["aggregator"],
                "downsample": downsample, "filters": filters});
            if target["shouldComputeRate"] == true {
                query["rate"] = json!(true);
                query["rateOptions"] = json!({"counter": target["isCounter"]});
            }
            queries.push((format!("{} {}", panel["title"], target["refId"]), query));
        }
    }
    queries
}

#[test]
fn every_panel_of_the_dashboard_shows_something_of_a_host_that_collects_itself() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/grafana");
    let dashboard = fs::read_to_string(folder.join("dashboards/host.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let source = fs::read_to_string(folder.join("provisioning/datasources/tidemark.yaml")).unwrap();
    let uid = dashboard["panels"][0]["datasource"]["uid"].as_str().unwrap();
    assert!(source.contains(&format!("uid: {uid}\n")) && source.contains("type: opentsdb\n"), "{source}");

    let node = Node::start(&NodeOptions::default());
    let client = node.client();
    let host = wait_for("the host itself", Duration::from_secs(60), || {
        let found = client.get("/api/search/lookup?m=os.cpu%7Bhost=*%7D&limit=1000").json();
        found["results"][0]["tags"]["host"].as_str().map(str::to_owned)
    });
    let queries = dashboard_queries(&dashboard, &host);
    assert!(queries.len() >= 10, "{} queries", queries.len());
    for (name, query) in queries {
        // A rate needs two points, and the collectors have intervals of 15 s.
        wait_for(&format!("points for {name}"), Duration::from_secs(90), || {
            let request = json!({"start": "10m-ago", "queries": [query]});
            let answer = client.post("/api/query?arrays=true", &request);
            let series: Vec<ArraySeries> = serde_json::from_str(&answer.text()).ok()?;
            series.iter().any(|one| !one.dps.is_empty()).then_some(())
        });
    }
}
