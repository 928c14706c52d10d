//! Notices that Redis has lost data: that it was emptied, or goes on from an earlier state.
//!
//! Each queue has a generation: an id that is made when there is none, and a beat that every process makes one larger with
//! every check. An id that is another one means that the queue's keys were gone; a beat that is not larger than the last
//! one we saw means that Redis went back to an older state, such as an old snapshot, a replica that had not heard of
//! everything, or an append-only file whose last second was not written. The id alone would not show the second.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use super::{Shared, read};
use crate::{BrokerError, QueueName};

/// How long health tells of a loss.
const TOLD_FOR: Duration = Duration::from_secs(3_600);
/// Most queues that are watched.
const QUEUES_MAX: usize = 1_024;
/// Most losses that are told.
const LOSSES_MAX: usize = 16;

/// What was seen of the queues.
#[derive(Default)]
pub(super) struct DataWatch {
    queues: BTreeMap<QueueName, Option<Generation>>,
    losses: VecDeque<Loss>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Generation {
    id: String,
    beat: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Loss {
    at: Duration,
    queue: QueueName,
    kind: LossKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LossKind {
    Emptied,
    WentBack,
}

impl DataWatch {
    /// Adds queues to those that are watched.
    pub(super) fn watch<'a>(&mut self, queues: impl IntoIterator<Item = &'a QueueName>) {
        for queue in queues {
            if self.queues.len() < QUEUES_MAX && !self.queues.contains_key(queue) {
                self.queues.insert(queue.clone(), None);
            }
        }
    }

    /// Takes down what was found. Answers of two checks that ran at the same time may come in any order, so that only
    /// `seen_before`, what was known when the question was asked, tells about a loss.
    fn found(
        &mut self,
        queue: &QueueName,
        seen_before: Option<&Generation>,
        found: Generation,
        now: Duration,
    ) -> Option<LossKind> {
        let kind = match seen_before {
            Some(seen) if seen.id != found.id => Some(LossKind::Emptied),
            Some(seen) if seen.beat >= found.beat => Some(LossKind::WentBack),
            _ => None,
        };
        let known = self.queues.entry(queue.clone()).or_default();
        let is_newer = known.as_ref().is_none_or(|known| known.id != found.id || known.beat < found.beat);
        // A second check that comes to the same finding does not tell it again.
        let is_told = kind.is_some() && known.as_ref() != seen_before;
        if is_newer || kind.is_some() {
            *known = Some(found);
        }
        let kind = kind.filter(|_| !is_told)?;
        if self.losses.len() >= LOSSES_MAX {
            self.losses.pop_front();
        }
        self.losses.push_back(Loss { at: now, queue: queue.clone(), kind });
        Some(kind)
    }

    /// What health says of the last hour.
    pub(super) fn warnings(&mut self, now: Duration) -> Vec<String> {
        self.losses.retain(|loss| now.saturating_sub(loss.at) < TOLD_FOR);
        let told = |kind: LossKind, what: &str| {
            let of_kind: Vec<&Loss> = self.losses.iter().filter(|loss| loss.kind == kind).collect();
            let last = of_kind.last()?;
            let mut names: Vec<&str> = of_kind.iter().map(|loss| loss.queue.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            let minutes = now.saturating_sub(last.at).as_secs() / 60;
            Some(format!("redis {what} {minutes} min ago: jobs of {} may be lost", names.join(", ")))
        };
        let emptied = told(LossKind::Emptied, "was emptied");
        let went_back = told(LossKind::WentBack, "went back to an earlier state");
        emptied.into_iter().chain(went_back).collect()
    }
}

impl Shared {
    /// Looks at the generation of every queue that this process knows, at once.
    pub(super) async fn look_for_losses(&self) -> Result<(), BrokerError> {
        let watched = self.watch.lock().queues.clone();
        let looks = watched.iter().map(|(queue, seen_before)| self.look_for_loss(queue, seen_before.as_ref()));
        futures_util::future::try_join_all(looks).await.map(drop)
    }

    async fn look_for_loss(&self, queue: &QueueName, seen_before: Option<&Generation>) -> Result<(), BrokerError> {
        let key = self.keys.queue(queue).generation();
        let mut pipeline = redis::pipe();
        pipeline.atomic();
        pipeline.cmd("HSETNX").arg(&key).arg("id").arg(self.ids.next_id().to_string()).ignore();
        pipeline.cmd("HINCRBY").arg(&key).arg("beat").arg(1);
        pipeline.cmd("HGET").arg(&key).arg("id");
        let (beat, id): (u64, String) = read(self.servers.run(&&pipeline).await?)?;
        let kind = self.watch.lock().found(queue, seen_before, Generation { id, beat }, self.clock.monotonic());
        let queue = queue.as_str();
        match kind {
            Some(LossKind::Emptied) => tracing::error!(queue, "redis was emptied: jobs may be lost"),
            Some(LossKind::WentBack) => {
                tracing::error!(queue, "redis went back to an earlier state: jobs may be lost, or come again");
            }
            None => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generation(id: &str, beat: u64) -> Generation {
        Generation { id: id.to_owned(), beat }
    }

    #[test]
    fn an_empty_server_and_an_older_state_are_told_apart_and_forgotten_after_an_hour() {
        let mut watch = DataWatch::default();
        let queue: QueueName = "write".parse().unwrap();
        let at = Duration::from_secs;
        let mut seen: Option<Generation> = None;
        let mut look = |watch: &mut DataWatch, found: Generation, now| {
            let kind = watch.found(&queue, seen.as_ref(), found, now);
            seen.clone_from(&watch.queues[&queue]);
            kind
        };
        assert_eq!(look(&mut watch, generation("a", 1), at(0)), None);
        assert_eq!(look(&mut watch, generation("a", 9), at(10)), None);
        assert_eq!(watch.warnings(at(10)), Vec::<String>::new());
        assert_eq!(look(&mut watch, generation("a", 4), at(20)), Some(LossKind::WentBack));
        assert_eq!(look(&mut watch, generation("a", 5), at(30)), None);
        assert_eq!(look(&mut watch, generation("b", 1), at(40)), Some(LossKind::Emptied));
        assert_eq!(
            watch.warnings(at(100)),
            [
                "redis was emptied 1 min ago: jobs of write may be lost",
                "redis went back to an earlier state 1 min ago: jobs of write may be lost"
            ]
        );
        assert_eq!(watch.warnings(at(3_700)), Vec::<String>::new());
    }

    #[test]
    fn two_checks_at_once_tell_nothing_that_is_not_so_and_nothing_twice() {
        let mut watch = DataWatch::default();
        let queue: QueueName = "write".parse().unwrap();
        let seen = generation("a", 1);
        watch.found(&queue, None, seen.clone(), Duration::ZERO);
        // The answers come in the other order.
        assert_eq!(watch.found(&queue, Some(&seen), generation("a", 3), Duration::ZERO), None);
        assert_eq!(watch.found(&queue, Some(&seen), generation("a", 2), Duration::ZERO), None);
        assert_eq!(watch.queues[&queue], Some(generation("a", 3)));
        let seen = generation("a", 3);
        assert_eq!(watch.found(&queue, Some(&seen), generation("b", 1), Duration::ZERO), Some(LossKind::Emptied));
        assert_eq!(watch.found(&queue, Some(&seen), generation("b", 2), Duration::ZERO), None);
    }
}
