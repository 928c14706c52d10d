//! The fence of a shard: which epoch is open, which is being sealed and by whom, which are sealed.
//!
//! Every flush expects the fence as it knows it, so no segment lands in an epoch that is being sealed; every commit of a
//! sealer expects it with the sealer's own token, so a sealer that lost its turn writes nothing. Byte map:
//! `docs/format/fence.md`.

use bytes::Bytes;

use crate::{ByteReader, StoreError, keys, put_varint, stored_value};

const FORMAT: u8 = 1;

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

    /// Epochs come in order and without a gap: sealed, perhaps sealing, open.
    fn is_sound(&self) -> bool {
        let unsealed = if self.sealing.is_some() { 2 } else { 1 };
        self.sealed.checked_add(unsealed) == Some(self.open)
            && self.sealing.is_none_or(|sealing| sealing.epoch == self.sealed + 1)
    }

    /// The fence after the sealer of `token` begins or takes over.
    pub(crate) fn begin(&self, owner: SealToken) -> Self {
        match self.sealing {
            Some(Sealing { epoch, .. }) => Self { sealing: Some(Sealing { epoch, owner }), ..*self },
            None => Self { open: self.open + 1, sealing: Some(Sealing { epoch: self.open, owner }), ..*self },
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
        let begun = Fence::NEW.begin(owner);
        assert_eq!(begun, Fence { open: 2, sealed: 0, sealing: Some(Sealing { epoch: 1, owner }) });
        let taken_over = begun.begin(SealToken { writer: 4, attempt: 1 });
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
    fn epochs_with_a_gap_are_refused() {
        let broken = Fence { open: 5, sealed: 1, sealing: None };
        assert!(Fence::decode(0, &broken.encode()).is_err());
    }
}
