//! Evaluations that are cut off anywhere and run again come to the same incidents, and nobody is left untold.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test that panics has failed")]

#[allow(dead_code, reason = "each test file uses its part")]
mod memory_store;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use memory_store::MemoryDocuments;
use proptest::prelude::*;
use tidemark_alert::{
    IncidentBook, RuleSet, Status,
    book::{IncidentFilter, IncidentView},
    expression::Group,
    incident::{DeliveryId, Observation},
    rules::{RuleEvaluation, RuleSetOptions},
};

const RULES: &str = r#"
[[notification]]
name = "ops"
url = "https://hooks.example.com/x"

[[rule]]
name = "cpu"
every = "1m"
notify = "ops"
close_after = "2m"
warn = "1"
"#;

fn evaluation(minute: usize, statuses: &[Option<Status>]) -> RuleEvaluation {
    let at = 1_000_000 + i64::try_from(minute).unwrap() * 60_000;
    let keys: BTreeMap<_, _> = statuses
        .iter()
        .enumerate()
        .filter_map(|(host, status)| {
            let group = Group::from_iter([("host", format!("h{host}"))]);
            Some((group, Observation { at, status: (*status)?, ..Observation::default() }))
        })
        .collect();
    RuleEvaluation { at, result: Ok(keys) }
}

struct Run {
    rules: RuleSet,
    documents: Arc<MemoryDocuments>,
    book: IncidentBook,
    told: BTreeSet<DeliveryId>,
}

impl Run {
    fn new() -> Self {
        let files = vec![("test.toml".to_owned(), RULES.to_owned())];
        let documents = Arc::new(MemoryDocuments::default());
        let rules = RuleSet::from_files(files, RuleSetOptions::default()).expect("rules");
        Self { rules, book: IncidentBook::new(documents.clone()), documents, told: BTreeSet::new() }
    }

    /// Runs an evaluation as a job would: cut off after some operations, then once more without a fault.
    async fn evaluate(&mut self, evaluation: &RuleEvaluation, works_for: Option<usize>) {
        if works_for.is_some() {
            self.documents.set_works_for(works_for);
            self.attempt(evaluation).await.ok();
            self.documents.set_works_for(None);
        }
        self.attempt(evaluation).await.expect("no fault");
    }

    async fn attempt(&mut self, evaluation: &RuleEvaluation) -> Result<(), tidemark_alert::BookError> {
        let requests = self.book.apply(&self.rules, "cpu", evaluation).await?;
        self.told.extend(requests.iter().map(|request| request.delivery.clone()));
        self.book.mark_queued(&requests).await
    }

    async fn incidents(&self) -> Vec<IncidentView> {
        self.book.list(&IncidentFilter::default(), 10_000).await.unwrap().incidents
    }
}

/// What matters of incidents, whatever their numbers.
fn summary(incidents: &[IncidentView]) -> Vec<String> {
    let mut lines: Vec<_> = incidents
        .iter()
        .map(|incident| {
            let events: Vec<_> = incident.events.iter().map(|event| (event.at, event.status)).collect();
            let deliveries: Vec<_> =
                incident.deliveries.iter().map(|delivery| (delivery.requested_at, delivery.reason)).collect();
            format!(
                "{} {:?} {:?} {events:?} {deliveries:?} {}",
                incident.key,
                incident.status,
                incident.closed_at,
                incident.previous.len()
            )
        })
        .collect();
    lines.sort();
    lines
}

fn check_open(incidents: &[IncidentView]) {
    let mut keys = BTreeSet::new();
    for incident in incidents.iter().filter(|incident| incident.open) {
        assert!(keys.insert(incident.key.clone()), "two open incidents of {}", incident.key);
    }
}

fn statuses() -> impl Strategy<Value = Vec<Option<Status>>> {
    let status = prop_oneof![
        3 => Just(Some(Status::Normal)),
        2 => Just(Some(Status::Warning)),
        1 => Just(Some(Status::Critical)),
        1 => Just(None),
    ];
    proptest::collection::vec(status, 3)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn an_evaluation_that_is_cut_off_and_repeated_comes_to_the_same(
        steps in proptest::collection::vec((statuses(), proptest::option::of(0_usize..60)), 1..14)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (mut smooth, mut faulty) = (Run::new(), Run::new());
            for (minute, (statuses, works_for)) in steps.iter().enumerate() {
                let evaluation = evaluation(minute, statuses);
                smooth.evaluate(&evaluation, None).await;
                faulty.evaluate(&evaluation, *works_for).await;
                let (expect, found) = (smooth.incidents().await, faulty.incidents().await);
                check_open(&found);
                assert_eq!(summary(&expect), summary(&found));
                let asked: BTreeSet<_> = found.iter().flat_map(|incident| incident.deliveries.iter().map(|delivery| delivery.id.clone())).collect();
                assert_eq!(asked, faulty.told, "everybody is told of everything");
            }
        });
    }

    #[test]
    fn two_evaluators_at_once_never_open_two_incidents(
        steps in proptest::collection::vec(statuses(), 1..10)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let run = Run::new();
            for (minute, statuses) in steps.iter().enumerate() {
                let evaluation = evaluation(minute, statuses);
                let (left, right) = tokio::join!(
                    run.book.apply(&run.rules, "cpu", &evaluation),
                    run.book.apply(&run.rules, "cpu", &evaluation),
                );
                left.unwrap();
                right.unwrap();
                let found = run.incidents().await;
                check_open(&found);
                for incident in &found {
                    let mut told: Vec<_> = incident.deliveries.iter().map(|delivery| (delivery.requested_at, format!("{:?}", delivery.reason))).collect();
                    let all = told.len();
                    told.dedup();
                    assert_eq!(told.len(), all, "told twice of {incident:?}");
                }
            }
        });
    }
}
