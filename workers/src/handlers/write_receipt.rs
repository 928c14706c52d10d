//! The result of a `write` job: which points are stored and which were refused.
//!
//! MessagePack array of version (1), points stored, reasons (kind and text, each once), refused points (position and
//! number of the reason). Texts of a result that would be too large to keep are left out.

use std::collections::HashMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidemark_model::{RefusalReason, WriteOutcome, WriteReceipt, WriteRefusal};
use tidemark_queue::RESULT_BYTES_MAX;

const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
struct WireReceipt {
    version: u8,
    stored: u64,
    reasons: Vec<(u8, String)>,
    refused: Vec<(u32, u32)>,
}

const REASONS: [RefusalReason; 5] = [
    RefusalReason::Busy,
    RefusalReason::Unavailable,
    RefusalReason::DiskFull,
    RefusalReason::Limit,
    RefusalReason::ShuttingDown,
];

pub(super) fn encode(receipt: &WriteReceipt) -> Bytes {
    let full = encode_with(receipt, |refusal| refusal.message.clone());
    if full.len() <= RESULT_BYTES_MAX {
        return full;
    }
    encode_with(receipt, |_| "refused; the result is too large for the reasons".to_owned())
}

fn encode_with(receipt: &WriteReceipt, text: impl Fn(&WriteRefusal) -> String) -> Bytes {
    let mut reasons: Vec<(u8, String)> = Vec::new();
    let mut numbers: HashMap<(u8, String), usize> = HashMap::new();
    let mut refused = Vec::with_capacity(receipt.refused.len());
    for (position, refusal) in &receipt.refused {
        let code = REASONS.iter().position(|reason| *reason == refusal.reason).unwrap_or(0);
        let reason = (u8::try_from(code).unwrap_or(0), text(refusal));
        // Each point may have a reason of its own, so known ones are not searched for one by one.
        let number = *numbers.entry(reason).or_insert_with_key(|reason| {
            reasons.push(reason.clone());
            reasons.len() - 1
        });
        refused.push((u32::try_from(*position).unwrap_or(u32::MAX), u32::try_from(number).unwrap_or(u32::MAX)));
    }
    let wire = WireReceipt { version: VERSION, stored: receipt.stored as u64, reasons, refused };
    // A vector takes every byte, and the structure has nothing that MessagePack cannot express.
    rmp_serde::to_vec(&wire).unwrap_or_default().into()
}

/// What became of a batch, from the result of its job.
#[must_use]
pub fn decode(bytes: &[u8]) -> WriteOutcome {
    match rmp_serde::from_slice::<WireReceipt>(bytes) {
        Ok(wire) if wire.version == VERSION => WriteOutcome::Done(wire.into_receipt()),
        Ok(wire) => {
            WriteOutcome::Unknown(format!("the job is done, its result has the unknown layout {}", wire.version))
        }
        Err(error) => WriteOutcome::Unknown(format!("the job is done, its result cannot be read: {error}")),
    }
}

impl WireReceipt {
    fn into_receipt(self) -> WriteReceipt {
        let refusal = |number: u32| {
            let (code, text) = self.reasons.get(number as usize).cloned().unwrap_or_default();
            let reason = REASONS.get(usize::from(code)).copied().unwrap_or(RefusalReason::Limit);
            WriteRefusal::new(reason, text)
        };
        let refused = self.refused.iter().map(|(position, number)| (*position as usize, refusal(*number))).collect();
        WriteReceipt { stored: usize::try_from(self.stored).unwrap_or(usize::MAX), refused }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_receipt_survives_its_bytes(stored: u32, refused in proptest::collection::vec((any::<u32>(), 0usize..5, "[a-c]{0,3}"), 0..50)) {
            let refused = refused.into_iter().map(|(position, reason, text)| (position as usize, WriteRefusal::new(REASONS[reason], text)));
            let receipt = WriteReceipt { stored: stored as usize, refused: refused.collect() };
            prop_assert_eq!(decode(&encode(&receipt)), WriteOutcome::Done(receipt));
        }
    }

    #[test]
    fn a_receipt_with_many_long_reasons_still_fits() {
        let refusal =
            |position| (position, WriteRefusal::new(RefusalReason::Limit, format!("{position} {}", "x".repeat(100))));
        let receipt = WriteReceipt { stored: 0, refused: (0..5_000).map(refusal).collect() };
        let bytes = encode(&receipt);
        assert!(bytes.len() <= RESULT_BYTES_MAX, "{}", bytes.len());
        let WriteOutcome::Done(decoded) = decode(&bytes) else { panic!() };
        assert_eq!(decoded.refused.len(), 5_000);
    }
}
