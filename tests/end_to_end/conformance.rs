//! OpenTSDB's behaviour as executable cases: `tests/data/opentsdb_cases.json`.
//!
//! A case writes points, sends a request (or a line of telnet commands, or a sequence of both) and says what the answer
//! must be. All cases run on one server, in any order.

mod compare;
mod requests;

use std::{fmt::Write, fs, path::Path};

use serde_json::Value;
use tidemark_tests::{Client, Node, NodeOptions};

use self::{
    compare::check,
    requests::{Captures, send},
};

/// Cases of parts that do not exist yet; each must fail, so that the list cannot go stale.
const NOT_YET: [&str; 1] = ["histogram_percentile"];

#[test]
fn opentsdb_answers_as_it_always_did() {
    let node = Node::start(&NodeOptions::without_agent());
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/opentsdb_cases.json");
    let cases: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let (mut report, mut passed) = (String::new(), 0);
    for case in cases.as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        match (run(&node.client(), case), NOT_YET.contains(&name)) {
            (Ok(()), false) => passed += 1,
            (Err(_), true) => {}
            (Ok(()), true) => writeln!(report, "{name}: passes now; take it off the list").unwrap(),
            (Err(problem), false) => writeln!(report, "{name}: {problem}").unwrap(),
        }
    }
    assert!(report.is_empty(), "{passed} passed, but\n{report}");
}

fn run(client: &Client, case: &Value) -> Result<(), String> {
    for points in case["put"].as_array().map(Vec::as_slice).unwrap_or_default().chunks(50) {
        let points = requests::fill_in(&Value::Array(points.to_vec()), &Captures::default());
        let answer = client.post("/api/put?sync", &points);
        if answer.status != 204 {
            return Err(format!("the put before it was answered {} {}", answer.status, answer.text()));
        }
    }
    let mut captures = Captures::default();
    let request = &case["request"];
    let answer = if request["method"] == "SEQ" {
        let steps = request["steps"].as_array().unwrap();
        let mut last = None;
        for (number, step) in steps.iter().enumerate() {
            let answer = send(client, step.get("request").unwrap_or(step), &captures);
            if let Some(expect) = step.get("expect") {
                let expect = requests::fill_in(expect, &captures);
                check(&expect, &answer).map_err(|problem| format!("step {number}: {problem}"))?;
            }
            captures.take(step, &answer);
            last = Some(answer);
        }
        last.ok_or("a sequence without a step")?
    } else {
        send(client, request, &captures)
    };
    match case.get("expect") {
        Some(expect) => check(&requests::fill_in(expect, &captures), &answer),
        None => Ok(()),
    }
}
