//! What is kept under names, which may be changed while it is read.

use bytes::Bytes;
use tidemark_kv::KvError;

use super::{BackupError, ChunkKind, Position, Taking};
use crate::{index_counts::IndexCounts, keys};

impl Taking<'_> {
    /// What is kept under names, as it is at one moment: as long as no name was changed meanwhile, it only grew. Else a name
    /// may have gone from where nothing was read yet to where everything was.
    pub(super) async fn named(
        &mut self,
        mut renames: Option<u64>,
        mut range: usize,
        mut next: Option<Bytes>,
    ) -> Result<(), BackupError> {
        loop {
            let now = self.renames().await?;
            if renames != Some(now) {
                if renames.is_some() {
                    self.hand_over(ChunkKind::Entries).await?;
                    self.position = Position::Named { renames: Some(now), range: 0, next: None };
                    self.hand_over(ChunkKind::ForgetNames).await?;
                }
                (renames, range, next) = (Some(now), 0, None);
            }
            for (number, whole) in keys::under_names().iter().enumerate().skip(range) {
                let position = |next| Position::Named { renames, range: number, next };
                self.range(whole, next.take(), position).await?;
            }
            if self.renames().await? == now {
                return Ok(());
            }
        }
    }

    /// How many names were changed until the snapshot that is read.
    async fn renames(&mut self) -> Result<u64, BackupError> {
        loop {
            match self.view.snapshot.get(keys::COUNTERS).await {
                Err(KvError::TooOld) => self.renew().await?,
                counters => {
                    let counters = counters?.map(|value| IndexCounts::decode(&value)).transpose()?;
                    return Ok(counters.unwrap_or_default().renames);
                }
            }
        }
    }
}
