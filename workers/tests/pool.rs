//! The pool over the in-memory broker.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use support::{RunningPool, broker, eventually, job, options, scripted};
use tidemark_queue::{
    Broker, Cancelled, Completion, JobFilter, JobKind, JobState, NewJob, Page, QueueStats, Rate, WorkerCommand,
    WorkerId,
};
use tidemark_workers::{AttemptEnd, JobError, JobOutput, PoolOptions, QueueOptions, SharedRate, SharedRates};

const LEASE: Duration = Duration::from_secs(30);

async fn stats(broker: &dyn Broker) -> QueueStats {
    let queues = broker.queues().await.unwrap();
    queues.into_iter().find(|stats| stats.queue.as_str() == "notify").unwrap()
}

async fn state_of(broker: &dyn Broker, id: tidemark_queue::JobId) -> Option<JobState> {
    broker.job(id).await.unwrap().map(|view| view.state)
}

#[tokio::test]
async fn every_job_is_run_once() {
    let broker = broker(LEASE);
    let (handler, attempts) = scripted(|_| Box::pin(async { Ok(JobOutput::default()) }));
    let pool = RunningPool::start(options("w", 8), broker.clone(), handler);
    for hundred in 0..5 {
        let jobs = (0..100).map(|number| job(&format!("{hundred}-{number}"))).collect();
        broker.push(jobs).await.unwrap();
    }
    eventually("500 completed", || async { stats(&*broker).await.totals.completed == 500 }).await;
    let figures = pool.handle.figures().snapshot();
    assert_eq!(figures.kinds[0].count(AttemptEnd::Completed), 500);
    assert_eq!((figures.queues[0].wait.count(), figures.queues[0].run.count()), (500, 500));
    eventually("nothing in hand", || async { pool.handle.in_hand() == 0 }).await;
    assert_eq!(pool.stop().await, tidemark_workers::StopReport::default());
    let mut seen: Vec<_> = attempts.lock().iter().map(|(text, _)| text.clone()).collect();
    seen.sort();
    seen.dedup();
    assert_eq!((seen.len(), attempts.lock().len()), (500, 500));
}

#[tokio::test]
async fn a_failing_job_is_tried_as_often_as_it_may_be_and_then_discarded() {
    let broker = broker(LEASE);
    let (handler, attempts) =
        scripted(|_| Box::pin(async { Err(JobError::Retry("no luck".to_owned(), Some(Duration::from_millis(1)))) }));
    let pool = RunningPool::start(options("w", 2), broker.clone(), handler);
    let id = broker.push(vec![NewJob { attempts_max: 3, ..job("bad") }]).await.unwrap()[0].id();
    eventually("discarded", || async { state_of(&*broker, id).await == Some(JobState::Discarded) }).await;
    pool.stop().await;
    assert_eq!(*attempts.lock(), [1, 2, 3].map(|attempt| ("bad".to_owned(), attempt)));
    let view = broker.job(id).await.unwrap().unwrap();
    assert_eq!((view.attempt, view.error.as_deref()), (3, Some("no luck")));
}

#[tokio::test]
async fn a_panic_is_a_failed_attempt_and_others_go_on() {
    let broker = broker(LEASE);
    let (handler, _) = scripted(|job| {
        Box::pin(async move {
            assert!(job.attempt > 1 || &job.job.payload[..] != b"bomb", "boom");
            Ok(JobOutput::default())
        })
    });
    let pool = RunningPool::start(options("w", 2), broker.clone(), handler);
    let bomb = NewJob { attempts_max: 1, ..job("bomb") }.with_result(LEASE);
    let id = broker.push(vec![bomb, job("good")]).await.unwrap()[0].id();
    let Completion::Ended(ended) = broker.completion(id, Duration::from_secs(5)).await.unwrap() else { panic!() };
    assert_eq!((ended.state, ended.error.as_deref()), (JobState::Discarded, Some("panicked: boom")));
    eventually("the good one completed", || async { stats(&*broker).await.totals.completed == 1 }).await;
    assert_eq!(pool.handle.figures().snapshot().kinds[0].panics, 1);
    pool.stop().await;
}

