//! Limits, bulk steering and commands for workers, on all three brokers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

mod support;

use std::time::Duration;

use support::{
    Harness,
    every_broker::{Start, on_every_broker, start},
    job, request, text_of,
};
use tidemark_queue::{
    BrokerError, Delivery, JobFilter, JobKind, JobState, NewJob, Outcome, Page, Pushed, QueueName, QueueSettings, Rate,
    RateClaim, RateLimit, WORKER_COMMANDS_MAX, WorkerCommand, WorkerId, WorkerReport,
};

on_every_broker! {
    a_queue_gives_no_more_than_its_rate,
    a_job_that_its_rate_holds_back_comes_when_it_is_its_turn,
    only_so_many_jobs_of_a_queue_run_at_one_time_over_all_workers,
    a_worker_that_waits_is_woken_when_another_job_ends,
    a_queue_that_is_drained_takes_no_new_jobs_and_gives_all_it_has,
    a_queue_has_limits_of_its_own,
    settings_are_kept_and_a_pause_changes_nothing_else,
    a_turn_at_shared_rates_is_taken_at_all_or_at_none,
    dead_letters_are_retried_and_purged_by_what_they_are,
    of_dead_letters_with_one_key_one_is_retried,
    many_dead_letters_are_retried_and_purged_in_parts,
    a_worker_gets_its_commands_until_it_says_that_it_has_them,
    a_job_keeps_its_rate_key,
}

fn notify() -> QueueName {
    JobKind::Notify.default_queue()
}

fn rate(text: &str) -> Rate {
    text.parse().unwrap()
}

async fn set(harness: &Harness, settings: QueueSettings) {
    harness.broker.set_queue(&notify(), settings).await.unwrap();
}

fn jobs(count: usize) -> Vec<NewJob> {
    (0..count).map(|number| job(&number.to_string())).collect()
}

async fn settle(harness: &Harness, deliveries: Vec<Delivery>, outcome: Outcome) {
    let settlements = deliveries.into_iter().map(|delivery| (delivery.receipt, outcome.clone())).collect();
    harness.broker.settle(settlements).await.unwrap();
}

fn completed() -> Outcome {
    Outcome::Completed { result: None }
}

async fn a_queue_gives_no_more_than_its_rate(start: Start) {
    let harness = start!(start);
    set(&harness, QueueSettings { rate: Some(rate("5/h")), ..QueueSettings::default() }).await;
    harness.push(jobs(8)).await;
    assert_eq!(harness.fetch_as("a", 3).await.len(), 3);
    assert_eq!(harness.fetch_as("b", 10).await.len(), 2);
    assert_eq!(harness.fetch_as("a", 10).await.len(), 0);
    assert_eq!(harness.stats().await.ready, 3);
    // A rate that lets more through holds from now on.
    set(&harness, QueueSettings::default()).await;
    assert_eq!(harness.fetch(10).await.len(), 3);
}

async fn a_job_that_its_rate_holds_back_comes_when_it_is_its_turn(start: Start) {
    let harness = start!(start);
    set(&harness, QueueSettings { rate: Some(rate("3/300ms")), ..QueueSettings::default() }).await;
    harness.push(jobs(7)).await;
    let began_ms = harness.now_ms();
    let burst = harness.fetch(10).await;
    assert_eq!(burst.len(), 3);
    settle(&harness, burst, completed()).await;
    for number in 3..7 {
        let delivery = harness.fetch_one().await;
        assert_eq!(text_of(&delivery), number.to_string());
        settle(&harness, vec![delivery], completed()).await;
    }
    let took_ms = harness.now_ms() - began_ms;
    assert!(took_ms >= 380, "four jobs of three in 300 ms took {took_ms} ms");
}

async fn only_so_many_jobs_of_a_queue_run_at_one_time_over_all_workers(start: Start) {
    let harness = start!(start);
    set(&harness, QueueSettings { running_max: Some(3), ..QueueSettings::default() }).await;
    harness.push(jobs(6)).await;
    let mut held = harness.fetch_as("a", 2).await;
    held.extend(harness.fetch_as("b", 2).await);
    assert_eq!(held.len(), 3);
    assert_eq!(harness.fetch_as("c", 9).await.len(), 0);
    settle(&harness, held.split_off(2), completed()).await;
    assert_eq!(harness.fetch_as("c", 9).await.len(), 1);
    // A job that waits for its next attempt does not run, and one that was given back does not.
    settle(&harness, held.split_off(1), Outcome::Snooze { delay: Duration::from_secs(60) }).await;
    harness.broker.release(held.into_iter().map(|delivery| delivery.receipt).collect()).await.unwrap();
    assert_eq!(harness.fetch_as("c", 9).await.len(), 2);
}

