//! The main job once, from a point on the wire to a graph, on both brokers.

use std::time::Duration;

use serde_json::{Value, json};
use tidemark_tests::{Client, Ledger, Node, NodeOptions, RedisServer, wait_for};

#[test]
fn everything_works_on_the_embedded_broker() {
    let node = Node::start(&NodeOptions::default());
    whole_way(&node);
}

#[test]
fn everything_works_through_redis() {
    let redis = RedisServer::start();
    let node = Node::start(&NodeOptions::default().arguments(&["--broker", &redis.url()]));
    whole_way(&node);
}

fn whole_way(node: &Node) {
    let client = node.client();
    assert_eq!(client.get("/-/healthy").status, 200);
    wait_for("the node is ready", Duration::from_secs(10), || (client.get("/-/ready").status == 200).then_some(()));
    a_put_is_in_the_next_query(&client);
    a_line_is_in_the_next_query(node);
    the_agents_metrics_arrive(&client);
    the_node_watches_itself(&client);
    jobs_run(&client);
    pages_show_it(&client);
}

fn a_put_is_in_the_next_query(client: &Client) {
    let point = |value: f64, host: &str| json!({"metric": "way.http", "timestamp": 1_767_225_600, "value": value, "tags": {"host": host}});
    let answer = client.post("/api/put?sync", &json!([point(1.5, "a"), point(2.0, "b")]));
    assert_eq!(answer.status, 204, "{}", answer.text());
    let answer = query(client, 1_767_225_000, 1_767_226_000, "way.http");
    assert_eq!(answer[0]["dps"], json!({"1767225600": 3.5}), "{answer}");
    assert_eq!(answer[0]["aggregateTags"], json!(["host"]));
}

fn a_line_is_in_the_next_query(node: &Node) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(node.address()).unwrap();
    stream.write_all(b"put way.telnet 1767225600 7 host=a\nput way.telnet 1767225601 x host=a\nexit\n").unwrap();
    let mut replies = String::new();
    stream.read_to_string(&mut replies).unwrap();
    assert_eq!(replies, "put: invalid value: Invalid character 'x' in x\n");
    let stored = wait_for("the line is stored", Duration::from_secs(10), || {
        let answer = query(&node.client(), 1_767_225_000, 1_767_226_000, "way.telnet");
        answer.get(0).map(|series| series["dps"].clone())
    });
    assert_eq!(stored, json!({"1767225600": 7}));
}

fn the_agents_metrics_arrive(client: &Client) {
    let metrics = ["os.cpu", "os.mem.total", "linux.loadavg_1_min", "os.disk.fs.space_total"];
    for metric in metrics {
        wait_for(&format!("the agent's {metric} arrives"), Duration::from_secs(25), || {
            let answer = client.get(&format!("/api/query/last?timeseries={metric}&resolve"));
            (answer.status == 200 && answer.json()[0]["tags"]["host"].is_string()).then_some(())
        });
    }
    let metadata = client.get("/api/metadata/get?metric=os.mem.total");
    assert!(metadata.text().contains("bytes"), "{}", metadata.text());
}

fn the_node_watches_itself(client: &Client) {
    let text = client.get("/metrics").text();
    assert!(text.contains("# TYPE tidemark_"), "{text}");
    wait_for("its own figures are in its own store", Duration::from_secs(25), || {
        let answer = client.get("/api/suggest?type=metrics&q=tidemark.&max=100");
        (answer.json().as_array().unwrap().len() > 5).then_some(())
    });
}

fn jobs_run(client: &Client) {
    wait_for("rules are evaluated by jobs", Duration::from_secs(70), || {
        let jobs = client.get("/api/tidemark/v1/jobs?kind=evaluate").json();
        jobs["jobs"].as_array().unwrap().iter().any(|job| job["state"] == "completed").then_some(())
    });
    let queues = client.get("/api/tidemark/v1/queues").json();
    assert!(queues["queues"].as_array().is_some_and(|queues| !queues.is_empty()), "{queues}");
}

fn pages_show_it(client: &Client) {
    for page in ["/", "/hosts", "/explore", "/incidents", "/tasks", "/system/storage"] {
        let answer = client.get(page);
        assert_eq!(answer.status, 200, "{page}: {}", answer.text());
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"), "{page}");
        assert!(answer.header("content-security-policy").is_some_and(|policy| policy.contains("default-src 'self'")));
    }
}

fn query(client: &Client, start: i64, end: i64, metric: &str) -> Value {
    let body = json!({"start": start, "end": end, "queries": [{"aggregator": "sum", "metric": metric}]});
    client.post("/api/query", &body).json()
}

#[test]
fn a_schedule_runs_when_somebody_asks_for_it() {
    let node = Node::start(&NodeOptions::without_agent());
    let client = node.client();
    assert_eq!(client.post("/api/put", &Ledger::body(0, 0, 10)).status, 204);
    wait_for("the schedule is written", Duration::from_secs(30), || {
        let answer = client.post("/api/tidemark/v1/schedules/seal/run", &json!({}));
        (answer.status == 202).then_some(())
    });
    wait_for("the points are in blocks", Duration::from_secs(30), || {
        let metrics = client.get("/metrics").text();
        let points = metrics.lines().find_map(|line| line.strip_prefix("tidemark_store_block_points "))?;
        // Those about the process itself are there, too.
        (points.parse::<f64>().unwrap() >= 10.0).then_some(())
    });
    assert_eq!(client.post("/api/tidemark/v1/schedules/nothing/run", &json!({})).status, 404);
}
