//! `GET /api/tidemark/v1/openapi.json`: what this API is, for programs that make clients of it.

use actix_web::HttpResponse;
use serde_json::{Map, Value, json};

/// A path of the API: method, path, what it does, its parameters in path and query.
type Operation = (&'static str, &'static str, &'static str, &'static [&'static str], &'static [&'static str]);

const OPERATIONS: [Operation; 45] = [
    ("get", "/cardinality", "Metrics, tag keys and tags with the most series, and what grew lately.", &[], &["top"]),
    (
        "get",
        "/queries",
        "Queries of this process: those under way and the newest that ended, with what each cost.",
        &[],
        &[],
    ),
    ("post", "/queries/{id}/cancel", "Ends a query; its client is told so.", &["id"], &[]),
    ("get", "/queues", "Queues with the jobs in each state, the age of the oldest and rates.", &[], &[]),
    ("get", "/queues/{name}", "One queue.", &["name"], &[]),
    ("get", "/losses", "Data that the broker lost: which jobs are gone, and which came again.", &[], &[]),
    ("post", "/queues/{name}/pause", "Lets workers get nothing from a queue.", &["name"], &[]),
    ("post", "/queues/{name}/resume", "Lets workers get jobs from a queue again.", &["name"], &[]),
    (
        "get",
        "/jobs",
        "Jobs, the newest first. `q` is a search such as `kind:notify state:discarded worker:w2 timeout`.",
        &[],
        &["kind", "queue", "state", "key", "q", "since", "until", "before", "limit"],
    ),
    (
        "post",
        "/jobs",
        "Enqueues a job: `{\"kind\":\"evaluate\",\"rule\":\"…\"}`, `{\"kind\":\"collect\",\"target\":\"…\"}` or \
         `{\"kind\":\"rollup\",\"step\":\"seal\"|\"compact\"|\"range\"}`, for a `range` with `from`, and `to` and `metric` if wanted; \
         `{\"kind\":\"import\",\"file\":\"…\"}` of an upload, which needs the role `write`, too, with `format` if wanted; `{\"kind\":\"export\",\"format\":\"json\"|\"csv\"|\"opentsdb\"}` \
         with `series`, `from` and `to` if wanted; `{\"kind\":\"backtest\",\"rule\":\"…\",\"from\":\"1w-ago\"}`, or the rule as `text`, with \
         `to` and `every` if wanted; all with `priority`, `not_before`, `expires` and `time_limit` if wanted. The same \
         `Idempotency-Key` gives the same job for a day. 202 with its `location`; with `wait` (at most 60s) 200 when it \
         ends in time.",
        &[],
        &["wait"],
    ),
    (
        "get",
        "/jobs/{id}",
        "One job with its payload, attempts, progress, log lines and result; with `wait` once it has ended.",
        &["id"],
        &["wait"],
    ),
    ("get", "/jobs/{id}/output", "The file that an `export` job made.", &["id"], &[]),
    ("get", "/uploads", "Files that `import` jobs can read.", &[], &[]),
    (
        "put",
        "/uploads/{name}",
        "Takes a file for `import` jobs, as it is or compressed by gzip; at most `jobs.folder_bytes` of all files, else 507.",
        &["name"],
        &[],
    ),
    ("delete", "/uploads/{name}", "Deletes such a file; needs the role `admin`.", &["name"], &[]),
    ("post", "/jobs/{id}/retry", "Gives a discarded, cancelled or retryable job fresh attempts.", &["id"], &[]),
    ("post", "/jobs/{id}/cancel", "Calls a job off.", &["id"], &[]),
    (
        "post",
        "/queues/{name}/drain",
        "Lets a queue take no new jobs until it is resumed; workers go on until it is empty.",
        &["name"],
        &[],
    ),
    (
        "put",
        "/queues/{name}/settings",
        "Sets all of a queue at once: `{\"paused\",\"draining\",\"rate\":\"100/s\",\"running_max\",\"jobs_max\",\"bytes_max\"}`.",
        &["name"],
        &[],
    ),
    (
        "post",
        "/jobs/retry",
        "Gives discarded jobs fresh attempts, the oldest first: `{\"kind\",\"queue\",\"key\",\"text\",\"since\",\"until\",\"limit\"}`.",
        &[],
        &[],
    ),
    (
        "post",
        "/jobs/purge",
        "Forgets discarded jobs, described as for `/jobs/retry`; needs the role `admin`.",
        &[],
        &[],
    ),
    ("delete", "/jobs/{id}", "Forgets one discarded job; needs the role `admin`.", &["id"], &[]),
    ("post", "/workers/{name}/stop", "Lets a worker finish what it runs, and end.", &["name"], &[]),
    (
        "post",
        "/workers/{name}/scale",
        "Lets a worker run so many jobs of a queue at one time: `{\"queue\",\"concurrency\"}`.",
        &["name"],
        &[],
    ),
    ("get", "/workers", "Workers that were heard of lately.", &[], &[]),
    ("get", "/workers/{name}", "One worker.", &["name"], &[]),
    ("get", "/schedules", "When jobs come, with the next five times of each.", &[], &[]),
    ("get", "/schedules/{name}", "One schedule, with an `ETag` that changes when somebody changes it.", &["name"], &[]),
    (
        "put",
        "/schedules/{name}",
        "Writes a schedule: `{\"when\":{\"every\":\"60s\"},\"job\":{\"kind\":\"evaluate\",\"rule\":\"…\"}}`, or `when` with `cron` \
         and `time_zone`, or with `once`; with `catch_up` (`skip`, `one`, `all`), `paused`, `splay` and `expires_after` if wanted. 412 when \
         `If-Match` or `If-None-Match: *` does not hold.",
        &["name"],
        &[],
    ),
    ("delete", "/schedules/{name}", "Removes a schedule; needs the role `admin`.", &["name"], &[]),
    ("post", "/schedules/{name}/pause", "Lets the slots of a schedule pass.", &["name"], &[]),
    ("post", "/schedules/{name}/resume", "Lets a schedule enqueue jobs again.", &["name"], &[]),
    ("post", "/schedules/{name}/run", "Enqueues the job of a schedule now, beside its slots.", &["name"], &[]),
    ("get", "/workflows", "Jobs that wait for each other, the newest first.", &[], &["before", "limit"]),
    (
        "post",
        "/workflows",
        "Starts a workflow: `{\"name\",\"on_failure\":\"stop\"|\"go_on\",\"nodes\":[{\"job\":{…},\"after\":[0],\"always\"}]}`, each \
         `job` as for POST `/jobs`, `after` the numbers of earlier nodes. 202 with its `location`.",
        &[],
        &[],
    ),
    ("get", "/workflows/{id}", "One workflow with its nodes; with `wait` once it has ended.", &["id"], &["wait"]),
    ("post", "/workflows/{id}/cancel", "Calls a workflow off.", &["id"], &[]),
    ("get", "/incidents", "Incidents, the newest first.", &[], &["state", "rule", "before", "limit"]),
    ("get", "/incidents/{id}", "One incident with its events and actions.", &["id"], &[]),
    (
        "post",
        "/incidents/{id}/actions",
        "Acknowledges, notes or closes: `{\"action\",\"user\",\"message\"}`.",
        &["id"],
        &[],
    ),
    ("get", "/rules", "Rules with the state of their last evaluation.", &[], &[]),
    ("post", "/graph", "Series on shared timestamps: `{\"from\",\"to\",\"px\",\"queries\":[{\"m\"}]}`.", &[], &[]),
    (
        "post",
        "/backup",
        "A backup of the store as a stream of chunks, from the beginning or behind a chunk that is known.",
        &[],
        &["cursor"],
    ),
    (
        "get",
        "/export",
        "Points as lines of JSON, CSV or OpenTSDB's import text; as JSON also histograms, and rollups and aggregates that others computed.",
        &[],
        &["m", "start", "end", "format"],
    ),
    ("get", "/openapi.json", "This document.", &[], &[]),
];

pub(super) async fn document() -> HttpResponse {
    HttpResponse::Ok().json(openapi())
}

fn openapi() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for (method, path, summary, in_path, in_query) in OPERATIONS {
        let parameter = |name: &str, place: &str| json!({"name": name, "in": place, "required": place == "path", "schema": {"type": "string"}});
        let parameters: Vec<_> = in_path
            .iter()
            .map(|name| parameter(name, "path"))
            .chain(in_query.iter().map(|name| parameter(name, "query")))
            .collect();
        let operation = json!({
            "summary": summary,
            "parameters": parameters,
            "responses": {"2XX": {"description": "Done."}, "4XX": {"description": "The request is wrong; `error.message` says why."},
                "503": {"description": "A dependency is down; try again after `Retry-After` seconds."}},
        });
        let entry = paths.entry(path.to_owned()).or_insert_with(|| json!({}));
        if let Some(operations) = entry.as_object_mut() {
            operations.insert(method.to_owned(), operation);
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {"title": "Tidemark", "version": env!("CARGO_PKG_VERSION")},
        "servers": [{"url": "/api/tidemark/v1"}],
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{"token": []}],
        "paths": paths,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_placeholder_of_a_path_is_described() {
        for (_, path, _, in_path, _) in OPERATIONS {
            let placeholders: Vec<_> =
                path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
            assert_eq!(placeholders, in_path, "{path}");
        }
        let of_incidents = &openapi()["paths"]["/incidents"]["get"]["parameters"];
        let names: Vec<_> = of_incidents.as_array().unwrap().iter().map(|parameter| &parameter["name"]).collect();
        assert_eq!(names, ["state", "rule", "before", "limit"]);
        assert_eq!(openapi()["paths"]["/jobs/{id}"]["get"]["parameters"][0]["required"], true);
    }
}
