//! Programs that write lines of OpenTSDB's telnet protocol, with the bytes that they send: what arrives can be queried.
//!
//! The sources: TCollector 1.3.4 `tcollector.py` (`SenderThread`), collectd 5 `src/write_tsdb.c` (`wt_send_message`),
//! Telegraf `plugins/outputs/opentsdb/opentsdb.go` (`WriteTelnet`).

use std::time::Duration;

use serde_json::{Value, json};
use tidemark_tests::{Client, Connection, Node, NodeOptions, wait_for};

const START_S: i64 = 1_767_225_600;

/// Every series of a metric: its tags, and its points as pairs of time and value.
fn series(client: &Client, metric: &str) -> Vec<Value> {
    let path = format!("/api/query?start={START_S}&end={}&arrays&m=none:{metric}", START_S + 3600);
    let answer = client.get(&path);
    if answer.status != 200 {
        return Vec::new();
    }
    let mut series: Vec<_> =
        answer.json().as_array().unwrap().iter().map(|one| json!([one["tags"], one["dps"]])).collect();
    series.sort_by_key(Value::to_string);
    series
}

/// Waits until a metric has so many series and returns them: a client that does not read knows no better.
fn arrived(client: &Client, metric: &str, count: usize) -> Vec<Value> {
    wait_for(metric, Duration::from_secs(20), || Some(series(client, metric)).filter(|found| found.len() == count))
}

fn node() -> Node {
    Node::start(&NodeOptions::without_agent())
}

#[test]
fn tcollector_writes_its_points_and_its_own_statistics() {
    let node = node();
    let mut connection = Connection::open(node.address());
    // What it asks before it sends anything, and once a minute; it reads up to 4096 bytes and believes in any.
    connection.send("version\n");
    assert!(connection.line().starts_with("net.opentsdb.tools "));
    assert!(connection.line().starts_with("Built on "));
    // Its statistics without tags leave the place of the tags empty, so that two blanks come before the host.
    connection.send(format!(
        "put tcollector.reader.lines_collected {START_S} 312  host=web01\n\
         put tcollector.collector.lines_sent {START_S} 104 collector=ifstat.py host=web01\n\
         put proc.loadavg.1min {START_S} 0.12 host=web01\n\
         put own.bool {START_S} True host=web01\n\
         put proc.net.bytes {START_S} 18446744073709551615 iface=eth0 host=web01\n\
         put proc.net.bytes {}123 1234 iface=eth0 direction=in host=web01\n\
         put df.bytes.free {START_S} 9223372036854775807 mount=/var/lib fstype=ext4 host=web01\n",
        START_S + 1
    ));
    // The replies to bad lines come before that to the next probe, which it takes for it.
    connection.send("version\n");
    assert_eq!(connection.line(), "put: invalid value: For input string: \"True\"");
    assert_eq!(connection.line(), "put: invalid value: Value too long: 18446744073709551615");
    assert!(connection.line().starts_with("net.opentsdb.tools "));
    let client = node.client();
    let check = |metric: &str, tags: Value, value: Value| {
        assert_eq!(series(&client, metric), [json!([tags, [[START_S, value]]])], "{metric}");
    };
    check("tcollector.reader.lines_collected", json!({"host": "web01"}), json!(312));
    check("tcollector.collector.lines_sent", json!({"host": "web01", "collector": "ifstat.py"}), json!(104));
    check("proc.loadavg.1min", json!({"host": "web01"}), json!(0.12));
    let disk = json!({"host": "web01", "mount": "/var/lib", "fstype": "ext4"});
    check("df.bytes.free", disk, json!(9_223_372_036_854_775_807_i64));
    let net = json!({"host": "web01", "iface": "eth0", "direction": "in"});
    assert_eq!(series(&client, "proc.net.bytes"), [json!([net, [[START_S + 1, 1234]]])]);
}

