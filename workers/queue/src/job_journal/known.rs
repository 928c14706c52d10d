//! What the events of all processes say about jobs together, in whatever order they are read.

use std::collections::{BTreeMap, BTreeSet};

use foldhash::HashMap;

use super::{Event, EventKind};
use crate::{JobId, QueueName};

/// What is known of jobs.
#[derive(Debug, Default)]
pub(crate) struct Known {
    queues: BTreeMap<QueueName, HashMap<JobId, Record>>,
    /// Whether events are missing: the lists may be short then.
    pub(crate) is_incomplete: bool,
}

/// How often each event happened: a number, since the order is not known.
#[derive(Clone, Copy, Debug, Default)]
struct Record {
    is_pushed: bool,
    has_perhaps_ended: bool,
    ended: u32,
    reopened: u32,
}

impl Record {
    /// Every job that was opened again had ended before.
    fn is_open(self) -> bool {
        self.is_pushed && !self.has_perhaps_ended && self.ended <= self.reopened
    }

    const fn is_closed(self) -> bool {
        self.ended > self.reopened
    }
}

impl Known {
    pub(super) fn add(&mut self, events: Vec<Event>) {
        for event in events {
            let record = self.queues.entry(event.queue).or_default().entry(event.job).or_default();
            match event.kind {
                EventKind::Pushed => record.is_pushed = true,
                EventKind::Ended => record.ended += 1,
                EventKind::PerhapsEnded => record.has_perhaps_ended = true,
                EventKind::Reopened => record.reopened += 1,
            }
        }
    }

    /// Jobs that were acknowledged and have not ended.
    pub(crate) fn open(&self, queue: &QueueName) -> BTreeSet<JobId> {
        self.those(queue, Record::is_open)
    }

    /// Jobs that have ended.
    pub(crate) fn closed(&self, queue: &QueueName) -> BTreeSet<JobId> {
        self.those(queue, Record::is_closed)
    }

    fn those(&self, queue: &QueueName, are: impl Fn(Record) -> bool) -> BTreeSet<JobId> {
        let jobs = self.queues.get(queue).into_iter().flatten();
        jobs.filter(|(_, record)| are(**record)).map(|(job, _)| *job).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use EventKind::{Ended, PerhapsEnded, Pushed, Reopened};

    #[test]
    fn the_order_in_which_events_are_read_does_not_matter() {
        let queue: QueueName = "notify".parse().unwrap();
        let check = |kinds: &[EventKind], expect: (bool, bool)| {
            let job = JobId::from_bytes([1; 16]);
            let event = |kind: &EventKind| Event { kind: *kind, queue: queue.clone(), job };
            for turned in [false, true] {
                let mut events: Vec<Event> = kinds.iter().map(event).collect();
                if turned {
                    events.reverse();
                }
                let mut known = Known::default();
                known.add(events);
                assert_eq!((!known.open(&queue).is_empty(), !known.closed(&queue).is_empty()), expect, "{kinds:?}");
            }
        };
        check(&[Pushed], (true, false));
        check(&[Pushed, Ended], (false, true));
        check(&[Pushed, Ended, Reopened], (true, false));
        check(&[Pushed, Ended, Reopened, Ended], (false, true));
        // Neither lost nor resurrected: it is not known which.
        check(&[Pushed, PerhapsEnded], (false, false));
        check(&[Pushed, PerhapsEnded, Ended], (false, true));
    }
}
