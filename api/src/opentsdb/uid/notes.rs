//! Where notes are kept: documents, changed by compare-and-set alone.

use tidemark_model::{DocumentError, ExpectedVersion};

use super::note::{Note, NoteChange};
use crate::{error::ApiError, state::AppState};

/// How often a change is tried again because others were faster.
const ATTEMPTS_MAX: usize = 16;

/// Notes about names, by `KIND-id`, or about series, by TSUID.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Collection {
    Names,
    Series,
}

/// Whether a note is merged into the one that is there or takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Write {
    Merge,
    Replace,
}

impl Collection {
    fn name(self) -> &'static str {
        match self {
            Self::Names => "opentsdb_uidmeta",
            Self::Series => "opentsdb_tsmeta",
        }
    }

    /// The note of this id; one that says nothing when there is none.
    pub(super) async fn read(self, state: &AppState, id: &str) -> Result<Note, ApiError> {
        let document = state.seams.documents.get(self.name(), id).await?;
        document.map_or_else(|| Ok(Note::default()), |document| decode(self, id, &document.bytes))
    }

    /// Changes a note; none when nothing changes by it.
    pub(super) async fn write(
        self,
        state: &AppState,
        id: &str,
        change: &NoteChange,
        write: Write,
    ) -> Result<Option<Note>, ApiError> {
        for _ in 0..ATTEMPTS_MAX {
            let document = state.seams.documents.get(self.name(), id).await?;
            let (before, expected) = match &document {
                Some(document) => (decode(self, id, &document.bytes)?, ExpectedVersion::Exactly(document.version)),
                None => (Note::default(), ExpectedVersion::Absent),
            };
            let after = match write {
                Write::Merge => change.apply(&before)?,
                // When something was created is no opinion, so it stays unless it is said.
                Write::Replace => change.apply(&Note { created: before.created, ..Note::default() })?,
            };
            if after == before {
                return Ok(None);
            }
            let bytes = serde_json::to_vec(&after).map_err(|error| unreadable(self, id, &error))?;
            match state.seams.documents.put(self.name(), id, expected, bytes).await {
                Ok(_) => return Ok(Some(after)),
                Err(DocumentError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(ApiError::unavailable(format!("others change `{id}` all the time")))
    }

    pub(super) async fn forget(self, state: &AppState, id: &str) -> Result<(), ApiError> {
        Ok(state.seams.documents.delete(self.name(), id).await?)
    }
}

fn decode(collection: Collection, id: &str, bytes: &[u8]) -> Result<Note, ApiError> {
    serde_json::from_slice(bytes).map_err(|error| unreadable(collection, id, &error))
}

fn unreadable(collection: Collection, id: &str, error: &serde_json::Error) -> ApiError {
    let status = actix_web::http::StatusCode::INTERNAL_SERVER_ERROR;
    ApiError::new(status, format!("the note {}/{id} cannot be read: {error}", collection.name()))
}
