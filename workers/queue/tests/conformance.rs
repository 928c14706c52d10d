//! What every broker has to do, on all three of them, and on Redis in each way to reach it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

mod support;

use std::time::Duration;

use support::{
    Harness, RedisServer,
    certificates::Certificates,
    cluster::RedisCluster,
    every_broker::{Start, on_every_broker, run_all, start},
    job, options, request,
    sentinel::RedisWithSentinels,
    text_of,
};
use tidemark_queue::{
    BrokerError, BrokerOptions, Cancelled, CatchUp, Completion, JobFilter, JobKind, JobNote, JobState, JobTemplate,
    JobView, LOG_LINE_BYTES_MAX, LOG_LINES_MAX, LeaseState, NewJob, Outcome, PAYLOAD_BYTES_MAX, Page, Priority,
    Progress, Pushed, Schedule, ScheduleExpect, Settled, Timing, WorkerId, WorkerReport,
};

on_every_broker! {
    jobs_come_in_order_and_leave_when_they_are_completed,
    urgent_jobs_go_first,
    a_job_waits_for_its_time,
    a_failed_job_is_tried_again_and_discarded_after_its_last_attempt,
    a_job_that_is_put_off_keeps_its_attempt_number,
    a_discarded_job_can_be_retried_by_hand,
    a_job_that_waits_for_its_next_attempt_can_be_retried_at_once,
    a_unique_key_keeps_others_away_until_the_job_is_done,
    a_unique_key_with_a_period_outlives_its_job,
    a_rescued_job_keeps_its_attempt_number_and_the_lost_worker_cannot_settle_it,
    an_extended_lease_does_not_run_out,
    a_job_whose_workers_are_lost_three_times_is_poison,
    jobs_that_were_lost_together_again_come_back_apart,
    a_released_job_keeps_its_attempt_number,
    a_waiting_job_can_be_called_off,
    a_running_job_can_be_called_off_through_its_lease,
    a_paused_queue_gives_nothing_and_takes_everything,
    a_full_queue_refuses_and_says_its_limit,
    an_expired_job_is_discarded,
    the_end_of_a_job_can_be_awaited,
    a_fetch_waits_for_a_job,
    lists_are_filtered_and_come_in_pages,
    workers_are_listed_until_they_say_goodbye,
    schedules_are_written_by_compare_and_set,
    only_one_leads_at_a_time_and_tokens_grow,
    many_small_jobs_come_once_each,
    the_attempts_at_a_job_are_remembered_with_their_workers_and_errors,
    an_attempt_that_is_put_off_or_given_back_is_not_remembered,
    progress_and_log_lines_are_shown_while_a_job_runs_and_after_its_end,
    what_was_told_in_an_earlier_attempt_is_kept,
    a_note_of_a_worker_that_lost_its_lease_is_refused,
    of_many_log_lines_the_last_are_kept,
    a_payload_or_a_push_that_is_too_large_is_refused,
    a_closed_broker_says_so,
}

#[tokio::test]
async fn every_case_holds_over_tls_with_a_client_certificate() {
    let Some(certificates) = Certificates::make() else { return };
    let Some(server) = RedisServer::start_tls(&certificates).await else { return };
    run_all(cases(&server.options, true)).await;
}

#[tokio::test]
async fn every_case_holds_over_a_socket_as_a_user_who_may_do_little() {
    let Some(server) = RedisServer::start_on_a_socket().await else { return };
    run_all(cases(&server.options, true)).await;
}

#[tokio::test]
async fn every_case_holds_in_a_cluster_over_tls() {
    let Some(certificates) = Certificates::make() else { return };
    let Some(cluster) = RedisCluster::start_tls(0, &certificates).await else { return };
    run_all(cases(&cluster.options(), true)).await;
}

#[tokio::test]
async fn every_case_holds_on_a_master_that_sentinels_name_over_tls() {
    let Some(certificates) = Certificates::make() else { return };
    let Some(redis) = RedisWithSentinels::start_tls(&certificates).await else { return };
    run_all(cases(&redis.options(), true)).await;
}

fn completed() -> Outcome {
    Outcome::Completed { result: None }
}

fn retry(delay: Duration) -> Outcome {
    Outcome::Retry { reason: "no luck".to_owned(), delay }
}

async fn state_of(harness: &Harness, id: tidemark_queue::JobId) -> Option<JobState> {
    harness.broker.job(id).await.unwrap().map(|view| view.state)
}

