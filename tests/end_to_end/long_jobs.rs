//! Work that takes long: points of a file, a file of points, rollups of a range, a rule over the past.

use std::{fs, io::Write, time::Duration};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use tidemark_tests::{Client, Node, NodeOptions, Response, wait_for};

const JOBS: &str = "/api/tidemark/v1/jobs";
const UPLOADS: &str = "/api/tidemark/v1/uploads";
/// The begin of 2026.
const START: i64 = 1_767_225_600;
const MINUTES: i64 = 120;

/// Two hours of a queue that is long for half an hour.
fn depth(minute: i64) -> i64 {
    if (60..90).contains(&minute) { 9 } else { 1 }
}

fn fill(client: &Client) {
    let points: Vec<Value> = (0..MINUTES)
        .map(|minute| {
            json!({"metric": "depth", "timestamp": START + minute * 60, "value": depth(minute), "tags": {"host": "a"}})
        })
        .collect();
    let put = client.post("/api/put", &json!(points));
    assert_eq!(put.status, 204, "{}", put.text());
}

/// Runs a job to its end; all that is known of it then.
fn done(client: &Client, job: &Value) -> Value {
    let started = client.post(&format!("{JOBS}?wait=30s"), job);
    assert_eq!(started.status, 200, "{}", started.text());
    client.get(started.header("location").unwrap()).json()
}

fn upload(client: &Client, name: &str, bytes: &[u8]) -> Response {
    client.request("PUT", &format!("{UPLOADS}/{name}"), &[], bytes).unwrap()
}

#[test]
fn what_a_job_exports_another_imports() {
    let (from, to) = (Node::start(&NodeOptions::without_agent()), Node::start(&NodeOptions::without_agent()));
    let (source, target) = (from.client(), to.client());
    fill(&source);
    let export =
        json!({"kind": "export", "format": "csv", "series": ["depth{host=*}"], "from": START, "to": START + 3600});
    let job = done(&source, &export);
    assert_eq!((&job["state"], &job["result"]["points"]), (&json!("completed"), &json!(60)), "{job}");
    assert_eq!((&job["progress"]["done"], &job["progress"]["total"]), (&json!(100), &json!(100)), "{job}");
    let id = job["id"].as_str().unwrap();
    let output = source.get(job["result"]["output"].as_str().unwrap());
    assert_eq!((output.status, output.header("content-type")), (200, Some("text/csv; charset=UTF-8")));
    assert_eq!(output.header("content-length").unwrap(), job["result"]["bytes"].to_string());
    assert!(output.text().starts_with("metric,timestamp_ms,value,tags\ndepth,1767225600000,1,host=a\n"));
    assert_eq!(from.ok(&["jobs", "output", id]), output.text());

    let mut compressed = GzEncoder::new(Vec::new(), Compression::default());
    compressed.write_all(output.text().as_bytes()).unwrap();
    compressed.write_all(b"depth,1767229200000,many,host=a\n").unwrap();
    let put = upload(&target, "depth.csv.gz", &compressed.finish().unwrap());
    assert_eq!((put.status, &put.json()["file"]), (201, &json!("depth.csv.gz")), "{}", put.text());
    for _ in 0..2 {
        let job = done(&target, &json!({"kind": "import", "file": "depth.csv.gz"}));
        let result = json!({"file": "depth.csv.gz", "points": 60, "refused": 1});
        assert_eq!((&job["state"], &job["result"]), (&json!("completed"), &result), "{job}");
        assert!(job["log"][0]["text"].as_str().unwrap().starts_with("line 62: "), "{job}");
        assert_eq!(job["progress"]["done"], job["progress"]["total"], "{job}");
    }
    let query = format!("/api/query?start={START}&end={}&m=sum:depth", START + 7200);
    assert_eq!(target.get(&query).json()[0]["dps"].as_object().unwrap().len(), 60);

    let uploads = target.get(UPLOADS).json();
    assert_eq!(
        (uploads["uploads"].as_array().unwrap().len(), &uploads["uploads"][0]["file"]),
        (1, &json!("depth.csv.gz"))
    );
    let deleted = target.request("DELETE", &format!("{UPLOADS}/depth.csv.gz"), &[], b"").unwrap();
    assert_eq!(deleted.status, 204, "{}", deleted.text());
    let gone = target.post(JOBS, &json!({"kind": "import", "file": "depth.csv.gz"})).json();
    let gone = gone["location"].as_str().unwrap();
    wait_for("an attempt that finds no file", Duration::from_secs(20), || {
        let job = target.get(gone).json();
        job["error"].as_str().is_some_and(|error| error.contains("there is no file")).then_some(())
    });
}

