//! Messages of Prometheus' remote write.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemark_api::bench::read_samples;
use tidemark_fuzz::assert_survives_its_columns;

fuzz_target!(|message: &[u8]| {
    let batch = read_samples(message);
    // A sample takes two bytes, and what has neither value nor time is refused.
    assert!(batch.len() * 4 <= message.len());
    assert_survives_its_columns(&batch);
});