#[tokio::test]
async fn a_late_attempt_is_dropped() {
    let broker = broker(LEASE);
    let (handler, _) = scripted(|_| Box::pin(std::future::pending()));
    let pool = RunningPool::start(options("w", 1), broker.clone(), handler);
    let late = NewJob { attempts_max: 1, time_limit: Duration::from_millis(30), ..job("late") }.with_result(LEASE);
    let id = broker.push(vec![late]).await.unwrap()[0].id();
    let Completion::Ended(ended) = broker.completion(id, Duration::from_secs(5)).await.unwrap() else { panic!() };
    assert_eq!(ended.error.as_deref(), Some("exceeded its time limit of 30ms"));
    assert_eq!(pool.handle.figures().snapshot().kinds[0].timeouts, 1);
    pool.stop().await;
}

#[tokio::test]
async fn a_soft_stop_lets_running_attempts_finish_and_gives_the_others_back() {
    let broker = broker(LEASE);
    let (go, wait) = tokio::sync::watch::channel(false);
    let (handler, attempts) = scripted(move |_| {
        let mut wait = wait.clone();
        Box::pin(async move {
            wait.wait_for(|go| *go).await.unwrap();
            Ok(JobOutput::default())
        })
    });
    let pool = RunningPool::start(options("w", 2), broker.clone(), handler);
    broker.push((0..10).map(|number| job(&number.to_string())).collect()).await.unwrap();
    eventually("two run", || async { attempts.lock().len() == 2 }).await;
    eventually("two wait for a slot", || async { pool.handle.in_hand() == 4 }).await;
    let stopping = tokio_util::task::TaskTracker::new().spawn(pool.stop());
    eventually("the waiting ones are given back", || async { stats(&*broker).await.ready == 8 }).await;
    go.send_replace(true);
    let report = stopping.await.unwrap();
    assert_eq!((report.released, report.cancelled, report.abandoned), (2, 0, 0));
    assert_eq!(attempts.lock().len(), 2);
    let stats = stats(&*broker).await;
    assert_eq!((stats.totals.completed, stats.ready, stats.running), (2, 8, 0));
}

#[tokio::test]
async fn after_the_grace_period_attempts_are_stopped_and_given_back_without_losing_an_attempt() {
    let broker = broker(LEASE);
    let (stubborn, attempts) = scripted(|job| {
        Box::pin(async move {
            match &job.job.payload[..] {
                b"polite" => {
                    job.cancel.cancelled().await;
                    Err(JobError::Cancelled)
                }
                _ => std::future::pending().await,
            }
        })
    });
    let short = PoolOptions { stop_grace: Duration::from_millis(20), ..options("w", 2) };
    let pool = RunningPool::start(short, broker.clone(), stubborn);
    broker.push(vec![job("polite"), job("stubborn")]).await.unwrap();
    eventually("both run", || async { attempts.lock().len() == 2 }).await;
    let report = pool.stop().await;
    assert_eq!((report.cancelled, report.abandoned), (2, 0));
    assert_eq!(stats(&*broker).await.ready, 2);

    let (handler, attempts) = scripted(|_| Box::pin(async { Ok(JobOutput::default()) }));
    let pool = RunningPool::start(options("v", 2), broker.clone(), handler);
    eventually("both completed", || async { stats(&*broker).await.totals.completed == 2 }).await;
    assert!(attempts.lock().iter().all(|(_, attempt)| *attempt == 1));
    pool.stop().await;
}

#[tokio::test]
async fn a_running_job_can_be_called_off() {
    let broker = broker(Duration::from_millis(90));
    let (handler, attempts) = scripted(|_| Box::pin(std::future::pending()));
    let pool = RunningPool::start(options("w", 1), broker.clone(), handler);
    let id = broker.push(vec![job("endless")]).await.unwrap()[0].id();
    eventually("it runs", || async { attempts.lock().len() == 1 }).await;
    assert_eq!(broker.cancel(id).await.unwrap(), Cancelled::Requested);
    eventually("cancelled", || async { state_of(&*broker, id).await == Some(JobState::Cancelled) }).await;
    pool.stop().await;
}