#[test]
fn collectd_writes_buffers_of_lines_and_never_reads() {
    /// `wt_send_message` with the `tsdb_tags` of a value and the `HostTags` of the node, either of which may be empty.
    fn message(key: &str, time_s: i64, value: &str, tags: &str, host_tags: &str) -> String {
        format!("put {key} {time_s} {value} fqdn=web01.example {tags} {host_tags}\r\n")
    }
    let node = node();
    let mut connection = Connection::open(node.address());
    let mut lines = Vec::new();
    for step in 0..60 {
        let time = START_S + step * 10;
        lines.push(message("cpu.0.cpu.user", time, &(1000 + step).to_string(), "", ""));
        lines.push(message("load.load.shortterm", time, "0.0500000000000007", "", "status=production dc=ams"));
        lines.push(message("df.root.df_complex.free", time, "5.44537722e+21", "cpu=none", ""));
        lines.push(message("dbi.sessions", time, &step.to_string(), "app=db", "dc=ams"));
        // A counter that wrapped, a gauge that divided by zero, and a name with a blank, which comes in quotes.
        lines.push(message("if.octets", time, "18446744073709551615", "", ""));
        lines.push(message("apache.ratio", time, "inf", "", ""));
        lines.push(message("\"disk.my disk.ops\"", time, "1", "", ""));
    }
    // Whole lines up to 1428 bytes at once, as `send_buf` is.
    let mut buffer = String::new();
    for line in lines {
        if buffer.len() + line.len() >= 1428 {
            connection.send(std::mem::take(&mut buffer));
        }
        buffer.push_str(&line);
    }
    connection.send(buffer);
    drop(connection);
    let client = node.client();
    let check = |metric: &str, tags: Value, last: Value| {
        let found = wait_for(metric, Duration::from_secs(20), || {
            series(&client, metric).pop().filter(|series| series[1].as_array().unwrap().len() == 60)
        });
        assert_eq!((&found[0], &found[1][59]), (&tags, &json!([START_S + 590, last])), "{metric}");
    };
    check("cpu.0.cpu.user", json!({"fqdn": "web01.example"}), json!(1059));
    let production = json!({"fqdn": "web01.example", "status": "production", "dc": "ams"});
    check("load.load.shortterm", production, json!(0.050_000_000_000_000_7));
    check("df.root.df_complex.free", json!({"fqdn": "web01.example", "cpu": "none"}), json!(5.445_377_22e21));
    check("dbi.sessions", json!({"fqdn": "web01.example", "app": "db", "dc": "ams"}), json!(59));
    for metric in ["if.octets", "apache.ratio"] {
        assert_eq!(series(&client, metric), Vec::<Value>::new());
    }
}

#[test]
fn telegraf_writes_a_line_at_a_time_and_closes_with_replies_unread() {
    let node = node();
    // A connection for each write; the replies to bad lines reset it when it is closed.
    for round in 0..20 {
        let mut connection = Connection::open(node.address());
        let time = START_S + round * 10;
        for (metric, value, tags) in [
            ("my.prefix.cpu_usage_idle", "98.799999", "cpu=cpu-total dc=ams host=web01"),
            ("my.prefix.mem_free", "18446744073709551615", "host=web01"),
            ("my.prefix.untagged_count", "5", ""),
            ("my.prefix.mem_used", "4096", "host=web01"),
            ("my.prefix.net_größe", "-17", "host=web01 iface=eth0"),
        ] {
            connection.send(format!("put {metric} {time} {value} {tags}\n"));
        }
    }
    let client = node.client();
    for (metric, tags, value) in [
        ("my.prefix.cpu_usage_idle", json!({"cpu": "cpu-total", "dc": "ams", "host": "web01"}), json!(98.799_999)),
        ("my.prefix.mem_used", json!({"host": "web01"}), json!(4096)),
        ("my.prefix.net_gr%C3%B6%C3%9Fe", json!({"host": "web01", "iface": "eth0"}), json!(-17)),
    ] {
        let points: Vec<_> = (0..20).map(|round| json!([START_S + round * 10, value])).collect();
        let expected = json!([tags, points]);
        wait_for(metric, Duration::from_secs(20), || (series(&client, metric) == [expected.clone()]).then_some(()));
    }
    for metric in ["my.prefix.mem_free", "my.prefix.untagged_count"] {
        assert_eq!(series(&client, metric), Vec::<Value>::new());
    }
}

#[test]
fn blanks_count_where_opentsdb_counts_them() {
    let node = node();
    let mut connection = Connection::open(node.address());
    // A StatsD backend writes its suffix of tags behind a blank of its own.
    connection.send(format!(
        "put stats.timers.mean {START_S} 3.25  source=statsd\n\
         put stats.counters.rate {START_S} 7 source=statsd  env=live \n\
         put stats.gauges.x  {START_S} 1 source=statsd\n\
         put stats.gauges.x {START_S}  1 source=statsd\n\
         put  stats.gauges.x {START_S} 1 source=statsd\n\
         put stats.gauges.x {START_S} 1\tsource=statsd\n\
         version\n"
    ));
    let replies: Vec<_> = (0..4).map(|_| connection.line()).collect();
    assert_eq!(replies[0], "put: invalid value: Empty string");
    assert!(replies.iter().all(|reply| reply.starts_with("put: ")), "{replies:?}");
    assert!(connection.line().starts_with("net.opentsdb.tools "));
    let client = node.client();
    assert_eq!(series(&client, "stats.timers.mean"), [json!([{"source": "statsd"}, [[START_S, 3.25]]])]);
    let tags = json!({"source": "statsd", "env": "live"});
    assert_eq!(series(&client, "stats.counters.rate"), [json!([tags, [[START_S, 7]]])]);
    assert_eq!(series(&client, "stats.gauges.x"), Vec::<Value>::new());
}

#[test]
fn many_connections_write_at_once_and_nothing_is_lost() {
    let node = node();
    std::thread::scope(|scope| {
        for host in 0..8 {
            let address = node.address();
            scope.spawn(move || {
                let mut connection = Connection::open(address);
                for step in 0..500 {
                    connection.send(format!("put many.load {} {step} host=web{host}\r\n", START_S + step));
                }
                connection.send("exit\n");
                assert_eq!(connection.rest(), b"");
            });
        }
    });
    let found = arrived(&node.client(), "many.load", 8);
    assert!(found.iter().all(|series| series[1].as_array().unwrap().len() == 500));
}
