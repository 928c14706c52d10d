//! Jobs, queues, workers and schedules over HTTP.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidemark_tests::{Client, Node, NodeOptions, RedisServer, Response, wait_for};

const JOBS: &str = "/api/tidemark/v1/jobs";
const SCHEDULES: &str = "/api/tidemark/v1/schedules";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn ask(client: &Client, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Response {
    let text = if body.is_null() { String::new() } else { body.to_string() };
    client.request(method, path, headers, text.as_bytes()).unwrap()
}

fn message(answer: &Response) -> String {
    answer.json()["error"]["message"].as_str().unwrap().to_owned()
}

#[test]
fn a_job_from_outside_is_done_awaited_and_explained() {
    let node = Node::start(&NodeOptions::without_agent());
    let client = node.client();
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let seal = json!({"kind": "rollup", "step": "seal"});
    let done = ask(&client, "POST", &format!("{JOBS}?wait=20s"), &[("traceparent", &parent)], &seal);
    assert_eq!(done.status, 200, "{}", done.text());
    assert_eq!(done.header("x-trace-id"), Some(TRACE));
    assert!(done.header("traceparent").unwrap().starts_with(&format!("00-{TRACE}-")), "{done:?}");
    let body = done.json();
    assert_eq!(body["state"], "completed");
    assert!(body["result"]["done"].as_str().unwrap().starts_with("sealed"), "{body}");
    let location = done.header("location").unwrap();
    assert_eq!(location, format!("{JOBS}/{}", body["job"].as_str().unwrap()));

    let job = client.get(location).json();
    assert_eq!((&job["state"], &job["trace"], &job["result"]), (&json!("completed"), &json!(TRACE), &body["result"]));
    assert_eq!(job["attempts"][0]["number"], 1, "{job}");
    assert!(job["log"][0]["text"].as_str().unwrap().starts_with("sealed"), "{job}");

    let rules = client.get("/api/tidemark/v1/rules").json();
    let enabled = |rule: &&Value| rule["enabled"] == true;
    let rule = rules["rules"].as_array().unwrap().iter().find(enabled).unwrap()["name"].clone();
    let evaluated = client.post(&format!("{JOBS}?wait=20s"), &json!({"kind": "evaluate", "rule": rule}));
    assert_eq!((evaluated.status, &evaluated.json()["state"]), (200, &json!("completed")), "{}", evaluated.text());
    assert!(evaluated.json()["result"]["notifications"].is_number(), "{}", evaluated.text());
}

#[test]
fn what_cannot_be_enqueued_is_refused_with_what_can() {
    let node = Node::start(&NodeOptions::without_agent());
    let check = |path: &str, body: Value, part: &str| {
        let answer = node.client().post(path, &body);
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
        assert!(answer.text().contains(part), "{body}: {}", answer.text());
    };
    check(JOBS, json!({"kind": "relay", "rule": "x"}), "`collect` with `target`");
    check(JOBS, json!({"kind": "backtest", "rule": "x"}), "needs `from`");
    check(JOBS, json!({"kind": "backtest", "rule": "x", "from": "1d-ago"}), "no rule `x`");
    check(JOBS, json!({"kind": "import", "file": "../x"}), "no name of a file");
    check(JOBS, json!({"kind": "export", "format": "xml"}), "no such form");
    check(JOBS, json!({"kind": "evaluate", "rule": "no.such"}), "no rule `no.such`");
    check(JOBS, json!({"kind": "collect", "target": "no.such"}), "no target `no.such`");
    check(JOBS, json!({"kind": "rollup", "step": "purge"}), "seal, compact, range");
    check(JOBS, json!({"kind": "rollup", "step": "range"}), "needs `from`");
    check(JOBS, json!({"kind": "rollup", "step": "seal", "when": 1}), "unknown field");
    check(JOBS, json!({"kind": "rollup", "step": "seal", "expires": "1h-ago"}), "expired before");
    check(JOBS, json!([1]), "not a job");
    check(&format!("{JOBS}?wait=2m"), json!({"kind": "rollup", "step": "seal"}), "at most 60 s");
}

#[test]
fn the_same_key_gives_the_same_job_and_a_job_can_be_called_off() {
    let node = Node::start(&NodeOptions::without_agent());
    let client = node.client();
    let later = json!({"kind": "rollup", "step": "seal", "not_before": "+1h", "priority": "high"});
    let key = [("Idempotency-Key", "once")];
    let first = ask(&client, "POST", JOBS, &key, &later);
    let second = ask(&client, "POST", JOBS, &key, &later);
    assert_eq!((first.status, second.status), (202, 202), "{} {}", first.text(), second.text());
    assert_eq!(first.json()["job"], second.json()["job"]);
    assert_eq!((&first.json()["new"], &second.json()["new"]), (&json!(true), &json!(false)));
    let other = ask(&client, "POST", JOBS, &key, &json!({"kind": "rollup", "step": "compact", "not_before": "+1h"}));
    assert_eq!(other.status, 422, "{}", other.text());

    let path = first.header("location").unwrap();
    let waiting = client.get(&format!("{path}?wait=100ms")).json();
    assert_eq!((&waiting["state"], &waiting["priority"]), (&json!("scheduled"), &json!("high")), "{waiting}");
    assert_eq!(waiting["payload"], json!({"step": "Seal"}));
    let listed = |query: &str| client.get(&format!("{JOBS}?{query}")).json()["jobs"].as_array().unwrap().len();
    assert_eq!(listed("state=scheduled&kind=rollup&since=1h-ago&until=%2B1m"), 1);
    assert_eq!(listed("q=kind:rollup+request+once"), 1);
    assert_eq!(listed("state=scheduled&until=1h-ago"), 0);
    for wrong in ["state=dead", "kind=mail", "limit=0", "limit=1001", "since=soon", "q=state:dead", "before=x"] {
        assert_eq!(client.get(&format!("{JOBS}?{wrong}")).status, 400, "{wrong}");
    }

    let act = |action: &str| client.post(&format!("{path}/{action}"), &json!({}));
    assert_eq!((act("cancel").status, act("cancel").status), (200, 409));
    assert_eq!(act("frob").status, 404);
    assert_eq!(act("retry").json()["state"], "available");
    let ended = client.get(&format!("{path}?wait=20s")).json();
    assert_eq!(ended["state"], "completed", "{ended}");
    let gone = client.get(&format!("{JOBS}/01890000-0000-7000-8000-000000000000"));
    assert_eq!(gone.status, 404, "{}", gone.text());
}

#[test]
fn schedules_are_written_with_conditions_and_run_by_hand() {
    let node = Node::start(&NodeOptions::without_agent());
    let client = node.client();
    let path = format!("{SCHEDULES}/by%20hand");
    let every =
        |every: &str| json!({"when": {"every": every}, "job": {"kind": "rollup", "step": "compact"}, "paused": true});
    let put = |headers: &[(&str, &str)], body: &Value| ask(&client, "PUT", &path, headers, body);
    let created = put(&[("If-None-Match", "*")], &every("1h"));
    assert_eq!(created.status, 201, "{}", created.text());
    let tag = created.header("etag").unwrap().to_owned();
    assert_eq!(put(&[("If-None-Match", "*")], &every("1h")).status, 412);
    let changed = put(&[("If-Match", &tag)], &every("2h"));
    assert_eq!((changed.status, &changed.json()["when"]["every_ms"]), (200, &json!(7_200_000)), "{}", changed.text());
    let stale = put(&[("If-Match", &tag)], &every("3h"));
    assert_eq!(stale.status, 412);
    assert!(message(&stale).contains("read it again"), "{}", stale.text());
    let wrong = put(&[], &json!({"when": {"cron": "99 * * * *"}, "job": {"kind": "rollup", "step": "seal"}}));
    assert_eq!(wrong.status, 400);
    assert!(message(&wrong).contains("cron line"), "{}", wrong.text());

    let shown = client.get(&path).json();
    assert_eq!(
        (&shown["paused"], &shown["next_ms"], &shown["payload"]["step"]),
        (&json!(true), &json!([]), &json!("Compact"))
    );
    let act = |action: &str| client.post(&format!("{path}/{action}"), &json!({}));
    let resumed = act("resume").json();
    assert_eq!((&resumed["paused"], resumed["next_ms"].as_array().unwrap().len()), (&json!(false), 5), "{resumed}");
    assert_eq!(act("pause").json()["paused"], true);
    let run = act("run");
    assert_eq!(run.status, 202, "{}", run.text());
    let ended = client.get(&format!("{}?wait=20s", run.header("location").unwrap())).json();
    assert_eq!(ended["state"], "completed", "{ended}");
    assert_eq!(ended["trace"].as_str(), run.header("x-trace-id"));

    assert_eq!(ask(&client, "DELETE", &path, &[], &Value::Null).status, 204);
    assert_eq!(ask(&client, "DELETE", &path, &[], &Value::Null).status, 404);
    assert_eq!((client.get(&path).status, act("run").status, act("pause").status), (404, 404, 404));
}

#[test]
fn the_jobs_of_schedules_begin_traces() {
    let node = Node::start(&NodeOptions::without_agent());
    let client = node.client();
    let body = json!({"when": {"every": "1s"}, "job": {"kind": "rollup", "step": "seal"}});
    assert_eq!(ask(&client, "PUT", &format!("{SCHEDULES}/often"), &[], &body).status, 201);
    let job = wait_for("the schedule has enqueued a job", Duration::from_secs(20), || {
        let jobs = client.get(&format!("{JOBS}?key=often@&state=completed")).json();
        jobs["jobs"].as_array().unwrap().first().cloned()
    });
    assert_eq!(job["trace"].as_str().unwrap().len(), 32, "{job}");
}

#[test]
fn a_trace_leads_from_a_put_through_its_write() {
    let redis = RedisServer::start();
    let point = json!({"metric": "trace.m", "timestamp": 1_767_225_600, "value": 1, "tags": {"host": "a"}});
    for broker in ["embedded", &redis.url()] {
        let options =
            NodeOptions::without_agent().arguments(&["--broker", broker, "--log-level", "tidemark_workers=debug"]);
        let node = Node::start(&options);
        let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
        let headers = [("traceparent", parent.as_str()), ("Content-Type", "application/json")];
        let put = ask(&node.client(), "POST", "/api/put?sync", &headers, &point);
        assert_eq!(put.status, 204, "{}", put.text());
        wait_for("the attempt is in the log with its trace", Duration::from_secs(10), || {
            let log = node.log();
            let is_it =
                |line: &&str| line.contains("attempt") && line.contains("kind=\"write\"") && line.contains(TRACE);
            log.lines().find(is_it).map(str::to_owned)
        });
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "an end-to-end test runs in real time")]
fn a_broker_that_is_away_is_told_within_a_second() {
    let mut redis = RedisServer::start();
    let node = Node::start(&NodeOptions::without_agent().arguments(&["--broker", &redis.url()]));
    let client = node.client();
    let seal = json!({"kind": "rollup", "step": "seal"});
    let done = client.post(&format!("{JOBS}?wait=20s"), &seal);
    assert_eq!((done.status, &done.json()["state"]), (200, &json!("completed")), "{}", done.text());
    redis.kill();
    let began = Instant::now();
    let away = client.post(JOBS, &seal);
    assert_eq!(away.status, 503, "{}", away.text());
    assert!(away.header("retry-after").is_some());
    assert!(began.elapsed() < Duration::from_millis(1_500), "{:?}", began.elapsed());
    redis.restart();
    wait_for("jobs are taken again", Duration::from_secs(30), || {
        (client.post(&format!("{JOBS}?wait=10s"), &seal).status == 200).then_some(())
    });
}

#[test]
fn a_workflow_is_started_awaited_and_called_off() {
    let node = Node::start(&NodeOptions::without_agent());
    let client = node.client();
    let path = "/api/tidemark/v1/workflows";
    let (seal, compact) = (json!({"kind": "rollup", "step": "seal"}), json!({"kind": "rollup", "step": "compact"}));
    let chain = json!({"name": "tidy up", "nodes": [{"job": seal}, {"job": compact, "after": [0]}]});
    let started = client.post(path, &chain);
    assert_eq!(started.status, 202, "{}", started.text());
    let done = client.get(&format!("{}?wait=20s", started.header("location").unwrap())).json();
    assert_eq!(
        (&done["state"], &done["name"], &done["nodes_ended"]),
        (&json!("completed"), &json!("tidy up"), &json!(2))
    );
    assert_eq!((&done["nodes"][1]["after"], &done["nodes"][1]["state"]), (&json!([0]), &json!("completed")), "{done}");
    let job = client.get(&format!("{JOBS}/{}", done["nodes"][1]["job"].as_str().unwrap())).json();
    assert_eq!((&job["workflow"]["id"], &job["workflow"]["node"]), (&done["id"], &json!(1)), "{job}");
    let listed = client.get(path).json();
    assert_eq!(listed["workflows"][0]["id"], done["id"], "{listed}");

    let late = json!({"nodes": [{"job": {"kind": "rollup", "step": "seal", "not_before": "+1h"}}]});
    let late = client.post(path, &late).header("location").unwrap().to_owned();
    assert_eq!(client.post(&format!("{late}/cancel"), &json!({})).status, 200);
    assert_eq!(client.get(&format!("{late}?wait=5s")).json()["state"], "cancelled");
    assert_eq!(client.post(&format!("{late}/cancel"), &json!({})).status, 409);
    let circle = json!({"nodes": [{"job": {"kind": "rollup", "step": "seal"}, "after": [0]}]});
    let refused = client.post(path, &circle);
    assert_eq!(refused.status, 400);
    assert!(message(&refused).contains("does not come before it"), "{}", refused.text());
}
