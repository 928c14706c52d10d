//! Workflows, on all three brokers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use support::{
    Harness, Kind,
    every_broker::{Start, on_every_broker, start},
    job, options, text_of,
};
use tidemark_queue::{
    Broker, BrokerError, BrokerOptions, Cancelled, Completion, Delivery, FailurePolicy, JobState, NewJob, NodeState,
    Outcome, Settled, Workflow, WorkflowId, WorkflowState, WorkflowView,
};

on_every_broker! {
    the_jobs_of_a_chain_run_one_after_the_other_and_hand_their_results_on,
    the_last_job_of_a_chord_runs_when_all_others_are_done,
    a_list_is_mapped_in_chunks,
    a_failure_calls_the_rest_off_but_what_runs_in_any_case,
    a_failure_skips_what_waits_for_it_when_the_rest_goes_on,
    a_workflow_can_be_called_off,
    a_node_that_is_cancelled_or_expires_fails_its_workflow,
    workflows_are_listed_in_pages_the_newest_first,
    a_workflow_that_cannot_be_run_or_finds_no_room_is_refused,
    a_node_that_is_retried_by_hand_does_not_move_its_workflow,
    random_workflows_end_and_run_each_node_once,
    many_nodes_that_end_together_are_counted,
}

fn completed(result: &str) -> Outcome {
    Outcome::Completed { result: Some(Bytes::copy_from_slice(result.as_bytes())) }
}

fn failed() -> Outcome {
    Outcome::Discard { reason: "no use".to_owned() }
}

async fn settle(harness: &Harness, delivery: &Delivery, outcome: Outcome) -> Settled {
    harness.broker.settle(vec![(delivery.receipt.clone(), outcome)]).await.unwrap()[0]
}

/// What the nodes before it returned, as text.
fn inputs_of(delivery: &Delivery) -> Vec<String> {
    let text =
        |result: Option<Bytes>| result.map_or("-".to_owned(), |text| String::from_utf8_lossy(&text).into_owned());
    delivery.job.node_inputs().unwrap().into_iter().map(|input| text(input.result)).collect()
}

async fn view(harness: &Harness, id: WorkflowId) -> WorkflowView {
    harness.broker.workflow(id).await.unwrap().unwrap()
}

async fn states(harness: &Harness, id: WorkflowId) -> Vec<&'static str> {
    view(harness, id).await.nodes.iter().map(|node| node.state.name()).collect()
}

async fn end_of(harness: &Harness, id: WorkflowId) -> (JobState, Option<Bytes>, Option<String>) {
    match harness.broker.workflow_completion(id, Duration::from_secs(10)).await.unwrap() {
        Completion::Ended(end) => (end.state, end.result, end.error),
        other => panic!("{other:?}"),
    }
}

async fn the_jobs_of_a_chain_run_one_after_the_other_and_hand_their_results_on(start: Start) {
    let harness = start!(start);
    let workflow = Workflow::chain(["a", "b", "c"].map(job)).named("letters");
    let id = harness.broker.start_workflow(workflow).await.unwrap();
    let first = harness.fetch(10).await;
    assert_eq!(first.iter().map(text_of).collect::<Vec<_>>(), ["a"]);
    let node = first[0].job.workflow.unwrap();
    assert_eq!((node.workflow, node.node.number()), (id, 0));
    assert_eq!(inputs_of(&first[0]), [""; 0]);
    let seen = view(&harness, id).await;
    assert_eq!(
        (seen.name.as_str(), seen.state, seen.nodes_total, seen.nodes_ended),
        ("letters", WorkflowState::Running, 3, 0)
    );
    assert_eq!(seen.nodes[0].job, first[0].job.id);
    assert_eq!(harness.broker.workflow_completion(id, Duration::ZERO).await.unwrap(), Completion::Pending);
    assert_eq!(settle(&harness, &first[0], completed("A")).await, Settled::Recorded(JobState::Completed));
    assert_eq!(settle(&harness, &first[0], completed("A")).await, Settled::Stale);
    let second = harness.fetch(10).await.remove(0);
    assert_eq!((text_of(&second), inputs_of(&second)), ("b".to_owned(), vec!["A".to_owned()]));
    let job = harness.broker.job(second.job.id).await.unwrap().unwrap();
    assert_eq!((job.state, job.workflow.unwrap().node.number()), (JobState::Running, 1));
    settle(&harness, &second, completed("B")).await;
    let third = harness.fetch(10).await.remove(0);
    assert_eq!(inputs_of(&third), ["B"]);
    let (end, ()) = tokio::join!(end_of(&harness, id), async {
        settle(&harness, &third, completed("C")).await;
    });
    assert_eq!(end, (JobState::Completed, Some("C".into()), None));
    let ended = view(&harness, id).await;
    assert_eq!((ended.state, ended.nodes_ended), (WorkflowState::Completed, 3));
    assert!(
        ended.ended_ms.unwrap() >= ended.created_ms
            && ended.nodes.iter().all(|node| node.state == NodeState::Completed)
    );
    assert!(harness.fetch(10).await.is_empty());
    let nobody: WorkflowId = "01939b5e-8e4f-7000-8000-000000000000".parse().unwrap();
    assert_eq!(harness.broker.workflow(nobody).await.unwrap(), None);
    assert_eq!(harness.broker.workflow_completion(nobody, Duration::ZERO).await.unwrap(), Completion::Unknown);
}

