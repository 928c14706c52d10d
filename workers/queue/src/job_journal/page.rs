//! The bytes of a page of the journal: `docs/job-journal.md` has the byte map.

use crate::{JobId, QueueName};

/// Version of the layout.
const VERSION: u8 = 1;
const ID_BYTES: usize = 16;

/// Something that a broker acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) kind: EventKind,
    pub(crate) queue: QueueName,
    pub(crate) job: JobId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventKind {
    /// Its producer was told that it is queued.
    Pushed,
    /// The broker filed its end.
    Ended,
    /// Its end was sent to the broker, whose answer was lost.
    PerhapsEnded,
    /// It had ended and was queued again by hand.
    Reopened,
}

impl EventKind {
    const ALL: [Self; 4] = [Self::Pushed, Self::Ended, Self::PerhapsEnded, Self::Reopened];

    const fn number(self) -> u8 {
        match self {
            Self::Pushed => 1,
            Self::Ended => 2,
            Self::PerhapsEnded => 3,
            Self::Reopened => 4,
        }
    }
}

pub(crate) fn encode(events: &[Event]) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    for event in events {
        let name = event.queue.as_str().as_bytes();
        bytes.push(event.kind.number());
        // At most `QueueName::BYTES_MAX`.
        bytes.push(u8::try_from(name.len()).unwrap_or(0));
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(event.job.as_bytes());
    }
    bytes
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<Event>, String> {
    let (version, mut rest) = bytes.split_first().ok_or("it is empty")?;
    if *version != VERSION {
        return Err(format!("it has layout {version}, this release reads {VERSION}"));
    }
    let mut events = Vec::new();
    while !rest.is_empty() {
        let (event, after) = decode_one(rest).ok_or_else(|| format!("event {} is damaged", events.len()))?;
        events.push(event);
        rest = after;
    }
    Ok(events)
}

fn decode_one(bytes: &[u8]) -> Option<(Event, &[u8])> {
    let (number, rest) = bytes.split_first()?;
    let kind = EventKind::ALL.into_iter().find(|kind| kind.number() == *number)?;
    let (length, rest) = rest.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    let (id, rest) = rest.split_at_checked(ID_BYTES)?;
    let queue = std::str::from_utf8(name).ok()?.parse().ok()?;
    Some((Event { kind, queue, job: JobId::from_slice(id)? }, rest))
}

/// Reads a page and writes it again.
pub(crate) fn rewrite(bytes: &[u8]) -> Result<Vec<u8>, String> {
    decode(bytes).map(|events| encode(&events))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event() -> impl Strategy<Value = Event> {
        (0..4_usize, "[a-z0-9._-]{1,64}", any::<[u8; 16]>()).prop_map(|(kind, queue, id)| Event {
            kind: EventKind::ALL[kind],
            queue: queue.parse().unwrap(),
            job: JobId::from_bytes(id),
        })
    }

    proptest! {
        #[test]
        fn events_come_back_as_they_were(events in proptest::collection::vec(event(), 0..20)) {
            prop_assert_eq!(decode(&encode(&events)), Ok(events));
        }

        #[test]
        fn a_page_that_was_cut_is_refused(events in proptest::collection::vec(event(), 1..4), cut in 1..17_usize) {
            let bytes = encode(&events);
            prop_assert!(decode(&bytes[..bytes.len() - cut]).is_err());
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_page_about_the_format() {
        let events =
            [Event { kind: EventKind::Ended, queue: "notify".parse().unwrap(), job: JobId::from_bytes([7; 16]) }];
        assert_eq!(encode(&events), [&[1, 2, 6][..], b"notify", &[7; 16]].concat());
        assert!(decode(&[2]).unwrap_err().contains("layout 2"));
    }
}
