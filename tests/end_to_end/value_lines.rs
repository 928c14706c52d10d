//! Histograms and what others aggregated, as lines: from one server to the others in every way that there is.

use std::{fs, path::Path};

use serde_json::{Value, json};
use tidemark_tests::{Client, Node, NodeOptions};

/// An hour on the hour.
const START_S: i64 = 1_356_998_400;

fn node(data: &Path) -> Node {
    Node::start(&NodeOptions::without_agent().data(data))
}

fn post(client: &Client, path: &str, body: &Value) {
    let answer = client.post(&format!("{path}?sync&details"), body);
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Histograms of two series over three hours, one of them replaced, one without a bucket, and one of a metric that has
/// points; points, rollups and pre-aggregates of one metric.
fn write(client: &Client) {
    let histogram = |metric: &str, minute: i64, host: &str, buckets: Value| {
        json!({"metric": metric, "timestamp": START_S + minute * 60, "tags": {"host": host, "dc": "x"}, "underflow": 1,
               "overflow": minute, "buckets": buckets})
    };
    let mut histograms = vec![histogram("lines.lat", 0, "web01", json!({"0,9": 99, "9,10": 99}))];
    for minute in 0..180 {
        let buckets = match minute % 3 {
            0 => json!({"0,1.75": minute, "1.75,3.5": 16}),
            _ => json!({"0,1.75": 3, "1.75,3.5": minute, "3.5,1e30": 1}),
        };
        histograms.push(histogram("lines.lat", minute, "web01", buckets.clone()));
        histograms.push(histogram("lines.lat", minute, "web02", buckets));
    }
    // No buckets, 1 below and 2 above.
    histograms.push(json!({"metric": "lines.lat", "timestamp": START_S + 1, "tags": {"host": "web03"}, "id": 0,
                           "value": "AACBAIIA"}));
    histograms.push(histogram("lines.cpu", 5, "web01", json!({"0,100": 7})));
    post(client, "/api/histogram", &json!(histograms));
    let point = json!({"metric": "lines.cpu", "timestamp": START_S, "value": 7, "tags": {"host": "web01"}});
    post(client, "/api/put", &point);
    let value = |hour: i64, value: Value, fields: Value| {
        let mut value = json!({"metric": "lines.cpu", "timestamp": START_S + hour * 3_600, "value": value,
                               "tags": {"host": "web01"}});
        value.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        value
    };
    let hourly = |aggregator: &str| json!({"interval": "1h", "aggregator": aggregator});
    let values = json!([
        value(0, json!(1_000), hourly("SUM")),
        value(1, json!(600.5), hourly("SUM")),
        value(1, json!(60), hourly("COUNT")),
        value(2, json!(-3), hourly("MIN")),
        value(0, json!(77), json!({"groupByAggregator": "MAX"})),
        value(2, json!(88), json!({"interval": "1h", "aggregator": "SUM", "groupByAggregator": "MAX"})),
    ]);
    post(client, "/api/rollup", &values);
}

/// What is asked, and how many results there are.
const QUERIES: [(&str, usize); 9] = [
    ("none:percentiles[50,99.9]:lines.lat", 6),
    ("sum:1h-sum:percentiles[50]:show-histogram-buckets:lines.lat", 6),
    ("sum:show-histogram-buckets:lines.cpu", 3),
    ("sum:lines.cpu", 1),
    ("sum:1h-sum:lines.cpu", 1),
    ("sum:1h-avg:lines.cpu", 1),
    ("sum:1h-min:lines.cpu", 1),
    ("sum:pre-agg:lines.cpu", 1),
    ("sum:pre-agg:1h-sum:lines.cpu", 1),
];

/// The answers to all questions; ids of series are left out, since each store has its own.
fn answers(node: &Node) -> Vec<Value> {
    let ask = |(query, results): &(&str, usize)| {
        let path = format!("/api/query?ms&start={START_S}&end={}&m={query}", START_S + 3 * 3_600);
        let answer = node.client().get(&path);
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
        assert_eq!(answer.json().as_array().unwrap().len(), *results, "{query}: {}", answer.text());
        answer.json()
    };
    QUERIES.iter().map(ask).collect()
}

fn export(node: &Node, arguments: &[&str]) -> String {
    let (code, lines, told) = node.run(&[&["export"], arguments].concat());
    assert_eq!((code, told.as_str()), (Some(0), ""));
    // The server's figures about itself are there, too.
    lines.lines().filter(|line| line.contains("\"lines.")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn histograms_and_rollups_are_exported_and_imported_in_every_way() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut from = node(&path("from"));
    write(&from.client());
    let expected = answers(&from);
    let lines = export(&from, &["--format", "json"]);
    // 361 histograms of one metric and one of the other, a point and six values.
    assert_eq!(lines.lines().count(), 362 + 1 + 6, "{lines}");
    assert_eq!(export(&from, &["lines.cpu"]).lines().count(), 1 + 1 + 6);
    let narrow = export(&from, &["lines.lat{host=web02}", "--from", "2013/01/01-01:00", "--to", "2013/01/01-02:00"]);
    assert_eq!(narrow.lines().count(), 60, "{narrow}");
    fs::write(path("all.jsonl"), &lines).unwrap();
    let file = path("all.jsonl");
    let file = file.to_str().unwrap();

    // By the command line to a server, twice: nothing changes.
    let to = node(&path("remote"));
    for _ in 0..2 {
        let (code, _, told) = to.run(&["import", file]);
        assert_eq!((code, told.lines().last()), (Some(0), Some("369 points are stored, 0 lines were left out")));
    }
    assert_eq!(answers(&to), expected);
    assert_eq!(export(&to, &[]), lines);

    // By a job on a server, from the file that a job made.
    let job = from.ok(&["jobs", "run", "export", "json", "--wait", "30s"]);
    let id = job.split(' ').next().unwrap();
    fs::write(path("of_job.jsonl"), from.ok(&["jobs", "output", id])).unwrap();
    let to = node(&path("job"));
    let told = to.ok(&["jobs", "run", "import", "--file", path("of_job.jsonl").to_str().unwrap(), "--wait", "30s"]);
    assert!(told.contains("completed") && told.contains(r#""refused":0"#), "{told}");
    assert_eq!(answers(&to), expected);

    // The lines are bodies of the endpoints.
    let to = node(&path("posted"));
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let is_histogram = line.get("buckets").or(line.get("id")).is_some();
        let is_rollup = line.get("aggregator").or(line.get("groupByAggregator")).is_some();
        let path = if is_histogram {
            "/api/histogram"
        } else if is_rollup {
            "/api/rollup"
        } else {
            "/api/put"
        };
        post(&to.client(), path, &line);
    }
    assert_eq!(answers(&to), expected);

    // Without a server.
    assert!(from.stop().success());
    let offline = |arguments: &[&str], data: &Path| {
        let mut command = tidemark_tests::tidemark();
        command.args(arguments).arg("--data").arg(data).output().unwrap()
    };
    let exported = offline(&["export"], &path("from"));
    let text = String::from_utf8(exported.stdout).unwrap();
    assert_eq!(
        text.lines().filter(|line| line.contains("\"lines.")).collect::<Vec<_>>(),
        lines.lines().collect::<Vec<_>>()
    );
    assert!(offline(&["import", file], &path("offline")).status.success());
    assert_eq!(answers(&node(&path("offline"))), expected);
}

#[test]
fn what_is_wrong_with_a_line_of_a_histogram_or_a_rollup_is_told_with_its_number() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("some.jsonl");
    let line = |fields: &str| {
        format!("{{\"metric\":\"lines.odd\",\"timestamp\":{START_S},{fields},\"tags\":{{\"a\":\"b\"}}}}\n")
    };
    let lines = [
        line(r#""value":1"#),
        line(r#""buckets":{"0,1":-1}"#),
        line(r#""buckets":{"0,1":1},"underflow":"many""#),
        line(r#""value":1,"interval":"9h","aggregator":"SUM""#),
        line(r#""value":1,"interval":"1h","aggregator":"P99""#),
        line(r#""value":1,"interval":"1h","aggregator":"SUM""#),
        line(r#""buckets":{"0,1":1}"#),
    ];
    fs::write(&file, lines.concat()).unwrap();
    let file = file.to_str().unwrap();
    let node = node(&folder.path().join("data"));
    // That there is no such interval is what the server says, to whoever has nothing to say about it.
    let (code, _, told) = node.run(&["import", file]);
    let expected = [
        "line 2: a bucket cannot hold -1 values",
        "line 3: `many` is no count of a histogram",
        "line 5: No ID found mapping to aggregator: P99",
        "line 4: No rollups configured for the interval: 9h",
    ];
    let expected: Vec<_> = expected.iter().map(|text| format!("{file}: {text}")).collect();
    let told: Vec<&str> = told.lines().collect();
    assert_eq!(code, Some(1));
    assert_eq!(told[..4], expected, "{told:?}");
    assert_eq!(told.last(), Some(&"3 points are stored, 4 lines were left out"));
    let job = node.ok(&["jobs", "run", "import", "--file", file, "--wait", "30s"]);
    assert!(job.contains(r#"{"file":"some.jsonl","points":3,"refused":4}"#), "{job}");
}
