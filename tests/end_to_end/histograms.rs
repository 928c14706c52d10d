//! Histograms from both protocols to their percentiles, through jobs, a seal, a kill and a deletion.

use std::{io::Write, net::TcpStream, path::Path, time::Duration};

use serde_json::{Value, json};
use tidemark_tests::{Client, Node, NodeOptions, RedisServer, wait_for};

const START_S: i64 = 1_356_998_400;

fn options(data: &Path) -> NodeOptions {
    NodeOptions::without_agent().data(data).variable("TIDEMARK_OPENTSDB__ALLOW_DELETE", "true")
}

fn percentiles(client: &Client, of: &str) -> Value {
    let path = format!("/api/query?start={START_S}&end={}&m={of}", START_S + 600);
    let answer = client.get(&path);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn dps(answer: &Value) -> Vec<(String, Value)> {
    let elements = answer.as_array().unwrap().iter();
    elements.map(|element| (element["metric"].as_str().unwrap().to_owned(), element["dps"].clone())).collect()
}

/// 12 and 16 from web01 by HTTP, 4 and 28 from web02 by telnet, and a minute later the bytes of 12 and 16 again.
fn write(client: &Client) {
    let histogram = json!([
        {"metric": "e2e.lat", "timestamp": START_S, "tags": {"host": "web01"}, "underflow": 1, "overflow": 2,
         "buckets": {"0,1.75": 12, "1.75,3.5": 16}},
        {"metric": "e2e.lat", "timestamp": START_S, "tags": {"host": "web01"}},
        // Two buckets from 0 to 1.75 and from there to 3.5 with 12 and 16; below 1, above 2.
        {"metric": "e2e.lat", "timestamp": START_S + 60, "tags": {"host": "web01"}, "id": 0,
         "value": "AAIAAAAAP+AAAAw/4AAAQGAAABABAg=="},
    ]);
    let answer = client.post("/api/histogram?sync&details", &histogram);
    assert_eq!(answer.status, 400, "{}", answer.text());
    let answer = answer.json();
    assert_eq!((&answer["success"], &answer["failed"]), (&json!(2), &json!(1)));
    assert_eq!(answer["errors"][0]["error"], "Histogram buckets cannot be null or empty if 'value' is empty.");
    let mut telnet = TcpStream::connect(client.address()).unwrap();
    telnet.write_all(format!("histogram e2e.lat {START_S} 0,1.75=4:1.75,3.5=28 host=web02\n").as_bytes()).unwrap();
    wait_for("the line is stored", Duration::from_secs(30), || {
        (percentiles(client, "none:percentiles[50]:e2e.lat").as_array().unwrap().len() == 2).then_some(())
    });
}

fn check(client: &Client) {
    let times = [START_S, START_S + 60].map(|time| time.to_string());
    // Together 16 and 44 of 60 at the start: 26.7 % are in the first bucket; 42.9 % a minute later.
    let found = percentiles(client, "sum:percentiles[25,40,95]:e2e.lat");
    assert_eq!(
        dps(&found),
        [
            ("e2e.lat_pct_25.0".to_owned(), json!({&times[0]: 0.875, &times[1]: 0.875})),
            ("e2e.lat_pct_40.0".to_owned(), json!({&times[0]: 2.625, &times[1]: 0.875})),
            ("e2e.lat_pct_95.0".to_owned(), json!({&times[0]: 2.625, &times[1]: 2.625})),
        ]
    );
    assert_eq!((&found[0]["tags"], &found[0]["aggregateTags"]), (&json!({}), &json!(["host"])));
    let buckets = percentiles(client, "sum:1m-sum:show-histogram-buckets:e2e.lat%7Bhost=web01%7D");
    assert_eq!(
        dps(&buckets),
        [
            ("e2e.lat_UNDERFLOW".to_owned(), json!({&times[0]: 1, &times[1]: 1})),
            ("e2e.lat_0.0_1.75".to_owned(), json!({&times[0]: 12, &times[1]: 12})),
            ("e2e.lat_1.75_3.5".to_owned(), json!({&times[0]: 16, &times[1]: 16})),
            ("e2e.lat_OVERFLOW".to_owned(), json!({&times[0]: 2, &times[1]: 2})),
        ]
    );
    assert_eq!(percentiles(client, "sum:e2e.lat"), json!([]));
    let unknown = client.get(&format!("/api/query?start={START_S}&m=sum:percentiles[5]:e2e.none"));
    assert_eq!(unknown.json()["error"]["message"], "No such name for 'metrics': 'e2e.none'");
    // They are found under the names that they were written with.
    assert_eq!(client.get("/api/suggest?type=metrics&q=e2e").json(), json!(["e2e.lat"]));
    let found = client.get("/api/search/lookup?m=e2e.lat%7Bhost=*%7D").json();
    let tags: Vec<&Value> = found["results"].as_array().unwrap().iter().map(|result| &result["tags"]).collect();
    assert_eq!(tags, [&json!({"host": "web01"}), &json!({"host": "web02"})], "{found}");
    assert_eq!((&found["totalResults"], &found["results"][0]["metric"]), (&json!(2), &json!("e2e.lat")));
    // Nobody sees what they are kept in.
    for path in ["/api/suggest?type=metrics", "/api/suggest?type=tagk", "/api/suggest?type=tagv&max=1000"] {
        let names = client.get(path).json();
        assert!(names.as_array().unwrap().iter().all(|name| !name.as_str().unwrap().contains('\u{1}')), "{names}");
    }
}

/// What has no points has no last one, and no line of values.
fn check_what_needs_points(node: &Node) {
    let client = node.client();
    let point = json!({"metric": "late.point", "timestamp": START_S, "value": 7, "tags": {"host": "web01"}});
    assert_eq!(client.post("/api/put?sync", &point).status, 204);
    let rollup = json!({"metric": "late.hourly", "timestamp": START_S, "value": 7, "tags": {"host": "web01"}, "interval": "1h",
        "aggregator": "SUM"});
    assert_eq!(client.post("/api/rollup?sync", &rollup).status, 204);
    for metric in ["e2e.lat", "late.hourly"] {
        assert_eq!(client.get(&format!("/api/query/last?timeseries={metric}")).json(), json!([]), "{metric}");
    }
    let unknown = client.get("/api/query/last?timeseries=e2e.none");
    assert_eq!(
        (unknown.status, unknown.json()["error"]["message"].clone()),
        (400, json!("No such name for 'metrics': 'e2e.none'"))
    );
    let export = |arguments: &[&str]| {
        let (code, lines, told) = node.run(&[&["export"], arguments].concat());
        assert_eq!(code, Some(0), "{told}");
        (lines, told)
    };
    let line = "late.point,1356998400000,7,host=web01\n";
    let heading = "metric,timestamp_ms,value,tags\n";
    let left_out = |metrics: u32| {
        format!("metrics whose histograms or rollups are left out: {metrics}; lines of json have them\n")
    };
    let csv = |arguments: &[&str]| export(&[&["--format", "csv"], arguments].concat());
    assert_eq!(csv(&["--to", "2013/01/02"]), (format!("{heading}{line}"), left_out(2)));
    assert_eq!(csv(&["e2e.lat"]), (heading.to_owned(), left_out(1)));
    assert_eq!(csv(&["late.point"]), (format!("{heading}{line}"), String::new()));
    // Three histograms, a rollup and a point.
    let (lines, told) = export(&["--to", "2013/01/02"]);
    assert_eq!((lines.lines().count(), told.as_str()), (5, ""), "{lines}");
}

fn seal(client: &Client) {
    let job = wait_for("the schedule of seals is written", Duration::from_secs(30), || {
        let answer = client.post("/api/tidemark/v1/schedules/seal/run", &json!({}));
        (answer.status == 202).then(|| answer.json()["job"].as_str().unwrap().to_owned())
    });
    wait_for("the seal is done", Duration::from_secs(60), || {
        let state = client.get(&format!("/api/tidemark/v1/jobs/{job}")).json()["state"].clone();
        (state == "completed").then_some(())
    });
}

fn live(options: &NodeOptions) {
    let mut node = Node::start(options);
    write(&node.client());
    check(&node.client());
    check_what_needs_points(&node);
    node.kill();
    let node = Node::start(options);
    check(&node.client());
    seal(&node.client());
    check(&node.client());
    let path = format!("/api/query?start={START_S}&end={START_S}&m=sum:percentiles[25]:e2e.lat");
    let deleted = node.client().request("DELETE", &path, &[], b"").unwrap();
    assert_eq!(deleted.json()[0]["dps"], json!({START_S.to_string(): 0.875}), "{}", deleted.text());
    let left = percentiles(&node.client(), "sum:percentiles[25]:e2e.lat");
    assert_eq!(left[0]["dps"], json!({(START_S + 60).to_string(): 0.875}), "{left}");
}

#[test]
fn a_histogram_lives_as_long_as_a_point() {
    let data = tempfile::tempdir().unwrap();
    live(&options(data.path()));
}

#[test]
fn a_histogram_goes_through_redis_as_a_point_does() {
    let redis = RedisServer::start();
    let data = tempfile::tempdir().unwrap();
    live(&options(data.path()).arguments(&["--broker", &redis.url()]));
}