#[tokio::test]
async fn a_broker_with_hiccups_neither_stops_the_worker_nor_loses_jobs() {
    let broker = broker(LEASE);
    let (handler, _) = scripted(|_| Box::pin(async { Ok(JobOutput::default()) }));
    broker.push((0..200).map(|number| job(&number.to_string())).collect()).await.unwrap();
    broker.faults().refuse_next(2);
    let pool = RunningPool::start(options("w", 4), broker.clone(), handler);
    eventually("some completed", || async {
        broker.queues().await.is_ok_and(|queues| queues[0].totals.completed > 20)
    })
    .await;
    broker.faults().lose_next_answers(2);
    eventually("all completed", || async {
        broker.queues().await.is_ok_and(|queues| queues[0].totals.completed == 200 || queues[0].running > 0)
    })
    .await;
    pool.stop().await;
    let queue = stats(&*broker).await;
    // A fetch whose answer was lost leaves its jobs to the lease.
    assert_eq!(queue.totals.completed + queue.running + queue.ready, 200);
}

#[tokio::test]
async fn long_jobs_behind_a_full_service_keep_their_leases() {
    let broker = broker(Duration::from_millis(150));
    let (handler, attempts) = scripted(|_| {
        Box::pin(async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            Ok(JobOutput::default())
        })
    });
    let pools = ["v", "w"].map(|name| RunningPool::start(options(name, 2), broker.clone(), handler.clone()));
    broker.push((0..12).map(|number| job(&number.to_string())).collect()).await.unwrap();
    eventually("all completed", || async { stats(&*broker).await.totals.completed == 12 }).await;
    let rescued = stats(&*broker).await.totals.rescued;
    assert_eq!((attempts.lock().len(), rescued), (12, 0));
    for pool in pools {
        pool.stop().await;
    }
}

#[tokio::test]
async fn a_rate_puts_jobs_off_without_counting_attempts() {
    let broker = broker(LEASE);
    let (handler, attempts) = scripted(|_| Box::pin(async { Ok(JobOutput::default()) }));
    let rate = Rate::new(2, Duration::from_millis(400)).unwrap();
    let limited = PoolOptions { rates: vec![(JobKind::Notify, rate)], ..options("w", 8) };
    let pool = RunningPool::start(limited, broker.clone(), handler);
    broker.push((0..4).map(|number| NewJob { attempts_max: 1, ..job(&number.to_string()) }).collect()).await.unwrap();
    eventually("all completed", || async { stats(&*broker).await.totals.completed == 4 }).await;
    assert!(attempts.lock().iter().all(|(_, attempt)| *attempt == 1));
    assert!(pool.handle.figures().snapshot().kinds[0].count(AttemptEnd::Snoozed) >= 2);
    pool.stop().await;
}

#[tokio::test]
async fn a_job_whose_turn_comes_soon_does_not_begin_before_it() {
    let broker = broker(LEASE);
    let begun: Arc<parking_lot::Mutex<Vec<tokio::time::Instant>>> = Arc::default();
    let note = begun.clone();
    let (handler, _) = scripted(move |_| {
        note.lock().push(tokio::time::Instant::now());
        Box::pin(async { Ok(JobOutput::default()) })
    });
    let rate = Rate::new(1, Duration::from_millis(40)).unwrap();
    let limited = PoolOptions { rates: vec![(JobKind::Notify, rate)], ..options("w", 4) };
    let pool = RunningPool::start(limited, broker.clone(), handler);
    broker.push(vec![job("first"), job("second")]).await.unwrap();
    eventually("both completed", || async { stats(&*broker).await.totals.completed == 2 }).await;
    let begun = begun.lock().clone();
    assert!(begun.len() == 2 && begun[1] - begun[0] >= Duration::from_millis(30), "{begun:?}");
    pool.stop().await;
}

