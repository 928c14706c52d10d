//! Workers that lost their leases without knowing, on all three brokers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

mod support;

use std::{collections::BTreeSet, time::Duration};

use support::{
    Harness,
    every_broker::{Start, on_every_broker, start},
    job,
};
use tidemark_queue::{BrokerOptions, Delivery, JobState, LeaseState, Outcome, Receipt, Settled};

on_every_broker! {
    a_thousand_ends_that_come_too_late_are_refused,
}

const JOBS: usize = 1_000;
/// Longer than a busy machine takes to hand them out and to end them.
const LEASE: Duration = Duration::from_secs(5);

fn ids(deliveries: &[Delivery]) -> BTreeSet<tidemark_queue::JobId> {
    deliveries.iter().map(|delivery| delivery.job.id).collect()
}

/// Fetches until there are so many.
async fn fetch_all(harness: &Harness, worker: &str) -> Vec<Delivery> {
    let fetched = std::cell::RefCell::new(Vec::new());
    harness
        .eventually("all jobs are handed out", || async {
            let more = harness.fetch_as(worker, JOBS).await;
            fetched.borrow_mut().extend(more);
            fetched.borrow().len() >= JOBS
        })
        .await;
    fetched.into_inner()
}

fn completions(deliveries: &[Delivery]) -> Vec<(Receipt, Outcome)> {
    deliveries.iter().map(|delivery| (delivery.receipt.clone(), Outcome::Completed { result: None })).collect()
}

async fn a_thousand_ends_that_come_too_late_are_refused(start: Start) {
    let harness = start!(start, BrokerOptions { lease: LEASE, ..BrokerOptions::default() });
    harness.push((0..JOBS).map(|number| job(&number.to_string())).collect()).await;
    let zombies = fetch_all(&harness, "zombie").await;
    // Nobody extends the leases: another worker gets all of it.
    let others = fetch_all(&harness, "other").await;
    assert_eq!((ids(&zombies).len(), ids(&zombies)), (JOBS, ids(&others)));
    assert!(others.iter().all(|delivery| delivery.rescues > 0));
    let late = harness.broker.settle(completions(&zombies)).await.unwrap();
    assert_eq!(late, vec![Settled::Stale; JOBS]);
    let receipts: Vec<Receipt> = zombies.iter().map(|delivery| delivery.receipt.clone()).collect();
    assert_eq!(harness.broker.extend(&receipts).await.unwrap(), vec![LeaseState::Lost; JOBS]);
    let stats = harness.stats().await;
    assert_eq!(
        (stats.totals.completed, stats.totals.rescued, stats.running),
        (0, JOBS as u64, JOBS as u64),
        "{stats:?}"
    );
    let settled = harness.broker.settle(completions(&others)).await.unwrap();
    assert_eq!(settled, vec![Settled::Recorded(JobState::Completed); JOBS]);
    let again = harness.broker.settle(completions(&others)).await.unwrap();
    assert_eq!(again, vec![Settled::Stale; JOBS], "done twice");
    assert_eq!(harness.stats().await.totals.completed, JOBS as u64);
}
