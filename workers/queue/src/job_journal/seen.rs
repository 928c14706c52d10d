//! What was seen last of the queues of a broker, for the next process that has seen nothing yet: a broker that loses data
//! while no process runs would not be noticed otherwise. `docs/job-journal.md` has the format.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidemark_model::{DocumentError, ExpectedVersion};

use super::JobJournal;
use crate::QueueName;

/// Version of the stored layout.
const VERSION: u8 = 1;
/// Collection of what was seen: one document for each broker.
const SEEN: &str = "queue_generations";
/// Most queues of a document, which has a size.
const QUEUES_MAX: usize = 500;
/// Most bytes of an id of a document.
const ID_BYTES_MAX: usize = 1_000;

/// Generation of the data of a queue when it was looked at, see `redis-layout.md`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SeenGeneration {
    /// Ids that were made later sort behind.
    pub(crate) id: String,
    pub(crate) beat: u64,
    /// Jobs in the queue.
    pub(crate) jobs: u64,
}

/// What was seen of each queue.
pub(crate) type Seen = BTreeMap<QueueName, SeenGeneration>;

fn encode(seen: &Seen) -> Vec<u8> {
    let wire: BTreeMap<&str, &SeenGeneration> =
        seen.iter().take(QUEUES_MAX).map(|(queue, seen)| (queue.as_str(), seen)).collect();
    let mut bytes = vec![VERSION];
    // A vector takes every byte, and the structure has nothing that MessagePack cannot express.
    bytes.extend(rmp_serde::to_vec(&wire).unwrap_or_default());
    bytes
}

fn decode(bytes: &[u8]) -> Result<Seen, String> {
    let (version, rest) = bytes.split_first().ok_or("it is empty")?;
    if *version != VERSION {
        return Err(format!("it has layout {version}, this release reads {VERSION}"));
    }
    let wire: BTreeMap<String, SeenGeneration> = rmp_serde::from_slice(rest).map_err(|error| error.to_string())?;
    wire.into_iter()
        .map(|(queue, seen)| Ok((queue.parse().map_err(|error| format!("queue `{queue}`: {error}"))?, seen)))
        .collect()
}

/// Reads it and writes it again.
pub(crate) fn rewrite(bytes: &[u8]) -> Result<Vec<u8>, String> {
    decode(bytes).map(|seen| encode(&seen))
}

/// Of what two processes saw, the later. Beats grow within a generation.
fn merge(into: &mut Seen, seen: &Seen) {
    for (queue, seen) in seen {
        let known = into.entry(queue.clone()).or_insert_with(|| seen.clone());
        if (&known.id, known.beat) < (&seen.id, seen.beat) {
            known.clone_from(seen);
        }
    }
}

impl JobJournal {
    /// What was seen last of the queues of a broker, by any process; nothing when nobody did.
    pub(crate) async fn seen(&self, broker: &str) -> Result<Seen, DocumentError> {
        Ok(self.read_seen(&id_of(broker)).await?.0)
    }

    /// Writes down what this process saw last; `false` when another process was faster, and nothing was written.
    pub(crate) async fn note_seen(&self, broker: &str, seen: &Seen) -> Result<bool, DocumentError> {
        let id = id_of(broker);
        let (mut all, version) = self.read_seen(&id).await?;
        merge(&mut all, seen);
        let expected = version.map_or(ExpectedVersion::Absent, ExpectedVersion::Exactly);
        match self.documents.put(SEEN, &id, expected, encode(&all)).await {
            Ok(_) => Ok(true),
            Err(DocumentError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn read_seen(&self, id: &str) -> Result<(Seen, Option<u64>), DocumentError> {
        let Some(document) = self.documents.get(SEEN, id).await? else { return Ok((Seen::new(), None)) };
        let seen = decode(&document.bytes).unwrap_or_else(|reason| {
            tracing::error!(broker = id, reason, "what was seen of the queues of a broker cannot be read");
            Seen::new()
        });
        Ok((seen, Some(document.version)))
    }
}

fn id_of(broker: &str) -> String {
    let mut end = broker.len().min(ID_BYTES_MAX);
    while !broker.is_char_boundary(end) {
        end -= 1;
    }
    broker.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidemark_model::ManualClock;

    use super::*;
    use crate::test_documents::Documents;

    fn seen(queue: &str, id: &str, beat: u64) -> Seen {
        Seen::from([(queue.parse().unwrap(), SeenGeneration { id: id.to_owned(), beat, jobs: 3 })])
    }

    #[tokio::test]
    async fn of_what_processes_saw_the_latest_is_kept_for_each_broker() {
        let documents = Arc::new(Documents::default());
        let journal = || JobJournal::new(documents.clone(), Arc::new(ManualClock::new(1_000)));
        let (one, other) = (journal(), journal());
        let all = async || one.seen("redis://h:1 p").await.unwrap();
        assert_eq!(all().await, Seen::new());
        one.note_seen("redis://h:1 p", &seen("a", "x", 7)).await.unwrap();
        other.note_seen("redis://h:1 p", &seen("a", "x", 5)).await.unwrap();
        other.note_seen("redis://h:1 p", &seen("b", "y", 1)).await.unwrap();
        assert_eq!(all().await, [seen("a", "x", 7), seen("b", "y", 1)].into_iter().flatten().collect());
        // A later generation begins to count from one.
        other.note_seen("redis://h:1 p", &seen("a", "z", 1)).await.unwrap();
        one.note_seen("redis://h:1 p", &seen("a", "x", 9)).await.unwrap();
        assert_eq!(all().await["a".parse::<QueueName>().as_ref().unwrap()].id, "z");
        assert_eq!(one.seen("redis://h:2 p").await.unwrap(), Seen::new());
    }

    #[test]
    fn the_bytes_are_those_of_the_page_about_the_format_and_fit_into_a_document() {
        assert_eq!(encode(&seen("a", "x", 7)), b"\x01\x81\xa1a\x93\xa1x\x07\x03");
        assert_eq!(decode(&encode(&seen("a", "x", 7))), Ok(seen("a", "x", 7)));
        assert!(decode(&[2]).unwrap_err().contains("layout 2") && decode(&[]).is_err());
        let name = |number: usize| format!("{number:0>64}").parse().unwrap();
        let large = SeenGeneration { id: "0".repeat(36), beat: u64::MAX, jobs: u64::MAX };
        let many: Seen = (0..2_000).map(|number| (name(number), large.clone())).collect();
        assert!(encode(&many).len() < 90_000, "{}", encode(&many).len());
        assert_eq!(id_of(&"ü".repeat(600)).len(), 1_000);
    }
}