async fn a_worker_that_waits_is_woken_when_another_job_ends(start: Start) {
    let harness = start!(start);
    set(&harness, QueueSettings { running_max: Some(1), ..QueueSettings::default() }).await;
    harness.push(jobs(2)).await;
    let first = harness.fetch_as("a", 1).await;
    // What woke workers when the jobs came is used up.
    assert!(harness.broker.fetch(request("b", 1, Duration::from_millis(50))).await.unwrap().is_empty());
    let waits = harness.broker.fetch(request("b", 1, Duration::from_secs(20)));
    let ends = async {
        tokio::task::yield_now().await;
        settle(&harness, first, completed()).await;
    };
    let both = tokio::time::timeout(Duration::from_secs(10), async { tokio::join!(waits, ends) });
    let (second, ()) = both.await.expect("nobody woke the worker");
    assert_eq!(second.unwrap().len(), 1);
}

async fn a_queue_that_is_drained_takes_no_new_jobs_and_gives_all_it_has(start: Start) {
    let harness = start!(start);
    harness.push(jobs(2)).await;
    set(&harness, QueueSettings { draining: true, ..QueueSettings::default() }).await;
    let error = harness.broker.push(jobs(1)).await.unwrap_err();
    assert_eq!(error, BrokerError::Draining { queue: notify() });
    assert_eq!(error.to_string(), "queue `notify` is being drained: it takes no new jobs until somebody undoes that");
    // Others take theirs.
    let other = job("other").on_queue("other".parse().unwrap());
    assert!(matches!(harness.push(vec![other]).await[0], Pushed::Queued(_)));
    let mut held = harness.fetch(10).await;
    assert_eq!(held.len(), 2);
    // What a person retries comes in.
    let id = held[1].job.id;
    settle(&harness, held.split_off(1), Outcome::Discard { reason: "no".to_owned() }).await;
    settle(&harness, held, completed()).await;
    assert!(harness.broker.retry(id).await.unwrap());
    let again = harness.fetch(10).await;
    assert_eq!(again.len(), 1);
    settle(&harness, again, completed()).await;
    set(&harness, QueueSettings::default()).await;
    harness.push(jobs(1)).await;
}

async fn a_queue_has_limits_of_its_own(start: Start) {
    let mut harness = start!(start);
    // It is about bytes.
    harness.pads = false;
    set(&harness, QueueSettings { jobs_max: Some(2), bytes_max: Some(10), ..QueueSettings::default() }).await;
    let error = harness.broker.push(jobs(3)).await.unwrap_err().to_string();
    assert_eq!(error, "queue `notify` is full: 0 jobs wait, at most 2 are allowed; see `jobs_max of this queue`");
    harness.push(vec![job("12345")]).await;
    let error = harness.broker.push(vec![job("123456")]).await.unwrap_err();
    let expect = BrokerError::Full {
        queue: notify(),
        waiting: 5,
        limit: 10,
        unit: "payload bytes",
        setting: "bytes_max of this queue",
    };
    assert_eq!(error, expect);
    harness.push(vec![job("12345")]).await;
}

async fn settings_are_kept_and_a_pause_changes_nothing_else(start: Start) {
    let harness = start!(start);
    let settings = QueueSettings {
        paused: false,
        draining: false,
        rate: Some(rate("7/m")),
        running_max: Some(3),
        jobs_max: Some(1_000),
        bytes_max: Some(4096),
    };
    set(&harness, settings.clone()).await;
    assert_eq!(harness.stats().await.settings, settings);
    harness.broker.pause(&notify()).await.unwrap();
    assert_eq!(harness.stats().await.settings, QueueSettings { paused: true, ..settings.clone() });
    harness.broker.resume(&notify()).await.unwrap();
    assert_eq!(harness.stats().await.settings, settings);
    for wrong in [
        QueueSettings { running_max: Some(0), ..QueueSettings::default() },
        QueueSettings { jobs_max: Some(u64::MAX), ..QueueSettings::default() },
    ] {
        let refused = harness.broker.set_queue(&notify(), wrong).await;
        assert!(matches!(refused, Err(BrokerError::Invalid(_))), "{refused:?}");
    }
    assert_eq!(harness.stats().await.settings, settings);
}

