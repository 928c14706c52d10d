//! What follows from the end of a node: a state machine that knows neither jobs nor brokers.
//!
//! It is idempotent by node: a node ends once, and being told again changes nothing. So whoever is not sure whether an
//! end was counted says it again.

use std::collections::VecDeque;

use super::{FailurePolicy, NodeState, WorkflowState};
use crate::JobState;

/// The nodes of a workflow and where each of them is.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    policy: FailurePolicy,
    nodes: Vec<Node>,
    unfinished: usize,
    is_stopping: bool,
    is_cancelled: bool,
}

#[derive(Clone, Debug)]
struct Node {
    state: NodeState,
    /// Nodes before it that have not ended.
    waits_for: usize,
    always: bool,
    dependents: Vec<u32>,
    is_called_off: bool,
}

/// What is to be done now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Step {
    /// Nodes whose jobs are to be pushed, ascending.
    pub(crate) ready: Vec<u32>,
    /// Nodes whose jobs are to be cancelled.
    pub(crate) call_off: Vec<u32>,
    /// Whether nothing is left to do since this step.
    pub(crate) has_ended: bool,
}

impl Machine {
    /// Nodes that wait for nothing are ready. `nodes` gives for each what it waits for, which are earlier ones, and
    /// whether it runs in any case.
    pub(crate) fn new<'a>(policy: FailurePolicy, nodes: impl Iterator<Item = (&'a [u32], bool)>) -> Self {
        let mut machine = Self { policy, nodes: Vec::new(), unfinished: 0, is_stopping: false, is_cancelled: false };
        for (place, (after, always)) in nodes.enumerate() {
            let mut waits_for = 0;
            for before in after {
                if let Some(before) = machine.nodes.get_mut(*before as usize) {
                    before.dependents.push(u32::try_from(place).unwrap_or(u32::MAX));
                    waits_for += 1;
                }
            }
            let state = if waits_for == 0 { NodeState::Ready } else { NodeState::Waiting };
            machine.nodes.push(Node { state, waits_for, always, dependents: Vec::new(), is_called_off: false });
        }
        machine.unfinished = machine.nodes.len();
        machine
    }

    /// Nodes whose jobs wait or run.
    pub(crate) fn ready(&self) -> Vec<u32> {
        self.numbers(|node| node.state == NodeState::Ready)
    }

    /// Of these, those whose jobs are to be cancelled.
    pub(crate) fn called_off(&self) -> Vec<u32> {
        self.numbers(|node| node.state == NodeState::Ready && node.is_called_off)
    }

    fn numbers(&self, is_wanted: impl Fn(&Node) -> bool) -> Vec<u32> {
        (0u32..).zip(&self.nodes).filter(|(_, node)| is_wanted(node)).map(|(number, _)| number).collect()
    }

    /// Where a node is.
    pub(crate) fn state_of(&self, node: u32) -> Option<NodeState> {
        self.nodes.get(node as usize).map(|node| node.state)
    }

    /// Whether some node waits for this one.
    pub(crate) fn has_dependents(&self, node: u32) -> bool {
        self.nodes.get(node as usize).is_some_and(|node| !node.dependents.is_empty())
    }

    /// Whether all nodes have ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.unfinished == 0
    }

    /// Where the whole is.
    pub(crate) fn state(&self) -> WorkflowState {
        if !self.has_ended() {
            WorkflowState::Running
        } else if self.is_cancelled {
            WorkflowState::Cancelled
        } else if self.nodes.iter().all(|node| node.state == NodeState::Completed) {
            WorkflowState::Completed
        } else {
            WorkflowState::Failed
        }
    }

    /// The job of a node has ended in this final state.
    pub(crate) fn ended(&mut self, node: u32, how: JobState) -> Step {
        let state = match how {
            JobState::Completed => NodeState::Completed,
            JobState::Cancelled => NodeState::Cancelled,
            _ => NodeState::Discarded,
        };
        if self.state_of(node) != Some(NodeState::Ready) {
            return Step::default();
        }
        let mut step = Step::default();
        let mut ended = VecDeque::new();
        self.end(node, state, &mut ended);
        if state != NodeState::Completed && self.policy == FailurePolicy::Stop {
            self.stop(false, &mut step, &mut ended);
        }
        self.follow(ended, &mut step);
        step
    }

    /// Somebody calls the whole off.
    pub(crate) fn cancel(&mut self) -> Step {
        let mut step = Step::default();
        if self.has_ended() || self.is_cancelled {
            return step;
        }
        self.is_cancelled = true;
        let mut ended = VecDeque::new();
        self.stop(true, &mut step, &mut ended);
        self.follow(ended, &mut step);
        step
    }

    fn end(&mut self, node: u32, state: NodeState, ended: &mut VecDeque<u32>) {
        if let Some(found) = self.nodes.get_mut(node as usize) {
            found.state = state;
            self.unfinished -= 1;
            ended.push_back(node);
        }
    }

    /// Calls off what has not ended: all, or all but what runs in any case.
    fn stop(&mut self, everything: bool, step: &mut Step, ended: &mut VecDeque<u32>) {
        if std::mem::replace(&mut self.is_stopping, true) && !everything {
            return;
        }
        let mut waiting = Vec::new();
        for (number, node) in (0u32..).zip(&mut self.nodes) {
            if node.always && !everything {
                continue;
            }
            match node.state {
                NodeState::Waiting => waiting.push(number),
                NodeState::Ready if !std::mem::replace(&mut node.is_called_off, true) => step.call_off.push(number),
                _ => {}
            }
        }
        for number in waiting {
            self.end(number, NodeState::Cancelled, ended);
        }
    }

    /// Tells the nodes after those that ended.
    fn follow(&mut self, mut ended: VecDeque<u32>, step: &mut Step) {
        while let Some(number) = ended.pop_front() {
            let Some(node) = self.nodes.get(number as usize) else { continue };
            let failed = node.state != NodeState::Completed;
            for dependent in node.dependents.clone() {
                let Some(after) = self.nodes.get_mut(dependent as usize) else { continue };
                after.waits_for = after.waits_for.saturating_sub(1);
                if after.state != NodeState::Waiting {
                    continue;
                }
                if failed && !after.always {
                    self.end(dependent, NodeState::Skipped, &mut ended);
                } else if after.waits_for == 0 {
                    after.state = NodeState::Ready;
                    step.ready.push(dependent);
                }
            }
        }
        step.ready.sort_unstable();
        step.has_ended = self.has_ended();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    use JobState::{Cancelled, Completed, Discarded};

    /// Nodes as what each waits for; `!` before it: runs in any case.
    fn machine(policy: FailurePolicy, nodes: &[&str]) -> Machine {
        let parse = |text: &&str| -> (Vec<u32>, bool) {
            let always = text.starts_with('!');
            (text.trim_start_matches('!').split_whitespace().map(|number| number.parse().unwrap()).collect(), always)
        };
        let nodes: Vec<(Vec<u32>, bool)> = nodes.iter().map(parse).collect();
        Machine::new(policy, nodes.iter().map(|(after, always)| (&after[..], *always)))
    }

    fn step(ready: &[u32], call_off: &[u32], has_ended: bool) -> Step {
        Step { ready: ready.to_vec(), call_off: call_off.to_vec(), has_ended }
    }

    fn states(machine: &Machine) -> String {
        machine.nodes.iter().map(|node| format!("{:?} ", node.state)).collect::<String>().trim().to_owned()
    }

    #[test]
    fn one_after_the_other() {
        let mut chain = machine(FailurePolicy::Stop, &["", "0", "1"]);
        assert_eq!(chain.ready(), [0]);
        assert_eq!(chain.ended(0, Completed), step(&[1], &[], false));
        assert_eq!(chain.ended(0, Completed), Step::default());
        assert_eq!(chain.ended(2, Completed), Step::default());
        assert_eq!(chain.ended(1, Completed), step(&[2], &[], false));
        assert_eq!(chain.ended(2, Completed), step(&[], &[], true));
        assert_eq!(chain.state(), WorkflowState::Completed);
    }

    #[test]
    fn one_after_all() {
        let mut chord = machine(FailurePolicy::Stop, &["", "", "0 1"]);
        assert_eq!(chord.ready(), [0, 1]);
        assert_eq!(chord.ended(1, Completed), step(&[], &[], false));
        assert_eq!(chord.ended(0, Completed), step(&[2], &[], false));
    }

    #[test]
    fn a_failure_stops_the_rest_but_what_runs_in_any_case() {
        let mut stop = machine(FailurePolicy::Stop, &["", "", "0", "2", "!1 2"]);
        assert_eq!(stop.ended(0, Discarded), step(&[], &[1], false));
        assert_eq!(stop.called_off(), [1]);
        assert_eq!(states(&stop), "Discarded Ready Cancelled Cancelled Waiting");
        assert_eq!(stop.ended(1, Cancelled), step(&[4], &[], false));
        assert_eq!(stop.ended(4, Completed), step(&[], &[], true));
        assert_eq!(stop.state(), WorkflowState::Failed);
    }

    #[test]
    fn a_failure_skips_what_waits_for_it_and_the_rest_goes_on() {
        let mut on = machine(FailurePolicy::GoOn, &["", "", "0", "2", "1", "!3 4"]);
        assert_eq!(on.ended(0, Discarded), step(&[], &[], false));
        assert_eq!(states(&on), "Discarded Ready Skipped Skipped Waiting Waiting");
        assert_eq!(on.ended(1, Completed), step(&[4], &[], false));
        assert_eq!(on.ended(4, Completed), step(&[5], &[], false));
        assert_eq!(on.ended(5, Completed), step(&[], &[], true));
        assert_eq!(on.state(), WorkflowState::Failed);
    }

    #[test]
    fn whoever_calls_the_whole_off_calls_everything_off() {
        let mut all = machine(FailurePolicy::GoOn, &["", "!", "0", "!0"]);
        assert_eq!(all.cancel(), step(&[], &[0, 1], false));
        assert_eq!(all.cancel(), Step::default());
        assert_eq!(states(&all), "Ready Ready Cancelled Cancelled");
        assert_eq!(all.ended(0, Completed), step(&[], &[], false));
        assert_eq!(all.ended(1, Cancelled), step(&[], &[], true));
        assert_eq!(all.state(), WorkflowState::Cancelled);
    }

    fn graph() -> impl Strategy<Value = Vec<(Vec<u32>, bool)>> {
        let node = (proptest::collection::vec(any::<u32>(), 0..4), proptest::bool::weighted(0.2));
        proptest::collection::vec(node, 1..40).prop_map(|nodes| {
            let bound = |(place, (after, always)): (usize, (Vec<u32>, bool))| {
                let place = u32::try_from(place).unwrap();
                let mut after: Vec<u32> =
                    after.into_iter().filter(|_| place > 0).map(|number| number % place.max(1)).collect();
                after.sort_unstable();
                after.dedup();
                (after, always)
            };
            nodes.into_iter().enumerate().map(bound).collect()
        })
    }

    proptest! {
        /// Jobs end in any order and any way: the whole ends, no node runs twice, none before what it waits for, none
        /// after a failure unless it runs in any case.
        #[test]
        fn every_workflow_ends(
            nodes in graph(),
            go_on: bool,
            choices in proptest::collection::vec((any::<u32>(), 0u8..8), 200),
            cancel_at in proptest::option::weighted(0.2, 0usize..20),
        ) {
            let policy = if go_on { FailurePolicy::GoOn } else { FailurePolicy::Stop };
            let mut machine = Machine::new(policy, nodes.iter().map(|(after, always)| (&after[..], *always)));
            let mut running = machine.ready();
            let mut pushed: std::collections::BTreeSet<u32> = running.iter().copied().collect();
            let mut ends = 0;
            for (place, (which, how)) in choices.into_iter().enumerate() {
                if cancel_at == Some(place) {
                    machine.cancel();
                }
                if running.is_empty() {
                    break;
                }
                let node = running.swap_remove(which as usize % running.len());
                let how = [Completed, Completed, Completed, Completed, Completed, Completed, Cancelled, Discarded][usize::from(how)];
                let step = machine.ended(node, how);
                prop_assert_eq!(machine.ended(node, Discarded), Step::default());
                for ready in step.ready {
                    prop_assert!(pushed.insert(ready), "{} was pushed twice", ready);
                    let (after, always) = &nodes[ready as usize];
                    let before: Vec<NodeState> = after.iter().map(|node| machine.state_of(*node).unwrap()).collect();
                    prop_assert!(before.iter().all(|state| state.is_final()));
                    prop_assert!(*always || before.iter().all(|state| *state == NodeState::Completed));
                    running.push(ready);
                }
                ends += usize::from(step.has_ended);
            }
            prop_assert!(running.is_empty() && machine.has_ended());
            prop_assert!(ends <= 1 && machine.state() != WorkflowState::Running);
            let never_pushed = (0u32..).zip(&nodes).filter(|(number, _)| !pushed.contains(number));
            for (number, (_, always)) in never_pushed {
                let state = machine.state_of(number).unwrap();
                prop_assert!(matches!(state, NodeState::Skipped | NodeState::Cancelled));
                prop_assert!(!always || machine.state() == WorkflowState::Cancelled);
            }
        }
    }
}
