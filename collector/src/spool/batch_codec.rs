//! A batch as bytes: the payload of a frame. Byte map: `collector/docs/format/spool.md`.

use tidemark_model::PointBatch;

/// Version of the payload.
const VERSION: u8 = 1;

/// Largest payload after decompression; a batch of 10 000 points has about 2 MB.
const PLAIN_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Speed matters more than the last tenth: an agent must not be the load it measures.
const COMPRESSION_LEVEL: i32 = 1;

pub(super) fn encode(batch: &PointBatch) -> Vec<u8> {
    let (keys, key_ends, series, timestamps, bits, floats) = batch.parts();
    let mut plain = Vec::with_capacity(batch.memory_bytes() + 16);
    put_count(&mut plain, keys.len());
    plain.extend_from_slice(keys.as_bytes());
    put_count(&mut plain, key_ends.len());
    key_ends.iter().for_each(|end| plain.extend_from_slice(&end.to_le_bytes()));
    put_count(&mut plain, series.len());
    series.iter().for_each(|series| plain.extend_from_slice(&series.to_le_bytes()));
    timestamps.iter().for_each(|timestamp| plain.extend_from_slice(&timestamp.to_le_bytes()));
    bits.iter().for_each(|bits| plain.extend_from_slice(&bits.to_le_bytes()));
    plain.extend(floats.iter().map(|&float| u8::from(float)));
    let mut payload = vec![VERSION];
    put_count(&mut payload, plain.len());
    // Compression of bytes in memory fails only when its own buffer is too small, which `compress` sizes itself.
    payload.extend_from_slice(&zstd::bulk::compress(&plain, COMPRESSION_LEVEL).unwrap_or_default());
    payload
}

/// The batch, or `None` when the bytes are none.
pub(super) fn decode(payload: &[u8]) -> Option<PointBatch> {
    let mut header = Bytes(payload);
    if header.take(1)? != [VERSION] {
        return None;
    }
    let plain_bytes = header.count()?;
    if plain_bytes > PLAIN_BYTES_MAX {
        return None;
    }
    let plain = zstd::bulk::decompress(header.0, plain_bytes).ok()?;
    decode_plain(&plain)
}

fn decode_plain(plain: &[u8]) -> Option<PointBatch> {
    let mut bytes = Bytes(plain);
    let keys_bytes = bytes.count()?;
    let keys = std::str::from_utf8(bytes.take(keys_bytes)?).ok()?.to_owned();
    let series_count = bytes.count()?;
    let key_ends = bytes.column(series_count)?.map(u32::from_le_bytes).collect();
    let points = bytes.count()?;
    let series = bytes.column(points)?.map(u32::from_le_bytes).collect();
    let timestamps = bytes.column(points)?.map(i64::from_le_bytes).collect();
    let bits = bytes.column(points)?.map(u64::from_le_bytes).collect();
    let floats = bytes.take(points)?.iter().map(|&float| float != 0).collect();
    if !bytes.0.is_empty() {
        return None;
    }
    PointBatch::from_parts(keys, key_ends, series, timestamps, bits, floats).ok()
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    // A batch's dictionary is limited to 4 GiB and the points of a flush to thousands.
    out.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
}

/// Bytes that are still to be read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn count(&mut self) -> Option<usize> {
        let bytes = self.take(4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    }

    fn column<const WIDTH: usize>(
        &mut self,
        count: usize,
    ) -> Option<impl Iterator<Item = [u8; WIDTH]> + use<'a, WIDTH>> {
        let bytes = self.take(count.checked_mul(WIDTH)?)?;
        Some(bytes.chunks_exact(WIDTH).filter_map(|chunk| chunk.try_into().ok()))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;
    use tidemark_model::{PointBatchBuilder, Value};

    use super::*;

    pub(in crate::spool) fn batches() -> impl Strategy<Value = PointBatch> {
        let value = prop_oneof![any::<i64>().prop_map(Value::Int), (-1e300..1e300).prop_map(Value::Float)];
        let point = ("[a-z.é]{1,8}", "[a-z]{1,4}", 1_i64..9_999_999_999_999, value);
        prop::collection::vec(point, 0..30).prop_map(|points| {
            let mut builder = PointBatchBuilder::default();
            for (metric, host, timestamp, value) in points {
                builder.push(&metric, &mut [("host", &host)], timestamp, value).unwrap();
            }
            builder.finish()
        })
    }

    proptest! {
        #[test]
        fn a_batch_survives_its_bytes(batch in batches()) {
            prop_assert_eq!(decode(&encode(&batch)), Some(batch));
        }

        #[test]
        fn damaged_bytes_are_no_batch_or_a_valid_one(batch in batches(), at in any::<prop::sample::Index>(), flip in 1_u8.., cut in any::<prop::sample::Index>()) {
            let mut payload = encode(&batch);
            let at = at.index(payload.len());
            payload[at] ^= flip;
            let _ = decode(&payload);
            payload.truncate(cut.index(payload.len()));
            let _ = decode(&payload);
        }

        #[test]
        fn any_plain_bytes_are_decoded_without_panic(plain in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_plain(&plain);
        }
    }

    #[test]
    fn a_payload_that_claims_to_be_huge_is_refused_before_memory_is_taken() {
        let mut payload = vec![VERSION];
        payload.extend_from_slice(&u32::MAX.to_le_bytes());
        payload.extend_from_slice(&zstd::bulk::compress(&[0; 1000], 1).unwrap());
        assert_eq!(decode(&payload), None);
    }
}
