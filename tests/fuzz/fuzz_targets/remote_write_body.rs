//! Messages of Prometheus' remote write.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemark_api::bench::read_samples;
use tidemark_model::PointBatch;

fuzz_target!(|message: &[u8]| {
    let batch = read_samples(message);
    // A sample takes two bytes, and what has neither value nor time is refused.
    assert!(batch.len() * 4 <= message.len());
    let (keys, ends, series, timestamps, bits, floats) = batch.parts();
    let again = PointBatch::from_parts(
        keys.to_owned(),
        ends.to_vec(),
        series.to_vec(),
        timestamps.to_vec(),
        bits.to_vec(),
        floats.to_vec(),
    );
    assert_eq!(again.as_ref(), Ok(&batch));
});