async fn jobs_come_in_order_and_leave_when_they_are_completed(start: Start) {
    let harness = start!(start);
    let pushed = harness.push((0..20).map(|number| job(&format!("{number:02}"))).collect()).await;
    assert!(pushed.iter().all(|pushed| matches!(pushed, Pushed::Queued(_))));
    assert_eq!(harness.stats().await.ready, 20);
    let mut deliveries = harness.fetch(12).await;
    assert_eq!(deliveries.len(), 12);
    let stats = harness.stats().await;
    assert_eq!((stats.ready, stats.running), (8, 12));
    assert_eq!(state_of(&harness, pushed[3].id()).await, Some(JobState::Running));
    assert_eq!(state_of(&harness, pushed[15].id()).await, Some(JobState::Available));
    deliveries.extend(harness.fetch(20).await);
    let texts: Vec<String> = deliveries.iter().map(text_of).collect();
    assert_eq!(texts, (0..20).map(|number| format!("{number:02}")).collect::<Vec<_>>());
    assert!(deliveries.iter().all(|delivery| delivery.attempt == 1 && delivery.rescues == 0));
    let settlements = deliveries.iter().map(|delivery| (delivery.receipt.clone(), completed())).collect();
    let settled = harness.broker.settle(settlements).await.unwrap();
    assert_eq!(settled, vec![Settled::Recorded(JobState::Completed); 20]);
    let again = harness.broker.settle(vec![(deliveries[0].receipt.clone(), completed())]).await.unwrap();
    assert_eq!(again, [Settled::Stale]);
    let stats = harness.stats().await;
    assert_eq!((stats.ready, stats.running, stats.totals.completed, stats.totals.pushed), (0, 0, 20, 20));
    assert_eq!(state_of(&harness, pushed[3].id()).await, Some(JobState::Completed));
}

async fn urgent_jobs_go_first(start: Start) {
    let harness = start!(start);
    let of = |priority: Priority| job(priority.name()).with_priority(priority);
    harness.push(vec![of(Priority::Low), of(Priority::Normal), of(Priority::High)]).await;
    let mut order = Vec::new();
    for _ in 0..3 {
        order.push(text_of(&harness.fetch(1).await[0]));
    }
    assert_eq!(order, ["high", "normal", "low"]);
    // A flood of urgent jobs does not starve the others.
    harness.push((0..32).map(|_| of(Priority::High)).collect()).await;
    harness.push(vec![of(Priority::Low)]).await;
    let mut seen = Vec::new();
    for _ in 0..20 {
        seen.push(text_of(&harness.fetch(1).await[0]));
    }
    assert!(seen.contains(&"low".to_owned()), "{seen:?}");
}

async fn a_job_waits_for_its_time(start: Start) {
    let harness = start!(start);
    // Long enough for a busy machine to see it wait.
    let due_ms = harness.now_ms() + 1_500;
    let id = harness.push(vec![job("later").not_before(due_ms)]).await[0].id();
    let stats = harness.stats().await;
    assert_eq!((stats.scheduled, stats.ready, stats.retryable), (1, 0, 0));
    assert_eq!(state_of(&harness, id).await, Some(JobState::Scheduled));
    assert!(harness.fetch(1).await.is_empty());
    let delivery = harness.fetch_one().await;
    assert!(harness.now_ms() >= due_ms);
    assert_eq!((text_of(&delivery), delivery.attempt), ("later".to_owned(), 1));
    assert_eq!(harness.stats().await.scheduled, 0);
}

async fn a_failed_job_is_tried_again_and_discarded_after_its_last_attempt(start: Start) {
    let harness = start!(start);
    let id = harness.push(vec![NewJob { attempts_max: 2, ..job("bad") }]).await[0].id();
    let first = harness.fetch_one().await;
    let settled = harness.broker.settle(vec![(first.receipt, retry(Duration::from_millis(50)))]).await.unwrap();
    assert_eq!(settled, [Settled::Recorded(JobState::Retryable)]);
    let stats = harness.stats().await;
    assert_eq!((stats.retryable, stats.scheduled, stats.totals.retried), (1, 0, 1));
    let view = harness.broker.job(id).await.unwrap().unwrap();
    assert_eq!((view.state, view.attempt, view.error.as_deref()), (JobState::Retryable, 1, Some("no luck")));
    let second = harness.fetch_one().await;
    assert_eq!(second.attempt, 2);
    let settled = harness.broker.settle(vec![(second.receipt, retry(Duration::ZERO))]).await.unwrap();
    assert_eq!(settled, [Settled::Recorded(JobState::Discarded)]);
    let view = harness.broker.job(id).await.unwrap().unwrap();
    assert_eq!((view.state, view.attempt, &view.payload[..3]), (JobState::Discarded, 2, &b"bad"[..]));
    let stats = harness.stats().await;
    assert_eq!((stats.discarded, stats.retryable, stats.totals.discarded), (1, 0, 1));
}

async fn a_job_that_is_put_off_keeps_its_attempt_number(start: Start) {
    let harness = start!(start);
    harness.push(vec![NewJob { attempts_max: 1, ..job("early") }]).await;
    let first = harness.fetch_one().await;
    let snooze = Outcome::Snooze { delay: Duration::from_millis(20) };
    assert_eq!(
        harness.broker.settle(vec![(first.receipt, snooze)]).await.unwrap(),
        [Settled::Recorded(JobState::Scheduled)]
    );
    assert_eq!(harness.fetch_one().await.attempt, 1);
}

async fn a_discarded_job_can_be_retried_by_hand(start: Start) {
    let harness = start!(start);
    let id = harness.push(vec![job("hopeless").unique_until_done("k")]).await[0].id();
    let first = harness.fetch_one().await;
    let discard = Outcome::Discard { reason: "no use".to_owned() };
    harness.broker.settle(vec![(first.receipt, discard)]).await.unwrap();
    assert!(!harness.broker.retry(job_id_of_nobody()).await.unwrap());
    assert!(harness.broker.retry(id).await.unwrap());
    assert_eq!(harness.stats().await.discarded, 0);
    assert_eq!(harness.push(vec![job("other").unique_until_done("k")]).await, [Pushed::Duplicate(id)]);
    let again = harness.fetch_one().await;
    assert_eq!((again.job.id, again.attempt), (id, 1));
    harness.broker.settle(vec![(again.receipt, completed())]).await.unwrap();
    assert!(!harness.broker.retry(id).await.unwrap());
}

