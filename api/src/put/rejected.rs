//! Points that were rejected, as the answer shows them.

use serde::ser::{Serialize, SerializeMap, Serializer};

/// Rejected points that are described one by one; beyond that they are only counted, so that a body of nothing but
/// mistakes does not become an answer many times its size.
pub(crate) const DESCRIBED_MAX: usize = 10_000;

/// A point as it was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Datapoint {
    pub(crate) metric: Option<String>,
    pub(crate) timestamp: i64,
    pub(crate) value: Option<String>,
    pub(crate) tags: Option<Vec<(String, String)>>,
}

impl Serialize for Datapoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(4))?;
        map.serialize_entry("metric", &self.metric)?;
        map.serialize_entry("timestamp", &self.timestamp)?;
        map.serialize_entry("value", &self.value)?;
        map.serialize_entry("tags", &self.tags.as_ref().map(|tags| TagMap(tags)))?;
        map.end()
    }
}

struct TagMap<'a>(&'a [(String, String)]);

impl Serialize for TagMap<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

/// A rejected point.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Rejection {
    /// The point; `None` for an element that was null.
    pub(crate) datapoint: Option<Datapoint>,
    /// What is wrong, in OpenTSDB's words.
    pub(crate) error: String,
}

/// The rejected points of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rejections {
    count: usize,
    described: Vec<Rejection>,
}

impl Rejections {
    /// Adds a point; it is described only as long as there is room.
    pub(crate) fn add(&mut self, describe: impl FnOnce() -> Rejection) {
        self.count += 1;
        if self.described.len() < DESCRIBED_MAX {
            self.described.push(describe());
        }
    }

    /// How many points were rejected.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The first of them.
    pub(crate) fn described(&self) -> &[Rejection] {
        &self.described
    }
}
