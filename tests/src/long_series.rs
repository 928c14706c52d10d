//! A series that queries take long over.

use serde_json::{Value, json};

use crate::Client;

/// Writes a series `long` with the tag `a=b` and a point each second from `start_s` on; `points` is a multiple of 20,000.
pub fn write_long_series(client: &Client, start_s: i64, points: i64) {
    for first in (0..points).step_by(20_000) {
        let points: Vec<Value> = (first..first + 20_000)
            .map(|second| json!({"metric": "long", "timestamp": start_s + second, "value": second % 977, "tags": {"a": "b"}}))
            .collect();
        assert_eq!(client.post("/api/put", &Value::Array(points)).status, 204);
    }
}