#[tokio::test]
async fn two_pools_hold_the_jobs_of_each_key_to_one_rate() {
    let broker = broker(LEASE);
    let (handler, attempts) = scripted(|_| Box::pin(async { Ok(JobOutput::default()) }));
    let rate = Rate::new(2, Duration::from_millis(400)).unwrap();
    let rates = SharedRates::new(vec![SharedRate { scope: "notify:*".parse().unwrap(), rate }]);
    let limited = |name| PoolOptions { shared_rates: rates.clone(), ..options(name, 4) };
    let pools = ["a", "b"].map(|name| RunningPool::start(limited(name), broker.clone(), handler.clone()));
    let began = tokio::time::Instant::now();
    let of_key = |key: &str, number| NewJob { attempts_max: 1, ..job(&format!("{key}{number}")) }.with_rate_key(key);
    let jobs = (0..6).map(|number| of_key("mail", number)).chain((0..2).map(|number| of_key("pager", number)));
    broker.push(jobs.chain([job("free")]).collect()).await.unwrap();
    eventually("all completed", || async { stats(&*broker).await.totals.completed == 9 }).await;
    // Six of two in 400 ms: the last comes 800 ms after the burst, but for what the clocks round off.
    assert!(began.elapsed() >= Duration::from_millis(780), "{:?}", began.elapsed());
    assert!(attempts.lock().iter().all(|(_, attempt)| *attempt == 1));
    let put_off = |pool: &RunningPool| pool.handle.figures().snapshot().kinds.iter().map(|kind| kind.put_off).sum();
    let put_off: [u64; 2] = pools.each_ref().map(put_off);
    assert!(put_off.iter().sum::<u64>() >= 4, "{put_off:?}");
    for pool in pools {
        pool.stop().await;
    }
}

#[tokio::test]
async fn a_worker_that_loses_the_broker_goes_on_with_its_jobs_and_reports_them_later() {
    let broker = broker(LEASE);
    let (handler, counts, gate) = counting();
    let pool = RunningPool::start(options("w", 2), broker.clone(), handler);
    broker.push(vec![job("1"), job("2")]).await.unwrap();
    eventually("both run", || async { counts[0].load(Ordering::SeqCst) == 2 }).await;
    broker.faults().refuse_next(u64::MAX);
    gate.add_permits(2);
    eventually("both ended", || async { counts[0].load(Ordering::SeqCst) == 0 }).await;
    eventually("nobody heard", || async { pool.handle.figures().snapshot().broker_failures > 1 }).await;
    assert_eq!(pool.handle.in_hand(), 2);
    broker.faults().refuse_next(0);
    eventually("both completed", || async { stats(&*broker).await.totals.completed == 2 }).await;
    assert_eq!((counts[1].load(Ordering::SeqCst), stats(&*broker).await.totals.rescued), (2, 0));
    pool.stop().await;
}

/// A handler that counts how many attempts run, and most at one time, until it is released.
fn counting() -> (Arc<dyn tidemark_workers::Handler>, Arc<[AtomicUsize; 2]>, Arc<tokio::sync::Semaphore>) {
    let (counts, gate) =
        (Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]), Arc::new(tokio::sync::Semaphore::new(0)));
    let (counted, waits) = (counts.clone(), gate.clone());
    let (handler, _) = scripted(move |_| {
        let (counted, waits) = (counted.clone(), waits.clone());
        Box::pin(async move {
            let running = counted[0].fetch_add(1, Ordering::SeqCst) + 1;
            counted[1].fetch_max(running, Ordering::SeqCst);
            waits.acquire().await.unwrap().forget();
            counted[0].fetch_sub(1, Ordering::SeqCst);
            Ok(JobOutput::default())
        })
    });
    (handler, counts, gate)
}

