//! Blocks: any bytes are points or an error, and any points come back.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use tidemark_fuzz::{AnyValue, column_of};
use tidemark_model::{PointColumns, TimeRange};
use tidemark_tsdb::codec::{decode_block, encode_block, peek_block};

/// Seeds are files of bytes, so bytes are what the input is; points are made of the same bytes.
#[derive(Debug, Arbitrary)]
struct Points {
    start: i64,
    from: u16,
    to: u16,
    points: Vec<(Step, AnyValue)>,
}

#[derive(Clone, Copy, Debug, Arbitrary)]
enum Step {
    Again,
    Short(u16),
    Long(u64),
}

fuzz_target!(|data: &[u8]| {
    decode(data);
    if let Ok(points) = Points::arbitrary(&mut arbitrary::Unstructured::new(data)) {
        round_trip(&points);
    }
});

fn decode(data: &[u8]) {
    let mut columns = PointColumns::default();
    let header = peek_block(data);
    match decode_block(data, TimeRange::ALL, &mut columns) {
        Ok(()) => {
            let Ok(header) = header else {
                // Nothing behind the range is looked at.
                assert!(columns.is_empty());
                return;
            };
            // The range is open at its end, so a point at the last millisecond of all is in no range.
            let left_out = u32::from(header.last_timestamp == i64::MAX);
            assert_eq!(columns.len(), (header.points - left_out) as usize);
            assert_eq!(columns.timestamps.len(), columns.values.len());
            assert!(columns.timestamps.is_sorted_by(|left, right| left < right));
            if let Some(constant) = header.constant {
                assert!(columns.values.iter().all(|value| value.same_bits(constant)));
            }
        }
        Err(_) => assert!(columns.timestamps.is_empty() && columns.values.is_empty()),
    }
}

fn round_trip(points: &Points) {
    let mut expected = PointColumns::default();
    let mut step_ms = 1_u64;
    let mut at = points.start;
    for (step, value) in &points.points {
        expected.push(at, value.value());
        step_ms = match *step {
            Step::Again => step_ms,
            Step::Short(step) => u64::from(step).max(1),
            Step::Long(step) => step.max(1),
        };
        match at.checked_add_unsigned(step_ms) {
            Some(next) => at = next,
            None => break,
        }
    }
    let values = column_of(points.points.iter().take(expected.len()).map(|(_, value)| *value));
    let mut bytes = Vec::new();
    if encode_block(&expected.timestamps, &values, &mut bytes).is_err() {
        assert!(expected.is_empty() && bytes.is_empty());
        return;
    }
    let border = |index: u16| expected.timestamps[usize::from(index) % expected.len()];
    for range in [TimeRange::ALL, TimeRange::new(border(points.from), border(points.to))] {
        let mut found = PointColumns::default();
        decode_block(&bytes, range, &mut found).expect("what was encoded decodes");
        let inside: Vec<_> = expected.iter().filter(|point| range.contains(point.timestamp)).collect();
        assert_eq!(found.len(), inside.len());
        assert!(found.iter().zip(&inside).all(|(found, expected)| {
            found.timestamp == expected.timestamp && found.value.same_bits(expected.value)
        }));
    }
}