async fn a_job_that_waits_for_its_next_attempt_can_be_retried_at_once(start: Start) {
    let harness = start!(start);
    let id = harness.push(vec![job("slow")]).await[0].id();
    let first = harness.fetch_one().await;
    harness.broker.settle(vec![(first.receipt, retry(Duration::from_secs(3_600)))]).await.unwrap();
    assert!(harness.fetch(1).await.is_empty());
    assert!(harness.broker.retry(id).await.unwrap());
    assert_eq!(harness.fetch(1).await[0].attempt, 1);
    assert_eq!(harness.stats().await.retryable, 0);
}

async fn a_unique_key_keeps_others_away_until_the_job_is_done(start: Start) {
    let harness = start!(start);
    let unique = || job("once").unique_until_done("target-7");
    let pushed = harness.push(vec![unique(), unique(), job("free")]).await;
    let id = pushed[0].id();
    assert_eq!(pushed[1], Pushed::Duplicate(id));
    assert!(matches!(pushed[2], Pushed::Queued(_)));
    let first = harness.fetch_one().await;
    assert_eq!(harness.push(vec![unique()]).await, [Pushed::Duplicate(id)]);
    harness.broker.settle(vec![(first.receipt, completed())]).await.unwrap();
    assert!(matches!(harness.push(vec![unique()]).await[0], Pushed::Queued(_)));
    assert_eq!(harness.stats().await.totals.duplicates, 2);
}

async fn a_unique_key_with_a_period_outlives_its_job(start: Start) {
    let harness = start!(start);
    let unique = || job("slot").unique_for("every@1", Duration::from_millis(300));
    let id = harness.push(vec![unique()]).await[0].id();
    let first = harness.fetch_one().await;
    harness.broker.settle(vec![(first.receipt, completed())]).await.unwrap();
    assert_eq!(harness.push(vec![unique()]).await, [Pushed::Duplicate(id)]);
    harness
        .eventually("the period is over", || async {
            matches!(harness.push(vec![unique()]).await[0], Pushed::Queued(_))
        })
        .await;
}

async fn a_rescued_job_keeps_its_attempt_number_and_the_lost_worker_cannot_settle_it(start: Start) {
    let harness = start!(start);
    harness.push(vec![job("held")]).await;
    let lost = harness.fetch_as("lost", 1).await.remove(0);
    let rescued = harness.fetch_one().await;
    assert_eq!((rescued.job.id, rescued.attempt, rescued.rescues), (lost.job.id, 1, 1));
    assert_eq!(harness.broker.extend(std::slice::from_ref(&lost.receipt)).await.unwrap(), [LeaseState::Lost]);
    assert_eq!(harness.broker.settle(vec![(lost.receipt, completed())]).await.unwrap(), [Settled::Stale]);
    assert_eq!(
        harness.broker.settle(vec![(rescued.receipt, completed())]).await.unwrap(),
        [Settled::Recorded(JobState::Completed)]
    );
    let stats = harness.stats().await;
    assert_eq!((stats.totals.rescued, stats.totals.completed, stats.ready, stats.running), (1, 1, 0, 0));
}

async fn an_extended_lease_does_not_run_out(start: Start) {
    // Longer than a busy machine may keep the test from extending it.
    let lease = Duration::from_secs(1);
    let harness = start!(start, BrokerOptions { lease, ..options() });
    harness.push(vec![job("long")]).await;
    let delivery = harness.fetch_one().await;
    let until_ms = harness.now_ms() + 3 * i64::try_from(lease.as_millis()).unwrap();
    harness
        .eventually("three leases are over", || async {
            let leases = harness.broker.extend(std::slice::from_ref(&delivery.receipt)).await.unwrap();
            assert_eq!(leases, [LeaseState::Held]);
            harness.now_ms() > until_ms
        })
        .await;
    assert_eq!(
        harness.broker.settle(vec![(delivery.receipt, completed())]).await.unwrap(),
        [Settled::Recorded(JobState::Completed)]
    );
    assert_eq!(harness.stats().await.totals.rescued, 0);
}

async fn a_job_whose_workers_are_lost_three_times_is_poison(start: Start) {
    let harness = start!(start, BrokerOptions { lease: Duration::from_millis(60), ..options() });
    let id = harness.push(vec![job("bomb")]).await[0].id();
    for rescues in 0..3 {
        assert_eq!(harness.fetch_one().await.rescues, rescues);
    }
    harness.eventually("discarded", || async { state_of(&harness, id).await == Some(JobState::Discarded) }).await;
    let error = harness.broker.job(id).await.unwrap().unwrap().error.unwrap();
    assert_eq!(error, "poison: 3 workers were lost while they held it, the last was w1");
    assert!(harness.fetch(1).await.is_empty());
    assert_eq!(harness.stats().await.discarded, 1);
}

