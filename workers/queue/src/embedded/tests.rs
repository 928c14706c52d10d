use std::time::Duration;

use tidemark_model::ManualClock;

use super::*;
use crate::{Broker, BrokerOptions, FetchRequest, JobKind, JobState, NewJob, Outcome, WorkerId};

fn open(folder: &Path) -> EmbeddedBroker {
    EmbeddedBroker::open(folder, BrokerOptions::default(), Arc::new(ManualClock::new(1_764_000_000_000))).unwrap()
}

fn open_at(folder: &Path, now_ms: i64) -> EmbeddedBroker {
    EmbeddedBroker::open(folder, BrokerOptions::default(), Arc::new(ManualClock::new(now_ms))).unwrap()
}

fn job(text: &str) -> NewJob {
    NewJob::from_bytes(JobKind::Write, bytes::Bytes::copy_from_slice(text.as_bytes()))
}

fn fetch(max: usize) -> FetchRequest {
    FetchRequest { worker: WorkerId::new("w"), queues: vec![JobKind::Write.default_queue()], max, wait: Duration::ZERO }
}

#[tokio::test]
async fn jobs_survive_the_process_and_keep_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path());
    broker.push((0..100).map(|number| job(&number.to_string())).collect()).await.unwrap();
    broker.close().await;
    assert_eq!(broker.push(vec![job("late")]).await, Err(BrokerError::Closed));

    let broker = open(folder.path());
    let jobs = broker.fetch(fetch(1_000)).await.unwrap();
    let payloads: Vec<_> = jobs.iter().map(|delivery| delivery.job.payload.clone()).collect();
    assert_eq!(payloads, (0..100).map(|number: i32| number.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_ran_when_the_process_ended_is_rescued_and_what_was_settled_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path());
    broker.push(vec![job("done"), job("failed"), job("running")]).await.unwrap();
    let jobs = broker.fetch(fetch(3)).await.unwrap();
    let retry = Outcome::Retry { reason: "no luck".to_owned(), delay: Duration::ZERO };
    let completed = Outcome::Completed { result: None };
    broker.settle(vec![(jobs[0].receipt.clone(), completed), (jobs[1].receipt.clone(), retry)]).await.unwrap();
    broker.close().await;

    let broker = open(folder.path());
    let jobs = broker.fetch(fetch(3)).await.unwrap();
    let mut seen: Vec<_> = jobs.iter().map(|job| (job.job.payload.clone(), job.attempt, job.rescues)).collect();
    seen.sort();
    assert_eq!(seen, [("failed".into(), 2, 0), ("running".into(), 1, 1)]);
}

#[tokio::test]
async fn a_job_that_takes_the_process_down_three_times_is_poison() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path());
    let id = broker.push(vec![job("bomb")]).await.unwrap()[0].id();
    broker.close().await;
    for rescues in 0..3 {
        // One that was lost twice comes back within a lease.
        let broker = open_at(folder.path(), 1_764_000_000_000);
        broker.close().await;
        let broker = open_at(folder.path(), 1_764_000_060_000);
        let delivered = broker.fetch(fetch(1)).await.unwrap();
        assert_eq!((delivered[0].attempt, delivered[0].rescues), (1, rescues));
        broker.close().await;
    }
    let broker = open(folder.path());
    assert!(broker.fetch(fetch(1)).await.unwrap().is_empty());
    let view = broker.job(id).await.unwrap().unwrap();
    assert_eq!(view.state, JobState::Discarded);
    assert!(view.error.unwrap().starts_with("poison: 3 workers were lost"));
}

#[tokio::test]
async fn a_second_broker_on_the_same_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let _first = open(folder.path());
    let second = EmbeddedBroker::open(folder.path(), BrokerOptions::default(), Arc::new(ManualClock::new(0)));
    let error = second.err().unwrap().to_string();
    assert!(error.contains("another process has opened"), "{error}");
}

#[tokio::test]
async fn a_file_of_something_else_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("queue.db"), b"not a database at all, but long enough to be read").unwrap();
    let refused = EmbeddedBroker::open(folder.path(), BrokerOptions::default(), Arc::new(ManualClock::new(0)));
    assert!(matches!(refused.err().unwrap(), BrokerError::Corrupt(_)));
}

