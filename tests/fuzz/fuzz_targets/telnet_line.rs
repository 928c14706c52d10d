//! Lines of points: `put` lines, and the three forms of `tidemark import`, which must come back as they were written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemark_api::{bench::read_lines_of_points, point_lines::LineFormat};
use tidemark_fuzz::{content, read_line, written};

fuzz_target!(|text: &str| {
    let batch = read_lines_of_points(text);
    assert!(batch.len() <= text.lines().count());
    for line in text.lines() {
        let put = read_lines_of_points(&format!("put {line}"));
        for format in [LineFormat::Json, LineFormat::Csv, LineFormat::OpenTsdb] {
            let Some(batch) = read_line(format, line) else { continue };
            if format == LineFormat::OpenTsdb && is_spaced_plainly(line) {
                assert_eq!(put.len(), 1, "what the import takes, `put` does not: {line:?}");
            }
            for other in [LineFormat::Json, LineFormat::Csv, LineFormat::OpenTsdb] {
                // Histograms and rollups are lines of JSON alone.
                let Some(written) = written(other, &batch) else {
                    assert_eq!(format, LineFormat::Json);
                    continue;
                };
                let again = read_line(other, &written).unwrap_or_else(|| panic!("not read: {written:?} of {line:?}"));
                assert_eq!(content(&again), content(&batch), "{written:?}");
            }
        }
    }
    let _form = LineFormat::of_first_line(text);
});

/// Whether `put` can read the line, too: it knows no white space but the space, and comes once.
fn is_spaced_plainly(line: &str) -> bool {
    !line.starts_with("put ") && line.trim() == line && !line.contains(|c: char| c.is_ascii_whitespace() && c != ' ')
}