#[tokio::test]
async fn only_so_many_of_a_kind_run_at_one_time_over_all_queues() {
    let broker = broker(LEASE);
    let (handler, counts, gate) = counting();
    let other = QueueOptions::new("other".parse().unwrap(), 4);
    let limited = PoolOptions { kind_limits: vec![(JobKind::Notify, 3)], ..options("w", 4) }.with_queue(other);
    let pool = RunningPool::start(limited, broker.clone(), handler);
    let on_other = |number| job(number).on_queue("other".parse().unwrap());
    broker.push(vec![job("1"), job("2"), job("3"), on_other("4"), on_other("5"), on_other("6")]).await.unwrap();
    eventually("three run", || async { counts[0].load(Ordering::SeqCst) == 3 }).await;
    eventually("all are taken", || async { pool.handle.in_hand() == 6 }).await;
    gate.add_permits(6);
    eventually("nothing is left", || async { pool.handle.in_hand() == 0 }).await;
    assert_eq!(counts[1].load(Ordering::SeqCst), 3);
    pool.stop().await;
}

#[tokio::test]
async fn a_worker_does_what_it_is_told_through_the_broker() {
    let broker = broker(LEASE);
    let (handler, counts, gate) = counting();
    let quick = PoolOptions { heartbeat_every: Duration::from_millis(10), ..options("w", 1) };
    let pool = RunningPool::start(quick, broker.clone(), handler);
    let ids: Vec<_> = broker.push((0..9).map(|n| job(&n.to_string())).collect()).await.unwrap();
    eventually("one runs", || async { counts[0].load(Ordering::SeqCst) == 1 }).await;
    let worker = WorkerId::new("w");
    let scale = |concurrency| WorkerCommand::Scale { queue: "notify".to_owned(), concurrency };
    assert!(broker.command_worker(&worker, scale(3)).await.unwrap());
    eventually("three run", || async { counts[0].load(Ordering::SeqCst) == 3 }).await;
    let report = async || broker.workers().await.unwrap().remove(0).report;
    eventually("it is reported", async || report().await.queues == [("notify".to_owned(), 3)]).await;
    let running = report().await.jobs;
    assert!(running.len() >= 3 && running.iter().all(|id| ids.iter().any(|pushed| pushed.id() == *id)));
    // Fewer: what runs goes on, and none begins before there is room.
    assert!(broker.command_worker(&worker, scale(2)).await.unwrap());
    eventually("it is reported", async || report().await.queues == [("notify".to_owned(), 2)]).await;
    gate.add_permits(2);
    eventually("two ended", || async { stats(&*broker).await.totals.completed == 2 }).await;
    eventually("two run", || async { counts[0].load(Ordering::SeqCst) == 2 }).await;
    assert!(broker.command_worker(&worker, scale(9)).await.unwrap());
    assert!(broker.command_worker(&worker, WorkerCommand::Stop).await.unwrap());
    gate.add_permits(99);
    eventually("it says goodbye", || async { broker.workers().await.unwrap().is_empty() }).await;
    assert!(pool.handle.told_to_stop().is_cancelled());
    assert_eq!(pool.handle.in_hand(), 0);
    pool.stop().await;
}

#[tokio::test]
async fn the_number_of_attempts_follows_the_backlog_where_it_may() {
    let broker = broker(LEASE);
    let (handler, counts, gate) = counting();
    let mut growing = options("w", 2);
    growing.queues = growing.queues.into_iter().map(|queue| queue.growing_to(6)).collect();
    growing.scale_every = Duration::from_millis(10);
    let pool = RunningPool::start(growing, broker.clone(), handler);
    broker.push((0..20).map(|number| job(&number.to_string())).collect()).await.unwrap();
    eventually("six run", || async { counts[0].load(Ordering::SeqCst) == 6 }).await;
    gate.add_permits(20);
    eventually("all completed", || async { stats(&*broker).await.totals.completed == 20 }).await;
    assert_eq!(counts[1].load(Ordering::SeqCst), 6);
    pool.stop().await;
}