#[tokio::test]
async fn history_and_dead_letters_survive_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path());
    let ids = broker.push(vec![job("good"), job("bad")]).await.unwrap();
    let jobs = broker.fetch(fetch(2)).await.unwrap();
    let outcomes = vec![
        (jobs[0].receipt.clone(), Outcome::Completed { result: None }),
        (jobs[1].receipt.clone(), Outcome::Discard { reason: "hopeless".to_owned() }),
    ];
    broker.settle(outcomes).await.unwrap();
    broker.close().await;

    let broker = open(folder.path());
    let good = broker.job(ids[0].id()).await.unwrap().unwrap();
    assert_eq!((good.state, good.attempt, good.payload_bytes), (JobState::Completed, 1, 4));
    let bad = broker.job(ids[1].id()).await.unwrap().unwrap();
    assert_eq!((bad.state, bad.error.as_deref()), (JobState::Discarded, Some("hopeless")));
    assert!(broker.retry(bad.id).await.unwrap());
    assert_eq!(broker.fetch(fetch(2)).await.unwrap()[0].job.payload, "bad");
}

#[tokio::test]
async fn what_was_acknowledged_is_in_the_file_at_any_moment() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path());
    broker.push((0..50).map(|number| job(&format!("{number:02}"))).collect()).await.unwrap();
    let jobs = broker.fetch(fetch(30)).await.unwrap();
    let completed = || Outcome::Completed { result: None };
    let settle = jobs.iter().take(10).map(|delivery| (delivery.receipt.clone(), completed())).collect();
    broker.settle(settle).await.unwrap();
    // A copy of the files is what a process that was killed leaves behind.
    let copy = tempfile::tempdir().unwrap();
    for name in ["queue.db", "queue.db-wal"] {
        std::fs::copy(folder.path().join(name), copy.path().join(name)).unwrap();
    }
    let broker = open(copy.path());
    let mut left: Vec<_> = broker.fetch(fetch(100)).await.unwrap();
    left.sort_by(|left, right| left.job.payload.cmp(&right.job.payload));
    let texts: Vec<_> = left.iter().map(|delivery| delivery.job.payload.clone()).collect();
    assert_eq!(texts, (10..50).map(|number| format!("{number:02}")).collect::<Vec<_>>());
    assert_eq!(left.iter().filter(|delivery| delivery.rescues == 1).count(), 20);
}

#[tokio::test]
async fn a_full_disk_refuses_pushes_and_lets_jobs_finish() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(1_764_000_000_000));
    let broker = EmbeddedBroker::open_limited(folder.path(), BrokerOptions::default(), clock, Some(60)).unwrap();
    let big = || job(&"x".repeat(10_000));
    let mut acknowledged = 0;
    let error = loop {
        match broker.push(vec![big()]).await {
            Ok(_) => acknowledged += 1,
            Err(error) => break error,
        }
        assert!(acknowledged < 100, "the disk is never full");
    };
    assert!(matches!(error, BrokerError::DiskFull(_)), "{error}");
    assert!(!broker.health().await.reachable);
    assert_eq!(broker.queues().await.unwrap()[0].ready, acknowledged);
    let jobs = broker.fetch(fetch(100)).await.unwrap();
    assert_eq!(jobs.len() as u64, acknowledged);
    let settle = jobs.into_iter().map(|job| (job.receipt, Outcome::Completed { result: None })).collect();
    broker.settle(settle).await.unwrap();
    broker.push(vec![big()]).await.unwrap();
    assert!(broker.health().await.reachable);
}

#[tokio::test]
async fn jobs_that_share_a_row_end_one_by_one_on_a_full_disk() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(1_764_000_000_000));
    let options = BrokerOptions { history_per_second_max: 0, ..BrokerOptions::default() };
    let broker = EmbeddedBroker::open_limited(folder.path(), options, clock, Some(80)).unwrap();
    while broker.push((0..64).map(|_| job(&"x".repeat(50))).collect()).await.is_ok() {}
    let all = broker.queues().await.unwrap()[0].ready;
    let jobs = broker.fetch(fetch(100)).await.unwrap();
    // Every third job ends: no row does.
    for delivery in jobs.iter().step_by(3) {
        let completed = Outcome::Completed { result: None };
        broker.settle(vec![(delivery.receipt.clone(), completed)]).await.unwrap();
    }
    broker.close().await;
    let left = open(folder.path()).queues().await.unwrap()[0].ready;
    assert_eq!((left, jobs.len()), (all - 34, 100));
}

