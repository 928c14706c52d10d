//! Blocks of rollups: any bytes are rows or an error, and any rows come back, whichever columns are wanted.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use tidemark_fuzz::{AnyValue, column_of};
use tidemark_tsdb::codec::{ROLLUP_ROWS_MAX, RollupColumns, RollupField, decode_rollup_block, encode_rollup_block};

#[derive(Debug, Arbitrary)]
struct Rows {
    first: u8,
    rows: Vec<(u8, [AnyValue; 6])>,
}

fuzz_target!(|data: &[u8]| {
    decode(data);
    if let Ok(rows) = Rows::arbitrary(&mut arbitrary::Unstructured::new(data)) {
        round_trip(&rows);
    }
});

fn decode(data: &[u8]) {
    let mut all = RollupColumns::default();
    if decode_rollup_block(data, &RollupField::ALL, &mut all).is_err() {
        return;
    }
    assert!(!all.is_empty() && all.len() <= ROLLUP_ROWS_MAX);
    assert!(all.intervals.is_sorted_by(|left, right| left < right));
    for field in RollupField::ALL {
        assert_eq!(all.column(field).len(), all.len());
        let mut one = RollupColumns::default();
        decode_rollup_block(data, &[field], &mut one).expect("a column of what decodes");
        assert_eq!(one.intervals, all.intervals);
        same(&one, &all, field);
    }
}

fn round_trip(rows: &Rows) {
    let mut expected = RollupColumns::default();
    let mut interval = u32::from(rows.first);
    for (gap, _) in &rows.rows {
        expected.intervals.push(interval);
        interval += 1 + u32::from(gap / 16);
    }
    for (index, field) in RollupField::ALL.into_iter().enumerate() {
        *expected.column_mut(field) = column_of(rows.rows.iter().map(|(_, values)| values[index]));
    }
    let mut bytes = Vec::new();
    if encode_rollup_block(&expected, &mut bytes).is_err() {
        let is_too_long = expected.intervals.last().is_none_or(|&last| last as usize >= ROLLUP_ROWS_MAX);
        assert!(is_too_long && bytes.is_empty());
        return;
    }
    let mut found = RollupColumns::default();
    decode_rollup_block(&bytes, &RollupField::ALL, &mut found).expect("what was encoded decodes");
    assert_eq!(found.intervals, expected.intervals);
    RollupField::ALL.into_iter().for_each(|field| same(&found, &expected, field));
}

fn same(left: &RollupColumns, right: &RollupColumns, field: RollupField) {
    let (left, right) = (left.column(field), right.column(field));
    assert_eq!(left.len(), right.len());
    assert!(left.iter().zip(right.iter()).all(|(left, right)| left.same_bits(right)), "{field:?}");
}
