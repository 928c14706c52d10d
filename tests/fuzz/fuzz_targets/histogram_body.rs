//! Bodies of `/api/histogram` and `/api/rollup`, base64 of histograms, and their telnet lines. What they hold must survive
//! the lines of an export.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemark_api::bench::{read_bodies_of_values, read_lines_of_values};
use tidemark_api::point_lines::LineFormat;
use tidemark_fuzz::{assert_survives_its_columns, content, read_line, written};

fuzz_target!(|text: &str| {
    let encoded = text.replace(['"', '\\'], "");
    let body = format!(r#"{{"metric":"m","timestamp":1,"tags":{{"a":"b"}},"id":0,"value":"{encoded}"}}"#);
    let bodies = read_bodies_of_values(text).into_iter().chain(read_bodies_of_values(&body));
    for batch in bodies.chain([read_lines_of_values(text)]) {
        assert!(batch.datapoint_starts().count() <= batch.len());
        assert_survives_its_columns(&batch);
        let lines = written(LineFormat::Json, &batch).expect("JSON has lines for all of it");
        let read =
            lines.lines().map(|line| read_line(LineFormat::Json, line).unwrap_or_else(|| panic!("not read: {line:?}")));
        let read: Vec<_> = read.flat_map(|batch| content(&batch)).collect();
        assert_eq!(read, content(&batch), "{lines}");
    }
});
