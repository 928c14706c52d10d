//! What is known of tags whose key or value gets another name.

use tidemark_kv::{Commit, CommitOutcome, KeyRange, RangeLimit};
use tidemark_model::NameKind;

use super::{COMMIT_BYTES, REFERENCE_FORMAT, TAGS_BYTES_MAX};
use crate::{Store, StoreError, keys, scan::after, stored_value};

/// What becomes of the entries under the old name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OldTags {
    Keep,
    Forget,
}

type Tags = Vec<(String, String)>;

/// An entry under its old name and under the new one.
struct Moved {
    name: String,
    from: Tags,
    to: Tags,
}

impl Store {
    /// Puts what is known of things that a tag names under the new name as well, unless something is known under that. Names
    /// of metrics are in no such entry.
    ///
    /// # Errors
    /// What the engine said; some entries may be under both names then.
    pub(crate) async fn rename_tag_metadata(
        &self,
        kind: NameKind,
        old: &str,
        new: &str,
        old_tags: OldTags,
    ) -> Result<(), StoreError> {
        let mut range = match kind {
            NameKind::Metric => return Ok(()),
            NameKind::TagKey => keys::tag_references_of_key(old),
            NameKind::TagValue => keys::all_tag_references(),
        };
        loop {
            let page = self.inner.kv.snapshot().await?.range(range.clone(), RangeLimit::PAGE).await?;
            let moved = page.entries.iter().filter_map(|(key, _)| Moved::of_reference(key, kind, old, new));
            let mut commit = Commit::new();
            for moved in moved {
                self.add_moved(&mut commit, &moved, old_tags).await?;
                if commit.bytes() > COMMIT_BYTES {
                    self.commit_moved(std::mem::take(&mut commit)).await?;
                }
            }
            self.commit_moved(commit).await?;
            match page.entries.last() {
                Some((last, _)) if page.more => range = KeyRange::new(after(last), range.end),
                _ => return Ok(()),
            }
        }
    }

    async fn add_moved(&self, commit: &mut Commit, moved: &Moved, old_tags: OldTags) -> Result<(), StoreError> {
        let snapshot = self.inner.kv.snapshot().await?;
        let (from, to) = (keys::tag_metadata(&moved.from, &moved.name), keys::tag_metadata(&moved.to, &moved.name));
        let Some(value) = snapshot.get(&from).await? else { return Ok(()) };
        let bytes: usize = moved.to.iter().map(|(key, value)| key.len() + value.len() + 2).sum();
        if bytes > TAGS_BYTES_MAX {
            tracing::warn!(
                name = moved.name,
                "what is known of a thing stays under its old name: the new one is too long"
            );
            return Ok(());
        }
        if snapshot.get(&to).await?.is_none() {
            for tag in &moved.to {
                commit.put(keys::tag_reference(tag, &to), stored_value::build(REFERENCE_FORMAT, |_| {}));
            }
            commit.put(to, value);
        }
        if old_tags == OldTags::Forget {
            for tag in &moved.from {
                commit.delete(keys::tag_reference(tag, &from));
            }
            commit.delete(from);
        }
        Ok(())
    }

    async fn commit_moved(&self, commit: Commit) -> Result<(), StoreError> {
        if commit.operations.is_empty() {
            return Ok(());
        }
        match self.inner.kv.commit(commit).await {
            CommitOutcome::Done(_) => Ok(()),
            CommitOutcome::Refused(error) | CommitOutcome::Unknown(error) => Err(error.into()),
        }
    }
}

impl Moved {
    /// What a reference refers to, if it has the old name. Nothing when two of its tags would have one key.
    fn of_reference(key: &[u8], kind: NameKind, old: &str, new: &str) -> Option<Self> {
        let (from, name) = keys::described_tags(keys::referred(key)?)?;
        let mut to = from.clone();
        let texts = to.iter_mut().map(|(key, value)| if kind == NameKind::TagKey { key } else { value });
        let mut has_old = false;
        for text in texts.filter(|text| *text == old) {
            new.clone_into(text);
            has_old = true;
        }
        to.sort_unstable();
        let are_keys_unique = to.iter().zip(to.iter().skip(1)).all(|((left, _), (right, _))| left != right);
        (has_old && are_keys_unique).then_some(Self { name, from, to })
    }
}