#[tokio::test]
async fn no_more_attempts_than_the_concurrency_run_at_once() {
    static RUNNING: AtomicUsize = AtomicUsize::new(0);
    static MOST: AtomicUsize = AtomicUsize::new(0);
    let broker = broker(LEASE);
    let (handler, _) = scripted(|_| {
        Box::pin(async {
            MOST.fetch_max(RUNNING.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(1)).await;
            RUNNING.fetch_sub(1, Ordering::SeqCst);
            Ok(JobOutput::default())
        })
    });
    let pool = RunningPool::start(options("w", 3), broker.clone(), handler);
    broker.push((0..100).map(|number| job(&number.to_string())).collect()).await.unwrap();
    eventually("all completed", || async { stats(&*broker).await.totals.completed == 100 }).await;
    assert_eq!(MOST.load(Ordering::SeqCst), 3);
    pool.stop().await;
}

#[tokio::test]
async fn a_worker_is_listed_while_it_runs() {
    let broker = broker(LEASE);
    let (handler, _) = scripted(|_| Box::pin(async { Ok(JobOutput::default()) }));
    let pool = RunningPool::start(options("ams1-w1", 3), broker.clone(), handler);
    eventually("listed", || async { broker.workers().await.unwrap().len() == 1 }).await;
    let view = &broker.workers().await.unwrap()[0];
    assert_eq!((view.report.worker.as_str(), &view.report.queues[..]), ("ams1-w1", &[("notify".to_owned(), 3)][..]));
    pool.stop().await;
    assert!(broker.workers().await.unwrap().is_empty());
    let page = broker.jobs(JobFilter::default(), Page::first(10)).await.unwrap();
    assert!(page.jobs.is_empty());
}

#[tokio::test]
async fn a_kind_without_a_handler_is_left_for_a_later_attempt() {
    let broker = broker(LEASE);
    let pool = RunningPool::start_with(options("w", 1), broker.clone(), tidemark_workers::Handlers::new());
    let id = broker.push(vec![job("?")]).await.unwrap()[0].id();
    eventually("retryable", || async { state_of(&*broker, id).await == Some(JobState::Retryable) }).await;
    let error = broker.job(id).await.unwrap().unwrap().error.unwrap();
    assert_eq!(error, "this worker has no handler for notify jobs");
    pool.stop().await;
    let _kept: Arc<_> = broker;
}

#[tokio::test]
async fn an_attempt_is_told_of_its_soft_limit_and_may_finish() {
    let broker = broker(LEASE);
    let (handler, _) = scripted(|job| {
        Box::pin(async move {
            job.soft_stop().cancelled().await;
            assert!(!job.cancel.is_cancelled(), "there is time left");
            Ok(JobOutput { result: Some("half of it".into()) })
        })
    });
    let pool = RunningPool::start(options("w", 1), broker.clone(), handler);
    let limited = NewJob { soft_limit: Some(Duration::from_millis(20)), ..job("long") }.with_result(LEASE);
    let id = broker.push(vec![limited]).await.unwrap()[0].id();
    let Completion::Ended(ended) = broker.completion(id, Duration::from_secs(10)).await.unwrap() else {
        panic!("not ended")
    };
    assert_eq!((ended.state, ended.result.as_deref()), (JobState::Completed, Some(&b"half of it"[..])));
    pool.stop().await;
}

#[tokio::test]
async fn an_attempt_that_is_called_off_is_told_to_come_to_an_end_too() {
    let broker = broker(Duration::from_millis(90));
    let (handler, attempts) = scripted(|job| {
        Box::pin(async move {
            job.soft_stop().cancelled().await;
            Err(JobError::Cancelled)
        })
    });
    let pool = RunningPool::start(options("w", 2), broker.clone(), handler);
    let limited = NewJob { soft_limit: Some(LEASE), ..job("with a soft limit") };
    let pushed = broker.push(vec![limited, job("without")]).await.unwrap();
    eventually("both run", || async { attempts.lock().len() == 2 }).await;
    for pushed in pushed {
        broker.cancel(pushed.id()).await.unwrap();
        let cancelled = async || state_of(&*broker, pushed.id()).await == Some(JobState::Cancelled);
        eventually("cancelled", cancelled).await;
    }
    pool.stop().await;
}

