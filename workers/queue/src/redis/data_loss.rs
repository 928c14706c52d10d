//! Notices that Redis has lost data: that it was emptied, or goes on from an earlier state.
//!
//! Each queue has a generation: an id that is made when there is none, and a beat that every process makes one larger with
//! every check. An id that is another one means that the queue's keys were gone; a beat that is not larger than the last
//! one we saw means that Redis went back to an older state, such as an old snapshot, a replica that had not heard of
//! everything, or an append-only file whose last second was not written. The id alone would not show the second. Whoever
//! notices that begins another generation, which names the one before it, so that everybody speaks of the same loss.
//!
//! A process that has just started has seen nothing. With a journal it begins with what processes before it saw last, so that
//! a loss is noticed although nobody ran when it happened.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use super::{Shared, read};
use crate::{
    BrokerError, LossKind, QueueLoss, QueueName,
    job_journal::{Seen, SeenGeneration},
};

/// How long health tells of a loss.
const TOLD_FOR: Duration = Duration::from_secs(3_600);
/// Most queues that are watched.
const QUEUES_MAX: usize = 1_024;
/// How long to wait for what processes before this one saw. Longer, and the queues are looked at the next time.
const SEEN_WAIT: Duration = Duration::from_millis(500);
/// Most losses that are told.
const LOSSES_MAX: usize = 16;

/// What was seen of the queues.
#[derive(Default)]
pub(super) struct DataWatch {
    queues: BTreeMap<QueueName, Option<Generation>>,
    losses: VecDeque<Loss>,
    /// Losses that nobody has looked into, for a process that keeps a journal.
    noticed: Vec<Noticed>,
    /// Whether this process knows what was seen before it started.
    begins_with_seen: bool,
}