async fn jobs_that_were_lost_together_again_come_back_apart(start: Start) {
    let harness = start!(start);
    harness.push((0..12).map(|number| job(&number.to_string())).collect()).await;
    for losses in 1..=2 {
        harness.eventually("all are ready", || async { harness.stats().await.ready == 12 }).await;
        assert_eq!(harness.fetch_as("lost", 12).await.len(), 12);
        harness.eventually("rescued", || async { harness.stats().await.totals.rescued == 12 * losses }).await;
    }
    assert!(harness.stats().await.scheduled > 0, "all came back at once");
    harness.eventually("all are ready", || async { harness.stats().await.ready == 12 }).await;
}

async fn a_released_job_keeps_its_attempt_number(start: Start) {
    let harness = start!(start);
    harness.push(vec![job("back"), job("next")]).await;
    let first = harness.fetch(1).await.remove(0);
    harness.broker.release(vec![first.receipt.clone()]).await.unwrap();
    let again = harness.fetch(1).await.remove(0);
    assert_eq!((text_of(&again), again.attempt, again.rescues), ("back".to_owned(), 1, 0));
    assert_eq!(harness.broker.settle(vec![(first.receipt, completed())]).await.unwrap(), [Settled::Stale]);
}

async fn a_waiting_job_can_be_called_off(start: Start) {
    let harness = start!(start);
    let later = job("later").not_before(harness.now_ms() + 60_000);
    let pushed = harness.push(vec![job("now").unique_until_done("k"), later, job("kept")]).await;
    assert_eq!(harness.broker.cancel(pushed[0].id()).await.unwrap(), Cancelled::Now);
    assert_eq!(harness.broker.cancel(pushed[1].id()).await.unwrap(), Cancelled::Now);
    assert_eq!(harness.broker.cancel(job_id_of_nobody()).await.unwrap(), Cancelled::Unknown);
    assert_eq!(state_of(&harness, pushed[0].id()).await, Some(JobState::Cancelled));
    let left: Vec<String> = harness.fetch(10).await.iter().map(text_of).collect();
    assert_eq!(left, ["kept"]);
    assert!(matches!(harness.push(vec![job("new").unique_until_done("k")]).await[0], Pushed::Queued(_)));
    assert_eq!(harness.broker.cancel(pushed[0].id()).await.unwrap(), Cancelled::TooLate(JobState::Cancelled));
    let stats = harness.stats().await;
    assert_eq!((stats.scheduled, stats.totals.cancelled), (0, 2));
}

async fn a_running_job_can_be_called_off_through_its_lease(start: Start) {
    let harness = start!(start);
    let id = harness.push(vec![job("endless")]).await[0].id();
    let delivery = harness.fetch_one().await;
    assert_eq!(harness.broker.cancel(id).await.unwrap(), Cancelled::Requested);
    let leases = harness.broker.extend(std::slice::from_ref(&delivery.receipt)).await.unwrap();
    assert_eq!(leases, [LeaseState::CancelRequested]);
    let outcome = Outcome::Cancelled { reason: "as asked".to_owned() };
    let settled = harness.broker.settle(vec![(delivery.receipt, outcome)]).await.unwrap();
    assert_eq!(settled, [Settled::Recorded(JobState::Cancelled)]);
    assert_eq!(harness.broker.cancel(id).await.unwrap(), Cancelled::TooLate(JobState::Cancelled));
}

async fn a_paused_queue_gives_nothing_and_takes_everything(start: Start) {
    let harness = start!(start);
    let queue = JobKind::Notify.default_queue();
    harness.broker.pause(&queue).await.unwrap();
    harness.push(vec![job("patient")]).await;
    assert!(harness.fetch(1).await.is_empty());
    assert!(harness.stats().await.settings.paused);
    harness.broker.resume(&queue).await.unwrap();
    assert_eq!(harness.fetch(1).await.len(), 1);
    assert!(!harness.stats().await.settings.paused);
}

async fn a_full_queue_refuses_and_says_its_limit(start: Start) {
    let mut harness = start!(start, BrokerOptions { queue_jobs_max: 3, queue_bytes_max: 100, ..options() });
    // It is about bytes.
    harness.pads = false;
    harness.push(vec![job("1"), job("2")]).await;
    let error = harness.broker.push(vec![job("3"), job("4")]).await.unwrap_err();
    let text = error.to_string();
    assert_eq!(text, "queue `notify` is full: 2 jobs wait, at most 3 are allowed; see `queue.jobs_max`");
    assert_eq!(harness.stats().await.ready, 2);
    let error = harness.broker.push(vec![job(&"x".repeat(99))]).await.unwrap_err();
    assert!(matches!(error, BrokerError::Full { unit: "payload bytes", limit: 100, .. }), "{error}");
    harness.push(vec![job("3")]).await;
    let settlements = harness.fetch(3).await.into_iter().map(|delivery| (delivery.receipt, completed())).collect();
    harness.broker.settle(settlements).await.unwrap();
    harness.push(vec![job(&"x".repeat(100))]).await;
}