#[tokio::test]
async fn attempts_and_what_was_told_survive_the_process_with_the_finished_job() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path());
    let id = broker.push(vec![job("unlucky")]).await.unwrap()[0].id();
    let first = broker.fetch(fetch(1)).await.unwrap().remove(0);
    let retry = Outcome::Retry { reason: "no luck".to_owned(), delay: Duration::ZERO };
    broker.settle(vec![(first.receipt, retry)]).await.unwrap();
    let second = broker.fetch(fetch(1)).await.unwrap().remove(0);
    assert_eq!(second.attempt, 2);
    broker.close().await;

    let broker = open(folder.path());
    let third = broker.fetch(fetch(1)).await.unwrap().remove(0);
    let mut note = crate::JobNote::default();
    note.log(7, "at last");
    broker.note(vec![(third.receipt.clone(), note)]).await.unwrap();
    broker.settle(vec![(third.receipt, Outcome::Completed { result: None })]).await.unwrap();
    broker.close().await;

    let view = open(folder.path()).job(id).await.unwrap().unwrap();
    let attempts: Vec<_> = view
        .attempts
        .iter()
        .map(|note| (note.number, note.worker.as_ref().unwrap().as_str(), note.started_ms, note.error.as_deref()))
        .collect();
    let at = Some(1_764_000_000_000);
    assert_eq!(attempts, [(1, "w", at, Some("no luck")), (2, "w", at, Some("lease of w ran out")), (2, "w", at, None)]);
    assert_eq!(view.log.iter().map(|line| line.text.as_str()).collect::<Vec<_>>(), ["at last"]);
}

#[tokio::test]
async fn a_file_of_layout_1_is_brought_to_the_layout_of_today() {
    let folder = tempfile::tempdir().unwrap();
    let old = rusqlite::Connection::open(folder.path().join("queue.db")).unwrap();
    old.execute_batch(
        "CREATE TABLE job(sequence INTEGER PRIMARY KEY, attempts INTEGER NOT NULL, rescues INTEGER NOT NULL,
            run_at_ms INTEGER, error TEXT, body BLOB NOT NULL);
         CREATE TABLE lease(token INTEGER PRIMARY KEY, jobs BLOB NOT NULL);
         CREATE TABLE finished(shelf INTEGER NOT NULL, number INTEGER NOT NULL, body BLOB NOT NULL,
            PRIMARY KEY(shelf, number)) WITHOUT ROWID;
         CREATE TABLE unique_key(queue TEXT NOT NULL, key TEXT NOT NULL, job BLOB NOT NULL, until_ms INTEGER NOT NULL,
            PRIMARY KEY(queue, key)) WITHOUT ROWID;
         CREATE TABLE pause(queue TEXT PRIMARY KEY) WITHOUT ROWID;
         CREATE TABLE schedule(name TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
         CREATE TABLE leader(name TEXT PRIMARY KEY, token INTEGER NOT NULL) WITHOUT ROWID;
         PRAGMA application_id = 0x54444D51; PRAGMA user_version = 1;",
    )
    .unwrap();
    // Job record of version 1.
    let record = job("kept").into_record(crate::JobId::from_bytes([7; 16]), 5);
    let mut body = vec![0xDC, 0, 16, 1];
    body.extend(&crate::record_codec::encode(&record)[4..]);
    body.truncate(body.len() - 4);
    let lease = [1u64.to_le_bytes().as_slice(), &0u32.to_le_bytes()].concat();
    old.execute("INSERT INTO job VALUES(1, 0, 0, NULL, NULL, ?1)", [body]).unwrap();
    old.execute("INSERT INTO lease VALUES(1, ?1)", [lease]).unwrap();
    old.execute("INSERT INTO pause VALUES('rollup')", []).unwrap();
    drop(old);

    for _ in 0..2 {
        let broker = open(folder.path());
        let view = broker.job(record.id).await.unwrap().unwrap();
        assert_eq!((view.state, view.rescues, &view.payload[..]), (JobState::Available, 1, &b"kept"[..]));
        assert_eq!(view.attempts[0].worker, None);
        let stats = broker.queues().await.unwrap();
        let paused = stats.iter().filter(|stats| stats.settings.paused).map(|stats| stats.queue.as_str());
        assert_eq!(paused.collect::<Vec<_>>(), ["rollup"]);
        broker.close().await;
    }
}

