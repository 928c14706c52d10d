//! The Redis broker, when Redis fails.

use std::time::Duration;

use tidemark_tests::{Ledger, Node, NodeOptions, RedisServer, wait_for};

#[test]
fn what_redis_acknowledged_is_stored_although_redis_was_killed() {
    let mut redis = RedisServer::start();
    let node = Node::start(&NodeOptions::without_agent().arguments(&["--broker", &redis.url()]));
    let client = node.client();
    let mut ledger = Ledger::default();
    for round in 0..3 {
        for batch in 0..20 {
            let step = round * 10_000 + batch * 100;
            match client.post("/api/put", &Ledger::body(0, step, 100)).status {
                204 => ledger.acknowledge(0, step, 100),
                _ => ledger.lose_track(0, step, 100),
            }
        }
        redis.kill();
        let refused = client.post("/api/put", &Ledger::body(0, round * 10_000 + 5_000, 100));
        assert_eq!(refused.status, 503, "{}", refused.text());
        assert!(refused.header("retry-after").is_some());
        ledger.lose_track(0, round * 10_000 + 5_000, 100);
        redis.restart();
        wait_for("writes go on once redis is back", Duration::from_secs(30), || {
            let answer = client.post("/api/put?sync", &Ledger::body(1, round, 1));
            if answer.status == 204 {
                ledger.acknowledge(1, round, 1);
                return Some(());
            }
            ledger.lose_track(1, round, 1);
            None
        });
    }
    wait_for("every queued batch is stored", Duration::from_secs(30), || {
        let queues = client.get("/api/tidemark/v1/queues").json();
        let write = queues["queues"].as_array()?.iter().find(|queue| queue["name"] == "write")?.clone();
        (write["ready"] == 0 && write["running"] == 0).then_some(())
    });
    ledger.check(&client);
}
