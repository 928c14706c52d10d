//! Bodies of `/api/put`, and PointBatch's columns as they come from a broker.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemark_api::bench::read_body_of_points;
use tidemark_model::PointBatch;

fuzz_target!(|text: &str| {
    let batch = read_body_of_points(text);
    assert!(batch.len() <= text.matches('{').count());
    for point in batch.points() {
        let key = batch.series_key(point.series);
        assert!(!key.metric().is_empty() && key.tags().count() <= 8);
    }
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