#[tokio::test]
async fn workflows_survive_the_process_at_every_step() {
    use crate::{Completion, WorkflowState};
    let folder = tempfile::tempdir().unwrap();
    let mut broker = open(folder.path());
    let workflow = crate::Workflow::chord(["a", "b", "c"].map(job), job("sum")).then(job("end"));
    let id = broker.start_workflow(workflow).await.unwrap();
    let mut order = Vec::new();
    for step in 1..=5 {
        let delivery = broker.fetch(fetch(1)).await.unwrap().remove(0);
        let inputs = delivery.job.node_inputs().unwrap();
        let handed_on: Vec<_> = inputs.iter().map(|input| input.result.clone().unwrap()).collect();
        order.push((delivery.job.payload.clone(), handed_on));
        let result = Some(delivery.job.payload.clone());
        broker.settle(vec![(delivery.receipt, Outcome::Completed { result })]).await.unwrap();
        broker.close().await;
        broker = open(folder.path());
        let view = broker.workflow(id).await.unwrap().unwrap();
        assert_eq!((view.nodes_ended, view.state == WorkflowState::Completed), (step, step == 5));
        assert_eq!(broker.workflows(None, 5).await.unwrap().workflows[0].nodes_ended, step);
    }
    let all = ["a", "b", "c"].map(bytes::Bytes::from).to_vec();
    assert_eq!(order[3], ("sum".into(), all));
    assert_eq!(order[4], ("end".into(), vec!["sum".into()]));
    let completion = broker.workflow_completion(id, Duration::ZERO).await.unwrap();
    assert!(matches!(completion, Completion::Ended(end) if end.result == Some("end".into())));
    assert!(broker.fetch(fetch(1)).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_follows_from_the_end_of_a_job_is_written_once_the_disk_has_room() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(1_764_000_000_000));
    let broker = EmbeddedBroker::open_limited(folder.path(), BrokerOptions::default(), clock, Some(80)).unwrap();
    let big = || job(&"x".repeat(20_000));
    let id = broker.start_workflow(crate::Workflow::chain([job("first"), big()])).await.unwrap();
    while broker.push(vec![job(&"y".repeat(4_000))]).await.is_ok() {}
    let mut fillers = broker.fetch(fetch(100)).await.unwrap();
    let first = fillers.remove(0);
    assert!(matches!(broker.start_workflow(crate::Workflow::chain([big()])).await, Err(BrokerError::DiskFull(_))));
    assert_eq!(broker.workflows(None, 9).await.unwrap().workflows.len(), 1);
    let done = || Outcome::Completed { result: None };
    let settled = broker.settle(vec![(first.receipt, done())]).await;
    assert!(matches!(settled, Err(BrokerError::DiskFull(_))), "{settled:?}");
    // The second job is there, and is in the file as soon as there is room.
    let second = broker.workflow(id).await.unwrap_or_default();
    assert!(second.is_none_or(|view| view.nodes_ended == 1));
    broker.settle(fillers.into_iter().map(|job| (job.receipt, done())).collect()).await.unwrap();
    broker.close().await;
    let broker = open(folder.path());
    let second = broker.fetch(fetch(1)).await.unwrap().remove(0);
    assert_eq!((second.job.payload.len(), second.rescues), (20_000, 0));
    broker.settle(vec![(second.receipt, done())]).await.unwrap();
    assert_eq!(broker.workflow(id).await.unwrap().unwrap().nodes_ended, 2);
}

