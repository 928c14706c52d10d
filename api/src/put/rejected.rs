//! Points that were rejected, as the answer shows them.

use serde::{Serialize, Serializer};

/// Rejected points that are described one by one; beyond that they are only counted, so that a body of nothing but
/// mistakes does not become an answer many times its size.
pub(crate) const DESCRIBED_MAX: usize = 10_000;

/// A point as it was sent; what it did not have is not shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Datapoint {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) metric: Option<String>,
    pub(crate) timestamp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "tag_map")]
    pub(crate) tags: Option<Vec<(String, Option<String>)>>,
}

/// Tags as an object; a value that was null stays one.
fn tag_map<S: Serializer>(tags: &Option<Vec<(String, Option<String>)>>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(tags.iter().flatten().map(|(key, value)| (key, value)))
}

/// A rejected point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
