//! The fence of a shard: which epoch is open, which is being sealed and by whom, which are sealed.
//!
//! Every flush expects the fence as it knows it, so no segment lands in an epoch that is being sealed; every commit of a
//! sealer expects it with the sealer's own token, so a sealer that lost its turn writes nothing. Byte map:
//! `docs/format/fence.md`.

use bytes::Bytes;

use crate::{ByteReader, Generation, StoreError, keys, put_varint, stored_value};

const FORMAT: u8 = 1;
/// The last epoch that a shard can have: that of the greatest generation.
const EPOCH_LAST: u64 = Generation(u64::MAX).epoch();

/// State of a shard's epochs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fence {
    /// The epoch that flushes write to.
    pub(crate) open: u64,
    /// Blocks of generations up to this epoch are visible; its log and that of all before it are gone.
    pub(crate) sealed: u64,
    /// The epoch between the two, while it becomes blocks.
    pub(crate) sealing: Option<Sealing>,
}

/// A seal under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sealing {
    pub(crate) epoch: u64,
    pub(crate) owner: SealToken,
}

/// Whose seal it is: the writer and its count of seals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SealToken {
    pub(crate) writer: u64,
    pub(crate) attempt: u64,
}

impl SealToken {
    /// Of a seal that a restore leaves behind for whoever opens the store. Writers have numbers from 1 on.
    pub(crate) const NOBODY: Self = Self { writer: 0, attempt: 0 };
}

impl Fence {
    /// The fence of a new shard.
    pub(crate) const NEW: Self = Self { open: 1, sealed: 0, sealing: None };

    pub(crate) fn encode(&self) -> Bytes {
        stored_value::build(FORMAT, |out| {
            put_varint(out, self.open);
            put_varint(out, self.sealed);
            out.push(u8::from(self.sealing.is_some()));
            if let Some(sealing) = self.sealing {
                put_varint(out, sealing.epoch);
                put_varint(out, sealing.owner.writer);
                put_varint(out, sealing.owner.attempt);
            }
        })
    }

    pub(crate) fn decode(shard: u16, value: &[u8]) -> Result<Self, StoreError> {
        stored_value::read(FORMAT, &keys::fence(shard), value, |reader| {
            let fence = Self { open: reader.varint()?, sealed: reader.varint()?, sealing: read_sealing(reader)? };
            fence.is_sound().then_some(fence)
        })
    }

    /// The fence in an entry, and of which shard it is.
    pub(crate) fn read(key: &[u8], value: &[u8]) -> Result<(u16, Self), StoreError> {
        let shard = key.get(1..).and_then(|shard| shard.try_into().ok()).map(u16::from_be_bytes);
        let shard = shard.ok_or_else(|| stored_value::damaged(key, "it is no key of a fence"))?;
        Ok((shard, Self::decode(shard, value)?))
    }

    /// Epochs come in order and without a gap: sealed, perhaps sealing, open. Each has generations.
    fn is_sound(&self) -> bool {
        let unsealed = if self.sealing.is_some() { 2 } else { 1 };
        self.open <= EPOCH_LAST
            && self.sealed.checked_add(unsealed) == Some(self.open)
            && self.sealing.is_none_or(|sealing| sealing.epoch == self.sealed + 1)
    }

    /// The fence after the sealer of a token begins or takes over.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] names the fence of the shard when no epoch is left, which no history of seals brings
    /// about.
    pub(crate) fn begin(&self, shard: u16, owner: SealToken) -> Result<Self, StoreError> {
        match self.sealing {
            Some(Sealing { epoch, .. }) => Ok(Self { sealing: Some(Sealing { epoch, owner }), ..*self }),
            None if self.open < EPOCH_LAST => {
                Ok(Self { open: self.open + 1, sealing: Some(Sealing { epoch: self.open, owner }), ..*self })
            }
            None => {
                let reason = format!("epoch {EPOCH_LAST} of shard {shard} is open, and there can be none after it");
                Err(stored_value::damaged(&keys::fence(shard), reason))
            }
        }
    }

    /// The fence after the seal under way is published.
    pub(crate) fn publish(&self) -> Self {
        Self { sealed: self.sealing.map_or(self.sealed, |sealing| sealing.epoch), sealing: None, ..*self }
    }
}

fn read_sealing(reader: &mut ByteReader<'_>) -> Option<Option<Sealing>> {
    match reader.byte()? {
        0 => Some(None),
        1 => {
            let epoch = reader.varint()?;
            let owner = SealToken { writer: reader.varint()?, attempt: reader.varint()? };
            Some(Some(Sealing { epoch, owner }))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_goes_through_a_seal_and_survives_its_bytes() {
        let owner = SealToken { writer: 3, attempt: 7 };
        let begun = Fence::NEW.begin(0, owner).unwrap();
        assert_eq!(begun, Fence { open: 2, sealed: 0, sealing: Some(Sealing { epoch: 1, owner }) });
        let taken_over = begun.begin(0, SealToken { writer: 4, attempt: 1 }).unwrap();
        assert_eq!(taken_over.open, 2);
        assert_ne!(taken_over.encode(), begun.encode());
        let published = taken_over.publish();
        assert_eq!(published, Fence { open: 2, sealed: 1, sealing: None });
        for fence in [Fence::NEW, begun, taken_over, published] {
            assert_eq!(Fence::decode(0, &fence.encode()), Ok(fence));
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_give_a_sound_fence_or_an_error(body in proptest::collection::vec(0_u8.., 0..40)) {
            let value = stored_value::build(FORMAT, |out| out.extend_from_slice(&body));
            if let Ok(fence) = Fence::decode(0, &value) {
                assert!(fence.sealed < fence.open);
            }
        }
    }

    #[test]
    fn an_epoch_after_which_none_can_follow_is_refused_by_name() {
        let owner = SealToken { writer: 3, attempt: 7 };
        for open in [u64::MAX, EPOCH_LAST + 1] {
            let fence = Fence { open, sealed: open - 1, sealing: None };
            assert!(matches!(Fence::decode(0, &fence.encode()), Err(StoreError::Corrupt { .. })), "{open}");
        }
        let last = Fence { open: EPOCH_LAST, sealed: EPOCH_LAST - 1, sealing: None };
        assert_eq!(Fence::decode(7, &last.encode()), Ok(last));
        let error = last.begin(7, owner).unwrap_err().to_string();
        assert!(error.contains("shard 7") && error.contains("S\\x00\\x07"), "{error}");
        let before = Fence { open: EPOCH_LAST - 1, sealed: EPOCH_LAST - 2, sealing: None };
        let begun = before.begin(7, owner).unwrap();
        assert_eq!(Fence::decode(7, &begun.encode()), Ok(begun));
        assert!(begun.begin(7, owner).is_ok(), "whoever takes over needs no further epoch");
    }

    #[test]
    fn epochs_with_a_gap_are_refused() {
        let broken = Fence { open: 5, sealed: 1, sealing: None };
        assert!(Fence::decode(0, &broken.encode()).is_err());
    }
}