async fn a_turn_at_shared_rates_is_taken_at_all_or_at_none(start: Start) {
    let harness = start!(start);
    let limit = |name: &str, text: &str| RateLimit { name: name.to_owned(), rate: rate(text) };
    let both = || RateClaim { limits: vec![limit("notify", "3/h"), limit("notify:mail", "2/h")] };
    let kind_alone = || RateClaim { limits: vec![limit("notify", "3/h")] };
    let free = RateClaim::default();
    let waits = harness.broker.admit(vec![both(), free, both(), both()]).await.unwrap();
    assert_eq!(waits[..3], [Duration::ZERO; 3]);
    // Two in an hour are gone: the next half an hour later. Nothing was taken of the other rate.
    assert!(waits[3] > Duration::from_secs(1_795) && waits[3] <= Duration::from_secs(1_800), "{waits:?}");
    let waits = harness.broker.admit(vec![kind_alone(), kind_alone()]).await.unwrap();
    assert_eq!(waits[0], Duration::ZERO);
    assert!(waits[1] > Duration::from_secs(1_195) && waits[1] <= Duration::from_secs(1_200), "{waits:?}");
    let quick = || vec![RateClaim { limits: vec![limit("quick", "1/50ms")] }];
    assert_eq!(harness.broker.admit(quick()).await.unwrap(), [Duration::ZERO]);
    harness.eventually("a turn", || async { harness.broker.admit(quick()).await.unwrap() == [Duration::ZERO] }).await;
    let long = RateClaim { limits: vec![limit(&"x".repeat(257), "1/s")] };
    assert!(matches!(harness.broker.admit(vec![long]).await, Err(BrokerError::Invalid(_))));
    assert_eq!(harness.broker.admit(Vec::new()).await.unwrap(), []);
}

/// Discards jobs with these texts as payload and as reason.
async fn discard(harness: &Harness, texts: &[&str]) {
    harness.push(texts.iter().map(|text| job(text)).collect()).await;
    for text in texts {
        let delivery = harness.fetch_one().await;
        assert_eq!(text_of(&delivery), *text);
        settle(harness, vec![delivery], Outcome::Discard { reason: format!("it said: {text}") }).await;
    }
}

async fn dead_letters_are_retried_and_purged_by_what_they_are(start: Start) {
    let harness = start!(start);
    discard(&harness, &["Connection refused", "timed out", "connection reset", "no such host"]).await;
    let text = |text: &str| JobFilter { text: Some(text.to_owned()), ..JobFilter::default() };
    let found = harness.broker.jobs(text("CONNECTION"), Page::first(10)).await.unwrap();
    assert_eq!(found.jobs.len(), 2);
    let other_queue = JobFilter { queue: "other".parse().ok(), ..JobFilter::default() };
    assert_eq!(harness.broker.retry_all(other_queue, 10).await.unwrap(), 0);
    let completed_ones = JobFilter { state: Some(JobState::Completed), ..JobFilter::default() };
    assert_eq!(harness.broker.purge(completed_ones, 10).await.unwrap(), 0);
    // The oldest first, and no more than asked for.
    assert_eq!(harness.broker.retry_all(text("connection"), 1).await.unwrap(), 1);
    let again = harness.fetch_one().await;
    assert_eq!((text_of(&again).as_str(), again.attempt), ("Connection refused", 1));
    assert_eq!(harness.broker.purge(text("timed"), 10).await.unwrap(), 1);
    assert_eq!(harness.stats().await.discarded, 2);
    let left = harness.broker.jobs(text("no such"), Page::first(10)).await.unwrap().jobs;
    assert!(harness.broker.forget(left[0].id).await.unwrap());
    assert!(!harness.broker.forget(left[0].id).await.unwrap());
    assert!(!harness.broker.forget(again.job.id).await.unwrap(), "it is no dead letter");
    assert_eq!(harness.broker.purge(JobFilter::default(), 10).await.unwrap(), 1);
    assert_eq!(harness.stats().await.discarded, 0);
}

