//! Takes away what nothing needs.

use tidemark_kv::{Commit, CommitOutcome, Kv, KvError};

use super::CheckReport;

/// Entries of one commit.
const COMMIT_ENTRIES: usize = 100;
/// Bytes of values that one commit may expect.
const COMMIT_BYTES: usize = 800_000;

/// Removes the orphans of a report, each only if it is still what it was a moment ago; how many are gone.
///
/// # Errors
/// What the engine refused; some of the orphans may be gone then. After [`KvError::Conflict`] somebody else uses the store.
pub async fn remove_orphans(kv: &dyn Kv, report: &CheckReport) -> Result<u64, KvError> {
    let snapshot = kv.snapshot().await?;
    let (mut commit, mut removed) = (Commit::new(), 0);
    for key in report.findings.iter().filter_map(|finding| finding.removable.as_ref()) {
        let Some(value) = snapshot.get(key).await? else { continue };
        if commit.operations.len() == COMMIT_ENTRIES || commit.bytes() + value.len() > COMMIT_BYTES {
            removed += remove(kv, std::mem::take(&mut commit)).await?;
        }
        commit.expect(key.clone(), Some(value)).delete(key.clone());
    }
    Ok(removed + remove(kv, commit).await?)
}

async fn remove(kv: &dyn Kv, commit: Commit) -> Result<u64, KvError> {
    let entries = commit.operations.len() as u64;
    if entries == 0 {
        return Ok(0);
    }
    match kv.commit(commit).await {
        CommitOutcome::Done(_) => Ok(entries),
        CommitOutcome::Refused(error) | CommitOutcome::Unknown(error) => Err(error),
    }
}
