//! Lines of points: `put` lines, and the three forms of `tidemark import`, which must come back as they were written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemark_api::{bench::read_lines_of_points, point_lines::LineFormat};
use tidemark_model::{PointBatch, PointBatchBuilder};

fuzz_target!(|text: &str| {
    let batch = read_lines_of_points(text);
    assert!(batch.len() <= text.lines().count());
    for line in text.lines() {
        let put = read_lines_of_points(&format!("put {line}"));
        for format in [LineFormat::Json, LineFormat::Csv, LineFormat::OpenTsdb] {
            if let Some(point) = read(format, line) {
                if format == LineFormat::OpenTsdb && is_spaced_plainly(line) {
                    assert_eq!(put.len(), 1, "what the import takes, `put` does not: {line:?}");
                }
                for other in [LineFormat::Json, LineFormat::Csv, LineFormat::OpenTsdb] {
                    let written = written(other, &point);
                    let again = read(other, &written).unwrap_or_else(|| panic!("not read: {written:?} of {line:?}"));
                    same(&point, &again, &written);
                }
            }
        }
    }
    let _form = LineFormat::of_first_line(text);
});

/// Whether `put` can read the line, too: it knows no white space but the space, and comes once.
fn is_spaced_plainly(line: &str) -> bool {
    !line.starts_with("put ") && line.trim() == line && !line.contains(|c: char| c.is_ascii_whitespace() && c != ' ')
}

fn read(format: LineFormat, line: &str) -> Option<PointBatch> {
    let mut builder = PointBatchBuilder::default();
    format.read(line, &mut builder).is_ok_and(|has_point| has_point).then(|| builder.finish())
}

fn written(format: LineFormat, batch: &PointBatch) -> String {
    let mut out = Vec::new();
    for point in batch.points() {
        format.write(&batch.series_key(point.series), point.timestamp, point.value, &mut out);
    }
    String::from_utf8(out).expect("text")
}

fn same(left: &PointBatch, right: &PointBatch, written: &str) {
    let point = |batch: &PointBatch| {
        let point = batch.points().next().expect("a point");
        (batch.series_key(point.series), point)
    };
    let ((left_key, left), (right_key, right)) = (point(left), point(right));
    assert_eq!((left_key, left.timestamp), (right_key, right.timestamp), "{written:?}");
    assert!(left.value.same_bits(right.value), "{left:?} became {right:?} by {written:?}");
}