#[tokio::test]
async fn a_push_that_fails_keeps_no_unique_key() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(1_764_000_000_000));
    let broker = EmbeddedBroker::open_limited(folder.path(), BrokerOptions::default(), clock, Some(60)).unwrap();
    while broker.push(vec![job(&"x".repeat(4_000))]).await.is_ok() {}
    let keyed = || job(&"y".repeat(20_000)).unique_for("slot", Duration::from_secs(3_600));
    assert!(matches!(broker.push(vec![keyed()]).await, Err(BrokerError::DiskFull(_))));
    let jobs = broker.fetch(fetch(100)).await.unwrap();
    let settle = jobs.into_iter().map(|job| (job.receipt, Outcome::Completed { result: None })).collect();
    broker.settle(settle).await.unwrap();
    broker.close().await;
    let broker = open(folder.path());
    assert!(matches!(broker.push(vec![keyed()]).await.unwrap()[0], crate::Pushed::Queued(_)));
}

#[tokio::test]
async fn a_discarded_job_that_is_retried_on_a_full_disk_is_not_lost() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(1_764_000_000_000));
    let broker = EmbeddedBroker::open_limited(folder.path(), BrokerOptions::default(), clock, Some(80)).unwrap();
    let id = broker.push(vec![job(&"x".repeat(20_000))]).await.unwrap()[0].id();
    let first = broker.fetch(fetch(1)).await.unwrap().remove(0);
    broker.settle(vec![(first.receipt, Outcome::Discard { reason: "no".to_owned() })]).await.unwrap();
    while broker.push(vec![job(&"y".repeat(4_000))]).await.is_ok() {}
    let fillers = broker.fetch(fetch(100)).await.unwrap();
    // Whether it is written at once or later, it is there.
    drop(broker.retry(id).await);
    let done = fillers.into_iter().map(|job| (job.receipt, Outcome::Completed { result: None })).collect();
    broker.settle(done).await.unwrap();
    broker.close().await;
    let view = open(folder.path()).job(id).await.unwrap().unwrap();
    assert_eq!((view.state, view.payload.len()), (JobState::Available, 20_000));
}

#[tokio::test]
async fn settings_of_queues_survive_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let settings = crate::QueueSettings {
        draining: true,
        rate: "3/1500ms".parse().ok(),
        running_max: Some(4),
        jobs_max: Some(5),
        bytes_max: Some(6),
        ..crate::QueueSettings::default()
    };
    let (set, unset) = (crate::JobKind::Notify.default_queue(), crate::JobKind::Write.default_queue());
    let broker = open(folder.path());
    broker.set_queue(&set, settings.clone()).await.unwrap();
    broker.set_queue(&unset, settings.clone()).await.unwrap();
    broker.set_queue(&unset, crate::QueueSettings::default()).await.unwrap();
    broker.close().await;
    let broker = open(folder.path());
    let stats = broker.queues().await.unwrap();
    let kept: Vec<_> = stats.into_iter().map(|stats| (stats.queue, stats.settings)).collect();
    assert_eq!(kept, [(set, settings)]);
    broker.close().await;
}

#[tokio::test]
async fn a_workflow_whose_job_is_missing_in_the_file_fails_and_does_not_wait_for_ever() {
    use crate::{NodeState, Workflow, WorkflowState};

    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path());
    let id = broker.start_workflow(Workflow::chain(["a", "b"].map(job))).await.unwrap();
    let sound = broker.start_workflow(Workflow::chain(["c", "d"].map(job))).await.unwrap();
    broker.close().await;
    let file = rusqlite::Connection::open(folder.path().join("queue.db")).unwrap();
    assert_eq!(file.execute("DELETE FROM job WHERE sequence = (SELECT min(sequence) FROM job)", []), Ok(1));
    drop(file);

    for _ in 0..2 {
        let broker = open(folder.path());
        let view = broker.workflow(id).await.unwrap().unwrap();
        assert_eq!((view.state, view.nodes[1].state), (WorkflowState::Failed, NodeState::Cancelled));
        assert_eq!(view.nodes[0].error.as_deref(), Some("lost: its job is nowhere in the broker any more"));
        assert_eq!(broker.workflow(sound).await.unwrap().unwrap().state, WorkflowState::Running);
        broker.close().await;
    }
}
