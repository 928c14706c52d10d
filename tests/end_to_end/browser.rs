//! The pages in a real Chromium, driven by `tests/browser/*.test.mjs`.

use std::{path::Path, process::Command};

use serde_json::json;
use tidemark_tests::{Node, NodeOptions};

#[test]
fn the_pages_work_in_a_real_browser() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser");
    assert!(folder.join("node_modules").is_dir(), "playwright-core is missing; `cargo xtask test` installs it");
    let rules = tempfile::tempdir().unwrap();
    std::fs::write(rules.path().join("browser.toml"), RULE).unwrap();
    let node =
        Node::start(&NodeOptions::default().variable("TIDEMARK_ALERT__RULES", &rules.path().display().to_string()));
    let hostile =
        json!({"metric": "browser.hostile", "timestamp": now_s(), "value": 1, "tags": {"host": "a", "x": "b"}});
    assert_eq!(node.client().post("/api/put", &hostile).status, 204);
    let run = Command::new("node")
        .args(["--test", "--test-reporter=spec"])
        .arg(folder.join("pages.test.mjs"))
        .env("TIDEMARK_URL", format!("http://{}", node.address()))
        .output()
        .unwrap();
    let report = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{report}");
}

/// A rule that fires at once.
const RULE: &str = r#"
[[rule]]
name = "browser.always"
crit = 'last(q("sum:os.mem.total{host=*}", "5m", "")) > 0'
every = "5s"
"#;

#[expect(clippy::disallowed_methods, reason = "an end-to-end test runs in real time")]
fn now_s() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}