async fn an_expired_job_is_discarded(start: Start) {
    let harness = start!(start);
    let id = harness.push(vec![job("stale news").expires(harness.now_ms() + 50)]).await[0].id();
    harness
        .eventually("its time is over", || {
            let now_ms = harness.now_ms();
            async move { now_ms > 0 }
        })
        .await;
    let until_ms = harness.now_ms() + 60;
    harness
        .eventually("it has expired", || {
            let is_over = harness.now_ms() > until_ms;
            async move { is_over }
        })
        .await;
    assert!(harness.fetch(1).await.is_empty());
    let view = harness.broker.job(id).await.unwrap().unwrap();
    assert_eq!((view.state, view.error.as_deref()), (JobState::Discarded, Some("expired before it could start")));
}

async fn the_end_of_a_job_can_be_awaited(start: Start) {
    let harness = start!(start);
    let minute = Duration::from_secs(60);
    let id = harness.push(vec![job("asked").with_result(minute)]).await[0].id();
    assert_eq!(harness.broker.completion(id, Duration::from_millis(10)).await.unwrap(), Completion::Pending);
    assert_eq!(harness.broker.completion(job_id_of_nobody(), Duration::ZERO).await.unwrap(), Completion::Unknown);
    let (completion, ()) = tokio::join!(harness.broker.completion(id, minute), async {
        let delivery = harness.fetch(1).await.remove(0);
        let outcome = Outcome::Completed { result: Some("42".into()) };
        harness.broker.settle(vec![(delivery.receipt, outcome)]).await.unwrap();
    });
    let Completion::Ended(ended) = completion.unwrap() else { panic!("not ended") };
    assert_eq!((ended.state, ended.result.as_deref()), (JobState::Completed, Some(&b"42"[..])));
    let Completion::Ended(again) = harness.broker.completion(id, Duration::ZERO).await.unwrap() else { panic!() };
    assert_eq!(again, ended);
}

async fn a_fetch_waits_for_a_job(start: Start) {
    let harness = start!(start);
    harness.push(vec![job("first")]).await;
    assert_eq!(harness.fetch(1).await.len(), 1);
    let (deliveries, _) = tokio::join!(
        harness.broker.fetch(request("w1", 1, Duration::from_secs(20))),
        // The fetch is polled first, and finds nothing.
        async { harness.push(vec![job("awaited")]).await },
    );
    assert_eq!(text_of(&deliveries.unwrap()[0]), "awaited");
}

async fn lists_are_filtered_and_come_in_pages(start: Start) {
    let harness = start!(start);
    for number in 0..7 {
        let key = format!("host-{}", number % 2);
        harness.push(vec![job(&number.to_string()).unique_until_done(format!("{key}-{number}"))]).await;
    }
    harness.push(vec![NewJob::from_bytes(JobKind::Export, "x".into())]).await;
    let delivery = harness.fetch(1).await.remove(0);
    harness.broker.settle(vec![(delivery.receipt, completed())]).await.unwrap();
    let list = |filter: JobFilter, page: Page| harness.broker.jobs(filter, page);
    let all = list(JobFilter::default(), Page::first(100)).await.unwrap();
    assert_eq!((all.jobs.len(), all.next), (8, None));
    let ids: Vec<_> = all.jobs.iter().map(|job| job.id).collect();
    assert!(ids.is_sorted_by(|left, right| left > right));
    let first = list(JobFilter::default(), Page::first(5)).await.unwrap();
    let second = list(JobFilter::default(), Page { before: first.next, limit: 5 }).await.unwrap();
    let in_pages: Vec<_> = first.jobs.iter().chain(&second.jobs).map(|job| job.id).collect();
    assert_eq!(in_pages, ids);
    let count = async |filter: JobFilter| list(filter, Page::first(100)).await.unwrap().jobs.len();
    assert_eq!(count(JobFilter { kind: Some(JobKind::Export), ..JobFilter::default() }).await, 1);
    assert_eq!(count(JobFilter { state: Some(JobState::Completed), ..JobFilter::default() }).await, 1);
    assert_eq!(count(JobFilter { state: Some(JobState::Available), ..JobFilter::default() }).await, 7);
    assert_eq!(count(JobFilter { key: Some("host-1".to_owned()), ..JobFilter::default() }).await, 3);
    assert_eq!(count(JobFilter { queue: Some("export".parse().unwrap()), ..JobFilter::default() }).await, 1);
    assert_eq!(count(JobFilter { until_ms: Some(1), ..JobFilter::default() }).await, 0);
}

async fn workers_are_listed_until_they_say_goodbye(start: Start) {
    let harness = start!(start);
    let report = WorkerReport {
        worker: "ams1-w1".to_owned(),
        version: "0.1.0".to_owned(),
        host: "ams1".to_owned(),
        queues: vec![("write".to_owned(), 8)],
        running: 3,
        attempts: 17,
        started_ms: 5,
        jobs: vec![job_id_of_nobody()],
        last_command: 0,
    };
    harness.broker.heartbeat(report.clone()).await.unwrap();
    let workers = harness.broker.workers().await.unwrap();
    assert_eq!(workers.len(), 1);
    assert_eq!(workers[0].report, report);
    assert!(workers[0].silent_for < Duration::from_secs(10));
    harness.broker.farewell(&WorkerId::new("ams1-w1")).await.unwrap();
    assert!(harness.broker.workers().await.unwrap().is_empty());
}

