//! Rules do not get in each other's way, whatever their names.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has failed")]

#[allow(dead_code, reason = "each test file uses its part")]
mod memory_store;

use std::{collections::BTreeMap, sync::Arc};

use memory_store::MemoryDocuments;
use tidemark_alert::{
    IncidentBook, RuleSet, Status,
    expression::Group,
    incident::Observation,
    rules::{RuleEvaluation, RuleSetOptions},
};

/// Names around each other in byte order, one the start of another.
const NAMES: [&str; 4] = ["a", "a.b", "m", "z"];

#[tokio::test]
async fn every_rule_is_evaluated_again_and_again() {
    let texts = NAMES.map(|name| format!("[[rule]]\nname = \"{name}\"\nevery = \"1m\"\nwarn = \"1\"\n"));
    let files = vec![("test.toml".to_owned(), texts.concat())];
    let rules = RuleSet::from_files(files, RuleSetOptions::default()).unwrap();
    let book = IncidentBook::new(Arc::new(MemoryDocuments::default()));
    for minute in 0..3 {
        for name in NAMES {
            let at = 1_000_000 + minute * 60_000;
            let group = Group::from_iter([("host", name)]);
            let observation = Observation { at, status: Status::Warning, ..Observation::default() };
            let evaluation = RuleEvaluation { at, result: Ok(BTreeMap::from([(group, observation)])) };
            book.apply(&rules, name, &evaluation).await.unwrap();
        }
    }
    let open = book.open().await.unwrap();
    assert_eq!(open.len(), NAMES.len());
    for state in book.rule_states(&rules).await.unwrap() {
        let evaluated = NAMES.contains(&state.rule.as_str()).then_some(1_120_000);
        assert_eq!((state.evaluated_at, state.failing), (evaluated, None), "{}", state.rule);
    }
}