async fn the_last_job_of_a_chord_runs_when_all_others_are_done(start: Start) {
    let harness = start!(start);
    let workflow = Workflow::chord(["a", "b", "c"].map(job), job("sum"));
    let id = harness.broker.start_workflow(workflow).await.unwrap();
    let mut group = harness.fetch(10).await;
    assert_eq!(group.len(), 3);
    group.sort_by_key(text_of);
    settle(&harness, &group[2], completed("3")).await;
    settle(&harness, &group[0], Outcome::Completed { result: None }).await;
    assert!(harness.fetch(10).await.is_empty());
    assert_eq!(states(&harness, id).await, ["completed", "ready", "completed", "waiting"]);
    // One of them fails once and is tried again: the chord waits.
    let retry = Outcome::Retry { reason: "no luck".to_owned(), delay: Duration::ZERO };
    settle(&harness, &group[1], retry).await;
    let again = harness.fetch_one().await;
    assert_eq!((text_of(&again), again.attempt), ("b".to_owned(), 2));
    settle(&harness, &again, completed("2")).await;
    let last = harness.fetch_one().await;
    assert_eq!((text_of(&last), inputs_of(&last)), ("sum".to_owned(), vec!["-".into(), "2".into(), "3".into()]));
    settle(&harness, &last, completed("5")).await;
    assert_eq!(end_of(&harness, id).await, (JobState::Completed, Some("5".into()), None));
}

async fn a_list_is_mapped_in_chunks(start: Start) {
    let harness = start!(start);
    let workflow = Workflow::map(&[1, 2, 3, 4, 5], 2, |chunk| Ok::<_, ()>(job(&format!("{chunk:?}")))).unwrap();
    let id = harness.broker.start_workflow(workflow.then(job("all"))).await.unwrap();
    for delivery in harness.fetch(10).await {
        settle(&harness, &delivery, completed(&text_of(&delivery))).await;
    }
    let all = harness.fetch_one().await;
    assert_eq!(inputs_of(&all), ["[1, 2]", "[3, 4]", "[5]"]);
    settle(&harness, &all, completed("")).await;
    assert_eq!(end_of(&harness, id).await.0, JobState::Completed);
}

/// a and b; c after a; d after c, runs in any case.
fn diamond(policy: FailurePolicy) -> Workflow {
    let mut workflow = Workflow::new().on_failure(policy);
    let a = workflow.add(job("a"), &[]);
    let b = workflow.add(job("b"), &[]);
    let c = workflow.add(job("c"), &[a]);
    let d = workflow.add(job("d"), &[b, c]);
    workflow.always(d)
}