fn schedule(name: &str) -> Schedule {
    Schedule {
        name: name.to_owned(),
        timing: Timing::Cron { line: "*/5 * * * *".to_owned(), zone: "Europe/Amsterdam".to_owned() },
        job: JobTemplate {
            kind: JobKind::Rollup,
            queue: None,
            priority: Priority::Low,
            payload: vec![1, 2, 3],
            time_limit: None,
            expires_after: Some(Duration::from_secs(60)),
            rate_key: None,
        },
        catch_up: CatchUp::One,
        paused: false,
        splay: Duration::from_secs(3),
        last_due_ms: None,
        round: 0,
        version: 0,
    }
}

async fn schedules_are_written_by_compare_and_set(start: Start) {
    let harness = start!(start);
    let broker = &harness.broker;
    assert_eq!(broker.put_schedule(schedule("b"), ScheduleExpect::Absent).await.unwrap(), Some(1));
    assert_eq!(broker.put_schedule(schedule("b"), ScheduleExpect::Absent).await.unwrap(), None);
    assert_eq!(broker.put_schedule(schedule("a"), ScheduleExpect::Any).await.unwrap(), Some(1));
    let moved = Schedule { last_due_ms: Some(300_000), ..schedule("b") };
    assert_eq!(broker.put_schedule(moved.clone(), ScheduleExpect::Version(1)).await.unwrap(), Some(2));
    assert_eq!(broker.put_schedule(moved.clone(), ScheduleExpect::Version(1)).await.unwrap(), None);
    assert_eq!(broker.schedule("b").await.unwrap(), Some(Schedule { version: 2, ..moved }));
    let names: Vec<String> = broker.schedules().await.unwrap().into_iter().map(|schedule| schedule.name).collect();
    assert_eq!(names, ["a", "b"]);
    let once = Schedule { timing: Timing::Once(5), catch_up: CatchUp::All, round: 3, ..schedule("b") };
    assert_eq!(broker.put_schedule(once.clone(), ScheduleExpect::Version(2)).await.unwrap(), Some(3));
    assert_eq!(broker.schedule("b").await.unwrap(), Some(Schedule { version: 3, ..once }));
    assert!(broker.delete_schedule("a").await.unwrap());
    assert!(!broker.delete_schedule("a").await.unwrap());
    assert_eq!(broker.schedule("a").await.unwrap(), None);
    assert!(matches!(
        broker.put_schedule(schedule("bad\nname"), ScheduleExpect::Any).await,
        Err(BrokerError::Invalid(_))
    ));
}

async fn only_one_leads_at_a_time_and_tokens_grow(start: Start) {
    let harness = start!(start);
    let ttl = Duration::from_millis(150);
    let first = harness.broker.try_lead("scheduler", "a", ttl).await.unwrap().unwrap();
    assert_eq!(harness.broker.try_lead("scheduler", "b", ttl).await.unwrap(), None);
    assert_eq!(harness.broker.try_lead("scheduler", "a", ttl).await.unwrap().unwrap().token, first.token);
    assert!(harness.broker.try_lead("other", "b", ttl).await.unwrap().is_some());
    let second = std::cell::Cell::new(0);
    harness
        .eventually("the lease is over", || async {
            let lead = harness.broker.try_lead("scheduler", "b", ttl).await.unwrap();
            second.set(lead.as_ref().map_or(0, |lead| lead.token));
            lead.is_some()
        })
        .await;
    assert!(second.get() > first.token);
    harness.broker.resign("scheduler", "a").await.unwrap();
    assert_eq!(harness.broker.try_lead("scheduler", "a", ttl).await.unwrap(), None);
    harness.broker.resign("scheduler", "b").await.unwrap();
    let third = harness.broker.try_lead("scheduler", "a", ttl).await.unwrap().unwrap();
    assert!(third.token > second.get());
}

async fn many_small_jobs_come_once_each(start: Start) {
    let harness = start!(start);
    let small = |number: u32| NewJob::from_bytes(JobKind::Write, number.to_le_bytes().to_vec().into());
    let pushed = harness.push((0..1_000).map(small).collect()).await;
    assert_eq!(pushed.len(), 1_000);
    let fetch = |max| {
        let queues = vec![JobKind::Write.default_queue()];
        let worker = WorkerId::new("w1");
        harness.broker.fetch(tidemark_queue::FetchRequest { worker, queues, max, wait: Duration::ZERO })
    };
    let mut seen = std::collections::BTreeSet::new();
    loop {
        let deliveries = fetch(100).await.unwrap();
        if deliveries.is_empty() {
            break;
        }
        assert!(deliveries.len() <= 100 + 63, "{}", deliveries.len());
        // One of them fails, so its frame, if it has one, is filed in parts.
        let settle = deliveries.into_iter().map(|delivery| {
            let number = u32::from_le_bytes(delivery.job.payload[..4].try_into().unwrap());
            let fails = number == 500 && delivery.attempt == 1;
            if !fails {
                assert!(seen.insert(number), "{number} came twice");
            }
            (delivery.receipt, if fails { retry(Duration::ZERO) } else { completed() })
        });
        let settle: Vec<_> = settle.collect();
        let (first, second) = settle.split_at(settle.len() / 2);
        harness.broker.settle(first.to_vec()).await.unwrap();
        let settled = harness.broker.settle(second.to_vec()).await.unwrap();
        assert!(settled.iter().all(|settled| *settled != Settled::Stale));
        harness.broker.tick().await.unwrap();
    }
    assert_eq!(seen.len(), 1_000);
    let stats = &harness.broker.queues().await.unwrap()[0];
    assert_eq!((stats.totals.completed, stats.totals.retried, stats.ready, stats.running), (1_000, 1, 0, 0));
}

