//! Slots that all queues of a pool share, handed out by weight.
//!
//! While jobs of several queues wait for a slot, each that comes free goes to the queue whose turn it is by smooth weighted
//! round robin (as nginx spreads requests over servers): of the starts, a queue gets the part that its weight is of the
//! weights of all queues that wait, evenly spread and not in bursts, and so none waits for ever. What a queue does not want
//! goes to the others. An attempt that waits here holds a slot of its own queue.
//!
//! The alternative that was turned down gives each queue a fixed part of the slots: those of an idle queue would stay empty.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// The slots of a pool.
#[derive(Debug)]
pub(crate) struct Shares(Mutex<State>);

#[derive(Debug)]
struct State {
    free: usize,
    lanes: Vec<LaneShare>,
}

/// What one queue wants and is due.
#[derive(Debug)]
struct LaneShare {
    weight: i64,
    /// How far it is behind the others; 0 for a queue that wants nothing.
    credit: i64,
    waiting: VecDeque<oneshot::Sender<Share>>,
}

/// The right to run one attempt of any queue; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Share(Arc<Shares>);

/// Where the attempts of one queue get their right.
#[derive(Clone, Debug)]
pub(crate) struct ShareOfLane {
    pub(super) shares: Arc<Shares>,
    /// Number of the queue in its pool.
    pub(super) lane: usize,
}

impl ShareOfLane {
    /// Resolves when it is this attempt's turn.
    pub(crate) fn acquire(&self) -> oneshot::Receiver<Share> {
        self.shares.acquire(self.lane)
    }
}

impl Shares {
    /// So many slots for queues of these weights, each at least 1.
    pub(super) fn new(slots: usize, weights: impl Iterator<Item = u32>) -> Arc<Self> {
        let lane = |weight: u32| LaneShare { weight: i64::from(weight.max(1)), credit: 0, waiting: VecDeque::new() };
        Arc::new(Self(Mutex::new(State { free: slots.max(1), lanes: weights.map(lane).collect() })))
    }

    fn acquire(self: &Arc<Self>, lane: usize) -> oneshot::Receiver<Share> {
        let (sender, receiver) = oneshot::channel();
        if let Some(lane) = self.0.lock().lanes.get_mut(lane) {
            lane.waiting.push_back(sender);
        }
        self.hand_out();
        receiver
    }

    /// Hands out what is free, as long as anybody waits.
    fn hand_out(self: &Arc<Self>) {
        // IMPORTANT: not under the lock: a share that nobody takes any more comes back at once.
        while let Some(next) = self.next() {
            drop(next.send(Share(Arc::clone(self))));
        }
    }

    fn next(&self) -> Option<oneshot::Sender<Share>> {
        self.0.lock().next()
    }
}

impl State {
    /// Whose turn it is; takes a slot for them.
    fn next(&mut self) -> Option<oneshot::Sender<Share>> {
        if self.free == 0 {
            return None;
        }
        let mut weights = 0;
        for lane in &mut self.lanes {
            lane.waiting.retain(|waiting| !waiting.is_closed());
            match lane.waiting.is_empty() {
                true => lane.credit = 0,
                false => {
                    weights += lane.weight;
                    lane.credit += lane.weight;
                }
            }
        }
        // Of equals the first.
        let waits = self.lanes.iter_mut().rev().filter(|lane| !lane.waiting.is_empty());
        let chosen = waits.max_by_key(|lane| lane.credit)?;
        chosen.credit -= weights;
        self.free -= 1;
        chosen.waiting.pop_front()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.0.0.lock().free += 1;
        self.0.hand_out();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Lets so many attempts of each queue wait for one slot, and gives it to so many of them; whose each was.
    fn turns(weights: &[u32], waiting: &[usize], turns: usize) -> Vec<usize> {
        let shares = Shares::new(1, weights.iter().copied());
        let first = shares.acquire(0).try_recv().unwrap();
        let mut receivers: Vec<(usize, oneshot::Receiver<Share>)> = Vec::new();
        for (lane, count) in waiting.iter().enumerate() {
            receivers.extend((0..*count).map(|_| (lane, shares.acquire(lane))));
        }
        let (mut held, mut order) = (Some(first), Vec::new());
        for _ in 0..turns {
            drop(held.take());
            let found = receivers
                .iter_mut()
                .enumerate()
                .find_map(|(place, (lane, receiver))| receiver.try_recv().ok().map(|share| (place, *lane, share)));
            let Some((place, lane, share)) = found else { break };
            receivers.remove(place);
            order.push(lane);
            held = Some(share);
        }
        order
    }

    #[test]
    fn a_slot_goes_around_by_weight_and_evenly() {
        assert_eq!(turns(&[4, 2, 1], &[20, 20, 20], 7), [0, 1, 0, 2, 0, 1, 0]);
        assert_eq!(turns(&[1, 1], &[20, 20], 4), [0, 1, 0, 1]);
        // What the others do not want goes to whoever waits.
        assert_eq!(turns(&[4, 1], &[0, 3], 5), [1, 1, 1]);
        assert_eq!(turns(&[1000, 1], &[2_000, 2], 1_100).iter().filter(|lane| **lane == 1).count(), 1);
    }

    #[test]
    fn attempts_that_do_not_wait_any_more_are_passed_over() {
        let shares = Shares::new(1, [1, 1].into_iter());
        let held = shares.acquire(0).try_recv().unwrap();
        drop(shares.acquire(0));
        let mut second = shares.acquire(1);
        assert!(second.try_recv().is_err());
        drop(held);
        drop(second.try_recv().unwrap());
        assert_eq!(shares.0.lock().free, 1);
        // One that got it and goes without looking gives it back.
        let unread = shares.acquire(0);
        assert_eq!(shares.0.lock().free, 0);
        drop(unread);
        assert_eq!(shares.0.lock().free, 1);
    }

    proptest! {
        #[test]
        fn no_queue_waits_longer_than_its_weight_says(weights in proptest::collection::vec(1_u32..12, 2..5)) {
            let total: usize = weights.iter().map(|weight| *weight as usize).sum();
            let order = turns(&weights, &vec![2 * total; weights.len()], 2 * total);
            for (lane, weight) in weights.iter().enumerate() {
                let at: Vec<usize> = (0..order.len()).filter(|turn| order[*turn] == lane).collect();
                prop_assert_eq!(at.len(), 2 * *weight as usize);
                // Between two turns of a queue there is at most one round more than its share.
                let longest = at.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
                prop_assert!(longest <= 2 * total.div_ceil(*weight as usize), "{} of {:?}: {}", lane, weights, longest);
            }
        }
    }
}