async fn a_failure_calls_the_rest_off_but_what_runs_in_any_case(start: Start) {
    let harness = start!(start);
    let id = harness.broker.start_workflow(diamond(FailurePolicy::Stop)).await.unwrap();
    let mut first = harness.fetch(1).await;
    assert_eq!(first.len(), 1);
    let first = first.remove(0);
    // The other one has not been handed out, so it is cancelled at once.
    settle(&harness, &first, failed()).await;
    let last = harness.fetch_one().await;
    assert_eq!(text_of(&last), "d");
    let ends: Vec<NodeState> = last.job.node_inputs().unwrap().iter().map(|input| input.state).collect();
    assert_eq!(ends, [NodeState::Cancelled; 2]);
    assert_eq!(states(&harness, id).await, ["discarded", "cancelled", "cancelled", "ready"]);
    settle(&harness, &last, completed("cleaned")).await;
    let (state, result, error) = end_of(&harness, id).await;
    assert_eq!(
        (state, result, error.as_deref()),
        (JobState::Discarded, Some("cleaned".into()), Some("node 0: no use"))
    );
    assert_eq!(view(&harness, id).await.state, WorkflowState::Failed);

    // A job that runs is told.
    let id = harness.broker.start_workflow(Workflow::group(["a", "b"].map(job))).await.unwrap();
    let group = harness.fetch(2).await;
    settle(&harness, &group[0], failed()).await;
    let leases = harness.broker.extend(std::slice::from_ref(&group[1].receipt)).await.unwrap();
    assert_eq!(leases, [tidemark_queue::LeaseState::CancelRequested]);
    settle(&harness, &group[1], Outcome::Cancelled { reason: "as asked".to_owned() }).await;
    assert_eq!(end_of(&harness, id).await.0, JobState::Discarded);
}

async fn a_failure_skips_what_waits_for_it_when_the_rest_goes_on(start: Start) {
    let harness = start!(start);
    let id = harness.broker.start_workflow(diamond(FailurePolicy::GoOn)).await.unwrap();
    let group = harness.fetch(10).await;
    assert_eq!(group.iter().map(text_of).collect::<Vec<_>>(), ["a", "b"]);
    settle(&harness, &group[0], failed()).await;
    assert_eq!(states(&harness, id).await, ["discarded", "ready", "skipped", "waiting"]);
    settle(&harness, &group[1], completed("B")).await;
    let last = harness.fetch_one().await;
    let inputs = last.job.node_inputs().unwrap();
    assert_eq!(
        (text_of(&last), inputs[0].state, inputs[1].state),
        ("d".to_owned(), NodeState::Completed, NodeState::Skipped)
    );
    settle(&harness, &last, completed("D")).await;
    assert_eq!(end_of(&harness, id).await.0, JobState::Discarded);
}

async fn a_workflow_can_be_called_off(start: Start) {
    let harness = start!(start);
    let later = job("later").not_before(harness.now_ms() + 3_600_000);
    let id = harness.broker.start_workflow(Workflow::chord([job("now"), later], job("never"))).await.unwrap();
    let running = harness.fetch(10).await.remove(0);
    assert_eq!(harness.broker.cancel_workflow(id).await.unwrap(), Cancelled::Requested);
    assert_eq!(states(&harness, id).await, ["ready", "cancelled", "cancelled"]);
    assert_eq!(harness.broker.cancel_workflow(id).await.unwrap(), Cancelled::Requested);
    let leases = harness.broker.extend(std::slice::from_ref(&running.receipt)).await.unwrap();
    assert_eq!(leases, [tidemark_queue::LeaseState::CancelRequested]);
    // It was done all the same.
    settle(&harness, &running, completed("")).await;
    assert_eq!(end_of(&harness, id).await.0, JobState::Cancelled);
    assert_eq!(harness.broker.cancel_workflow(id).await.unwrap(), Cancelled::TooLate(JobState::Cancelled));
    let id = harness.broker.start_workflow(Workflow::chain(["a", "b"].map(job))).await.unwrap();
    assert_eq!(harness.broker.cancel_workflow(id).await.unwrap(), Cancelled::Now);
    assert!(harness.fetch(10).await.is_empty());
    let nobody: WorkflowId = "01939b5e-8e4f-7000-8000-000000000000".parse().unwrap();
    assert_eq!(harness.broker.cancel_workflow(nobody).await.unwrap(), Cancelled::Unknown);
}

