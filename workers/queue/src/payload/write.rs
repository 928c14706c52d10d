//! The payload of a `write` job: a batch of points in packed columns.

use serde::{Deserialize, Serialize};
use tidemark_model::PointBatch;

use super::{Payload, PayloadError};
use crate::JobKind;

/// The columns of a [`PointBatch`] as byte strings of little-endian numbers; the flags are a bitmap, lowest bit first.
///
/// The bytes may come from anybody who can reach the broker, so [`WritePayload::into_batch`] checks everything that
/// [`PointBatch::from_parts`] promises.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WritePayload {
    keys: String,
    #[serde(with = "serde_bytes")]
    key_ends: Vec<u8>,
    #[serde(with = "serde_bytes")]
    series: Vec<u8>,
    #[serde(with = "serde_bytes")]
    timestamps: Vec<u8>,
    #[serde(with = "serde_bytes")]
    bits: Vec<u8>,
    #[serde(with = "serde_bytes")]
    floats: Vec<u8>,
}

impl Payload for WritePayload {
    const KIND: JobKind = JobKind::Write;
    const VERSION: u16 = 1;
}

impl WritePayload {
    /// Packs a batch.
    #[must_use]
    pub fn from_batch(batch: &PointBatch) -> Self {
        let (keys, key_ends, series, timestamps, bits, floats) = batch.parts();
        Self {
            keys: keys.to_owned(),
            key_ends: key_ends.iter().flat_map(|end| end.to_le_bytes()).collect(),
            series: series.iter().flat_map(|index| index.to_le_bytes()).collect(),
            timestamps: timestamps.iter().flat_map(|timestamp| timestamp.to_le_bytes()).collect(),
            bits: bits.iter().flat_map(|bits| bits.to_le_bytes()).collect(),
            floats: pack_flags(floats),
        }
    }

    /// The batch.
    ///
    /// # Errors
    /// [`PayloadError::Malformed`] says which column is damaged, or which name or value is illegal.
    pub fn into_batch(self) -> Result<PointBatch, PayloadError> {
        let malformed = |reason: String| PayloadError::Malformed { kind: JobKind::Write, reason };
        let key_ends = unpack("dictionary", &self.key_ends, u32::from_le_bytes).map_err(malformed)?;
        let series = unpack("series", &self.series, u32::from_le_bytes).map_err(malformed)?;
        let timestamps = unpack("timestamp", &self.timestamps, i64::from_le_bytes).map_err(malformed)?;
        let bits = unpack("value", &self.bits, u64::from_le_bytes).map_err(malformed)?;
        let floats = unpack_flags(&self.floats, series.len()).map_err(malformed)?;
        PointBatch::from_parts(self.keys, key_ends, series, timestamps, bits, floats)
            .map_err(|error| malformed(error.to_string()))
    }
}

fn unpack<T, const WIDTH: usize>(
    column: &str,
    bytes: &[u8],
    from_bytes: impl Fn([u8; WIDTH]) -> T,
) -> Result<Vec<T>, String> {
    let (numbers, rest) = bytes.as_chunks::<WIDTH>();
    if !rest.is_empty() {
        return Err(format!("{column} column of {} bytes is no multiple of {WIDTH}", bytes.len()));
    }
    Ok(numbers.iter().map(|number| from_bytes(*number)).collect())
}

fn pack_flags(flags: &[bool]) -> Vec<u8> {
    let pack = |eight: &[bool]| eight.iter().rev().fold(0, |byte, &flag| byte << 1 | u8::from(flag));
    flags.chunks(8).map(pack).collect()
}

fn unpack_flags(bytes: &[u8], count: usize) -> Result<Vec<bool>, String> {
    if bytes.len() != count.div_ceil(8) {
        return Err(format!("{} bytes of flags are not enough or too many for {count} points", bytes.len()));
    }
    let flags = bytes.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
    Ok(flags.take(count).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidemark_model::{PointBatchBuilder, Value};

    use super::*;

    fn batch(points: &[(u8, i64, Value)]) -> PointBatch {
        let mut builder = PointBatchBuilder::default();
        for (host, timestamp, value) in points {
            let host = format!("host{host}");
            builder.push("os.cpu", &mut [("host", host.as_str())], *timestamp, *value).unwrap();
        }
        builder.finish()
    }

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![any::<i64>().prop_map(Value::Int), (-1e300..1e300).prop_map(Value::Float)]
    }

    proptest! {
        #[test]
        fn a_batch_survives_its_payload(points in proptest::collection::vec((any::<u8>(), 1i64..9_999_999_999_999, value()), 0..100)) {
            let batch = batch(&points);
            let bytes = WritePayload::from_batch(&batch).encode().unwrap();
            prop_assert_eq!(WritePayload::decode(&bytes).unwrap().into_batch().unwrap(), batch);
        }

        #[test]
        fn a_damaged_payload_is_refused_or_another_batch(position in 0usize..200, bit in 0u8..8) {
            let bytes = WritePayload::from_batch(&batch(&[(1, 5, Value::Int(7)), (2, 6, Value::Float(1.5))])).encode().unwrap();
            let mut damaged = bytes.clone();
            let position = position % damaged.len();
            damaged[position] ^= 1 << bit;
            if let Ok(other) = WritePayload::decode(&damaged).and_then(WritePayload::into_batch) {
                prop_assert!(other.points().all(|point| point.series < other.series_count()));
            }
        }
    }

    #[test]
    fn a_point_takes_the_bytes_of_its_columns() {
        let points: Vec<_> =
            (0..1000).map(|second| (1, 1_764_000_000_000 + second * 1000, Value::Int(second))).collect();
        let bytes = WritePayload::from_batch(&batch(&points)).encode().unwrap();
        assert!(bytes.len() < 1000 * 21 + 200, "{}", bytes.len());
    }
}
