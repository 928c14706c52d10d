//! OpenTSDB's behaviour as executable cases: `tests/data/opentsdb_cases.json`, each of which was confirmed on OpenTSDB 2.4
//! and 2.5, and `tests/data/opentsdb_more.json`, whose answers were worked out from its
//! specification, or asked of both, too.
//!
//! A case writes points, sends a request (or a line of telnet commands, or a sequence of both) and says what the answer
//! must be. All cases of a file run on one server, in any order. Cases of the second file have their points in common,
//! which are written before all of them.

mod compare;
mod requests;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::{Write as _, stderr},
    path::Path,
};

use serde_json::Value;
use tidemark_tests::{Client, Node, NodeOptions};

use self::{
    compare::check,
    requests::{Captures, send},
};

/// Names of the cases of tier 3 that are not met; each must fail, so that the list cannot go stale.
fn unmet() -> Vec<&'static str> {
    let list = include_str!("../data/opentsdb_unmet.txt").lines();
    list.filter(|line| !line.starts_with('#')).filter_map(|line| line.split(' ').next()).collect()
}

#[test]
fn opentsdb_answers_as_it_always_did() {
    let node = Node::start(&NodeOptions::without_agent());
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/opentsdb_cases.json");
    let cases: Vec<Value> = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let unmet = unmet();
    let (mut problems, mut failed, mut passed) = (String::new(), Vec::new(), BTreeMap::<u64, usize>::new());
    for case in &cases {
        let (name, tier) = (case["name"].as_str().unwrap(), case["tier"].as_u64().unwrap());
        match (run(&node.client(), case), tier == 3 && unmet.contains(&name)) {
            (Ok(()), false) => *passed.entry(tier).or_default() += 1,
            (Err(problem), true) => failed.push(format!("{name}: {problem}")),
            (Ok(()), true) => writeln!(problems, "{name}: passes now; take it off the list").unwrap(),
            (Err(problem), false) => writeln!(problems, "{name}, tier {tier}: {problem}").unwrap(),
        }
    }
    // Not through `eprintln`, which nobody sees of a test that passes.
    writeln!(stderr(), "cases passed by tier: {passed:?}; of tier 3 failed: {failed:#?}").unwrap();
    assert!(problems.is_empty(), "passed by tier: {passed:?}, but\n{problems}");
    assert_eq!(failed.len(), unmet.len(), "a name on the list is of no case of tier 3: {unmet:?}");
    assert!(passed[&1] >= 84 && passed[&2] >= 24, "cases are missing: {passed:?}");
}

#[test]
fn opentsdb_answers_as_its_specification_says() {
    let node = Node::start(&NodeOptions::without_agent().variable("TIDEMARK_OPENTSDB__ALLOW_DELETE", "true"));
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/opentsdb_more.json");
    let document: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let cases = document["cases"].as_array().unwrap();
    put(&node.client(), &document["put"]).unwrap();
    let problem =
        |case: &Value| run(&node.client(), case).err().map(|problem| format!("{}: {problem}\n", case["name"]));
    let problems: Vec<String> = cases.iter().filter_map(problem).collect();
    assert!(problems.is_empty(), "{} of {} cases failed:\n{}", problems.len(), cases.len(), problems.concat());
    assert!(cases.len() >= 250, "cases are missing: {}", cases.len());
}

fn put(client: &Client, points: &Value) -> Result<(), String> {
    for points in points.as_array().map(Vec::as_slice).unwrap_or_default().chunks(50) {
        let points = requests::fill_in(&Value::Array(points.to_vec()), &Captures::default());
        let answer = client.post("/api/put?sync", &points);
        if answer.status != 204 {
            return Err(format!("the put before it was answered {} {}", answer.status, answer.text()));
        }
    }
    Ok(())
}

fn run(client: &Client, case: &Value) -> Result<(), String> {
    put(client, &case["put"])?;
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