async fn a_node_that_is_cancelled_or_expires_fails_its_workflow(start: Start) {
    let harness = start!(start);
    let id = harness.broker.start_workflow(Workflow::chain(["a", "b"].map(job))).await.unwrap();
    let first = view(&harness, id).await.nodes[0].job;
    assert_eq!(harness.broker.cancel(first).await.unwrap(), Cancelled::Now);
    assert_eq!(end_of(&harness, id).await.0, JobState::Discarded);
    assert_eq!(states(&harness, id).await, ["cancelled", "cancelled"]);

    let stale = job("stale").expires(harness.now_ms() + 30);
    let id = harness.broker.start_workflow(Workflow::chain([stale, job("b")])).await.unwrap();
    let has_ended = || async {
        // In Redis a job expires when somebody asks for it.
        assert!(harness.now_ms() < i64::MAX);
        view(&harness, id).await.state == WorkflowState::Failed
    };
    let until_ms = harness.now_ms() + 60;
    harness.eventually("its time is over", || async { harness.now_ms() > until_ms }).await;
    assert!(harness.fetch(10).await.is_empty());
    harness.eventually("failed", has_ended).await;
}

async fn workflows_are_listed_in_pages_the_newest_first(start: Start) {
    let harness = start!(start);
    let mut ids = Vec::new();
    for number in 0..5 {
        // Ids of one millisecond are in no order.
        let at_ms = harness.now_ms();
        harness.eventually("a millisecond later", || async { harness.now_ms() > at_ms }).await;
        let workflow = Workflow::chain([job("x")]).named(number.to_string());
        ids.insert(0, harness.broker.start_workflow(workflow).await.unwrap());
    }
    harness.broker.cancel_workflow(ids[1]).await.unwrap();
    let first = harness.broker.workflows(None, 2).await.unwrap();
    let names = |page: &tidemark_queue::WorkflowPage| -> Vec<_> {
        page.workflows.iter().map(|view| (view.name.clone(), view.state.name(), view.nodes_total)).collect()
    };
    assert_eq!(names(&first), [("4".to_owned(), "running", 1), ("3".to_owned(), "cancelled", 1)]);
    let second = harness.broker.workflows(first.next, 10).await.unwrap();
    assert_eq!(second.workflows.iter().map(|view| view.id).collect::<Vec<_>>(), ids[2..]);
    assert_eq!(second.next, None);
    assert!(first.workflows.iter().all(|view| view.nodes.is_empty()));
}

async fn a_workflow_that_cannot_be_run_or_finds_no_room_is_refused(start: Start) {
    let harness = start!(start, BrokerOptions { workflows_max: 1, queue_jobs_max: 3, ..options() });
    assert!(matches!(harness.broker.start_workflow(Workflow::new()).await, Err(BrokerError::Invalid(_))));
    let large = Workflow::group(["1", "2", "3", "4"].map(job));
    assert!(matches!(harness.broker.start_workflow(large).await, Err(BrokerError::Full { limit: 3, .. })));
    assert!(harness.broker.workflows(None, 10).await.unwrap().workflows.is_empty());
    let id = harness.broker.start_workflow(Workflow::group(["1", "2"].map(job))).await.unwrap();
    let error = harness.broker.start_workflow(Workflow::chain([job("x")])).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "queue `notify` is full: 1 workflows wait, at most 1 are allowed; see `queue.workflows_max`"
    );
    harness.broker.cancel_workflow(id).await.unwrap();
    harness.broker.start_workflow(Workflow::chain([job("x")])).await.unwrap();
}

async fn a_node_that_is_retried_by_hand_does_not_move_its_workflow(start: Start) {
    let harness = start!(start);
    let workflow = Workflow::chain(["a", "b"].map(job)).on_failure(FailurePolicy::GoOn);
    let id = harness.broker.start_workflow(workflow).await.unwrap();
    let first = harness.fetch_one().await;
    settle(&harness, &first, failed()).await;
    assert_eq!(end_of(&harness, id).await.0, JobState::Discarded);
    assert!(harness.broker.retry(first.job.id).await.unwrap());
    let again = harness.fetch_one().await;
    assert_eq!(settle(&harness, &again, completed("")).await, Settled::Recorded(JobState::Completed));
    assert_eq!(states(&harness, id).await, ["discarded", "skipped"]);
    assert!(harness.fetch(10).await.is_empty());
}

