//! The jobs that have not ended, by number.
//!
//! Numbers grow with each push and jobs end roughly in that order, so neighbours are kept together: a group of
//! [`SLOTS`] numbers is one small array, and only groups are looked up by hash. A job of a flood costs a look-up in a
//! table that fits the processor's cache, instead of one in a table of all jobs; a job that outlives its neighbours
//! keeps one array of pointers.

use foldhash::{HashMap, HashMapExt};

use super::{Entry, ids::Ids};
use crate::JobId;

/// Numbers of a group.
const SLOTS: usize = 32;

#[derive(Default)]
struct Group {
    live: usize,
    slots: [Option<Box<Entry>>; SLOTS],
}

/// Entries by number; see the module's text.
pub(crate) struct Entries {
    groups: HashMap<u64, Box<Group>>,
    ids: Ids,
}

/// The group of a number, and its place there.
fn place(sequence: u64) -> (u64, usize) {
    let slots = SLOTS as u64;
    (sequence / slots, usize::try_from(sequence % slots).unwrap_or(0))
}

fn at(groups: &HashMap<u64, Box<Group>>, sequence: u64) -> Option<&Entry> {
    let (group, slot) = place(sequence);
    groups.get(&group)?.slots.get(slot)?.as_deref()
}

impl Entries {
    pub(crate) fn new() -> Self {
        Self { groups: HashMap::new(), ids: Ids::new() }
    }

    pub(crate) fn get(&self, sequence: &u64) -> Option<&Entry> {
        at(&self.groups, *sequence)
    }

    pub(crate) fn get_mut(&mut self, sequence: &u64) -> Option<&mut Entry> {
        let (group, slot) = place(*sequence);
        self.groups.get_mut(&group)?.slots.get_mut(slot)?.as_deref_mut()
    }

    /// Puts an entry in, in the place of one that had its number.
    pub(crate) fn insert(&mut self, sequence: u64, entry: Box<Entry>) {
        self.ids.insert(entry.record.id, sequence);
        let (group, slot) = place(sequence);
        let group = self.groups.entry(group).or_default();
        if let Some(slot) = group.slots.get_mut(slot) {
            group.live += usize::from(slot.is_none());
            *slot = Some(entry);
        }
    }

    pub(crate) fn remove(&mut self, sequence: &u64) -> Option<Box<Entry>> {
        let (number, slot) = place(*sequence);
        let group = self.groups.get_mut(&number)?;
        let entry = group.slots.get_mut(slot)?.take()?;
        group.live -= 1;
        if group.live == 0 {
            self.groups.remove(&number);
        }
        let groups = &self.groups;
        self.ids.remove(entry.record.id, |sequence| at(groups, sequence).is_some());
        Some(entry)
    }

    /// The number of a job.
    pub(crate) fn find(&self, job: JobId) -> Option<u64> {
        self.ids.candidates(job).find(|sequence| self.get(sequence).is_some_and(|entry| entry.record.id == job))
    }

    /// All entries, in no order.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Entry> + Clone {
        self.groups.values().flat_map(|group| group.slots.iter().filter_map(Option::as_deref))
    }
}