async fn the_attempts_at_a_job_are_remembered_with_their_workers_and_errors(start: Start) {
    let harness = start!(start);
    let id = harness.push(vec![NewJob { attempts_max: 3, ..job("unlucky") }]).await[0].id();
    let seen = async || {
        let attempts = harness.broker.job(id).await.unwrap().unwrap().attempts;
        for attempt in &attempts {
            assert!(
                attempt.started_ms.unwrap() > 0 && attempt.ended_ms.is_none_or(|at| at >= attempt.started_ms.unwrap())
            );
        }
        let short = |note: tidemark_queue::AttemptNote| {
            (note.number, note.worker.unwrap().to_string(), note.ended_ms.is_some(), note.error)
        };
        attempts.into_iter().map(short).collect::<Vec<_>>()
    };
    assert_eq!(seen().await, []);
    let first = harness.fetch_as("a", 1).await.remove(0);
    let ended = |number, worker: &str, error: &str| (number, worker.to_owned(), true, Some(error.to_owned()));
    let running = |number, worker: &str| (number, worker.to_owned(), false, None);
    assert_eq!(seen().await, [running(1, "a")]);
    harness.broker.settle(vec![(first.receipt, retry(Duration::ZERO))]).await.unwrap();
    assert_eq!(seen().await, [ended(1, "a", "no luck")]);
    harness.eventually("ready", || async { harness.stats().await.ready == 1 }).await;
    let lost = harness.fetch_as("b", 1).await;
    assert_eq!(lost.len(), 1);
    let lost = ended(2, "b", "lease of b ran out");
    let second = harness.fetch_one().await;
    assert_eq!(seen().await, [ended(1, "a", "no luck"), lost.clone(), running(2, "w1")]);
    harness.broker.settle(vec![(second.receipt, completed())]).await.unwrap();
    let done = (2, "w1".to_owned(), true, None);
    assert_eq!(seen().await, [ended(1, "a", "no luck"), lost, done]);
    let listed = harness.broker.jobs(JobFilter::default(), Page::first(10)).await.unwrap().jobs.remove(0);
    assert_eq!((listed.id, listed.attempts), (id, Vec::new()));

    // A job that is retried by hand begins again, and remembers.
    let id = harness.push(vec![NewJob { attempts_max: 1, ..job("hopeless") }]).await[0].id();
    let only = harness.fetch_one().await;
    harness.broker.settle(vec![(only.receipt, retry(Duration::ZERO))]).await.unwrap();
    assert!(harness.broker.retry(id).await.unwrap());
    let again = harness.fetch_one().await;
    harness.broker.settle(vec![(again.receipt, completed())]).await.unwrap();
    let attempts = harness.broker.job(id).await.unwrap().unwrap().attempts;
    let errors: Vec<_> = attempts.iter().map(|note| (note.number, note.error.as_deref())).collect();
    assert_eq!(errors, [(1, Some("no luck")), (1, None)]);
}

async fn an_attempt_that_is_put_off_or_given_back_is_not_remembered(start: Start) {
    let harness = start!(start);
    let id = harness.push(vec![job("patient")]).await[0].id();
    let first = harness.fetch_one().await;
    harness.broker.settle(vec![(first.receipt, Outcome::Snooze { delay: Duration::ZERO })]).await.unwrap();
    let second = harness.fetch_one().await;
    harness.broker.release(vec![second.receipt]).await.unwrap();
    assert_eq!(harness.broker.job(id).await.unwrap().unwrap().attempts, []);
}

fn told(done: u64, text: &str) -> JobNote {
    let progress = Progress { done, total: 10, message: Some(format!("step {done}")) };
    let mut note = JobNote { progress: Some(progress), ..JobNote::default() };
    note.log(1_000, text);
    note
}

fn lines_of(view: &JobView) -> Vec<&str> {
    view.log.iter().map(|line| line.text.as_str()).collect()
}

