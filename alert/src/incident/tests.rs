//! The state machine, step by step and at random.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{AlertKey, expression::Group};

fn policy() -> IncidentPolicy {
    IncidentPolicy { close_grace: Duration::from_millis(10), close_after: None }
}

fn observation(at: i64, status: Status) -> Observation {
    Observation { at, status, ..Observation::default() }
}

fn opened(status: Status) -> Incident {
    Incident::open(IncidentId(1), AlertKey::new("cpu", Group::empty()), observation(1, status), Vec::new())
}

fn request(kind: ActionKind) -> ActionRequest {
    ActionRequest { kind, user: "ann".into(), message: String::new(), deadline: None }
}

/// Runs a script such as `W✔ N W N C✔ W C`: a check at each letter, and a mark where somebody is told.
fn check_notifications(script: &str) {
    let status = |letter: Option<char>| match letter {
        Some('N') => Status::Normal,
        Some('W') => Status::Warning,
        Some('C') => Status::Critical,
        Some('U') => Status::Unknown,
        other => panic!("no status: {other:?}"),
    };
    let mut incident: Option<Incident> = None;
    for (step, word) in script.split(' ').enumerate() {
        let at = i64::try_from(step).unwrap() + 1;
        let status = status(word.chars().next());
        let told = match &mut incident {
            None if status.is_abnormal() => {
                incident = Some(Incident::open(
                    IncidentId(1),
                    AlertKey::new("cpu", Group::empty()),
                    observation(at, status),
                    Vec::new(),
                ));
                true
            }
            None => false,
            Some(incident) => !incident.observe(observation(at, status), &policy()).is_empty(),
        };
        assert_eq!(told, word.ends_with('✔'), "step {step} of {script}");
    }
}

#[test]
fn somebody_is_told_when_it_opens_and_when_it_becomes_worse_than_ever() {
    check_notifications("W✔ N W N C✔ W C");
    check_notifications("N N C✔ N W C N C");
    check_notifications("W✔ U✔ C N U");
    check_notifications("W✔ C✔ U✔ N");
}

#[test]
fn normal_leaves_the_incident_open() {
    let mut incident = opened(Status::Warning);
    incident.observe(observation(2, Status::Normal), &policy());
    assert!(incident.is_open());
    assert_eq!(
        (incident.current, incident.worst, incident.last_abnormal),
        (Status::Normal, Status::Warning, Status::Warning)
    );
    assert_eq!(incident.events.len(), 2);
    assert!(incident.needs_acknowledgement);
}

#[test]
fn an_observation_that_comes_twice_counts_once() {
    let mut incident = opened(Status::Warning);
    assert_eq!(incident.observe(observation(2, Status::Critical), &policy()).len(), 1);
    let before = incident.clone();
    assert_eq!(incident.observe(observation(2, Status::Critical), &policy()), []);
    assert_eq!(incident.observe(observation(1, Status::Unknown), &policy()), []);
    assert_eq!(incident, before);
}

#[test]
fn acknowledging_holds_until_it_becomes_worse() {
    let mut incident = opened(Status::Warning);
    let told = incident.act(&request(ActionKind::Acknowledge), 2, &policy()).unwrap();
    assert_eq!(told, [Effect::Notify(NotifyReason::Action(ActionKind::Acknowledge))]);
    assert!(!incident.needs_acknowledgement);
    let again = incident.act(&request(ActionKind::Acknowledge), 3, &policy());
    assert_eq!(again, Err(ActionError::AlreadyAcknowledged));
    incident.observe(observation(4, Status::Normal), &policy());
    incident.observe(observation(5, Status::Warning), &policy());
    assert!(!incident.needs_acknowledgement);
    incident.observe(observation(6, Status::Critical), &policy());
    assert!(incident.needs_acknowledgement);
}

#[test]
fn closing_what_is_normal_closes_at_once() {
    let mut incident = opened(Status::Warning);
    incident.observe(observation(2, Status::Normal), &policy());
    let effects = incident.act(&request(ActionKind::Close), 3, &policy()).unwrap();
    assert_eq!(effects, [Effect::Notify(NotifyReason::Action(ActionKind::Close)), Effect::Closed]);
    assert_eq!((incident.closed_at, incident.needs_acknowledgement), (Some(3), false));
    assert_eq!(
        incident.act(&request(ActionKind::Acknowledge), 4, &policy()),
        Err(ActionError::Closed(ActionKind::Acknowledge))
    );
    assert_eq!(incident.observe(observation(5, Status::Critical), &policy()), []);
    assert!(incident.act(&request(ActionKind::Note), 6, &policy()).is_ok());
}

#[test]
fn closing_what_is_active_waits_for_normal() {
    let mut incident = opened(Status::Warning);
    let effects = incident.act(&request(ActionKind::Close), 2, &policy()).unwrap();
    assert_eq!(effects, [Effect::Notify(NotifyReason::Action(ActionKind::DelayedClose))]);
    assert!(incident.is_open() && !incident.needs_acknowledgement);
    assert_eq!(incident.pending_close().unwrap().deadline, Some(12));
    let effects = incident.observe(observation(5, Status::Normal), &policy());
    assert_eq!(effects, [Effect::Notify(NotifyReason::Action(ActionKind::Close)), Effect::Closed]);
    assert!(incident.pending_close().is_none());
}