async fn of_dead_letters_with_one_key_one_is_retried(start: Start) {
    let harness = start!(start);
    for _ in 0..2 {
        harness.push(vec![job("same").unique_until_done("key")]).await;
        let delivery = harness.fetch_one().await;
        settle(&harness, vec![delivery], Outcome::Discard { reason: "no".to_owned() }).await;
    }
    assert_eq!(harness.broker.retry_all(JobFilter::default(), 10).await.unwrap(), 1);
    assert_eq!(harness.broker.retry_all(JobFilter::default(), 10).await.unwrap(), 0);
    let delivery = harness.fetch_one().await;
    settle(&harness, vec![delivery], completed()).await;
    assert_eq!(harness.broker.retry_all(JobFilter::default(), 10).await.unwrap(), 1);
    assert_eq!((harness.stats().await.ready, harness.stats().await.discarded), (1, 0));
}

async fn many_dead_letters_are_retried_and_purged_in_parts(start: Start) {
    let harness = start!(start);
    harness.push(jobs(700)).await;
    let deliveries = harness.fetch(700).await;
    let (odd, even): (Vec<_>, Vec<_>) =
        deliveries.into_iter().partition(|delivery| text_of(delivery).parse::<u32>().unwrap() % 2 == 1);
    settle(&harness, odd, Outcome::Discard { reason: "odd".to_owned() }).await;
    settle(&harness, even, Outcome::Discard { reason: "even".to_owned() }).await;
    let text = |text: &str| JobFilter { text: Some(text.to_owned()), ..JobFilter::default() };
    assert_eq!(harness.broker.purge(text("even"), 300).await.unwrap(), 300);
    assert_eq!(harness.broker.purge(text("even"), 300).await.unwrap(), 50);
    assert_eq!(harness.broker.retry_all(text("odd"), 10_000).await.unwrap(), 350);
    assert_eq!((harness.stats().await.ready, harness.stats().await.discarded), (350, 0));
    let again = harness.fetch(700).await;
    assert!(again.len() == 350 && again.iter().all(|delivery| delivery.attempt == 1));
}

fn report(last_command: u64) -> WorkerReport {
    WorkerReport {
        worker: "w1".to_owned(),
        version: "0.1.0".to_owned(),
        host: "ams1".to_owned(),
        queues: vec![("notify".to_owned(), 8)],
        running: 0,
        attempts: 0,
        started_ms: 5,
        jobs: Vec::new(),
        last_command,
    }
}

async fn a_worker_gets_its_commands_until_it_says_that_it_has_them(start: Start) {
    let harness = start!(start);
    let (broker, worker) = (&harness.broker, WorkerId::new("w1"));
    let scale = WorkerCommand::Scale { queue: "notify".to_owned(), concurrency: 4 };
    assert!(!broker.command_worker(&worker, scale.clone()).await.unwrap(), "there is no such worker");
    assert_eq!(broker.heartbeat(report(0)).await.unwrap(), []);
    assert!(broker.command_worker(&worker, scale.clone()).await.unwrap());
    assert!(broker.command_worker(&worker, WorkerCommand::Stop).await.unwrap());
    let commands = broker.heartbeat(report(0)).await.unwrap();
    let told: Vec<_> = commands.iter().map(|numbered| numbered.command.clone()).collect();
    assert_eq!(told, [scale.clone(), WorkerCommand::Stop]);
    assert!(commands[0].number < commands[1].number);
    // The answer was lost: they come again, and only those that it does not have.
    assert_eq!(broker.heartbeat(report(0)).await.unwrap(), commands);
    assert_eq!(broker.heartbeat(report(commands[0].number)).await.unwrap(), commands[1..]);
    assert_eq!(broker.heartbeat(report(commands[1].number)).await.unwrap(), []);
    let too_many = WorkerCommand::Scale { queue: "notify".to_owned(), concurrency: 10_001 };
    assert!(matches!(broker.command_worker(&worker, too_many).await, Err(BrokerError::Invalid(_))));
    for _ in 0..WORKER_COMMANDS_MAX {
        assert!(broker.command_worker(&worker, scale.clone()).await.unwrap());
    }
    assert!(matches!(broker.command_worker(&worker, scale.clone()).await, Err(BrokerError::Invalid(_))));
    broker.farewell(&worker).await.unwrap();
    assert_eq!(broker.heartbeat(report(0)).await.unwrap(), []);
}

async fn a_job_keeps_its_rate_key(start: Start) {
    let harness = start!(start);
    harness.push(vec![job("x").with_rate_key("mail")]).await;
    assert_eq!(harness.fetch_one().await.job.rate_key.as_deref(), Some("mail"));
    let long = job("x").with_rate_key("x".repeat(2_000));
    assert!(matches!(harness.broker.push(vec![long]).await, Err(BrokerError::Invalid(_))));
}
