//! What is said of metrics and hosts, as collectors send it and Bosun answers; and how many series there are.

use serde_json::{Value, json};

use crate::started::Started;

fn get(server: &Started, path: &str) -> (u16, Value) {
    let answer = server.client().get(path);
    (answer.status, serde_json::from_str(answer.text()).unwrap_or_default())
}

#[test]
fn what_collectors_say_of_metrics_and_hosts_is_answered_as_bosun_does() {
    let server = Started::new();
    let said = json!([
        {"Metric": "m", "Name": "desc", "Value": "d"},
        {"Metric": "m", "Name": "rate", "Value": "gauge"},
        {"Tags": {"host": "a"}, "Name": "model", "Value": "R740"},
        {"Tags": {"host": "a", "iface": "e0"}, "Name": "speed", "Value": 1000},
    ]);
    assert_eq!(server.client().post("/api/metadata/put", &said.to_string()).status, 204);
    let of_host = json!([
        {"Tags": {"host": "a"}, "Name": "model", "Value": "R740", "Time": "2013-01-01T00:00:00Z"},
        {"Tags": {"host": "a", "iface": "e0"}, "Name": "speed", "Value": "1000", "Time": "2013-01-01T00:00:00Z"},
    ]);
    assert_eq!(get(&server, "/api/metadata/get?tagk=host&tagv=a"), (200, of_host.clone()));
    assert_eq!(get(&server, "/api/metadata/get?tagk=iface&tagv=e0"), (200, json!([of_host[1]])));
    assert_eq!(get(&server, "/api/metadata/get?tagk=host&tagv=b"), (200, json!([])));
    assert_eq!(get(&server, "/api/metadata/get?tagk=host").0, 400);
    assert_eq!(get(&server, "/api/metadata/get?metric=m").1[0], json!({"Metric": "m", "Name": "desc", "Value": "d"}));
    let described =
        json!({"Desc": "d", "Unit": "", "Rate": "gauge", "LastTouched": 1_356_998_400, "TagKeys": ["host"]});
    assert_eq!(get(&server, "/api/metadata/metrics?metric=m"), (200, described.clone()));
    assert_eq!(get(&server, "/api/metadata/metrics"), (200, json!({"m": described})));
    assert_eq!(get(&server, "/api/metadata/metrics?metric=x").0, 404);
    let gone = json!([{"Tags": {"host": "a"}, "Name": "model"}]);
    assert_eq!(server.client().request("DELETE", "/api/metadata/delete", "", gone.to_string()).status, 200);
    assert_eq!(get(&server, "/api/metadata/get?tagk=host&tagv=a"), (200, json!([of_host[1]])));
}