#[test]
fn a_file_is_brought_to_the_server_and_imported_by_one_command() {
    let node = Node::start(&NodeOptions::without_agent());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("depth.csv");
    // More than is held in memory at a time, by either side.
    let points = 300_000;
    let mut text = String::from("metric,timestamp_ms,value,tags\n");
    (0..points).for_each(|point| text.push_str(&format!("depth,{},{point},host=a\n", (START + point) * 1_000)));
    fs::write(&file, &text).unwrap();
    assert!(text.len() > 8 << 20, "{}", text.len());
    let path = file.to_str().unwrap();
    let told = node.ok(&["jobs", "run", "import", "--file", path, "--wait", "60s"]);
    assert!(told.contains("completed") && told.contains(&format!("\"points\":{points}")), "{told}");
    let uploads = node.client().get(UPLOADS).json();
    assert_eq!(
        (&uploads["uploads"][0]["file"], &uploads["uploads"][0]["bytes"]),
        (&json!("depth.csv"), &json!(text.len()))
    );
    let query = format!("/api/query?start={START}&end={}&m=sum:1d-count-none:depth", START + points);
    let counted = node.client().get(&query).json();
    let counted: f64 = counted[0]["dps"].as_object().unwrap().values().filter_map(Value::as_f64).sum();
    assert_eq!(counted, points as f64);

    // Under another name, which takes the place of the file of that name.
    fs::write(&file, "depth 1767225600 5 host=b\n").unwrap();
    for _ in 0..2 {
        let told = node.ok(&["jobs", "run", "import", "other.txt", "--file", path, "--wait", "30s"]);
        assert!(told.contains("other.txt") && told.contains("\"points\":1"), "{told}");
    }
    let check = |arguments: &[&str], expect_code: i32, expect: &str| {
        let (code, _, error) = node.run(&[&["jobs", "run"], arguments].concat());
        assert!(code == Some(expect_code) && error.contains(expect), "{arguments:?}: {code:?} {error}");
    };
    check(&["import"], 2, "`jobs run import --file FILE`");
    check(&["rollup", "seal", "--file", path], 2, "only `import` reads a file");
    check(&["import", "--file", "/no/such/file"], 2, "/no/such/file");
    check(&["import", "--file", folder.path().to_str().unwrap()], 2, "is no file");
    check(&["import", "../x", "--file", path], 1, "the server answered 4");
}

#[test]
fn a_path_of_a_job_stays_in_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let jobs = folder.path().join("files");
    let options = NodeOptions::without_agent()
        .variable("TIDEMARK_JOBS__FOLDER", jobs.to_str().unwrap())
        .variable("TIDEMARK_JOBS__FOLDER_BYTES", "10KiB");
    let node = Node::start(&options);
    let client = node.client();
    fs::write(folder.path().join("secret"), "depth 1767225600 1 host=a\n").unwrap();
    assert_eq!(upload(&client, "small", b"depth 1767225600 1 host=a\n").status, 201);
    assert!(jobs.join("uploads/small").is_file());
    std::os::unix::fs::symlink(folder.path().join("secret"), jobs.join("uploads/link")).unwrap();
    for name in ["..%2Fsecret", ".hidden", "a%2Fb", "a%00b"] {
        let refused = upload(&client, name, b"x");
        assert!((400..500).contains(&refused.status), "{name}: {}", refused.text());
    }
    assert_eq!(fs::read_to_string(folder.path().join("secret")).unwrap(), "depth 1767225600 1 host=a\n");
    for name in ["../secret", "/etc/passwd", ""] {
        let refused = client.post(JOBS, &json!({"kind": "import", "file": name}));
        assert_eq!(refused.status, 400, "{name}: {}", refused.text());
    }
    let link = json!({"kind": "import", "file": "link", "time_limit": "5s"});
    let link = client.post(JOBS, &link).json()["location"].as_str().unwrap().to_owned();
    wait_for("an attempt that follows no link", Duration::from_secs(20), || {
        let job = client.get(&link).json();
        job["error"].as_str().is_some_and(|error| error.contains("there is no file `link`")).then_some(())
    });
    let large = upload(&client, "large", &[b'x'; 20 << 10]);
    assert_eq!(large.status, 507, "{}", large.text());
    assert!(large.text().contains("`jobs.folder_bytes`"), "{}", large.text());
    let none = client.get(&format!("{JOBS}/018f2c4e-0000-7000-8000-000000000000/output"));
    assert_eq!(none.status, 404, "{}", none.text());
}