async fn many_nodes_that_end_together_are_counted(start: Start) {
    let harness = start!(start);
    let workflow = Workflow::chord((0..500).map(|number| job(&number.to_string())), job("last"));
    let id = harness.broker.start_workflow(workflow).await.unwrap();
    let mut done = 0;
    while done < 500 {
        let deliveries = harness.fetch(200).await;
        done += deliveries.len();
        let outcomes = deliveries.iter().map(|delivery| (delivery.receipt.clone(), completed("x"))).collect();
        harness.broker.settle(outcomes).await.unwrap();
    }
    let last = harness.fetch_one().await;
    assert_eq!((text_of(&last), inputs_of(&last).len()), ("last".to_owned(), 500));
    settle(&harness, &last, completed("")).await;
    assert_eq!(end_of(&harness, id).await.0, JobState::Completed);
}

/// Steele, Lea and Flood's SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound.max(1)
    }
}

fn random_workflow(random: &mut Random) -> Workflow {
    let policy = if random.below(2) == 0 { FailurePolicy::Stop } else { FailurePolicy::GoOn };
    let mut workflow = Workflow::new().on_failure(policy);
    let mut nodes = Vec::new();
    for number in 0..1 + random.below(14) {
        let after: Vec<_> =
            (0..random.below(3)).filter_map(|_| nodes.get(random.below(number) as usize).copied()).collect();
        let node = workflow.add(NewJob { attempts_max: 2, ..job(&number.to_string()) }, &after);
        nodes.push(node);
        if random.below(6) == 0 {
            workflow = workflow.always(node);
        }
    }
    workflow
}

/// How the attempts at the nodes of a workflow went, as their worker knows it.
#[derive(Default)]
struct Ledger {
    completed: BTreeSet<u32>,
    ended: BTreeMap<u32, usize>,
}

impl Ledger {
    /// Nothing runs before what it waits for has ended.
    fn check_start(&self, delivery: &Delivery, before: &WorkflowView) {
        let node = delivery.job.workflow.unwrap().node;
        assert!(!self.completed.contains(&node.number()), "node {node} was handed out after it was done");
        let node = &before.nodes[node.number() as usize];
        for after in &node.after {
            assert!(before.nodes[after.number() as usize].state.is_final(), "node {} runs too early", node.node);
        }
        assert_eq!(delivery.job.node_inputs().unwrap().len(), node.after.len());
    }

    fn note(&mut self, delivery: &Delivery, settled: Settled) {
        let node = delivery.job.workflow.unwrap().node.number();
        if let Settled::Recorded(state) = settled
            && state.is_final()
        {
            *self.ended.entry(node).or_default() += 1;
            if state == JobState::Completed {
                self.completed.insert(node);
            }
        }
    }

    fn check_end(&self, end: &WorkflowView) {
        assert_eq!(end.nodes_ended, end.nodes_total);
        assert!(self.ended.values().all(|ends| *ends == 1), "a node ended twice: {:?}", self.ended);
        let seen: BTreeSet<u32> =
            end.nodes.iter().filter(|node| node.state == NodeState::Completed).map(|node| node.node.number()).collect();
        assert!(self.completed.is_subset(&seen), "{:?} and {seen:?}", self.completed);
    }
}

fn random_outcome(random: &mut Random, delivery: &Delivery) -> Outcome {
    match random.below(10) {
        0 => failed(),
        1 => Outcome::Retry { reason: "no luck".to_owned(), delay: Duration::ZERO },
        2 => Outcome::Cancelled { reason: "enough".to_owned() },
        _ => completed(&text_of(delivery)),
    }
}

async fn random_workflows_end_and_run_each_node_once(start: Start) {
    let harness = start!(start);
    let rounds = if start.kind == Kind::Redis { 40 } else { 150 };
    for seed in 0..rounds {
        let mut random = Random(seed);
        let id = harness.broker.start_workflow(random_workflow(&mut random)).await.unwrap();
        let mut ledger = Ledger::default();
        for _ in 0..200 {
            if view(&harness, id).await.state != WorkflowState::Running {
                break;
            }
            harness.broker.tick().await.unwrap();
            if random.below(40) == 0 {
                harness.broker.cancel_workflow(id).await.unwrap();
            }
            let deliveries = harness.fetch(1 + random.below(4) as usize).await;
            let before = view(&harness, id).await;
            for delivery in deliveries {
                ledger.check_start(&delivery, &before);
                let outcome = random_outcome(&mut random, &delivery);
                let settled = settle(&harness, &delivery, outcome).await;
                ledger.note(&delivery, settled);
            }
        }
        let end = view(&harness, id).await;
        assert_ne!(end.state, WorkflowState::Running, "seed {seed}: {end:?}");
        ledger.check_end(&end);
        assert!(harness.fetch(1).await.is_empty(), "seed {seed}: a job is left");
    }
}