#[test]
fn closing_what_is_active_happens_at_the_deadline_at_the_latest() {
    let mut incident = opened(Status::Warning);
    incident.act(&request(ActionKind::Close), 2, &policy()).unwrap();
    let later = ActionRequest { deadline: Some(20), ..request(ActionKind::Close) };
    incident.act(&later, 3, &policy()).unwrap();
    assert_eq!(
        incident.actions.iter().filter(|action| action.is_pending()).count(),
        1,
        "the second replaces the first"
    );
    assert_eq!(incident.observe(observation(19, Status::Warning), &policy()), []);
    let effects = incident.observe(observation(20, Status::Warning), &policy());
    assert_eq!(effects, [Effect::Notify(NotifyReason::Action(ActionKind::ForceClose)), Effect::Closed]);
    let passed = ActionRequest { deadline: Some(1), ..request(ActionKind::Close) };
    assert_eq!(opened(Status::Warning).act(&passed, 2, &policy()), Err(ActionError::DeadlinePassed));
}

#[test]
fn becoming_worse_cancels_a_delayed_close() {
    let mut incident = opened(Status::Warning);
    incident.act(&request(ActionKind::Close), 2, &policy()).unwrap();
    let effects = incident.observe(observation(3, Status::Critical), &policy());
    assert_eq!(effects, [Effect::Notify(NotifyReason::Status(Status::Critical))]);
    assert!(incident.pending_close().is_none() && incident.needs_acknowledgement);
    assert_eq!(incident.actions.last().unwrap().kind, ActionKind::CancelClose);
    assert_eq!(incident.observe(observation(50, Status::Critical), &policy()), []);
    assert_eq!(incident.act(&request(ActionKind::CancelClose), 51, &policy()), Err(ActionError::NoPendingClose));
}

#[test]
fn only_the_unknown_is_forgotten() {
    let forget = request(ActionKind::Forget);
    assert_eq!(opened(Status::Warning).act(&forget, 2, &policy()), Err(ActionError::NotUnknown(Status::Warning)));
    assert_eq!(opened(Status::Unknown).act(&forget, 2, &policy()), Ok(vec![Effect::Removed]));
    assert_eq!(opened(Status::Critical).act(&request(ActionKind::Purge), 2, &policy()), Ok(vec![Effect::Removed]));
}

#[test]
fn an_incident_may_close_by_itself_after_a_while_of_normal() {
    let policy = IncidentPolicy { close_after: Some(Duration::from_millis(10)), ..policy() };
    let mut incident = opened(Status::Warning);
    assert_eq!(incident.observe(observation(100, Status::Warning), &policy), []);
    incident.observe(observation(101, Status::Normal), &policy);
    assert_eq!(incident.tick(110, &policy), []);
    let effects = incident.tick(111, &policy);
    assert_eq!(effects, [Effect::Notify(NotifyReason::Action(ActionKind::Close)), Effect::Closed]);
    assert_eq!(incident.actions.last().unwrap().user, "tidemark");
}

#[derive(Clone, Debug)]
enum Input {
    Observe(Status),
    Act(ActionKind),
    Tick,
}

fn inputs() -> impl Strategy<Value = Vec<Input>> {
    let status = proptest::sample::select(vec![Status::Normal, Status::Warning, Status::Critical, Status::Unknown]);
    let kind = proptest::sample::select(ActionKind::ALL.map(|(_, kind)| kind).to_vec());
    let input =
        prop_oneof![4 => status.prop_map(Input::Observe), 2 => kind.prop_map(Input::Act), 1 => Just(Input::Tick)];
    proptest::collection::vec(input, 1..60)
}

proptest! {
    #[test]
    fn whatever_happens_the_incident_makes_sense(inputs in inputs(), closes_itself: bool) {
        let policy = IncidentPolicy { close_after: closes_itself.then_some(Duration::from_millis(3)), ..policy() };
        let mut incident = opened(Status::Warning);
        for (input, at) in inputs.into_iter().zip(2..) {
            let before = incident.clone();
            let effects = match input {
                Input::Observe(status) => incident.observe(observation(at, status), &policy),
                Input::Act(kind) => incident.act(&request(kind), at, &policy).unwrap_or_default(),
                Input::Tick => incident.tick(at, &policy),
            };
            prop_assert!(incident.worst >= before.worst && incident.worst >= incident.current);
            prop_assert!(incident.worst >= incident.last_abnormal && incident.last_abnormal.is_abnormal());
            prop_assert_eq!(before.is_open() && !incident.is_open(), effects.contains(&Effect::Closed));
            prop_assert!(before.is_open() || !incident.is_open(), "a closed incident never opens again");
            let rose = incident.worst > before.worst;
            let told = effects.iter().any(|effect| matches!(effect, Effect::Notify(NotifyReason::Status(_))));
            prop_assert_eq!(rose, told);
            prop_assert!(!rose || incident.needs_acknowledgement || !incident.is_open());
            prop_assert!(incident.is_open() || (!incident.needs_acknowledgement && incident.pending_close().is_none()));
            prop_assert!(incident.actions.iter().filter(|action| action.is_pending()).count() <= 1);
            let changes = incident.events.iter().zip(incident.events.iter().skip(1));
            prop_assert!(changes.clone().all(|(left, right)| left.status != right.status && left.at < right.at));
            prop_assert_eq!(incident.events.last().unwrap().status, incident.current);
        }
    }
}