async fn progress_and_log_lines_are_shown_while_a_job_runs_and_after_its_end(start: Start) {
    let harness = start!(start);
    let pushed = harness.push(vec![job("long"), job("silent")]).await;
    let id = pushed[0].id();
    let delivery = harness.fetch(1).await.remove(0);
    assert_eq!(harness.broker.note(vec![(delivery.receipt.clone(), told(1, "began"))]).await.unwrap(), [true]);
    let mut later = JobNote::default();
    later.log(2_000, "goes on");
    assert_eq!(harness.broker.note(vec![(delivery.receipt.clone(), later)]).await.unwrap(), [true]);
    let view = harness.broker.job(id).await.unwrap().unwrap();
    let progress = Some(Progress { done: 1, total: 10, message: Some("step 1".to_owned()) });
    assert_eq!((view.state, &view.progress, lines_of(&view)), (JobState::Running, &progress, vec!["began", "goes on"]));
    assert_eq!(view.log[1].at_ms, 2_000);
    let listed = harness.broker.jobs(JobFilter::default(), Page::first(10)).await.unwrap().jobs;
    let of = |id| listed.iter().find(|job| job.id == id).unwrap();
    assert_eq!((&of(id).progress, of(id).log.len()), (&progress, 0));
    assert_eq!(of(pushed[1].id()).progress, None);
    harness.broker.note(vec![(delivery.receipt.clone(), told(10, "ended"))]).await.unwrap();
    harness.broker.settle(vec![(delivery.receipt, completed())]).await.unwrap();
    let view = harness.broker.job(id).await.unwrap().unwrap();
    assert_eq!((view.state, view.progress.as_ref().unwrap().done), (JobState::Completed, 10));
    assert_eq!(lines_of(&view), ["began", "goes on", "ended"]);
}

async fn what_was_told_in_an_earlier_attempt_is_kept(start: Start) {
    let harness = start!(start);
    let id = harness.push(vec![job("unlucky")]).await[0].id();
    let first = harness.fetch_as("a", 1).await.remove(0);
    harness.broker.note(vec![(first.receipt.clone(), told(3, "first"))]).await.unwrap();
    harness.broker.settle(vec![(first.receipt, retry(Duration::from_millis(20)))]).await.unwrap();
    let view = harness.broker.job(id).await.unwrap().unwrap();
    assert_eq!((view.state, lines_of(&view)), (JobState::Retryable, vec!["first"]));
    let second = harness.fetch_one().await;
    harness.broker.note(vec![(second.receipt.clone(), told(7, "second"))]).await.unwrap();
    let discard = Outcome::Discard { reason: "enough".to_owned() };
    harness.broker.settle(vec![(second.receipt, discard)]).await.unwrap();
    let view = harness.broker.job(id).await.unwrap().unwrap();
    assert_eq!((view.progress.as_ref().unwrap().done, lines_of(&view)), (7, vec!["first", "second"]));
}

async fn a_note_of_a_worker_that_lost_its_lease_is_refused(start: Start) {
    let harness = start!(start);
    let id = harness.push(vec![job("held")]).await[0].id();
    let lost = harness.fetch_as("lost", 1).await.remove(0);
    let rescued = harness.fetch_one().await;
    let notes = vec![(lost.receipt, told(1, "from the dead")), (rescued.receipt, told(2, "alive"))];
    assert_eq!(harness.broker.note(notes).await.unwrap(), [false, true]);
    let view = harness.broker.job(id).await.unwrap().unwrap();
    assert_eq!((view.progress.as_ref().unwrap().done, lines_of(&view)), (2, vec!["alive"]));
}

async fn of_many_log_lines_the_last_are_kept(start: Start) {
    let harness = start!(start);
    let id = harness.push(vec![job("talker")]).await[0].id();
    let delivery = harness.fetch_one().await;
    for call in 0..3 {
        let mut note = JobNote::default();
        (0..60).for_each(|number| note.log(call, format!("{call}-{number} {}", "x".repeat(400))));
        harness.broker.note(vec![(delivery.receipt.clone(), note)]).await.unwrap();
    }
    let check = |view: JobView| {
        assert_eq!((view.log.len(), view.progress), (LOG_LINES_MAX, None));
        assert!(view.log[0].text.starts_with("1-20 ") && view.log[99].text.starts_with("2-59 "));
        assert!(view.log.iter().all(|line| line.text.len() <= LOG_LINE_BYTES_MAX));
    };
    check(harness.broker.job(id).await.unwrap().unwrap());
    harness.broker.settle(vec![(delivery.receipt, completed())]).await.unwrap();
    check(harness.broker.job(id).await.unwrap().unwrap());
}

async fn a_payload_or_a_push_that_is_too_large_is_refused(start: Start) {
    let harness = start!(start);
    let large = NewJob::from_bytes(JobKind::Notify, vec![0; PAYLOAD_BYTES_MAX + 1].into());
    assert!(matches!(harness.broker.push(vec![job("small"), large]).await, Err(BrokerError::Invalid(_))));
    let key = job("key").unique_until_done("x".repeat(2_000));
    assert!(matches!(harness.broker.push(vec![key]).await, Err(BrokerError::Invalid(_))));
    let many = vec![job("x"); tidemark_queue::PUSH_JOBS_MAX + 1];
    assert!(matches!(harness.broker.push(many).await, Err(BrokerError::Invalid(_))));
    assert!(harness.broker.queues().await.unwrap().is_empty());
}

async fn a_closed_broker_says_so(start: Start) {
    let harness = start!(start);
    harness.push(vec![job("x")]).await;
    harness.broker.close().await;
    assert_eq!(harness.broker.push(vec![job("y")]).await, Err(BrokerError::Closed));
    assert!(matches!(harness.broker.fetch(request("w1", 1, Duration::from_secs(5))).await, Err(BrokerError::Closed)));
}

fn job_id_of_nobody() -> tidemark_queue::JobId {
    "01939b5e-8e4f-7000-8000-000000000000".parse().unwrap()
}