/// A process that ends in the middle of any step leaves nothing that the next one does not finish.
#[tokio::test]
async fn workflows_in_redis_survive_clients_that_end_at_any_moment() {
    let Some(server) = support::RedisServer::start().await else { return };
    let short = || BrokerOptions { lease: Duration::from_millis(80), ..options() };
    let mut broken_off = 0;
    for seed in 0..25 {
        let mut random = Random(1_000 + seed);
        let mut broker = server.broker(short());
        let id = broker.start_workflow(random_workflow(&mut random)).await.unwrap();
        let mut ledger = Ledger::default();
        let deadline = std::time::Duration::from_secs(20);
        let ended = tokio::time::timeout(deadline, async {
            loop {
                broker.tick().await.unwrap();
                let seen = broker.workflow(id).await.unwrap().unwrap();
                if seen.state != WorkflowState::Running {
                    return seen;
                }
                let fetched = broker.fetch(support::request("w", 2, Duration::ZERO)).await.unwrap();
                for delivery in fetched {
                    let before = broker.workflow(id).await.unwrap().unwrap();
                    ledger.check_start(&delivery, &before);
                    let settlement = vec![(delivery.receipt.clone(), random_outcome(&mut random, &delivery))];
                    let settling = broker.settle(settlement);
                    if random.below(3) == 0 {
                        let moment = Duration::from_micros(random.below(1_500));
                        if tokio::time::timeout(moment, settling).await.is_err() {
                            broken_off += 1;
                            // The process ends, and another one takes its place.
                            broker = server.broker(short());
                            break;
                        }
                    } else {
                        ledger.note(&delivery, settling.await.unwrap()[0]);
                    }
                }
            }
        });
        let end = ended.await.unwrap_or_else(|_| panic!("seed {seed} does not end"));
        ledger.check_end(&end);
        let left = broker.fetch(support::request("w", 10, Duration::ZERO)).await.unwrap();
        assert!(left.is_empty(), "seed {seed}: {} jobs are left", left.len());
    }
    assert!(broken_off > 10, "only {broken_off} calls were broken off");
}

/// Calls that are refused, and calls whose answer is lost, are made again.
#[tokio::test]
async fn workflows_survive_calls_that_fail_before_or_after_they_took_effect() {
    use std::sync::Arc;
    use tidemark_model::{Clock, ManualClock};
    use tidemark_queue::MemoryBroker;

    for seed in 0..100 {
        let clock = Arc::new(ManualClock::new(1_764_000_000_000));
        let broker = MemoryBroker::new(options(), clock.clone(), seed);
        let mut random = Random(5_000 + seed);
        let id = broker.start_workflow(random_workflow(&mut random)).await.unwrap();
        let mut ledger = Ledger::default();
        for _ in 0..2_000 {
            assert!(clock.now_ms() > 0);
            clock.advance(Duration::from_millis(20));
            broker.tick().await.unwrap();
            let before = broker.workflow(id).await.unwrap().unwrap();
            if before.state != WorkflowState::Running {
                break;
            }
            match random.below(4) {
                0 => broker.faults().refuse_next(1),
                1 => broker.faults().lose_next_answers(1),
                _ => {}
            }
            // Jobs of a fetch whose answer is lost come back when their lease runs out.
            let Ok(deliveries) = broker.fetch(support::request("w", 3, Duration::ZERO)).await else { continue };
            for delivery in deliveries {
                ledger.check_start(&delivery, &broker.workflow(id).await.unwrap().unwrap());
                let settlement = vec![(delivery.receipt.clone(), random_outcome(&mut random, &delivery))];
                match random.below(4) {
                    0 => broker.faults().refuse_next(1),
                    1 => broker.faults().lose_next_answers(1),
                    _ => {}
                }
                let settled = loop {
                    if let Ok(settled) = broker.settle(settlement.clone()).await {
                        break settled[0];
                    }
                };
                ledger.note(&delivery, settled);
            }
        }
        let end = broker.workflow(id).await.unwrap().unwrap();
        assert_ne!(end.state, WorkflowState::Running, "seed {seed}: {end:?}");
        ledger.check_end(&end);
    }
}
