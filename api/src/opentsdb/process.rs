//! `/api/stats/jvm`, `/threads`, `/region_clients` and `/api/status`: what is known of this process, in OpenTSDB's form.

use std::fs;

use actix_web::{HttpResponse, web::Data};
use serde_json::{Map, Value, json};

use super::wire;
use crate::state::AppState;

/// Threads that are listed.
const THREADS_MAX: usize = 10_000;

/// There is no virtual machine, so the fields of one that a process has too are filled, and the others are empty.
pub(crate) async fn jvm(state: Data<AppState>) -> HttpResponse {
    let resident = status_kib("VmRSS:") * 1024;
    let peak = status_kib("VmHWM:") * 1024;
    let load = fs::read_to_string("/proc/loadavg").ok();
    let load = load.and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    wire::json(&json!({
        "runtime": {
            "startTime": state.started_ms(),
            "uptime": state.seams.clock.now_ms() - state.started_ms(),
            "vmName": "tidemark",
            "vmVendor": "tidemark",
            "vmVersion": state.options.build.version,
        },
        "memory": {
            "heapMemoryUsage": { "init": 0, "used": resident, "committed": resident, "max": peak },
            "nonHeapMemoryUsage": { "init": 0, "used": 0, "committed": 0, "max": 0 },
            "objectsPendingFinalization": 0,
        },
        "gc": {},
        "pools": {},
        "os": { "systemLoadAverage": load },
    }))
}

/// A line of `/proc/self/status`, in KiB; 0 where there is none.
fn status_kib(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// The threads of this process, without their stacks.
pub(crate) async fn threads() -> HttpResponse {
    let entries = fs::read_dir("/proc/self/task").into_iter().flatten().flatten().take(THREADS_MAX);
    let threads: Vec<Value> = entries
        .filter_map(|entry| {
            let id: u64 = entry.file_name().to_str()?.parse().ok()?;
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            // The state follows the name, which is in parentheses and may have any character.
            let state = stat.rsplit(')').next().and_then(|rest| rest.trim().chars().next());
            let state = if state == Some('R') { "RUNNABLE" } else { "WAITING" };
            let name = name.trim_end();
            Some(json!({
                "threadID": id, "name": name, "state": state, "interrupted": false, "priority": 5, "stack": [],
            }))
        })
        .collect();
    wire::json(&threads)
}

/// Connections to region servers, of which there are none.
pub(crate) async fn region_clients() -> HttpResponse {
    wire::json(&Vec::<Map<String, Value>>::new())
}

/// The status of a plugin that starts the server, of which there is none.
pub(crate) async fn status() -> HttpResponse {
    wire::json(&json!({ "status": "startup" }))
}