/// A loss to look into.
#[derive(Clone, Debug)]
pub(super) struct Noticed {
    pub(super) loss: QueueLoss,
    /// Whether it is this process that looks into it.
    pub(super) is_claimed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Generation {
    id: String,
    beat: u64,
    /// The generation before it, when Redis went back.
    back: String,
    /// Jobs in the queue.
    jobs: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Loss {
    at: Duration,
    queue: QueueName,
    kind: LossKind,
    generation: String,
    /// Lost and resurrected jobs, once they are known.
    found: Option<(u64, u64)>,
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

    /// Begins with what processes before this one saw.
    fn begin_with(&mut self, seen: Seen) {
        self.begins_with_seen = true;
        for (queue, SeenGeneration { id, beat, jobs }) in seen {
            if self.queues.len() < QUEUES_MAX || self.queues.contains_key(&queue) {
                let generation = Generation { id, beat, back: String::new(), jobs };
                self.queues.entry(queue).or_default().get_or_insert(generation);
            }
        }
    }

    /// What was seen last, unless there are losses that nobody has looked into: whoever comes after this process must
    /// notice them, too.
    pub(super) fn seen(&self) -> Option<Seen> {
        let seen = |(queue, generation): (&QueueName, &Option<Generation>)| {
            let Generation { id, beat, jobs, .. } = generation.clone()?;
            Some((queue.clone(), SeenGeneration { id, beat, jobs }))
        };
        self.noticed.is_empty().then(|| self.queues.iter().filter_map(seen).collect())
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
            Some(seen) if seen.id == found.id => None,
            Some(seen) if seen.id == found.back => Some(LossKind::WentBack),
            Some(_) => Some(LossKind::Emptied),
            None => None,
        };
        let generation = found.id.clone();
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
        self.losses.push_back(Loss { at: now, queue: queue.clone(), kind, generation, found: None });
        Some(kind)
    }

    /// Takes the losses that nobody has looked into.
    pub(super) fn take_noticed(&mut self) -> Vec<Noticed> {
        std::mem::take(&mut self.noticed)
    }

    /// Leaves losses for later.
    pub(super) fn put_back(&mut self, losses: Vec<Noticed>) {
        self.noticed.extend(losses);
        self.noticed.truncate(QUEUES_MAX);
    }

    /// Whether there are losses that are told of without their numbers.
    pub(super) fn has_open_losses(&self) -> bool {
        self.losses.iter().any(|loss| loss.found.is_none())
    }

    /// Takes down what a loss came to.
    pub(super) fn settle(&mut self, loss: &QueueLoss) {
        let Some(found) = loss.found.as_ref() else { return };
        let same = |known: &&mut Loss| known.queue == loss.queue && known.generation == loss.generation;
        let known = self.losses.iter_mut().find(same);
        known.into_iter().for_each(|known| known.found = Some((found.lost_jobs, found.resurrected_jobs)));
    }

    /// What health says of the last hour.
    pub(super) fn warnings(&mut self, now: Duration) -> Vec<String> {
        self.losses.retain(|loss| now.saturating_sub(loss.at) < TOLD_FOR);
        let told = |kind: LossKind| {
            let of_kind: Vec<&Loss> = self.losses.iter().filter(|loss| loss.kind == kind).collect();
            let last = of_kind.last()?;
            let mut names: Vec<&str> = of_kind.iter().map(|loss| loss.queue.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            let minutes = now.saturating_sub(last.at).as_secs() / 60;
            let what = kind.told();
            let found = of_kind.iter().filter_map(|loss| loss.found);
            let outcome = found.reduce(|sum, one| (sum.0.saturating_add(one.0), sum.1.saturating_add(one.1)));
            let jobs = names.join(", ");
            Some(match outcome {
                None => format!("redis {what} {minutes} min ago: jobs of {jobs} may be lost"),
                Some((lost, resurrected)) => format!(
                    "redis {what} {minutes} min ago: of {jobs} {lost} jobs are lost and {resurrected} came again; \
                     `tidemark queues losses` lists them"
                ),
            })
        };
        [LossKind::Emptied, LossKind::WentBack].into_iter().filter_map(told).collect()
    }
}

impl Shared {
    /// Looks at the generation of every queue that this process knows, at once.
    pub(super) async fn look_for_losses(&self) -> Result<(), BrokerError> {
        if !self.begin_with_seen().await {
            return Ok(());
        }
        let watched = self.watch.lock().queues.clone();
        let looks = watched.iter().map(|(queue, seen_before)| self.look_for_loss(queue, seen_before.as_ref()));
        futures_util::future::try_join_all(looks).await.map(drop)
    }

    /// Whether the queues can be looked at: a first look without what was seen before would begin new generations in
    /// silence.
    async fn begin_with_seen(&self) -> bool {
        let Some(journal) = self.journal.as_ref().filter(|_| !self.watch.lock().begins_with_seen) else { return true };
        let broker = self.shown_with_prefix();
        match tokio::time::timeout(SEEN_WAIT, journal.seen(&broker)).await {
            Ok(Ok(seen)) => {
                self.watch.lock().begin_with(seen);
                true
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "read what was seen of the queues before; trying again");
                false
            }
            Err(_) => false,
        }
    }

    /// Which broker this is, for what is remembered of it.
    pub(super) fn shown_with_prefix(&self) -> String {
        format!("{} {}", self.address, self.redis.prefix)
    }

    async fn look_for_loss(&self, queue: &QueueName, seen_before: Option<&Generation>) -> Result<(), BrokerError> {
        let keys = self.keys.queue(queue);
        let mut call = self.scripts.look.prepare_invoke();
        call.key(keys.generation()).key(&keys.counters).key(&keys.delayed);
        let (id, beat) = seen_before.map_or(("", 0), |seen| (seen.id.as_str(), seen.beat));
        call.arg(id).arg(beat).arg(self.ids.next_id().to_string());
        let answer = read(self.servers.run(&&call).await?)?;
        let (id, beat, back, jobs, now_ms): (String, u64, String, u64, i64) = answer;
        self.server_time.note(now_ms, self.clock.as_ref());
        let found = Generation { id, beat, back, jobs };
        let generation = found.id.clone();
        let mut watch = self.watch.lock();
        let Some(kind) = watch.found(queue, seen_before, found, self.clock.monotonic()) else { return Ok(()) };
        let (noticed_ms, jobs_before) = (self.clock.now_ms(), seen_before.map_or(0, |seen| seen.jobs));
        let loss = QueueLoss {
            queue: queue.clone(),
            kind,
            generation,
            noticed_ms,
            jobs_before,
            jobs_after: jobs,
            found: None,
        };
        if self.journal.is_some() {
            // Whoever looks into it tells of it, once for all processes.
            tracing::info!(queue = queue.as_str(), "redis {}: looking for the jobs that are lost", kind.told());
            watch.put_back(vec![Noticed { loss, is_claimed: false }]);
        } else {
            tracing::error!(queue = queue.as_str(), "redis {}: jobs may be lost, or come again", kind.told());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generation(id: &str, beat: u64) -> Generation {
        Generation { id: id.to_owned(), beat, back: String::new(), jobs: 0 }
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
        let back = Generation { back: "a".to_owned(), ..generation("b", 4) };
        assert_eq!(look(&mut watch, back.clone(), at(20)), Some(LossKind::WentBack));
        assert_eq!(look(&mut watch, Generation { beat: 5, ..back }, at(30)), None);
        assert_eq!(look(&mut watch, generation("c", 1), at(40)), Some(LossKind::Emptied));
        assert_eq!(
            watch.warnings(at(100)),
            [
                "redis was emptied 1 min ago: jobs of write may be lost",
                "redis went back to an earlier state 1 min ago: jobs of write may be lost"
            ]
        );
        let found = crate::LossFound { lost_jobs: 3, resurrected_jobs: 2, ..crate::LossFound::default() };
        watch.settle(&QueueLoss {
            queue: queue.clone(),
            kind: LossKind::Emptied,
            generation: "c".to_owned(),
            noticed_ms: 0,
            jobs_before: 3,
            jobs_after: 0,
            found: Some(found),
        });
        let told = &watch.warnings(at(100))[0];
        assert!(told.contains("of write 3 jobs are lost and 2 came again; `tidemark queues losses`"), "{told}");
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
