//! Batches as they wait in queues.

use tidemark_model::PointBatch;

/// Takes a batch apart and puts it together again, as a queue does, which must give the same batch.
///
/// # Panics
/// When it does not.
pub fn assert_survives_its_columns(batch: &PointBatch) {
    let (keys, ends, series, timestamps, bits, floats) = batch.parts();
    let again = PointBatch::from_parts(
        keys.to_owned(),
        ends.to_vec(),
        series.to_vec(),
        timestamps.to_vec(),
        bits.to_vec(),
        floats.to_vec(),
    );
    assert_eq!(again.as_ref(), Ok(batch));
}