#[tokio::test]
async fn what_a_handler_tells_is_seen_while_it_runs_and_nothing_is_lost_at_its_end() {
    let broker = broker(LEASE);
    let release = Arc::new(tokio::sync::Notify::new());
    let wait = release.clone();
    let (handler, _) = scripted(move |job| {
        let wait = wait.clone();
        Box::pin(async move {
            job.progress_at(1, 3, "first");
            job.log("began");
            wait.notified().await;
            job.progress(3, 3);
            job.log("ended");
            Ok(JobOutput::default())
        })
    });
    let pool = RunningPool::start(options("w", 1), broker.clone(), handler);
    let id = broker.push(vec![job("talker")]).await.unwrap()[0].id();
    let view = async || broker.job(id).await.unwrap().unwrap();
    eventually("it has told something", async || !view().await.log.is_empty()).await;
    let running = view().await;
    assert_eq!((running.state, running.progress.unwrap().message.as_deref()), (JobState::Running, Some("first")));
    release.notify_one();
    eventually("completed", async || view().await.state == JobState::Completed).await;
    let ended = view().await;
    let texts: Vec<&str> = ended.log.iter().map(|line| line.text.as_str()).collect();
    assert_eq!((texts, ended.progress.unwrap().done), (vec!["began", "ended"], 3));
    assert_eq!(ended.attempts.len(), 1);
    pool.stop().await;
}

#[tokio::test]
async fn the_nodes_of_a_workflow_get_what_those_before_them_returned() {
    let broker = broker(LEASE);
    let (handler, _) = scripted(|job| {
        Box::pin(async move {
            let inputs = job.inputs()?;
            let sum: usize = inputs.iter().map(|input| input.result.as_ref().map_or(0, bytes::Bytes::len)).sum();
            let own = job.job.payload.len();
            Ok(JobOutput { result: Some(vec![b'x'; sum + own].into()) })
        })
    });
    let pool = RunningPool::start(options("w", 4), broker.clone(), handler);
    let workflow = tidemark_queue::Workflow::chord(["a", "bb", "ccc"].map(job), job("")).then(job("dddd"));
    let id = broker.start_workflow(workflow).await.unwrap();
    let Completion::Ended(end) = broker.workflow_completion(id, Duration::from_secs(10)).await.unwrap() else {
        panic!("not ended")
    };
    assert_eq!((end.state, end.result.map(|result| result.len())), (JobState::Completed, Some(10)));
    pool.stop().await;
}

#[tokio::test]
async fn queues_with_more_to_do_than_slots_share_them_by_weight() {
    let broker = broker(LEASE);
    let (handler, attempts) = scripted(|_| {
        Box::pin(async {
            tokio::task::yield_now().await;
            Ok(JobOutput::default())
        })
    });
    let lane = |kind: JobKind, weight| QueueOptions { weight, ..QueueOptions::new(kind.default_queue(), 8) };
    let mut pool_options = PoolOptions { total: Some(2), ..PoolOptions::new(WorkerId::new("w")) };
    pool_options.queues = vec![lane(JobKind::Notify, 3), lane(JobKind::Write, 1)];
    // Framed jobs go to one worker as a whole; these are one each.
    for number in 0..300 {
        broker.push(vec![job(&format!("notify {number}"))]).await.unwrap();
        let write = NewJob::from_bytes(JobKind::Write, format!("write {number}").into_bytes().into());
        broker.push(vec![write]).await.unwrap();
    }
    let pool = RunningPool::start(pool_options, broker.clone(), handler);
    eventually("all are done", || async { attempts.lock().len() == 600 }).await;
    pool.stop().await;
    let started: Vec<bool> = attempts.lock().iter().map(|(text, _)| text.starts_with("write")).collect();
    // Until the notifications are done, and without the first, when not both had jobs in hand.
    let writes = started[20..320].iter().filter(|is_write| **is_write).count();
    assert!((60..=90).contains(&writes), "{writes} of 300 starts are a quarter");
    let longest = started[20..320].split(|is_write| *is_write).map(<[bool]>::len).max().unwrap_or(0);
    assert!(longest <= 12, "writes waited for {longest} others");
}
