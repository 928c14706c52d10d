//! Pages about more hosts than anybody reads.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tidemark_tests::{Client, Node, NodeOptions};

const HOSTS: u64 = 1_200;
/// Largest page in bytes.
const PAGE_BYTES_MAX: usize = 500_000;

/// Two minutes of what an agent says of each host.
fn fill(client: &Client) {
    let now_s = now_s();
    for first in (0..HOSTS).step_by(100) {
        let points: Vec<Value> = (first..first + 100)
            .flat_map(|host| (0..12).map(move |step| (host, now_s - 110 + step * 10)))
            .flat_map(|(host, time)| {
                let name = format!("host-{host:04}");
                let network = |direction: &str| json!({"host": name, "iface": "eth0", "direction": direction});
                [
                    ("os.cpu", time * 20, json!({"host": name})),
                    ("os.mem.used", 4 << 30, json!({"host": name})),
                    ("os.mem.total", 8 << 30, json!({"host": name})),
                    ("os.net.bytes", time * 1_000, network("in")),
                    ("os.net.bytes", time * 500, network("out")),
                ]
                .map(|(metric, value, tags)| json!({"metric": metric, "timestamp": time, "value": value, "tags": tags}))
            })
            .collect();
        let answer = client.post("/api/put?sync", &Value::Array(points));
        assert_eq!(answer.status, 204, "{}", answer.text());
    }
}

#[expect(clippy::disallowed_methods, reason = "the process under test goes by the system's clock")]
fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn a_host_is_silent_after_three_of_its_own_intervals() {
    let node = Node::start(&NodeOptions::without_agent());
    let newest = now_s() - 100;
    for (host, interval) in [("fast", 10), ("slow", 60)] {
        let point = |step: u64| json!({"metric": "os.cpu", "timestamp": newest - step * interval, "value": 1, "tags": {"host": host}});
        let points: Vec<Value> = (0..6).map(point).collect();
        assert_eq!(node.client().post("/api/put?sync", &Value::Array(points)).status, 204);
    }
    let page = node.client().get("/hosts").text();
    assert!(page.contains("<tr data-key=\"host-fast\" data-row class=\"unknown\">"), "{page}");
    assert!(page.contains("<tr data-key=\"host-slow\" data-row class=\"normal\">"), "{page}");
}

#[test]
fn pages_show_a_part_of_many_hosts_and_say_how_many_there_are() {
    let node = Node::start(&NodeOptions::without_agent());
    let client = node.client();
    fill(&client);
    for path in ["/", "/hosts", "/?fragment=hosts", "/hosts?q=host-1"] {
        let answer = client.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let (text, rows) = (answer.text(), answer.text().matches("data-key=\"host-").count());
        assert!(text.len() < PAGE_BYTES_MAX, "{path}: {} bytes", text.len());
        assert!((100..=150).contains(&rows), "{path}: {rows} rows");
        // Rows come with their lines.
        assert_eq!(text.matches("CPU of host-").count(), rows, "{path}");
        assert!(text.contains("20.0 %"), "{path}: no row has its processor time");
    }
    assert!(client.get("/hosts").text().contains(&format!("<span class=\"n\">{HOSTS}</span>")));
    let found = client.get("/hosts?q=host-1199").text();
    assert_eq!(found.matches("data-key=\"host-").count(), 1, "{found}");
    assert_eq!(client.get("/hosts/host-1199").status, 200);
    assert_eq!(client.get("/hosts/host-9999").status, 404);
    // A graph of them all is refused with a sentence, not drawn.
    let graph = json!({"from": "10m-ago", "queries": [{"m": "sum:os.cpu{host=*}"}]});
    let refused = client.post("/api/tidemark/v1/graph", &graph);
    assert_eq!(refused.status, 413, "{}", refused.text());
    assert!(refused.text().contains("more than 1000 series"), "{}", refused.text());
}
