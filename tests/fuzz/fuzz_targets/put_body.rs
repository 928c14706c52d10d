//! Bodies of `/api/put`, and PointBatch's columns as they come from a broker.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemark_api::bench::read_body_of_points;
use tidemark_fuzz::assert_survives_its_columns;

fuzz_target!(|text: &str| {
    let batch = read_body_of_points(text);
    assert!(batch.len() <= text.matches('{').count());
    for point in batch.points() {
        let key = batch.series_key(point.series);
        assert!(!key.metric().is_empty() && key.tags().count() <= 8);
    }
    assert_survives_its_columns(&batch);
});