#[test]
fn a_rule_is_tried_over_the_past() {
    let node = Node::start(&NodeOptions::without_agent());
    fill(&node.client());
    let folder = tempfile::tempdir().unwrap();
    let rule = folder.path().join("depth.toml");
    let text = "[[rule]]\nname = \"depth.high\"\nevery = \"1m\"\nunknown_after = \"1h\"\n\
        crit = 'avg(q(\"sum:depth{host=*}\", \"5m\", \"\")) > 5'\n";
    fs::write(&rule, text).unwrap();
    let (from, to) = (START.to_string(), (START + MINUTES * 60).to_string());
    let of_file = ["--file", rule.to_str().unwrap()];
    let command = ["rules", "backtest", "depth.high", "--from", &from, "--to", &to, "--every", "5m"];
    let shown = node.ok(&[command.as_slice(), &of_file].concat());
    assert!(shown.starts_with("TIME "), "{shown}");
    let changes: Vec<&str> = shown.lines().filter(|line| line.contains("{host=a}")).collect();
    assert_eq!(changes.len(), 2, "{shown}");
    assert!(changes[0].starts_with("2026-01-01 01:05:00") && changes[0].contains("critical"), "{shown}");
    let json: Value =
        serde_json::from_str(&node.ok(&[command.as_slice(), &of_file, &["-o", "json"]].concat())).unwrap();
    assert_eq!(
        (&json["evaluations"], &json["failures"], &json["opened"]),
        (&json!(24), &json!(0), &json!(1)),
        "{json}"
    );
    assert_eq!((&json["keys"], &json["is_whole"]), (&json!(1), &json!(true)), "{json}");
    assert_eq!(json["changes"][1]["state"], "normal", "{json}");

    let (code, _, error) = node.run(&command);
    assert_eq!(code, Some(1));
    assert!(error.contains("no rule `depth.high`"), "{error}");
    let (code, _, error) = node.run(&["rules", "backtest", "depth.high", "--from", "1y-ago", "--file", of_file[1]]);
    assert_eq!(code, Some(1));
    assert!(error.contains("more than 20000"), "{error}");
    let wrong = json!({"kind": "backtest", "from": "1d-ago", "text": "[[rule]]\nname = \"x\"\ncrit = 'avg('\n"});
    let refused = node.client().post(JOBS, &wrong);
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("line 3"), "{}", refused.text());
    // Nobody heard of any of it.
    let incidents = node.client().get("/api/tidemark/v1/incidents?state=all");
    assert!(incidents.status == 200 && !incidents.text().contains("depth.high"), "{}", incidents.text());
}

#[test]
fn rollups_of_a_range_are_made_again() {
    let node = Node::start(&NodeOptions::without_agent());
    fill(&node.client());
    let from = START.to_string();
    let told = node
        .ok(&["jobs", "run", "rollup", "range", "--from", &from, "--to", "now", "--metric", "depth", "--wait", "30s"]);
    assert!(told.contains("completed") && told.contains("made 1 days of metrics anew: 120 points"), "{told}");
    let (code, _, error) = node.run(&["jobs", "run", "rollup", "range"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("needs `from`"), "{error}");
}

#[test]
fn workflows_are_started_listed_and_called_off() {
    let node = Node::start(&NodeOptions::without_agent());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("flow.json");
    let seal = json!({"kind": "rollup", "step": "seal"});
    let chord = json!({"name": "nightly", "nodes": [{"job": seal}, {"job": seal}, {"job": seal, "after": [0, 1]}]});
    fs::write(&file, chord.to_string()).unwrap();
    let started = node.ok(&["workflows", "start", file.to_str().unwrap()]);
    let id = started.split(' ').next().unwrap();
    let shown = node.ok(&["workflows", "show", id, "--wait", "30s"]);
    assert!(shown.contains("completed") && shown.contains("0,1"), "{shown}");
    let later = json!({"nodes": [{"job": {"kind": "rollup", "step": "seal", "not_before": "+1h"}}]});
    fs::write(&file, later.to_string()).unwrap();
    let started = node.ok(&["workflows", "start", file.to_str().unwrap()]);
    let second = started.split(' ').next().unwrap();
    let listed = node.ok(&["workflows", "ls"]);
    assert!(listed.contains(id) && listed.contains(second) && listed.contains("nightly"), "{listed}");
    let page = node.client().get("/tasks").text();
    assert!(page.contains(&format!("/tasks/workflows/{id}")) && page.contains("nightly"), "{page}");
    assert!(node.ok(&["workflows", "cancel", second]).starts_with(second));
    assert!(node.ok(&["workflows", "show", second, "--wait", "10s"]).contains("cancelled"));
    let (code, _, error) = node.run(&["workflows", "cancel", second]);
    assert_eq!(code, Some(1));
    assert!(error.contains("has ended already"), "{error}");
    fs::write(&file, "no json").unwrap();
    assert_eq!(node.run(&["workflows", "start", file.to_str().unwrap()]).0, Some(2));
}
